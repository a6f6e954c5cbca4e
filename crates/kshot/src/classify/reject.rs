//! "None of these": how similar to the support a picture must be to be one of the classes; others are out
//! of distribution.
//!
//! That similarity (the column `familiarity`) is the cosine to the most similar example plus the calibrated probability of the
//! likeliest class. The first tells pictures of quite other things apart, the second those of a class
//! beside the given ones; see `GUIDE.md` for what was compared.

use serde::{Deserialize, Serialize};

use crate::classify::LabelledVectors;
use crate::classify::calibrate::probabilities;
use crate::classify::heads::dot;
use crate::classify::held_out::HeldOutScores;
use crate::error::{Error, Result};

/// How many true members are to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// 95 % of held-out examples; where none can be held out (one a class), a picture must be more like
    /// an example than half of the examples are like those of other classes.
    Auto,
    /// All: nothing is rejected.
    All,
    /// This share of held-out examples; where there are none, the picture must be more like an example
    /// than the rest of the examples are like those of other classes.
    Share(f64),
}

/// The share of members kept by [`Keep::Auto`].
const USUAL: f64 = 0.95;
/// The share of out-of-distribution pictures of the same kind accepted by [`Keep::Auto`] where there are
/// no held-out members: on groceries and ImageNet, that of members is then about three quarters.
const ACCEPTED_OUTSIDE: f64 = 0.5;

impl std::str::FromStr for Keep {
    type Err = Error;

    fn from_str(words: &str) -> Result<Self> {
        match words {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::All),
            number => match number.parse::<f64>() {
                Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
                _ => Err(Error::config(format!(
                    "reject `{words}`: valid are auto, off, or the share of true members to keep, such \
                     as 0.95"
                ))),
            },
        }
    }
}

/// What it takes to be accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rejection {
    /// Least similarity (`familiarity`); `None` where all are accepted.
    pub threshold: Option<f32>,
    /// How it was found, in words.
    pub how: String,
    /// Held-out examples' similarity to the others, ascending.
    #[serde(skip)]
    pub members: Vec<f32>,
    /// The same of examples of classes that were left out, ascending; empty where there are fewer than three classes.
    #[serde(skip)]
    pub out_of_distribution: Vec<f32>,
}

/// What a threshold does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TradeOff {
    /// The least similarity.
    pub threshold: f32,
    /// Share of members that are kept, 0 to 1.
    pub kept: f64,
    /// Share of pictures of left-out classes that are rejected, 0 to 1.
    pub rejected: f64,
}

/// A picture's similarity to the support: the cosine to the most similar example, -1 to 1, plus the
/// probability of the likeliest of `classes` classes, 0 to 1.
pub fn familiarity(nearest: f32, probability: f32, classes: usize) -> f32 {
    // A single class is always certain, which says nothing.
    nearest + if classes > 1 { probability } else { 0.0 }
}

impl Rejection {
    /// Finds the threshold on held-out examples.
    pub(super) fn fit(
        examples: &LabelledVectors,
        held_out: &HeldOutScores,
        temperature: f32,
        keep: Keep,
    ) -> Self {
        let classes = examples.classes.len();
        let mut members: Vec<f32> = held_out
            .examples
            .iter()
            .zip(&held_out.scores)
            .map(|(&index, scores)| {
                let others = (0..examples.labels.len()).filter(|&other| other != index);
                let likeliest =
                    probabilities(scores, temperature).into_iter().fold(0.0f32, f32::max);
                familiarity(most_similar(examples, index, others), likeliest, classes)
            })
            .collect();
        members.sort_by(f32::total_cmp);
        let share = match keep {
            Keep::All => {
                let how = "nothing is rejected".into();
                return Self { threshold: None, how, members, out_of_distribution: Vec::new() };
            }
            Keep::Auto => USUAL,
            Keep::Share(share) => share,
        };
        if members.is_empty() {
            return Self::without_members(examples, keep);
        }
        let left_out = (members.len() as f64 * (1.0 - share)) as usize;
        Self {
            threshold: Some(members[left_out.min(members.len() - 1)]),
            how: format!(
                "a threshold that keeps {:.0} % of {} held-out pictures",
                100.0 * share,
                members.len()
            ),
            members,
            out_of_distribution: Vec::new(),
        }
    }

