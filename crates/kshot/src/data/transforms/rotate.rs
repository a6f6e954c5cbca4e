//! `rotate`: pictures are turned about their centre.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Map, Pair, check_range, draw};
use crate::error::Result;

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotate {
    /// Degrees, counter-clockwise; the size stays.
    #[schemars(inner(range(min = -360.0, max = 360.0)))]
    pub degrees: [f64; 2],
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { degrees: [-10.0, 10.0], probability: 1.0 }
    }
}

impl Change for Rotate {
    const NAME: &'static str = "rotate";
    const SUMMARY: &'static str = "turned about the centre; corners repeat the edge and are void";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "degrees", self.degrees, [-360.0, 360.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let degrees = draw(self.degrees, random);
        if degrees == 0.0 {
            return Ok(());
        }
        let size = pair.size();
        pair.moved(size, Map::turn(size, size.map(|side| side as f64 / 2.0), degrees, 1.0));
        Ok(())
    }
}
