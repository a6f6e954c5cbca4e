//! `ohem`: cross entropy of the hard pixels alone (online hard example mining).
//!
//! Shrivastava et al., *Training Region-based Object Detectors with Online Hard Example Mining*, CVPR 2016,
//! arXiv 1604.03540, in the form that the code of HRNet and of DDRNet trains segmentation with: pixels count whose
//! class has a probability below `threshold`, and of each batch at least a share `least`, those with the
//! lowest probabilities; the loss is the mean of their cross entropies, each times its class's weight.
//! Deviations: that code gives a number of pixels (131 072 of 1.6 million and more) where ours is a share, so
//! that it suits any size of picture; where pixels tie with the last one that counts, all of them count.
//!
//! Which pixels count is found on constants; the gradient is that of cross entropy on them.

use burn::prelude::*;
use burn::tensor::TensorData;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::cross_entropy::{counted, of_pixels, pixel_cross_entropy};
use crate::loss::weights::ClassWeights;
use crate::loss::{Criterion, IGNORE_INDEX, KEY};
use crate::nn::{cpu_labels, cpu_values, on_cpu};

/// The settings of online hard example mining.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ohem {
    /// Pixels count whose class has a probability below it; above 0, at most 1.
    #[schemars(range(min = 0.001, max = 1.0))]
    pub threshold: f64,
    /// The share of a batch's labelled pixels that count at least, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub least: f64,
    /// What each class's pixels weigh: a list, background first, empty for 1 each, or a rule.
    pub weights: ClassWeights,
}

impl Default for Ohem {
    fn default() -> Self {
        Self { threshold: 0.7, least: 0.0625, weights: ClassWeights::default() }
    }
}

impl Criterion for Ohem {
    const NAME: &'static str = "ohem";
    const SUMMARY: &'static str = "cross entropy of the pixels whose class is not yet sure";
    const SOURCE: &'static str = "https://arxiv.org/abs/1604.03540";

    fn check(&self, classes: usize) -> Result<()> {
        let Self { threshold, least, .. } = *self;
        let wrong = |text: String| Err(Error::config(format!("ohem: {text}")).at_key(KEY));
        if !(threshold > 0.0 && threshold <= 1.0) {
            return wrong(format!("threshold {threshold}; valid are above 0 and at most 1"));
        }
        if !(0.0..=1.0).contains(&least) {
            return wrong(format!("least {least}; valid are 0 to 1"));
        }
        self.weights.check(Self::NAME, classes)
    }

    fn class_weights(&mut self) -> Option<&mut ClassWeights> {
        Some(&mut self.weights)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let device = logits.device();
        let hard = if on_cpu(&logits) {
            self.hard(logits.clone().inner(), targets)
        } else {
            self.hard_by_tensors(logits.clone().inner(), targets.inner())
        };
        let hard = if logits.is_autodiff() { Tensor::from_inner(hard) } else { hard };
        if self.weights.are_equal() {
            return pixel_cross_entropy(&logits, &hard);
        }
        let (hard, counts) = counted(hard, classes);
        let weights = of_pixels(self.weights.tensor(classes, &device), hard.clone());
        let own = kshot_kernels::log_softmax2d(logits).gather(1, hard);
        (own * weights * counts.clone()).sum().neg() / counts.sum().clamp_min(1.0)
    }
}