    /// With one example a class: how similar examples are to those of other classes.
    fn without_members(examples: &LabelledVectors, keep: Keep) -> Self {
        let count = examples.labels.len();
        if count < 2 {
            // One picture of one class: nothing to measure at all.
            return Self {
                threshold: Some(LONE),
                how: format!("a usual threshold ({LONE}): one picture has nothing to compare with"),
                members: Vec::new(),
                out_of_distribution: Vec::new(),
            };
        }
        let mut outside: Vec<f32> = (0..count)
            .map(|index| {
                let others =
                    (0..count).filter(|&other| examples.labels[other] != examples.labels[index]);
                most_similar(examples, index, others)
            })
            .collect();
        outside.sort_by(f32::total_cmp);
        let accepted = match keep {
            Keep::Share(share) => share,
            _ => ACCEPTED_OUTSIDE,
        };
        let at = ((count as f64 * (1.0 - accepted)).ceil() as usize).min(count - 1);
        Self {
            // The likeliest of several classes has at least an even share.
            threshold: Some(outside[at] + 1.0 / examples.classes.len() as f32),
            how: format!(
                "a threshold above the similarity of {:.0} % of the {count} pictures to other classes \
                 (with one picture a class, how much members differ is not known)",
                100.0 * (1.0 - accepted)
            ),
            members: Vec::new(),
            out_of_distribution: Vec::new(),
        }
    }

    /// The same with the similarity of examples of classes that were left out, ascending.
    #[must_use]
    pub(super) fn with_out_of_distribution(mut self, out_of_distribution: Vec<f32>) -> Self {
        self.out_of_distribution = out_of_distribution;
        if let Some(of) = self.threshold.and_then(|threshold| self.trade_off(threshold)) {
            let rejected = format!(
                "; of {} pictures whose class was left out it rejects {:.0} %",
                self.out_of_distribution.len(),
                100.0 * of.rejected
            );
            self.how.push_str(&rejected);
        }
        self
    }

    /// What a threshold does to held-out members and to pictures of left-out classes; `None` where there are none.
    pub fn trade_off(&self, threshold: f32) -> Option<TradeOff> {
        let (members, out_of_distribution) = (&self.members, &self.out_of_distribution);
        let below =
            |all: &[f32]| all.partition_point(|of| *of < threshold) as f64 / all.len() as f64;
        (!members.is_empty() && !out_of_distribution.is_empty()).then(|| TradeOff {
            threshold,
            kept: 1.0 - below(members),
            rejected: below(out_of_distribution),
        })
    }

    /// What all thresholds do that change anything, from keeping all to keeping the most alike member.
    pub fn trade_offs(&self) -> Vec<TradeOff> {
        let mut thresholds = self.members.clone();
        thresholds.dedup();
        thresholds.into_iter().filter_map(|threshold| self.trade_off(threshold)).collect()
    }

    /// Whether a picture of that similarity is one of the classes.
    pub fn accepts(&self, familiarity: f32) -> bool {
        self.threshold.is_none_or(|threshold| familiarity >= threshold)
    }
}

/// Least cosine to the only example there is.
const LONE: f32 = 0.6;

fn most_similar(
    examples: &LabelledVectors,
    index: usize,
    others: impl Iterator<Item = usize>,
) -> f32 {
    let vector = &examples.vectors[index];
    others.map(|other| dot(&examples.vectors[other], vector)).fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads::ridge::Ridge;
    use crate::classify::held_out::{ExampleFolds, scores};
    use crate::classify::tests::clusters;

    #[test]
    fn the_share_asked_for_is_kept() {
        let examples = clusters(4, 25, 32, 0.8, 3);
        let held_out = scores(&Ridge, &examples, &ExampleFolds::new(&examples)).unwrap().remove(3);
        for (keep, least) in [(Keep::Share(0.8), 80), (Keep::Auto, 95), (Keep::All, 100)] {
            let rejection = Rejection::fit(&examples, &held_out, 0.1, keep);
            let kept = rejection.members.iter().filter(|score| rejection.accepts(**score)).count();
            assert!((least..=least + 1).contains(&kept), "{keep:?} keeps {kept}");
        }
    }

    #[test]
    fn keeping_fewer_rejects_more() {
        let (members, out_of_distribution) =
            (vec![1.0, 1.2, 1.4, 1.6], vec![0.7, 0.9, 1.1, 1.3, 1.5]);
        let rejection = Rejection {
            threshold: Some(1.0),
            how: String::new(),
            members,
            out_of_distribution: vec![],
        };
        assert!(rejection.trade_offs().is_empty());
        let rejection = rejection.with_out_of_distribution(out_of_distribution);
        assert_eq!(rejection.how, "; of 5 pictures whose class was left out it rejects 40 %");
        let all: Vec<_> = rejection.trade_offs().iter().map(|of| (of.kept, of.rejected)).collect();
        assert_eq!(all, [(1.0, 0.4), (0.75, 0.6), (0.5, 0.8), (0.25, 1.0)]);
    }

    #[test]
    fn words() {
        assert_eq!("auto".parse::<Keep>().unwrap(), Keep::Auto);
        assert_eq!("off".parse::<Keep>().unwrap(), Keep::All);
        assert_eq!("0.9".parse::<Keep>().unwrap(), Keep::Share(0.9));
        for wrong in ["", "1", "0", "95", "nan", "on"] {
            assert!(wrong.parse::<Keep>().unwrap_err().to_string().contains("0.95"), "{wrong}");
        }
    }
}
