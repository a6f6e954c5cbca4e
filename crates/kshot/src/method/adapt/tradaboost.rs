//! `tradaboost`: labelled pictures of a source weigh less the worse a network that also learns from a few of the
//! target labels them, and those of the target the more.
//!
//! Dai, Yang, Xue and Yu, *Boosting for Transfer Learning*, ICML 2007. In each of `N` rounds, with `e` a picture's
//! error and `n` source pictures,
//!
//! ```text
//! eps = weighted mean of e over the target's pictures, at most 0.499
//! source:  w <- w * beta^e       beta   = 1 / (1 + sqrt(2 ln n / N))
//! target:  w <- w * beta_t^-e    beta_t = eps / (1 - eps)
//! ```
//!
//! Deviations: the learner is one network, which goes on training between the rounds, where the authors train one anew
//! in each and let those of the second half vote; an error is the share of a picture's labelled pixels that the
//! network gets wrong, 0 to 1, where theirs is 0 or 1 (AdaBoost.R2's form, Drucker, ICML 1997); weights have mean 1
//! after each round.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::part::Part;
use crate::data::picture_weights::normalised;

/// The greatest error of the target at which its pictures gain weight: at half, the paper's rule has no meaning.
const MOST: f64 = 0.499;
/// The least, so that pictures which are all right do not weigh infinitely much.
const LEAST: f64 = 1e-3;

/// Which pictures are the target's, and how often all are weighted anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TradaboostConfig {
    /// The few labelled pictures of the target, which are trained on beside those of `data.train`.
    pub target: Part,
    /// How often weights change, spread evenly over the training's validations.
    #[serde(default = "rounds")]
    #[schemars(range(min = 1, max = 1000))]
    pub rounds: usize,
    /// The share of draws that the target's pictures have at first.
    #[serde(default = "share")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub share: f64,
}

fn rounds() -> usize {
    5
}

fn share() -> f64 {
    0.25
}

impl TradaboostConfig {
    /// The weights at first, of so many source and target pictures, in this order; their mean is 1.
    pub fn first(&self, source: usize, target: usize) -> Vec<f64> {
        let count = (source + target) as f64;
        let each = |share: f64, of: usize| vec![share * count / of.max(1) as f64; of];
        [each(1.0 - self.share, source), each(self.share, target)].concat()
    }

    /// The validations, from 1, after each of which weights change, of so many in all. The last has no part in it:
    /// nothing is trained after it.
    pub fn after(&self, validations: usize) -> Vec<usize> {
        let mut all: Vec<usize> =
            (1..=self.rounds).map(|round| round * validations / (self.rounds + 1)).collect();
        all.retain(|number| *number > 0);
        all.dedup();
        all
    }

    /// The weights after a round, by the errors of the pictures, 0 to 1; the first `source` of them are the source's.
    /// Their mean is 1.
    ///
    /// # Panics
    /// If there are not as many errors as weights.
    pub fn changed(&self, weights: &[f64], errors: &[f64], source: usize) -> Vec<f64> {
        assert_eq!(weights.len(), errors.len(), "an error for each picture");
        let (target, wrong) = (&weights[source..], &errors[source..]);
        let sum: f64 = target.iter().sum();
        let mean =
            target.iter().zip(wrong).map(|(weight, error)| weight * error).sum::<f64>() / sum;
        let mean = mean.clamp(LEAST, MOST);
        let of_target = mean / (1.0 - mean);
        let rounds = self.rounds as f64;
        let of_source = 1.0 / (1.0 + (2.0 * (source.max(1) as f64).ln() / rounds).sqrt());
        let changed = weights.iter().zip(errors).enumerate().map(|(at, (weight, error))| {
            if at < source {
                weight * of_source.powf(*error)
            } else {
                weight * of_target.powf(-error)
            }
        });
        normalised(&changed.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rounds: usize, share: f64) -> TradaboostConfig {
        TradaboostConfig { target: Part::from("few"), rounds, share }
    }

    #[test]
    fn weights_change_as_the_paper_says() {
        let config = config(10, 0.2);
        let first = config.first(4, 2);
        for (found, expected) in first.iter().zip([1.2, 1.2, 1.2, 1.2, 0.6, 0.6]) {
            assert!((found - expected).abs() < 1e-12, "{first:?}");
        }
        // By hand: eps = 0.2, beta_t = 0.25, beta = 1 / (1 + sqrt(2 ln 4 / 10)).
        let beta: f64 = 1.0 / (1.0 + (2.0 * 4.0_f64.ln() / 10.0).sqrt());
        let errors = [0.0, 1.0, 0.5, 0.0, 0.1, 0.3];
        let raw = [
            1.2,
            1.2 * beta,
            1.2 * beta.sqrt(),
            1.2,
            0.6 * 4.0_f64.powf(0.1),
            0.6 * 4.0_f64.powf(0.3),
        ];
        let sum: f64 = raw.iter().sum();
        for (found, raw) in config.changed(&first, &errors, 4).iter().zip(raw) {
            assert!((found - raw * 6.0 / sum).abs() < 1e-12, "{found} {raw}");
        }
        // A target that is all wrong or all right gives numbers.
        for errors in [[1.0; 6], [0.0; 6]] {
            let changed = config.changed(&first, &errors, 4);
            assert!(
                changed.iter().all(|weight| weight.is_finite() && *weight > 0.0),
                "{changed:?}"
            );
        }
    }

    #[test]
    fn rounds_are_spread_over_the_validations() {
        assert_eq!(config(4, 0.5).after(10), [2, 4, 6, 8]);
        assert_eq!(config(1, 0.5).after(2), [1]);
        assert_eq!(config(5, 0.5).after(3), [1, 2]);
        assert_eq!(config(3, 0.5).after(1), [0usize; 0]);
    }
}
