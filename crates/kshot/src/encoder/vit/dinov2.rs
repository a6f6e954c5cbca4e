//! DINOv2: vision transformers trained without labels, whose patches' features suit dense prediction.
//!
//! - Paper: Oquab et al., *DINOv2: Learning Robust Visual Features without Supervision*, 2023,
//!   <https://arxiv.org/abs/2304.07193>; with registers: Darcet et al., *Vision Transformers Need Registers*, 2023,
//!   <https://arxiv.org/abs/2309.16588>
//! - Weights: timm's names and those of the authors' files, which differ in registers alone: there the class token's
//!   position is a tensor of its own, where timm has added it to the token; `class_position = true` reads the authors'
//! - Positions at other grids than 37 x 37 as the authors' code does: without registers by scales of a tenth of a patch more
//!   and no antialias, with registers antialiased; timm's takes the latter for both

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Pool, VisionTransformer, VitConfig};
use crate::encoder::keys::{self, Renamed};
use crate::encoder::{About, Family, Normalization, Preset, options};
use crate::error::Result;
use crate::nn::positions::Interpolation;

/// Settings of a DINOv2, as recipes write them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DinoV2Options {
    /// What stands for the whole picture.
    pub pool: Pool,
    /// Whether the class token has a learnt position too, as in the authors' files.
    pub class_position: bool,
}

/// A [`VitConfig`] of this family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DinoV2(pub VitConfig);

impl DinoV2 {
    /// Patches of 14 pixels, a grid of 37, small layer scales.
    const fn of(base: VitConfig) -> Self {
        Self(VitConfig {
            patch: 14,
            grid: 37,
            layer_scale: 1e-5,
            interpolation: Interpolation::Offset,
            ..base
        })
    }

    /// The same with four registers.
    const fn registered(self) -> Self {
        Self(VitConfig {
            registers: 4,
            class_position: false,
            interpolation: Interpolation::Antialiased,
            ..self.0
        })
    }

    fn own(&self) -> DinoV2Options {
        DinoV2Options { pool: self.0.pool, class_position: self.0.class_position }
    }
}

impl Family for DinoV2 {
    type Network = VisionTransformer;

    const ABOUT: About = About {
        title: "DINOv2",
        paper: "DINOv2: Learning Robust Visual Features without Supervision",
        year: 2023,
        url: "https://arxiv.org/abs/2304.07193",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "dinov2-vit-small-14",
            config: Self::of(VitConfig::SMALL),
            note: "trained without labels: strong features for few labels, slow on a CPU",
            parameters: 22_056_192,
        },
        Preset {
            name: "dinov2-vit-base-14",
            config: Self::of(VitConfig::BASE),
            note: "dinov2-vit-small-14, four times as large",
            parameters: 86_579_712,
        },
        Preset {
            name: "dinov2-vit-small-14-reg4",
            config: Self::of(VitConfig::SMALL).registered(),
            note: "dinov2-vit-small-14 with registers: cleaner maps",
            parameters: 22_057_344,
        },
        Preset {
            name: "dinov2-vit-base-14-reg4",
            config: Self::of(VitConfig::BASE).registered(),
            note: "dinov2-vit-base-14 with registers: cleaner maps",
            parameters: 86_582_016,
        },
        Preset {
            name: "dinov2-test-tiny",
            config: Self::of(VitConfig { width: 16, depth: 2, heads: 2, ..VitConfig::TINY })
                .with_grid(4)
                .registered(),
            note: "for tests",
            parameters: 16_416,
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
        &[14]
    }

    fn with_output_stride(self, _: usize) -> Self {
        self
    }

    fn options(&self) -> toml::Table {
        options::written(&self.own())
    }

    fn option_schemas() -> serde_json::Map<String, serde_json::Value> {
        options::schemas::<DinoV2Options>()
    }

    fn with_options(self, changes: toml::Table) -> Result<Self> {
        let DinoV2Options { pool, class_position } = options::changed(&self.own(), changes)?;
        Ok(Self(VitConfig { pool, class_position, ..self.0 }))
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

impl DinoV2 {
    /// The same with learnt positions of another grid.
    const fn with_grid(self, grid: usize) -> Self {
        Self(VitConfig { grid, ..self.0 })
    }
}
