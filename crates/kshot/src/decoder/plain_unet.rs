//! The decoder of nnU-Net's plain U-Net (Isensee et al. 2021, Nature Methods; arXiv 1904.08128, 1809.10486) on any
//! encoder: instance normalisation, leaky ReLU and deep supervision.
//!
//! From the coarsest map up: a transposed convolution of 2x2 doubles the map and takes it to the channels of the encoder's
//! map of that size, which is laid behind it; two 3x3 convolutions follow. A 1x1 convolution makes logits of the finest
//! map. While it trains, such convolutions also make logits of the coarser maps, whose losses count half, a quarter and so
//! on as much; the weights are divided by their sum. The coarsest level's counts nothing, as in the authors' code.
//!
//! Deviations: convolutions before a normalisation have no bias, which changes nothing; the head that counts nothing is
//! not made; sides that are no multiple of the stride are cut to the encoder's map; where the finest map is smaller than
//! the picture, logits are resized bilinearly.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::ops::ConvTransposeOptions;

use super::{AuxiliaryLogits, Decode, DecodeConfig, TrainLogits, check_classes};
use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::instance_norm::{he, he_conv};
use crate::nn::{Conv, ConvConfig, ConvInstanceNorm};

/// Convolutions a level that make sense.
const CONVS: std::ops::RangeInclusive<usize> = 1..=8;

/// What a [`PlainUNet`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct PlainUNetDecoderConfig {
    /// Convolutions of each level.
    #[schemars(range(min = *CONVS.start(), max = *CONVS.end()))]
    pub convs: usize,
    /// Whether coarser levels have logits of their own while it trains.
    pub deep_supervision: bool,
}

impl Default for PlainUNetDecoderConfig {
    fn default() -> Self {
        Self { convs: 2, deep_supervision: true }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct PlainUNet {
    /// Finest first.
    levels: Vec<PlainUNetLevel>,
    head: Conv,
    /// Those of deep supervision, from the second finest level on.
    auxiliary: Vec<Conv>,
    /// Which of the encoder's maps are used: the last of each size, finest first.
    maps: Vec<usize>,
}

/// Up by two, and the encoder's map behind it.
#[derive(Module, Debug)]
struct PlainUNetLevel {
    /// `[channels_in, channels_out, 2, 2]`
    up: Param<Tensor<4>>,
    /// `[channels_out]`
    bias: Param<Tensor<1>>,
    layers: Vec<ConvInstanceNorm>,
}

impl DecodeConfig for PlainUNetDecoderConfig {
    type Network = PlainUNet;

    const NAME: &'static str = "plain-unet";
    const SUMMARY: &'static str =
        "nnU-Net's plain U-Net: instance normalisation, leaky ReLU, deep supervision";
    const SOURCE: &'static str = "https://arxiv.org/abs/1904.08128";

    /// # Errors
    /// If there are fewer than two maps, or one is not half as large as the one before, or no classes.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<PlainUNet> {
        check_classes(classes)?;
        let last = |index: &usize| strides.get(index + 1) != strides.get(*index);
        let maps: Vec<usize> = (0..channels.len().min(strides.len())).filter(last).collect();
        let doubles = maps.windows(2).all(|pair| strides[pair[1]] == 2 * strides[pair[0]]);
        if maps.len() < 2 || !doubles {
            return Err(Error::config(format!(
                "a plain U-Net on maps of strides {strides:?}: it needs two or more, each half as large as the one \
                 before"
            )));
        }
        if !CONVS.contains(&self.convs) {
            return Err(Error::config(format!(
                "a plain U-Net with {} convolutions a level; valid are {} to {}",
                self.convs,
                CONVS.start(),
                CONVS.end()
            )));
        }
        let width = |level: usize| channels[maps[level]];
        let coarsest = maps.len() - 1;
        let levels = (0..coarsest)
            .map(|level| PlainUNetLevel::new(width(level + 1), width(level), self.convs, device))
            .collect();
        let head =
            |level: usize| he_conv(&ConvConfig::new([width(level), classes], 1), true, device);
        let supervised = if self.deep_supervision { 1..coarsest - 1 } else { 0..0 };
        Ok(PlainUNet { levels, head: head(0), auxiliary: supervised.map(head).collect(), maps })
    }

    fn optimize(network: PlainUNet) -> PlainUNet {
        let compiled = |level: PlainUNetLevel| PlainUNetLevel {
            layers: level.layers.into_iter().map(ConvInstanceNorm::compile).collect(),
            ..level
        };
        PlainUNet {
            levels: network.levels.into_iter().map(compiled).collect(),
            head: network.head.compile(),
            ..network
        }
    }
}

impl Decode for PlainUNet {
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let mut finest = self.coarsest(features);
        self.up(features, |_, map| finest = map);
        self.logits(finest, size)
    }

    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        let mut finest = self.coarsest(features);
        let mut auxiliary = Vec::with_capacity(self.auxiliary.len());
        self.up(features, |level, map| {
            if let Some(head) = level.checked_sub(1).and_then(|index| self.auxiliary.get(index)) {
                auxiliary.push(AuxiliaryLogits {
                    logits: head.forward(map.clone()),
                    weight: self.weight(level),
                });
            }
            finest = map;
        });
        auxiliary.reverse();
        TrainLogits { logits: self.logits(finest, size), auxiliary }
    }

    fn main_weight(&self) -> f64 {
        self.weight(0)
    }
}

