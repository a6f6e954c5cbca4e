//! What each labelled picture weighs in a training: how often it is drawn.
//!
//! Weights act by sampling and not in the loss, so that every loss takes them, those over whole batches (Dice) too,
//! and a step stays as long as it was. A round has as many places as there are pictures, and a picture of weight `w`
//! (the mean is 1) has `w` of them, rounded down or up at random so that the mean is exact: systematic resampling
//! (Kitagawa, *Monte Carlo Filter and Smoother for Non-Gaussian Nonlinear State Space Models*, JCGS 1996).

use std::sync::{Arc, PoisonError, RwLock};

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Weights of the pictures of a training, which may be changed between two validations.
#[derive(Debug, Clone)]
pub struct PictureWeights(Arc<RwLock<Arc<Vec<f64>>>>);

impl PictureWeights {
    /// By picture, 0 or more and not all 0; only their proportions matter.
    pub fn new(weights: Vec<f64>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(weights))))
    }

    /// The weights now.
    pub fn now(&self) -> Arc<Vec<f64>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other weights from now on, for every copy of this.
    pub fn set(&self, weights: Vec<f64>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(weights);
    }
}

/// The pictures of a round in a random order: as many as there are weights.
pub fn round(weights: &[f64], random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut drawn = systematic(weights, random.random());
    drawn.shuffle(random);
    drawn
}

/// Brings weights to a mean of 1.
pub fn normalised(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    let scale = if sum > 0.0 { weights.len() as f64 / sum } else { 0.0 };
    weights.iter().map(|weight| weight * scale).collect()
}

/// How many pictures of equal weights would tell as much (Kish 1965): `(sum w)^2 / sum w^2`.
pub fn effective(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|weight| weight * weight).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// As many places as there are weights, each picture's share of them by its weight; `start`, 0 to 1, is where in the
/// first place the comb begins.
fn systematic(weights: &[f64], start: f64) -> Vec<u32> {
    let weights = normalised(weights);
    let count = weights.len();
    let mut drawn = Vec::with_capacity(count);
    let mut before = 0.0;
    for (picture, weight) in weights.iter().enumerate() {
        let end = before + weight;
        while drawn.len() < count && (drawn.len() as f64 + start) < end {
            drawn.push(picture as u32);
        }
        before = end;
    }
    // Rounding may leave the last place: it is that of the last picture that weighs anything.
    let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
    drawn.resize(count, last as u32);
    drawn
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pictures_are_drawn_as_often_as_they_weigh() {
        let weights = PictureWeights::new(vec![1.0, 0.0, 6.0, 0.5, 2.5]);
        let mut counts = [0usize; 5];
        let rounds = 4000;
        for round in 0..rounds {
            let drawn = super::round(&weights.now(), &mut ChaCha8Rng::seed_from_u64(round));
            assert_eq!(drawn.len(), 5);
            let sixth = drawn.iter().filter(|&&picture| picture == 2).count();
            assert_eq!(sixth, 3, "3 of 5 places, never more nor less");
            drawn.into_iter().for_each(|picture| counts[picture as usize] += 1);
        }
        for (count, expected) in counts.iter().zip([0.5, 0.0, 3.0, 0.25, 1.25]) {
            let mean = *count as f64 / rounds as f64;
            assert!((mean - expected).abs() < 0.03, "{mean} for {expected}");
        }
        weights.clone().set(vec![0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(super::round(&weights.now(), &mut ChaCha8Rng::seed_from_u64(1)), [1; 5]);
    }

    #[test]
    fn equal_weights_show_each_picture_once_a_round() {
        for count in [1, 7, 305] {
            for start in [0.0, 0.3, 0.999_999_999_999] {
                let all: Vec<u32> = (0..count as u32).collect();
                assert_eq!(systematic(&vec![0.1; count], start), all);
            }
        }
        assert!((effective(&[2.0; 9]) - 9.0).abs() < 1e-12);
        assert!((effective(&[1.0, 0.0, 0.0]) - 1.0).abs() < 1e-12);
    }
}
