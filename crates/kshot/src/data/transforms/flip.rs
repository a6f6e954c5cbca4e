//! `flip`: pictures are mirrored.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Map, Pair, check_range};
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

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let size = pair.size();
        if self.horizontal > 0.0 && random.random_bool(self.horizontal.min(1.0)) {
            pair.moved(size, Map::mirror(0, size[0]));
        }
        if self.vertical > 0.0 && random.random_bool(self.vertical.min(1.0)) {
            pair.moved(size, Map::mirror(1, size[1]));
        }
        Ok(())
    }
}