impl PlainUNet {
    /// Decoder levels: one less than the maps that it uses.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// The kernels of the transposed convolutions, `[channels_in, channels_out, 2, 2]`, finest first.
    pub fn transposed(&self) -> Vec<Tensor<4>> {
        self.levels.iter().map(|level| level.up.val()).collect()
    }

    /// The weight of a level's loss: all of them together are 1.
    fn weight(&self, level: usize) -> f64 {
        let halved = |level: usize| 0.5f64.powi(level as i32);
        halved(level) / (0..=self.auxiliary.len()).map(halved).sum::<f64>()
    }

    fn coarsest(&self, features: &Features) -> Tensor<4> {
        features.maps[self.maps[self.levels.len()]].clone()
    }

    /// Goes from the coarsest map up and tells each level's map.
    fn up(&self, features: &Features, mut tell: impl FnMut(usize, Tensor<4>)) {
        let mut below = self.coarsest(features);
        for (index, level) in self.levels.iter().enumerate().rev() {
            below = level.forward(below, features.maps[self.maps[index]].clone());
            tell(index, below.clone());
        }
    }

    fn logits(&self, finest: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let logits = self.head.forward(finest);
        let [.., height, width] = logits.dims();
        if [height, width] == size {
            return logits;
        }
        kshot_kernels::bilinear(logits, size, false)
    }
}

impl PlainUNetLevel {
    fn new(below: usize, beside: usize, convs: usize, device: &Device) -> Self {
        let layer = |index: usize| {
            let inside = if index == 0 { 2 * beside } else { beside };
            ConvInstanceNorm::new(&ConvConfig::new([inside, beside], 3), device)
        };
        Self {
            // The fan-in of PyTorch's transposed convolutions counts outputs.
            up: he([below, beside, 2, 2], beside * 4, device),
            bias: Initializer::Zeros.init([beside], device),
            layers: (0..convs).map(layer).collect(),
        }
    }

    fn forward(&self, below: Tensor<4>, beside: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        let (weight, bias) = (self.up.val(), Some(self.bias.val()));
        let up = kshot_kernels::conv_transpose2d(below, weight, bias, options);
        let [_, _, height, width] = beside.dims();
        let up = up.narrow(2, 0, height).narrow(3, 0, width);
        let both = Tensor::cat(vec![up, beside], 1);
        self.layers.iter().fold(both, |map, layer| layer.forward(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(maps: usize, deep_supervision: bool) -> Vec<f64> {
        let device = Device::flex();
        let strides: Vec<usize> = (0..maps).map(|map| 1 << map).collect();
        let config = PlainUNetDecoderConfig { deep_supervision, ..Default::default() };
        let network = config.init(&vec![2; maps], &strides, 3, &device).unwrap();
        let features = Features {
            maps: strides.iter().map(|s| Tensor::zeros([1, 2, 64 / s, 64 / s], &device)).collect(),
        };
        let told = network.train_forward(&features, [64, 64]).auxiliary;
        assert!(told.iter().enumerate().all(|(i, a)| a.logits.dims()[2] == 32 >> i));
        let auxiliary = told.into_iter().map(|head| head.weight);
        std::iter::once(network.main_weight()).chain(auxiliary).collect()
    }

    #[test]
    fn weights_halve_and_add_up_to_one_without_the_coarsest() {
        assert_eq!(weights(4, true), [2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(weights(5, true), [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0]);
        assert_eq!(weights(2, true), [1.0]);
        assert_eq!(weights(3, true), [1.0]);
        assert_eq!(weights(5, false), [1.0]);
    }
}
