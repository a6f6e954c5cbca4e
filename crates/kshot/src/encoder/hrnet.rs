//! HRNet: branches of several resolutions side by side, fused again and again.
//!
//! - Papers: Sun et al., *High-Resolution Representations for Labeling Pixels and Regions*, 2019,
//!   <https://arxiv.org/abs/1904.04514>; Wang et al., *Deep High-Resolution Representation Learning for
//!   Visual Recognition*, 2019, <https://arxiv.org/abs/1908.07919>
//! - Coarser branches are resized to finer ones by repeating pixels, as in the authors' classification
//!   networks, which the published ImageNet weights are of, and as in timm; their segmentation networks
//!   resize bilinearly, and are refused where weights are read
//! - Sides that are no multiple of the strides, which the published networks do not take: repeated pixels
//!   beyond the finer map are cut off
//! - Weights have the authors' names, which timm shares
//!
//! Features are the stem's first convolution (stride 2) and the four branches after the last fusion
//! (strides 4 to 32). [`Family::init_embedding`] adds what leads from these to the classifier: each branch
//! widened by a bottleneck, finer ones added to coarser ones, 2048 channels.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use kshot_kernels::add_activated;

use crate::encoder::keys::{self, Renamed};
use crate::encoder::residual::{BlockShape, ResidualBlock, Stage};
use crate::encoder::{About, Encode, Family, Features, Normalization, Preset};
use crate::nn::{Activation, ConvConfig, ConvNormAct};

/// Added to variances.
const EPSILON: f64 = 1e-5;

/// Which HRNet: one of [`Family::PRESETS`], or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HrNetConfig {
    /// Channels of the finest branch; each coarser one has twice as many.
    pub width: usize,
    /// Channels of the stem, and a quarter of those of the stage before the branches.
    pub stem: usize,
    /// Blocks between two fusions.
    pub blocks: usize,
    /// Fusions of the stages of two, three and four branches.
    pub modules: [usize; 3],
    /// Channels of the pictures.
    pub in_channels: usize,
}

impl HrNetConfig {
    /// The smallest of the papers.
    pub const W18: Self =
        Self { width: 18, stem: 64, blocks: 4, modules: [1, 4, 3], in_channels: 3 };

    /// Channels of a branch.
    fn branch(&self, index: usize) -> usize {
        self.width << index
    }

    /// A layer of 3x3 kernels.
    fn layer(channels: [usize; 2], stride: usize, device: &Device) -> ConvNormAct {
        let config = ConvConfig::new(channels, 3).with_stride(stride);
        ConvNormAct::new(&config, EPSILON, Activation::Relu, device)
    }

    /// The stage that adds branch number `coarsest`.
    fn stage(&self, coarsest: usize, device: &Device) -> HrStage {
        let wide = 4 * self.stem;
        let before = if coarsest == 1 { wide } else { self.branch(coarsest - 1) };
        let module = |_| HrModule {
            branches: (0..=coarsest).map(|index| self.blocks(index, device)).collect(),
            fusions: (0..=coarsest).map(|to| self.fusion(to, coarsest, device)).collect(),
        };
        HrStage {
            narrow: (coarsest == 1).then(|| Self::layer([wide, self.width], 1, device)),
            coarser: Self::layer([before, self.branch(coarsest)], 2, device),
            modules: (0..self.modules[coarsest - 1]).map(module).collect(),
        }
    }

    fn blocks(&self, branch: usize, device: &Device) -> Stage {
        let shape = BlockShape::new([self.branch(branch); 2], 1);
        Stage { blocks: (0..self.blocks).map(|_| ResidualBlock::basic(&shape, device)).collect() }
    }

    fn fusion(&self, to: usize, coarsest: usize, device: &Device) -> Fusion {
        let path = |from: usize| {
            if from > to {
                let config = ConvConfig::new([self.branch(from), self.branch(to)], 1);
                return vec![ConvNormAct::new(&config, EPSILON, Activation::Identity, device)];
            }
            let down = |step: usize| {
                let last = step + 1 == to;
                let channels = [from, if last { to } else { from }].map(|index| self.branch(index));
                let config = ConvConfig::new(channels, 3).with_stride(2);
                let activation = if last { Activation::Identity } else { Activation::Relu };
                ConvNormAct::new(&config, EPSILON, activation, device)
            };
            (from..to).map(down).collect()
        };
        Fusion { paths: (0..=coarsest).map(path).collect() }
    }

