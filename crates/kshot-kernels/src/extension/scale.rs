//! Scaled kernels as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::{AutodiffTensor, KernelBackend, ours};

/// Kernels times a factor for each output: with it a convolution takes in the normalisation by running
/// statistics that follows, also where both learn. Differentiable with respect to both.
///
/// # Shapes
/// - `weight`: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
/// - `scale`: `[channels_out]`
///
/// # Panics
/// If there is not one factor for each output.
pub fn scale_kernels(weight: Tensor<4>, scale: Tensor<1>) -> Tensor<4> {
    let ([outputs, ..], [factors]) = (weight.dims(), scale.dims());
    assert_eq!(factors, outputs, "scale_kernels: one factor for each output");
    if !ours(&weight) || !ours(&scale) || weight.dims().contains(&0) {
        return weight * scale.reshape([outputs, 1, 1, 1]);
    }
    let result = Dispatch::scale(weight.into_dispatch(), scale.into_dispatch());
    Tensor::from_dispatch(result)
}

/// The step back.
#[derive(Debug)]
struct Scale;

impl<B: KernelBackend> Backward<B, 2> for Scale {
    /// The weight where the factors learn, and the factors where the weight does.
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let ([weight, scale], [of_weight, of_scale]) = (ops.state, ops.parents);
        if let (Some(node), Some(weight)) = (of_scale, weight) {
            grads.register::<B>(node.id, B::scale_gradient(weight, gradient.clone()));
        }
        if let (Some(node), Some(scale)) = (of_weight, scale) {
            grads.register::<B>(node.id, B::scale(gradient, scale));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    weight: AutodiffTensor<B>,
    scale: AutodiffTensor<B>,
) -> AutodiffTensor<B> {
    let nodes = [weight.node(), scale.node()];
    let tracked = [weight.is_tracked(), scale.is_tracked()];
    let (weight, scale) = (weight.into_primitive(), scale.into_primitive());
    match Scale.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let result = B::scale(weight.clone(), scale.clone());
            let kept = [tracked[1].then_some(weight), tracked[0].then_some(scale)];
            prep.finish(kept, result)
        }
        OpsKind::UnTracked(prep) => prep.finish(B::scale(weight, scale)),
    }
}
