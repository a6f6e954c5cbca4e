//! Convolutions on CPUs in 32-bit floats, for training and inference, as operations of Burn.
//!
//! # Which path computes what
//!
//! | convolution | path |
//! |---|---|
//! | one kernel per channel, any size, stride and dilation | rows of padded planes (`depthwise`) |
//! | any other | matrix products over blocks of pixels (`dense`) |
//!
//! Pictures are `[batch, channels, height, width]` in and out. What a processor can do is asked at run
//! time, so that one binary serves all; `KSHOT_KERNELS=portable` or `avx2` forces a level. Threads are
//! rayon's. How work is cut depends on shapes alone: results are the same bits for any thread count.
//!
//! # Error
//! Against 64 bits, as largest difference over largest value, for sums of up to 1200 products of numbers
//! in -1..1: below 1e-5 for every path.

mod conv2d;
mod dense;
mod depthwise;
mod extension;
mod geometry;
mod inference;
mod patches;
mod scratch;
mod shared;
mod simd;

pub use conv2d::{bias_gradient, forward, input_gradient, weight_gradient};
pub use extension::{KernelBackend, conv2d};
pub use geometry::{Geometry, Pads, Refused};
pub use inference::Conv2d;

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
