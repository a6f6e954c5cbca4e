//! What several heads are built from.

use burn::module::Module;
use burn::nn::Initializer;
use burn::prelude::*;

use super::maps::{Maps, SPECK};
use crate::nn::{Activation, Conv, ConvConfig, Dropout};

/// How long an embedding is at the start, squared: distances and products are then of a size for a softmax.
const LENGTH: f64 = 10.0;

/// Maps of several sizes as one of a given width, on the grid of the finest: a 1x1 convolution of each map (of unit length
/// over its channels), brought up bilinearly and added.
#[derive(Module, Debug)]
pub struct Embedding {
    project: Vec<Conv>,
    bias: burn::module::Param<Tensor<1>>,
    #[module(skip)]
    width: usize,
}

impl Embedding {
    /// For maps of so many channels, finest first.
    pub fn new(channels: &[usize], width: usize, device: &Device) -> Self {
        // What the sum of all stages has at each number of the embedding.
        let std = (LENGTH / width as f64 / channels.len().max(1) as f64).sqrt();
        let project = channels.iter().map(|&channels| {
            let normal = Initializer::Normal { mean: 0.0, std };
            ConvConfig::new([channels, width], 1).init_by(&normal, false, device)
        });
        let bias = Initializer::Zeros.init([width], device);
        Self { project: project.collect(), bias, width }
    }

    /// `[batch, width, rows, columns]` of maps of unit length.
    pub fn forward(&self, maps: &Maps) -> Tensor<4> {
        let grid = maps.grid();
        let parts = self.project.iter().zip(&maps.0).map(|(project, map)| {
            let part = project.forward(map.clone());
            if [part.dims()[2], part.dims()[3]] == grid {
                part
            } else {
                kshot_kernels::bilinear(part, grid, false)
            }
        });
        let sum = parts.reduce(|sum, part| sum + part);
        let sum = sum.unwrap_or_else(|| panic!("at least one stage"));
        sum + self.bias.val().reshape([1, self.width, 1, 1])
    }
}

/// Two 3x3 convolutions with ReLU, dropout of whole maps between them, and a 1x1 convolution.
#[derive(Module, Debug)]
pub struct PixelScores {
    first: Conv,
    second: Conv,
    last: Conv,
    #[module(skip)]
    dropout: Dropout,
}

impl PixelScores {
    /// From so many channels to so many scores; `width` in between.
    pub fn new(
        channels: usize,
        width: usize,
        scores: usize,
        dropout: f64,
        device: &Device,
    ) -> Self {
        let kaiming =
            Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false };
        let conv = |channels: [usize; 2], kernel: usize| {
            ConvConfig::new(channels, kernel).init_by(&kaiming, true, device)
        };
        // Small at first, so that what it is added to speaks.
        let last = ConvConfig::new([width, scores], 1);
        let last = last.init_by(&Initializer::Normal { mean: 0.0, std: 0.01 }, true, device);
        let (first, second) = (conv([channels, width], 3), conv([width, width], 3));
        Self { first, second, last, dropout: Dropout::of_maps(dropout) }
    }

    /// `[batch, channels, rows, columns]` to `[batch, scores, rows, columns]`.
    pub fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let hidden = self.first.activated(maps, Activation::Relu);
        let hidden = self.second.activated(self.dropout.forward(hidden), Activation::Relu);
        self.last.forward(hidden)
    }
}

/// Logits `[batch, ways + 1, size[0], size[1]]` of classes that each say by themselves how much a pixel is theirs rather
/// than background: `[batch, 1, rows, columns]` each. A background of 0 comes before them.
pub fn against_background(ways: Vec<Tensor<4>>, size: [usize; 2]) -> Tensor<4> {
    let [batch, _, rows, columns] = ways[0].dims();
    let background = Tensor::zeros([batch, 1, rows, columns], &ways[0].device());
    let logits = Tensor::cat([vec![background], ways].concat(), 1);
    kshot_kernels::bilinear(logits, size, false)
}

/// The mean of an embedding under masks, over all pictures together: `[planes, width]` of `[batch, width, rows, columns]`
/// and shares `[batch, planes, rows, columns]`.
pub fn means(embedding: &Tensor<4>, shares: &Tensor<4>) -> Tensor<2> {
    let [batch, width, rows, columns] = embedding.dims();
    let [_, planes, ..] = shares.dims();
    let cells = embedding.clone().reshape([batch, width, rows * columns]).swap_dims(1, 2);
    let weights = shares.clone().reshape([batch, planes, rows * columns]);
    let sums = weights.clone().matmul(cells).sum_dim(0).reshape([planes, width]);
    sums / (weights.sum_dim(2).sum_dim(0).reshape([planes, 1]) + SPECK)
}
