//! Residual blocks (He et al. 2015, arXiv 1512.03385), which several families are made of.

use burn::module::Module;
use burn::prelude::*;
use kshot_kernels::add_activated;

use crate::nn::{Activation, ConvConfig, ConvNormAct};

/// Added to variances.
const EPSILON: f64 = 1e-5;

/// What a block is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockShape {
    /// Of input and output.
    pub channels: [usize; 2],
    /// Of the convolution which may be strided.
    pub stride: usize,
    /// Of the convolution which may be strided, and of the one after it if there is one.
    pub dilations: [usize; 2],
}

impl BlockShape {
    /// Without dilation.
    pub fn new(channels: [usize; 2], stride: usize) -> Self {
        Self { channels, stride, dilations: [1, 1] }
    }
}

/// A residual block: the input, projected where shapes differ, is added before the last activation.
#[derive(Module, Debug)]
pub(super) struct ResidualBlock {
    layers: Vec<ConvNormAct>,
    shortcut: Option<ConvNormAct>,
    #[module(skip)]
    activation: Activation,
}

impl ResidualBlock {
    /// Two 3x3 convolutions.
    pub fn basic(shape: &BlockShape, device: &Device) -> Self {
        let [input, output] = shape.channels;
        let [first, second] = shape.dilations;
        let strided = ConvConfig::new([input, output], 3);
        let plain = ConvConfig::new([output, output], 3);
        let layers =
            [strided.with_stride(shape.stride).with_dilation(first), plain.with_dilation(second)];
        Self::new(&layers, shape, device)
    }

    /// Three convolutions: to `narrow` channels, 3x3 there, and to the output's.
    pub fn bottleneck(shape: &BlockShape, narrow: usize, device: &Device) -> Self {
        let [input, output] = shape.channels;
        let filter = ConvConfig::new([narrow, narrow], 3);
        let layers = [
            ConvConfig::new([input, narrow], 1),
            filter.with_stride(shape.stride).with_dilation(shape.dilations[0]),
            ConvConfig::new([narrow, output], 1),
        ];
        Self::new(&layers, shape, device)
    }

    fn new(layers: &[ConvConfig], shape: &BlockShape, device: &Device) -> Self {
        let layer =
            |config: &ConvConfig, activation| ConvNormAct::new(config, EPSILON, activation, device);
        let [input, output] = shape.channels;
        let shortcut = ConvConfig::new([input, output], 1).with_stride(shape.stride);
        // The last layer is activated together with what is added to it.
        let last = layers.len() - 1;
        let of = |index| if index < last { Activation::Relu } else { Activation::Identity };
        let numbered = layers.iter().enumerate();
        Self {
            layers: numbered.map(|(index, config)| layer(config, of(index))).collect(),
            shortcut: (shape.stride > 1 || input != output)
                .then(|| layer(&shortcut, Activation::Identity)),
            activation: Activation::Relu,
        }
    }

    /// The same without an activation of the sum.
    #[must_use]
    pub fn linear(self) -> Self {
        Self { activation: Activation::Identity, ..self }
    }

    /// # Shapes
    /// `[batch, channels[0], height, width]` to `[batch, channels[1], height / stride, ...]`, rounded up
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut image = input.clone();
        for layer in &self.layers {
            image = layer.forward(image);
        }
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
        add_activated(image, shortcut, self.activation)
    }

    /// The same function for inference.
    pub fn fold(self) -> Self {
        Self {
            layers: self.layers.into_iter().map(ConvNormAct::fold).collect(),
            shortcut: self.shortcut.map(ConvNormAct::fold),
            ..self
        }
    }
}

/// Blocks one after the other, of one resolution and width.
#[derive(Module, Debug)]
pub(super) struct Stage {
    pub blocks: Vec<ResidualBlock>,
}

impl Stage {
    /// # Shapes
    /// As the blocks, one after the other
    pub fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(image, |image, block| block.forward(image))
    }

    /// The same function for inference.
    pub fn fold(self) -> Self {
        Self { blocks: self.blocks.into_iter().map(ResidualBlock::fold).collect() }
    }
}
