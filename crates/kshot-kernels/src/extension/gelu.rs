//! The Gaussian error linear unit as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Tensor, activation};

use super::{AutodiffTensor, KernelBackend, ours};

/// The Gaussian error linear unit, the exact one: this crate's kernels for 32-bit floats on the CPU, Burn's own
/// operation elsewhere.
pub fn gelu<const D: usize>(values: Tensor<D>) -> Tensor<D> {
    if !ours(&values) {
        return activation::gelu(values);
    }
    Tensor::from_dispatch(Dispatch::gelu_exact(values.into_dispatch()))
}

/// The step back, from the values before.
#[derive(Debug)]
struct Gelu;

impl<B: KernelBackend> Backward<B, 1> for Gelu {
    type State = NodeId;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let values = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::gelu_exact_gradient(values, gradient));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    values: AutodiffTensor<B>,
) -> AutodiffTensor<B> {
    match Gelu.prepare::<C>([values.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = prep.checkpoint(&values);
            prep.finish(kept, B::gelu_exact(values.into_primitive()))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::gelu_exact(values.into_primitive())),
    }
}
