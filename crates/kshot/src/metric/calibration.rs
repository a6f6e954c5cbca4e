//! Calibration: how far confidences are from the shares of right predictions.
//!
//! Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, arXiv 1706.04599: predictions fall
//! into bins of equal width by confidence; the expected calibration error is the gap between mean
//! confidence and share of right ones, weighted by how many are in each bin.

use kshot_data::mask::{MAX_CLASSES, Mask};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::metric::interval::Estimate;

/// Bins of equal width for the expected calibration error.
pub const BINS: usize = 15;

/// Right and wrong predictions by confidence: of pixels, whose confidences are levels of 0 to 255, and
/// of whole pictures, whose confidences are probabilities. Both are summed exactly as given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    bins: Vec<BinSums>,
}

/// The predictions of a bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct BinSums {
    count: u64,
    right: u64,
    /// Confidences given in 255ths: integers, so that no order of adding matters.
    levels: u64,
    /// Confidences given as probabilities.
    probability: f64,
}

impl BinSums {
    fn confidence(&self) -> f64 {
        self.levels as f64 / 255.0 + self.probability
    }
}

impl Default for Calibration {
    /// Nothing counted yet, in [`BINS`] bins.
    fn default() -> Self {
        Self::with_bins(BINS)
    }
}

impl Calibration {
    /// Nothing counted yet, in so many bins of equal width.
    ///
    /// # Panics
    /// If there is no bin.
    pub fn with_bins(bins: usize) -> Self {
        assert!(bins > 0, "a calibration needs at least 1 bin");
        Self { bins: vec![BinSums::default(); bins] }
    }

    /// Of predictions: the probability of the predicted class, 0 to 1, and whether it was right.
    pub fn of(predictions: &[(f32, bool)]) -> Self {
        let mut calibration = Self::default();
        predictions.iter().for_each(|&(probability, right)| calibration.push(probability, right));
        calibration
    }

    /// Counts a prediction: the probability of the predicted class, 0 to 1, and whether it was right.
    pub fn push(&mut self, probability: f32, right: bool) {
        let count = self.bins.len();
        let index = (probability.clamp(0.0, 1.0) * count as f32) as usize;
        let bin = &mut self.bins[index.min(count - 1)];
        bin.count += 1;
        bin.right += u64::from(right);
        bin.probability += f64::from(probability);
    }

    /// Counts a picture; void and unlabelled pixels of the truth do not count. `confidence` holds a
    /// level a pixel, 0 to 255.
    pub fn add(&mut self, truth: &Mask, predicted: &Mask, confidence: &[u8]) {
        let count = self.bins.len();
        let pixels = truth.pixels.iter().zip(&predicted.pixels).zip(confidence);
        for ((&truth, &predicted), &confidence) in pixels {
            if truth > MAX_CLASSES {
                continue;
            }
            // Level `c` stands for confidences from c/256 to (c + 1)/256.
            let bin = &mut self.bins[usize::from(confidence) * count / 256];
            bin.count += 1;
            bin.right += u64::from(truth == predicted);
            bin.levels += u64::from(confidence);
        }
    }

    /// Adds another count.
    ///
    /// # Panics
    /// If it has another number of bins.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.bins.len(), other.bins.len(), "calibrations of as many bins are added");
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin.count += other.count;
            bin.right += other.right;
            bin.levels += other.levels;
            bin.probability += other.probability;
        }
    }

    /// How many predictions were counted.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// Expected calibration error, 0 (confidences are the shares of right predictions) to 1; 0 without
    /// predictions.
    pub fn ece(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.right as f64 - bin.confidence()).abs());
        gaps.sum::<f64>() / self.count().max(1) as f64
    }

    /// The bins, for a reliability diagram.
    pub fn bins(&self) -> Vec<Bin> {
        let bin = |bin: &BinSums| Bin {
            count: bin.count as usize,
            right: bin.right as usize,
            confidence: bin.confidence() / bin.count.max(1) as f64,
        };
        self.bins.iter().map(bin).collect()
    }
}

/// Predictions of similar confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// How many of them were right.
    pub right: usize,
    /// Their mean confidence, 0 to 1.
    pub confidence: f64,
}

/// [`Calibration::ece`] of predictions: the probability of the predicted class and whether it was
/// right.
pub fn ece(predictions: &[(f32, bool)]) -> f64 {
    Calibration::of(predictions).ece()
}

/// [`Calibration::bins`] of predictions, in `bins` bins of equal width.
pub fn bins(predictions: &[(f32, bool)], bins: usize) -> Vec<Bin> {
    let mut calibration = Calibration::with_bins(bins);
    predictions.iter().for_each(|&(probability, right)| calibration.push(probability, right));
    calibration.bins()
}

