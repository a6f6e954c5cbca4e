//! The kernels as operations of Burn, with gradients.

mod add;
mod autodiff;
mod conv2d;
mod conv_transpose2d;
mod flex;
mod gelu;
mod half;
mod layer_norm;
mod linear;
mod norm;
mod pointwise;
mod pool;
mod resize;
mod scale;
mod softmax;
mod unpool;

use std::sync::Arc;

pub use add::add_activated;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::{DType, Device, Tensor};
pub use conv_transpose2d::conv_transpose2d;
pub use conv2d::{conv2d, conv2d_activated};
pub use gelu::gelu;
pub use layer_norm::layer_norm2d;
pub use norm::{NormOptions, batch_norm, batch_norm_layer, instance_norm};
pub use pointwise::pointwise;
pub use pool::{AveragePool, avg_pool2d, max_pool2d};
pub use resize::{bilinear, doubled};
pub use scale::scale_kernels;
pub use softmax::{cross_entropy2d, log_softmax2d, softmax2d};
pub use unpool::max_unpool2d;

use crate::{Activation, Conv2d, Geometry, Pads, Pointwise, Resize, Windows};

/// Whether this crate's kernels take a tensor.
fn ours<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && tensor.device() == Device::flex()
}

/// A tensor of a backend with gradients.
type AutodiffTensor<B> = FloatTensor<Autodiff<B>>;

/// A backend that can run this crate's kernels. Users call the functions of this crate, which say the
/// shapes; all tensors are 32-bit floats.
#[backend_extension(Flex, Autodiff)]
pub trait KernelBackend: Backend {
    /// The convolution, then the activation.
    fn convolve(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// The convolution with its own weights, for inference: no gradient passes.
    fn infer(
        images: FloatTensor<Self>,
        conv: Arc<Conv2d>,
        pads: Pads,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// The sum, then the activation.
    fn add_activated(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// The gradient before an activation, from its result and the gradient after it.
    fn activation_gradient(
        result: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// The function of each value.
    fn pointwise(values: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self>;

    /// Its gradient with respect to the values.
    fn pointwise_gradient(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Pointwise,
    ) -> FloatTensor<Self>;

    /// The convolution plus a bias for each channel, then the activation.
    fn convolve_biased(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        activation: Activation,
    ) -> FloatTensor<Self>;

    /// Its gradient with respect to the images.
    fn convolve_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Its gradient with respect to the weight.
    fn convolve_weight_gradient(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Its gradient with respect to the bias.
    fn convolve_bias_gradient(gradient: FloatTensor<Self>, geometry: Geometry)
    -> FloatTensor<Self>;

    /// The transposed convolution whose images have the shape of the geometry's result.
    fn convolve_transposed(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self>;

    /// Batch normalisation and activation: the result, each channel's mean, and its variance.
    fn normalise(
        images: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Its gradients with respect to images, gamma and beta.
    fn normalise_gradients(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// Layer normalisation over channels.
    fn layer_normalise(
        images: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Its gradients with respect to images, gamma and beta.
    fn layer_normalise_gradients(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The Gaussian error linear unit.
    fn gelu_exact(values: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Its gradient with respect to the values.
    fn gelu_exact_gradient(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Kernels times a factor for each output.
    fn scale(weight: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Its gradient with respect to the factors.
    fn scale_gradient(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The largest pixel of windows of 2x2.
    fn pool(images: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Its gradient with respect to the images.
    fn pool_gradient(images: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The largest pixel of other windows.
    fn pool_windows(images: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self>;

    /// Its gradient with respect to the images.
    fn pool_windows_gradient(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self>;

    /// Each value at the place of its window's largest pixel.
    fn unpool(
        values: FloatTensor<Self>,
        images: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self>;

    /// Its gradient with respect to the values.
    fn unpool_gradient(
        gradient: FloatTensor<Self>,
        images: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self>;

    /// The mean of each window.
    fn average(images: FloatTensor<Self>, average: AveragePool) -> FloatTensor<Self>;

    /// Its gradient with respect to the images.
    fn average_gradient(gradient: FloatTensor<Self>, average: AveragePool) -> FloatTensor<Self>;

    /// The images at another size.
    fn resize(images: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self>;

    /// Its gradient with respect to the images.
    fn resize_gradient(gradient: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self>;

    /// The softmax over channels, or its logarithm.
    fn softmax_channels(logits: FloatTensor<Self>, logarithm: bool) -> FloatTensor<Self>;

    /// Its gradient with respect to the logits, from its result.
    fn softmax_channels_gradient(
        result: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        logarithm: bool,
    ) -> FloatTensor<Self>;

    /// The mean cross entropy, `[1]`, of logits `[batch, classes, height, width]` with labels
    /// `[batch, height, width]`, whole numbers as floats.
    fn cross_entropy(logits: FloatTensor<Self>, labels: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Its gradient with respect to the logits, from its own, `[1]`.
    fn cross_entropy_gradient(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}
