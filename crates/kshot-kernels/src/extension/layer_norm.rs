//! Layer normalisation over channels as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::{AutodiffTensor, KernelBackend, ours};

/// Brings the channels of each place to mean 0 and variance 1, then scales and shifts each channel: one operation,
/// forward and backward, for 32-bit floats on the CPU, and Burn's own ones elsewhere.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`, as the result
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
/// If gamma or beta is of another length than the channels.
pub fn layer_norm2d(
    images: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<4> {
    let [_, channels, ..] = images.dims();
    assert_eq!(gamma.dims(), [channels], "layer norm: one gamma for each channel");
    assert_eq!(beta.dims(), [channels], "layer norm: one beta for each channel");
    if !ours(&images) || !ours(&gamma) || !ours(&beta) || images.dims().contains(&0) {
        let each = |values: Tensor<1>| values.reshape([1, channels, 1, 1]);
        let centred = images.clone() - images.mean_dim(1);
        let variance = centred.clone().powi_scalar(2).mean_dim(1);
        let normal = centred * (variance + epsilon).sqrt().recip();
        return normal * each(gamma) + each(beta);
    }
    let [images, gamma, beta] =
        [images.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()];
    Tensor::from_dispatch(Dispatch::layer_normalise(images, gamma, beta, epsilon))
}

/// The step back.
#[derive(Debug)]
struct LayerNorm;

impl<B: KernelBackend> Backward<B, 3> for LayerNorm {
    type State = ([NodeId; 2], f64);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (nodes, epsilon) = ops.state;
        let [images, gamma] =
            nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let all = B::layer_normalise_gradients(images, gradient, gamma, epsilon);
        for (node, gradient) in ops.parents.into_iter().zip([all.0, all.1, all.2]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    images: AutodiffTensor<B>,
    gamma: AutodiffTensor<B>,
    beta: AutodiffTensor<B>,
    epsilon: f64,
) -> AutodiffTensor<B> {
    let nodes = [images.node(), gamma.node(), beta.node()];
    let run = |images: AutodiffTensor<B>, gamma: AutodiffTensor<B>, beta: AutodiffTensor<B>| {
        let (images, gamma) = (images.into_primitive(), gamma.into_primitive());
        B::layer_normalise(images, gamma, beta.into_primitive(), epsilon)
    };
    match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = [prep.checkpoint(&images), prep.checkpoint(&gamma)];
            prep.finish((kept, epsilon), run(images, gamma, beta))
        }
        OpsKind::UnTracked(prep) => prep.finish(run(images, gamma, beta)),
    }
}
