//! ResNet: stages of residual blocks; the encoder most published weights exist for.
//!
//! - Paper: He et al., *Deep Residual Learning for Image Recognition*, 2015,
//!   <https://arxiv.org/abs/1512.03385>
//! - As in torchvision, the stride of a bottleneck is that of its 3x3 convolution, not of the first
//!   ("ResNet v1.5"); weights have torchvision's names, which timm shares
//! - `-os8`: the last two stages keep stride 8 and spread their kernels by 2 and 4 instead, as
//!   torchvision's `replace_stride_with_dilation` and timm's `output_stride` do; from Yu, Koltun and
//!   Funkhouser, *Dilated Residual Networks*, 2017, <https://arxiv.org/abs/1705.09914>. The weights
//!   are those of the network without `-os8`
//!
//! Features are the stem before its pool (stride 2) and the outputs of the four stages; a map
//! measures `ceil(size / stride)` for any size.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::MaxPoolOptions;
use kshot_kernels::{add_activated, max_pool2d};

use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNorm};

const EPSILON: f64 = 1e-5;

/// Which ResNet: see [`Family::PRESETS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResNetConfig {
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Three convolutions per block, which narrow, filter and widen, instead of two.
    bottleneck: bool,
    /// Channels of the stem.
    width: usize,
    /// The last two stages are dilated instead of strided.
    dilated: bool,
}

const RESNET18: ResNetConfig =
    ResNetConfig { depths: [2, 2, 2, 2], bottleneck: false, width: 64, dilated: false };
const RESNET34: ResNetConfig = ResNetConfig { depths: [3, 4, 6, 3], ..RESNET18 };
const RESNET50: ResNetConfig = ResNetConfig { bottleneck: true, ..RESNET34 };
const RESNET101: ResNetConfig = ResNetConfig { depths: [3, 4, 23, 3], ..RESNET50 };

impl ResNetConfig {
    const fn dilated(self) -> Self {
        Self { dilated: true, ..self }
    }

    pub(super) fn channels(&self) -> Vec<usize> {
        let widening = if self.bottleneck { 4 } else { 1 };
        let stages = (0..4).map(|stage| widening * (self.width << stage));
        std::iter::once(self.width).chain(stages).collect()
    }

    pub(super) fn strides(&self) -> Vec<usize> {
        if self.dilated { vec![2, 4, 8, 8, 8] } else { vec![2, 4, 8, 16, 32] }
    }
}

impl Family for ResNetConfig {
    type Network = ResNet;

