//! The encoder of nnU-Net's plain 2-D U-Net: two convolutions a stage, instance normalisation, leaky ReLU.
//!
//! - Paper: Isensee et al., *nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation*,
//!   Nature Methods 2021, <https://arxiv.org/abs/1904.08128>; first *nnU-Net: Self-adapting Framework for U-Net-Based
//!   Medical Image Segmentation*, 2018, <https://arxiv.org/abs/1809.10486>
//! - Weights: none are published; a network is trained from scratch. Names of the authors' `PlainConvUNet` are known.
//!
//! Each stage but the first starts with a convolution of stride 2; channels start at 32 and double up to 512. The paper's
//! rule halves a patch until its sides measure 4 to 7 pixels: 7 stages for patches of 256 pixels, 8 for 512.
//!
//! Deviations: pictures are normalised by the mean and standard deviation of ImageNet's pixels where the authors take each
//! picture's own; convolutions before a normalisation have no bias, which changes nothing (the authors' have one, which
//! the normalisation takes away); a map of one pixel is allowed and gives each channel's shift.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{ConvConfig, ConvInstanceNorm};

/// Which plain U-Net: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainUNetConfig {
    /// Stages, each half as large as the one before; at most 8.
    pub stages: usize,
    /// Convolutions of each stage.
    pub convs: usize,
    /// Channels of the first stage; doubled by each of the next.
    pub width: usize,
    /// Channels at most.
    pub most: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl PlainUNetConfig {
    /// The paper's for patches of 256 to 511 pixels.
    pub const SEVEN: Self = Self { stages: 7, convs: 2, width: 32, most: 512, in_channels: 3 };
}

impl Family for PlainUNetConfig {
    type Network = PlainUNetEncoder;

    const ABOUT: About = About {
        title: "Plain U-Net",
        paper: "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
        year: 2021,
        url: "https://arxiv.org/abs/1904.08128",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "plain-unet",
            config: Self::SEVEN,
            note: "nnU-Net's for patches of 256 to 511 pixels, from scratch; with the decoder of its name",
            parameters: 14_155_488,
        },
        Preset {
            name: "plain-unet-5",
            config: Self { stages: 5, ..Self::SEVEN },
            note: "of 5 stages, for patches of 64 to 127 pixels",
            parameters: 4_714_208,
        },
        Preset {
            name: "plain-unet-6",
            config: Self { stages: 6, ..Self::SEVEN },
            note: "of 6 stages, for patches of 128 to 255 pixels",
            parameters: 9_434_848,
        },
        Preset {
            name: "plain-unet-8",
            config: Self { stages: 8, ..Self::SEVEN },
            note: "of 8 stages, for patches of 512 pixels and more",
            parameters: 18_876_128,
        },
        Preset {
            name: "plain-unet-tiny",
            config: Self { stages: 4, width: 8, most: 32, ..Self::SEVEN },
            note: "for tests",
            parameters: 36_856,
        },
    ];

    fn init(&self, device: &Device) -> PlainUNetEncoder {
        let mut input = self.in_channels;
        let mut stages = Vec::with_capacity(self.stages);
        for (index, output) in self.channels().into_iter().enumerate() {
            let mut layers = Vec::with_capacity(self.convs);
            for layer in 0..self.convs {
                let stride = if index > 0 && layer == 0 { 2 } else { 1 };
                let config = ConvConfig::new([input, output], 3).with_stride(stride);
                layers.push(ConvInstanceNorm::new(&config, device));
                input = output;
            }
            stages.push(PlainUNetStage { layers });
        }
        PlainUNetEncoder { stages, channels: self.channels(), strides: self.strides() }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        (0..self.stages).map(|stage| (self.width << stage).min(self.most)).collect()
    }

    fn strides(&self) -> Vec<usize> {
        (0..self.stages).map(|stage| 1 << stage).collect()
    }

    /// Its own only: another number of stages is another preset.
    fn output_strides(&self) -> &'static [usize] {
        const ALL: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
        let last = self.stages.clamp(1, ALL.len());
        &ALL[last - 1..last]
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: PlainUNetEncoder) -> PlainUNetEncoder {
        let compiled = |stage: PlainUNetStage| PlainUNetStage {
            layers: stage.layers.into_iter().map(ConvInstanceNorm::compile).collect(),
        };
        PlainUNetEncoder { stages: network.stages.into_iter().map(compiled).collect(), ..network }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::plain_unet::encoder(foreign)
    }

    const FIRST_KERNELS: &'static str = "stages.0.layers.0.conv.weight";
}

/// The stages.
#[derive(Module, Debug)]
pub struct PlainUNetEncoder {
    stages: Vec<PlainUNetStage>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

/// The convolutions of one size.
#[derive(Module, Debug)]
struct PlainUNetStage {
    layers: Vec<ConvInstanceNorm>,
}

impl Encode for PlainUNetEncoder {
    fn forward(&self, images: Tensor<4>) -> Features {
        let mut image = images;
        let mut maps = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            image = stage.layers.iter().fold(image, |image, layer| layer.forward(image));
            maps.push(image.clone());
        }
        Features { maps }
    }

    fn in_channels(&self) -> usize {
        let first = self.stages.first().and_then(|stage| stage.layers.first());
        first.map_or(0, |layer| layer.conv.weight.dims()[1])
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}
