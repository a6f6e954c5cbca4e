//! U-Net's decoder (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) on any encoder.
//!
//! From the coarsest map up: a transposed convolution of 2x2 doubles the map, the encoder's map of that
//! size is laid beside it, and two 3x3 convolutions follow. One 1x1 convolution makes logits at the
//! finest map's size, which are resized bilinearly to the picture's.
//!
//! With `hypercolumns` a [head of HRNet's form](super::hrnet) stands beside it on the encoder's maps, and their logits are
//! added up, as FCN adds up those of several scales (Long, Shelhamer and Darrell 2015, arXiv 1411.4038): such a head
//! learns what things are in few steps, since nothing but two 1x1 convolutions lies between maps and logits; the U-Net
//! learns where they end.
//!
//! Deviations, as in most code today: convolutions are padded and batch normalised, and the encoder is
//! whichever was given. Sides that are no multiple of the stride are cut to the encoder's map.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::ops::ConvTransposeOptions;

use super::{Decode, DecodeConfig, HrNetHead, HrNetHeadConfig, check_classes};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig, ConvNormAct};

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// Widths that make sense.
const WIDTHS: std::ops::RangeInclusive<usize> = 1..=1024;

/// What a [`UNet`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Channels at the finest map; each coarser one has twice as many.
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub width: usize,
    /// Channels of the hidden layer of a head beside it that sees the encoder's maps of stride 4 and more at once; none
    /// if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *WIDTHS.start(), max = *WIDTHS.end()))]
    pub hypercolumns: Option<usize>,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { width: 32, hypercolumns: None }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct UNet {
    /// Finest first.
    levels: Vec<UNetLevel>,
    head: Conv,
    /// On the encoder's maps, beside the levels.
    hypercolumns: Option<HrNetHead>,
    /// Which of the encoder's maps are used: the last of each size, finest first.
    maps: Vec<usize>,
}

/// Up by two, and the encoder's map beside it.
#[derive(Module, Debug)]
struct UNetLevel {
    /// `[channels_in, channels_out, 2, 2]`
    up: Param<Tensor<4>>,
    /// `[channels_out]`
    bias: Param<Tensor<1>>,
    first: ConvNormAct,
    second: ConvNormAct,
}

/// The maps that a U-Net takes of these strides, finest first: the last of each size; none where there are fewer than two
/// sizes, or one is not half of the one before.
pub(crate) fn levels(strides: &[usize]) -> Option<Vec<usize>> {
    let last = |index: &usize| strides.get(index + 1) != strides.get(*index);
    let maps: Vec<usize> = (0..strides.len()).filter(last).collect();
    let doubles = maps.windows(2).all(|pair| strides[pair[1]] == 2 * strides[pair[0]]);
    (maps.len() > 1 && doubles).then_some(maps)
}

impl DecodeConfig for UNetConfig {
    type Network = UNet;

    const NAME: &'static str = "unet";
    const SUMMARY: &'static str = "U-Net: doubles the coarsest map beside each finer one";
    const SOURCE: &'static str = "https://arxiv.org/abs/1505.04597";

    /// # Errors
    /// If there are fewer than two sizes, or one is not half of the one before, or no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<UNet> {
        check_classes(classes)?;
        let known = &strides[..channels.len().min(strides.len())];
        let Some(maps) = levels(known).filter(|_| WIDTHS.contains(&self.width)) else {
            let (least, most) = (WIDTHS.start(), WIDTHS.end());
            return Err(Error::config(format!(
                "a U-Net of width {} on maps of strides {strides:?}: it needs two or more, each half \
                 as large as the one before, and a width of {least} to {most}",
                self.width
            )));
        };
        let width = |level: usize| self.width << level;
        let coarsest = maps.len() - 1;
        let levels = (0..coarsest)
            .map(|level| {
                let below =
                    if level + 1 == coarsest { channels[maps[coarsest]] } else { width(level + 1) };
                UNetLevel::new(below, channels[maps[level]], width(level), device)
            })
            .collect();
        let head = ConvConfig::new([self.width, classes], 1).init(true, device);
        let beside = |width| {
            let config = HrNetHeadConfig { width: Some(width) };
            config.init(channels, strides, classes, device)
        };
        let hypercolumns = self.hypercolumns.map(beside).transpose()?;
        Ok(UNet { levels, head, hypercolumns, maps })
    }

    fn optimize(network: UNet) -> UNet {
        let level = |level: UNetLevel| UNetLevel {
            first: level.first.fold(),
            second: level.second.fold(),
            ..level
        };
        UNet {
            levels: network.levels.into_iter().map(level).collect(),
            head: network.head.compile(),
            hypercolumns: network.hypercolumns.map(HrNetHeadConfig::optimize),
            maps: network.maps,
        }
    }
}

