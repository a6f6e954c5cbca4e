//! Bringing pictures of very different brightness or polarity to one look before the encoder.
//!
//! Microscopes give bright cells on black and dark cells on white in one folder, and exposures that
//! differ tenfold. Where the labelled pictures show that, and only there, each picture is stretched
//! between its own percentiles, and inverted where that makes the labelled objects agree in being
//! brighter (or darker) than their surroundings.

use image::RgbImage;
use kshot_data::mask::{BACKGROUND, MAX_CLASSES};
use kshot_data::support::Support;

/// What is done to a picture's values before the encoder sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intensity {
    /// Nothing.
    #[default]
    AsIs,
    /// The 0.5 and 99.5 percentiles of gray become 0 and 255.
    Stretched,
    /// Stretched, and inverted where most of the picture is bright.
    StretchedDark,
}

/// Ratio of the widest to the narrowest gray range of the support from which pictures are stretched.
const RANGES_DIFFER: f32 = 2.0;
/// Narrowest gray range that is stretched: below, a picture is flat and its noise would be raised.
const LEAST_RANGE: f32 = 16.0;

impl Intensity {
    /// Looks at the labelled pictures. Nothing is done where their ranges are alike.
    pub fn of(support: &Support) -> Self {
        let ranges: Vec<f32> = support
            .pictures
            .iter()
            .map(|picture| {
                let [low, high, _] = percentiles(&picture.image);
                (high - low).max(LEAST_RANGE)
            })
            .collect();
        let widest = ranges.iter().copied().fold(0.0, f32::max);
        let narrowest = ranges.iter().copied().fold(f32::INFINITY, f32::min);
        if ranges.len() < 2 || widest < RANGES_DIFFER * narrowest {
            return Self::AsIs;
        }
        let agree = |intensity: Self| {
            let brighter: Vec<bool> = support
                .pictures
                .iter()
                .filter_map(|picture| {
                    let seen = intensity.apply(&picture.image);
                    let mut sums = [[0.0f64; 2]; 2];
                    for (pixel, &class) in seen.pixels().zip(&picture.mask.pixels) {
                        if class <= MAX_CLASSES {
                            let side = &mut sums[usize::from(class != BACKGROUND)];
                            side[0] += f64::from(gray(pixel.0));
                            side[1] += 1.0;
                        }
                    }
                    let [[back, back_count], [front, front_count]] = sums;
                    (back_count > 0.0 && front_count > 0.0)
                        .then(|| front / front_count > back / back_count)
                })
                .collect();
            brighter.windows(2).all(|pair| pair[0] == pair[1])
        };
        if !agree(Self::Stretched) && agree(Self::StretchedDark) {
            Self::StretchedDark
        } else {
            Self::Stretched
        }
    }

    /// The picture as the encoder is to see it.
    #[must_use]
    pub fn apply(self, picture: &RgbImage) -> RgbImage {
        if self == Self::AsIs {
            return picture.clone();
        }
        let [low, high, median] = percentiles(picture);
        let gain = 255.0 / (high - low).max(LEAST_RANGE);
        let invert = self == Self::StretchedDark && (median - low) * gain > 127.0;
        let table: [u8; 256] = std::array::from_fn(|value| {
            let stretched = ((value as f32 - low) * gain).clamp(0.0, 255.0);
            (if invert { 255.0 - stretched } else { stretched }) as u8
        });
        let mut seen = picture.clone();
        seen.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
        seen
    }
}

fn gray(pixel: [u8; 3]) -> f32 {
    pixel.iter().map(|&value| f32::from(value)).sum::<f32>() / 3.0
}

/// The 0.5 and 99.5 percentiles and the median of gray.
fn percentiles(picture: &RgbImage) -> [f32; 3] {
    let mut counts = [0usize; 256];
    for pixel in picture.pixels() {
        counts[gray(pixel.0) as usize] += 1;
    }
    let total: usize = counts.iter().sum();
    [0.005, 0.995, 0.5].map(|share| {
        let mut below = 0;
        let reached = |&count: &usize| {
            below += count;
            below as f64 >= share * total as f64
        };
        counts.iter().position(reached).unwrap_or(255) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use kshot_data::mask::Mask;
    use kshot_data::support::{LabelKind, LabelledPicture};

    fn picture(back: u8, front: u8) -> LabelledPicture {
        let image = RgbImage::from_fn(20, 20, |x, _| Rgb([if x < 5 { front } else { back }; 3]));
        let pixels = (0..400).map(|index| u8::from(index % 20 < 5)).collect();
        LabelledPicture {
            path: "a".into(),
            labels: "a".into(),
            image,
            mask: Mask { width: 20, height: 20, pixels },
            kind: LabelKind::Mask,
            objects: None,
        }
    }

    fn support(pictures: Vec<LabelledPicture>) -> Support {
        Support { classes: vec!["cell".into()], pictures, warnings: vec![] }
    }

    #[test]
    fn alike_pictures_are_left_alone() {
        let support = support(vec![picture(10, 200), picture(20, 220)]);
        assert_eq!(Intensity::of(&support), Intensity::AsIs);
    }

    #[test]
    fn faint_ones_are_stretched_and_opposite_ones_inverted() {
        let stretched = support(vec![picture(0, 40), picture(0, 250)]);
        assert_eq!(Intensity::of(&stretched), Intensity::Stretched);
        let opposite = support(vec![picture(0, 40), picture(250, 60)]);
        assert_eq!(Intensity::of(&opposite), Intensity::StretchedDark);
        let seen = Intensity::StretchedDark.apply(&opposite.pictures[1].image);
        assert_eq!((seen.get_pixel(0, 0).0, seen.get_pixel(19, 0).0), ([255; 3], [0; 3]));
    }
}
