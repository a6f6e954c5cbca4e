//! Weights inside this binary, of the feature `embedded-weights`: see `assets/README.md`.

use std::path::Path;

use burn::prelude::Device;

use super::apply;
use super::state::StateDict;
use crate::encoder::{Encoder, EncoderConfig};
use crate::error::Result;
use crate::hash;

/// The encoder where none is named.
pub const DEFAULT: &str = "efficientnet-lite0";

/// Weights of ImageNet, partly in half precision, as they were published (names and head included).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// The encoder they are for.
    pub encoder: &'static str,
    /// The file, safetensors.
    pub bytes: &'static [u8],
}

/// The table: one line a file.
#[cfg(feature = "embedded-weights")]
const ALL: &[BuiltIn] = &[
    BuiltIn {
        encoder: "efficientnet-lite0",
        bytes: include_bytes!("../../../../assets/efficientnet-lite0.safetensors"),
    },
    BuiltIn {
        encoder: "efficientnet-lite2",
        bytes: include_bytes!("../../../../assets/efficientnet-lite2.safetensors"),
    },
];
#[cfg(not(feature = "embedded-weights"))]
const ALL: &[BuiltIn] = &[];

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltIn").field("encoder", &self.encoder).finish_non_exhaustive()
    }
}

impl BuiltIn {
    /// All that this build has.
    pub fn all() -> &'static [Self] {
        ALL
    }

    /// Those of an encoder, if this build has them.
    pub fn find(encoder: &str) -> Option<&'static Self> {
        ALL.iter().find(|built_in| built_in.encoder == encoder)
    }

    /// The tensors.
    ///
    /// # Errors
    /// None in a build whose assets are whole.
    pub fn state(&self) -> Result<StateDict> {
        let name = format!("{}.safetensors (built in)", self.encoder);
        StateDict::from_safetensors(self.bytes, Path::new(&name))
    }

    /// The SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> String {
        hash::of_bytes(self.bytes)
    }

    /// The encoder with these weights.
    ///
    /// # Errors
    /// None in a build whose assets are whole.
    pub fn load(&self, device: &Device) -> Result<Encoder> {
        let config: EncoderConfig = self.encoder.parse()?;
        apply::into_encoder(&config, &self.state()?, device)
    }
}