impl Decode for UNet {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let map = |index: usize| features.maps[self.maps[index]].clone();
        let coarsest = map(self.levels.len());
        let levels = self.levels.iter().enumerate().rev();
        let finest =
            levels.fold(coarsest, |below, (index, level)| level.forward(below, map(index)));
        let mut logits = self.head.forward(finest);
        if let Some(head) = &self.hypercolumns {
            let [.., height, width] = logits.dims();
            logits = logits + head.forward(features, [height, width]);
        }
        kshot_kernels::bilinear(logits, size, false)
    }
}

impl UNet {
    /// The kernels of the transposed convolutions, `[channels_in, channels_out, 2, 2]`, finest first.
    pub fn transposed(&self) -> Vec<Tensor<4>> {
        self.levels.iter().map(|level| level.up.val()).collect()
    }
}

impl UNetLevel {
    fn new(below: usize, beside: usize, width: usize, device: &Device) -> Self {
        // PyTorch's law for transposed convolutions, whose fan-in counts outputs.
        let bound = 1.0 / ((width * 4) as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        let layer = |channels| {
            ConvNormAct::new(&ConvConfig::new(channels, 3), EPSILON, Activation::Relu, device)
        };
        Self {
            up: uniform.init([below, width, 2, 2], device),
            bias: uniform.init([width], device),
            first: layer([width + beside, width]),
            second: layer([width, width]),
        }
    }

    fn forward(&self, below: Tensor<4>, beside: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        let (weight, bias) = (self.up.val(), Some(self.bias.val()));
        let up = kshot_kernels::conv_transpose2d(below, weight, bias, options);
        let [_, _, height, width] = beside.dims();
        let up = up.narrow(2, 0, height).narrow(3, 0, width);
        self.second.forward(self.first.forward(Tensor::cat(vec![beside, up], 1)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn hypercolumns_add_their_logits() {
        let device = Device::flex();
        device.seed(3);
        let config = UNetConfig { width: 4, hypercolumns: Some(6) };
        let (channels, strides) = ([3, 5, 4], [2, 4, 8]);
        let network = config.init(&channels, &strides, 3, &device).unwrap();
        let map = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Default, &device);
        let maps = vec![map([2, 3, 16, 8]), map([2, 5, 8, 4]), map([2, 4, 4, 2])];
        let features = Features { maps };
        let alone = UNet { hypercolumns: None, ..network.clone() };
        let beside = network.hypercolumns.clone().unwrap().forward(&features, [16, 8]);
        let finest = alone.forward(&features, [16, 8]) + beside;
        let expected = kshot_kernels::bilinear(finest, [31, 16], false);
        let optimized = UNetConfig::optimize(network.clone());
        for of in [&network, &optimized] {
            let ours = of.forward(&features, [31, 16]);
            let apart = (ours - expected.clone()).abs().max().into_scalar::<f32>();
            assert!(apart < 1e-5, "{apart}");
        }
        assert!(optimized.hypercolumns.is_some());
    }

    #[test]
    fn hypercolumns_ask_for_two_maps_of_stride_4() {
        let config = UNetConfig { width: 4, hypercolumns: Some(6) };
        let error = config.init(&[3, 5], &[2, 4], 3, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("maps of two strides or more"), "{error}");
    }
}
