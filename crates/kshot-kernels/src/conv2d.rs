//! The convolution and its gradients on slices: which path takes which shape.

use crate::geometry::Geometry;
use crate::packed::Packed;
use crate::scratch::fresh;
use crate::{Activation, dense, depthwise, scatter, stem, winograd};

/// Who computes a convolution.
enum Path {
    Winograd,
    Depthwise,
    Stem,
    Dense,
}

impl Path {
    fn of(geometry: &Geometry) -> Self {
        if winograd::fits(geometry) {
            Self::Winograd
        } else if depthwise::suits(geometry.groups(), geometry.channels()) {
            Self::Depthwise
        } else if stem::fits(geometry) {
            Self::Stem
        } else {
            Self::Dense
        }
    }
}

/// Whether products of matrices are all that is ever asked of such kernels.
pub(crate) fn is_product(
    kernel: [usize; 2],
    stride: [usize; 2],
    groups: usize,
    channels: [usize; 2],
) -> bool {
    !winograd::suits(kernel, stride, groups, channels) && !depthwise::suits(groups, channels)
}

/// The convolution of `images`, plus `bias` for each channel, through the activation.
///
/// # Shapes
/// - `images`: `[batch, channels_in, height, width]`
/// - `weight`: `[channels_out, channels_in / groups, kernel_height, kernel_width]`
/// - `bias`: `[channels_out]`
/// - returns `[batch, channels_out, height', width']`
///
/// # Panics
/// If an operand's length is not what the geometry says.
pub fn forward(
    geometry: &Geometry,
    images: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    if let Some(bias) = bias {
        assert_eq!(bias.len(), geometry.channels()[1], "floats of the bias of {geometry:?}");
    }
    let path = match Path::of(geometry) {
        Path::Winograd => winograd::forward,
        Path::Depthwise => depthwise::forward,
        Path::Stem => stem::forward,
        Path::Dense => dense::forward,
    };
    fresh(geometry.result_len(), |result| {
        path(geometry, images, weight, bias, activation, result);
    })
}

/// [`forward`] with a packed weight, where [`is_product`] says so; in bf16 if asked for, where it has many
/// products.
pub(crate) fn forward_packed(
    geometry: &Geometry,
    images: &[f32],
    weight: &Packed,
    bf16: bool,
    bias: Option<&[f32]>,
    activation: Activation,
) -> Vec<f32> {
    fresh(geometry.result_len(), |result| {
        if stem::fits(geometry) {
            stem::forward_packed(geometry, images, weight.floats(), bias, activation, result);
        } else {
            dense::forward_packed(geometry, images, weight.panels(bf16), bias, activation, result);
        }
    })
}

/// The gradient with respect to the images, from the gradient of the result.
///
/// # Panics
/// If an operand's length is not what the geometry says.
pub fn input_gradient(geometry: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let path = match Path::of(geometry) {
        Path::Winograd => winograd::input_gradient,
        Path::Depthwise => depthwise::input_gradient,
        Path::Stem | Path::Dense if scatter::fits(geometry) => scatter::input_gradient,
        Path::Stem | Path::Dense => dense::input_gradient,
    };
    fresh(geometry.images_len(), |result| path(geometry, gradient, weight, result))
}

/// The gradient with respect to the weight, from the gradient of the result.
///
/// # Panics
/// If an operand's length is not what the geometry says.
pub fn weight_gradient(geometry: &Geometry, images: &[f32], gradient: &[f32]) -> Vec<f32> {
    let path = match Path::of(geometry) {
        Path::Winograd => winograd::weight_gradient,
        Path::Depthwise => depthwise::weight_gradient,
        Path::Stem => stem::weight_gradient,
        Path::Dense => dense::weight_gradient,
    };
    fresh(geometry.weight_len(), |result| path(geometry, images, gradient, result))
}

/// The gradient with respect to the bias: the result's gradient summed over pictures and pixels.
///
/// # Panics
/// If the gradient's length is not what the geometry says.
pub fn bias_gradient(geometry: &Geometry, gradient: &[f32]) -> Vec<f32> {
    fresh(geometry.channels()[1], |result| dense::bias_gradient(geometry, gradient, result))
}
