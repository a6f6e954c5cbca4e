//! `density-ratio`: labelled pictures weigh by how much likelier they are among the target's pictures than among their
//! own.
//!
//! Covariate shift is met by weights of `p(x | target) / p(x | source)` (Shimodaira, *Improving Predictive Inference
//! Under Covariate Shift by Weighting the Log-Likelihood Function*, JSPI 2000); the ratio is that of a classifier's
//! probabilities (Bickel, Brückner and Scheffer, *Discriminative Learning for Differing Training and Test
//! Distributions*, ICML 2007). Here a picture is the mean of its coarsest feature map, by the encoder as the training
//! starts with it, and the classifier is a logistic regression; a picture's ratio is by the one of five classifiers
//! that did not see it, else a classifier that tells all pictures apart would call each source picture worthless.
//! Ratios are flattened by an exponent (Shimodaira's, for fewer effective pictures where it is 1), bounded around
//! their mean, and have mean 1.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::logistic::Logistic;
use crate::error::{Error, Result};

/// Classifiers, each of which leaves out one of so many parts of the pictures.
const FOLDS: usize = 5;
/// How often the interval of the factor that gives the mean is halved.
const HALVINGS: usize = 100;

/// How far ratios are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DensityRatioConfig {
    /// No picture weighs more than so many times the mean, nor less than the mean over it.
    #[schemars(range(min = 1.0, max = 1000.0))]
    pub clip: f64,
    /// The power of the ratio that is the weight: 1 the ratio itself, less for more pictures that count.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub exponent: f64,
    /// What the classifier pays for its squared weights; more makes ratios more alike.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1e6))]
    pub penalty: f64,
}

impl Default for DensityRatioConfig {
    fn default() -> Self {
        Self { clip: 5.0, exponent: 1.0, penalty: 0.1 }
    }
}

/// What the source's pictures are worth.
#[derive(Debug, Clone, PartialEq)]
pub struct DensityRatios {
    /// By source picture, the probability that it is one of the target's, 0 to 1, if both were as frequent.
    pub probabilities: Vec<f64>,
    /// By source picture; their mean is 1.
    pub weights: Vec<f64>,
    /// Of all pictures, how many the classifiers that did not see them take for their own domain's, 0.5 (nothing can
    /// be told) to 1; the mean over both domains.
    pub accuracy: f64,
}

/// The weights of pictures by their vectors.
///
/// # Errors
/// If there are fewer than five pictures of a domain.
pub fn density_ratios(
    source: &[Vec<f32>],
    target: &[Vec<f32>],
    config: &DensityRatioConfig,
) -> Result<DensityRatios> {
    for (of, name) in [(source.len(), "labelled"), (target.len(), "unlabelled")] {
        if of < FOLDS {
            return Err(Error::data(format!(
                "{of} {name} pictures; the domain classifier needs at least {FOLDS} of each"
            )));
        }
    }
    let all: Vec<(&[f32], bool)> = source
        .iter()
        .map(|vector| (vector.as_slice(), false))
        .chain(target.iter().map(|vector| (vector.as_slice(), true)))
        .collect();
    // Neighbours in a list are often alike (frames of a drive), so that parts are runs of it.
    let fold = |index: usize| match index.checked_sub(source.len()) {
        None => index * FOLDS / source.len(),
        Some(index) => index * FOLDS / target.len(),
    };
    let fits = (0..FOLDS).into_par_iter().map(|left_out| {
        let kept = all.iter().enumerate().filter(|(index, _)| fold(*index) != left_out);
        let (vectors, is_one): (Vec<&[f32]>, Vec<bool>) = kept.map(|(_, of)| *of).unzip();
        Logistic::fit(&vectors, &is_one, config.penalty)
    });
    let fits = fits.collect::<Result<Vec<_>>>()?;
    let scores: Vec<f64> = all
        .iter()
        .enumerate()
        .map(|(index, (vector, _))| fits[fold(index)].score(vector))
        .collect();
    let (of_source, of_target) = scores.split_at(source.len());
    let share = |of: &[f64], right: fn(f64) -> bool| {
        of.iter().filter(|score| right(**score)).count() as f64 / of.len() as f64
    };
    let accuracy =
        (share(of_source, |score| score < 0.0) + share(of_target, |score| score > 0.0)) / 2.0;
    Ok(DensityRatios {
        probabilities: of_source.iter().map(|score| 1.0 / (1.0 + (-score).exp())).collect(),
        weights: bounded(of_source, config),
        accuracy,
    })
}

