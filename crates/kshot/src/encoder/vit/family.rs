//! What the families of vision transformers differ in, and all that they share as encoders.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{VisionTransformer, VitConfig};
use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Family, Normalization, Preset, options};
use crate::error::Result;

/// A family of vision transformers: a [`VitConfig`] within bounds, with some of its fields as settings.
pub trait VitFamily: Copy + PartialEq + 'static {
    /// The settings, as recipes write them.
    type Options: Serialize + DeserializeOwned + JsonSchema;

    /// Where it comes from.
    const ABOUT: About;
    /// Its networks by name.
    const PRESETS: &'static [Preset<Self>];
    /// Its patches' only side, in pixels.
    const PATCH: &'static [usize; 1];
    /// What its published weights expect of pixels.
    const NORMALIZATION: Normalization;

    /// A network of this family.
    fn of(config: VitConfig) -> Self;

    /// The network.
    fn config(&self) -> VitConfig;

    /// Its settings.
    fn own(&self) -> Self::Options;

    /// With other settings.
    fn with(config: VitConfig, options: Self::Options) -> VitConfig;
}

impl<F: VitFamily> Family for F {
    type Network = VisionTransformer;

    const ABOUT: About = F::ABOUT;
    const PRESETS: &'static [Preset<Self>] = F::PRESETS;

    fn init(&self, device: &Device) -> VisionTransformer {
        self.config().init(device)
    }

    fn in_channels(&self) -> usize {
        self.config().in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self::of(VitConfig { in_channels, ..self.config() })
    }

    fn channels(&self) -> Vec<usize> {
        self.config().channels()
    }

    fn strides(&self) -> Vec<usize> {
        self.config().strides()
    }

    fn attention_heads(&self) -> usize {
        self.config().heads
    }

    fn output_strides(&self) -> &'static [usize] {
        F::PATCH
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    fn options(&self) -> toml::Table {
        options::written(&self.own())
    }

    fn option_schemas() -> serde_json::Map<String, serde_json::Value> {
        options::schemas::<F::Options>()
    }

    fn with_options(self, changes: toml::Table) -> Result<Self> {
        let options = options::changed(&self.own(), changes)?;
        Ok(Self::of(Self::with(self.config(), options)))
    }

    fn normalization(&self) -> Normalization {
        F::NORMALIZATION
    }

    fn optimize(network: VisionTransformer) -> VisionTransformer {
        network.fold()
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::vit::rename(foreign, self.config().bias)
    }

    const FIRST_KERNELS: &'static str = "patches.weight";
}
