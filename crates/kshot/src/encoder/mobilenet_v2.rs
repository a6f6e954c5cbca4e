//! MobileNetV2: inverted residuals with linear bottlenecks.
//!
//! - Paper: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, 2018,
//!   <https://arxiv.org/abs/1801.04381>
//! - Weights: torchvision's names, timm's, and those of Gluon's network in the ONNX model zoo
//!
//! Features are the outputs of the last block of each resolution, as timm's `features_only` has them (stages 0, 1, 2,
//! 4 and 6, 16 to 320 channels); the layer of 1280 channels behind them is for embeddings only
//! (segmentation_models.pytorch takes that one as its coarsest map). An output stride of 16 or 8 dilates what would be
//! coarser, as timm's `output_stride` does. Zeros are padded on both sides alike, as in PyTorch.
//!
//! Gluon's network has a layer that the paper's has not: its first block, too, expands its input, from 32 channels to
//! 32. A file with that layer's tensors makes the network have it.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::mobile::{
    BlockShape, InvertedResidual, PaddingKind, StageSteps, scaled, steps,
};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ActivationFunction, ConvConfig, ConvNormAct};

/// Stages: repeats, stride, expansion, channels.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 1, 1, 16),
    (2, 2, 6, 24),
    (3, 2, 6, 32),
    (4, 2, 6, 64),
    (3, 1, 6, 96),
    (3, 2, 6, 160),
    (1, 1, 6, 320),
];
/// Channels of the stem.
const STEM: usize = 32;
const EPSILON: f64 = 1e-5;

/// Which MobileNetV2: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MobileNetV2Config {
    /// Multiplies the channels (but not those before the classifier).
    pub width: f64,
    /// Channels before the classifier.
    pub head: usize,
    /// Whether the first block has an expanding layer (to as many channels) as well, as Gluon's network.
    pub first_expands: bool,
    /// Stages that would be coarser than this stride are dilated instead.
    pub output_stride: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl MobileNetV2Config {
    /// The published one of full width.
    pub const FULL: Self =
        Self { width: 1.0, head: 1280, first_expands: false, output_stride: 32, in_channels: 3 };

    fn steps(&self) -> Vec<StageSteps> {
        steps(&STAGES.map(|(_, stride, ..)| stride), self.output_stride)
    }
}

impl Family for MobileNetV2Config {
    type Network = MobileNetV2;

    const ABOUT: About = About {
        title: "MobileNetV2",
        paper: "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        year: 2018,
        url: "https://arxiv.org/abs/1801.04381",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "mobilenet-v2",
            config: Self::FULL,
            note: "small; the usual backbone on phones",
            parameters: 1_811_712,
        },
        Preset {
            name: "mobilenet-v2-tiny",
            config: Self { width: 0.1, head: 32, ..Self::FULL },
            note: "for tests",
            parameters: 42_560,
        },
    ];

    fn init(&self, device: &Device) -> MobileNetV2 {
        let mut input = scaled(STEM, self.width);
        let stem = ConvConfig::new([self.in_channels, input], 3).with_stride(2);
        let mut blocks = Vec::new();
        let mut map_ends = Vec::new();
        for ((stage, (repeats, _, expansion, output)), step) in
            STAGES.into_iter().enumerate().zip(self.steps())
        {
            let output = scaled(output, self.width);
            for index in 0..repeats {
                let shape = BlockShape {
                    channels: [input, output],
                    wide: expansion * input,
                    expands: stage > 0 || self.first_expands,
                    kernel: 3,
                    stride: if index == 0 { step.stride } else { 1 },
                    dilation: step.dilations[index.min(1)],
                    padding: PaddingKind::Symmetric,
                    squeezed: None,
                    epsilon: EPSILON,
                    activation: ActivationFunction::Relu6,
                };
                blocks.push(InvertedResidual::new(&shape, device));
                input = output;
            }
            if step.ends_resolution {
                map_ends.push(blocks.len());
            }
        }
        let stem = ConvNormAct::new(&stem, EPSILON, Activation::Relu6, device);
        let (channels, strides) = (self.channels(), self.strides());
        MobileNetV2 { stem, blocks, head: None, map_ends, channels, strides }
    }

    fn init_embedding(&self, device: &Device) -> MobileNetV2 {
        let last = scaled(STAGES[6].3, self.width);
        let expand = ConvConfig::new([last, self.head], 1);
        let expand = ConvNormAct::new(&expand, EPSILON, Activation::Relu6, device);
        MobileNetV2 { head: Some(WideHead { expand }), ..self.init(device) }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        let ends = STAGES.iter().zip(self.steps()).filter(|(_, step)| step.ends_resolution);
        ends.map(|(stage, _)| scaled(stage.3, self.width)).collect()
    }

    fn strides(&self) -> Vec<usize> {
        let steps = self.steps();
        steps.iter().filter(|step| step.ends_resolution).map(|step| step.reached).collect()
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

    fn optimize(network: MobileNetV2) -> MobileNetV2 {
        MobileNetV2 {
            stem: network.stem.fold(),
            blocks: network.blocks.into_iter().map(InvertedResidual::fold).collect(),
            head: network.head.map(|head| WideHead { expand: head.expand.fold() }),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::mobilenet::v2(foreign, &STAGES.map(|(repeats, ..)| repeats))
    }

    fn matching<'a>(self, mut foreign: impl Iterator<Item = &'a str>) -> Self {
        const FIRST: &str = "blocks.0.expand.conv.weight";
        let first = Renamed::Ours(FIRST.to_owned());
        // Of a published file, or of a run's.
        let is_first = |name: &str| name.ends_with(FIRST) || self.rename(name) == first;
        let first_expands = foreign.any(is_first);
        Self { first_expands: self.first_expands || first_expands, ..self }
    }

    const FIRST_KERNELS: &'static str = "stem.conv.weight";
}

/// A MobileNetV2 without its classifier.
#[derive(Module, Debug)]
pub struct MobileNetV2 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    head: Option<WideHead>,
    #[module(skip)]
    map_ends: Vec<usize>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

/// The layer between the last stage and the mean over the picture.
#[derive(Module, Debug)]
struct WideHead {
    expand: ConvNormAct,
}

impl Encode for MobileNetV2 {
    fn forward(&self, images: Tensor<4>) -> Features {
        let image = self.stem.forward(images);
        let maps = Features::behind(&self.blocks, &self.map_ends, image, |block, image| {
            block.forward(image)
        });
        Features { maps }
    }

    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        let last = self.forward(images).last();
        match &self.head {
            Some(head) => head.expand.forward(last),
            None => last,
        }
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
    fn names_of_published_and_of_own_files_tell_the_first_block() {
        let config = MobileNetV2Config::PRESETS[0].config;
        let expands = |name: &str| config.matching(std::iter::once(name)).first_expands;
        assert!(expands("mobilenetv20_features_linearbottleneck0_conv0_weight"));
        assert!(expands("segmenter.encoder.blocks.0.expand.conv.weight"));
        assert!(!expands("segmenter.encoder.blocks.1.expand.conv.weight"));
        assert!(!expands("features.1.conv.0.0.weight"));
    }
}
