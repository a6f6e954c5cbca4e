//! ResNet: stages of residual blocks; the encoder most published weights exist for.
//!
//! - Paper: He et al., *Deep Residual Learning for Image Recognition*, 2015,
//!   <https://arxiv.org/abs/1512.03385>
//! - As in torchvision, the stride of a bottleneck is that of its 3x3 convolution, not of the first
//!   ("ResNet v1.5"); weights have torchvision's names, which timm shares
//! - An output stride of 16 or 8: the last stage or two keep their size and spread their kernels by 2
//!   and 4 instead, as torchvision's `replace_stride_with_dilation` and timm's `output_stride` do; from
//!   Yu, Koltun and Funkhouser, *Dilated Residual Networks*, 2017, <https://arxiv.org/abs/1705.09914>.
//!   The weights are the same
//!
//! Features are the stem before its pool (stride 2) and the outputs of the four stages; a map
//! measures `ceil(size / stride)` for any size.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::MaxPoolOptions;
use kshot_kernels::max_pool2d;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::residual::{BlockShape, ResidualBlock, Stage};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

const EPSILON: f64 = 1e-5;

/// Which ResNet: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Blocks of each stage.
    pub depths: [usize; 4],
    /// Three convolutions per block, which narrow, filter and widen, instead of two.
    pub bottleneck: bool,
    /// Channels of the stem.
    pub width: usize,
    /// Stages that would be coarser than this stride are dilated instead.
    pub output_stride: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl ResNetConfig {
    /// The smallest published one.
    pub const RESNET18: Self = Self {
        depths: [2, 2, 2, 2],
        bottleneck: false,
        width: 64,
        output_stride: 32,
        in_channels: 3,
    };
    /// Twice as deep.
    pub const RESNET34: Self = Self { depths: [3, 4, 6, 3], ..Self::RESNET18 };
    /// With bottlenecks.
    pub const RESNET50: Self = Self { bottleneck: true, ..Self::RESNET34 };
    /// Twice as deep as that.
    pub const RESNET101: Self = Self { depths: [3, 4, 23, 3], ..Self::RESNET50 };

    /// Stride of each stage's first block, and dilation of its blocks.
    fn stages(&self) -> [(usize, usize); 4] {
        let (mut reached, mut dilation) = (4, 1); // those of the pool behind the stem
        let mut stages = [(1, 1); 4];
        for stage in &mut stages[1..] {
            let stride = if reached < self.output_stride { 2 } else { 1 };
            dilation *= 2 / stride;
            reached *= stride;
            *stage = (stride, dilation);
        }
        stages
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
            config: Self::RESNET18,
            note: "the smallest residual network",
            parameters: 11_176_512,
        },
        Preset {
            name: "resnet34",
            config: Self::RESNET34,
            note: "resnet18, twice as deep",
            parameters: 21_284_672,
        },
        Preset {
            name: "resnet50",
            config: Self::RESNET50,
            note: "the usual network of published comparisons",
            parameters: 23_508_032,
        },
        Preset {
            name: "resnet101",
            config: Self::RESNET101,
            note: "resnet50, twice as deep",
            parameters: 42_500_160,
        },
        Preset {
            name: "resnet-tiny",
            config: Self { depths: [1, 1, 1, 2], width: 8, ..Self::RESNET18 },
            note: "for tests",
            parameters: 152_296,
        },
    ];

    fn init(&self, device: &Device) -> ResNet {
        let stem = ConvConfig::new([self.in_channels, self.width], 7).with_stride(2);
        let stem = ConvNormAct::new(&stem, EPSILON, Activation::Relu, device);
        let (channels, strides) = (self.channels(), self.strides());
        let mut stages = Vec::with_capacity(4);
        let (mut input, mut before) = (self.width, 1);
        for (index, (mut stride, dilation)) in self.stages().into_iter().enumerate() {
            let output = channels[index + 1];
            let mut blocks = Vec::with_capacity(self.depths[index]);
            for _ in 0..self.depths[index] {
                // The first block of a dilated stage still has the dilation of the stage before.
                let dilations = [before, dilation];
                let shape = BlockShape { channels: [input, output], stride, dilations };
                blocks.push(if self.bottleneck {
                    ResidualBlock::bottleneck(&shape, output / 4, device)
                } else {
                    ResidualBlock::basic(&shape, device)
                });
                (input, stride, before) = (output, 1, dilation);
            }
            stages.push(Stage { blocks });
        }
        ResNet { stem, stages, channels, strides }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        let widening = if self.bottleneck { 4 } else { 1 };
        let stages = (0..4).map(|stage| widening * (self.width << stage));
        std::iter::once(self.width).chain(stages).collect()
    }

    fn strides(&self) -> Vec<usize> {
        let mut reached = 4;
        let stages = self.stages().map(|(stride, _)| {
            reached *= stride;
            reached
        });
        std::iter::once(2).chain(stages).collect()
    }

    fn output_strides(&self) -> &'static [usize] {
        &[8, 16, 32]
    }

    fn with_output_stride(self, output_stride: usize) -> Self {
        Self { output_stride, ..self }
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: ResNet) -> ResNet {
        ResNet {
            stem: network.stem.fold(),
            stages: network.stages.into_iter().map(Stage::fold).collect(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::resnet::rename(foreign)
    }

    const FIRST_KERNELS: &'static str = "stem.conv.weight";
}

/// A ResNet without its classifier.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNormAct,
    stages: Vec<Stage>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

impl Encode for ResNet {
    fn forward(&self, images: Tensor<4>) -> Features {
        let stem = self.stem.forward(images);
        let pool = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        let mut image = max_pool2d(stem.clone(), pool);
        let mut maps = vec![stem];
        for stage in &self.stages {
            image = stage.forward(image);
            maps.push(image.clone());
        }
        Features { maps }
    }

    fn in_channels(&self) -> usize {
        self.stem.conv.weight.dims()[1]
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dilated_networks_keep_stride_8() {
        let device = Device::flex();
        let config =
            ResNetConfig { depths: [1; 4], width: 4, output_stride: 8, ..ResNetConfig::RESNET50 };
        let maps = config.init(&device).forward(Tensor::zeros([1, 3, 65, 33], &device)).maps;
        let sizes: Vec<[usize; 4]> = maps.iter().map(Tensor::dims).collect();
        let expected =
            [[1, 4, 33, 17], [1, 16, 17, 9], [1, 32, 9, 5], [1, 64, 9, 5], [1, 128, 9, 5]];
        assert_eq!(sizes, expected);
    }
}
