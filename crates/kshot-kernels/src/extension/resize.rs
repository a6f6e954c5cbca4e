//! Bilinear resizing as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::Tensor;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::{AutodiffTensor, KernelBackend, ours};
use crate::Resize;

/// Bilinear resizing to rows and columns `size`: this crate's kernels for 32-bit floats on the CPU,
/// Burn's own operation elsewhere. With `align_corners` the corners' centres meet, else the pictures'
/// edges do, as in PyTorch's `interpolate`.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, size[0], size[1]]`
///
/// # Panics
/// If a side is zero.
pub fn bilinear(images: Tensor<4>, size: [usize; 2], align_corners: bool) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if [height, width] == size {
        return images;
    }
    if !ours(&images) {
        let options = InterpolateOptions::new(InterpolateMode::Bilinear)
            .with_align_corners(align_corners)
            .with_output_size(size);
        return burn::tensor::module::interpolate(images, options);
    }
    let resize = Resize::new([height, width], size, align_corners);
    let resize = resize.unwrap_or_else(|refused| panic!("bilinear: {refused}"));
    Tensor::from_dispatch(Dispatch::resize(images.into_dispatch(), resize))
}

/// The step back, which needs no values.
#[derive(Debug)]
struct Resized;

impl<B: KernelBackend> Backward<B, 1> for Resized {
    type State = Resize;

    fn backward(self, ops: Ops<Resize, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::resize_gradient(gradient, ops.state));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    images: AutodiffTensor<B>,
    resize: Resize,
) -> AutodiffTensor<B> {
    match Resized.prepare::<C>([images.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(resize, B::resize(images.into_primitive(), resize)),
        OpsKind::UnTracked(prep) => prep.finish(B::resize(images.into_primitive(), resize)),
    }
}
