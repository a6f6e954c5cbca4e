//! `cutout`: rectangles of a picture are taken away.
//!
//! DeVries and Taylor, *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017,
//! arXiv 1708.04552. Deviation: rectangles lie inside the picture and their sides are drawn.

use image::Rgb;
use kshot_data::mask::VOID;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw, wrong};
use crate::error::Result;

/// How much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cutout {
    /// Rectangles a picture.
    #[schemars(range(min = 0, max = 1000))]
    pub holes: usize,
    /// Their sides as shares of the picture's.
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub size: [f64; 2],
    /// What is put there.
    pub fill: Fill,
    /// Whether the labels under them stay, so that what is hidden must be guessed from around it;
    /// otherwise they are VOID.
    pub keep_labels: bool,
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

/// What is put in place of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// The picture's mean colour.
    Mean,
    /// The middle grey, 128.
    Grey,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { holes: 1, size: [0.1, 0.3], fill: Fill::Mean, keep_labels: false, probability: 1.0 }
    }
}

impl Change for Cutout {
    const NAME: &'static str = "cutout";
    const SUMMARY: &'static str = "rectangles taken away";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/1708.04552");
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "size", self.size, [0.0, 1.0])?;
        match self.holes {
            0..=1000 => Ok(()),
            holes => wrong(Self::NAME, &format!("{holes} holes; valid are 0 to 1000")),
        }
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let sides = pair.size();
        let fill = match self.fill {
            Fill::Grey => Rgb([128; 3]),
            Fill::Mean => {
                let mut sums = [0u64; 3];
                for pixel in pair.image()?.pixels() {
                    sums.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += u64::from(value));
                }
                let count = (sides[0] * sides[1]).max(1) as u64;
                Rgb(sums.map(|sum| ((sum + count / 2) / count) as u8))
            }
        };
        if self.holes == 0 {
            return Ok(());
        }
        let (image, mut mask) = pair.both_mut(!self.keep_labels)?;
        for _ in 0..self.holes {
            let hole = sides
                .map(|side| ((draw(self.size, random) * side as f64).round() as usize).min(side));
            let [left, top] = [0, 1].map(|axis| random.random_range(0..=sides[axis] - hole[axis]));
            for y in top..top + hole[1] {
                for x in left..left + hole[0] {
                    image.put_pixel(x as u32, y as u32, fill);
                }
                if let Some(mask) = &mut mask {
                    mask.pixels[y * sides[0] + left..][..hole[0]].fill(VOID);
                }
            }
        }
        Ok(())
    }
}
