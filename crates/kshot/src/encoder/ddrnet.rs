//! DDRNet: two branches, of high resolution and of low, which tell each other what they found.
//!
//! - Paper: Hong et al., *Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of
//!   Road Scenes*, 2021, <https://arxiv.org/abs/2101.06085>
//! - Weights have the names of the authors' code, those of their ImageNet networks and those of their
//!   segmentation networks alike: the classifier and the way to it, or the decoder, are left out
//! - As in the authors' segmentation networks the low branch's last stage is strided. It is not in their
//!   ImageNet networks, whose weights are the same
//! - Sides that are no multiple of 8, which the authors' code does not take: what the low branch found is
//!   resized to the high branch's map, whatever its size
//! - The stem's convolutions have biases, as the authors', although batch normalisation follows
//!
//! Features, finest first, all of them before the ReLU that what follows begins with, as the authors' heads
//! take them:
//!
//! | stride | map |
//! |---|---|
//! | 4 | the first stage |
//! | 8 | the high branch after the first fusion, which the paper's auxiliary head sees |
//! | 8 | the high branch's end |
//! | 16, 32 | the low branch after the first and the second fusion |
//! | 64 | the low branch's end, which DAPPM sees |

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::residual::{BlockShape, ResidualBlock, Stage};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

/// Added to variances.
const EPSILON: f64 = 1e-5;

const STRIDES: [usize; 6] = [4, 8, 8, 16, 32, 64];

/// Which DDRNet-23: one of [`Family::PRESETS`], or of any other width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DdrNetConfig {
    /// Channels of the stem and the first stage.
    pub width: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

/// Two basic blocks, the second without an activation of its sum.
fn pair(channels: [usize; 2], stride: usize, device: &Device) -> Stage {
    let first = ResidualBlock::basic(&BlockShape::new(channels, stride), device);
    let second = BlockShape::new([channels[1]; 2], 1);
    Stage { blocks: vec![first, ResidualBlock::basic(&second, device).linear()] }
}

/// A bottleneck that doubles the channels, without an activation of its sum.
fn widen(channels: usize, stride: usize, device: &Device) -> Stage {
    let shape = BlockShape::new([channels, 2 * channels], stride);
    Stage { blocks: vec![ResidualBlock::bottleneck(&shape, channels, device).linear()] }
}

impl Family for DdrNetConfig {
    type Network = DdrNet;

    const ABOUT: About = About {
        title: "DDRNet",
        paper: "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road Scenes",
        year: 2021,
        url: "https://arxiv.org/abs/2101.06085",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "ddrnet-23-slim",
            config: Self { width: 32, in_channels: 3 },
            note: "for real-time segmentation, with decoder ddrnet",
            parameters: 4_547_232,
        },
        Preset {
            name: "ddrnet-23",
            config: Self { width: 64, in_channels: 3 },
            note: "ddrnet-23-slim, twice as wide",
            parameters: 18_165_056,
        },
        Preset {
            name: "ddrnet-tiny",
            config: Self { width: 8, in_channels: 3 },
            note: "for tests",
            parameters: 286_440,
        },
    ];

    fn init(&self, device: &Device) -> DdrNet {
        let Self { width, in_channels } = *self;
        let stem = |channels| {
            let config = ConvConfig::new(channels, 3).with_stride(2);
            ConvNormAct::biased(&config, Some(EPSILON), Activation::Relu, device)
        };
        let down = |channels, activation| {
            let config = ConvConfig::new(channels, 3).with_stride(2);
            ConvNormAct::new(&config, EPSILON, activation, device)
        };
        let compress = |channels| {
            let config = ConvConfig::new([channels, 2 * width], 1);
            ConvNormAct::new(&config, EPSILON, Activation::Identity, device)
        };
        DdrNet {
            stem: vec![stem([in_channels, width]), stem([width; 2])],
            shared: vec![pair([width; 2], 1, device), pair([width, 2 * width], 2, device)],
            low: vec![
                pair([2 * width, 4 * width], 2, device),
                pair([4 * width, 8 * width], 2, device),
                widen(8 * width, 2, device),
            ],
            high: vec![
                pair([2 * width; 2], 1, device),
                pair([2 * width; 2], 1, device),
                widen(2 * width, 1, device),
            ],
            down: vec![
                vec![down([2 * width, 4 * width], Activation::Identity)],
                vec![
                    down([2 * width, 4 * width], Activation::Relu),
                    down([4 * width, 8 * width], Activation::Identity),
                ],
            ],
            compress: vec![compress(4 * width), compress(8 * width)],
            width,
        }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        channels(self.width)
    }

    fn strides(&self) -> Vec<usize> {
        STRIDES.to_vec()
    }

    fn output_strides(&self) -> &'static [usize] {
        &[64]
    }

    fn with_output_stride(self, _output_stride: usize) -> Self {
        self
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: DdrNet) -> DdrNet {
        let stages = |stages: Vec<Stage>| stages.into_iter().map(Stage::fold).collect();
        let layers = |layers: Vec<ConvNormAct>| layers.into_iter().map(ConvNormAct::fold).collect();
        DdrNet {
            stem: layers(network.stem),
            shared: stages(network.shared),
            low: stages(network.low),
            high: stages(network.high),
            down: network.down.into_iter().map(layers).collect(),
            compress: layers(network.compress),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::ddrnet::rename(foreign)
    }

    const FIRST_KERNELS: &'static str = "stem.0.conv.weight";
}

