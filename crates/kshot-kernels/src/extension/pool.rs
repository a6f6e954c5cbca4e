//! Maximum pooling as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn::tensor::ops::MaxPoolOptions;

use super::{AutodiffTensor, KernelBackend, ours};

/// Maximum pooling: this crate's kernels for windows of 2x2 pixels, two apart and without padding, of
/// 32-bit floats on the CPU, and Burn's own operation for all others.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, height', width']`
pub fn max_pool2d(images: Tensor<4>, options: MaxPoolOptions<2>) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    let two = options.kernel_size == [2, 2]
        && options.stride == [2, 2]
        && options.padding == [(0, 0); 2]
        && options.dilation == [1, 1]
        && !options.ceil_mode;
    if !two || height < 2 || width < 2 || !ours(&images) {
        return burn::tensor::module::max_pool2d(images, options);
    }
    Tensor::from_dispatch(Dispatch::pool(images.into_dispatch()))
}

/// The step back through pooling.
#[derive(Debug)]
struct Pool;

impl<B: KernelBackend> Backward<B, 1> for Pool {
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let images = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::pool_gradient(images, gradient));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    images: AutodiffTensor<B>,
) -> AutodiffTensor<B> {
    match Pool.prepare::<C>([images.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = prep.checkpoint(&images);
            prep.finish(kept, B::pool(images.into_primitive()))
        }
        OpsKind::UnTracked(prep) => prep.finish(B::pool(images.into_primitive())),
    }
}
