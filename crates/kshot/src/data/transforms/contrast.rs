//! `contrast`: distances from each channel's mean are multiplied.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::levels::{histograms, moments, range, replace, table};
use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Contrast {
    /// Factors of the distances from the mean.
    #[schemars(inner(range(min = 0.0, max = 10.0)))]
    pub range: [f64; 2],
    /// Whether levels stay between the least and the greatest that the channel had.
    pub keep_range: bool,
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Contrast {
    fn default() -> Self {
        Self { range: [0.75, 1.25], keep_range: true, probability: 1.0 }
    }
}

impl Change for Contrast {
    const NAME: &'static str = "contrast";
    const SUMMARY: &'static str = "more or less contrast about each channel's mean";
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
        if factor == 1.0 {
            return Ok(());
        }
        let tables = histograms(pair.image()?).map(|counts| {
            let (mean, _) = moments(&counts, |level| level as f64);
            let [least, most] = if self.keep_range { range(&counts) } else { [0.0, 255.0] };
            table(|level| (mean + (level - mean) * factor).clamp(least, most))
        });
        replace(pair.image_mut()?, &tables);
        Ok(())
    }
}
