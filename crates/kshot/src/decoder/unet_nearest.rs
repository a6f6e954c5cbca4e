//! U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as segmentation_models_pytorch builds it: maps are
//! doubled by repeating pixels instead of by a transposed convolution, and the decoder goes on to the picture's own
//! size.
//!
//! From the coarsest map up: the map is doubled and cut to the next finer one's size, that map is laid beside it, and
//! two 3x3 convolutions with batch normalisation and ReLU follow. Below the finest map's stride blocks have nothing
//! beside. One 3x3 convolution makes the logits.
//!
//! `decoder = "unet-nearest"` on `encoder = "resnet34"` is `segmentation_models_pytorch.Unet("resnet34")` with its
//! `decoder_channels` of 256, 128, 64, 32 and 16, whose file `model.weights` may name.
//!
//! Deviation: on VGG segmentation_models_pytorch puts two more convolutions before the first block and starts behind
//! a fifth pool; here VGG is as any other encoder.

use burn::module::Module;
use burn::prelude::*;

use super::fcn_head::EPSILON;
use super::{Decode, DecodeConfig, check_classes, keys, maps};
use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct};

/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=256;

/// What a [`UNetNearest`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct UNetNearestConfig {
    /// Channels at the picture's own size; each coarser one has twice as many.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: usize,
}

impl Default for UNetNearestConfig {
    fn default() -> Self {
        Self { width: 16 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct UNetNearest {
    /// Coarsest first.
    blocks: Vec<NearestBlock>,
    head: Conv,
    /// The coarsest map.
    map: usize,
}

/// Twice as large, and the encoder's map beside it where there is one.
#[derive(Module, Debug)]
struct NearestBlock {
    first: ConvNormAct,
    second: ConvNormAct,
    beside: Option<usize>,
    /// The stride of its result.
    stride: usize,
}

impl DecodeConfig for UNetNearestConfig {
    type Network = UNetNearest;

    const NAME: &'static str = "unet-nearest";
    const SUMMARY: &'static str =
        "U-Net as segmentation_models_pytorch builds it: pixels repeated, up to the picture's size";
    const SOURCE: &'static str = "https://arxiv.org/abs/1505.04597";

    /// # Errors
    /// If one size is not half of the one before or of the picture, the width is out of bounds, or there are no
    /// classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<UNetNearest> {
        check_classes(classes)?;
        let used = maps::last_of_each(strides);
        let halve = used.windows(2).all(|pair| strides[pair[1]] == 2 * strides[pair[0]]);
        let coarsest = used.last().map(|map| (*map, strides[*map]));
        let fits = halve && used.first().is_some_and(|map| strides[*map].is_power_of_two());
        let (Some((map, stride)), true, true) = (coarsest, fits, WIDTHS.contains(&self.width))
        else {
            return Err(Error::config(format!(
                "a U-Net of width {} on maps of strides {strides:?}: it needs strides that double, from a power of two \
                 on, and a width of {} to {}",
                self.width,
                WIDTHS.start(),
                WIDTHS.end()
            )));
        };
        let layer = |channels| {
            ConvNormAct::new(&ConvConfig::new(channels, 3), EPSILON, Activation::Relu, device)
        };
        let mut inside = channels[map];
        let mut blocks = Vec::new();
        for level in (0..stride.trailing_zeros()).rev() {
            let beside = maps::of_stride(strides, 1 << level);
            let width = self.width << level;
            let joined = inside + beside.map_or(0, |map| channels[map]);
            blocks.push(NearestBlock {
                first: layer([joined, width]),
                second: layer([width, width]),
                beside,
                stride: 1 << level,
            });
            inside = width;
        }
        let head = ConvConfig::new([inside, classes], 3).init(true, device);
        Ok(UNetNearest { blocks, head, map })
    }

    fn optimize(network: UNetNearest) -> UNetNearest {
        let block = |block: NearestBlock| NearestBlock {
            first: block.first.fold(),
            second: block.second.fold(),
            ..block
        };
        UNetNearest {
            blocks: network.blocks.into_iter().map(block).collect(),
            head: network.head.compile(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        let Some(rest) = foreign.strip_prefix("decoder.blocks.") else {
            let head = vec![("segmentation_head.0".to_owned(), "head".to_owned())];
            return keys::rename(foreign, &head);
        };
        let Some((index, _)) = rest.split_once('.') else { return Renamed::Unknown };
        let mut layers = keys::Layers::new();
        for (theirs, ours) in [("conv1", "first"), ("conv2", "second")] {
            let names = [0, 1].map(|part| format!("decoder.blocks.{index}.{theirs}.{part}"));
            keys::conv_norm(&mut layers, [&names[0], &names[1]], &format!("blocks.{index}.{ours}"));
        }
        keys::rename(foreign, &layers)
    }
}

impl Decode for UNetNearest {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let coarsest = features.maps[self.map].clone();
        let finest = self.blocks.iter().fold(coarsest, |map, block| {
            let image = kshot_kernels::doubled(map, size.map(|side| side.div_ceil(block.stride)));
            let image = match block.beside {
                Some(beside) => Tensor::cat(vec![image, features.maps[beside].clone()], 1),
                None => image,
            };
            block.second.forward(block.first.forward(image))
        });
        self.head.forward(finest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_on_to_the_pictures_size() {
        let device = Device::flex();
        let (channels, strides) = ([8, 8, 16, 32, 64], [2, 4, 8, 16, 32]);
        let network = UNetNearestConfig::default().init(&channels, &strides, 3, &device).unwrap();
        let widths = network.blocks.iter().map(|block| block.second.conv.weight.dims()[0]);
        assert_eq!(widths.collect::<Vec<_>>(), [256, 128, 64, 32, 16]);
        assert_eq!(network.blocks[4].beside, None);
        let error = UNetNearestConfig::default().init(&[8, 8], &[14, 28], 3, &device).unwrap_err();
        assert!(error.to_string().contains("[14, 28]"), "{error}");
    }
}
