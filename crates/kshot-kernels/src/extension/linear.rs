//! Operations on one tensor whose step back needs no values.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::{AutodiffTensor, KernelBackend};

/// An operation or its step back.
type Run<B, H> = fn(FloatTensor<B>, H) -> FloatTensor<B>;

#[derive(Debug)]
struct Linear<H>(PhantomData<H>);

impl<B: KernelBackend, H: Clone + Send + Debug + 'static> Backward<B, 1> for Linear<H>
where
    Self: Send + Sync,
{
    type State = (H, Run<B, H>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (how, back) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, back(gradient, how));
        }
    }
}

/// Runs the operation, and notes its step back where the tensor is tracked.
pub(super) fn record<B: KernelBackend, C: CheckpointStrategy, H>(
    tensor: AutodiffTensor<B>,
    how: H,
    forward: Run<B, H>,
    back: Run<B, H>,
) -> AutodiffTensor<B>
where
    H: Copy + Send + Sync + Debug + 'static,
{
    let operation = Linear::<H>(PhantomData);
    match operation.prepare::<C>([tensor.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((how, back), forward(tensor.into_primitive(), how)),
        OpsKind::UnTracked(prep) => prep.finish(forward(tensor.into_primitive(), how)),
    }
}
