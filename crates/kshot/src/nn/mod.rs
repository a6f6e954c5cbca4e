//! Layers that every encoder and decoder is made of: the one place convolutions pass through.

pub mod conv;
pub mod dual;
pub mod norm;
pub mod weights;

pub use conv::{Activation, Conv, ConvConfig, ConvNorm, Padding, conv2d};
