//! `jaccard`: 1 minus the intersection over union of probabilities and labels, averaged over the classes.
//!
//! Rahman and Wang, *Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation*, ISVC
//! 2016, doi 10.1007/978-3-319-50835-1_22, in the form of segmentation_models_pytorch's
//! `JaccardLoss(mode="multiclass", from_logits=True)` (0.6): sums are over the whole batch, and a class that no
//! label of the batch holds adds 0 to a mean over all classes.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::Criterion;
use crate::loss::dice::check_smooth;
use crate::loss::overlap::{Areas, EPSILON, Per};

/// The Jaccard loss's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jaccard {
    /// Added to intersection and union, in pixels; 0 or more.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub smooth: f64,
    /// Whether areas are those of the batch, or of each picture.
    pub per: Per,
}

impl Criterion for Jaccard {
    const NAME: &'static str = "jaccard";
    const SUMMARY: &'static str = "1 minus the intersection over union of probabilities and labels";
    const SOURCE: &'static str = "https://doi.org/10.1007/978-3-319-50835-1_22";

    fn check(&self, _: usize) -> Result<()> {
        check_smooth(Self::NAME, self.smooth)
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let areas = Areas::new(logits, targets, self.per);
        let union = areas.predicted.clone() + areas.labelled.clone() - areas.shared.clone();
        let score = (areas.shared.clone() + self.smooth) / (union + self.smooth).clamp_min(EPSILON);
        areas.loss(score, |loss| loss)
    }
}
