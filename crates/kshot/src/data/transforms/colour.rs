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

    fn apply<'a>(&self, mut pair: Pair<'a>, random: &mut ChaCha8Rng) -> Result<Pair<'a>> {
        let factors = [self.brightness, self.contrast, self.saturation]
            .map(|most| draw([1.0 - most, 1.0 + most], random) as f32);
        let turn = draw([-self.hue, self.hue], random) as f32;
        if factors == [1.0; 3] && turn == 0.0 {
            return Ok(pair);
        }
        let [brightness, contrast, saturation] = factors;
        let bright = |value: u8| (f32::from(value) * brightness).min(255.0);
        let greys = pair.image.pixels().map(|pixel| f64::from(grey(pixel.0.map(bright))));
        let mean = (greys.sum::<f64>() / pair.size().iter().product::<usize>() as f64) as f32;
        for pixel in pair.image.to_mut().pixels_mut() {
            let blend = |value: f32, with: f32, factor: f32| {
                (with + (value - with) * factor).clamp(0.0, 255.0)
            };
            let mut colour = pixel.0.map(|value| blend(bright(value), mean, contrast));
            let own = grey(colour);
            colour = colour.map(|value| blend(value, own, saturation));
            if turn != 0.0 {
                colour = turned(colour, turn);
            }
            pixel.0 = colour.map(|value| value.round() as u8);
        }
        Ok(pair)
    }
}

/// The luma of ITU-R BT.601.
fn grey([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The colour with its hue turned by degrees; value and saturation (of HSV) stay.
fn turned(colour: [f32; 3], degrees: f32) -> [f32; 3] {
    let [red, green, blue] = colour;
    let value = red.max(green).max(blue);
    let chroma = value - red.min(green).min(blue);
    if chroma == 0.0 {
        return colour;
    }
    let sixths = if value == red {
        (green - blue) / chroma
    } else if value == green {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let hue = (sixths + degrees / 60.0).rem_euclid(6.0);
    // Each channel as a function of the hue: Smith, Color gamut transform pairs, SIGGRAPH 1978.
    [5.0f32, 3.0, 1.0].map(|offset| {
        let place = (offset + hue).rem_euclid(6.0);
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
