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
    /// Share of what the activation takes away that passes all the same: with ReLU, the slope of a leaky one below 0.
    pub leak: f32,
}

impl NormOptions {
    pub(super) fn affine<'a>(&self, gamma: &'a [f32], beta: &'a [f32]) -> Affine<'a> {
        let Self { epsilon, activation, leak } = *self;
        Affine { gamma, beta, epsilon, activation, leak }
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
        return (leaking(normal.output, options), normal.mean, normal.variance);
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
    let options = NormOptions { epsilon: layer.epsilon, activation, leak: 0.0 };
    let (result, mean, variance) = batch_norm(images, layer.gamma.val(), layer.beta.val(), options);
    for (state, value) in [(&layer.running_mean, mean), (&layer.running_var, variance)] {
        let before = state.value_sync().to_device(&device).mul_scalar(1.0 - layer.momentum);
        state.update((before + value.detach().mul_scalar(layer.momentum)).detach());
    }
    result
}

/// Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016, arXiv 1607.08022): as [`batch_norm`], each picture's
/// channels by their own mean and variance, in training and inference alike.
///
/// # Shapes
/// - `images`: `[batch, channels, height, width]`, also returned
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
/// If gamma or beta is of another length than the channels, or there are no pixels.
pub fn instance_norm(
    images: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    options: NormOptions,
) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    assert_eq!(gamma.dims(), [channels], "instance norm: one gamma for each channel");
    assert_eq!(beta.dims(), [channels], "instance norm: one beta for each channel");
    let apart = images.reshape([1, batch * channels, height, width]);
    let [gamma, beta] =
        [gamma, beta].map(|of| if batch == 1 { of } else { of.repeat_dim(0, batch) });
    let (result, _, _) = batch_norm(apart, gamma, beta, options);
    result.reshape([batch, channels, height, width])
}

/// The activation with its leak.
fn leaking(images: Tensor<4>, options: NormOptions) -> Tensor<4> {
    if options.leak == 0.0 {
        return activate(images, options.activation);
    }
    let passed = activate(images.clone(), options.activation);
    passed.mul_scalar(1.0 - options.leak) + images.mul_scalar(options.leak)
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
