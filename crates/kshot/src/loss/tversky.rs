//! `tversky`: 1 minus the Tversky index, which weighs pixels found wrongly and pixels missed.
//!
//! Salehi et al., *Tversky loss function for image segmentation using 3D fully convolutional deep networks*,
//! MLMI 2017, arXiv 1706.05721, in the form of segmentation_models_pytorch's
//! `TverskyLoss(mode="multiclass", from_logits=True)` (0.6): `alpha` weighs false positives, `beta` false
//! negatives, halves of both are Dice, ones Jaccard. A class that no label of the batch holds adds 0 to a
//! mean over all classes. With `gamma` above 1 it is the focal Tversky loss (Abraham and Khan, ISBI 2019,
//! arXiv 1810.07842): each class's loss is raised to `1 / gamma`, as in the paper;
//! segmentation_models_pytorch raises the mean to `gamma` instead. The defaults of `alpha` and `beta` are the
//! first paper's best (0.3 and 0.7); the second names them the other way round.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::dice::check_smooth;
use crate::loss::overlap::{Areas, EPSILON, Per};
use crate::loss::{Criterion, KEY};

/// The Tversky loss's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tversky {
    /// What pixels that are wrongly found weigh.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub alpha: f64,
    /// What pixels that are missed weigh.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub beta: f64,
    /// A class's loss is raised to 1 over it: above 1, classes that are found badly count more.
    #[schemars(range(min = 1.0, max = 10.0))]
    pub gamma: f64,
    /// Added to both sides of the ratio, in pixels; 0 or more.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub smooth: f64,
    /// Whether areas are those of the batch, or of each picture.
    pub per: Per,
}

impl Default for Tversky {
    fn default() -> Self {
        Self { alpha: 0.3, beta: 0.7, gamma: 1.0, smooth: 0.0, per: Per::Batch }
    }
}

impl Criterion for Tversky {
    const NAME: &'static str = "tversky";
    const SUMMARY: &'static str =
        "1 minus an overlap that weighs what is missed and what is wrongly found";
    const SOURCE: &'static str = "https://arxiv.org/abs/1706.05721";

    fn check(&self, _: usize) -> Result<()> {
        let Self { alpha, beta, gamma, smooth, .. } = *self;
        let wrong = |text: String| Err(Error::config(format!("tversky: {text}")).at_key(KEY));
        let weight = |value: f64| value.is_finite() && value >= 0.0;
        if !(weight(alpha) && weight(beta) && alpha + beta > 0.0) {
            let text = format!("alpha {alpha} and beta {beta}; valid are 0 and more, not both 0");
            return wrong(text);
        }
        if !(gamma.is_finite() && gamma >= 1.0) {
            return wrong(format!("gamma {gamma}; valid are 1 and more"));
        }
        check_smooth(Self::NAME, smooth)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let areas = Areas::new(logits, targets, self.per);
        let Areas { shared, predicted, labelled } = &areas;
        let wrong = (predicted.clone() - shared.clone()) * self.alpha;
        let missed = (labelled.clone() - shared.clone()) * self.beta;
        let all = shared.clone() + wrong + missed + self.smooth;
        let score = (shared.clone() + self.smooth) / all.clamp_min(EPSILON);
        areas.loss(score, |loss| {
            if self.gamma == 1.0 {
                return loss;
            }
            // A root has no slope at 0.
            loss.clamp_min(EPSILON).powf_scalar(1.0 / self.gamma)
        })
    }
}
