//! EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, made for phones.
//!
//! - Paper: Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*,
//!   2019, <https://arxiv.org/abs/1905.11946>
//! - Lite variants: <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>
//!
//! As in the original, stem (32 channels) and head (1280) are not scaled with the width, and the
//! first and the last stage are not repeated; padding is TensorFlow's `SAME`, so that a map
//! measures `ceil(size / stride)` for any size. Features are the outputs of the seven stages.
//! Stochastic depth and dropout, of use in training from nothing only, are left out.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, Conv, ConvConfig, ConvNorm, Padding, global_average};

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

/// Which EfficientNet-Lite: see [`Family::PRESETS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EfficientNetLiteConfig {
    /// Multiplies the channels (but not those of stem and head).
    width: f64,
    /// Multiplies the repeats (but not those of the first and last stage).
    depth: f64,
    /// Channels after the stem.
    stem: usize,
    /// Channels before the classifier.
    head: usize,
}

const LITE0: EfficientNetLiteConfig =
    EfficientNetLiteConfig { width: 1.0, depth: 1.0, stem: 32, head: 1280 };

impl EfficientNetLiteConfig {
    /// Channels scaled by the width and rounded to a multiple of 8, never by more than a tenth down.
    fn scaled(&self, channels: usize) -> usize {
        let wanted = channels as f64 * self.width;
        let rounded = (((wanted + 4.0) / 8.0) as usize * 8).max(8);
        if (rounded as f64) < 0.9 * wanted { rounded + 8 } else { rounded }
    }

    fn repeats(&self, stage: usize) -> usize {
        match stage {
            0 | 6 => STAGES[stage].0,
            _ => (STAGES[stage].0 as f64 * self.depth).ceil() as usize,
        }
    }

    pub(super) fn channels(&self) -> Vec<usize> {
        STAGES.iter().map(|stage| self.scaled(stage.4)).collect()
    }

    pub(super) fn strides(&self) -> Vec<usize> {
        let mut stride = 2; // that of the stem
        let next = |stage: &(usize, usize, usize, usize, usize)| {
            stride *= stage.2;
            stride
        };
        STAGES.iter().map(next).collect()
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
        let expand = ConvNorm::new(&ConvConfig::new([last, self.head], 1), EPSILON, device);
        EfficientNetLite { head: Some(Head { expand, classify }), ..self.init(device) }
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
            config: LITE0,
            note: "the default: small, fast on a processor, its weights are built in",
            parameters: 2_958_848,
        },
        Preset {
            name: "efficientnet-lite1",
            config: EfficientNetLiteConfig { depth: 1.1, ..LITE0 },
            note: "one step deeper than lite0",
            parameters: 3_723_520,
        },
        Preset {
            name: "efficientnet-lite2",
            config: EfficientNetLiteConfig { width: 1.1, depth: 1.2, ..LITE0 },
            note: "one step wider than lite1",
            parameters: 4_357_952,
        },
        Preset {
            name: "efficientnet-lite-tiny",
            config: EfficientNetLiteConfig { width: 0.1, depth: 0.3, stem: 8, head: 32 },
            note: "for tests",
            parameters: 35_776,
        },
    ];

    fn init(&self, device: &Device) -> EfficientNetLite {
        let stem = ConvConfig::new([3, self.stem], 3).with_stride(2).with_padding(Padding::Same);
        let mut blocks = Vec::new();
        let mut stage_ends = Vec::new();
        let mut channels = self.stem;
        for (index, &(_, kernel, stride, expansion, out)) in STAGES.iter().enumerate() {
            let out = self.scaled(out);
            for repeat in 0..self.repeats(index) {
                let stride = if repeat == 0 { stride } else { 1 };
                blocks.push(Block::new([channels, out], kernel, stride, expansion, device));
                channels = out;
            }
            stage_ends.push(blocks.len());
        }
        let stem = ConvNorm::new(&stem, EPSILON, device);
        let (channels, strides) = (self.channels(), self.strides());
        EfficientNetLite { stem, blocks, head: None, stage_ends, channels, strides }
    }

    fn init_embedding(&self, device: &Device) -> EfficientNetLite {
        self.init_with(None, device)
    }

    /// 127 and 128, as the weights were trained; not ImageNet's mean and deviation.
    fn normalization(&self) -> Normalization {
        Normalization { mean: [127.0; 3], std: [128.0; 3] }
    }

    fn optimize(network: EfficientNetLite) -> EfficientNetLite {
        let fold = |head: Head| Head { expand: head.expand.fold(), ..head };
        EfficientNetLite {
            stem: network.stem.fold(),
            blocks: network.blocks.into_iter().map(Block::fold).collect(),
            head: network.head.map(fold),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        let repeats: Vec<usize> = (0..STAGES.len()).map(|stage| self.repeats(stage)).collect();
        keys::efficientnet_lite::rename(foreign, &repeats)
    }
}

