//! Weights of classes: numbers, or a rule that makes them from how frequent each class is.
//!
//! - `median-frequency`: the median of the classes' frequencies over the class's own, where a frequency is the
//!   share of the class's pixels in the pictures that hold it (Eigen and Fergus, ICCV 2015, arXiv 1411.4734;
//!   SegNet, arXiv 1511.00561);
//! - `log-inverse`: `1 / ln(1.02 + share)` (ENet, Paszke et al. 2016, arXiv 1606.02147);
//! - `inverse`: 1 over the share and the number of classes, so that equal shares give 1 (scikit-learn's
//!   `class_weight="balanced"`).
//!
//! Void and unlabelled pixels count nowhere. A class without a pixel has weight 0 (and no part in the
//! median): nothing is known of what it should weigh.

use burn::prelude::*;
use burn::tensor::TensorData;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::KEY;

/// What each class's pixels weigh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassWeights {
    /// A weight a class, 0 or more, background first; empty for 1 each.
    Each(#[schemars(length(max = 254), inner(range(min = 0.0, max = 1e6)))] Vec<f64>),
    /// By how frequent each class is in the pictures that are trained on.
    By(Balance),
}

/// A rule that makes weights from frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The median frequency over the class's own, counted in the pictures that hold it (SegNet).
    MedianFrequency,
    /// 1 over the logarithm of 1.02 and the class's share (ENet).
    LogInverse,
    /// 1 over the class's share and the number of classes.
    Inverse,
}

impl Default for ClassWeights {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl From<Vec<f64>> for ClassWeights {
    fn from(weights: Vec<f64>) -> Self {
        Self::Each(weights)
    }
}

impl ClassWeights {
    /// Whether every class weighs 1.
    pub(super) fn are_equal(&self) -> bool {
        *self == Self::default()
    }

    /// Checks them for a number of classes; `of` is the loss's name.
    pub(super) fn check(&self, of: &str, classes: usize) -> Result<()> {
        let wrong = |text: String| Err(Error::config(format!("{of}: {text}")).at_key(KEY));
        let Self::Each(weights) = self else { return Ok(()) };
        let given = weights.len();
        if given != 0 && given != classes {
            return wrong(format!("{given} weights for {classes} classes; give one each, or none"));
        }
        let valid = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if !valid || (given > 0 && weights.iter().sum::<f64>() == 0.0) {
            return wrong(format!("weights {weights:?}; valid are 0 and more, not all of them 0"));
        }
        Ok(())
    }

    /// As a tensor, `[classes]`.
    ///
    /// # Panics
    /// If there is another number of them, or a rule was not resolved
    /// ([`LossConfig::resolved`](crate::loss::LossConfig::resolved)).
    pub(super) fn tensor(&self, classes: usize, device: &Device) -> Tensor<1> {
        let weights = match self {
            Self::Each(weights) if weights.is_empty() => vec![1.0; classes],
            Self::Each(weights) => weights.iter().map(|weight| *weight as f32).collect(),
            Self::By(balance) => panic!(
                "class weights by {} need the training pictures: LossConfig::resolved makes the numbers",
                balance.name()
            ),
        };
        assert_eq!(weights.len(), classes, "a weight for each class");
        Tensor::from_data(TensorData::new(weights, [classes]), device)
    }
}

impl Balance {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::MedianFrequency => "median-frequency",
            Self::LogInverse => "log-inverse",
            Self::Inverse => "inverse",
        }
    }

    /// The weights of classes, the first of them 0, from how many pixels of each picture hold each mask value.
    ///
    /// # Errors
    /// If no pixel is of any class.
    pub fn weights(self, counts: &[[usize; 256]], classes: usize) -> Result<Vec<f64>> {
        let mut pixels = vec![0u64; classes];
        // Of each class, the labelled pixels of the pictures that hold it.
        let mut around = vec![0u64; classes];
        for of in counts {
            let all: u64 = of[..classes].iter().map(|count| *count as u64).sum();
            for class in (0..classes).filter(|class| of[*class] > 0) {
                pixels[class] += of[class] as u64;
                around[class] += all;
            }
        }
        let total: u64 = pixels.iter().sum();
        if total == 0 {
            let message = format!(
                "class weights by {} need labelled pixels, and no training picture has one",
                self.name()
            );
            return Err(Error::data(message).at_key(KEY));
        }
        let present = pixels.iter().filter(|count| **count > 0).count() as f64;
        let share = |class: usize| pixels[class] as f64 / total as f64;
        let frequency = |class: usize| pixels[class] as f64 / around[class] as f64;
        let middle = median((0..classes).filter(|class| pixels[*class] > 0).map(frequency));
        let weight = |class: usize| match self {
            _ if pixels[class] == 0 => 0.0,
            Self::MedianFrequency => middle / frequency(class),
            Self::LogInverse => 1.0 / (1.02 + share(class)).ln(),
            Self::Inverse => 1.0 / (present * share(class)),
        };
        Ok((0..classes).map(weight).collect())
    }
}

/// The middle value, or the mean of the two in the middle; 0 without values.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_by_hand() {
        let mut counts = [[0usize; 256]; 2];
        // 6 of 8 labelled pixels, 2 of 8; then 4 of 4. Class 3 never occurs; void counts nothing.
        (counts[0][0], counts[0][1], counts[0][255]) = (6, 2, 100);
        counts[1][2] = 4;
        let of = |balance: Balance| balance.weights(&counts, 4).unwrap();
        // Frequencies 6/8, 2/8 and 1.
        assert_eq!(of(Balance::MedianFrequency), [1.0, 3.0, 0.75, 0.0]);
        assert_eq!(of(Balance::Inverse), [12.0 / 18.0, 2.0, 1.0, 0.0]);
        let expected = [0.5f64, 2.0 / 12.0, 4.0 / 12.0].map(|share| 1.0 / (1.02 + share).ln());
        assert_eq!(of(Balance::LogInverse)[..3], expected);
        let error = Balance::Inverse.weights(&[[0; 256]], 4).unwrap_err().to_string();
        assert!(error.contains("loss.terms"), "{error}");
    }

    #[test]
    fn written_as_numbers_or_as_a_rule() {
        #[derive(Debug, Serialize, Deserialize, PartialEq)]
        struct Held {
            weights: ClassWeights,
        }
        for (text, weights) in [
            ("weights = [1, 2.5]", ClassWeights::Each(vec![1.0, 2.5])),
            ("weights = \"median-frequency\"", ClassWeights::By(Balance::MedianFrequency)),
            ("weights = \"log-inverse\"", ClassWeights::By(Balance::LogInverse)),
            ("weights = \"inverse\"", ClassWeights::By(Balance::Inverse)),
        ] {
            let held: Held = toml::from_str(text).unwrap();
            assert_eq!(held, Held { weights });
            assert_eq!(toml::from_str::<Held>(&toml::to_string(&held).unwrap()).unwrap(), held);
            if let ClassWeights::By(balance) = held.weights {
                assert!(text.contains(balance.name()));
            }
        }
    }
}
