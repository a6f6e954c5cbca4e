//! `noise`: Gaussian noise on every value, as of a sensor in the dark.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// How much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianNoise {
    /// Standard deviations in levels of 0 to 255; one is drawn for a picture.
    #[schemars(inner(range(min = 0.0, max = 255.0)))]
    pub std: [f64; 2],
}

impl Default for GaussianNoise {
    fn default() -> Self {
        Self { std: [0.0, 10.0] }
    }
}

impl Change for GaussianNoise {
    const NAME: &'static str = "noise";
    const SUMMARY: &'static str = "Gaussian noise on every value";
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "std", self.std, [0.0, 255.0])
    }

    fn apply(&self, mut pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair> {
        let std = draw(self.std, random) as f32;
        if std == 0.0 {
            return Ok(pair);
        }
        // Two independent normal numbers of two even ones (Box and Muller 1958).
        for values in pair.image.chunks_mut(2) {
            let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
            let (sin, cos) = (std::f32::consts::TAU * random.random::<f32>()).sin_cos();
            for (value, normal) in values.iter_mut().zip([radius * cos, radius * sin]) {
                *value = (f32::from(*value) + std * normal).round().clamp(0.0, 255.0) as u8;
            }
        }
        Ok(pair)
    }
}
