//! MobileNetV3: inverted residuals with squeeze-and-excitation and the hard swish, found by search.
//!
//! - Paper: Howard et al., *Searching for MobileNetV3*, 2019, <https://arxiv.org/abs/1905.02244>
//! - Weights: torchvision's names and timm's
//!
//! Features are the outputs of the last block of each resolution (of `small` also the stem's), the last one behind
//! the 1x1 convolution that ends the features (960 or 576 channels), as timm's `features_only` and
//! torchvision's segmentation networks have them. An embedding is the mean of the last map through the hidden layer
//! of the classifier, a map of one pixel. An output stride of 16 or 8 dilates what would be coarser as timm does:
//! the block that loses its stride still has the dilation of those before it, where torchvision's segmentation
//! networks dilate it already.
//!
//! The epsilon of normalisations is timm's, 1e-5. torchvision's weights are of one of 1e-3: the
//! difference goes into the running variances as they are loaded, what changes nothing in inference. torchvision's
//! momentum of 0.01 is not taken over: running statistics move as everywhere here.

use burn::module::Module;
use burn::prelude::*;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::mobile::{
    BlockShape, InvertedResidual, PaddingKind, StageSteps, scaled, steps,
};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{ActivationFunction, ConvConfig, ConvNormAct, global_average};

/// Blocks of one width and stride.
struct Stage {
    stride: usize,
    /// The hard swish instead of ReLU.
    hard_swish: bool,
    channels: usize,
    /// Kernel, filtered channels, squeeze-and-excitation.
    blocks: &'static [(usize, usize, bool)],
}

const LARGE: &[Stage] = &[
    Stage { stride: 1, hard_swish: false, channels: 16, blocks: &[(3, 16, false)] },
    Stage { stride: 2, hard_swish: false, channels: 24, blocks: &[(3, 64, false), (3, 72, false)] },
    Stage {
        stride: 2,
        hard_swish: false,
        channels: 40,
        blocks: &[(5, 72, true), (5, 120, true), (5, 120, true)],
    },
    Stage {
        stride: 2,
        hard_swish: true,
        channels: 80,
        blocks: &[(3, 240, false), (3, 200, false), (3, 184, false), (3, 184, false)],
    },
    Stage { stride: 1, hard_swish: true, channels: 112, blocks: &[(3, 480, true), (3, 672, true)] },
    Stage {
        stride: 2,
        hard_swish: true,
        channels: 160,
        blocks: &[(5, 672, true), (5, 960, true), (5, 960, true)],
    },
];

const SMALL: &[Stage] = &[
    Stage { stride: 2, hard_swish: false, channels: 16, blocks: &[(3, 16, true)] },
    Stage { stride: 2, hard_swish: false, channels: 24, blocks: &[(3, 72, false), (3, 88, false)] },
    Stage {
        stride: 2,
        hard_swish: true,
        channels: 40,
        blocks: &[(5, 96, true), (5, 240, true), (5, 240, true)],
    },
    Stage { stride: 1, hard_swish: true, channels: 48, blocks: &[(5, 120, true), (5, 144, true)] },
    Stage {
        stride: 2,
        hard_swish: true,
        channels: 96,
        blocks: &[(5, 288, true), (5, 576, true), (5, 576, true)],
    },
];

/// Channels of the stem.
const STEM: usize = 16;
/// The last convolution's channels by those of the last stage.
const LAST: usize = 6;
const EPSILON: f64 = 1e-5;

/// One of the two networks of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MobileNetV3Size {
    /// For fast processors.
    Large,
    /// For slow ones.
    Small,
}

/// Which MobileNetV3: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MobileNetV3Config {
    /// Which of the two.
    pub size: MobileNetV3Size,
    /// Multiplies the channels (but not those of the classifier's hidden layer).
    pub width: f64,
    /// Channels of the classifier's hidden layer.
    pub head: usize,
    /// Stages that would be coarser than this stride are dilated instead.
    pub output_stride: usize,
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl MobileNetV3Config {
    /// The published large one.
    pub const LARGE: Self = Self {
        size: MobileNetV3Size::Large,
        width: 1.0,
        head: 1280,
        output_stride: 32,
        in_channels: 3,
    };
    /// The published small one.
    pub const SMALL: Self = Self { size: MobileNetV3Size::Small, head: 1024, ..Self::LARGE };

    fn stages(&self) -> &'static [Stage] {
        match self.size {
            MobileNetV3Size::Large => LARGE,
            MobileNetV3Size::Small => SMALL,
        }
    }

    fn steps(&self) -> Vec<StageSteps> {
        let strides: Vec<usize> = self.stages().iter().map(|stage| stage.stride).collect();
        steps(&strides, self.output_stride)
    }

    /// Whether the stem's output is a map of its own: nothing else has its resolution.
    fn stem_is_map(&self) -> bool {
        self.stages()[0].stride > 1
    }

    /// Channels of the last stage, and of the convolution behind it.
    fn last(&self) -> [usize; 2] {
        let last = self.stages().last().map_or(0, |stage| scaled(stage.channels, self.width));
        [last, LAST * last]
    }
}

impl Family for MobileNetV3Config {
    type Network = MobileNetV3;

