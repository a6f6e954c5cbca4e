//! Areas of probabilities and labels by class, from which the losses of overlap are computed.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What areas are added up over before they are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// All pictures of a batch: small objects of one weigh little beside large ones of another.
    #[default]
    Batch,
    /// Each picture; their losses are averaged. Pictures without a labelled pixel are left out.
    Picture,
}

/// The least denominator, as segmentation_models_pytorch has it.
pub(super) const EPSILON: f64 = 1e-7;

/// 1 in the plane of each pixel's class; nowhere for pixels that do not count.
///
/// # Shapes
/// `[batch, height, width]` to `[batch, classes, height, width]`
pub(super) fn one_hot(targets: Tensor<3, Int>, classes: usize) -> Tensor<4> {
    let [batch, height, width] = targets.dims();
    let size = [batch, classes, height, width];
    let numbers = Tensor::<1, Int>::arange(0..classes as i64, &targets.device());
    let targets = targets.reshape([batch, 1, height, width]);
    targets.expand(size).equal(numbers.reshape([1, classes, 1, 1]).expand(size)).float()
}

/// Sums of pixels by class, `[groups, classes]` each: a group is the batch or a picture.
pub(super) struct Areas {
    /// Of the probabilities where the label is the class.
    pub shared: Tensor<2>,
    /// Of the probabilities.
    pub predicted: Tensor<2>,
    /// Of the labels.
    pub labelled: Tensor<2>,
}

impl Areas {
    /// Of the softmax of `logits`.
    ///
    /// # Shapes
    /// - `logits`: `[batch, classes, height, width]`
    /// - `targets`: `[batch, height, width]`
    pub fn new(logits: Tensor<4>, targets: Tensor<3, Int>, per: Per) -> Self {
        let [batch, classes, height, width] = logits.dims();
        assert_shape!(targets, [batch, height, width]);
        let labels = one_hot(targets, classes);
        let counts = labels.clone().sum_dim(1);
        let probabilities = kshot_kernels::softmax2d(logits) * counts;
        let sum = |of: Tensor<4>| {
            let of = match per {
                Per::Batch => of.sum_dim(0),
                Per::Picture => of,
            };
            let groups = of.dims()[0];
            of.sum_dim(2).sum_dim(3).reshape([groups, classes])
        };
        Self {
            shared: sum(probabilities.clone() * labels.clone()),
            labelled: sum(labels),
            predicted: sum(probabilities),
        }
    }

    /// The loss of scores of 0 to 1: the mean of 1 minus the score over all classes, to which those without a
    /// labelled pixel add 0, then over the groups that have labelled pixels. `shaped` is applied to 1 minus
    /// the score.
    pub fn loss(&self, score: Tensor<2>, shaped: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<1> {
        let present = self.labelled.clone().greater_elem(0.0).float();
        let losses = (shaped(score.neg() + 1.0) * present.clone()).mean_dim(1);
        let groups = present.max_dim(1).sum().clamp_min(1.0);
        losses.sum() / groups
    }
}
