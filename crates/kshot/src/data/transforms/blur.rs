//! `blur`: pictures out of focus, by a Gaussian.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw, picture};
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
/// Standard deviations on each side of a pixel that are summed.
const REACH: f64 = 3.0;

impl Change for Blur {
    const NAME: &'static str = "blur";
    const SUMMARY: &'static str = "blurred by a Gaussian";
    const SOURCE: Option<&'static str> = Some("https://arxiv.org/abs/2002.05709");
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "sigma", self.sigma, [0.0, 100.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let sigma = draw(self.sigma, random);
        if sigma < SHARP {
            return Ok(());
        }
        pair.replace(|image| Ok(blurred(image, sigma)))
    }
}

/// Rows, then columns; beyond the picture its border is repeated.
fn blurred(image: &RgbImage, sigma: f64) -> RgbImage {
    let [width, height] = [image.width() as usize, image.height() as usize];
    let radius = (REACH * sigma).ceil().max(1.0) as usize;
    let weight = |at: usize| (-0.5 * ((at as f64 - radius as f64) / sigma).powi(2)).exp();
    let sum: f64 = (0..=2 * radius).map(weight).sum();
    let weights: Vec<f32> = (0..=2 * radius).map(|at| (weight(at) / sum) as f32).collect();
    let length = 3 * width;
    let mut across = vec![0.0f32; length * height];
    let mut padded = Vec::with_capacity(length + 6 * radius);
    let lines = image.as_raw().chunks_exact(length);
    for (line, out) in lines.zip(across.chunks_exact_mut(length)) {
        padded.clear();
        (0..radius).for_each(|_| padded.extend(line[..3].iter().map(|v| f32::from(*v))));
        padded.extend(line.iter().map(|v| f32::from(*v)));
        (0..radius).for_each(|_| padded.extend(line[length - 3..].iter().map(|v| f32::from(*v))));
        for (at, weight) in weights.iter().enumerate() {
            add(out, &padded[3 * at..][..length], *weight);
        }
    }
    let mut pixels = Vec::with_capacity(length * height);
    let mut sums = vec![0.0f32; length];
    for y in 0..height {
        sums.fill(0.5);
        for (at, weight) in weights.iter().enumerate() {
            let row = (y + at).saturating_sub(radius).min(height - 1);
            add(&mut sums, &across[row * length..][..length], *weight);
        }
        pixels.extend(sums.iter().map(|value| *value as u8));
    }
    picture(width, height, pixels)
}

fn add(sums: &mut [f32], values: &[f32], weight: f32) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}
