//! Convolutions on CPUs in 32-bit floats, for training and inference, as operations of Burn; and what
//! networks do between them: batch and layer normalisation, GELU and other smooth activations, pooling, resizing, softmax,
//! cross entropy and the highest channel.
//!
//! # Which path computes what
//!
//! | convolution | path |
//! |---|---|
//! | 3x3, stride 1, any dilation and padding, at least 16 channels in and out | Winograd's F(4x4, 3x3) |
//! | one kernel per channel, any size, stride and dilation | rows of padded planes |
//! | few channels in (16 to 256 products a place), as in a network's first layer | packed weights times rows of padded planes |
//! | any other | packed weights times blocks of patches |
//!
//! Where plain sums are asked for, the other paths take the first one's convolutions.
//!
//! Pictures are `[batch, channels, height, width]` in and out. What a processor can do is asked at run
//! time, so that one binary serves all: AVX-512, AVX2 with FMA, NEON, or portable code.
//! `KSHOT_KERNELS=portable`, `avx2`, `avx512` or `neon` forces one. Threads are rayon's. How work is cut depends on shapes alone: results are the same bits for any thread count.
//!
//! # Error
//! Largest difference from 64 bits over the largest value, for numbers in -1..1 and up to 130 channels,
//! forward and gradients (tested): below 1e-5 for Winograd, below 3e-6 for the others. [`Precision`]
//! chooses plain sums. [`Conv2d`] in bf16: below 1e-2 of 32 bits, and below 1e-5 of the product of the rounded operands (tested, but on no processor with AVX512_BF16).
//!
//! # Memory
//! No path gathers the patches of a whole picture. Besides operands and results a convolution takes at
//! most 24 MiB, 6 MiB for each thread and five times its weight (tested). Threads keep their buffers for
//! later calls, up to 96 MiB each. Results are fresh memory: an allocator that keeps its pages, such as
//! mimalloc (with the feature `mimalloc`, `keep_pages` tells it to), is worth more than any of these kernels.

mod activate;
mod argmax;
mod average;
mod conv2d;
mod dense;
mod depthwise;
mod extension;
mod gelu;
mod geometry;
#[cfg(feature = "mimalloc")]
mod heap;
mod inference;
mod layer_norm;
mod layout;
mod micro;
mod norm;
mod packed;
mod panels;
mod patches;
mod pointwise;
mod pool;
mod precision;
mod resize;
mod scale;
mod scatter;
mod scratch;
mod shared;
mod simd;
mod softmax;
mod stem;
mod sums;
mod windows;
mod winograd;

pub use extension::{
    AveragePool, KernelBackend, NormOptions, add_activated, avg_pool2d, batch_norm,
    batch_norm_layer, bilinear, conv_transpose2d, conv2d, conv2d_activated, cross_entropy2d,
    doubled, gelu, instance_norm, layer_norm2d, log_softmax2d, max_pool2d, max_unpool2d, pointwise,
    scale_kernels, softmax2d,
};
pub use geometry::{Geometry, Pads, Refused};
#[cfg(feature = "mimalloc")]
pub use heap::keep_pages;
pub use inference::Conv2d;
pub use norm::{Affine, Gradients, Planes, Statistics};
pub use pointwise::Pointwise;
pub use precision::{NoBf16, Precision};
pub use resize::Resize;
pub use softmax::Channels;
pub use windows::Windows;

/// The examples of the readme, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The same on slices, without Burn.
pub mod slices {
    pub use crate::activate::{activation_gradient, add_activated};
    pub use crate::argmax::argmax;
    pub use crate::average::{avg_pool, avg_pool_gradient};
    pub use crate::conv2d::{bias_gradient, forward, input_gradient, weight_gradient};
    pub use crate::gelu::{gelu, gelu_gradient};
    pub use crate::layer_norm::{layer_norm, layer_norm_gradients};
    pub use crate::norm::{batch_norm, batch_norm_gradients};
    pub use crate::pointwise::{pointwise, pointwise_gradient};
    pub use crate::pool::{max_pool, max_pool_gradient};
    pub use crate::resize::{resize, resize_gradient};
    pub use crate::scale::{scale_gradient, scale_kernels};
    pub use crate::softmax::{cross_entropy, cross_entropy_gradient, softmax, softmax_gradient};
    pub use crate::windows::{
        max_pool_windows, max_pool_windows_gradient, max_pool_windows_picked,
    };
}

/// What follows the convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// Smallest and largest value that passes.
    fn bounds(self) -> (f32, f32) {
        match self {
            Self::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }
}
