//! `low-resolution`: fewer pixels, brought back to the size: as of a camera or a scan of lower resolution.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw, picture};
use crate::error::Result;

/// How low.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LowResolution {
    /// Pixels that are left of each side, as shares: every so many are taken, and the rest is filled bilinearly.
    #[schemars(inner(range(min = 0.01, max = 1.0)))]
    pub zoom: [f64; 2],
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for LowResolution {
    fn default() -> Self {
        Self { zoom: [0.5, 1.0], probability: 1.0 }
    }
}

impl Change for LowResolution {
    const NAME: &'static str = "low-resolution";
    const SUMMARY: &'static str = "fewer pixels, brought back to the size";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1904.08128");
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "zoom", self.zoom, [0.01, 1.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let zoom = draw(self.zoom, random);
        let [columns, rows] = pair.size();
        let [width, height] =
            [columns, rows].map(|side| ((side as f64 * zoom).round() as usize).max(1));
        if [width, height] == [columns, rows] {
            return Ok(());
        }
        let nearest = |at: usize, from: usize, to: usize| (2 * at + 1) * from / (2 * to);
        pair.replace(|image| {
            let mut pixels = Vec::with_capacity(3 * width * height);
            for y in 0..height {
                let line = &image.as_raw()[3 * columns * nearest(y, rows, height)..];
                for x in 0..width {
                    pixels.extend_from_slice(&line[3 * nearest(x, columns, width)..][..3]);
                }
            }
            let small = picture(width, height, pixels);
            kshot_data::resize::resize(&small, columns as u32, rows as u32)
        })
    }
}
