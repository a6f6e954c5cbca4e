//! EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, made for phones.
//!
//! - Paper: Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*,
//!   2019, <https://arxiv.org/abs/1905.11946>
//! - Lite variants: <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>
//!
//! As in the original, stem (32 channels) and head (1280) are not scaled with the width, and the
//! first and the last stage are not repeated; padding is TensorFlow's `SAME`, so that a map
//! measures `ceil(size / stride)` for any size. Features are the outputs of the seven stages.
//! An output stride of 16 or 8 dilates what would be coarser, as timm's `output_stride` does.
//! Stochastic depth and dropout, of use in training from nothing only, are left out.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::mobile::{
    BlockShape, InvertedResidual, PaddingKind, StageSteps, scaled, steps,
};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{
    Activation, ActivationFunction, Conv, ConvConfig, ConvNormAct, Padding, global_average,
};

/// Stages of the smallest network: repeats, kernel, stride, expansion, channels.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];
const EPSILON: f64 = 1e-3;

/// Which EfficientNet-Lite: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EfficientNetLiteConfig {
    /// Multiplies the channels (but not those of stem and head).
    pub width: f64,
    /// Multiplies the repeats (but not those of the first and last stage).
    pub depth: f64,
    /// Channels after the stem.
    pub stem: usize,
    /// Channels before the classifier.
    pub head: usize,
    /// Stages that would be coarser than this stride are dilated instead.
    pub output_stride: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl EfficientNetLiteConfig {
    /// The smallest published one.
    pub const LITE0: Self =
        Self { width: 1.0, depth: 1.0, stem: 32, head: 1280, output_stride: 32, in_channels: 3 };

    /// Channels scaled by the width.
    fn scaled(&self, channels: usize) -> usize {
        scaled(channels, self.width)
    }

    fn repeats(&self, stage: usize) -> usize {
        match stage {
            0 | 6 => STAGES[stage].0,
            _ => (STAGES[stage].0 as f64 * self.depth).ceil() as usize,
        }
    }

    fn steps(&self) -> Vec<StageSteps> {
        steps(&STAGES.map(|(_, _, stride, ..)| stride), self.output_stride)
    }

    /// The network with a classifier of that many classes, as published networks have.
    pub fn init_classifier(&self, classes: usize, device: &Device) -> EfficientNetLite {
        let classify = ConvConfig::new([self.head, classes], 1).init(true, device);
        self.init_with(Some(classify), device)
    }
}

impl EfficientNetLiteConfig {
    fn init_with(&self, classify: Option<Conv>, device: &Device) -> EfficientNetLite {
        let last = self.scaled(STAGES[6].4);
        let expand = ConvConfig::new([last, self.head], 1);
        let expand = ConvNormAct::new(&expand, EPSILON, Activation::Relu6, device);
        EfficientNetLite { head: Some(LiteHead { expand, classify }), ..self.init(device) }
    }
}

impl Family for EfficientNetLiteConfig {
    type Network = EfficientNetLite;

