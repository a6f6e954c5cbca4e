//! Means with their 95 % interval.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// A mean of `n` values and half the width of its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the interval's width; `None` for a single value, of which nothing is known.
    pub ci95: Option<f64>,
    /// How many values.
    pub n: usize,
}

/// The bounds of a figure of all pictures, by which pictures these happen to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PictureInterval {
    /// Lower bound of the 95 % interval.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// How many pictures.
    pub pictures: usize,
}

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1000;

impl PictureInterval {
    /// By a percentile bootstrap over pictures (Efron and Tibshirani, 1993): `figure` of 1000 resamples of their places.
    /// `None` of a single picture.
    pub fn bootstrap(pictures: usize, seed: u64, figure: impl Fn(&[usize]) -> f64) -> Option<Self> {
        if pictures < 2 {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut values: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let places = (0..pictures).map(|_| random.random_range(0..pictures));
                figure(&places.collect::<Vec<_>>())
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((RESAMPLES - 1) as f64 * share).round() as usize];
        Some(Self { low: at(0.025), high: at(0.975), pictures })
    }
}

/// Student's t at 97.5 %, for 1, 2, ... degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

impl Estimate {
    /// The mean of independent values, with Student's interval.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        let ci95 = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let error = (squares / (n - 1) as f64 / n as f64).sqrt();
            STUDENT.get(n - 2).copied().unwrap_or(1.960) * error
        });
        Self { mean, ci95, n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_of_a_mean_is_as_wide_as_its_standard_error_tells() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let mean = |places: &[usize]| {
            places.iter().map(|&place| values[place]).sum::<f64>() / places.len() as f64
        };
        let of = PictureInterval::bootstrap(100, 0, mean).unwrap();
        // 28.9 / sqrt(100) a standard error, 1.96 of them to each side.
        assert!((of.high - of.low - 2.0 * 1.96 * 2.887).abs() < 1.2, "{of:?}");
        assert!(of.low < 49.5 && of.high > 49.5, "{of:?}");
        assert_eq!(PictureInterval::bootstrap(1, 0, mean), None);
    }

    #[test]
    fn students_interval() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]);
        assert_eq!(estimate.mean, 2.0);
        // 4.303 * 1 / sqrt(3)
        assert!((estimate.ci95.unwrap() - 2.484_34).abs() < 1e-4);
        assert_eq!(Estimate::of(&[5.0]).ci95, None);
    }
}
