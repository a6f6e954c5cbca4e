//! Inception-v3: blocks of branches that see windows of several sizes, some factorised into rows and columns.
//!
//! - Paper: Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, 2015,
//!   <https://arxiv.org/abs/1512.00567>
//! - Weights: torchvision's names, which timm shares
//!
//! Features are the outputs of the last layer of each resolution, as timm's `features_only` has them: of
//! `Conv2d_2b_3x3`, `Conv2d_4a_3x3`, `Mixed_5d`, `Mixed_6e` and `Mixed_7c`.
//!
//! The original leaves the border out in the stem and wherever it steps, so that its maps are smaller than the picture by
//! more than their stride, and small pictures have none. Here every convolution and pool is padded, as in the Inception
//! encoders of segmentation_models.pytorch: a map measures `ceil(size / stride)`. Away from the border the values are
//! those that the original has for a picture moved by some pixels. The auxiliary classifier is left out.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use kshot_kernels::{avg_pool2d, max_pool2d};

use crate::encoder::keys::{self, Renamed};
use crate::encoder::mobile::scaled;
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

const EPSILON: f64 = 1e-3;
/// Layers of the stem: kernel, stride, channels.
const STEM: [(usize, usize, usize); 5] =
    [(3, 2, 32), (3, 1, 32), (3, 1, 64), (1, 1, 80), (3, 1, 192)];
/// Before these layers of the stem, and before the blocks, a pool steps.
const POOLED: usize = 3;

/// Which Inception-v3: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InceptionV3Config {
    /// Multiplies the channels.
    pub width: f64,
    /// Blocks of each resolution besides those that step, at most 3, 4 and 2.
    pub depths: [usize; 3],
    /// Channels of the pictures.
    pub in_channels: usize,
}

/// The paper's kinds of blocks, by its figures (and torchvision's letters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Figure 5 (A), whose pooled branch has that many channels.
    Small(usize),
    /// Figure 10 (B): to half the resolution.
    FirstStep,
    /// Figure 6 (C): rows and columns of 7 through that many channels.
    Factorised(usize),
    /// To half the resolution (D).
    SecondStep,
    /// Figure 7 (E): wide, with rows and columns side by side.
    Wide,
}

/// What a branch starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pool {
    None,
    /// The mean of 3x3 pixels, zeros around the image included.
    Average,
    /// The largest of 3x3 pixels, in steps of 2.
    Largest,
}

/// A layer: rows and columns of the kernel, stride, channels.
type Layer = ([usize; 2], usize, usize);

/// A branch of a block: what it is made from, and torchvision's name of it.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub name: &'static str,
    pub pool: Pool,
    pub layers: Vec<Layer>,
    /// Two layers that see the same: their outputs stand behind each other.
    pub ends: Vec<Layer>,
}

impl Branch {
    fn new(name: &'static str, layers: &[Layer]) -> Self {
        Self { name, pool: Pool::None, layers: layers.to_vec(), ends: Vec::new() }
    }

    fn pooled(pool: Pool, channels: Option<usize>) -> Self {
        let layers = channels.map(|channels| square(1, channels));
        Self { name: "branch_pool", pool, layers: layers.into_iter().collect(), ends: Vec::new() }
    }
}

const fn square(kernel: usize, channels: usize) -> Layer {
    ([kernel; 2], 1, channels)
}

impl Kind {
    /// Whether its maps have half the resolution of what it sees.
    pub(crate) fn reduces(self) -> bool {
        matches!(self, Self::FirstStep | Self::SecondStep)
    }

