//! The kernels on tensors of the CPU.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;

use super::{AveragePool, KernelBackend, NormOptions};
use crate::{
    Activation, Channels, Conv2d, Geometry, Pads, Planes, Pointwise, Resize, Windows, slices,
};

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
        // In the place of one that nobody else needs; where both are needed, a copy is made.
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

    fn pointwise(values: FlexTensor, function: Pointwise) -> FlexTensor {
        // In their own place where nobody else needs them; else a copy is made.
        let mut values = contiguous(values);
        slices::pointwise(values.storage_mut(), function);
        values
    }

    fn pointwise_gradient(
        values: FlexTensor,
        gradient: FlexTensor,
        function: Pointwise,
    ) -> FlexTensor {
        let (values, mut gradient) = (contiguous(values), contiguous(gradient));
        slices::pointwise_gradient(values.storage(), gradient.storage_mut(), function);
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

    fn layer_normalise(
        images: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        let [images, gamma, beta] = [images, gamma, beta].map(contiguous);
        let (shape, channels) = channels(&images);
        let affine = [gamma.storage(), beta.storage()];
        tensor(slices::layer_norm(&channels, images.storage(), affine, epsilon), shape)
    }

    fn layer_normalise_gradients(
        images: FlexTensor,
        gradient: FlexTensor,
        gamma: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [images, gradient, gamma] = [images, gradient, gamma].map(contiguous);
        let (shape, channels) = channels(&images);
        let (values, back) = (images.storage(), gradient.storage());
        let [images, gamma, beta] =
            slices::layer_norm_gradients(&channels, values, back, gamma.storage(), epsilon);
        let each = [channels.channels];
        (tensor(images, shape), tensor(gamma, each), tensor(beta, each))
    }

    fn gelu_exact(values: FlexTensor) -> FlexTensor {
        let mut values = contiguous(values);
        slices::gelu(values.storage_mut());
        values
    }

    fn gelu_exact_gradient(values: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (values, mut gradient) = (contiguous(values), contiguous(gradient));
        slices::gelu_gradient(values.storage(), gradient.storage_mut());
        gradient
    }

    fn scale(weight: FlexTensor, scale: FlexTensor) -> FlexTensor {
        let (weight, scale) = (contiguous(weight), contiguous(scale));
        tensor(slices::scale_kernels(weight.storage(), scale.storage()), extents(&weight))
    }

    fn scale_gradient(weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (weight, gradient) = (contiguous(weight), contiguous(gradient));
        let [factors, ..] = extents(&weight);
        let values = slices::scale_gradient(weight.storage(), gradient.storage(), factors);
        tensor(values, [factors])
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

    fn unpool(values: FlexTensor, images: FlexTensor, windows: Windows) -> FlexTensor {
        // Where pooling sends a gradient is where it found the value.
        Self::pool_windows_gradient(images, values, windows)
    }

    fn unpool_gradient(gradient: FlexTensor, images: FlexTensor, windows: Windows) -> FlexTensor {
        let (images, gradient) = (contiguous(images), contiguous(gradient));
        let [batch, channels, ..] = extents(&images);
        let [height, width] = windows.out();
        let (values, given) = (images.storage(), gradient.storage());
        let result = slices::max_pool_windows_picked(&windows, values, given);
        tensor(result, [batch, channels, height, width])
    }

    fn average(images: FlexTensor, AveragePool { windows, padding }: AveragePool) -> FlexTensor {
        let images = contiguous(images);
        let [batch, channels, ..] = extents(&images);
        let [height, width] = windows.out();
        let result = slices::avg_pool(&windows, images.storage(), padding);
        tensor(result, [batch, channels, height, width])
    }

    fn average_gradient(
        gradient: FlexTensor,
        AveragePool { windows, padding }: AveragePool,
    ) -> FlexTensor {
        let gradient = contiguous(gradient);
        let [batch, channels, ..] = extents(&gradient);
        let [height, width] = windows.size();
        let result = slices::avg_pool_gradient(&windows, gradient.storage(), padding);
        tensor(result, [batch, channels, height, width])
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
