//! `affine`: a part of a picture, turned and scaled: what `rotate`, `scale` and `crop` do one after the other, with a
//! probability of its own for each, and so that the part is chosen in the picture as it was.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Map, OutputSize, Pair, check_range, draw};
use crate::error::Result;

/// Which part, and by how much it is turned and scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    /// A side, or `[height, width]`, of the result in pixels.
    pub size: OutputSize,
    /// Degrees that parts are turned at most, each way.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub rotate: f64,
    /// Share of the pictures that are turned.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub rotate_probability: f64,
    /// Factors that both sides are multiplied by.
    #[schemars(inner(range(min = 0.1, max = 8.0)))]
    pub scale: [f64; 2],
    /// Share of the pictures that are scaled.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub scale_probability: f64,
}

impl Default for Affine {
    fn default() -> Self {
        Self {
            size: OutputSize::Square(256),
            rotate: 15.0,
            rotate_probability: 1.0,
            scale: [0.7, 1.4],
            scale_probability: 1.0,
        }
    }
}

impl Change for Affine {
    const NAME: &'static str = "affine";
    const SUMMARY: &'static str = "a random part, turned and scaled in one step; beyond the picture its border is repeated and void";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1904.08128");
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        self.size.check(Self::NAME)?;
        check_range(Self::NAME, "rotate", [self.rotate; 2], [0.0, 180.0])?;
        check_range(Self::NAME, "scale", self.scale, [0.1, 8.0])?;
        check_range(Self::NAME, "rotate_probability", [self.rotate_probability; 2], [0.0, 1.0])?;
        check_range(Self::NAME, "scale_probability", [self.scale_probability; 2], [0.0, 1.0])
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let size = self.size.sides();
        let turns = random.random::<f64>() < self.rotate_probability;
        let degrees = draw([-self.rotate, self.rotate], random);
        let scales = random.random::<f64>() < self.scale_probability;
        let factor = draw(self.scale, random);
        let (degrees, factor) =
            (if turns { degrees } else { 0.0 }, if scales { factor } else { 1.0 });
        let part = size.map(|side| side as f64 / factor);
        let place = pair.place(part, random);
        if degrees == 0.0 && factor == 1.0 {
            pair.window(size, place.map(|at| at.round() as i64));
            return Ok(());
        }
        let centre = [0, 1].map(|axis| place[axis] + part[axis] / 2.0);
        pair.moved(size, Map::turn(size, centre, degrees, factor));
        Ok(())
    }
}
