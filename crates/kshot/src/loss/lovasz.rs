//! `lovasz`: the Lovász-Softmax loss, a convex surrogate of the mean intersection over union.
//!
//! Berman et al., *The Lovász-Softmax loss: A tractable surrogate for the optimization of the
//! intersection-over-union measure in neural networks*, CVPR 2018, arXiv 1705.08790, as
//! segmentation_models_pytorch's `LovaszLoss(mode="multiclass")` (0.6) and the authors' code: the mean is over
//! the classes that occur in the labels. Pictures without a labelled pixel are left out where the loss is of
//! each picture.
//!
//! A class's loss is the sum of its errors times weights that depend on the errors' order alone, which are
//! constants where the loss is differentiated. On the CPU they come from sorting whole numbers, the errors'
//! bits and the pixel's place, so that ties have an order; elsewhere from the tensors' own sort, with nothing
//! read back.

use burn::prelude::*;
use burn::tensor::{IndexingUpdateOp, TensorData};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::Criterion;
use crate::loss::overlap::{Per, one_hot};
use crate::nn::{cpu_labels, cpu_values, on_cpu};

/// The Lovász-Softmax loss's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lovasz {
    /// Whether errors are sorted over the batch, or over each picture.
    pub per: Per,
}

impl Criterion for Lovasz {
    const NAME: &'static str = "lovasz";
    const SUMMARY: &'static str =
        "Lovász-Softmax: a convex surrogate of the mean intersection over union";
    const SOURCE: &'static str = "https://arxiv.org/abs/1705.08790";

    fn check(&self, _: usize) -> Result<()> {
        Ok(())
    }

    fn forward(&self, logits: Tensor<4>, targets: Tensor<3, Int>) -> Tensor<1> {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let labels = one_hot(targets.clone(), classes);
        let errors = (labels.clone() - kshot_kernels::softmax2d(logits)).abs();
        let weights = if on_cpu(&errors) {
            let size = errors.dims();
            let values = cpu_values(errors.clone().inner());
            let weights = by_sorting(&values, &cpu_labels(targets), size, self.per);
            Tensor::from_data(TensorData::new(weights, size), &errors.device())
        } else {
            let weights = by_tensors(errors.clone().inner(), labels.inner(), self.per);
            if errors.is_autodiff() { Tensor::from_inner(weights) } else { weights }
        };
        (errors * weights).sum()
    }
}

/// What each error weighs, as long as the errors: the gradient of the Lovász extension of the Jaccard loss, over
/// the number of classes that occur and of groups.
///
/// # Shapes
/// - `errors`, result: `[batch, classes, height, width]`
/// - `targets`: `[batch, height, width]`
fn by_sorting(errors: &[f32], targets: &[i64], size: [usize; 4], per: Per) -> Vec<f32> {
    let [batch, classes, height, width] = size;
    let area = height * width;
    let mut weights = vec![0.0f32; errors.len()];
    if weights.is_empty() {
        return weights;
    }
    let groups = match per {
        Per::Batch => 1,
        Per::Picture => batch,
    };
    let pictures = batch / groups;
    assert!(pictures * area <= u32::MAX as usize, "lovasz: too many pixels to sort");
    // How many pixels of each class a group has.
    let mut present = vec![vec![0usize; classes]; groups];
    for (at, &target) in targets.iter().enumerate() {
        if (0..classes as i64).contains(&target) {
            present[at / (pictures * area)][target as usize] += 1;
        }
    }
    let labelled = present.iter().filter(|counts| counts.iter().any(|count| *count > 0)).count();
    // A class of a group, with its planes.
    let mut tasks: Vec<Vec<&mut [f32]>> = (0..groups * classes).map(|_| Vec::new()).collect();
    for (place, plane) in weights.chunks_exact_mut(area).enumerate() {
        tasks[place / classes / pictures * classes + place % classes].push(plane);
    }
    tasks.into_par_iter().enumerate().for_each(|(task, mut planes)| {
        let (group, class) = (task / classes, task % classes);
        let own = present[group][class];
        if own == 0 {
            return;
        }
        let occurring = present[group].iter().filter(|count| **count > 0).count();
        let share = 1.0 / (occurring * labelled) as f64;
        let targets = &targets[group * pictures * area..][..pictures * area];
        let mut keys = Vec::with_capacity(present[group].iter().sum());
        for (at, target) in targets.iter().enumerate() {
            if (0..classes as i64).contains(target) {
                let picture = group * pictures + at / area;
                let error = errors[(picture * classes + class) * area + at % area];
                // Errors are not negative, so that their bits are in their order; the largest come first.
                keys.push(u64::from(!error.to_bits()) << 32 | at as u64);
            }
        }
        keys.sort_unstable();
        let (mut shared, mut union, mut before) = (own as f64, own as f64, 0.0);
        for key in keys {
            let at = (key & u64::from(u32::MAX)) as usize;
            if targets[at] == class as i64 {
                shared -= 1.0;
            } else {
                union += 1.0;
            }
            let loss = 1.0 - shared / union;
            planes[at / area][at % area] = ((loss - before) * share) as f32;
            before = loss;
        }
    });
    weights
}

