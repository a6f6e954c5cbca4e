//! `flip`: pictures are mirrored.

use std::borrow::Cow;

use kshot_data::mask::Mask;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range};
use crate::error::Result;

/// How often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Flip {
    /// Probability of exchanging left and right.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub horizontal: f64,
    /// Probability of exchanging top and bottom.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub vertical: f64,
}

impl Default for Flip {
    fn default() -> Self {
        Self { horizontal: 0.5, vertical: 0.0 }
    }
}

impl Change for Flip {
    const NAME: &'static str = "flip";
    const SUMMARY: &'static str = "mirrored left to right or upside down";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "horizontal", [self.horizontal; 2], [0.0, 1.0])?;
        check_range(Self::NAME, "vertical", [self.vertical; 2], [0.0, 1.0])
    }

    fn apply<'a>(&self, mut pair: Pair<'a>, random: &mut ChaCha8Rng) -> Result<Pair<'a>> {
        let [width, height] = pair.size();
        if self.horizontal > 0.0 && random.random_bool(self.horizontal.min(1.0)) {
            image::imageops::flip_horizontal_in_place(pair.image.to_mut());
            pair.mask = pair.mask.map(|mask| Cow::Owned(mask.mirrored()));
            pair.focus = pair.focus.map(|[x, y]| [width as f64 - x, y]);
        }
        if self.vertical > 0.0 && random.random_bool(self.vertical.min(1.0)) {
            image::imageops::flip_vertical_in_place(pair.image.to_mut());
            pair.mask = pair.mask.map(|mask| {
                let pixels = mask.pixels.chunks_exact(width).rev().flatten().copied().collect();
                Cow::Owned(Mask { width, height, pixels })
            });
            pair.focus = pair.focus.map(|[x, y]| [x, height as f64 - y]);
        }
        Ok(pair)
    }
}
