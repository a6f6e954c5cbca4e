//! `[protocol]`: what is measured.

use std::fmt;

use kshot_data::mask::Mask;
use kshot_data::scribble::scribble;
use kshot_data::support::LabelKind;
use kshot_data::weak;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::classes::split::ClassPart;
use crate::data::episode::ClassFolds;
use crate::error::{Error, Result};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Protocol {
    /// Episodes of `ways` unseen classes from `shots` pictures each, fold by fold.
    FewShotSegmentation {
        /// Classes an episode.
        #[schemars(range(min = 1, max = 253), example = 1)]
        ways: usize,
        /// Labelled pictures a class.
        #[schemars(range(min = 1, max = 1000), example = 1)]
        shots: usize,
        /// Folds evaluated, from 0, of `folds` in all.
        #[schemars(length(min = 1, max = 253), inner(range(min = 0, max = 252)), example = [0])]
        evaluate: Vec<usize>,
        /// How many folds the classes are cut into.
        #[schemars(range(min = 1, max = 253), example = 4)]
        folds: usize,
        /// How classes are cut into folds.
        #[serde(default)]
        split: ClassFolds,
        /// Episodes a run and fold.
        #[schemars(range(min = 1, max = 1_000_000), example = 1000)]
        episodes: usize,
        /// Runs: the interval is over them.
        #[schemars(range(min = 1, max = 10_000), example = 5)]
        runs: usize,
        /// How pixels are counted.
        #[schemars(example = &"panet")]
        counting: Counting,
        /// Seed of the episodes.
        #[schemars(example = 1)]
        seed: u64,
        /// What the labelled pictures are labelled with.
        #[serde(default, skip_serializing_if = "SupportLabels::is_mask")]
        labels: SupportLabels,
    },
    /// Accuracy over episodes of classes.
    FewShotRecognition {
        /// Classes an episode; several values are measured one after the other.
        #[schemars(example = 5)]
        ways: OneOrMore,
        /// Support pictures a class; several values are measured one after the other.
        #[schemars(example = 1)]
        shots: OneOrMore,
        /// Query pictures a class.
        #[schemars(range(min = 1, max = 1000), example = 15)]
        queries: usize,
        /// Episodes.
        #[schemars(range(min = 1, max = 1_000_000), example = 1000)]
        episodes: usize,
        /// Seed of the episodes.
        #[schemars(example = 1)]
        seed: u64,
        /// Which classes.
        #[serde(default)]
        part: ClassPart,
    },
    /// Everything of one part segmented, from labelled pictures drawn from another or by a trained network.
    Segmentation {
        /// Labelled pictures drawn from `data.train`; 0 takes all. (Not for trained networks.)
        #[serde(default)]
        #[schemars(range(min = 0, max = 1_000_000))]
        labelled: usize,
        /// One draw and fit a seed: the interval is over them. (Not for trained networks.)
        #[serde(default = "one_seed")]
        #[schemars(length(min = 1, max = 1000))]
        seeds: Vec<u64>,
        /// What the labelled pictures are labelled with.
        #[serde(default)]
        labels: SupportLabels,
    },
    /// From pictures of one class: is it in other pictures at all?
    Presence {
        /// Labelled pictures of the class, drawn from `data.train`.
        #[schemars(range(min = 1, max = 1000), example = 5)]
        shots: usize,
        /// Pictures with the class, and as many without it, at most.
        #[schemars(range(min = 1, max = 100_000), example = 10)]
        queries: usize,
        /// Draws: the interval is over them.
        #[schemars(range(min = 1, max = 10_000), example = 3)]
        runs: usize,
        /// Seed of the draws.
        #[schemars(example = 0)]
        seed: u64,
    },
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

/// What labelled pictures are labelled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SupportLabels {
    /// Their masks.
    #[default]
    Mask,
    /// Strokes drawn from the masks by [`kshot_data::scribble::scribble`].
    Scribble {
        /// Share of the labelled pixels that is marked, 0 to 1.
        #[schemars(range(min = 0.0, max = 1.0), example = 0.02)]
        share: f64,
    },
    /// Boxes drawn from the masks by [`kshot_data::weak::boxes`].
    Box,
}