impl Ohem {
    /// The targets of the pixels that count, void in place of all others.
    ///
    /// # Shapes
    /// - `logits`: `[batch, classes, height, width]`
    /// - `targets`, result: `[batch, height, width]`
    fn hard(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<3, Int> {
        let (device, size) = (logits.device(), targets.dims());
        let classes = logits.dims()[1];
        let (own, _) = counted(targets.clone().inner(), classes);
        let logs = cpu_values(kshot_kernels::log_softmax2d(logits).gather(1, own));
        let mut targets = cpu_labels(targets);
        let valid = 0..classes as i64;
        let pairs = targets.iter().zip(&logs).filter(|(target, _)| valid.contains(target));
        let mut all: Vec<f32> = pairs.map(|(_, log)| *log).collect();
        let least = (self.least * all.len() as f64).ceil() as usize;
        let last = (least > 0).then(|| *all.select_nth_unstable_by(least - 1, f32::total_cmp).1);
        let sure = self.threshold.ln() as f32;
        for (target, log) in targets.iter_mut().zip(logs) {
            let hard = log < sure || last.is_some_and(|last| log <= last);
            if !(hard && valid.contains(target)) {
                *target = IGNORE_INDEX.into();
            }
        }
        Tensor::from_data(TensorData::new(targets, size), &device)
    }

    /// [`Self::hard`] in operations of tensors, with nothing read back.
    fn hard_by_tensors(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<3, Int> {
        /// Above every logarithm of a probability.
        const PAST: f32 = 1.0;
        let size = targets.dims();
        let classes = logits.dims()[1];
        let (own, counts) = counted(targets.clone(), classes);
        let counts = counts.reshape(size);
        let logs = kshot_kernels::log_softmax2d(logits).gather(1, own).reshape(size);
        let logs = logs.mask_fill(counts.clone().equal_elem(0.0), PAST);
        let mut hard = logs.clone().lower_elem(self.threshold.ln());
        if self.least > 0.0 {
            let sorted = logs.clone().reshape([-1]).sort(0);
            let place = (counts.sum() * self.least).ceil() - 1.0;
            let last: Tensor<1> = sorted.gather(0, place.clamp_min(0.0).int());
            let last = last.reshape([1, 1, 1]).expand(size);
            hard = hard.bool_or(logs.clone().lower_equal(last));
        }
        // Where nothing counts, what lies last is above 0 and so void all the same.
        let hard = hard.bool_and(logs.lower_elem(PAST));
        targets.mask_fill(hard.bool_not(), i64::from(IGNORE_INDEX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_choose_agree() {
        let device = Device::flex();
        // Logits that differ, of 2 pictures of 3 classes.
        let values: Vec<f32> =
            (0..240).map(|at| ((at * 89 % 241) as f32 / 30.0).powf(1.3)).collect();
        let logits = Tensor::<4>::from_data(TensorData::new(values, [2, 3, 5, 8]), &device);
        let targets: Vec<i64> = (0..80).map(|at| [0, 2, 1, 255, 0, 254, -1][at * 5 % 7]).collect();
        let all = targets.iter().filter(|target| (0..3).contains(*target)).count();
        let of = |targets: &[i64]| {
            Tensor::<3, Int>::from_data(TensorData::new(targets.to_vec(), [2, 5, 8]), &device)
        };
        let mut seen = Vec::new();
        for (threshold, least) in [(0.7, 0.0), (0.7, 0.0625), (1e-12, 0.25), (0.2, 0.5), (1.0, 1.0)]
        {
            let ohem = Ohem { threshold, least, ..Ohem::default() };
            let ours = cpu_labels(ohem.hard(logits.clone(), of(&targets)));
            let theirs = cpu_labels(ohem.hard_by_tensors(logits.clone(), of(&targets)));
            let kept = |labels: &[i64]| {
                labels.iter().filter(|label| **label < 200 && **label >= 0).count()
            };
            let same =
                ours.iter().zip(&theirs).all(|(a, b)| a == b || kept(&[*a]) + kept(&[*b]) == 0);
            assert!(same, "{threshold} {least}: {ours:?} and {theirs:?}");
            assert!(kept(&ours) as f64 >= least * all as f64);
            seen.push(kept(&ours));
        }
        assert_eq!(seen[4], all);
        assert_eq!(seen[2], all.div_ceil(4), "the hardest alone");
        assert!(seen[0] > seen[2] && seen[0] < all);
        let none = [255i64; 80];
        let ohem = Ohem::default();
        for chosen in
            [ohem.hard(logits.clone(), of(&none)), ohem.hard_by_tensors(logits, of(&none))]
        {
            assert!(cpu_labels(chosen).iter().all(|label| *label == 255));
        }
    }
}
