//! PSPNet (Zhao et al. 2016, arXiv 1612.01105): means over 1, 2, 3 and 6 parts of the map beside the map itself.
//!
//! Each pyramid level is an adaptive average pool, a 1x1 convolution to a quarter of the channels, and a bilinear
//! resize back; all lie side by side with the map, one convolution joins them, and one makes logits, which are
//! resized to the picture. A second head on the map before (see [`FcnHead`](super::FcnHead)) trains with 0.4 of the
//! loss.
//!
//! The paper's encoder is dilated: `encoder = { name = "resnet50", output_stride = 8 }`.
//!
//! | | `layout = "paper"` | `layout = "smp"` |
//! |---|---|---|
//! | the joining convolution, and the last | 3x3 and 1x1 | 1x1 and 3x3 |
//! | the level of one part | batch normalised | not normalised |
//! | dropout | of values, 0.1 | of maps, 0.2 |
//! | resizing | edges meet; the authors' code lets corners meet | corners meet |
//! | auxiliary head | `auxiliary = 0.4` | none: write `auxiliary = 0` |
//!
//! The second is `segmentation_models_pytorch.PSPNet`, whose file `model.weights` may name. It sees the map of stride
//! 8 of an encoder that is not dilated: `stride = 8`.
//!
//! Deviation: the authors use a deeper stem of three 3x3 convolutions in ResNet; here the encoder is whichever was
//! given.

use burn::module::Module;
use burn::prelude::*;

use super::fcn_head::{AuxiliaryHead, EPSILON, without_auxiliary};
use super::{Decode, DecodeConfig, Layout, TrainLogits, check_classes, keys};
use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct, Dropout, adaptive_average};

/// Parts along each side.
const LEVELS: [usize; 4] = [1, 2, 3, 6];
/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=4096;

/// What a [`PspNet`] is made from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PspNetConfig {
    /// Channels of the convolution that joins the levels.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: usize,
    /// The coarsest stride of the map that it sees: 8 is the last map of an encoder dilated to 8, and an earlier one
    /// of others.
    #[schemars(range(min = 1, max = 64))]
    pub stride: usize,
    /// Share of the joined values that training drops; 0.2 in segmentation_models_pytorch.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
    /// What the loss of an auxiliary head on the map before counts in training; 0 for no such head.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub auxiliary: f64,
    /// Whose details it has.
    pub layout: Layout,
}

impl Default for PspNetConfig {
    fn default() -> Self {
        Self { width: 512, stride: 32, dropout: 0.1, auxiliary: 0.4, layout: Layout::Paper }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct PspNet {
    /// One of each of [`LEVELS`].
    levels: Vec<ConvNormAct>,
    join: ConvNormAct,
    head: Conv,
    auxiliary: Option<AuxiliaryHead>,
    map: usize,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    layout: Layout,
}

impl DecodeConfig for PspNetConfig {
    type Network = PspNet;

    const NAME: &'static str = "pspnet";
    const SUMMARY: &'static str = "PSPNet: means over 1, 2, 3 and 6 parts of the map beside it";
    const SOURCE: &'static str = "https://arxiv.org/abs/1612.01105";

    /// # Errors
    /// If no map is as fine as `stride`, there is none for the auxiliary head, the width is out of bounds, or there
    /// are no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<PspNet> {
        check_classes(classes)?;
        let map = strides.iter().rposition(|stride| *stride <= self.stride);
        let (Some(map), true) = (map, WIDTHS.contains(&self.width)) else {
            return Err(Error::config(format!(
                "a PSPNet of width {} on a map of stride {} or finer, of maps of strides {strides:?}; give one of these \
                 strides, and a width of {} to {}",
                self.width,
                self.stride,
                WIDTHS.start(),
                WIDTHS.end()
            )));
        };
        let inside = channels[map];
        let part = (inside / LEVELS.len()).max(1);
        let layer = |channels, kernel, normalized: bool| {
            let config = ConvConfig::new(channels, kernel);
            match normalized {
                true => ConvNormAct::new(&config, EPSILON, Activation::Relu, device),
                false => ConvNormAct::biased(&config, None, Activation::Relu, device),
            }
        };
        let smp = self.layout == Layout::Smp;
        let levels = LEVELS.map(|parts| layer([inside, part], 1, !smp || parts > 1));
        let [join, head] = if smp { [1, 3] } else { [3, 1] };
        Ok(PspNet {
            levels: levels.into(),
            join: layer([inside + LEVELS.len() * part, self.width], join, true),
            head: ConvConfig::new([self.width, classes], head).init(true, device),
            auxiliary: AuxiliaryHead::before(map, channels, classes, self.auxiliary, device)?,
            map,
            dropout: match self.layout {
                Layout::Paper => Dropout::new(self.dropout),
                Layout::Smp => Dropout::of_maps(self.dropout),
            },
            layout: self.layout,
        })
    }

    fn optimize(network: PspNet) -> PspNet {
        PspNet {
            levels: network.levels.into_iter().map(ConvNormAct::fold).collect(),
            join: network.join.fold(),
            head: network.head.compile(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        if without_auxiliary(foreign, self.auxiliary) {
            return Renamed::Spare;
        }
        let mut layers = keys::Layers::new();
        for index in 0..LEVELS.len() {
            let place = format!("decoder.psp.blocks.{index}.pool.1");
            let names = [format!("{place}.0"), format!("{place}.1")];
            keys::conv_norm(&mut layers, [&names[0], &names[1]], &format!("levels.{index}"));
        }
        keys::conv_norm(&mut layers, ["decoder.conv.0", "decoder.conv.1"], "join");
        keys::conv(&mut layers, "segmentation_head.0", "head");
        AuxiliaryHead::layers(&mut layers);
        keys::rename(foreign, &layers)
    }
}

impl Decode for PspNet {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let map = features.maps[self.map].clone();
        let [.., height, width] = map.dims();
        let corners = self.layout.aligns_corners();
        let levels = self.levels.iter().zip(LEVELS).map(|(layer, parts)| {
            let pooled = layer.forward(adaptive_average(map.clone(), [parts; 2]));
            kshot_kernels::bilinear(pooled, [height, width], corners)
        });
        let all = levels.chain([map.clone()]).collect();
        let joined = self.dropout.forward(self.join.forward(Tensor::cat(all, 1)));
        kshot_kernels::bilinear(self.head.forward(joined), size, corners)
    }

    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        let logits = self.forward(features, size);
        AuxiliaryHead::beside(self.auxiliary.as_ref(), logits, features)
    }
}
