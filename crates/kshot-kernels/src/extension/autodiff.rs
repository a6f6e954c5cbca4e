//! The kernels on tensors with gradients: each records its step back, in its own file.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;

use super::{
    AutodiffTensor, AveragePool, KernelBackend, NormOptions, add, conv_transpose2d, conv2d, gelu,
    layer_norm, linear, norm, pointwise, pool, scale, softmax, unpool,
};
use crate::{Activation, Conv2d, Geometry, Pads, Pointwise, Resize, Windows};

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

    fn pointwise(values: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self> {
        pointwise::record::<B, C>(values, function)
    }

    fn pointwise_gradient(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Pointwise,
    ) -> FloatTensor<Self> {
        let (values, gradient) = (values.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::pointwise_gradient(values, gradient, function))
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

    fn layer_normalise(
        images: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm::record::<B, C>(images, gamma, beta, epsilon)
    }

    fn layer_normalise_gradients(
        images: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (images, gradient) = (images.into_primitive(), gradient.into_primitive());
        let all = B::layer_normalise_gradients(images, gradient, gamma.into_primitive(), epsilon);
        (AutodiffTensor::new(all.0), AutodiffTensor::new(all.1), AutodiffTensor::new(all.2))
    }

    fn gelu_exact(values: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::record::<B, C>(values)
    }

    fn gelu_exact_gradient(
        values: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (values, gradient) = (values.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::gelu_exact_gradient(values, gradient))
    }

    fn scale(weight: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self> {
        scale::record::<B, C>(weight, scale)
    }

    fn scale_gradient(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let (weight, gradient) = (weight.into_primitive(), gradient.into_primitive());
        AutodiffTensor::new(B::scale_gradient(weight, gradient))
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

    fn unpool(
        values: FloatTensor<Self>,
        images: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        unpool::record::<B, C>(values, images, windows)
    }

    fn unpool_gradient(
        gradient: FloatTensor<Self>,
        images: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        let (gradient, images) = (gradient.into_primitive(), images.into_primitive());
        AutodiffTensor::new(B::unpool_gradient(gradient, images, windows))
    }

    fn average(images: FloatTensor<Self>, average: AveragePool) -> FloatTensor<Self> {
        linear::record::<B, C, _>(images, average, B::average, B::average_gradient)
    }

    fn average_gradient(gradient: FloatTensor<Self>, average: AveragePool) -> FloatTensor<Self> {
        AutodiffTensor::new(B::average_gradient(gradient.into_primitive(), average))
    }

    fn resize(images: FloatTensor<Self>, resize: Resize) -> FloatTensor<Self> {
        linear::record::<B, C, _>(images, resize, B::resize, B::resize_gradient)
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
