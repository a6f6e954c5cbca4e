//! Whether confidences mean what they say.

use kshot_data::mask::{MAX_CLASSES, Mask};
use serde::{Deserialize, Serialize};

/// Bins of equal width.
const BINS: usize = 15;

/// Right and wrong pixels by confidence, for the expected calibration error (Guo et al., ICML 2017,
/// arXiv 1706.04599).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Per bin: pixels, right ones, and the sum of their confidences (0 to 255 each).
    bins: [(u64, u64, u64); BINS],
}

impl Calibration {
    /// Counts a picture; void and unlabelled pixels of the truth do not count. `confidence` holds a
    /// value a pixel, 0 to 255.
    pub fn add(&mut self, truth: &Mask, predicted: &Mask, confidence: &[u8]) {
        let pixels = truth.pixels.iter().zip(&predicted.pixels).zip(confidence);
        for ((&truth, &predicted), &confidence) in pixels {
            if truth > MAX_CLASSES {
                continue;
            }
            let bin = &mut self.bins[usize::from(confidence) * BINS / 256];
            bin.0 += 1;
            bin.1 += u64::from(truth == predicted);
            bin.2 += u64::from(confidence);
        }
    }

    /// Adds another count.
    pub fn merge(&mut self, other: &Self) {
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            *bin = (bin.0 + other.0, bin.1 + other.1, bin.2 + other.2);
        }
    }

    /// Expected calibration error, 0 (confidences are the shares of right pixels) to 1.
    pub fn ece(&self) -> f64 {
        let total: u64 = self.bins.iter().map(|bin| bin.0).sum();
        let gaps =
            self.bins.iter().map(|&(_, right, sum)| (right as f64 - sum as f64 / 255.0).abs());
        gaps.sum::<f64>() / total.max(1) as f64
    }
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
}
