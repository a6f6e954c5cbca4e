//! Published weights: read, renamed, checked and put into our networks, whole or not at all.

pub mod apply;
pub mod built_in;
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

pub use built_in::DEFAULT;
use burn::prelude::Device;
use state::StateDict;

use crate::encoder::{Encoder, EncoderConfig};
use crate::error::Result;

/// The encoder with the weights of a file: `.safetensors`, or `.pth` as PyTorch saves it (zip or
/// legacy pickle), with the names that `keys` knows.
///
/// # Errors
/// When the file cannot be read, is damaged, lacks a tensor of the network, holds one that does not
/// belong to it, or one of another shape; the message names them.
pub fn load(config: &EncoderConfig, path: &Path, device: &Device) -> Result<Encoder> {
    apply::into_encoder(config, &StateDict::read(path)?, device)
}
