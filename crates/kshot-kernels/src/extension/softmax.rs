//! Softmax over channels and the cross entropy of pixels as operations of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Int, Tensor, activation};

use super::{AutodiffTensor, KernelBackend, ours};

/// The softmax over channels: this crate's kernels for 32-bit floats on the CPU, Burn's own operation
/// elsewhere.
///
/// # Shapes
/// `[batch, channels, height, width]` to the same
pub fn softmax2d(logits: Tensor<4>) -> Tensor<4> {
    if !ours(&logits) {
        return activation::softmax(logits, 1);
    }
    Tensor::from_dispatch(Dispatch::softmax_channels(logits.into_dispatch(), false))
}

/// The logarithm of [`softmax2d`].
///
/// # Shapes
/// `[batch, channels, height, width]` to the same
pub fn log_softmax2d(logits: Tensor<4>) -> Tensor<4> {
    if !ours(&logits) {
        return activation::log_softmax(logits, 1);
    }
    Tensor::from_dispatch(Dispatch::softmax_channels(logits.into_dispatch(), true))
}

/// The mean cross entropy of pixels with their labels, `[1]`. Pixels whose label is no channel's number,
/// such as 255, do not count; the result is 0 if none does.
///
/// # Shapes
/// - `logits`: `[batch, classes, height, width]`
/// - `labels`: `[batch, height, width]`
///
/// # Panics
/// If logits and labels are not of the same pictures.
pub fn cross_entropy2d(logits: Tensor<4>, labels: Tensor<3, Int>) -> Tensor<1> {
    let [batch, classes, height, width] = logits.dims();
    let of = labels.dims();
    assert_eq!(of, [batch, height, width], "cross_entropy2d: one label for each pixel");
    if !ours(&logits) {
        let labels = labels.reshape([batch, 1, height, width]);
        let left_out =
            labels.clone().lower_elem(0).bool_or(labels.clone().greater_equal_elem(classes as i64));
        let own = labels.mask_fill(left_out.clone(), 0);
        let own = activation::log_softmax(logits, 1).gather(1, own);
        let counts = left_out.bool_not().float();
        return (own * counts.clone()).sum().neg() / counts.sum().clamp_min(1.0);
    }
    let labels = labels.float();
    let labels = if logits.is_autodiff() == labels.is_autodiff() {
        labels
    } else if logits.is_autodiff() {
        Tensor::from_inner(labels)
    } else {
        labels.inner()
    };
    let (logits, labels) = (logits.into_dispatch(), labels.into_dispatch());
    Tensor::from_dispatch(Dispatch::cross_entropy(logits, labels))
}

/// The step back through a softmax or its logarithm, from its result.
#[derive(Debug)]
struct Softmax;

impl<B: KernelBackend> Backward<B, 1> for Softmax {
    type State = (B::FloatTensorPrimitive, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (result, logarithm) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::softmax_channels_gradient(result, gradient, logarithm));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    logits: AutodiffTensor<B>,
    logarithm: bool,
) -> AutodiffTensor<B> {
    match Softmax.prepare::<C>([logits.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let result = B::softmax_channels(logits.into_primitive(), logarithm);
            prep.finish((result.clone(), logarithm), result)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::softmax_channels(logits.into_primitive(), logarithm))
        }
    }
}

/// The step back through the cross entropy, which computes the probabilities anew.
#[derive(Debug)]
struct Entropy;

impl<B: KernelBackend> Backward<B, 1> for Entropy {
    type State = (NodeId, B::FloatTensorPrimitive);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (logits, labels) = ops.state;
        let logits = checkpointer.retrieve_node_output::<FloatTensor<B>>(logits);
        let [node] = ops.parents;
        if let Some(node) = node {
            let result = B::cross_entropy_gradient(logits, labels, gradient);
            grads.register::<B>(node.id, result);
        }
    }
}

pub(super) fn record_entropy<B: KernelBackend, C: CheckpointStrategy>(
    logits: AutodiffTensor<B>,
    labels: AutodiffTensor<B>,
) -> AutodiffTensor<B> {
    let labels = labels.into_primitive();
    match Entropy.prepare::<C>([logits.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = prep.checkpoint(&logits);
            let result = B::cross_entropy(logits.into_primitive(), labels.clone());
            prep.finish((kept, labels), result)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::cross_entropy(logits.into_primitive(), labels)),
    }
}
