//! DINOv3: vision transformers with rotary positions, trained without labels for dense features.
//!
//! - Paper: Siméoni et al., *DINOv3*, 2025, <https://arxiv.org/abs/2508.10104>
//! - Weights: timm's names, without biases of queries, keys and values, since those of the published small and base
//!   networks are zero; and those of the authors' files, which hold such a bias: `qkv_bias = true` reads them (its keys'
//!   part does not count)
//! - Positions: see [`positions`](crate::nn::positions)

use serde::{Deserialize, Serialize};

use super::{Pool, Positions, VitConfig, VitFamily};
use crate::encoder::{About, Normalization, Preset};
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
    const fn shaped(base: VitConfig) -> Self {
        Self(VitConfig {
            bias: QkvBias::None,
            positions: Positions::Rotary,
            registers: 4,
            layer_scale: 1e-5,
            epsilon: 1e-5,
            ..base
        })
    }
}

impl VitFamily for DinoV3 {
    type Options = DinoV3Options;

    const ABOUT: About = About {
        title: "DINOv3",
        paper: "DINOv3",
        year: 2025,
        url: "https://arxiv.org/abs/2508.10104",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "dinov3-vit-small-16",
            config: Self::shaped(VitConfig::SMALL),
            note: "trained without labels: strong dense features, slow on a CPU",
            parameters: 21_586_944,
        },
        Preset {
            name: "dinov3-vit-base-16",
            config: Self::shaped(VitConfig::BASE),
            note: "dinov3-vit-small-16, four times as large",
            parameters: 85_641_216,
        },
        Preset {
            name: "dinov3-test-tiny",
            config: Self::shaped(VitConfig { width: 16, depth: 2, heads: 2, ..VitConfig::TINY }),
            note: "for tests",
            parameters: 18_944,
        },
    ];

    const PATCH: &'static [usize; 1] = &[16];
    const NORMALIZATION: Normalization = Normalization::IMAGENET;

    fn of(config: VitConfig) -> Self {
        Self(config)
    }

    fn config(&self) -> VitConfig {
        self.0
    }

    fn own(&self) -> DinoV3Options {
        DinoV3Options { pool: self.0.pool, qkv_bias: self.0.bias == QkvBias::MaskedKeys }
    }

    fn with(config: VitConfig, options: DinoV3Options) -> VitConfig {
        let DinoV3Options { pool, qkv_bias } = options;
        let bias = if qkv_bias { QkvBias::MaskedKeys } else { QkvBias::None };
        VitConfig { pool, bias, ..config }
    }
}