    /// Its branches, in the order in which their outputs stand.
    pub(crate) fn branches(self) -> Vec<Branch> {
        let row = |kernel: usize, channels: usize| ([1, kernel], 1, channels);
        let column = |kernel: usize, channels: usize| ([kernel, 1], 1, channels);
        let step = |channels: usize| ([3; 2], 2, channels);
        match self {
            Self::Small(pooled) => vec![
                Branch::new("branch1x1", &[square(1, 64)]),
                Branch::new("branch5x5", &[square(1, 48), square(5, 64)]),
                Branch::new("branch3x3dbl", &[square(1, 64), square(3, 96), square(3, 96)]),
                Branch::pooled(Pool::Average, Some(pooled)),
            ],
            Self::FirstStep => vec![
                Branch::new("branch3x3", &[step(384)]),
                Branch::new("branch3x3dbl", &[square(1, 64), square(3, 96), step(96)]),
                Branch::pooled(Pool::Largest, None),
            ],
            Self::Factorised(inner) => vec![
                Branch::new("branch1x1", &[square(1, 192)]),
                Branch::new("branch7x7", &[square(1, inner), row(7, inner), column(7, 192)]),
                Branch::new(
                    "branch7x7dbl",
                    &[
                        square(1, inner),
                        column(7, inner),
                        row(7, inner),
                        column(7, inner),
                        row(7, 192),
                    ],
                ),
                Branch::pooled(Pool::Average, Some(192)),
            ],
            Self::SecondStep => vec![
                Branch::new("branch3x3", &[square(1, 192), step(320)]),
                Branch::new(
                    "branch7x7x3",
                    &[square(1, 192), row(7, 192), column(7, 192), step(192)],
                ),
                Branch::pooled(Pool::Largest, None),
            ],
            Self::Wide => {
                let ends = vec![row(3, 384), column(3, 384)];
                let split = |branch: Branch| Branch { ends: ends.clone(), ..branch };
                vec![
                    Branch::new("branch1x1", &[square(1, 320)]),
                    split(Branch::new("branch3x3", &[square(1, 384)])),
                    split(Branch::new("branch3x3dbl", &[square(1, 448), square(3, 384)])),
                    Branch::pooled(Pool::Average, Some(192)),
                ]
            }
        }
    }
}

impl InceptionV3Config {
    /// The published one.
    pub const FULL: Self = Self { width: 1.0, depths: [3, 4, 2], in_channels: 3 };

    /// The kinds of its blocks.
    pub(crate) fn blocks(&self) -> Vec<Kind> {
        let [small, factorised, wide] = self.depths;
        let small = [32, 64, 64].into_iter().map(Kind::Small).take(small);
        let factorised = [128, 160, 160, 192].into_iter().map(Kind::Factorised).take(factorised);
        let wide = [Kind::Wide; 2].into_iter().take(wide);
        let steps = [Kind::FirstStep, Kind::SecondStep];
        small.chain([steps[0]]).chain(factorised).chain([steps[1]]).chain(wide).collect()
    }

    /// Channels after each block.
    fn widths(&self) -> Vec<usize> {
        let mut input = scaled(STEM[4].2, self.width);
        let mut widths = Vec::new();
        for kind in self.blocks() {
            let of = |branch: &Branch| match (branch.layers.last(), &*branch.ends) {
                (Some(last), []) => scaled(last.2, self.width),
                (None, []) => input,
                (_, ends) => ends.iter().map(|end| scaled(end.2, self.width)).sum(),
            };
            input = kind.branches().iter().map(of).sum();
            widths.push(input);
        }
        widths
    }

    /// After how many blocks a map ends: before each step, and at the end.
    fn map_ends(&self) -> Vec<usize> {
        let blocks = self.blocks();
        let steps = blocks.iter().enumerate().filter(|(_, kind)| kind.reduces());
        steps.map(|(index, _)| index).chain([blocks.len()]).collect()
    }
}

impl Family for InceptionV3Config {
    type Network = InceptionV3;