    const ABOUT: About = About {
        title: "EfficientNet-Lite",
        paper: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        year: 2019,
        url: "https://arxiv.org/abs/1905.11946",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "efficientnet-lite0",
            config: Self::LITE0,
            note: "the default: small, fast on a processor, its weights are built in",
            parameters: 2_958_848,
        },
        Preset {
            name: "efficientnet-lite1",
            config: Self { depth: 1.1, ..Self::LITE0 },
            note: "one step deeper than lite0",
            parameters: 3_723_520,
        },
        Preset {
            name: "efficientnet-lite2",
            config: Self { width: 1.1, depth: 1.2, ..Self::LITE0 },
            note: "one step wider than lite1",
            parameters: 4_357_952,
        },
        Preset {
            name: "efficientnet-lite-tiny",
            config: Self { width: 0.1, depth: 0.3, stem: 8, head: 32, ..Self::LITE0 },
            note: "for tests",
            parameters: 35_776,
        },
    ];

    fn init(&self, device: &Device) -> EfficientNetLite {
        let stem = ConvConfig::new([self.in_channels, self.stem], 3)
            .with_stride(2)
            .with_padding(Padding::Same);
        let mut blocks = Vec::new();
        let mut stage_ends = Vec::new();
        let mut input = self.stem;
        let stages = STAGES.into_iter().zip(self.steps()).enumerate();
        for (number, ((_, kernel, _, expansion, output), step)) in stages {
            let output = self.scaled(output);
            for index in 0..self.repeats(number) {
                let shape = BlockShape {
                    channels: [input, output],
                    wide: input * expansion,
                    expands: expansion > 1,
                    kernel,
                    stride: if index == 0 { step.stride } else { 1 },
                    dilation: step.dilations[index.min(1)],
                    padding: PaddingKind::Same,
                    squeezed: None,
                    epsilon: EPSILON,
                    activation: ActivationFunction::Relu6,
                };
                blocks.push(InvertedResidual::new(&shape, device));
                input = output;
            }
            stage_ends.push(blocks.len());
        }
        let stem = ConvNormAct::new(&stem, EPSILON, Activation::Relu6, device);
        let (channels, strides) = (self.channels(), self.strides());
        EfficientNetLite { stem, blocks, head: None, stage_ends, channels, strides }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        STAGES.iter().map(|stage| self.scaled(stage.4)).collect()
    }

    fn strides(&self) -> Vec<usize> {
        self.steps().iter().map(|step| step.reached).collect()
    }

    fn output_strides(&self) -> &'static [usize] {
        &[8, 16, 32]
    }

    fn with_output_stride(self, output_stride: usize) -> Self {
        Self { output_stride, ..self }
    }

    fn init_embedding(&self, device: &Device) -> EfficientNetLite {
        self.init_with(None, device)
    }

    /// 127 and 128, as the weights were trained; not ImageNet's mean and standard deviation.
    fn normalization(&self) -> Normalization {
        Normalization { mean: [127.0; 3], std: [128.0; 3] }
    }

    fn optimize(network: EfficientNetLite) -> EfficientNetLite {
        let fold = |head: LiteHead| LiteHead { expand: head.expand.fold(), ..head };
        EfficientNetLite {
            stem: network.stem.fold(),
            blocks: network.blocks.into_iter().map(InvertedResidual::fold).collect(),
            head: network.head.map(fold),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        let repeats: Vec<usize> = (0..STAGES.len()).map(|stage| self.repeats(stage)).collect();
        keys::efficientnet_lite::rename(foreign, &repeats)
    }

    const FIRST_KERNELS: &'static str = "stem.conv.weight";
}

/// An EfficientNet-Lite.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    head: Option<LiteHead>,
    #[module(skip)]
    stage_ends: Vec<usize>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

/// What turns the last map into an embedding and, where there is a classifier, that into class
/// scores; a linear layer is a convolution of size 1.
#[derive(Module, Debug)]
struct LiteHead {
    expand: ConvNormAct,
    classify: Option<Conv>,
}

impl EfficientNetLite {
    /// Class scores before the softmax, of a network made by
    /// [`EfficientNetLiteConfig::init_classifier`]; `None` without a classifier.
    ///
    /// # Shapes
    /// `[batch, in_channels, height, width]`, normalised, to `[batch, classes]`
    pub fn classify(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        let classify = self.head.as_ref()?.classify.as_ref()?;
        Some(classify.forward(global_average(self.embedding(images))).flatten::<2>(1, 3))
    }
}

impl Encode for EfficientNetLite {
    fn forward(&self, images: Tensor<4>) -> Features {
        let image = self.stem.forward(images);
        let maps = Features::behind(&self.blocks, &self.stage_ends, image, |block, image| {
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
    fn lite2_is_scaled_as_published() {
        let lite2 = &EfficientNetLiteConfig::PRESETS[2].config;
        assert_eq!(lite2.channels(), [16, 24, 48, 88, 120, 208, 352]);
        assert_eq!(lite2.strides(), [2, 4, 8, 16, 16, 32, 32]);
        assert_eq!(lite2.with_output_stride(16).strides(), [2, 4, 8, 16, 16, 16, 16]);
        assert_eq!(
            (0..7).map(|stage| lite2.repeats(stage)).sum::<usize>(),
            1 + 3 + 3 + 4 + 4 + 5 + 1
        );
    }
}