    fn head(&self, device: &Device) -> HrHead {
        // Channels of each branch within its bottleneck; four times as many after it.
        let narrow = |index: usize| (self.stem / 2) << index;
        let widen = |index: usize| {
            let shape = BlockShape::new([self.branch(index), 4 * narrow(index)], 1);
            ResidualBlock::bottleneck(&shape, narrow(index), device)
        };
        let biased = |config: &ConvConfig| {
            ConvNormAct::biased(config, Some(EPSILON), Activation::Relu, device)
        };
        let down = |index: usize| {
            let channels = [4 * narrow(index), 4 * narrow(index + 1)];
            biased(&ConvConfig::new(channels, 3).with_stride(2))
        };
        let expand = HrExpansion {
            widen: (0..4).map(widen).collect(),
            down: (0..3).map(down).collect(),
            last: biased(&ConvConfig::new([4 * narrow(3), 32 * self.stem], 1)),
        };
        HrHead { expand }
    }
}

impl Family for HrNetConfig {
    type Network = HrNet;

    const ABOUT: About = About {
        title: "HRNet",
        paper: "Deep High-Resolution Representation Learning for Visual Recognition",
        year: 2019,
        url: "https://arxiv.org/abs/1908.07919",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "hrnet-w18",
            config: Self::W18,
            note: "keeps a map of stride 4 throughout: fine outlines, many small layers",
            parameters: 9_562_260,
        },
        Preset {
            name: "hrnet-w32",
            config: Self { width: 32, ..Self::W18 },
            note: "hrnet-w18, wider",
            parameters: 29_305_536,
        },
        Preset {
            name: "hrnet-tiny",
            config: Self { width: 4, stem: 8, blocks: 1, modules: [1, 1, 1], in_channels: 3 },
            note: "for tests",
            parameters: 59_296,
        },
    ];

    fn init(&self, device: &Device) -> HrNet {
        let stem = [[self.in_channels, self.stem], [self.stem; 2]];
        let wide = 4 * self.stem;
        let first = |index: usize| {
            let input = if index == 0 { self.stem } else { wide };
            ResidualBlock::bottleneck(&BlockShape::new([input, wide], 1), self.stem, device)
        };
        HrNet {
            stem: stem.into_iter().map(|channels| Self::layer(channels, 2, device)).collect(),
            first: Stage { blocks: (0..self.blocks).map(first).collect() },
            stages: (1..=3).map(|coarsest| self.stage(coarsest, device)).collect(),
            head: None,
            channels: self.channels(),
        }
    }

    fn init_embedding(&self, device: &Device) -> HrNet {
        HrNet { head: Some(self.head(device)), ..self.init(device) }
    }

    fn in_channels(&self) -> usize {
        self.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self { in_channels, ..self }
    }

    fn channels(&self) -> Vec<usize> {
        std::iter::once(self.stem).chain((0..4).map(|index| self.branch(index))).collect()
    }

    fn strides(&self) -> Vec<usize> {
        STRIDES.to_vec()
    }

    fn output_strides(&self) -> &'static [usize] {
        &[32]
    }

    fn with_output_stride(self, _output_stride: usize) -> Self {
        self
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: HrNet) -> HrNet {
        HrNet {
            stem: network.stem.into_iter().map(ConvNormAct::fold).collect(),
            first: network.first.fold(),
            stages: network.stages.into_iter().map(HrStage::fold).collect(),
            head: network.head.map(HrHead::fold),
            ..network
        }
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::hrnet::rename(foreign)
    }

    const FIRST_KERNELS: &'static str = "stem.0.conv.weight";
}

const STRIDES: [usize; 5] = [2, 4, 8, 16, 32];

/// An HRNet without its classifier.
#[derive(Module, Debug)]
pub struct HrNet {
    stem: Vec<ConvNormAct>,
    /// Before the branches.
    first: Stage,
    /// Of two, three and four branches.
    stages: Vec<HrStage>,
    /// Between the branches and the classifier.
    head: Option<HrHead>,
    #[module(skip)]
    channels: Vec<usize>,
}

impl Encode for HrNet {
    fn forward(&self, images: Tensor<4>) -> Features {
        let [fine, coarse] = [&self.stem[0], &self.stem[1]];
        let fine = fine.forward(images);
        let image = self.first.forward(coarse.forward(fine.clone()));
        let stages = self.stages.iter();
        let branches = stages.fold(vec![image], |branches, stage| stage.forward(branches));
        Features { maps: std::iter::once(fine).chain(branches).collect() }
    }

    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        let features = self.forward(images);
        match &self.head {
            Some(head) => head.expand.forward(&features.maps[1..]),
            None => features.last(),
        }
    }

    fn in_channels(&self) -> usize {
        self.stem[0].conv.weight.dims()[1]
    }

    fn channels(&self) -> Vec<usize> {
        self.channels.clone()
    }

    fn strides(&self) -> Vec<usize> {
        STRIDES.to_vec()
    }
}

/// One more branch, half as large as the coarsest, then modules of all.
#[derive(Module, Debug)]
struct HrStage {
    /// Of the only map, where the first branches begin.
    narrow: Option<ConvNormAct>,
    /// From the coarsest map to the new branch.
    coarser: ConvNormAct,
    modules: Vec<HrModule>,
}

