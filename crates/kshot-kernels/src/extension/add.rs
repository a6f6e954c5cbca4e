//! Sums and what follows them, as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::norm::activate;
use super::{AutodiffTensor, KernelBackend, ours};
use crate::Activation;

/// The sum of two tensors, then the activation, in one pass: the end of a residual block. Differentiable
/// with respect to both.
///
/// # Panics
/// If the shapes differ.
pub fn add_activated(a: Tensor<4>, b: Tensor<4>, activation: Activation) -> Tensor<4> {
    assert_eq!(a.dims(), b.dims(), "add_activated: shapes");
    if !ours(&a) || !ours(&b) {
        return activate(a + b, activation);
    }
    let result = Dispatch::add_activated(a.into_dispatch(), b.into_dispatch(), activation);
    Tensor::from_dispatch(result)
}

/// The step back.
#[derive(Debug)]
struct Add;

impl<B: KernelBackend> Backward<B, 2> for Add {
    /// The result, where an activation followed the sum.
    type State = Option<(FloatTensor<B>, Activation)>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let gradient = match ops.state {
            Some((result, activation)) => B::activation_gradient(result, gradient, activation),
            None => gradient,
        };
        for node in ops.parents.into_iter().flatten() {
            grads.register::<B>(node.id, gradient.clone());
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    a: AutodiffTensor<B>,
    b: AutodiffTensor<B>,
    activation: Activation,
) -> AutodiffTensor<B> {
    let nodes = [a.node(), b.node()];
    let result = B::add_activated(a.into_primitive(), b.into_primitive(), activation);
    match Add.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let activated = activation != Activation::Identity;
            prep.finish(activated.then(|| (result.clone(), activation)), result)
        }
        OpsKind::UnTracked(prep) => prep.finish(result),
    }
}
