//! `noise`: Gaussian noise on every value, as of a sensor in the dark.

use std::sync::OnceLock;

use rand::RngCore;
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
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for GaussianNoise {
    fn default() -> Self {
        Self { std: [0.0, 10.0], probability: 1.0 }
    }
}

impl Change for GaussianNoise {
    const NAME: &'static str = "noise";
    const SUMMARY: &'static str = "Gaussian noise on every value";
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "std", self.std, [0.0, 255.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let std = draw(self.std, random);
        if std == 0.0 {
            return Ok(());
        }
        let levels: Vec<i16> =
            quantiles().iter().map(|normal| (f64::from(*normal) * std).round() as i16).collect();
        for values in pair.image_mut()?.chunks_mut(4) {
            let bits = random.next_u64();
            for (value, part) in values.iter_mut().zip(0..) {
                let at = (bits >> (16 * part)) as usize % QUANTILES;
                *value = (i16::from(*value) + levels[at]).clamp(0, 255) as u8;
            }
        }
        Ok(())
    }
}

/// Quantiles of the normal distribution that noise is drawn from, evenly.
const QUANTILES: usize = 1 << 12;

/// The normal distribution's quantiles at the middles of equal shares, by adding up its density.
fn quantiles() -> &'static [f32] {
    static ALL: OnceLock<Vec<f32>> = OnceLock::new();
    ALL.get_or_init(|| {
        const STEP: f64 = 1e-4;
        let mut all = Vec::with_capacity(QUANTILES);
        let (mut at, mut share) = (-8.0f64, 0.0f64);
        while all.len() < QUANTILES {
            let wanted = (all.len() as f64 + 0.5) / QUANTILES as f64;
            // Beyond 8 standard deviations nothing is left.
            while share < wanted && at < 8.0 {
                let middle = at + STEP / 2.0;
                share += STEP * (-0.5 * middle * middle).exp() / std::f64::consts::TAU.sqrt();
                at += STEP;
            }
            all.push(at as f32);
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_normal_distributions() {
        let all = quantiles();
        assert!(all.is_sorted());
        for (share, expected) in [(0.5, 0.0), (0.841_345, 1.0), (0.022_75, -2.0)] {
            let at = (share * QUANTILES as f64) as usize;
            assert!((all[at] - expected as f32).abs() < 6e-3, "{share}: {}", all[at]);
        }
    }
}
