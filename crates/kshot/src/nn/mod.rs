//! Layers that every encoder and decoder is made of: the one place convolutions pass through.

pub mod conv;
pub mod dual;
pub mod norm;
pub mod weights;

/// Plain sums in every convolution from now on: slower, and three times closer to the exact result.
pub use kshot_kernels::set_precise;

pub use conv::{Activation, Conv, ConvConfig, ConvNorm, Padding, conv2d};
