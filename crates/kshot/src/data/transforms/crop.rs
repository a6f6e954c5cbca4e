//! `crop`: a random part of a picture, of a given size.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, OutputSize, Pair};
use crate::error::Result;

/// Which part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Crop {
    /// A side, or `[height, width]`, in pixels.
    pub size: OutputSize,
}

impl Default for Crop {
    fn default() -> Self {
        Self { size: OutputSize::Square(256) }
    }
}

impl Change for Crop {
    const NAME: &'static str = "crop";
    const SUMMARY: &'static str =
        "a random part; a smaller picture is put anywhere in it, its border repeated and void";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        self.size.check(Self::NAME)
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let size = self.size.sides();
        let place = match pair.focus() {
            Some(_) => pair.place(size.map(|side| side as f64), random).map(|at| at.round() as i64),
            None => [0, 1].map(|axis| {
                let room = pair.size()[axis] as i64 - size[axis] as i64;
                random.random_range(room.min(0)..=room.max(0))
            }),
        };
        pair.window(size, place);
        Ok(())
    }
}
