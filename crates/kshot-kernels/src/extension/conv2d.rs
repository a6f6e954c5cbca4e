//! The convolution as an operation of Burn.

use std::sync::Arc;

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

use super::half::halved;
use super::norm::activate;
use super::{AutodiffTensor, KernelBackend, ours};
use crate::precision::Precision;
use crate::{Activation, Conv2d, Geometry, Pads};

/// Two-dimensional convolution: this crate's kernels for 32-bit floats on the CPU, Burn's own operation
/// elsewhere. Differentiable as any other.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`
/// - `weight`: `[channels_out, channels / groups, kernel_height, kernel_width]`
/// - `bias`: `[channels_out]`
/// - returns `[batch, channels_out, height', width']`
///
/// # Panics
/// If the shapes do not fit each other (see [`Geometry::new`]).
pub fn conv2d(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    conv2d_activated(images, weight, bias, options, Activation::Identity)
}

/// As [`conv2d`], with the activation after it in the same pass.
///
/// # Shapes
/// As [`conv2d`].
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_activated(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
    activation: Activation,
) -> Tensor<4> {
    if !ours(&images) || !ours(&weight) || !bias.as_ref().is_none_or(ours) {
        let result = halved(images, weight, bias, |images, weight, bias| {
            burn::tensor::module::conv2d(images, weight, bias, options)
        });
        return activate(result, activation);
    }
    let geometry = Geometry::new(
        images.dims(),
        weight.dims(),
        options.stride,
        options.padding,
        options.dilation,
        options.groups,
    );
    let geometry = geometry.unwrap_or_else(|refused| panic!("conv2d: {refused}"));
    let geometry = geometry.with_precise(Precision::current() == Precision::Precise);
    let [channels] = bias.as_ref().map_or([geometry.channels()[1]], Tensor::dims);
    assert_eq!(channels, geometry.channels()[1], "conv2d: one bias for each channel");
    let (images, weight) = (images.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => {
            let bias = bias.into_dispatch();
            Dispatch::convolve_biased(images, weight, bias, geometry, activation)
        }
        None => Dispatch::convolve(images, weight, geometry, activation),
    })
}

impl Conv2d {
    /// [`Conv2d::forward`] as an operation of Burn: of 32-bit floats on the CPU, without gradients.
    ///
    /// # Shapes
    /// `[batch, channels_in, height, width]` to `[batch, channels_out, height', width']`
    ///
    /// # Panics
    /// If the tensor is of another device or type, or has other channels.
    pub fn run(
        self: &Arc<Self>,
        images: Tensor<4>,
        pads: Pads,
        activation: Activation,
    ) -> Tensor<4> {
        assert!(ours(&images), "Conv2d runs on the CPU in 32 bits; this is {:?}", images.device());
        let result = Dispatch::infer(images.into_dispatch(), self.clone(), pads, activation);
        Tensor::from_dispatch(result)
    }
}

/// The step back through a convolution with or without a bias: `N` is 3 or 2.
#[derive(Debug)]
struct Convolve<const N: usize>;

/// What it needs: the images where the weight is trained, the weight where the images are, and the result
/// where an activation followed.
#[derive(Debug, Clone)]
struct Kept<R> {
    images: Option<NodeId>,
    weight: Option<NodeId>,
    geometry: Geometry,
    activated: Option<(R, Activation)>,
}

impl<B: KernelBackend, const N: usize> Backward<B, N> for Convolve<N> {
    type State = Kept<B::FloatTensorPrimitive>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let Kept { images, weight, geometry, activated } = ops.state;
        let gradient = match activated {
            Some((result, activation)) => B::activation_gradient(result, gradient, activation),
            None => gradient,
        };
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let (Some(node), Some(weight)) = (next(), weight) {
            let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
            let result = B::convolve_input_gradient(gradient.clone(), weight, geometry);
            grads.register::<B>(node.id, result);
        }
        if let (Some(node), Some(images)) = (next(), images) {
            let images = checkpointer.retrieve_node_output::<FloatTensor<B>>(images);
            let result = B::convolve_weight_gradient(images, gradient.clone(), geometry);
            grads.register::<B>(node.id, result);
        }
        if let Some(node) = next() {
            grads.register::<B>(node.id, B::convolve_bias_gradient(gradient, geometry));
        }
    }
}

/// Records a convolution with `N` parents: images, weight and perhaps a bias.
pub(super) fn record<B: KernelBackend, C: CheckpointStrategy, const N: usize>(
    images: AutodiffTensor<B>,
    weight: AutodiffTensor<B>,
    nodes: [NodeGuard; N],
    (geometry, activation): (Geometry, Activation),
    run: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> AutodiffTensor<B> {
    match Convolve::<N>.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept_images = weight.is_tracked().then(|| prep.checkpoint(&images));
            let kept_weight = images.is_tracked().then(|| prep.checkpoint(&weight));
            let result = run(images.into_primitive(), weight.into_primitive());
            let activated =
                (activation != Activation::Identity).then(|| (result.clone(), activation));
            let kept = Kept { images: kept_images, weight: kept_weight, geometry, activated };
            prep.finish(kept, result)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(run(images.into_primitive(), weight.into_primitive()))
        }
    }
}
