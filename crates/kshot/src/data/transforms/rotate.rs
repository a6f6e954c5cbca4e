//! `rotate`: pictures are turned about their centre.

use image::{Rgb, RgbImage};
use kshot_data::mask::{Mask, VOID};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// By how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotate {
    /// Degrees, counter-clockwise; the size stays.
    #[schemars(inner(range(min = -360.0, max = 360.0)))]
    pub degrees: [f64; 2],
}

impl Default for Rotate {
    fn default() -> Self {
        Self { degrees: [-10.0, 10.0] }
    }
}

impl Change for Rotate {
    const NAME: &'static str = "rotate";
    const SUMMARY: &'static str = "turned about the centre; corners repeat the edge and are void";
    const GEOMETRIC: bool = true;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "degrees", self.degrees, [-360.0, 360.0])
    }

    fn apply(&self, pair: Pair, random: &mut ChaCha8Rng) -> Result<Pair> {
        let degrees = draw(self.degrees, random);
        if degrees == 0.0 {
            return Ok(pair);
        }
        let (sin, cos) = degrees.to_radians().sin_cos();
        let [width, height] = pair.size();
        let centre = [width, height].map(|side| (side as f64 - 1.0) / 2.0);
        // Where a pixel of the result comes from; y points down.
        let from = |x: u32, y: u32| {
            let [x, y] = [f64::from(x) - centre[0], f64::from(y) - centre[1]];
            [x * cos - y * sin + centre[0], x * sin + y * cos + centre[1]]
        };
        let image = RgbImage::from_fn(width as u32, height as u32, |x, y| {
            bilinear(&pair.image, from(x, y))
        });
        let mask = pair.mask.map(|mask| {
            let mut pixels = Vec::with_capacity(width * height);
            for y in 0..height as u32 {
                pixels.extend((0..width as u32).map(|x| {
                    let [x, y] = from(x, y).map(f64::round);
                    let inside = x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64;
                    if inside { mask.at(x as usize, y as usize) } else { VOID }
                }));
            }
            Mask { width, height, pixels }
        });
        Ok(Pair { image, mask })
    }
}

/// The picture between its pixels; outside, its border.
fn bilinear(image: &RgbImage, [x, y]: [f64; 2]) -> Rgb<u8> {
    let last = [image.width(), image.height()].map(|side| f64::from(side - 1));
    let (x, y) = (x.clamp(0.0, last[0]), y.clamp(0.0, last[1]));
    let (left, top) = (x.floor(), y.floor());
    let [right, bottom] = [(left + 1.0).min(last[0]), (top + 1.0).min(last[1])];
    let at = |x: f64, y: f64| image.get_pixel(x as u32, y as u32).0.map(f64::from);
    let corners = [at(left, top), at(right, top), at(left, bottom), at(right, bottom)];
    let (across, down) = (x - left, y - top);
    Rgb(std::array::from_fn(|c| {
        let [a, b, below_a, below_b] = corners.map(|corner| corner[c]);
        let upper = a + (b - a) * across;
        let lower = below_a + (below_b - below_a) * across;
        (upper + (lower - upper) * down).round() as u8
    }))
}
