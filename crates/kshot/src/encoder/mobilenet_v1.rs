//! MobileNet: depthwise separable convolutions.
//!
//! - Paper: Howard et al., *MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications*,
//!   2017, <https://arxiv.org/abs/1704.04861>
//! - Weights: timm's names (`mobilenetv1_100`)
//!
//! Features are the outputs of timm's five stages, that is of the last block of each resolution. An output stride of
//! 16 or 8 dilates what would be coarser, as timm's `output_stride` does.
//!
//! As timm's network it differs from the original in ReLU6 for ReLU, in an epsilon of 1e-5 for 1e-3 and in padding
//! both sides alike where TensorFlow pads the bottom and the right.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::mobile::{scaled, steps};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

/// Stages: repeats, stride, channels.
const STAGES: [(usize, usize, usize); 5] =
    [(1, 1, 64), (2, 2, 128), (2, 2, 256), (6, 2, 512), (2, 2, 1024)];
/// Channels of the stem.
const STEM: usize = 32;
const EPSILON: f64 = 1e-5;

/// Which MobileNet: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MobileNetV1Config {
    /// Multiplies the channels.
    pub width: f64,
    /// Stages that would be coarser than this stride are dilated instead.
    pub output_stride: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl MobileNetV1Config {
    /// The published one of full width.
    pub const FULL: Self = Self { width: 1.0, output_stride: 32, in_channels: 3 };
}

impl Family for MobileNetV1Config {
    type Network = MobileNetV1;

    const ABOUT: About = About {
        title: "MobileNet",
        paper: "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        year: 2017,
        url: "https://arxiv.org/abs/1704.04861",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "mobilenet-v1",
            config: Self::FULL,
            note: "plain depthwise separable convolutions: fast on a processor",
            parameters: 3_206_976,
        },
        Preset {
            name: "mobilenet-v1-tiny",
            config: Self { width: 0.1, ..Self::FULL },
            note: "for tests",
            parameters: 36_656,
        },
    ];

    fn init(&self, device: &Device) -> MobileNetV1 {
        let layer =
            |config: &ConvConfig| ConvNormAct::new(config, EPSILON, Activation::Relu6, device);
        let mut input = scaled(STEM, self.width);
        let stem = layer(&ConvConfig::new([self.in_channels, input], 3).with_stride(2));
        let mut blocks = Vec::new();
        let mut stage_ends = Vec::new();
        let strides = STAGES.map(|(_, stride, _)| stride);
        for ((repeats, _, output), step) in
            STAGES.into_iter().zip(steps(&strides, self.output_stride))
        {
            let output = scaled(output, self.width);
            for index in 0..repeats {
                let depthwise = ConvConfig::new([input; 2], 3).depthwise();
                let stride = if index == 0 { step.stride } else { 1 };
                let dilation = step.dilations[index.min(1)];
                blocks.push(SeparableConv {
                    depthwise: layer(&depthwise.with_stride(stride).with_dilation(dilation)),
                    pointwise: layer(&ConvConfig::new([input, output], 1)),
                });
                input = output;
            }
            stage_ends.push(blocks.len());
        }
        MobileNetV1 { stem, blocks, stage_ends, channels: self.channels(), strides: self.strides() }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        STAGES.iter().map(|(_, _, channels)| scaled(*channels, self.width)).collect()
    }

    fn strides(&self) -> Vec<usize> {
        let strides = STAGES.map(|(_, stride, _)| stride);
        steps(&strides, self.output_stride).iter().map(|step| step.reached).collect()
    }

    fn output_strides(&self) -> &'static [usize] {
        &[8, 16, 32]
    }

    fn with_output_stride(self, output_stride: usize) -> Self {
        Self { output_stride, ..self }
    }

    /// Half of the range, as timm's weights were trained; not ImageNet's mean and standard deviation.
    fn normalization(&self) -> Normalization {
        Normalization::HALF
    }

    fn optimize(network: MobileNetV1) -> MobileNetV1 {
        MobileNetV1 {
            stem: network.stem.fold(),
            blocks: network.blocks.into_iter().map(SeparableConv::fold).collect(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::mobilenet::v1(foreign, &STAGES.map(|(repeats, ..)| repeats))
    }

    const FIRST_KERNELS: &'static str = "stem.conv.weight";
}

/// A MobileNet without its classifier.
#[derive(Module, Debug)]
pub struct MobileNetV1 {
    stem: ConvNormAct,
    blocks: Vec<SeparableConv>,
    #[module(skip)]
    stage_ends: Vec<usize>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

impl Encode for MobileNetV1 {
    fn forward(&self, images: Tensor<4>) -> Features {
        let image = self.stem.forward(images);
        let maps = Features::behind(&self.blocks, &self.stage_ends, image, |block, image| {
            block.pointwise.forward(block.depthwise.forward(image))
        });
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

/// Filters each channel, then mixes the channels of each pixel.
#[derive(Module, Debug)]
struct SeparableConv {
    depthwise: ConvNormAct,
    pointwise: ConvNormAct,
}

impl SeparableConv {
    fn fold(self) -> Self {
        Self { depthwise: self.depthwise.fold(), pointwise: self.pointwise.fold() }
    }
}