impl SupportLabels {
    /// A mask as such labels show it; the same seed draws the same strokes.
    pub fn of(self, mask: Mask, seed: u64) -> Mask {
        match self {
            Self::Mask => mask,
            Self::Scribble { share } => scribble(&mask, share, seed),
            Self::Box => weak::boxes(&mask),
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// If one is out of bounds; the key is named.
    pub(super) fn check(self, key: &str) -> Result<()> {
        let Self::Scribble { share } = self else { return Ok(()) };
        if share > 0.0 && share <= 1.0 {
            return Ok(());
        }
        let text = format!("a share of {share}; it must be above 0 and at most 1");
        Err(Error::config(text).at_key(format!("{key}.scribble.share")))
    }

    /// What a picture with such labels counts as.
    pub fn kind(self) -> LabelKind {
        match self {
            Self::Mask | Self::Box => LabelKind::Mask,
            Self::Scribble { .. } => LabelKind::Scribble,
        }
    }

    /// Whether it is masks, as they are.
    #[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
    pub fn is_mask(&self) -> bool {
        *self == Self::Mask
    }
}

impl fmt::Display for SupportLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mask => f.write_str("masks"),
            Self::Scribble { share } => {
                write!(f, "scribbles on {:.1} % of the pixels", 100.0 * share)
            }
            Self::Box => f.write_str("boxes"),
        }
    }
}

/// How the pixels of few-shot episodes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// PANet's: a class's pixels count only in episodes that ask for it.
    Panet,
    /// One confusion matrix over the data set's classes for all episodes of a run: what is labelled
    /// in a query but not asked for is background.
    Dataset,
}

/// A number or a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(#[schemars(range(min = 1, max = 1000))] usize),
    /// Several.
    More(#[schemars(length(min = 1, max = 100), inner(range(min = 1, max = 1000)))] Vec<usize>),
}

impl OneOrMore {
    /// All of them.
    pub fn all(&self) -> &[usize] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }

    /// The first.
    pub fn first(&self) -> usize {
        self.all().first().copied().unwrap_or(0)
    }
}

impl Protocol {
    /// Its name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FewShotSegmentation { .. } => "few-shot-segmentation",
            Self::FewShotRecognition { .. } => "few-shot-recognition",
            Self::Segmentation { .. } => "segmentation",
            Self::Presence { .. } => "presence",
        }
    }

    /// The seed of its episodes or draws.
    pub fn seed(&self) -> u64 {
        match self {
            Self::FewShotSegmentation { seed, .. }
            | Self::FewShotRecognition { seed, .. }
            | Self::Presence { seed, .. } => *seed,
            Self::Segmentation { seeds, .. } => seeds.first().copied().unwrap_or(0),
        }
    }

    /// What the intervals of its metrics are over: what would be another the next time.
    pub fn interval_over(&self) -> &'static str {
        match self {
            Self::FewShotSegmentation { .. } => "runs, each of other episodes",
            Self::FewShotRecognition { .. } => "episodes",
            Self::Segmentation { labelled: 0, .. } => {
                "seeds of the method, the labelled pictures being the same"
            }
            Self::Segmentation { .. } => "draws of the labelled pictures",
            Self::Presence { .. } => "runs, each of other labelled pictures",
        }
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// If a number is out of range; the key is named.
    pub(super) fn check(&self) -> Result<()> {
        if let Self::FewShotSegmentation { evaluate, folds, .. } = self
            && let Some(fold) = evaluate.iter().find(|fold| *fold >= folds)
        {
            let text = format!("fold {fold} of {folds}; they are numbered from 0 to {}", folds - 1);
            return Err(Error::config(text).at_key("protocol.evaluate"));
        }
        match self {
            Self::FewShotSegmentation { labels, .. } | Self::Segmentation { labels, .. } => {
                labels.check("protocol.labels")
            }
            _ => Ok(()),
        }
    }
}
