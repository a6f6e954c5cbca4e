//! Layers that every encoder and decoder is made of: the one place convolutions pass through.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod dropout;
pub mod dual;
pub mod ema;
pub mod instance_norm;
pub mod layer_norm;
pub mod linear;
pub mod lora;
pub mod non_local;
pub mod norm;
pub mod pool;
pub mod positions;
pub mod preactivation;
pub mod squeeze_excite;
pub mod transformer;
pub mod unpool;
pub mod weights;

pub use activation::ActivationFunction;
use burn::prelude::*;
use burn::tensor::ops::{AvgPoolOptions, PadMode};
pub use conv::{Activation, Conv, ConvConfig, ConvNormAct, Padding, conv2d};
pub use dropout::Dropout;
pub use instance_norm::{ConvInstanceNorm, InstanceNorm};
/// Plain sums in every convolution from now on (slower, and three times closer to the exact result), and
/// whether that was chosen.
pub use kshot_kernels::{NoBf16, Precision};
pub use layer_norm::LayerNorm;
pub use norm::BatchNorm;
pub use pool::adaptive_average;
pub use preactivation::{NormRelu, NormReluConv};
pub use squeeze_excite::SqueezeExcite;

/// The mean over the pixels, `[batch, channels, height, width]` to `[batch, channels, 1, 1]`.
pub fn global_average(maps: Tensor<4>) -> Tensor<4> {
    let [.., height, width] = maps.dims();
    kshot_kernels::avg_pool2d(maps, AvgPoolOptions::new([height, width]))
}

/// Whether a tensor lies on the CPU, where its values can be read at no cost.
pub(crate) fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex()
}

/// The numbers of a tensor of labels.
pub(crate) fn cpu_labels<const D: usize>(labels: Tensor<D, Int>) -> Vec<i64> {
    let data = labels.into_data();
    match data.as_slice::<i64>() {
        Ok(values) => values.to_vec(),
        // GPUs have labels of 32 bits.
        Err(_) => data.iter::<i64>().collect(),
    }
}

/// The values of a tensor as they lie on the CPU, without a copy where nobody else holds them.
pub(crate) fn cpu_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.into_data().try_into_vec::<f32>() {
        Ok(values) => values,
        // Every tensor of a network is made as f32; a mismatch is a bug, not a user's mistake.
        Err(error) => panic!("networks are f32: {error:?}"),
    }
}

/// Pictures mirrored at their border on the right and below until they have the size; where that takes as much as the
/// picture, the border is repeated.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, size[0], size[1]]`
///
/// # Panics
/// If the size is smaller.
pub fn grown(images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [.., height, width] = images.dims();
    let [rows, columns] = [size[0] - height, size[1] - width];
    let mode = |more: usize, side: usize| {
        if more < side { PadMode::Reflect } else { PadMode::Edge }
    };
    let taller = match rows {
        0 => images,
        _ => images.pad([(0, rows), (0, 0)], mode(rows, height)),
    };
    match columns {
        0 => taller,
        _ => taller.pad([(0, 0), (0, columns)], mode(columns, width)),
    }
}