    const ABOUT: About = About {
        title: "Inception-v3",
        paper: "Rethinking the Inception Architecture for Computer Vision",
        year: 2015,
        url: "https://arxiv.org/abs/1512.00567",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "inception-v3",
            config: Self::FULL,
            note: "sees several sizes at once; as large as resnet34",
            parameters: 21_785_568,
        },
        Preset {
            name: "inception-v3-tiny",
            config: Self { width: 0.05, depths: [1; 3], ..Self::FULL },
            note: "for tests",
            parameters: 51_960,
        },
    ];

    fn init(&self, device: &Device) -> InceptionV3 {
        let layer = |input: usize, (kernel, stride, output): Layer| {
            let output = scaled(output, self.width);
            let config = ConvConfig::rectangular([input, output], kernel).with_stride(stride);
            // Of a square kernel both sides are padded alike, as in PyTorch.
            let square = ConvConfig::new([input, output], kernel[0]).with_stride(stride);
            let config = if kernel[0] == kernel[1] { square } else { config };
            (ConvNormAct::new(&config, EPSILON, Activation::Relu, device), output)
        };
        let mut input = self.in_channels;
        let mut stem = Vec::new();
        for (kernel, stride, output) in STEM {
            let (made, output) = layer(input, ([kernel; 2], stride, output));
            stem.push(made);
            input = output;
        }
        let mut blocks = Vec::new();
        for (kind, width) in self.blocks().into_iter().zip(self.widths()) {
            let branch = |branch: Branch| {
                let mut inner = input;
                let mut layers = Vec::new();
                for config in branch.layers {
                    let (made, output) = layer(inner, config);
                    layers.push(made);
                    inner = output;
                }
                let ends = branch.ends.into_iter().map(|config| layer(inner, config).0).collect();
                InceptionBranch { layers, ends, pool: branch.pool }
            };
            blocks.push(InceptionBlock {
                branches: kind.branches().into_iter().map(branch).collect(),
            });
            input = width;
        }
        let (channels, map_ends) = (self.channels(), self.map_ends());
        InceptionV3 { stem, blocks, map_ends, channels, strides: self.strides() }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        let stem = [STEM[2].2, STEM[4].2].map(|channels| scaled(channels, self.width));
        let widths = self.widths();
        stem.into_iter().chain(self.map_ends().into_iter().map(|end| widths[end - 1])).collect()
    }

    fn strides(&self) -> Vec<usize> {
        vec![2, 4, 8, 16, 32]
    }

    /// Its own only: rows and columns of 7 are not dilated anywhere else.
    fn output_strides(&self) -> &'static [usize] {
        &[32]
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    /// Half of the range, as the weights were trained by their authors (torchvision's own network turns ImageNet's
    /// normalisation into this one).
    fn normalization(&self) -> Normalization {
        Normalization::HALF
    }

    fn optimize(network: InceptionV3) -> InceptionV3 {
        let fold = |layers: Vec<ConvNormAct>| layers.into_iter().map(ConvNormAct::fold).collect();
        let branch = |branch: InceptionBranch| InceptionBranch {
            layers: fold(branch.layers),
            ends: fold(branch.ends),
            ..branch
        };
        let block = |block: InceptionBlock| InceptionBlock {
            branches: block.branches.into_iter().map(branch).collect(),
        };
        InceptionV3 {
            stem: fold(network.stem),
            blocks: network.blocks.into_iter().map(block).collect(),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::inception_v3::rename(foreign, &self.blocks())
    }

    const FIRST_KERNELS: &'static str = "stem.0.conv.weight";
}

/// An Inception-v3 without its classifiers.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    stem: Vec<ConvNormAct>,
    blocks: Vec<InceptionBlock>,
    /// After how many blocks there is a map.
    #[module(skip)]
    map_ends: Vec<usize>,
    #[module(skip)]
    channels: Vec<usize>,
    #[module(skip)]
    strides: Vec<usize>,
}

/// Branches that see the same; their outputs stand behind each other.
#[derive(Module, Debug)]
struct InceptionBlock {
    branches: Vec<InceptionBranch>,
}

#[derive(Module, Debug)]
struct InceptionBranch {
    layers: Vec<ConvNormAct>,
    ends: Vec<ConvNormAct>,
    #[module(skip)]
    pool: Pool,
}

/// The largest of 3x3 pixels in steps of 2.
fn half(image: Tensor<4>) -> Tensor<4> {
    max_pool2d(image, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

impl InceptionBranch {
    fn forward(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        let pooled = match self.pool {
            Pool::None => image,
            Pool::Average => avg_pool2d(
                image,
                AvgPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1])
                    .with_count_include_pad(true),
            ),
            Pool::Largest => half(image),
        };
        let last = self.layers.iter().fold(pooled, |image, layer| layer.forward(image));
        if self.ends.is_empty() {
            return vec![last];
        }
        self.ends.iter().map(|layer| layer.forward(last.clone())).collect()
    }
}

impl Encode for InceptionV3 {
    fn forward(&self, images: Tensor<4>) -> Features {
        let (first, second) = self.stem.split_at(POOLED);
        let through = |layers: &[ConvNormAct], image: Tensor<4>| {
            layers.iter().fold(image, |image, layer| layer.forward(image))
        };
        let mut maps = vec![through(first, images)];
        let second = through(second, half(maps[0].clone()));
        let image = half(second.clone());
        maps.push(second);
        maps.extend(Features::behind(&self.blocks, &self.map_ends, image, |block, image| {
            let outputs = block.branches.iter().flat_map(|branch| branch.forward(image.clone()));
            Tensor::cat(outputs.collect(), 1)
        }));
        Features { maps }
    }

    fn in_channels(&self) -> usize {
        self.stem.first().map_or(0, |layer| layer.conv.weight.dims()[1])
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        self.strides.clone()
    }
}
