//! U-Net's decoder (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) on any encoder.
//!
//! From the coarsest map up: a transposed convolution of 2x2 doubles the map, the encoder's map of that
//! size is laid beside it, and two 3x3 convolutions follow. One 1x1 convolution makes logits at the
//! finest map's size, which are resized bilinearly to the picture's.
//!
//! Deviations, as in most code today: convolutions are padded and batch normalised, and the encoder is
//! whichever was given. Sides that are no multiple of the stride are cut to the encoder's map.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer};
use burn::prelude::*;
use burn::tensor::ops::ConvTransposeOptions;

use crate::encoder::Features;
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv, ConvConfig};

/// What a [`UNet`] is made from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UNetConfig {
    /// Channels at the finest map; each coarser one has twice as many.
    pub width: usize,
    /// Channels of the result.
    pub classes: usize,
}

impl Default for UNetConfig {
    fn default() -> Self {
        Self { width: 32, classes: 2 }
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct UNet {
    /// Finest first.
    levels: Vec<Level>,
    head: Conv,
    /// Which of the encoder's maps are used: the last of each size, finest first.
    maps: Vec<usize>,
}

/// Up by two, and the encoder's map beside it.
#[derive(Module, Debug)]
struct Level {
    /// `[channels_in, channels_out, 2, 2]`
    up: Param<Tensor<4>>,
    /// `[channels_out]`
    bias: Param<Tensor<1>>,
    first: Layer,
    second: Layer,
}

/// 3x3 convolution, batch normalisation, ReLU.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv,
    /// None once it is part of the kernels.
    norm: Option<BatchNorm>,
}

impl UNetConfig {
    /// The decoder with random weights for an encoder's [`channels`](crate::encoder::Encode::channels)
    /// and [`strides`](crate::encoder::Encode::strides), finest first.
    ///
    /// # Errors
    /// If there are fewer than two sizes, or one is not half of the one before.
    pub fn init(&self, channels: &[usize], strides: &[usize], device: &Device) -> Result<UNet> {
        let last = |index: &usize| strides.get(index + 1) != strides.get(*index);
        let maps: Vec<usize> = (0..channels.len().min(strides.len())).filter(last).collect();
        let doubles = maps.windows(2).all(|pair| strides[pair[1]] == 2 * strides[pair[0]]);
        if maps.len() < 2 || !doubles || self.width == 0 || self.classes == 0 {
            return Err(Error::config(format!(
                "a U-Net of width {} for {} classes on maps of strides {strides:?}: it needs two or \
                 more, each half as large as the one before, and a width and classes of at least 1",
                self.width, self.classes
            )));
        }
        let width = |level: usize| self.width << level;
        let coarsest = maps.len() - 1;
        let levels = (0..coarsest)
            .map(|level| {
                let below =
                    if level + 1 == coarsest { channels[maps[coarsest]] } else { width(level + 1) };
                Level::new(below, channels[maps[level]], width(level), device)
            })
            .collect();
        let head = ConvConfig::new([self.width, self.classes], 1).init(true, device);
        Ok(UNet { levels, head, maps })
    }
}

impl UNet {
    /// Logits of the picture's pixels.
    ///
    /// # Shapes
    /// `features` of pictures `[batch, 3, size[0], size[1]]` to `[batch, classes, size[0], size[1]]`
    ///
    /// # Panics
    /// If the features are of another encoder.
    pub fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
        let map = |index: usize| features.maps[self.maps[index]].clone();
        let coarsest = map(self.levels.len());
        let levels = self.levels.iter().enumerate().rev();
        let finest =
            levels.fold(coarsest, |below, (index, level)| level.forward(below, map(index)));
        kshot_kernels::bilinear(self.head.forward(finest), size, false)
    }

    /// The kernels of the transposed convolutions, `[channels_in, channels_out, 2, 2]`, finest first.
    pub fn transposed(&self) -> Vec<Tensor<4>> {
        self.levels.iter().map(|level| level.up.val()).collect()
    }

    /// The same function for inference: normalisation becomes part of the kernels. Doing it twice
    /// changes nothing.
    #[must_use]
    pub fn optimize(self) -> Self {
        let level = |level: Level| Level {
            first: level.first.fold(),
            second: level.second.fold(),
            ..level
        };
        Self {
            levels: self.levels.into_iter().map(level).collect(),
            head: self.head.compile(),
            maps: self.maps,
        }
    }
}

impl Level {
    fn new(below: usize, beside: usize, width: usize, device: &Device) -> Self {
        // PyTorch's law for transposed convolutions, whose fan-in counts outputs.
        let bound = 1.0 / ((width * 4) as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        Self {
            up: uniform.init([below, width, 2, 2], device),
            bias: uniform.init([width], device),
            first: Layer::new([width + beside, width], device),
            second: Layer::new([width, width], device),
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

impl Layer {
    fn new(channels: [usize; 2], device: &Device) -> Self {
        let conv = ConvConfig::new(channels, 3).init(false, device);
        Self { conv, norm: Some(BatchNormConfig::new(channels[1]).init(device)) }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(norm) => {
                let maps = self.conv.forward(images);
                kshot_kernels::batch_norm_layer(norm, maps, Activation::Relu)
            }
            None => self.conv.activated(images, Activation::Relu),
        }
    }

    fn fold(self) -> Self {
        match self.norm {
            Some(norm) => Self { conv: self.conv.normalised(&norm).compile(), norm: None },
            None => self,
        }
    }
}
