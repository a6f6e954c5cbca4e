//! DINOv2: vision transformers trained without labels, whose patches' features suit dense prediction.
//!
//! - Paper: Oquab et al., *DINOv2: Learning Robust Visual Features without Supervision*, 2023,
//!   <https://arxiv.org/abs/2304.07193>; with registers: Darcet et al., *Vision Transformers Need Registers*, 2023,
//!   <https://arxiv.org/abs/2309.16588>
//! - Weights: timm's names and those of the authors' files, which differ in registers alone: there the class token's
//!   position is a tensor of its own, where timm has added it to the token; `class_position = true` reads the authors'
//! - Positions at other grids than 37 x 37 as the authors' code does: without registers by scales of a tenth of a patch more
//!   and no antialias, with registers antialiased; timm's takes the latter for both

use serde::{Deserialize, Serialize};

use super::{Pool, VitConfig, VitFamily};
use crate::encoder::{About, Normalization, Preset};
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
    const fn shaped(base: VitConfig) -> Self {
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
}

impl VitFamily for DinoV2 {
    type Options = DinoV2Options;

    const ABOUT: About = About {
        title: "DINOv2",
        paper: "DINOv2: Learning Robust Visual Features without Supervision",
        year: 2023,
        url: "https://arxiv.org/abs/2304.07193",
    };

    const PRESETS: &'static [Preset<Self>] = &[
        Preset {
            name: "dinov2-vit-small-14",
            config: Self::shaped(VitConfig::SMALL),
            note: "trained without labels: strong features for few labels, slow on a CPU",
            parameters: 22_056_192,
        },
        Preset {
            name: "dinov2-vit-base-14",
            config: Self::shaped(VitConfig::BASE),
            note: "dinov2-vit-small-14, four times as large",
            parameters: 86_579_712,
        },
        Preset {
            name: "dinov2-vit-small-14-reg4",
            config: Self::shaped(VitConfig::SMALL).registered(),
            note: "dinov2-vit-small-14 with registers: cleaner maps",
            parameters: 22_057_344,
        },
        Preset {
            name: "dinov2-vit-base-14-reg4",
            config: Self::shaped(VitConfig::BASE).registered(),
            note: "dinov2-vit-base-14 with registers: cleaner maps",
            parameters: 86_582_016,
        },
        Preset {
            name: "dinov2-test-tiny",
            config: Self::shaped(VitConfig { width: 16, depth: 2, heads: 2, ..VitConfig::TINY })
                .with_grid(4)
                .registered(),
            note: "for tests",
            parameters: 16_416,
        },
    ];

    const PATCH: &'static [usize; 1] = &[14];
    const NORMALIZATION: Normalization = Normalization::IMAGENET;

    fn of(config: VitConfig) -> Self {
        Self(config)
    }

    fn config(&self) -> VitConfig {
        self.0
    }

    fn own(&self) -> DinoV2Options {
        DinoV2Options { pool: self.0.pool, class_position: self.0.class_position }
    }

    fn with(config: VitConfig, options: DinoV2Options) -> VitConfig {
        let DinoV2Options { pool, class_position } = options;
        VitConfig { pool, class_position, ..config }
    }
}

impl DinoV2 {
    /// The same with learnt positions of another grid.
    const fn with_grid(self, grid: usize) -> Self {
        Self(VitConfig { grid, ..self.0 })
    }
}