/// Times that groups are drawn anew for [`grouped_ece`]'s interval.
const RESAMPLES: usize = 1000;

/// [`ece`] of all predictions, which come in groups (episodes) that are not independent within. The
/// interval is 1.96 standard deviations of the error over 1000 draws of as many groups with replacement
/// (the bootstrap over clusters; Efron 1979, doi 10.1214/aos/1176344552), which `seed` decides; `None`
/// for fewer than two groups.
///
/// The interval says how far the estimate varies from one list of episodes to another. The estimate itself,
/// a sum of absolute gaps, is not corrected for its bias: where an error is near 0 it is too high by up to
/// about the interval, which then need not hold 0 even for perfect confidences.
pub fn grouped_ece(groups: &[Vec<(f32, bool)>], seed: u64) -> Estimate {
    let groups: Vec<Calibration> = groups.iter().map(|group| Calibration::of(group)).collect();
    let error = |chosen: &mut dyn Iterator<Item = usize>| {
        let mut total = Calibration::default();
        chosen.for_each(|index| total.merge(&groups[index]));
        total.ece()
    };
    let n = groups.len();
    let ci95 = (n > 1).then(|| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let errors: Vec<f64> =
            (0..RESAMPLES).map(|_| error(&mut (0..n).map(|_| random.random_range(0..n)))).collect();
        let mean = errors.iter().sum::<f64>() / RESAMPLES as f64;
        let squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
        1.96 * (squares / (RESAMPLES - 1) as f64).sqrt()
    });
    Estimate { mean: error(&mut (0..n)), ci95, n }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_and_half_wrong_is_an_error_of_a_half() {
        let truth = Mask::from_pixels(4, 1, vec![1, 0, 1, 255]).unwrap();
        let half = Mask::from_pixels(4, 1, vec![1, 0, 0, 1]).unwrap();
        let mut calibration = Calibration::default();
        calibration.add(&truth, &half, &[255; 4]);
        assert!((calibration.ece() - 1.0 / 3.0).abs() < 1e-9);
        let mut calibration = Calibration::default();
        calibration.add(&truth, &truth, &[255; 4]);
        assert_eq!(calibration.ece(), 0.0);
    }

    #[test]
    fn pixels_and_pictures_agree_where_confidences_do() {
        let truth = Mask::from_pixels(3, 1, vec![1, 1, 1]).unwrap();
        let predicted = Mask::from_pixels(3, 1, vec![1, 0, 1]).unwrap();
        let mut pixels = Calibration::default();
        pixels.add(&truth, &predicted, &[51, 204, 255]);
        let pictures = Calibration::of(&[(0.2, true), (0.8, false), (1.0, true)]);
        assert!((pixels.ece() - pictures.ece()).abs() < 1e-8);
        let mut both = pixels.clone();
        both.merge(&pictures);
        assert_eq!(both.count(), 6);
        assert!((both.ece() - pixels.ece()).abs() < 1e-8);
    }

    #[test]
    fn errors_of_predictions_by_hand() {
        assert!((ece(&[(1.0, true), (1.0, false)]) - 0.5).abs() < 1e-9);
        assert!((ece(&[(0.5, true), (0.5, false)])).abs() < 1e-9);
        // Two bins: |1 - 0.9| and |0 - 0.2|, one prediction each.
        assert!((ece(&[(0.9, true), (0.2, false)]) - 0.15).abs() < 1e-6);
        assert_eq!(ece(&[]), 0.0);
    }

    #[test]
    fn the_error_of_groups_is_that_of_all_and_its_interval_narrows() {
        // Right 4 of 5 times, said with 0.9: an error of 0.1, whose own spread is known.
        let group = |index: usize, size: usize| vec![(0.9, !index.is_multiple_of(5)); size];
        let of_size = |count: usize, size: usize| {
            let groups: Vec<_> = (0..count).map(|index| group(index, size)).collect();
            let all: Vec<_> = groups.concat();
            let estimate = grouped_ece(&groups, 1);
            assert!((estimate.mean - ece(&all)).abs() < 1e-6);
            assert_eq!(estimate, grouped_ece(&groups, 1));
            estimate.ci95.unwrap()
        };
        let of = |count: usize| of_size(count, 1);
        // The share right has a standard error of sqrt(0.8 * 0.2 / n).
        let expected = 1.96 * (0.16f64 / 2000.0).sqrt();
        assert!((of(2000) / expected - 1.0).abs() < 0.1);
        assert!(of(200) > 2.0 * of(2000));
        // Answers that always go together say no more than one of them.
        assert!((of_size(2000, 5) / of(2000) - 1.0).abs() < 1e-6);
        assert_eq!(grouped_ece(&[group(0, 1)], 1).ci95, None);
        assert_eq!(grouped_ece(&[], 1).mean, 0.0);
    }
}