impl HrStage {
    fn forward(&self, mut maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let coarser = maps.last().map(|map| self.coarser.forward(map.clone()));
        if let Some(narrow) = &self.narrow {
            maps = maps.into_iter().map(|map| narrow.forward(map)).collect();
        }
        maps.extend(coarser);
        self.modules.iter().fold(maps, |maps, module| module.forward(maps))
    }

    fn fold(self) -> Self {
        Self {
            narrow: self.narrow.map(ConvNormAct::fold),
            coarser: self.coarser.fold(),
            modules: self.modules.into_iter().map(HrModule::fold).collect(),
        }
    }
}

/// Blocks on each branch, then each branch's sum with all others.
#[derive(Module, Debug)]
struct HrModule {
    /// Finest first.
    branches: Vec<Stage>,
    /// One for each branch that comes out.
    fusions: Vec<Fusion>,
}

impl HrModule {
    fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let branches = self.branches.iter().zip(maps);
        let maps: Vec<_> = branches.map(|(branch, map)| branch.forward(map)).collect();
        let fusions = self.fusions.iter().enumerate();
        fusions.map(|(to, fusion)| fusion.forward(to, &maps)).collect()
    }

    fn fold(self) -> Self {
        Self {
            branches: self.branches.into_iter().map(Stage::fold).collect(),
            fusions: self.fusions.into_iter().map(Fusion::fold).collect(),
        }
    }
}

/// All branches at one's resolution and width, summed.
#[derive(Module, Debug)]
struct Fusion {
    /// From each branch, finest first; nothing from the one itself.
    paths: Vec<Vec<ConvNormAct>>,
}

impl Fusion {
    fn forward(&self, to: usize, maps: &[Tensor<4>]) -> Tensor<4> {
        let along = |from: usize| {
            let path = self.paths[from].iter();
            path.fold(maps[from].clone(), |map, layer| layer.forward(map))
        };
        let mut sum: Option<Tensor<4>> = None;
        // From the coarsest up: doubled together, which is the same as each by itself.
        for from in (to + 1..maps.len()).rev() {
            let map = along(from);
            let both = match sum {
                Some(coarser) => map + coarser,
                None => map,
            };
            let [.., height, width] = maps[from - 1].dims();
            sum = Some(doubled(both, [height, width]));
        }
        let mut last = maps[to].clone();
        for from in 0..to {
            let map = along(from);
            sum = Some(match sum {
                Some(sum) => sum + last,
                None => last,
            });
            last = map;
        }
        match sum {
            Some(sum) => add_activated(sum, last, Activation::Relu),
            None => unreachable!("a fusion is of two branches or more"),
        }
    }

    fn fold(self) -> Self {
        let path = |path: Vec<ConvNormAct>| path.into_iter().map(ConvNormAct::fold).collect();
        Self { paths: self.paths.into_iter().map(path).collect() }
    }
}

/// Each pixel four times, as far as the larger map goes.
fn doubled(map: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let size = [2, 3].map(|axis| 2 * map.dims()[axis]);
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
    let wide = burn::tensor::module::interpolate(map, options);
    wide.narrow(2, 0, height).narrow(3, 0, width)
}

#[derive(Module, Debug)]
struct HrHead {
    expand: HrExpansion,
}

/// From the branches to the map that the classifier sees the mean of.
#[derive(Module, Debug)]
struct HrExpansion {
    /// Of each branch, finest first.
    widen: Vec<ResidualBlock>,
    /// To the next coarser branch.
    down: Vec<ConvNormAct>,
    last: ConvNormAct,
}

impl HrHead {
    fn fold(self) -> Self {
        let HrExpansion { widen, down, last } = self.expand;
        let expand = HrExpansion {
            widen: widen.into_iter().map(ResidualBlock::fold).collect(),
            down: down.into_iter().map(ConvNormAct::fold).collect(),
            last: last.fold(),
        };
        Self { expand }
    }
}

impl HrExpansion {
    fn forward(&self, branches: &[Tensor<4>]) -> Tensor<4> {
        let widened =
            self.widen.iter().zip(branches).map(|(block, map)| block.forward(map.clone()));
        let mut down = self.down.iter();
        let sum = widened.reduce(|finer, map| match down.next() {
            Some(down) => map + down.forward(finer),
            None => unreachable!("a way down between each two branches"),
        });
        match sum {
            Some(sum) => self.last.forward(sum),
            None => unreachable!("an HRNet has branches"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_repeated_and_cut() {
        let device = Device::flex();
        let map = Tensor::<4>::from_data([[[[1.0, 2.0], [3.0, 4.0]]]], &device);
        let wide = doubled(map, [3, 4]).into_data();
        let expected = [[[[1.0f32, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 4.0, 4.0]]]];
        assert_eq!(wide, TensorData::from(expected));
    }
}
