//! Means with their 95 % interval.

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
    fn students_interval() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]);
        assert_eq!(estimate.mean, 2.0);
        // 4.303 * 1 / sqrt(3)
        assert!((estimate.ci95.unwrap() - 2.484_34).abs() < 1e-4);
        assert_eq!(Estimate::of(&[5.0]).ci95, None);
    }
}
