//! `gamma`: levels between each channel's least and greatest are raised to a power.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::levels::{histograms, moments, range, replace, table};
use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gamma {
    /// Powers: below 1 dark places become brighter, above 1 darker.
    #[schemars(inner(range(min = 0.1, max = 10.0)))]
    pub range: [f64; 2],
    /// Share of the changed pictures whose negative is changed instead: bright places where dark ones would be.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub invert: f64,
    /// Whether each channel keeps its mean and standard deviation (but for what leaves 0 to 255).
    pub keep_statistics: bool,
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Gamma {
    fn default() -> Self {
        Self { range: [0.7, 1.5], invert: 0.0, keep_statistics: true, probability: 1.0 }
    }
}

impl Change for Gamma {
    const NAME: &'static str = "gamma";
    const SUMMARY: &'static str = "levels raised to a random power";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1904.08128");
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "range", self.range, [0.1, 10.0])?;
        check_range(Self::NAME, "invert", [self.invert; 2], [0.0, 1.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let gamma = draw(self.range, random);
        let inverted = random.random::<f64>() < self.invert;
        if gamma == 1.0 {
            return Ok(());
        }
        let tables = histograms(pair.image()?).map(|counts| {
            let [least, most] = range(&counts);
            let spread = (most - least).max(1.0);
            let bent = |level: f64| {
                let share = ((level - least) / spread).clamp(0.0, 1.0);
                let share = match inverted {
                    true => 1.0 - (1.0 - share).powf(gamma),
                    false => share.powf(gamma),
                };
                least + spread * share
            };
            if !self.keep_statistics {
                return table(bent);
            }
            let (mean, std) = moments(&counts, |level| level as f64);
            let (moved, other) = moments(&counts, |level| bent(level as f64));
            let factor = if other > 0.0 { std / other } else { 1.0 };
            table(|level| mean + (bent(level) - moved) * factor)
        });
        replace(pair.image_mut()?, &tables);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};
    use rand::SeedableRng;
    use std::borrow::Cow;

    fn ramp(gamma: Gamma) -> Vec<u8> {
        let image = RgbImage::from_fn(101, 1, |x, _| Rgb([50 + x as u8; 3]));
        let mut pair = Pair::new(Cow::Owned(image), None).unwrap();
        gamma.apply(&mut pair, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        pair.image().unwrap().pixels().map(|pixel| pixel.0[1]).collect()
    }

    #[test]
    fn powers_of_shares_of_the_range() {
        let plain = Gamma { range: [2.0, 2.0], keep_statistics: false, ..Gamma::default() };
        let levels = ramp(plain.clone());
        assert_eq!([levels[0], levels[50], levels[100]], [50, 75, 150]);
        let levels = ramp(Gamma { invert: 1.0, ..plain });
        assert_eq!([levels[0], levels[50], levels[100]], [50, 125, 150]);
    }

    #[test]
    fn statistics_are_kept_where_asked() {
        let levels = ramp(Gamma { range: [0.5, 0.5], ..Gamma::default() });
        let mean = levels.iter().map(|v| f64::from(*v)).sum::<f64>() / 101.0;
        let std =
            (levels.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 101.0).sqrt();
        assert!((mean - 100.0).abs() < 0.2 && (std - 29.155).abs() < 0.2, "{mean} {std}");
        assert!(levels.is_sorted() && levels[0] < 40);
    }
}
