//! Batch normalisation as an operation of Burn.

use burn::backend::Dispatch;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::nn::BatchNorm;
use burn::tensor::Tensor;

use super::{AutodiffTensor, KernelBackend, ours};
use crate::{Activation, Affine};

/// What batch normalisation is told besides its tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormOptions {
    /// Added to the variance.
    pub epsilon: f64,
    /// What follows.
    pub activation: Activation,
}

impl NormOptions {
    pub(super) fn affine<'a>(&self, gamma: &'a [f32], beta: &'a [f32]) -> Affine<'a> {
        Affine { gamma, beta, epsilon: self.epsilon, activation: self.activation }
    }
}

/// Normalises each channel by the mean and variance of this batch, scales, shifts and activates: one
/// operation, forward and backward, for 32-bit floats on the CPU, and Burn's own elsewhere.
///
/// Returns the result, then each channel's mean and variance (over the count, not one less), which
/// carry no gradient: for running statistics.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`, also returned
/// - `gamma`, `beta`, and the statistics: `[channels]`
///
/// # Panics
/// If gamma or beta is of another length than the channels, or there are no pixels.
pub fn batch_norm(
    images: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    options: NormOptions,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let [_, channels, _, _] = images.dims();
    assert_eq!(gamma.dims(), [channels], "batch norm: one gamma for each channel");
    assert_eq!(beta.dims(), [channels], "batch norm: one beta for each channel");
    if !ours(&images) || !ours(&gamma) || !ours(&beta) {
        let epsilon = options.epsilon;
        let normal = burn::tensor::module::batch_norm_train(images, gamma, beta, epsilon);
        return (activate(normal.output, options.activation), normal.mean, normal.variance);
    }
    let (result, mean, variance) = Dispatch::normalise(
        images.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        options,
    );
    (Tensor::from_dispatch(result), Tensor::from_dispatch(mean), Tensor::from_dispatch(variance))
}

/// A layer of Burn's and the activation after it: what `activation(layer.forward(images))` computes,
/// running statistics included, with [`batch_norm`] where the layer is in training.
///
/// # Shapes
/// `[batch, channels, height, width]` to the same
pub fn batch_norm_layer(layer: &BatchNorm, images: Tensor<4>, activation: Activation) -> Tensor<4> {
    let device = images.device();
    if !device.is_autodiff() || !layer.training.is_enabled() {
        return activate(layer.forward(images), activation);
    }
    let options = NormOptions { epsilon: layer.epsilon, activation };
    let (result, mean, variance) = batch_norm(images, layer.gamma.val(), layer.beta.val(), options);
    for (state, value) in [(&layer.running_mean, mean), (&layer.running_var, variance)] {
        let before = state.value_sync().to_device(&device).mul_scalar(1.0 - layer.momentum);
        state.update((before + value.detach().mul_scalar(layer.momentum)).detach());
    }
    result
}

pub(super) fn activate(images: Tensor<4>, activation: Activation) -> Tensor<4> {
    match activation {
        Activation::Identity => images,
        Activation::Relu => burn::tensor::activation::relu(images),
        Activation::Relu6 => images.clamp(0.0, 6.0),
    }
}

/// The step back through normalisation and activation.
#[derive(Debug)]
struct Normalise;

impl<B: KernelBackend> Backward<B, 3> for Normalise {
    type State = ([NodeId; 3], [B::FloatTensorPrimitive; 2], NormOptions);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (nodes, [mean, variance], options) = ops.state;
        let [images, gamma, beta] =
            nodes.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let gradients =
            B::normalise_gradients(images, gradient, gamma, beta, mean, variance, options);
        let gradients = [gradients.0, gradients.1, gradients.2];
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
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
    options: NormOptions,
) -> (AutodiffTensor<B>, AutodiffTensor<B>, AutodiffTensor<B>) {
    let nodes = [images.node(), gamma.node(), beta.node()];
    let run = |images: AutodiffTensor<B>, gamma: AutodiffTensor<B>, beta: AutodiffTensor<B>| {
        let (images, gamma) = (images.into_primitive(), gamma.into_primitive());
        B::normalise(images, gamma, beta.into_primitive(), options)
    };
    let (result, mean, variance) = match Normalise.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = [prep.checkpoint(&images), prep.checkpoint(&gamma), prep.checkpoint(&beta)];
            let (result, mean, variance) = run(images, gamma, beta);
            let state = (kept, [mean.clone(), variance.clone()], options);
            (prep.finish(state, result), mean, variance)
        }
        OpsKind::UnTracked(prep) => {
            let (result, mean, variance) = run(images, gamma, beta);
            (prep.finish(result), mean, variance)
        }
    };
    (result, AutodiffTensor::<B>::new(mean), AutodiffTensor::<B>::new(variance))
}
