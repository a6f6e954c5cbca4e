//! Pooling as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::{AutodiffTensor, KernelBackend, ours};
use crate::Windows;

/// Maximum pooling: this crate's kernels for 32-bit floats on the CPU, Burn's own operation elsewhere and
/// for windows with holes.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, height', width']`
///
/// # Panics
/// If the windows do not fit the images (see [`Windows::new`]).
pub fn max_pool2d(images: Tensor<4>, options: MaxPoolOptions<2>) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if options.dilation != [1, 1] || !ours(&images) {
        return burn::tensor::module::max_pool2d(images, options);
    }
    let two = options.kernel_size == [2, 2]
        && options.stride == [2, 2]
        && options.padding == [(0, 0); 2]
        && !options.ceil_mode;
    if two && height >= 2 && width >= 2 {
        return Tensor::from_dispatch(Dispatch::pool(images.into_dispatch()));
    }
    let MaxPoolOptions { kernel_size, stride, padding, ceil_mode, .. } = options;
    let windows = Windows::new([height, width], kernel_size, stride, padding, ceil_mode);
    let windows = windows.unwrap_or_else(|refused| panic!("max_pool2d: {refused}"));
    Tensor::from_dispatch(Dispatch::pool_windows(images.into_dispatch(), windows))
}

/// The windows of average pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePool {
    /// Where they lie.
    pub windows: Windows,
    /// Whether the padding's zeros count as pixels.
    pub padding: bool,
}

/// AveragePool pooling: this crate's kernels for 32-bit floats on the CPU, Burn's own operation elsewhere.
/// Windows of the images' own size give each plane's mean.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, height', width']`
///
/// # Panics
/// If the windows do not fit the images (see [`Windows::new`]).
pub fn avg_pool2d(images: Tensor<4>, options: AvgPoolOptions<2>) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if !ours(&images) {
        return burn::tensor::module::avg_pool2d(images, options);
    }
    let AvgPoolOptions { kernel_size, stride, padding, count_include_pad, ceil_mode, .. } = options;
    let windows = Windows::new([height, width], kernel_size, stride, padding, ceil_mode);
    let windows = windows.unwrap_or_else(|refused| panic!("avg_pool2d: {refused}"));
    let average = AveragePool { windows, padding: count_include_pad };
    Tensor::from_dispatch(Dispatch::average(images.into_dispatch(), average))
}

/// The step back through maximum pooling, of windows of 2x2 or others.
#[derive(Debug)]
struct Pool;

impl<B: KernelBackend> Backward<B, 1> for Pool {
    type State = (NodeId, Option<Windows>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (images, windows) = ops.state;
        let images = checkpointer.retrieve_node_output::<FloatTensor<B>>(images);
        let [node] = ops.parents;
        if let Some(node) = node {
            let result = match windows {
                Some(windows) => B::pool_windows_gradient(images, gradient, windows),
                None => B::pool_gradient(images, gradient),
            };
            grads.register::<B>(node.id, result);
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    images: AutodiffTensor<B>,
    windows: Option<Windows>,
) -> AutodiffTensor<B> {
    let run = |images: FloatTensor<B>| match windows {
        Some(windows) => B::pool_windows(images, windows),
        None => B::pool(images),
    };
    match Pool.prepare::<C>([images.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = prep.checkpoint(&images);
            prep.finish((kept, windows), run(images.into_primitive()))
        }
        OpsKind::UnTracked(prep) => prep.finish(run(images.into_primitive())),
    }
}
