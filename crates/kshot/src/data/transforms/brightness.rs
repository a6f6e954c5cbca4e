//! `brightness`: levels are multiplied.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::levels::{replace, table};
use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Brightness {
    /// Factors of all levels.
    #[schemars(inner(range(min = 0.0, max = 10.0)))]
    pub range: [f64; 2],
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Brightness {
    fn default() -> Self {
        Self { range: [0.75, 1.25], probability: 1.0 }
    }
}

impl Change for Brightness {
    const NAME: &'static str = "brightness";
    const SUMMARY: &'static str = "brighter or darker by a random factor";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1904.08128");
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "range", self.range, [0.0, 10.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let factor = draw(self.range, random);
        if factor != 1.0 {
            replace(pair.image_mut()?, &[table(|level| level * factor); 3]);
        }
        Ok(())
    }
}
