//! `transductive-refinement`: each query is fitted at test time, after RePRI (Boudiaf et al., CVPR 2021, arXiv 2012.06166).
//!
//! Class weights start as prototypes and take some steps of gradient descent on three terms: the cross entropy of the
//! labelled pictures, the entropy of the query's pixels, and the divergence of the query's class proportions from what
//! they were estimated to be: at first from the start, then, once, from step `update` on. In training the prototypes
//! alone are used (as PANet without alignment); RePRI's encoder is trained on base classes without episodes.
//!
//! Deviations: every class and the background has a weight vector and an offset under one softmax, where RePRI has one
//! logistic foreground; all stages on one grid, each of unit length. Transductive: a pixel's label depends on all pixels
//! of its own query, never on other queries.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::{log_softmax, softmax};

use super::dense_correlation::{on_grid, rows_of};
use super::maps::{LabelledMaps, Maps, SPECK, TINY, cell_shares};
use super::panet::{class_prototypes, cosine_logits};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::error::{Error, Result};
use crate::nn::weights::constant;

/// How queries are fitted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TransductiveRefinementConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid on which queries are fitted.
    #[schemars(range(min = 2, max = 128))]
    pub grid: usize,
    /// The logit of a cosine of 1.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1000.0))]
    pub scale: f32,
    /// Steps of gradient descent for a query; 0 for the prototypes alone.
    #[schemars(range(min = 0, max = 10_000))]
    pub steps: usize,
    /// Their learning rate.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub rate: f64,
    /// What the query's entropy counts, divided by the pictures of a class as in the paper.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub entropy: f64,
    /// What the divergence of the query's proportions counts, divided likewise.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub proportion: f64,
    /// The step at which the proportions are estimated anew.
    #[schemars(range(min = 0, max = 10_000))]
    pub update: usize,
}

impl Default for TransductiveRefinementConfig {
    fn default() -> Self {
        Self {
            size: 416,
            stages: 3,
            grid: 26,
            scale: 20.0,
            steps: 50,
            rate: 0.025,
            entropy: 1.0,
            proportion: 1.0,
            update: 10,
        }
    }
}

impl EpisodicConfig for TransductiveRefinementConfig {
    type Head = TransductiveRefinement;
    const NAME: &'static str = "transductive-refinement";
    const SUMMARY: &'static str =
        "prototypes refined on each query by its entropy and proportions (RePRI)";
    const SOURCE: &'static str = "https://arxiv.org/abs/2012.06166";
    const LEARNS_ENCODER: bool = true;

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn check(&self) -> Result<()> {
        let numbers = [self.rate, self.entropy, self.proportion, f64::from(self.scale)];
        if numbers.iter().all(|number| number.is_finite() && *number >= 0.0) && self.scale > 0.0 {
            return Ok(());
        }
        let text = "scale is above 0; rate, entropy and proportion are 0 or more".to_owned();
        Err(Error::config(text).at_key("method.scale"))
    }

    fn init(&self, _: &[usize], _: usize, _: &Device) -> TransductiveRefinement {
        TransductiveRefinement { config: self.clone() }
    }
}

/// Nothing that learns from episode to episode.
#[derive(Module, Debug)]
pub struct TransductiveRefinement {
    #[module(skip)]
    config: TransductiveRefinementConfig,
}

/// Prototypes, and the labelled cells by which they are fitted.
#[derive(Debug, Clone)]
pub struct RefinementTask {
    /// `[planes, channels]`, of stages at their own sizes.
    prototypes: Tensor<2>,
    /// `[cells, channels]`
    cells: Tensor<2>,
    /// `[cells, planes]`: how much of a cell is each class's, 0 to 1.
    shares: Tensor<2>,
    shots: usize,
}

/// All stages on a grid as a row a cell, of length 1.
fn joined(maps: &Maps, grid: usize) -> Tensor<2> {
    let stages = maps.0.len() as f32;
    let rows = on_grid(maps, grid).0.into_iter().map(rows_of);
    Tensor::cat(rows.collect(), 1) / stages.sqrt()
}

