//! Decoders: networks that turn an encoder's feature maps into a class for each pixel.

pub mod unet;

pub use unet::{UNet, UNetConfig};
