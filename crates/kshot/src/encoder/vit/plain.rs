//! ViT: the vision transformer as it was published, and with other positions.
//!
//! - Paper: Dosovitskiy et al., *An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale*, 2020,
//!   <https://arxiv.org/abs/2010.11929>; the sizes Ti and S are DeiT's (Touvron et al. 2020, arXiv 2012.12877)
//! - Weights: timm's names; the published ones are AugReg's (Steiner et al. 2021, arXiv 2106.10270), whose pixels are from
//!   -1 to 1

use serde::{Deserialize, Serialize};

use super::{Pool, Positions, VitConfig, VitFamily};
use crate::encoder::{About, Normalization, Preset};

/// Settings of a ViT, as recipes write them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VitOptions {
    /// How tokens know where they are; published weights have learnt positions.
    pub positions: Positions,
    /// What stands for the whole picture.
    pub pool: Pool,
    /// Tokens beside the class token and the patches; published weights have none.
    #[schemars(range(min = 0, max = 64))]
    pub registers: usize,
    /// What the scales of what each part of a block adds start at; 0 for none, as published weights have.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub layer_scale: f64,
}

/// A [`VitConfig`] of this family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vit(pub VitConfig);

impl VitFamily for Vit {
    type Options = VitOptions;

    const ABOUT: About = About {
        title: "ViT",
        paper: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        year: 2020,
        url: "https://arxiv.org/abs/2010.11929",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "vit-tiny-16",
            config: Self(VitConfig::TINY),
            note: "the smallest vision transformer",
            parameters: 5_524_416,
        },
        Preset {
            name: "vit-small-16",
            config: Self(VitConfig::SMALL),
            note: "about as large as resnet50",
            parameters: 21_665_664,
        },
        Preset {
            name: "vit-base-16",
            config: Self(VitConfig::BASE),
            note: "the usual vision transformer of published comparisons",
            parameters: 85_798_656,
        },
        Preset {
            name: "vit-test-tiny",
            config: Self(VitConfig { width: 16, depth: 4, heads: 2, grid: 3, ..VitConfig::TINY }),
            note: "for tests",
            parameters: 25_632,
        },
    ];

    const PATCH: &'static [usize; 1] = &[16];
    const NORMALIZATION: Normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };

    fn of(config: VitConfig) -> Self {
        Self(config)
    }

    fn config(&self) -> VitConfig {
        self.0
    }

    fn own(&self) -> VitOptions {
        let VitConfig { positions, pool, registers, layer_scale, .. } = self.0;
        VitOptions { positions, pool, registers, layer_scale }
    }

    fn with(config: VitConfig, options: VitOptions) -> VitConfig {
        let VitOptions { positions, pool, registers, layer_scale } = options;
        VitConfig { positions, pool, registers, layer_scale, ..config }
    }
}