fn channels(width: usize) -> Vec<usize> {
    [1, 2, 4, 4, 8, 16].map(|factor| factor * width).to_vec()
}

/// A DDRNet-23 without its decoder.
#[derive(Module, Debug)]
pub struct DdrNet {
    stem: Vec<ConvNormAct>,
    /// Before there are two branches.
    shared: Vec<Stage>,
    /// Of the low-resolution branch.
    low: Vec<Stage>,
    /// Of the high-resolution branch.
    high: Vec<Stage>,
    /// From the high branch to the low one, at each fusion.
    down: Vec<Vec<ConvNormAct>>,
    /// From the low branch to the high one, at each fusion.
    compress: Vec<ConvNormAct>,
    width: usize,
}

impl Encode for DdrNet {
    fn forward(&self, images: Tensor<4>) -> Features {
        let image = through(&self.stem, images);
        let [first, second] = [&self.shared[0], &self.shared[1]];
        let first = first.forward(image);
        let shared = relu(second.forward(relu(first.clone())));
        let (mut low, mut high) = (shared.clone(), shared);
        let (mut lows, mut highs) = (Vec::with_capacity(3), Vec::with_capacity(3));
        for (index, (down, compress)) in self.down.iter().zip(&self.compress).enumerate() {
            let coarse = self.low[index].forward(low);
            let fine = self.high[index].forward(high);
            let [.., height, width] = fine.dims();
            let up = compress.forward(relu(coarse.clone()));
            let coarse = coarse + through(down, relu(fine.clone()));
            let fine = fine + kshot_kernels::bilinear(up, [height, width], false);
            (low, high) = (relu(coarse.clone()), relu(fine.clone()));
            lows.push(coarse);
            highs.push(fine);
        }
        lows.push(self.low[2].forward(low));
        let end = self.high[2].forward(high);
        highs.truncate(1); // nobody reads the second fusion's but the high branch itself
        let maps = std::iter::once(first).chain(highs).chain([end]).chain(lows);
        Features { maps: maps.collect() }
    }

    fn in_channels(&self) -> usize {
        self.stem[0].conv.weight.dims()[1]
    }

    fn channels(&self) -> Vec<usize> {
        channels(self.width)
    }

    fn strides(&self) -> Vec<usize> {
        STRIDES.to_vec()
    }
}

fn through(layers: &[ConvNormAct], image: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(image, |image, layer| layer.forward(image))
}
