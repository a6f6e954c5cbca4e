//! `[train]`: how a method is trained.

use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerConfig;
use super::schedule::ScheduleConfig;
use crate::error::{Error, Result};

/// How a method is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Steps in all.
    pub steps: usize,
    /// Pictures, or episodes, a step.
    #[serde(default = "one")]
    pub batch: usize,
    /// Steps between two validations, each of which leaves a checkpoint.
    pub validate_every: usize,
    /// Seed of parameters and items.
    pub seed: u64,
    /// The metric on the validation set by which the best checkpoint is chosen; by default the method's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<String>,
    /// Stops after so many validations without a better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// The optimiser.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The learning rate before the schedule.
    pub learning_rate: f64,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Episodes to train and validate on, of methods that learn from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episodes: Option<TrainingEpisodes>,
}

/// Ways, shots and queries of training episodes, and how many episodes validate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingEpisodes {
    /// Classes an episode.
    pub ways: usize,
    /// Support pictures a class.
    pub shots: usize,
    /// Query pictures a class.
    pub queries: usize,
    /// Episodes of a validation, of the protocol's first ways and shots.
    #[serde(default = "validation_episodes")]
    pub validation: usize,
}

fn one() -> usize {
    1
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
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        if self.steps == 0 || self.validate_every == 0 || self.batch == 0 {
            return wrong("train.steps", "steps, validate_every and batch must be at least 1");
        }
        if let Some(episodes) = &self.episodes {
            if episodes.shots == 0 {
                return wrong("train.episodes.shots", "at least 1 support picture a class");
            }
            if episodes.validation == 0 {
                return wrong("train.episodes.validation", "at least 1 episode");
            }
        }
        self.optimizer.check()?;
        self.schedule.check(self.steps)?;
        if !(self.learning_rate > 0.0 && self.learning_rate <= 10.0) {
            return wrong("train.learning_rate", "must be above 0 and at most 10");
        }
        Ok(())
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
