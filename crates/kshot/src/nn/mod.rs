//! Layers that every encoder and decoder is made of: the one place convolutions pass through.

pub mod attention;
pub mod conv;
pub mod dual;
pub mod layer_norm;
pub mod linear;
pub mod non_local;
pub mod norm;
pub mod positions;
pub mod transformer;
pub mod weights;

use burn::prelude::*;
use burn::tensor::ops::AvgPoolOptions;
pub use conv::{Activation, Conv, ConvConfig, ConvNormAct, Padding, conv2d};
/// Plain sums in every convolution from now on (slower, and three times closer to the exact result), and
/// whether that was chosen.
pub use kshot_kernels::{NoBf16, Precision};
pub use layer_norm::LayerNorm;
pub use norm::BatchNorm;

/// The mean over the pixels, `[batch, channels, height, width]` to `[batch, channels, 1, 1]`.
pub fn global_average(maps: Tensor<4>) -> Tensor<4> {
    let [.., height, width] = maps.dims();
    kshot_kernels::avg_pool2d(maps, AvgPoolOptions::new([height, width]))
}

/// The values of a tensor as they lie on the CPU, without a copy where nobody else holds them.
pub(crate) fn cpu_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.into_data().try_into_vec::<f32>() {
        Ok(values) => values,
        // Every tensor of a network is made as f32; a mismatch is a bug, not a user's mistake.
        Err(error) => panic!("networks are f32: {error:?}"),
    }
}
