//! `dice`: 1 minus the Dice coefficient of probabilities and labels, averaged over the classes.
//!
//! Milletari et al., *V-Net*, 3DV 2016, arXiv 1606.04797, in the form of segmentation_models_pytorch's
//! `DiceLoss(mode="multiclass", from_logits=True)` (0.6): sums are over the whole batch, the denominator is
//! the mean of both areas (not of squares), and a class that no label of the batch holds adds 0 to a
//! mean over all classes. Does not care how large a class is, which makes small ones count; its gradient is
//! noisy alone, so it is usually added to cross entropy.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::{Criterion, KEY};

/// The Dice loss's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dice {
    /// Added to the shared area and to the mean of both areas, in pixels; 0 or more.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub smooth: f64,
}

/// The least denominator.
const EPSILON: f64 = 1e-7;

impl Criterion for Dice {
    const NAME: &'static str = "dice";
    const SUMMARY: &'static str = "1 minus the overlap of probabilities and labels, by class";
    const SOURCE: &'static str = "https://arxiv.org/abs/1606.04797";

    fn check(&self, _: usize) -> Result<()> {
        if self.smooth.is_finite() && self.smooth >= 0.0 {
            return Ok(());
        }
        let message = format!("dice: smooth {}; valid are 0 and more", self.smooth);
        Err(Error::config(message).at_key(KEY))
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let size = [batch, classes, height, width];
        let numbers = Tensor::<1, Int>::arange(0..classes as i64, &targets.device());
        let targets = targets.reshape([batch, 1, height, width]);
        // 1 in the plane of each pixel's class; nowhere for pixels that do not count.
        let labels =
            targets.expand(size).equal(numbers.reshape([1, classes, 1, 1]).expand(size)).float();
        let counts = labels.clone().sum_dim(1);
        let probabilities = kshot_kernels::softmax2d(logits) * counts;
        let sum = |of: Tensor<4>| of.sum_dim(0).sum_dim(2).sum_dim(3).reshape([classes]);
        let shared = sum(probabilities.clone() * labels.clone());
        let area = sum(labels);
        let both = sum(probabilities) + area.clone();
        let score = (shared + self.smooth) / (both * 0.5 + self.smooth).clamp_min(EPSILON);
        let present = area.greater_elem(0.0).float();
        ((score.neg() + 1.0) * present).mean()
    }
}
