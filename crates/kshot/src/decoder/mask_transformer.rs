//! Segmenter's mask transformer: a learnt embedding for each class joins the patches, both pass transformer blocks, and
//! a class's mask is the product of its embedding with each patch's.
//!
//! - Paper: Strudel, Garcia, Laptev and Schmid, *Segmenter: Transformer for Semantic Segmentation*, 2021,
//!   <https://arxiv.org/abs/2105.05633>
//! - As in the authors' code: both embeddings pass a linear map of their own without bias and are brought to length 1, and
//!   the products of each place pass a layer normalisation over classes; the logits are resized bilinearly
//! - On the last map of any encoder, not of a vision transformer alone. By default the tokens have its channels, 1024 at
//!   most, and a head for each 64 of them
//! - Not as there: no dropout and no stochastic depth while it trains

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use super::{Decode, DecodeConfig, check_classes};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::attention::QkvBias;
use crate::nn::linear::linear;
use crate::nn::transformer::{TransformerBlock, TransformerConfig};
use crate::nn::{Conv, ConvConfig, LayerNorm};

/// Channels of a head, where they divide the width.
const HEAD: usize = 64;
/// Widest tokens unless a recipe says otherwise.
const WIDEST: usize = 1024;
/// PyTorch's epsilon of layer normalisations.
const EPSILON: f64 = 1e-5;

/// What a [`MaskTransformer`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct MaskTransformerConfig {
    /// Transformer blocks.
    #[schemars(range(min = 1, max = 24))]
    pub depth: usize,
    /// Channels of the tokens; by default those of the encoder's last map, 1024 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub width: Option<usize>,
}

impl Default for MaskTransformerConfig {
    fn default() -> Self {
        Self { depth: 2, width: None }
    }
}

/// Heads for tokens of that many channels: the most that have at least [`HEAD`] channels each.
fn heads(width: usize) -> usize {
    let most = (width / HEAD).max(1);
    (1..=most).rev().find(|heads| width.is_multiple_of(*heads)).unwrap_or(1)
}

impl DecodeConfig for MaskTransformerConfig {
    type Network = MaskTransformer;

    const NAME: &'static str = "mask-transformer";
    const SUMMARY: &'static str =
        "Segmenter: class embeddings attend to the last map's places; masks are their products";
    const SOURCE: &'static str = "https://arxiv.org/abs/2105.05633";

    /// # Errors
    /// If there are no maps, no classes or a single one, or the settings are out of bounds.
    fn init(
        &self,
        channels: &[usize],
        _strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<MaskTransformer> {
        check_classes(classes)?;
        if classes == 1 {
            return Err(Error::config(
                "a mask transformer for 1 class; it compares at least 2: take decoder = \"linear\"",
            ));
        }
        let Some(&last) = channels.last() else {
            return Err(Error::config("a mask transformer for no maps; it needs at least 1"));
        };
        let width = self.width.unwrap_or(last.min(WIDEST));
        if !(1..=24).contains(&self.depth) || !(1..=4096).contains(&width) {
            return Err(Error::config(format!(
                "a mask transformer of depth {} and width {width}; valid are depths of 1 to 24 and widths of 1 to 4096",
                self.depth
            )));
        }
        let block = TransformerConfig {
            channels: width,
            heads: heads(width),
            hidden: 4 * width,
            bias: QkvBias::All,
            layer_scale: 0.0,
            epsilon: EPSILON,
        };
        // As the authors start them: normal, of the standard deviation that keeps lengths.
        let law = Initializer::Normal { mean: 0.0, std: (width as f64).sqrt().recip() };
        let project = || ConvConfig::new([width; 2], 1).init_by(&law, false, device);
        Ok(MaskTransformer {
            input: linear([last, width], true, device),
            classes: Initializer::Normal { mean: 0.0, std: 0.02 }.init([1, classes, width], device),
            blocks: (0..self.depth).map(|_| block.init(device)).collect(),
            norm: LayerNorm::new(width, EPSILON, device),
            project_patches: project(),
            project_classes: project(),
            mask_norm: LayerNorm::new(classes, EPSILON, device),
        })
    }

    fn optimize(network: MaskTransformer) -> MaskTransformer {
        MaskTransformer {
            input: network.input.compile(),
            blocks: network.blocks.into_iter().map(TransformerBlock::fold).collect(),
            project_patches: network.project_patches.compile(),
            project_classes: network.project_classes.compile(),
            ..network
        }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct MaskTransformer {
    /// From the map's channels to the tokens'.
    input: Conv,
    /// `[1, classes, width]`
    classes: Param<Tensor<3>>,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    project_patches: Conv,
    project_classes: Conv,
    /// Over classes.
    mask_norm: LayerNorm,
}

impl Decode for MaskTransformer {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let Some(map) = features.maps.last() else { unreachable!("every encoder has a stage") };
        let [batch, _, rows, columns] = map.dims();
        let patches = self.input.forward(map.clone());
        let [_, width, ..] = patches.dims();
        let [_, classes, _] = self.classes.dims();
        let embeddings = self.classes.val().swap_dims(1, 2).reshape([1, width, 1, classes]);
        let count = rows * columns;
        let patches = patches.reshape([batch, width, 1, count]);
        let mut tokens = Tensor::cat(vec![patches, embeddings.repeat_dim(0, batch)], 3);
        for block in &self.blocks {
            tokens = block.forward(tokens, None);
        }
        let tokens = self.norm.forward(tokens);
        let patches = self.project_patches.forward(tokens.clone().narrow(3, 0, count));
        let embeddings = self.project_classes.forward(tokens.narrow(3, count, classes));
        // [batch, classes, width] times [batch, width, places]
        let embeddings = unit(embeddings).reshape([batch, width, classes]).swap_dims(1, 2);
        let masks = embeddings.matmul(unit(patches).reshape([batch, width, count]));
        let logits = self.mask_norm.forward(masks.reshape([batch, classes, rows, columns]));
        kshot_kernels::bilinear(logits, size, false)
    }
}

/// Each token at length 1; one of zeros stays so.
fn unit(tokens: Tensor<4>) -> Tensor<4> {
    let squares = tokens.clone().powi_scalar(2).sum_dim(1);
    tokens * squares.clamp_min(1e-24).sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_64_channels_where_these_divide_the_width() {
        for (width, expected) in [(192, 3), (384, 6), (768, 12), (270, 3), (16, 1), (2048, 32)] {
            assert_eq!(heads(width), expected, "{width}");
        }
    }

    #[test]
    fn one_class_and_settings_out_of_bounds_are_refused() {
        let device = Device::flex();
        let refused = |depth, width, classes| {
            let config = MaskTransformerConfig { depth, width };
            config.init(&[16], &[16], classes, &device).unwrap_err().to_string()
        };
        assert!(refused(2, None, 1).contains("at least 2"));
        assert!(refused(0, None, 3).contains("depths of 1 to 24"));
        assert!(refused(2, Some(0), 3).contains("widths of 1 to 4096"));
    }
}
