//! `colour`: brightness, contrast, saturation and hue change, as torchvision's `ColorJitter`, in that
//! order.

use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::transforms::{Change, Pair, check_range, draw};
use crate::error::Result;

/// By how much at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Colour {
    /// Values are multiplied by a factor within 1 plus or minus this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub brightness: f64,
    /// Distances from the picture's mean grey are multiplied by a factor within 1 plus or minus this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub contrast: f64,
    /// Distances from each pixel's grey are multiplied by a factor within 1 plus or minus this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub saturation: f64,
    /// Degrees that hues are turned by, each way; up to 180.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub hue: f64,
    /// Share of the pictures that are changed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for Colour {
    fn default() -> Self {
        Self { brightness: 0.3, contrast: 0.3, saturation: 0.3, hue: 10.0, probability: 1.0 }
    }
}

impl Change for Colour {
    const NAME: &'static str = "colour";
    const SUMMARY: &'static str = "other brightness, contrast, saturation and hue";
    const SOURCE: Option<&'static str> = Some(
        "https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ColorJitter.html",
    );
    const GEOMETRIC: bool = false;

    fn check(&self) -> Result<()> {
        check_range(Self::NAME, "brightness", [self.brightness; 2], [0.0, 1.0])?;
        check_range(Self::NAME, "contrast", [self.contrast; 2], [0.0, 1.0])?;
        check_range(Self::NAME, "saturation", [self.saturation; 2], [0.0, 1.0])?;
        check_range(Self::NAME, "hue", [self.hue; 2], [0.0, 180.0])
    }

    fn probability(&self) -> f64 {
        self.probability
    }

    fn apply(&self, pair: &mut Pair<'_>, random: &mut ChaCha8Rng) -> Result<()> {
        let [brightness, contrast, saturation] = [self.brightness, self.contrast, self.saturation]
            .map(|most| draw([1.0 - most, 1.0 + most], random) as f32);
        let turn = draw([-self.hue, self.hue], random) as f32;
        if [brightness, contrast, saturation] == [1.0; 3] && turn == 0.0 {
            return Ok(());
        }
        let pixels = pair.image_mut()?.as_chunks_mut().0;
        let bright = |value: f32| (value * brightness).min(255.0);
        let mut block = Block::new();
        let mean = if contrast == 1.0 { 0.0 } else { block.mean_grey(pixels, bright) };
        for pixels in pixels.chunks_mut(BLOCK) {
            block.read(pixels);
            block.change(|colour| colour.map(bright));
            if contrast != 1.0 {
                block.change(|colour| colour.map(|value| blend(value, mean, contrast)));
            }
            if saturation != 1.0 {
                block.change(|colour| {
                    let own = grey(colour);
                    colour.map(|value| blend(value, own, saturation))
                });
            }
            if turn != 0.0 {
                block.change(|colour| turned(colour, turn));
            }
            block.write(pixels);
        }
        Ok(())
    }
}

/// Pixels that are changed together, at most.
const BLOCK: usize = 256;

/// The red, green and blue of some pixels, each step on which is a loop without a branch: such loops compile to vectors.
struct Block([Vec<f32>; 3]);

impl Block {
    fn new() -> Self {
        Self([(); 3].map(|()| vec![0.0; BLOCK]))
    }

    fn read(&mut self, pixels: &[[u8; 3]]) {
        for (channel, values) in self.0.iter_mut().enumerate() {
            values.resize(pixels.len(), 0.0);
            values.iter_mut().zip(pixels).for_each(|(to, from)| *to = f32::from(from[channel]));
        }
    }

    fn change(&mut self, of: impl Fn([f32; 3]) -> [f32; 3]) {
        let [red, green, blue] = &mut self.0;
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            [*red, *green, *blue] = of([*red, *green, *blue]);
        }
    }

    fn write(&self, pixels: &mut [[u8; 3]]) {
        for (channel, values) in self.0.iter().enumerate() {
            values.iter().zip(&mut *pixels).for_each(|(from, to)| to[channel] = (from + 0.5) as u8);
        }
    }

    /// The mean grey of pixels whose values are changed by a function.
    fn mean_grey(&mut self, pixels: &[[u8; 3]], of: impl Fn(f32) -> f32) -> f32 {
        let mut sum = 0.0f64;
        for pixels in pixels.chunks(BLOCK) {
            self.read(pixels);
            self.change(|colour| [grey(colour.map(&of)); 3]);
            // Eight sums side by side: one alone would wait for itself at every value.
            let mut sums = [0.0f32; 8];
            for values in self.0[0].chunks(8) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            sum += f64::from(sums.iter().sum::<f32>());
        }
        (sum / pixels.len() as f64) as f32
    }
}

/// A value's distance from another, multiplied.
#[inline]
fn blend(value: f32, with: f32, factor: f32) -> f32 {
    (with + (value - with) * factor).clamp(0.0, 255.0)
}

/// The luma of ITU-R BT.601.
#[inline]
fn grey([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The colour with its hue turned by degrees, at most 360 each way; value and saturation (of HSV) stay.
#[inline]
fn turned([red, green, blue]: [f32; 3], degrees: f32) -> [f32; 3] {
    let value = red.max(green).max(blue);
    let chroma = value - red.min(green).min(blue);
    let (difference, sixths) = if value == red {
        (green - blue, 0.0)
    } else if value == green {
        (blue - red, 2.0)
    } else {
        (red - green, 4.0)
    };
    let divisor = if chroma == 0.0 { 1.0 } else { chroma };
    // Between -7 and 11.
    let hue = difference / divisor + sixths + degrees / 60.0;
    // Each channel as a function of the hue: Smith, Color gamut transform pairs, SIGGRAPH 1978.
    [5.0f32, 3.0, 1.0].map(|offset| {
        let place = hue + offset;
        let place = if place < 0.0 { place + 6.0 } else { place };
        let place = if place >= 6.0 { place - 6.0 } else { place };
        let place = if place >= 6.0 { place - 6.0 } else { place };
        value - chroma * place.min(4.0 - place).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_turn_by_thirds_and_back() {
        let close = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(close(turned([200.0, 10.0, 10.0], 120.0), [10.0, 200.0, 10.0]));
        assert!(close(turned([200.0, 10.0, 10.0], -120.0), [10.0, 10.0, 200.0]));
        for colour in [[12.0, 200.0, 90.0], [255.0, 254.0, 0.0], [7.0, 8.0, 9.0], [5.0; 3]] {
            assert!(close(turned(turned(colour, 47.0), -47.0), colour), "{colour:?}");
            assert!(close(turned(colour, 360.0), colour), "{colour:?}");
        }
    }
}
