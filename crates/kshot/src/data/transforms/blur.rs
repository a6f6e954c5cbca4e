//! `blur`: pictures out of focus, by a Gaussian.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// How much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Blur {
    /// Standard deviations of the Gaussian in pixels.
    #[schemars(inner(range(min = 0.0, max = 100.0)))]
    pub sigma: [f64; 2],
    /// Share of the pictures that are blurred.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Blur {
    fn default() -> Self {
        Self { sigma: [0.1, 2.0], probability: 0.5 }
    }
}

/// A Gaussian so narrow changes no value by a level.
const SHARP: f64 = 0.05;

impl Change for Blur {
    const NAME: &'static str = "blur";
    const SUMMARY: &'static str = "blurred by a Gaussian";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/2002.05709");
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "sigma", self.sigma, [0.0, 100.0])?;
        check_range(Self::NAME, "probability", [self.probability; 2], [0.0, 1.0])
    }

    fn apply(&self, mut pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair> {
        let chosen = random.random_bool(self.probability.clamp(0.0, 1.0));
        let sigma = draw(self.sigma, random);
        if chosen && sigma >= SHARP {
            pair.image = image::imageops::blur(&pair.image, sigma as f32);
        }
        Ok(pair)
    }
}
