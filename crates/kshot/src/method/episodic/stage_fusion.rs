//! `stage-fusion`: meta-learnt fusion of an encoder's stages. Each stage compares the query with its own prototypes
//! (cosines, as PANet); how much each is listened to is made from the support: a small network sees how well every stage
//! tells the labelled pixels apart and gives its weight and its threshold.
//!
//! That the support should say which features matter is the idea of conditional networks (Rakelly et al. 2018, arXiv
//! 1806.07373) and of attention over feature levels (Yang et al., BriNet 2020, arXiv 2008.06226); the form is ours: 1322
//! parameters with its defaults, so that few classes are enough to learn them. Not transductive.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::softplus;

use super::maps::{LabelledMaps, Maps, SPECK, cell_shares};
use super::panet::{class_prototypes, cosines};
use super::parts::against_background;
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::nn::linear::linear;
use crate::nn::{Activation, Conv};

/// What a stage says of a class: mean and spread of the difference of cosines in its labelled pixels and in the others,
/// the cosine of the two prototypes, and the share of the picture.
const FACTS: usize = 6;

/// How stages are joined.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StageFusionConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Hidden units of the network that weighs them.
    #[schemars(range(min = 1, max = 4096))]
    pub hidden: usize,
}

impl Default for StageFusionConfig {
    fn default() -> Self {
        Self { size: 416, stages: 5, hidden: 32 }
    }
}

impl EpisodicConfig for StageFusionConfig {
    type Head = StageFusion;
    const NAME: &'static str = "stage-fusion";
    const SUMMARY: &'static str =
        "prototypes of every stage, weighted by a network that sees what the support says of them";
    const SOURCE: &'static str = "https://arxiv.org/abs/1806.07373";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> StageFusion {
        let stages = channels.len();
        StageFusion {
            hidden: linear([FACTS * stages, self.hidden], true, device),
            weigh: linear([self.hidden, 2 * stages], true, device),
        }
    }
}

/// The network that weighs stages.
#[derive(Module, Debug)]
pub struct StageFusion {
    hidden: Conv,
    weigh: Conv,
}

/// What the support says of one class.
#[derive(Debug, Clone)]
pub struct StageTask {
    /// Prototypes `[2, channels of all stages]`, background first.
    prototypes: Tensor<2>,
    /// Weight and threshold of each stage, `[1, 2 * stages, 1, 1]`.
    weights: Tensor<4>,
}

/// The difference of each stage's cosines to a class and to the background, times the root of the stages.
fn margins(maps: &Maps, prototypes: &Tensor<2>) -> Vec<Tensor<4>> {
    // Every stage's part of the prototypes at unit length, so that stages are compared alike.
    let mut start = 0;
    let parts = maps.0.iter().map(|map| {
        let channels = map.dims()[1];
        let part = prototypes.clone().narrow(1, start, channels);
        start += channels;
        let both = cosines(&Maps(vec![map.clone()]), &part, 1.0).remove(0);
        both.clone().narrow(1, 1, 1) - both.narrow(1, 0, 1)
    });
    parts.collect()
}

impl EpisodicHead for StageFusion {
    type Task = Vec<StageTask>;

    fn task(&self, support: &LabelledMaps) -> Vec<StageTask> {
        let of_way = |way: usize| {
            let (maps, masks) = support.way(way);
            let prototypes = class_prototypes(&maps, &masks);
            let mut facts = Vec::new();
            let mut start = 0;
            for (map, margin) in maps.0.iter().zip(margins(&maps, &prototypes)) {
                let [_, channels, rows, columns] = map.dims();
                let shares = cell_shares(&masks, [rows, columns]);
                let area = shares.clone().sum_dim(3).sum_dim(2).sum_dim(0) + SPECK;
                let mean = |of: Tensor<4>| {
                    (of * shares.clone()).sum_dim(3).sum_dim(2).sum_dim(0) / area.clone()
                };
                let first = mean(margin.clone().repeat_dim(1, 2));
                let second = mean(margin.square().repeat_dim(1, 2));
                let spread = (second - first.clone().square()).clamp_min(1e-6).sqrt();
                let part = prototypes.clone().narrow(1, start, channels);
                start += channels;
                let unit = part.clone() / (part.square().sum_dim(1) + SPECK).sqrt();
                let alike = unit.clone().narrow(0, 0, 1).mul(unit.narrow(0, 1, 1)).sum_dim(1);
                let share = area.clone().narrow(1, 1, 1) / area.clone().sum_dim(1);
                facts.extend([first, spread, alike.reshape([1, 1, 1, 1]), share]);
            }
            let hidden = self.hidden.activated(Tensor::cat(facts, 1), Activation::Relu);
            StageTask { prototypes, weights: self.weigh.forward(hidden) }
        };
        (0..support.ways()).map(of_way).collect()
    }

    fn logits(&self, task: &Vec<StageTask>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let grid = query.grid();
        let of_way = |task: &StageTask| {
            let parts = margins(query, &task.prototypes).into_iter().enumerate();
            let parts = parts.map(|(stage, margin)| {
                let weight = softplus(task.weights.clone().narrow(1, 2 * stage, 1), 1.0);
                let threshold = task.weights.clone().narrow(1, 2 * stage + 1, 1);
                // Around 10, where PANet has 20 for all stages together.
                let score = margin * (weight * 10.0) - threshold;
                kshot_kernels::bilinear(score, grid, false)
            });
            let sum = parts.reduce(|sum, part| sum + part);
            sum.unwrap_or_else(|| panic!("at least one stage"))
        };
        against_background(task.iter().map(of_way).collect(), size)
    }
}