    const ABOUT: About = About {
        title: "ResNet",
        paper: "Deep Residual Learning for Image Recognition",
        year: 2015,
        url: "https://arxiv.org/abs/1512.03385",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "resnet18",
            config: RESNET18,
            note: "the smallest residual network",
            parameters: 11_176_512,
        },
        Preset {
            name: "resnet34",
            config: RESNET34,
            note: "resnet18, twice as deep",
            parameters: 21_284_672,
        },
        Preset {
            name: "resnet50",
            config: RESNET50,
            note: "the usual network of published comparisons",
            parameters: 23_508_032,
        },
        Preset {
            name: "resnet101",
            config: RESNET101,
            note: "resnet50, twice as deep",
            parameters: 42_500_160,
        },
        Preset {
            name: "resnet18-os8",
            config: RESNET18.dilated(),
            note: "finer last maps (stride 8), with resnet18's weights",
            parameters: 11_176_512,
        },
        Preset {
            name: "resnet34-os8",
            config: RESNET34.dilated(),
            note: "finer last maps (stride 8), with resnet34's weights",
            parameters: 21_284_672,
        },
        Preset {
            name: "resnet50-os8",
            config: RESNET50.dilated(),
            note: "finer last maps (stride 8), with resnet50's weights",
            parameters: 23_508_032,
        },
        Preset {
            name: "resnet101-os8",
            config: RESNET101.dilated(),
            note: "finer last maps (stride 8), with resnet101's weights",
            parameters: 42_500_160,
        },
        Preset {
            name: "resnet-tiny",
            config: ResNetConfig { depths: [1, 1, 1, 2], width: 8, ..RESNET18 },
            note: "for tests",
            parameters: 152_296,
        },
    ];

    fn init(&self, device: &Device) -> ResNet {
        let stem = ConvConfig::new([3, self.width], 7).with_stride(2);
        let (channels, strides) = (self.channels(), self.strides());
        let mut stages = Vec::with_capacity(4);
        // The first block of a dilated stage still has the dilation of the stage before.
        let (mut input, mut dilation) = (self.width, 1);
        for (index, &depth) in self.depths.iter().enumerate() {
            let output = channels[index + 1];
            let mut stride = if index == 0 { 1 } else { 2 };
            let mut next_dilation = dilation;
            if self.dilated && index >= 2 {
                next_dilation *= stride;
                stride = 1;
            }
            let mut blocks = Vec::with_capacity(depth);
            for _ in 0..depth {
                let shape = Shape {
                    channels: [input, output],
                    stride,
                    dilations: [dilation, next_dilation],
                };
                blocks.push(if self.bottleneck {
                    Block::bottleneck(&shape, device)
                } else {
                    Block::basic(&shape, device)
                });
                (input, stride, dilation) = (output, 1, next_dilation);
            }
            stages.push(Stage { blocks });
        }
        ResNet { stem: ConvNorm::new(&stem, EPSILON, device), stages, channels, strides }
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: ResNet) -> ResNet {
        let fold =
            |stage: Stage| Stage { blocks: stage.blocks.into_iter().map(Block::fold).collect() };
        ResNet {
            stem: network.stem.fold(),
            stages: network.stages.into_iter().map(fold).collect(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::resnet::rename(foreign)
    }
}

/// A ResNet without its classifier.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    stages: Vec<Stage>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

impl Encode for ResNet {
    fn forward(&self, images: Tensor<4>) -> Features {
        let stem = self.stem.activated(images, Activation::Relu);
        let pool = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        let mut image = max_pool2d(stem.clone(), pool);
        let mut maps = vec![stem];
        for stage in &self.stages {
            for block in &stage.blocks {
                image = block.forward(image);
            }
            maps.push(image.clone());
        }
        Features { maps }
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}

/// Blocks of one resolution and width.
#[derive(Module, Debug)]
struct Stage {
    blocks: Vec<Block>,
}

/// What a block is made from.
struct Shape {
    /// Of input and output.
    channels: [usize; 2],
    stride: usize,
    /// Of the convolution which may be strided, and of the one after it if there is one.
    dilations: [usize; 2],
}

/// A residual block: the input, projected where shapes differ, is added before the last ReLU.
#[derive(Module, Debug)]
struct Block {
    layers: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn basic(shape: &Shape, device: &Device) -> Self {
        let [input, output] = shape.channels;
        let [first, second] = shape.dilations;
        let strided = ConvConfig::new([input, output], 3);
        let plain = ConvConfig::new([output, output], 3);
        let layers =
            [strided.with_stride(shape.stride).with_dilation(first), plain.with_dilation(second)];
        Self::new(&layers, shape, device)
    }

    fn bottleneck(shape: &Shape, device: &Device) -> Self {
        let [input, output] = shape.channels;
        let narrow = output / 4;
        let filter = ConvConfig::new([narrow, narrow], 3);
        let layers = [
            ConvConfig::new([input, narrow], 1),
            filter.with_stride(shape.stride).with_dilation(shape.dilations[0]),
            ConvConfig::new([narrow, output], 1),
        ];
        Self::new(&layers, shape, device)
    }

    fn new(layers: &[ConvConfig], shape: &Shape, device: &Device) -> Self {
        let layer = |config: &ConvConfig| ConvNorm::new(config, EPSILON, device);
        let [input, output] = shape.channels;
        let shortcut = ConvConfig::new([input, output], 1).with_stride(shape.stride);
        Self {
            layers: layers.iter().map(layer).collect(),
            shortcut: (shape.stride > 1 || input != output).then(|| layer(&shortcut)),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut image = input.clone();
        let last = self.layers.len() - 1;
        for (index, layer) in self.layers.iter().enumerate() {
            let activation = if index < last { Activation::Relu } else { Activation::Identity };
            image = layer.activated(image, activation);
        }
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
        add_activated(image, shortcut, Activation::Relu)
    }

    fn fold(self) -> Self {
        Self {
            layers: self.layers.into_iter().map(ConvNorm::fold).collect(),
            shortcut: self.shortcut.map(ConvNorm::fold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dilated_networks_keep_stride_8() {
        let device = Device::flex();
        let config = ResNetConfig { depths: [1; 4], width: 4, ..RESNET50 }.dilated();
        let maps = config.init(&device).forward(Tensor::zeros([1, 3, 65, 33], &device)).maps;
        let sizes: Vec<[usize; 4]> = maps.iter().map(Tensor::dims).collect();
        let expected =
            [[1, 4, 33, 17], [1, 16, 17, 9], [1, 32, 9, 5], [1, 64, 9, 5], [1, 128, 9, 5]];
        assert_eq!(sizes, expected);
    }
}
