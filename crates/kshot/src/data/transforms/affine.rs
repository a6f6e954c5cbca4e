//! `affine`: a part of a picture, turned and scaled, sampled once: what `scale`, `rotate` and `crop` do one after the other
//! on the whole picture, at a fraction of the work and without blurring twice.

use std::borrow::Cow;

use image::RgbImage;
use kshot_data::mask::{Mask, VOID};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, OutputSize, Pair, check_range, draw, picture};
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
    /// Factors that both sides are multiplied by; sampling is bilinear without a filter, so factors far below 1 alias.
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

    fn apply<'a>(&self, pair: Pair<'a>, random: &mut ChaCha8Rng) -> Result<Pair<'a>> {
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
            return Ok(pair.window(size, place.map(|at| at.round() as i64)));
        }
        let centre = [0, 1].map(|axis| place[axis] + part[axis] / 2.0);
        Ok(resampled(&pair, size, centre, degrees, factor))
    }
}

/// Steps between two pixels.
const FINE: f32 = 256.0;

/// The part of a size around a centre (`[x, y]` from the upper left corner), turned counter-clockwise and scaled:
/// bilinearly, the mask by nearest neighbour.
pub(super) fn resampled<'a>(
    pair: &Pair<'_>,
    [width, height]: [usize; 2],
    centre: [f64; 2],
    degrees: f64,
    factor: f64,
) -> Pair<'a> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    // Where a pixel of the result comes from; y points down. Pixels' centres are at halves.
    let step = [cos / factor, sin / factor];
    let from = |x: f64, y: f64| {
        let [x, y] = [x - width as f64 / 2.0, y - height as f64 / 2.0];
        [centre[0] + x * step[0] - y * step[1], centre[1] + x * step[1] + y * step[0]]
    };
    // The first pixel of a row, and the way to the next.
    let row = |y: usize| from(0.5, y as f64 + 0.5).map(|place| (place - 0.5) as f32);
    let step32 = step.map(|step| step as f32);
    let [columns, rows] = pair.size();
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        let start = row(y);
        for x in 0..width {
            let place = [0, 1].map(|axis| start[axis] + x as f32 * step32[axis]);
            pixels.extend_from_slice(&bilinear(&pair.image, [columns, rows], place));
        }
    }
    let mask = pair.mask.as_ref().map(|mask| {
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let start = row(y).map(|place| place + 0.5);
            pixels.extend((0..width).map(|x| {
                let [x, y] = [0, 1].map(|axis| start[axis] + x as f32 * step32[axis]);
                let inside = x >= 0.0 && y >= 0.0 && x < columns as f32 && y < rows as f32;
                if inside { mask.pixels[y as usize * columns + x as usize] } else { VOID }
            }));
        }
        Cow::Owned(Mask { width, height, pixels })
    });
    let focus = pair.focus.map(|[x, y]| {
        let [x, y] = [x - centre[0], y - centre[1]];
        let turned = [x * cos + y * sin, y * cos - x * sin];
        [turned[0] * factor + width as f64 / 2.0, turned[1] * factor + height as f64 / 2.0]
    });
    Pair { image: Cow::Owned(picture(width, height, pixels)), mask, focus }
}

/// The picture between its pixels, whose centres are at whole numbers; outside, its border.
#[inline]
fn bilinear(image: &RgbImage, [columns, rows]: [usize; 2], [x, y]: [f32; 2]) -> [u8; 3] {
    let place = |at: f32, count: usize| {
        let at = at.clamp(0.0, (count - 1) as f32);
        let low = at as usize;
        (low, (low + 1).min(count - 1), ((at - low as f32) * FINE).round() as u32)
    };
    let (left, right, across) = place(x, columns);
    let (top, bottom, down) = place(y, rows);
    let raw = image.as_raw();
    let at = |x: usize, y: usize| -> &[u8] { &raw[3 * (y * columns + x)..][..3] };
    let [a, b, c, d] = [at(left, top), at(right, top), at(left, bottom), at(right, bottom)];
    let blend = |a: u32, b: u32, weight: u32| a * (256 - weight) + b * weight;
    std::array::from_fn(|channel| {
        let [a, b, c, d] = [a, b, c, d].map(|of| u32::from(of[channel]));
        ((blend(blend(a, b, across), blend(c, d, across), down) + (1 << 15)) >> 16) as u8
    })
}
