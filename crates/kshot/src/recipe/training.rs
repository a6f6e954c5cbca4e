//! `[train]`: how a method is trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerConfig;
use super::protocol::SupportLabels;
use super::schedule::ScheduleConfig;
use crate::error::{Error, Result};

/// How a method is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Steps of the optimiser in all.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 1000)]
    pub steps: usize,
    /// Pictures, or episodes, that are held at once: those of a step, unless `train.accumulate` says more.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 4096))]
    pub batch: usize,
    /// Batches of a step of the optimiser: it takes the mean of their gradients, so that 4 batches of 2 pictures do
    /// nearly what a batch of 8 does, in the memory of 2 (batch normalisation still sees 2).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(!skip_serializing_if, range(min = 1, max = 4096))]
    pub accumulate: usize,
    /// Steps between two validations, each of which leaves a checkpoint; one comes after the last step, too.
    #[schemars(range(min = 1, max = 1_000_000_000), example = 100)]
    pub validate_every: usize,
    /// Seed of parameters and items.
    #[schemars(example = 1)]
    pub seed: u64,
    /// The metric on the validation set by which the best checkpoint is chosen, one of
    /// `kshot list metrics`; by default the method's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub monitor: Option<String>,
    /// Stops after so many validations without a better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub patience: Option<usize>,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate before the schedule.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0), example = 1e-3)]
    pub learning_rate: f64,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Share of the crops that lie around a pixel of a class (not background), drawn evenly among those of the picture:
    /// a third in nnU-Net. For supervised segmentation with a `crop` or `affine` among its transforms.
    #[serde(default, skip_serializing_if = "super::is_default")]
    #[schemars(!skip_serializing_if, range(min = 0.0, max = 1.0))]
    pub balanced: f64,
    /// Bounds gradients before each step of the optimiser: `{ norm = 1.0 }` shortens all of them together to that
    /// length where they are longer, `{ value = 0.5 }` cuts each number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Decay of a moving average of the weights, such as 0.999. It is what validations judge and what is kept as
    /// `model.bpk`; none by default. At first the decay is less, (1 + step) / (10 + step).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.999_999))]
    pub ema: Option<f64>,
    /// Episodes to train and validate on, of methods that learn from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episodes: Option<TrainingEpisodes>,
}

/// How gradients are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clip {
    /// The length that all gradients together have at most, as PyTorch's `clip_grad_norm_` (Pascanu et al. 2013,
    /// arXiv 1211.5063).
    Norm(#[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1e6))] f64),
    /// What each number of the gradients is at most, as `clip_grad_value_`.
    Value(#[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1e6))] f64),
}

/// Ways, shots and queries of training episodes, and how many episodes validate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingEpisodes {
    /// Classes an episode.
    #[schemars(range(min = 1, max = 1000), example = 5)]
    pub ways: usize,
    /// Support pictures a class.
    #[schemars(range(min = 1, max = 1000), example = 1)]
    pub shots: usize,
    /// Query pictures a class.
    #[schemars(range(min = 0, max = 1000), example = 5)]
    pub queries: usize,
    /// Episodes of a validation, of the protocol's first ways and shots.
    #[serde(default = "validation_episodes")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub validation: usize,
    /// Of pixels with an encoder that stays as it is: how many augmented views of each picture are made and kept.
    #[serde(default = "views", skip_serializing_if = "is_usual")]
    #[schemars(range(min = 1, max = 1000))]
    pub views: usize,
    /// Of pixels: what the labelled pictures of an episode are labelled with.
    #[serde(default, skip_serializing_if = "SupportLabels::is_mask")]
    pub labels: SupportLabels,
}

fn views() -> usize {
    4
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_usual(count: &usize) -> bool {
    *count == views()
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_one(value: &usize) -> bool {
    *value == 1
}

fn validation_episodes() -> usize {
    200
}

impl Training {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// If a number is out of range; the key is named.
    pub(super) fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        if let Some(episodes) = &self.episodes {
            episodes.labels.check("train.episodes.labels")?;
        }
        self.schedule.check(self.steps)
    }

    /// Validations in all.
    pub fn validations(&self) -> usize {
        self.steps.div_ceil(self.validate_every).max(1)
    }

    /// The episodes.
    ///
    /// # Errors
    /// If the section is missing.
    pub fn episodes(&self) -> Result<&TrainingEpisodes> {
        self.episodes.as_ref().ok_or_else(|| {
            Error::config(
                "this method learns from episodes: write ways, shots and queries, such as episodes = { ways = \
                 5, shots = 1, queries = 5 }",
            )
            .at_key("train.episodes")
        })
    }
}
