//! `dice`: 1 minus the Dice coefficient of probabilities and labels, averaged over the classes.
//!
//! Milletari et al., *V-Net*, 3DV 2016, arXiv 1606.04797, in the form of segmentation_models_pytorch's
//! `DiceLoss(mode="multiclass", from_logits=True)` (0.6): sums are over the whole batch, the denominator is
//! the mean of both areas (not of squares), and a class that no label of the batch holds adds 0 to a
//! mean over all classes. `per = "picture"` takes each picture as a batch of its own and averages. Does not
//! care how large a class is, which makes small ones count; its gradient is noisy alone, so it is usually
//! added to cross entropy.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::loss::overlap::{Areas, EPSILON, Per};
use crate::loss::{Criterion, KEY};

/// The Dice loss's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dice {
    /// Added to the shared area and to the mean of both areas, in pixels; 0 or more.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub smooth: f64,
    /// Whether areas are those of the batch, or of each picture.
    pub per: Per,
}

impl Criterion for Dice {
    const NAME: &'static str = "dice";
    const SUMMARY: &'static str = "1 minus the overlap of probabilities and labels, by class";
    const SOURCE: &'static str = "https://arxiv.org/abs/1606.04797";

    fn check(&self, _: usize) -> Result<()> {
        check_smooth(Self::NAME, self.smooth)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let areas = Areas::new(logits, targets, self.per);
        let both = areas.predicted.clone() + areas.labelled.clone();
        let score =
            (areas.shared.clone() + self.smooth) / (both * 0.5 + self.smooth).clamp_min(EPSILON);
        areas.loss(score, |loss| loss)
    }
}

/// Refuses what is not 0 or more.
pub(super) fn check_smooth(of: &str, smooth: f64) -> Result<()> {
    if smooth.is_finite() && smooth >= 0.0 {
        return Ok(());
    }
    Err(Error::config(format!("{of}: smooth {smooth}; valid are 0 and more")).at_key(KEY))
}
