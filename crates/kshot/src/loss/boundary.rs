//! `boundary`: probabilities weighed by how far they lie on the wrong side of a class's boundary.
//!
//! Kervadec et al., *Boundary loss for highly unbalanced segmentation*, MIDL 2019, arXiv 1812.07032, with the
//! authors' signed distances: to the class outside of it, minus the distance to what is not the class, less
//! 1, inside. The mean is over the labelled pixels and all classes. Deviations:
//! - the paper's constant term is kept (the sum over the labels themselves is taken away), so that the loss is 0
//!   where all is right and never negative; gradients are the same;
//! - distances are shares of the picture's diagonal unless `normalize = false`, so that one weight suits all sizes;
//! - void pixels are neither inside nor outside: distances pass over them;
//! - a class that is all of a picture has no boundary there and adds nothing, as one that is absent.
//!
//! It says little where a prediction is far off, so it is added to another loss (the paper: to Dice). Distances
//! are exact (`kshot_data::objects::distance`) and computed on the CPU.

use burn::prelude::*;
use burn::tensor::TensorData;
use kshot_data::objects::distance;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::Criterion;
use crate::loss::overlap::one_hot;
use crate::nn::cpu_labels;

/// The boundary loss's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Boundary {
    /// Whether distances are shares of the picture's diagonal; else they are pixels.
    pub normalize: bool,
}

impl Default for Boundary {
    fn default() -> Self {
        Self { normalize: true }
    }
}

impl Criterion for Boundary {
    const NAME: &'static str = "boundary";
    const SUMMARY: &'static str =
        "probabilities by their distance from the class's boundary; added to another loss";
    const SOURCE: &'static str = "https://arxiv.org/abs/1812.07032";

    fn check(&self, _: usize) -> Result<()> {
        Ok(())
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let labels = one_hot(targets.clone(), classes);
        let targets = cpu_labels(targets);
        let valid = 0..classes as i64;
        let counted = targets.iter().filter(|target| valid.contains(target)).count();
        let distances = self.distances(&targets, classes, [height, width]);
        let distances = TensorData::new(distances, [batch, classes, height, width]);
        let distances = Tensor::<4>::from_data(distances, &logits.device());
        let apart = kshot_kernels::softmax2d(logits) - labels;
        (apart * distances).sum() / (counted.max(1) * classes) as f64
    }
}

impl Boundary {
    /// The signed distance of each pixel from the boundary of each class; 0 where the pixel does not count or the
    /// class has no boundary.
    ///
    /// # Shapes
    /// `targets`: `[batch, height, width]`; result: `[batch, classes, height, width]`
    fn distances(&self, targets: &[i64], classes: usize, [height, width]: [usize; 2]) -> Vec<f32> {
        let area = height * width;
        let mut distances = vec![0.0f32; targets.len() * classes];
        if distances.is_empty() {
            return distances;
        }
        let unit = if self.normalize { (height as f32).hypot(width as f32) } else { 1.0 };
        let valid = 0..classes as i64;
        distances.par_chunks_exact_mut(area).enumerate().for_each(|(place, plane)| {
            let (picture, class) = (place / classes, (place % classes) as i64);
            let targets = &targets[picture * area..][..area];
            let is_other = |at: usize| targets[at] != class && valid.contains(&targets[at]);
            if !(targets.contains(&class) && (0..area).any(is_other)) {
                return;
            }
            let outside = distance::transform(width, height, |at| targets[at] != class);
            let inside = distance::transform(width, height, |at| !is_other(at));
            for (at, distance) in plane.iter_mut().enumerate() {
                if targets[at] == class {
                    *distance = (1.0 - inside[at]) / unit;
                } else if is_other(at) {
                    *distance = outside[at] / unit;
                }
            }
        });
        distances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_distances_by_hand() {
        let boundary = Boundary { normalize: false };
        let of = |targets: &[i64]| boundary.distances(targets, 2, [1, targets.len()]);
        // Class 0, then class 1; void between them is passed over.
        assert_eq!(of(&[0, 0, 1, 1, 1]), [-1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0]);
        assert_eq!(of(&[0, 255, 1]), [-1.0, 0.0, 2.0, 2.0, 0.0, -1.0]);
        // No boundary.
        assert_eq!(of(&[0, 0, 254]), [0.0; 6]);
        let normalised = Boundary::default().distances(&[0, 0, 1, 1], 2, [2, 2]);
        assert_eq!(normalised[2], 1.0 / 8.0f32.sqrt());
    }
}
