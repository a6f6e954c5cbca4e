//! Published weights: read, renamed, checked and put into our networks, whole or not at all.

pub mod apply;
pub mod catalog;
mod file;
#[cfg(feature = "hub")]
pub mod hub;
mod pickle;
mod prefix;
pub mod segmenter;
pub mod source;
pub mod state;

use std::path::Path;

use burn::prelude::Device;
use state::StateDict;

use crate::encoder::{Encoder, EncoderConfig};
use crate::error::Result;

/// EfficientNet-Lite0's ImageNet weights in half precision: see `assets/README.md`.
#[cfg(feature = "embedded-weights")]
const LITE0: &[u8] = include_bytes!("../../../../assets/efficientnet-lite0.safetensors");

/// The preset whose weights are built in by the feature `embedded-weights`.
pub const EMBEDDED: &str = "efficientnet-lite0";

/// The built-in weights as they were published (names and head included).
///
/// # Errors
/// None in a build whose assets are whole.
#[cfg(feature = "embedded-weights")]
pub fn embedded_state() -> Result<StateDict> {
    StateDict::from_safetensors(LITE0, Path::new("efficientnet-lite0.safetensors (built in)"))
}

/// The built-in weights' file, for its hash.
#[cfg(feature = "embedded-weights")]
pub fn embedded_bytes() -> &'static [u8] {
    LITE0
}

/// EfficientNet-Lite0 with the built-in ImageNet weights.
///
/// # Errors
/// None in a build whose assets are whole.
#[cfg(feature = "embedded-weights")]
pub fn embedded(device: &Device) -> Result<Encoder> {
    let config: EncoderConfig = EMBEDDED.parse()?;
    apply::into_encoder(&config, &embedded_state()?, device)
}

/// The encoder with the weights of a file: `.safetensors`, or `.pth` as PyTorch saves it (zip or
/// legacy pickle), with the names that `keys` knows.
///
/// # Errors
/// When the file cannot be read, is damaged, lacks a tensor of the network, holds one that does not
/// belong to it, or one of another shape; the message names them.
pub fn load(config: &EncoderConfig, path: &Path, device: &Device) -> Result<Encoder> {
    apply::into_encoder(config, &StateDict::read(path)?, device)
}