/// [`by_sorting`] in operations of tensors.
///
/// # Shapes
/// `[batch, classes, height, width]` each
fn by_tensors(errors: Tensor<4>, labels: Tensor<4>, per: Per) -> Tensor<4> {
    let [batch, classes, height, width] = errors.dims();
    let area = height * width;
    // A row for each class of each group, [rows, pixels].
    let rows = |of: Tensor<4>| match per {
        Per::Batch => of.swap_dims(0, 1).reshape([classes, batch * area]),
        Per::Picture => of.reshape([batch * classes, area]),
    };
    let counts = labels.clone().sum_dim(1).expand([batch, classes, height, width]);
    let (labels, counts) = (rows(labels), rows(counts));
    // Those that do not count come last.
    let errors = rows(errors) * counts.clone() + counts.clone() - 1.0;
    let (_, order) = errors.sort_descending_with_indices(1);
    let (sorted, counts) =
        (labels.clone().gather(1, order.clone()), counts.gather(1, order.clone()));
    let own = labels.sum_dim(1);
    let shared = own.clone() - sorted.clone().cumsum(1);
    let union = own.clone() + (counts.clone() - sorted).cumsum(1);
    let losses = shared / union.clamp_min(1.0);
    let [lines, pixels] = losses.dims();
    let first = Tensor::ones([lines, 1], &losses.device());
    let before = Tensor::cat(vec![first, losses.clone().narrow(1, 0, pixels - 1)], 1);
    let present = own.greater_elem(0.0).float();
    let groups = present.clone().reshape([lines / classes, classes]);
    let occurring = groups.clone().sum_dim(1);
    let labelled = occurring.clone().greater_elem(0.0).float().sum();
    let share = groups / occurring.clamp_min(1.0) / labelled.clamp_min(1.0).reshape([1, 1]);
    let weights = (before - losses) * counts * share.reshape([lines, 1]);
    let weights = weights.zeros_like().scatter(1, order, weights, IndexingUpdateOp::Add);
    match per {
        Per::Batch => weights.reshape([classes, batch, height, width]).swap_dims(0, 1),
        Per::Picture => weights.reshape([batch, classes, height, width]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors and labels of 3 pictures of 4 classes, one of which has no labelled pixel.
    fn given() -> ([usize; 4], Vec<f32>, Vec<i64>) {
        let size = [3, 4, 5, 7];
        // All different, so that their order is the only one.
        let errors: Vec<f32> = (0..420).map(|at| (at * 97 % 421) as f32 / 421.0).collect();
        let mut targets: Vec<i64> =
            (0..105).map(|at| [0, 2, 1, 255, 0, 2, 254][at * 5 % 7]).collect();
        targets[35..70].fill(255);
        (size, errors, targets)
    }

    #[test]
    fn both_ways_to_sort_agree() {
        let (size, errors, targets) = given();
        let device = Device::flex();
        let labels =
            Tensor::<3, Int>::from_data(TensorData::new(targets.clone(), [3, 5, 7]), &device);
        let tensor = Tensor::<4>::from_data(TensorData::new(errors.clone(), size), &device);
        for per in [Per::Batch, Per::Picture] {
            let ours = by_sorting(&errors, &targets, size, per);
            let theirs = cpu_values(by_tensors(tensor.clone(), one_hot(labels.clone(), 4), per));
            for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                assert!((ours - theirs).abs() < 1e-6, "{per:?} at {at}: {ours} and {theirs}");
            }
            // All weights of a class sum to 1, before the mean over three classes and the groups.
            assert!((ours.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