/// An EfficientNet-Lite.
#[derive(Module, Debug)]
pub struct EfficientNetLite {
    stem: ConvNorm,
    blocks: Vec<Block>,
    head: Option<Head>,
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
struct Head {
    expand: ConvNorm,
    classify: Option<Conv>,
}

impl EfficientNetLite {
    /// Class scores before the softmax, of a network made by
    /// [`EfficientNetLiteConfig::init_classifier`]; `None` without a classifier.
    ///
    /// # Shapes
    /// `[batch, 3, height, width]`, normalised, to `[batch, classes]`
    pub fn classify(&self, images: Tensor<4>) -> Option<Tensor<2>> {
        let classify = self.head.as_ref()?.classify.as_ref()?;
        Some(classify.forward(global_average(self.embedding(images))).flatten::<2>(1, 3))
    }
}

impl Encode for EfficientNetLite {
    fn forward(&self, images: Tensor<4>) -> Features {
        let mut image = self.stem.activated(images, Activation::Relu6);
        let mut maps = Vec::with_capacity(self.stage_ends.len());
        for (index, block) in self.blocks.iter().enumerate() {
            image = block.forward(image);
            if self.stage_ends.contains(&(index + 1)) {
                maps.push(image.clone());
            }
        }
        Features { maps }
    }

    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        let last = self.forward(images).last();
        match &self.head {
            Some(head) => head.expand.activated(last, Activation::Relu6),
            None => last,
        }
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}

/// An inverted residual: widen, filter each channel, narrow; the input is added where shapes allow.
#[derive(Module, Debug)]
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    residual: bool,
}

impl Block {
    fn new(
        [input, output]: [usize; 2],
        kernel: usize,
        stride: usize,
        expansion: usize,
        device: &Device,
    ) -> Self {
        let wide = input * expansion;
        let layer = |config: ConvConfig| ConvNorm::new(&config, EPSILON, device);
        let depthwise = ConvConfig::new([wide, wide], kernel).depthwise();
        Self {
            expand: (expansion > 1).then(|| layer(ConvConfig::new([input, wide], 1))),
            depthwise: layer(depthwise.with_stride(stride).with_padding(Padding::Same)),
            project: layer(ConvConfig::new([wide, output], 1)),
            residual: stride == 1 && input == output,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        // Not held where it isn't needed, so that the first layer may take its memory.
        let kept = self.residual.then(|| input.clone());
        let wide = match &self.expand {
            Some(expand) => expand.activated(input, Activation::Relu6),
            None => input,
        };
        let output = self.project.forward(self.depthwise.activated(wide, Activation::Relu6));
        match kept {
            Some(kept) => output + kept,
            None => output,
        }
    }

    fn fold(self) -> Self {
        Self {
            expand: self.expand.map(ConvNorm::fold),
            depthwise: self.depthwise.fold(),
            project: self.project.fold(),
            ..self
        }
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
        assert_eq!(
            (0..7).map(|stage| lite2.repeats(stage)).sum::<usize>(),
            1 + 3 + 3 + 4 + 4 + 5 + 1
        );
    }
}
