//! The transposed convolution as an operation of Burn: a convolution's input gradient run forward, so
//! that its own gradients are a convolution and a weight gradient.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;
use burn::tensor::ops::ConvTransposeOptions;

use super::half::halved;
use super::{AutodiffTensor, KernelBackend, ours};
use crate::precision::Precision;
use crate::{Activation, Geometry, Refused};

/// Two-dimensional transposed convolution: this crate's kernels for 32-bit floats on the CPU, Burn's own
/// operation elsewhere. Differentiable as any other.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`
/// - `weight`: `[channels, channels_out / groups, kernel_height, kernel_width]`
/// - `bias`: `[channels_out]`
/// - returns `[batch, channels_out, height', width']`, where `height'` is `(height - 1) * stride -
///   2 * padding + dilation * (kernel - 1) + padding_out + 1`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn conv_transpose2d(
    images: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvTransposeOptions<2>,
) -> Tensor<4> {
    if !ours(&images) || !ours(&weight) || !bias.as_ref().is_none_or(ours) {
        return halved(images, weight, bias, |images, weight, bias| {
            burn::tensor::module::conv_transpose2d(images, weight, bias, options)
        });
    }
    let geometry = geometry(images.dims(), weight.dims(), &options);
    let geometry = geometry.unwrap_or_else(|refused| panic!("conv_transpose2d: {refused}"));
    let geometry = geometry.with_precise(Precision::current() == Precision::Precise);
    let (images, weight) = (images.into_dispatch(), weight.into_dispatch());
    let result = Tensor::from_dispatch(Dispatch::convolve_transposed(images, weight, geometry));
    match bias {
        Some(bias) => {
            let [channels] = bias.dims();
            let wanted = geometry.channels()[0];
            assert_eq!(channels, wanted, "conv_transpose2d: one bias for each channel");
            result + bias.reshape([1, channels, 1, 1])
        }
        None => result,
    }
}

/// The convolution whose input gradient this is: from the result's shape to the images'.
fn geometry(
    [batch, channels, height, width]: [usize; 4],
    weight: [usize; 4],
    options: &ConvTransposeOptions<2>,
) -> Result<Geometry, Refused> {
    let refuse = |message: String| Err(Refused::new(message));
    let [channels_in, inside, kernel_height, kernel_width] = weight;
    let (given, kernel) = ([height, width], [kernel_height, kernel_width]);
    if [batch, channels, height, width].contains(&0) || weight.contains(&0) {
        return refuse(format!("an extent is zero: images of {given:?}, weight {weight:?}"));
    }
    if channels != channels_in {
        return refuse(format!("{channels} channels do not fit a weight of {weight:?}"));
    }
    let mut size = [0; 2];
    for axis in 0..2 {
        let (stride, dilation) = (options.stride[axis], options.dilation[axis]);
        let (pad, more) = (options.padding[axis], options.padding_out[axis]);
        if more >= stride.max(dilation) {
            return refuse(format!(
                "{more} pixels of output padding; valid are less than stride ({stride}) or dilation \
                 ({dilation})"
            ));
        }
        let grown = (given[axis] - 1)
            .saturating_mul(stride)
            .saturating_add((kernel[axis] - 1).saturating_mul(dilation))
            .saturating_add(more + 1);
        match grown.checked_sub(2 * pad) {
            Some(left) if left > 0 => size[axis] = left,
            _ => return refuse(format!("padding {pad} leaves nothing of {grown} pixels")),
        }
    }
    let images = [batch, inside.saturating_mul(options.groups), size[0], size[1]];
    let pads = options.padding.map(|pad| (pad, pad));
    let found =
        Geometry::new(images, weight, options.stride, pads, options.dilation, options.groups)?;
    if found.out() != given {
        return refuse(format!(
            "output padding {:?} with stride {:?} does not lead back to {given:?}",
            options.padding_out, options.stride
        ));
    }
    Ok(found)
}

/// The step back.
#[derive(Debug)]
struct Transposed;

impl<B: KernelBackend> Backward<B, 2> for Transposed {
    type State = (Option<NodeId>, Option<NodeId>, Geometry);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (images, weight, geometry) = ops.state;
        let [of_images, of_weight] = ops.parents;
        if let (Some(node), Some(weight)) = (of_images, weight) {
            let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
            grads.register::<B>(
                node.id,
                B::convolve(gradient.clone(), weight, geometry, Activation::Identity),
            );
        }
        if let (Some(node), Some(images)) = (of_weight, images) {
            let images = checkpointer.retrieve_node_output::<FloatTensor<B>>(images);
            let result = B::convolve_weight_gradient(gradient, images, geometry);
            grads.register::<B>(node.id, result);
        }
    }
}

pub(super) fn record<B: KernelBackend, C: CheckpointStrategy>(
    images: AutodiffTensor<B>,
    weight: AutodiffTensor<B>,
    geometry: Geometry,
) -> AutodiffTensor<B> {
    let nodes = [images.node(), weight.node()];
    match Transposed.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept_images = weight.is_tracked().then(|| prep.checkpoint(&images));
            let kept_weight = images.is_tracked().then(|| prep.checkpoint(&weight));
            let (images, weight) = (images.into_primitive(), weight.into_primitive());
            let result = B::convolve_transposed(images, weight, geometry);
            prep.finish((kept_images, kept_weight, geometry), result)
        }
        OpsKind::UnTracked(prep) => {
            let (images, weight) = (images.into_primitive(), weight.into_primitive());
            prep.finish(B::convolve_transposed(images, weight, geometry))
        }
    }
}