    const ABOUT: About = About {
        title: "MobileNetV3",
        paper: "Searching for MobileNetV3",
        year: 2019,
        url: "https://arxiv.org/abs/1905.02244",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "mobilenet-v3-small",
            config: Self::SMALL,
            note: "the fastest of the published encoders here",
            parameters: 927_008,
        },
        Preset {
            name: "mobilenet-v3-large",
            config: Self::LARGE,
            note: "more accurate than mobilenet-v2 at less work",
            parameters: 2_971_952,
        },
        Preset {
            name: "mobilenet-v3-tiny",
            config: Self { width: 0.1, head: 32, ..Self::SMALL },
            note: "for tests",
            parameters: 21_744,
        },
    ];

    fn init(&self, device: &Device) -> MobileNetV3 {
        let swish = ActivationFunction::HardSwish;
        let mut input = scaled(STEM, self.width);
        let stem = ConvConfig::new([self.in_channels, input], 3).with_stride(2);
        let mut blocks = Vec::new();
        let mut map_ends = if self.stem_is_map() { vec![0] } else { Vec::new() };
        for ((number, stage), step) in self.stages().iter().enumerate().zip(self.steps()) {
            let output = scaled(stage.channels, self.width);
            for (index, &(kernel, wide, squeezes)) in stage.blocks.iter().enumerate() {
                let wide = if number == 0 { input } else { scaled(wide, self.width) };
                let shape = BlockShape {
                    channels: [input, output],
                    wide,
                    expands: number > 0,
                    kernel,
                    stride: if index == 0 { step.stride } else { 1 },
                    dilation: step.dilations[index.min(1)],
                    padding: PaddingKind::Symmetric,
                    squeezed: squeezes.then(|| scaled(wide / 4, 1.0)),
                    epsilon: EPSILON,
                    activation: if stage.hard_swish { swish } else { ActivationFunction::Relu },
                };
                blocks.push(InvertedResidual::new(&shape, device));
                input = output;
            }
            if step.ends_resolution {
                map_ends.push(blocks.len());
            }
        }
        // The last map is the last convolution's.
        map_ends.pop();
        let (channels, strides) = (self.channels(), self.strides());
        MobileNetV3 {
            stem: ConvNormAct::new(&stem, EPSILON, swish, device),
            blocks,
            last: ConvNormAct::new(&ConvConfig::new(self.last(), 1), EPSILON, swish, device),
            head: None,
            map_ends,
            channels,
            strides,
        }
    }

    fn init_embedding(&self, device: &Device) -> MobileNetV3 {
        let hidden = ConvConfig::new([self.last()[1], self.head], 1);
        let expand = ConvNormAct::biased(&hidden, None, ActivationFunction::HardSwish, device);
        MobileNetV3 { head: Some(HiddenHead { expand }), ..self.init(device) }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        let stem = self.stem_is_map().then(|| scaled(STEM, self.width));
        let ends = self.stages().iter().zip(self.steps()).filter(|(_, step)| step.ends_resolution);
        let ends = ends.map(|(stage, _)| scaled(stage.channels, self.width));
        let mut channels: Vec<usize> = stem.into_iter().chain(ends).collect();
        channels.pop();
        channels.push(self.last()[1]);
        channels
    }

    fn strides(&self) -> Vec<usize> {
        let steps = self.steps();
        let ends = steps.iter().filter(|step| step.ends_resolution).map(|step| step.reached);
        self.stem_is_map().then_some(2).into_iter().chain(ends).collect()
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

    fn optimize(network: MobileNetV3) -> MobileNetV3 {
        MobileNetV3 {
            stem: network.stem.fold(),
            blocks: network.blocks.into_iter().map(InvertedResidual::fold).collect(),
            last: network.last.fold(),
            head: network.head.map(|head| HiddenHead { expand: head.expand.fold() }),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        let stages = self.stages().iter();
        let blocks = stages.map(|stage| stage.blocks.iter().map(|block| block.2).collect());
        keys::mobilenet::v3(foreign, &blocks.collect::<Vec<Vec<bool>>>())
    }

    const FIRST_KERNELS: &'static str = "stem.conv.weight";
}

/// A MobileNetV3 without its classifier.
#[derive(Module, Debug)]
pub struct MobileNetV3 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
    head: Option<HiddenHead>,
    /// After how many blocks there is a map; the last map follows all of them.
    #[module(skip)]
    map_ends: Vec<usize>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

/// The classifier's hidden layer, behind the mean over the picture.
#[derive(Module, Debug)]
struct HiddenHead {
    expand: ConvNormAct,
}

impl Encode for MobileNetV3 {
    fn forward(&self, images: Tensor<4>) -> Features {
        let mut image = self.stem.forward(images);
        let mut maps = Vec::with_capacity(self.map_ends.len() + 1);
        for (index, block) in self.blocks.iter().enumerate() {
            if self.map_ends.contains(&index) {
                maps.push(image.clone());
            }
            image = block.forward(image);
        }
        maps.push(self.last.forward(image));
        Features { maps }
    }

    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        let last = self.forward(images).last();
        match &self.head {
            Some(head) => head.expand.forward(global_average(last)),
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
