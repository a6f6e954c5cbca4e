//! `resize` and `scale`: whole pictures at another size, by an area-aware bilinear filter; masks by
//! nearest neighbour.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Map, OutputSize, Pair, check_range, draw};
use crate::error::Result;

/// To which size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resize {
    /// A side, or `[height, width]`, in pixels; the aspect is not kept.
    pub size: OutputSize,
}

impl Default for Resize {
    fn default() -> Self {
        Self { size: OutputSize::Square(256) }
    }
}

impl Change for Resize {
    const NAME: &'static str = "resize";
    const SUMMARY: &'static str = "the whole picture at a given size";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        self.size.check(Self::NAME)
    }

    fn apply(&self, pair: &mut Pair<'_>, _: &mut ChaCha8Rng) -> Result<()> {
        resize(pair, self.size.sides());
        Ok(())
    }
}

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomScale {
    /// Factors that both sides are multiplied by.
    #[schemars(inner(range(min = 0.05, max = 8.0)))]
    pub range: [f64; 2],
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for RandomScale {
    fn default() -> Self {
        Self { range: [0.5, 2.0], probability: 1.0 }
    }
}

impl Change for RandomScale {
    const NAME: &'static str = "scale";
    const SUMMARY: &'static str = "the whole picture larger or smaller by a random factor";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1612.01105");
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "range", self.range, [0.05, 8.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let factor = draw(self.range, random);
        let size = pair.size().map(|side| ((side as f64 * factor).round() as usize).max(1));
        resize(pair, size);
        Ok(())
    }
}

fn resize(pair: &mut Pair<'_>, size: [usize; 2]) {
    let before = pair.size();
    pair.moved(size, Map::scale([0, 1].map(|axis| before[axis] as f64 / size[axis] as f64)));
}
