//! How good labels of whole pictures are: accuracy, calibration and rejection.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::metric::interval::Estimate;

/// Bins of equal width for the expected calibration error.
pub const BINS: usize = 15;

/// Expected calibration error of predictions (probability of the predicted class, whether it was
/// right): the mean gap between probability and share of right ones over 15 bins of equal width,
/// weighted by how many are in each. 0 is perfect, 1 the worst. 0 without predictions.
///
/// Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, arXiv 1706.04599.
pub fn ece(predictions: &[(f32, bool)]) -> f64 {
    bins(predictions, BINS)
        .iter()
        .map(|bin| (bin.right as f64 - bin.confidence * bin.count as f64).abs())
        .sum::<f64>()
        / predictions.len().max(1) as f64
}

/// Times that groups are drawn anew for [`grouped_ece`]'s interval.
const RESAMPLES: usize = 1000;

/// [`ece`] of all predictions, which come in groups (episodes) that share their doubt. The interval is
/// 1.96 standard deviations of the error over 1000 draws of as many groups with replacement (the
/// bootstrap over clusters; Efron 1979, doi 10.1214/aos/1176344552), which `seed` decides; `None` for fewer
/// than two groups.
///
/// The interval says how far the estimate varies from one list of episodes to another. The estimate itself,
/// a sum of absolute gaps, is not corrected for its bias: where an error is near 0 it is too high by up to
/// about the interval, which then need not hold 0 even for perfect confidences.
pub fn grouped_ece(groups: &[Vec<(f32, bool)>], seed: u64) -> Estimate {
    let sum = |of: &[Bin]| -> Vec<[f64; 3]> {
        of.iter()
            .map(|bin| {
                let count = bin.count as f64;
                [count, bin.right as f64, bin.confidence * count]
            })
            .collect()
    };
    let groups: Vec<Vec<[f64; 3]>> = groups.iter().map(|of| sum(&bins(of, BINS))).collect();
    let error = |chosen: &mut dyn Iterator<Item = usize>| {
        let mut total = [[0.0; 3]; BINS];
        for index in chosen {
            for (total, own) in total.iter_mut().flatten().zip(groups[index].iter().flatten()) {
                *total += own;
            }
        }
        let count: f64 = total.iter().map(|[count, ..]| count).sum();
        let gaps = total.iter().map(|[_, right, confidence]| (right - confidence).abs());
        gaps.sum::<f64>() / count.max(1.0)
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

/// Predictions of similar probability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// How many of them were right.
    pub right: usize,
    /// Their mean probability, 0 to 1.
    pub confidence: f64,
}

/// Predictions by probability, in `bins` bins of equal width.
pub fn bins(predictions: &[(f32, bool)], bins: usize) -> Vec<Bin> {
    let mut table = vec![Bin::default(); bins];
    for &(probability, right) in predictions {
        let index = (probability.clamp(0.0, 1.0) * bins as f32) as usize;
        let bin = &mut table[index.min(bins - 1)];
        bin.count += 1;
        bin.right += usize::from(right);
        bin.confidence += f64::from(probability);
    }
    for bin in &mut table {
        bin.confidence /= bin.count.max(1) as f64;
    }
    table
}

/// Area under the ROC curve: how often a member scores above a stranger, ties counted half. `None`
/// where there is no member or no stranger.
pub fn auroc(members: &[f32], strangers: &[f32]) -> Option<f64> {
    if members.is_empty() || strangers.is_empty() {
        return None;
    }
    let mut all: Vec<(f32, bool)> = members.iter().map(|&score| (score, true)).collect();
    all.extend(strangers.iter().map(|&score| (score, false)));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let ours = tied.iter().filter(|(_, member)| *member).count() as f64;
        let theirs = tied.len() as f64 - ours;
        wins += ours * (below + theirs / 2.0);
        below += theirs;
    }
    Some(wins / (members.len() as f64 * strangers.len() as f64))
}

/// Wilson's 95 % interval of a share: lower and upper end, 0 to 1. Unlike the normal one it stays
/// within 0 and 1 and is of use for few trials.
pub fn wilson(successes: usize, trials: usize) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    const Z: f64 = 1.959_964;
    let (n, share) = (trials as f64, successes as f64 / trials as f64);
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    let low = if successes == 0 { 0.0 } else { (centre - half) / scale };
    let high = if successes == trials { 1.0 } else { (centre + half) / scale };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certain_and_half_wrong_is_an_error_of_a_half() {
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

    #[test]
    fn area_counts_pairs() {
        // Pairs: 3 > 2, 3 > 1, 1 < 2, 1 = 1: (1 + 1 + 0 + 0.5) / 4.
        assert_eq!(auroc(&[3.0, 1.0], &[2.0, 1.0]), Some(0.625));
        assert_eq!(auroc(&[3.0], &[]), None);
    }

    #[test]
    fn wilsons_interval() {
        // 8 of 10, as in any table of it: 0.4902 to 0.9433.
        let [low, high] = wilson(8, 10);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 0), [0.0, 1.0]);
        assert_eq!(wilson(5, 5)[1], 1.0);
    }
}
