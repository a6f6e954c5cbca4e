//! `shift`: pictures are moved by whole pixels.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, wrong};
use crate::error::Result;

/// How far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shift {
    /// Pixels at most, each way.
    #[schemars(range(min = 0, max = 8192))]
    pub pixels: usize,
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Shift {
    fn default() -> Self {
        Self { pixels: 4, probability: 1.0 }
    }
}

impl Change for Shift {
    const NAME: &'static str = "shift";
    const SUMMARY: &'static str =
        "moved by a few pixels; what comes in repeats the edge and is void";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        match self.pixels {
            0..=8192 => Ok(()),
            pixels => wrong(Self::NAME, &format!("{pixels} pixels; valid are 0 to 8192")),
        }
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        if self.pixels == 0 {
            return Ok(());
        }
        let most = self.pixels as i64;
        let [down, right] = [(); 2].map(|()| random.random_range(-most..=most));
        let size = pair.size();
        pair.window(size, [-right, -down]);
        Ok(())
    }
}
