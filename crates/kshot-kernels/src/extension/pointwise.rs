//! Functions of each value as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Tensor, activation};

use super::{AutodiffTensor, KernelBackend, ours};
use crate::Pointwise;

/// The function of each value: one pass forward and one backward for 32-bit floats on the CPU, Burn's own
/// operations elsewhere.
///
/// # Shapes
/// Any to the same.
pub fn pointwise<const D: usize>(values: Tensor<D>, function: Pointwise) -> Tensor<D> {
    if !ours(&values) {
        let hard_sigmoid = |values: Tensor<D>| (values + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0);
        return match function {
            Pointwise::HardSigmoid => hard_sigmoid(values),
            Pointwise::HardSwish => values.clone() * hard_sigmoid(values),
            Pointwise::Sigmoid => activation::sigmoid(values),
            Pointwise::Silu => values.clone() * activation::sigmoid(values),
        };
    }
    Tensor::from_dispatch(Dispatch::pointwise(values.into_dispatch(), function))
}

/// The step back.
#[derive(Debug)]
struct Slope;

impl<B: KernelBackend> Backward<B, 1> for Slope {
    type State = (NodeId, Pointwise);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (values, function) = ops.state;
        let values = checkpointer.retrieve_node_output::<FloatTensor<B>>(values);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::pointwise_gradient(values, gradient, function));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    values: AutodiffTensor<B>,
    function: Pointwise,
) -> AutodiffTensor<B> {
    match Slope.prepare::<C>([values.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = prep.checkpoint(&values);
            let result = B::pointwise(values.into_primitive(), function);
            prep.finish((kept, function), result)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::pointwise(values.into_primitive(), function)),
    }
}
