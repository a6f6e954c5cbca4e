//! Layers that every encoder and decoder is made of: the one place convolutions pass through.

pub mod conv;

pub use conv::{Conv, ConvConfig, ConvNorm, Padding, conv2d};
