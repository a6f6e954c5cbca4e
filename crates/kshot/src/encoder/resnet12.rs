//! `resnet12`: four residual blocks of three 3x3 convolutions, 2x2 max pooling after each, the mean
//! over pixels at the end (Lee et al. 2019, MetaOptNet, arXiv 1904.03758: widths 64, 160, 320, 640,
//! leaky ReLU of slope 0.1).
//!
//! Deviation: no DropBlock.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::ops::ConvOptions;

use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNorm, Pass};
use crate::nn::weights::{Cursor, FlatWeights};

/// Below zero the activation has this slope.
const SLOPE: f64 = 0.1;

/// What a [`ResNet12`] is made from.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct ResNet12Config {
    /// Channels of each block.
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub widths: [usize; 4],
}

impl Default for ResNet12Config {
    fn default() -> Self {
        Self { widths: [64, 160, 320, 640] }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct ResNet12 {
    blocks: Vec<ResNet12Block>,
}

#[derive(Module, Debug)]
struct ResNet12Block {
    layers: Vec<ResNet12Layer>,
    shortcut: ResNet12Layer,
}

#[derive(Module, Debug)]
struct ResNet12Layer {
    weight: Param<Tensor<4>>,
    norm: BatchNorm,
}

impl ResNet12 {
    /// Random weights (Kaiming's normal law over the outputs) for pictures of `channels`.
    pub fn new(config: &ResNet12Config, channels: usize, device: &Device) -> Self {
        let mut inside = channels;
        let blocks = config.widths.iter().map(|&width| {
            let layer = |channels, kernel| ResNet12Layer::new(channels, kernel, device);
            let block = ResNet12Block {
                layers: vec![layer([inside, width], 3), layer([width; 2], 3), layer([width; 2], 3)],
                shortcut: layer([inside, width], 1),
            };
            inside = width;
            block
        });
        Self { blocks: blocks.collect() }
    }

    /// Appends its parameters in the order of their use.
    pub fn list(&self, weights: &mut FlatWeights) {
        for block in &self.blocks {
            for layer in block.layers.iter().chain([&block.shortcut]) {
                weights.push(&layer.weight);
                layer.norm.list(weights);
            }
        }
    }

    /// `[batch, channels, height, width]` to `[batch, width, height / 16, width / 16]`.
    pub fn maps(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<4> {
        self.blocks.iter().fold(images, |images, block| {
            let last = block.layers.len() - 1;
            let inner =
                block.layers.iter().enumerate().fold(images.clone(), |images, (index, layer)| {
                    let result = layer.forward(images, weights, pass);
                    if index == last { result } else { result.relu(SLOPE) }
                });
            let outer = block.shortcut.forward(images, weights, pass);
            inner.plus(outer).relu(SLOPE).max_pool(2)
        })
    }

    /// Channels of the maps.
    pub fn channels(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.shortcut.weight.dims()[0])
    }

    /// Height and width of the maps for pictures of `size`; `None` if nothing would be left.
    pub fn size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let size = size.map(|size| size >> self.blocks.len());
        (size[0] > 0 && size[1] > 0).then_some(size)
    }
}

impl ResNet12Layer {
    fn new([inside, outside]: [usize; 2], kernel: usize, device: &Device) -> Self {
        let initializer =
            Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: true };
        let area = kernel * kernel;
        let weight = initializer.init_with(
            [outside, inside, kernel, kernel],
            Some(inside * area),
            Some(outside * area),
            device,
        );
        Self { weight, norm: BatchNorm::new(outside, device) }
    }

    fn forward(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<4> {
        let shape = self.weight.dims();
        let options = ConvOptions::new([1; 2], [shape[2] / 2; 2], [1; 2], 1);
        let images = images.conv2d(weights.take(shape), None, options);
        self.norm.forward_dual(images, weights, pass, false)
    }
}