impl TransductiveRefinement {
    /// Logits `[cells, planes]` of rows of length 1.
    fn scores(&self, cells: &Tensor<2>, weights: &Tensor<2>, offsets: &Tensor<2>) -> Tensor<2> {
        let length = (weights.clone().square().sum_dim(1) + TINY).sqrt();
        let cosines = cells.clone().matmul((weights.clone() / length).transpose());
        (cosines - offsets.clone()) * self.config.scale
    }

    /// Weights and offsets of a query, `[planes, channels]` and `[1, planes]`, without autodiff.
    fn fitted(&self, task: &RefinementTask, query: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let TransductiveRefinementConfig { steps, rate, entropy, proportion, update, .. } =
            self.config;
        let share = 1.0 / task.shots as f64;
        let (cells, shares) = (constant(task.cells.clone()), constant(task.shares.clone()));
        let query = constant(query);
        let [planes, _] = task.prototypes.dims();
        let mut weights = constant(task.prototypes.clone()).require_grad();
        let mut offsets: Tensor<2> = Tensor::zeros([1, planes], &weights.device()).require_grad();
        let proportions = |weights: &Tensor<2>, offsets: &Tensor<2>| {
            softmax(self.scores(&query, weights, offsets), 1).mean_dim(0).detach()
        };
        let mut expected = proportions(&weights, &offsets);
        for step in 0..steps {
            if step == update && step > 0 {
                expected = proportions(&weights, &offsets);
            }
            let labelled = log_softmax(self.scores(&cells, &weights, &offsets), 1);
            let counted = shares.clone().sum() + SPECK;
            let supported = (labelled * shares.clone()).sum().neg() / counted;
            let log = log_softmax(self.scores(&query, &weights, &offsets), 1);
            let found = log.clone().exp();
            let uncertain = (found.clone() * log).sum_dim(1).mean().neg();
            let mean = found.mean_dim(0);
            let ratio = (mean.clone() + SPECK).log() - (expected.clone() + SPECK).log();
            let apart = (mean * ratio).sum();
            let loss = supported + uncertain * (entropy * share) + apart * (proportion * share);
            let gradients = loss.backward();
            let stepped = |of: &Tensor<2>| {
                let plain = of.clone().inner();
                let moved = match of.grad(&gradients) {
                    Some(gradient) => plain - gradient * rate,
                    None => plain,
                };
                Tensor::from_inner(moved).require_grad()
            };
            (weights, offsets) = (stepped(&weights), stepped(&offsets));
        }
        (weights.inner(), offsets.inner())
    }
}

impl EpisodicHead for TransductiveRefinement {
    type Task = RefinementTask;

    fn task(&self, support: &LabelledMaps) -> RefinementTask {
        let planes = support.planes();
        let shares = rows_of(cell_shares(&planes, [self.config.grid; 2]));
        RefinementTask {
            prototypes: class_prototypes(&support.maps, &planes),
            cells: joined(&support.maps, self.config.grid),
            shares,
            shots: support.holders.iter().map(Vec::len).max().unwrap_or(1).max(1),
        }
    }

    fn logits(&self, task: &RefinementTask, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        if self.config.steps == 0 {
            return self.train_logits(task, query, size);
        }
        let maps = query;
        let each = (0..maps.pictures()).map(|picture| {
            let one = maps.picture(picture);
            let (weights, offsets) = self.fitted(task, joined(&one, self.config.grid));
            let [_, planes] = offsets.dims();
            let shift = offsets.reshape([1, planes, 1, 1]) * self.config.scale;
            cosine_logits(&one, &weights, size, self.config.scale) - shift
        });
        Tensor::cat(each.collect(), 0)
    }

    fn train_logits(&self, task: &RefinementTask, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        cosine_logits(query, &task.prototypes, size, self.config.scale)
    }

    fn is_transductive(&self) -> bool {
        true
    }
}
