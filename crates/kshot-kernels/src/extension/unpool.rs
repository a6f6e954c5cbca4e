//! Unpooling by the places of a maximum pool, as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{IndexingUpdateOp, Tensor};

use super::{AutodiffTensor, KernelBackend, ours};
use crate::Windows;

/// Each value at the place of the first largest pixel under its window of `images`, zeros elsewhere;
/// where windows share that pixel their values add up. This crate's kernels for 32-bit floats on the
/// CPU, Burn's own operations elsewhere and for windows with holes. A gradient passes to the values
/// alone.
///
/// # Shapes
/// - `values`: `[batch, channels, height', width']`, as maximum pooling of `images` gives
/// - `images`: `[batch, channels, height, width]`
/// - returns as `images`
///
/// # Panics
/// If the windows do not fit the images (see [`Windows::new`]), or the values the windows.
pub fn max_unpool2d(values: Tensor<4>, images: Tensor<4>, options: MaxPoolOptions<2>) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    if options.dilation != [1, 1] || !ours(&images) || !ours(&values) {
        let (_, places) =
            burn::tensor::module::max_pool2d_with_indices(images.clone().detach(), options);
        assert_eq!(values.dims(), places.dims(), "max_unpool2d: values of the pool's shape");
        let flat = [batch, channels, values.dims()[2] * values.dims()[3]];
        let planes = Tensor::<3>::zeros([batch, channels, height * width], &images.device());
        let (places, values) = (places.reshape(flat), values.reshape(flat));
        let planes = planes.scatter(2, places, values, IndexingUpdateOp::Add);
        return planes.reshape([batch, channels, height, width]);
    }
    let MaxPoolOptions { kernel_size, stride, padding, ceil_mode, .. } = options;
    let windows = Windows::new([height, width], kernel_size, stride, padding, ceil_mode);
    let windows = windows.unwrap_or_else(|refused| panic!("max_unpool2d: {refused}"));
    let [rows, columns] = windows.out();
    let wanted = [batch, channels, rows, columns];
    assert_eq!(values.dims(), wanted, "max_unpool2d: values of the pool's shape");
    let (values, images) = (values.into_dispatch(), images.into_dispatch());
    Tensor::from_dispatch(Dispatch::unpool(values, images, windows))
}

/// The step back.
#[derive(Debug)]
struct Unpool;

impl<B: KernelBackend> Backward<B, 1> for Unpool {
    type State = (FloatTensor<B>, Windows);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (images, windows) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::unpool_gradient(gradient, images, windows));
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    values: AutodiffTensor<B>,
    images: AutodiffTensor<B>,
    windows: Windows,
) -> AutodiffTensor<B> {
    let images = images.into_primitive();
    match Unpool.prepare::<C>([values.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let result = B::unpool(values.into_primitive(), images.clone(), windows);
            prep.finish((images, windows), result)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(B::unpool(values.into_primitive(), images, windows))
        }
    }
}
