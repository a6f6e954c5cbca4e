//! `cross-entropy`: the negative logarithm of the probability of each pixel's class.
//!
//! As `torch.nn.functional.cross_entropy` with `reduction = "mean"`: weights by class (the mean is over
//! the sum of the weights of the pixels' classes) and label smoothing (Szegedy et al., *Rethinking the
//! Inception Architecture for Computer Vision*, CVPR 2016, arXiv 1512.00567). Without either it is one
//! fused kernel on the CPU.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::weights::ClassWeights;
use crate::loss::{Criterion, KEY};

/// The cross entropy's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// What each class's pixels weigh: a list, background first, empty for 1 each, or a rule that makes it from the
    /// training pictures. Makes rare classes count.
    pub weights: ClassWeights,
    /// The share of each target that is spread over all classes, 0 to below 1.
    #[schemars(range(min = 0.0, max = 0.999))]
    pub label_smoothing: f64,
}

impl Criterion for CrossEntropy {
    const NAME: &'static str = "cross-entropy";
    const SUMMARY: &'static str = "the negative log-likelihood of each pixel's class";
    const SOURCE: &'static str =
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html";

    fn check(&self, classes: usize) -> Result<()> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let given = self.label_smoothing;
            let message = format!("cross-entropy: label_smoothing {given}; valid are 0 to below 1");
            return Err(Error::config(message).at_key(KEY));
        }
        self.weights.check(Self::NAME, classes)
    }

    fn class_weights(&mut self) -> Option<&mut ClassWeights> {
        Some(&mut self.weights)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        if self.weights.are_equal() && self.label_smoothing == 0.0 {
            return pixel_cross_entropy(&logits, &targets);
        }
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let by_class = self.weights.tensor(classes, &logits.device());
        let (targets, counts) = counted(targets, classes);
        let weights = of_pixels(by_class.clone(), targets.clone()) * counts.clone();
        let total = not_zero(weights.clone().sum());
        let log = kshot_kernels::log_softmax2d(logits);
        let own = (log.clone().gather(1, targets) * weights).sum();
        let share = self.label_smoothing;
        if share == 0.0 {
            return own.neg() / total;
        }
        let all = (log * by_class.reshape([1, classes, 1, 1])).sum_dim(1) * counts;
        (own * (1.0 - share) + all.sum() * (share / classes as f64)).neg() / total
    }
}

/// The class of each pixel, 0 for those that do not count, and 1 where one counts, else 0.
///
/// # Shapes
/// `[batch, height, width]` to `[batch, 1, height, width]` twice
pub(super) fn counted(targets: Tensor<3, Int>, classes: usize) -> (Tensor<4, Int>, Tensor<4>) {
    let [batch, height, width] = targets.dims();
    let targets = targets.reshape([batch, 1, height, width]);
    let counts = targets.clone().greater_equal_elem(0).int()
        * targets.clone().lower_elem(classes as i64).int();
    (targets * counts.clone(), counts.float())
}

/// What each pixel's class weighs.
///
/// # Shapes
/// - `by_class`: `[classes]`
/// - `classes`, result: `[batch, 1, height, width]`
pub(super) fn of_pixels(by_class: Tensor<1>, classes: Tensor<4, Int>) -> Tensor<4> {
    let size = classes.dims();
    by_class.gather(0, classes.reshape([-1])).reshape(size)
}

/// A sum to divide by: 1 in place of 0.
pub(super) fn not_zero(sum: Tensor<1>) -> Tensor<1> {
    sum.clone() + sum.equal_elem(0.0).float()
}

/// The mean cross entropy over the pixels whose label is a class's number, 0 if there is none: a fused
/// kernel on the CPU.
///
/// # Shapes
/// - `logits`: `[batch, classes, height, width]`
/// - `labels`: `[batch, height, width]`
/// - result: `[1]`
pub fn pixel_cross_entropy(logits: &Tensor<4>, labels: &Tensor<3, Int>) -> Tensor<1> {
    kshot_kernels::cross_entropy2d(logits.clone(), labels.clone())
}

/// [`pixel_cross_entropy`] of a row of logits a pixel.
///
/// # Shapes
/// - `logits`: `[pixels, classes]`
/// - `labels`: any that hold as many
/// - result: `[1]`
pub fn pixel_cross_entropy_rows(logits: Tensor<2>, labels: &Tensor<3, Int>) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    let planar = logits.swap_dims(0, 1).reshape([1, classes, 1, rows]);
    pixel_cross_entropy(&planar, &labels.clone().reshape([1, 1, rows]))
}
