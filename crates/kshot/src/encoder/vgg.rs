//! VGG: plain stacks of 3x3 convolutions; few-shot segmentation's classic.
//!
//! - Paper: Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image
//!   Recognition*, 2014, <https://arxiv.org/abs/1409.1556>
//! - Weights: torchvision's names
//! - `vgg16-panet`: the form which Wang et al., *PANet*, 2019, <https://arxiv.org/abs/1908.06391>,
//!   compare prototypes in. Pools are 3x3, the fourth has stride 1, the fifth block has dilation 2
//!   and no last ReLU, so that cosine distances see both signs.
//!
//! Features are the outputs of the five blocks, before their pools; nothing follows the fifth.
//! The 2x2 pools take the last odd row and column too, where torchvision drops them: a map measures
//! `ceil(size / stride)` for any size, and is the same as torchvision's for multiples of 16.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::MaxPoolOptions;
use kshot_kernels::max_pool2d;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

const EPSILON: f64 = 1e-5;

/// Which VGG: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VggConfig {
    /// Convolutions of each block.
    pub depths: [usize; 5],
    /// Channels of the first block; doubled by each of the next three.
    pub width: usize,
    /// Batch normalisation after each convolution.
    pub normalized: bool,
    /// Pools, dilation and missing ReLU of PANet.
    pub panet: bool,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl VggConfig {
    /// The published one of 16 layers (three of which are the classifier's).
    pub const VGG16: Self = Self {
        depths: [2, 2, 3, 3, 3],
        width: 64,
        normalized: false,
        panet: false,
        in_channels: 3,
    };
}

impl Family for VggConfig {
    type Network = Vgg;

    const ABOUT: About = About {
        title: "VGG",
        paper: "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        year: 2014,
        url: "https://arxiv.org/abs/1409.1556",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "vgg16",
            config: Self::VGG16,
            note: "for comparison with older work: slow for what it gives",
            parameters: 14_714_688,
        },
        Preset {
            name: "vgg16-bn",
            config: Self { normalized: true, ..Self::VGG16 },
            note: "with batch normalisation, easier to train",
            parameters: 14_723_136,
        },
        Preset {
            name: "vgg16-panet",
            config: Self { panet: true, ..Self::VGG16 },
            note: "as PANet uses it for few-shot segmentation: stride 8",
            parameters: 14_714_688,
        },
        Preset {
            name: "vgg-tiny",
            config: Self { depths: [1, 1, 1, 1, 2], width: 8, ..Self::VGG16 },
            note: "for tests",
            parameters: 98_384,
        },
    ];

    fn init(&self, device: &Device) -> Vgg {
        let mut blocks = Vec::new();
        let mut input = self.in_channels;
        let (channels, strides) = (self.channels(), self.strides());
        for (index, (&depth, &output)) in self.depths.iter().zip(&channels).enumerate() {
            let last = index == 4;
            let mut layers = Vec::new();
            for layer in 1..=depth {
                let dilation = if last && self.panet { 2 } else { 1 };
                let signed = last && self.panet && layer == depth;
                let activation = if signed { Activation::Identity } else { Activation::Relu };
                let config = ConvConfig::new([input, output], 3).with_dilation(dilation);
                let epsilon = self.normalized.then_some(EPSILON);
                layers.push(ConvNormAct::biased(&config, epsilon, activation, device));
                input = output;
            }
            let step = if index == 0 { 1 } else { strides[index] / strides[index - 1] };
            let pool = match (index, self.panet) {
                (0, _) => None,
                (_, true) => Some(VggPool { kernel: 3, stride: step, padding: 1 }),
                (_, false) => Some(VggPool { kernel: 2, stride: step, padding: 0 }),
            };
            blocks.push(VggStage { layers, pool });
        }
        Vgg { blocks, channels, strides }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        (0..5).map(|block: u32| self.width << block.min(3)).collect()
    }

    fn strides(&self) -> Vec<usize> {
        vec![1, 2, 4, 8, if self.panet { 8 } else { 16 }]
    }

    /// Its own only: what would be dilated are pools, not convolutions. `panet` has other ones.
    fn output_strides(&self) -> &'static [usize] {
        if self.panet { &[8] } else { &[16] }
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: Vgg) -> Vgg {
        Vgg { blocks: network.blocks.into_iter().map(VggStage::fold).collect(), ..network }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::vgg::rename(foreign, self.depths, self.normalized)
    }

    const FIRST_KERNELS: &'static str = "blocks.0.layers.0.conv.weight";
}

/// A VGG without its classifier.
#[derive(Module, Debug)]
pub struct Vgg {
    blocks: Vec<VggStage>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

impl Encode for Vgg {
    fn forward(&self, images: Tensor<4>) -> Features {
        let mut image = images;
        let mut maps = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            image = block.forward(image);
            maps.push(image.clone());
        }
        Features { maps }
    }

    fn in_channels(&self) -> usize {
        let first = self.blocks.first().and_then(|block| block.layers.first());
        first.map_or(0, |layer| layer.conv.weight.dims()[1])
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}

/// Largest value of each window; windows may reach over the border.
#[derive(Debug, Clone, Copy)]
struct VggPool {
    kernel: usize,
    stride: usize,
    padding: usize,
}

/// The pool before a block, and the block's convolutions.
#[derive(Module, Debug)]
struct VggStage {
    layers: Vec<ConvNormAct>,
    #[module(skip)]
    pool: Option<VggPool>,
}

impl VggStage {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut image = match self.pool {
            Some(VggPool { kernel, stride, padding }) => {
                let options = MaxPoolOptions::new([kernel; 2])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2])
                    // Padded windows cover the last odd row as they are.
                    .with_ceil_mode(padding == 0);
                max_pool2d(input, options)
            }
            None => input,
        };
        for layer in &self.layers {
            image = layer.forward(image);
        }
        image
    }

    fn fold(self) -> Self {
        Self { layers: self.layers.into_iter().map(ConvNormAct::fold).collect(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panet_keeps_stride_8_and_both_signs() {
        let device = Device::flex();
        device.seed(7);
        let config = VggConfig { depths: [1; 5], width: 4, panet: true, ..VggConfig::VGG16 };
        let image = Tensor::random([1, 3, 33, 41], burn::tensor::Distribution::Default, &device);
        let maps = config.init(&device).forward(image).maps;
        let sizes: Vec<[usize; 4]> = maps.iter().map(Tensor::dims).collect();
        let expected = [
            [1, 4, 33, 41],
            [1, 8, 17, 21],
            [1, 16, 9, 11],
            [1, 32, 5, 6],
            [1, 32, 5, 6], // block 5 does not shrink
        ];
        assert_eq!(sizes, expected);
        let least = |map: &Tensor<4>| map.clone().min().into_scalar::<f32>();
        assert!(least(&maps[3]) >= 0.0);
        assert!(least(&maps[4]) < 0.0);
    }
}
