//! The kernels as operations of Burn, with gradients.

mod add;
mod conv2d;
mod conv_transpose2d;
mod norm;
mod pool;
mod resize;
mod scale;
mod softmax;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor, TensorData};

pub use add::add_activated;
pub use conv_transpose2d::conv_transpose2d;
pub use conv2d::{conv2d, conv2d_activated};
pub use norm::{NormOptions, batch_norm, batch_norm_layer};
pub use pool::max_pool2d;
pub use resize::bilinear;
pub use scale::scale_kernels;
pub use softmax::{cross_entropy2d, log_softmax2d, softmax2d};

use crate::{Activation, Channels, Conv2d, Geometry, Pads, Planes, Resize, Windows, slices};

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

    /// Kernels times a factor for each output.
    fn scale(weight: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Its gradients with respect to weight and factors.
    fn scale_gradients(
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

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

/// A tensor's floats in order.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn extents(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

fn channels(logits: &FlexTensor) -> ([usize; 4], Channels) {
    let shape = extents(logits);
    let [_, channels, height, width] = shape;
    (shape, Channels { channels, area: height * width })
}

fn planes(images: &FlexTensor) -> ([usize; 4], Planes) {
    let shape = extents(images);
    (shape, Planes::new(shape).unwrap_or_else(|refused| panic!("batch norm: {refused}")))
}

/// The convolution with or without a bias.
fn forward(
    images: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    geometry: Geometry,
    activation: Activation,
) -> FlexTensor {
    let (images, weight, bias) = (contiguous(images), contiguous(weight), bias.map(contiguous));
    let result = slices::forward(
        &geometry,
        images.storage(),
        weight.storage(),
        bias.as_ref().map(FlexTensor::storage),
        activation,
    );
    let [height, width] = geometry.out();
    tensor(result, [geometry.batch(), geometry.channels()[1], height, width])
}

impl KernelBackend for Flex {
    fn convolve(
        images: FlexTensor,
        weight: FlexTensor,
        geometry: Geometry,
        activation: Activation,
    ) -> FlexTensor {
        forward(images, weight, None, geometry, activation)
    }

    fn infer(
        images: FlexTensor,
        conv: Arc<Conv2d>,
        pads: Pads,
        activation: Activation,
    ) -> FlexTensor {
        let images = contiguous(images);
        let [batch, _, height, width] = extents(&images);
        let result = conv.forward(images.storage(), [height, width], pads, activation);
        let [height, width] = conv.size([height, width], pads);
        tensor(result, [batch, conv.channels_out(), height, width])
    }

    fn add_activated(a: FlexTensor, b: FlexTensor, activation: Activation) -> FlexTensor {
        let (a, b) = (contiguous(a), contiguous(b));
        // In the place of one that nobody else needs; else the first is copied.
        let (mut values, other) = if a.is_unique() { (a, b) } else { (b, a) };
        slices::add_activated(values.storage_mut(), other.storage(), activation);
        values
    }

    fn activation_gradient(
        result: FlexTensor,
        gradient: FlexTensor,
        activation: Activation,
    ) -> FlexTensor {
        let (result, mut gradient) = (contiguous(result), contiguous(gradient));
        slices::activation_gradient(result.storage(), gradient.storage_mut(), activation);
        gradient
    }

    fn convolve_biased(
        images: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        geometry: Geometry,
        activation: Activation,
    ) -> FlexTensor {
        forward(images, weight, Some(bias), geometry, activation)
    }

    fn convolve_input_gradient(
        gradient: FlexTensor,
        weight: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let (gradient, weight) = (contiguous(gradient), contiguous(weight));
        let result = slices::input_gradient(&geometry, gradient.storage(), weight.storage());
        let [height, width] = geometry.size();
        tensor(result, [geometry.batch(), geometry.channels()[0], height, width])
    }

    fn convolve_weight_gradient(
        images: FlexTensor,
        gradient: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        let (images, gradient) = (contiguous(images), contiguous(gradient));
        let result = slices::weight_gradient(&geometry, images.storage(), gradient.storage());
        let [height, width] = geometry.kernel();
        tensor(result, [geometry.channels()[1], geometry.group_channels()[0], height, width])
    }

    fn convolve_bias_gradient(gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
        let gradient = contiguous(gradient);
        let result = slices::bias_gradient(&geometry, gradient.storage());
        tensor(result, [geometry.channels()[1]])
    }

    fn convolve_transposed(
        images: FlexTensor,
        weight: FlexTensor,
        geometry: Geometry,
    ) -> FlexTensor {
        Self::convolve_input_gradient(images, weight, geometry)
    }

    fn normalise(
        images: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (images, gamma, beta) = (contiguous(images), contiguous(gamma), contiguous(beta));
        let (shape, planes) = planes(&images);
        let affine = options.affine(gamma.storage(), beta.storage());
        let (result, statistics) = slices::batch_norm(&planes, images.storage(), affine);
        let channels = [planes.channels()];
        let (mean, variance) = (statistics.mean, statistics.variance);
        (tensor(result, shape), tensor(mean, channels), tensor(variance, channels))
    }

    fn normalise_gradients(
        images: FlexTensor,
        gradient: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [images, gradient, gamma, beta, mean, variance] =
            [images, gradient, gamma, beta, mean, variance].map(contiguous);
        let (shape, planes) = planes(&images);
        let gradients = slices::batch_norm_gradients(
            &planes,
            images.storage(),
            gradient.storage(),
            [mean.storage(), variance.storage()],
            options.affine(gamma.storage(), beta.storage()),
        );
        let channels = [planes.channels()];
        (
            tensor(gradients.images, shape),
            tensor(gradients.gamma, channels),
            tensor(gradients.beta, channels),
        )
    }

    fn scale(weight: FlexTensor, scale: FlexTensor) -> FlexTensor {
        let (weight, scale) = (contiguous(weight), contiguous(scale));
        tensor(slices::scale_kernels(weight.storage(), scale.storage()), extents(&weight))
    }

    fn scale_gradients(
        weight: FlexTensor,
        scale: FlexTensor,
        gradient: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let [weight, scale, gradient] = [weight, scale, gradient].map(contiguous);
        let (values, factors) = (weight.storage(), scale.storage());
        let (of_weight, of_scale) =
            slices::scale_kernels_gradients(values, factors, gradient.storage());
        let shape = extents(&weight);
        (tensor(of_weight, shape), tensor(of_scale, [shape[0]]))
    }

    fn pool(images: FlexTensor) -> FlexTensor {
        let images = contiguous(images);
        let [batch, channels, height, width] = extents(&images);
        let result = slices::max_pool(images.storage(), [height, width]);
        tensor(result, [batch, channels, height / 2, width / 2])
    }

    fn pool_gradient(images: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (images, gradient) = (contiguous(images), contiguous(gradient));
        let shape = extents(&images);
        let size = [shape[2], shape[3]];
        let result = slices::max_pool_gradient(images.storage(), gradient.storage(), size);
        tensor(result, shape)
    }

    fn pool_windows(images: FlexTensor, windows: Windows) -> FlexTensor {
        let images = contiguous(images);
        let [batch, channels, ..] = extents(&images);
        let [height, width] = windows.out();
        let result = slices::max_pool_windows(&windows, images.storage());
        tensor(result, [batch, channels, height, width])
    }

    fn pool_windows_gradient(
        images: FlexTensor,
        gradient: FlexTensor,
        windows: Windows,
    ) -> FlexTensor {
        let (images, gradient) = (contiguous(images), contiguous(gradient));
        let (values, given) = (images.storage(), gradient.storage());
        let result = slices::max_pool_windows_gradient(&windows, values, given);
        tensor(result, extents(&images))
    }

    fn resize(images: FlexTensor, resize: Resize) -> FlexTensor {
        let images = contiguous(images);
        let [batch, channels, ..] = extents(&images);
        let [height, width] = resize.to();
        tensor(slices::resize(&resize, images.storage()), [batch, channels, height, width])
    }

    fn resize_gradient(gradient: FlexTensor, resize: Resize) -> FlexTensor {
        let gradient = contiguous(gradient);
        let [batch, channels, ..] = extents(&gradient);
        let [height, width] = resize.from();
        let result = slices::resize_gradient(&resize, gradient.storage());
        tensor(result, [batch, channels, height, width])
    }

    fn softmax_channels(logits: FlexTensor, logarithm: bool) -> FlexTensor {
        let logits = contiguous(logits);
        let (shape, channels) = channels(&logits);
        tensor(slices::softmax(&channels, logits.storage(), logarithm), shape)
    }

    fn softmax_channels_gradient(
        result: FlexTensor,
        gradient: FlexTensor,
        logarithm: bool,
    ) -> FlexTensor {
        let (result, gradient) = (contiguous(result), contiguous(gradient));
        let (shape, channels) = channels(&result);
        let (result, gradient) = (result.storage(), gradient.storage());
        tensor(slices::softmax_gradient(&channels, result, gradient, logarithm), shape)
    }

    fn cross_entropy(logits: FlexTensor, labels: FlexTensor) -> FlexTensor {
        let (logits, labels) = (contiguous(logits), contiguous(labels));
        let (_, channels) = channels(&logits);
        let result = slices::cross_entropy(&channels, logits.storage(), labels.storage());
        tensor(vec![result], [1])
    }

    fn cross_entropy_gradient(
        logits: FlexTensor,
        labels: FlexTensor,
        gradient: FlexTensor,
    ) -> FlexTensor {
        let [logits, labels, gradient] = [logits, labels, gradient].map(contiguous);
        let (shape, channels) = channels(&logits);
        let factor = gradient.storage::<f32>()[0];
        let (logits, labels) = (logits.storage(), labels.storage());
        tensor(slices::cross_entropy_gradient(&channels, logits, labels, factor), shape)
    }
}

impl<B: KernelBackend, C: CheckpointStrategy> KernelBackend for Autodiff<B, C> {
    fn convolve(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [images.node(), weight.node()];
        let how = (geometry, activation);
        conv2d::record::<B, C, 2>(images, weight, nodes, how, |images, weight| {
            B::convolve(images, weight, geometry, activation)
        })
    }

    fn infer(
        images: FloatTensor<Self>,
        conv: Arc<Conv2d>,
        pads: Pads,
        activation: Activation,
    ) -> FloatTensor<Self> {
        AutodiffTensor::new(B::infer(images.into_primitive(), conv, pads, activation))
    }

    fn add_activated(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        add::record::<B, C>(a, b, activation)
    }

    fn activation_gradient(
        result: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let (result, gradient) = (result.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::activation_gradient(result, gradient, activation))
    }

    fn convolve_biased(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: Geometry,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let nodes = [images.node(), weight.node(), bias.node()];
        let (bias, how) = (bias.into_primitive(), (geometry, activation));
        conv2d::record::<B, C, 3>(images, weight, nodes, how, |images, weight| {
            B::convolve_biased(images, weight, bias, geometry, activation)
        })
    }

    fn convolve_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        let (gradient, weight) = (gradient.into_primitive(), weight.into_primitive());
        AutodiffTensor::new(B::convolve_input_gradient(gradient, weight, geometry))
    }

    fn convolve_weight_gradient(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        let (images, gradient) = (images.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::convolve_weight_gradient(images, gradient, geometry))
    }

    fn convolve_bias_gradient(
        gradient: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        let result = B::convolve_bias_gradient(gradient.into_primitive(), geometry);
        AutodiffTensor::new(result)
    }

    fn convolve_transposed(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        geometry: Geometry,
    ) -> FloatTensor<Self> {
        conv_transpose2d::record::<B, C>(images, weight, geometry)
    }

    fn normalise(
        images: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        norm::record::<B, C>(images, gamma, beta, options)
    }

    fn normalise_gradients(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (images, gamma, beta) = B::normalise_gradients(
            images.into_primitive(),
            gradient.into_primitive(),
            gamma.into_primitive(),
            beta.into_primitive(),
            mean.into_primitive(),
            variance.into_primitive(),
            options,
        );
        (AutodiffTensor::new(images), AutodiffTensor::new(gamma), AutodiffTensor::new(beta))
    }

    fn scale(weight: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self> {
        scale::record::<B, C>(weight, scale)
    }

    fn scale_gradients(
        weight: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (weight, scale) = (weight.into_primitive(), scale.into_primitive());
        let (weight, scale) = B::scale_gradients(weight, scale, gradient.into_primitive());
        (AutodiffTensor::new(weight), AutodiffTensor::new(scale))
    }

    fn pool(images: FloatTensor<Self>) -> FloatTensor<Self> {
        pool::record::<B, C>(images, None)
    }

    fn pool_gradient(images: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        AutodiffTensor::new(B::pool_gradient(images.into_primitive(), gradient.into_primitive()))
    }

    fn pool_windows(images: FloatTensor<Self>, windows: Windows) -> FloatTensor<Self> {
        pool::record::<B, C>(images, Some(windows))
    }

    fn pool_windows_gradient(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        let (images, gradient) = (images.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::pool_windows_gradient(images, gradient, windows))
    }

    fn resize(images: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self> {
        resize::record::<B, C>(images, resize)
    }

    fn resize_gradient(gradient: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self> {
        AutodiffTensor::new(B::resize_gradient(gradient.into_primitive(), resize))
    }

    fn softmax_channels(logits: FloatTensor<Self>, logarithm: bool) -> FloatTensor<Self> {
        softmax::record::<B, C>(logits, logarithm)
    }

    fn softmax_channels_gradient(
        result: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        logarithm: bool,
    ) -> FloatTensor<Self> {
        let (result, gradient) = (result.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::softmax_channels_gradient(result, gradient, logarithm))
    }

    fn cross_entropy(logits: FloatTensor<Self>, labels: FloatTensor<Self>) -> FloatTensor<Self> {
        softmax::record_entropy::<B, C>(logits, labels)
    }

    fn cross_entropy_gradient(
        logits: FloatTensor<Self>,
        labels: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (logits, labels) = (logits.into_primitive(), labels.into_primitive());
        let gradient = gradient.into_primitive();
        AutodiffTensor::new(B::cross_entropy_gradient(logits, labels, gradient))
    }
}
