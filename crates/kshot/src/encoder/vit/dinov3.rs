//! DINOv3: vision transformers with rotary positions, trained without labels for dense features.
//!
//! - Paper: Siméoni et al., *DINOv3*, 2025, <https://arxiv.org/abs/2508.10104>
//! - Weights: timm's names, without biases of queries, keys and values, since those of the published small and base
//!   networks are zero; and those of the authors' files, which hold such a bias: `qkv_bias = true` reads them (its keys'
//!   part does not count)
//! - Positions: see [`positions`](crate::nn::positions)

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Pool, Positions, VisionTransformer, VitConfig};
use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Family, Normalization, Preset, options};
use crate::error::Result;
use crate::nn::attention::QkvBias;

/// Settings of a DINOv3, as recipes write them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DinoV3Options {
    /// What stands for the whole picture.
    pub pool: Pool,
    /// Whether queries and values have biases, as in the authors' files.
    pub qkv_bias: bool,
}

/// A [`VitConfig`] of this family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DinoV3(pub VitConfig);

impl DinoV3 {
    /// Rotary positions, four registers, small layer scales.
    const fn of(base: VitConfig) -> Self {
        Self(VitConfig {
            bias: QkvBias::None,
            positions: Positions::Rotary,
            registers: 4,
            layer_scale: 1e-5,
            epsilon: 1e-5,
            ..base
        })
    }

    fn own(&self) -> DinoV3Options {
        DinoV3Options { pool: self.0.pool, qkv_bias: self.0.bias == QkvBias::MaskedKeys }
    }
}

impl Family for DinoV3 {
    type Network = VisionTransformer;

    const ABOUT: About = About {
        title: "DINOv3",
        paper: "DINOv3",
        year: 2025,
        url: "https://arxiv.org/abs/2508.10104",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "dinov3-vit-small-16",
            config: Self::of(VitConfig::SMALL),
            note: "trained without labels: strong dense features, slow on a CPU",
            parameters: 21_586_944,
        },
        Preset {
            name: "dinov3-vit-base-16",
            config: Self::of(VitConfig::BASE),
            note: "dinov3-vit-small-16, four times as large",
            parameters: 85_641_216,
        },
        Preset {
            name: "dinov3-test-tiny",
            config: Self::of(VitConfig { width: 16, depth: 2, heads: 2, ..VitConfig::TINY }),
            note: "for tests",
            parameters: 18_944,
        },
    ];

    fn init(&self, device: &Device) -> VisionTransformer {
        self.0.init(device)
    }

    fn in_channels(&self) -> usize {
        self.0.in_channels
    }

    fn with_in_channels(self, in_channels: usize) -> Self {
        Self(VitConfig { in_channels, ..self.0 })
    }

    fn channels(&self) -> Vec<usize> {
        self.0.channels()
    }

    fn strides(&self) -> Vec<usize> {
        self.0.strides()
    }

    /// Its patch only.
    fn output_strides(&self) -> &'static [usize] {
        &[16]
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    fn options(&self) -> toml::Table {
        options::written(&self.own())
    }

    fn option_schemas() -> serde_json::Map<String, serde_json::Value> {
        options::schemas::<DinoV3Options>()
    }

    fn with_options(self, changes: toml::Table) -> Result<Self> {
        let DinoV3Options { pool, qkv_bias } = options::changed(&self.own(), changes)?;
        let bias = if qkv_bias { QkvBias::MaskedKeys } else { QkvBias::None };
        Ok(Self(VitConfig { pool, bias, ..self.0 }))
    }

    fn normalization(&self) -> Normalization {
        Normalization::IMAGENET
    }

    fn optimize(network: VisionTransformer) -> VisionTransformer {
        network.fold()
    }

    fn rename(&self, foreign: &str) -> Renamed {
        keys::vit::rename(foreign, self.0.bias)
    }

    const FIRST_KERNELS: &'static str = "patches.weight";
}