/// Weights of mean 1 from logarithms of ratios: ratios times the factor by which, bounded, they have that mean.
fn bounded(logs: &[f64], config: &DensityRatioConfig) -> Vec<f64> {
    let logs: Vec<f64> = logs.iter().map(|log| config.exponent * log).collect();
    let bound = config.clip.ln();
    let weights = |factor: f64| -> Vec<f64> {
        logs.iter().map(|log| (log + factor).clamp(-bound, bound).exp()).collect()
    };
    let mean = |factor: f64| weights(factor).iter().sum::<f64>() / logs.len() as f64;
    let most = logs.iter().fold(0.0_f64, |most, log| most.max(log.abs()));
    // All are at the lower bound, then all at the upper one: the mean is between.
    let (mut low, mut high) = (-most - bound, most + bound);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if mean(middle) < 1.0 { low = middle } else { high = middle }
    }
    weights((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_like_the_targets_weigh_more() {
        // A feature that tells the domains apart, by degrees, and one that does not.
        let vector = |place: f32, noise: usize| vec![place, (noise * 37 % 11) as f32];
        let source: Vec<_> = (0..50).map(|at| vector((at * 7 % 50) as f32 / 50.0, at)).collect();
        let target: Vec<_> =
            (0..20).map(|at| vector(0.6 + (at * 3 % 20) as f32 / 40.0, at)).collect();
        let found = density_ratios(&source, &target, &DensityRatioConfig::default()).unwrap();
        let mut order: Vec<usize> = (0..50).collect();
        order.sort_by(|&a, &b| source[a][0].total_cmp(&source[b][0]));
        let mean =
            |of: &[usize]| of.iter().map(|&at| found.weights[at]).sum::<f64>() / of.len() as f64;
        assert!(mean(&order[40..]) > 2.0 * mean(&order[..10]), "{:?}", found.weights);
        assert!((found.weights.iter().sum::<f64>() / 50.0 - 1.0).abs() < 1e-9);
        assert!(found.accuracy > 0.7, "{}", found.accuracy);
        assert!(found.probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
        let flat = DensityRatioConfig { exponent: 0.0, ..DensityRatioConfig::default() };
        let flat = density_ratios(&source, &target, &flat).unwrap();
        assert!(flat.weights.iter().all(|weight| (weight - 1.0).abs() < 1e-12));
        assert!(density_ratios(&source[..4], &target, &DensityRatioConfig::default()).is_err());
    }

    #[test]
    fn weights_keep_their_bounds_and_their_mean() {
        let config = DensityRatioConfig { clip: 3.0, exponent: 1.0, penalty: 1.0 };
        let logs: Vec<f64> = (0..30).map(|at| f64::from(at * at) / 10.0 - 800.0).collect();
        let weights = bounded(&logs, &config);
        assert!((weights.iter().sum::<f64>() / 30.0 - 1.0).abs() < 1e-9);
        assert!(weights.windows(2).all(|pair| pair[0] <= pair[1]), "{weights:?}");
        let at = |bound: f64| weights.iter().filter(|w| (**w - bound).abs() < 1e-12).count();
        // 7 of 3, 22 of a third, and one between.
        assert_eq!([at(3.0), at(1.0 / 3.0)], [7, 22], "{weights:?}");
    }
}
