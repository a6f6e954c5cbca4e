//! `cross-entropy`: the negative logarithm of the probability of each pixel's class.
//!
//! As `torch.nn.functional.cross_entropy` with `reduction = "mean"`: weights by class (the mean is over
//! the sum of the weights of the pixels' classes) and label smoothing (Szegedy et al., *Rethinking the
//! Inception Architecture for Computer Vision*, CVPR 2016, arXiv 1512.00567). Without either it is one
//! fused kernel on the CPU.

use burn::prelude::*;
use burn::tensor::TensorData;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::{Criterion, KEY};

/// The cross entropy's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// A weight a class, 0 or more; empty for 1 each. Makes rare classes count.
    #[schemars(length(max = 254), inner(range(min = 0.0, max = 1e6)))]
    pub weights: Vec<f64>,
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
        let wrong = |text: String| Err(Error::config(format!("cross-entropy: {text}")).at_key(KEY));
        let given = self.weights.len();
        if given != 0 && given != classes {
            return wrong(format!("{given} weights for {classes} classes; give one each, or none"));
        }
        let valid = self.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if !valid || (given > 0 && self.weights.iter().sum::<f64>() == 0.0) {
            return wrong(format!(
                "weights {:?}; valid are 0 and more, not all of them 0",
                self.weights
            ));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let given = self.label_smoothing;
            return wrong(format!("label_smoothing {given}; valid are 0 to below 1"));
        }
        Ok(())
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        if self.weights.is_empty() && self.label_smoothing == 0.0 {
            return pixel_cross_entropy(&logits, &targets);
        }
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let device = logits.device();
        let by_class = match self.weights.as_slice() {
            [] => vec![1.0; classes],
            weights => weights.iter().map(|weight| *weight as f32).collect(),
        };
        assert_eq!(by_class.len(), classes, "cross-entropy: a weight for each class");
        let by_class = Tensor::<1>::from_data(TensorData::new(by_class, [classes]), &device);
        let targets = targets.reshape([batch, 1, height, width]);
        let counts = targets.clone().greater_equal_elem(0).int()
            * targets.clone().lower_elem(classes as i64).int();
        let targets = targets * counts.clone();
        // What each pixel counts: its class's weight, [batch, 1, height, width].
        let weights = by_class.clone().gather(0, targets.clone().reshape([-1]));
        let counts = counts.float();
        let weights = weights.reshape([batch, 1, height, width]) * counts.clone();
        let total = weights.clone().sum();
        let total = total.clone() + total.equal_elem(0.0).float();
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
