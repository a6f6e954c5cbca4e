//! The same labelled picture seen in several ways, so that a head does not learn what a mirror or
//! another exposure changes.

use image::{RgbImage, imageops};
use kshot_data::mask::Mask;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One way to see a picture: turned first, then exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestView {
    mirror: bool,
    flip: bool,
    transpose: bool,
    /// Seed of another exposure.
    exposure: Option<u64>,
}

const AS_IS: TestView = TestView { mirror: false, flip: false, transpose: false, exposure: None };

/// For masks: the picture and its mirror image. Left and right rarely mean anything.
pub const FEW: [TestView; 2] = [AS_IS, TestView { mirror: true, ..AS_IS }];
/// For strokes, which show few pixels: three exposures more.
pub const MANY: [TestView; 5] = [
    AS_IS,
    TestView { mirror: true, ..AS_IS },
    TestView { flip: true, exposure: Some(1), ..AS_IS },
    TestView { transpose: true, exposure: Some(2), ..AS_IS },
    TestView { mirror: true, flip: true, transpose: true, exposure: Some(3) },
];

impl TestView {
    /// The picture, seen this way.
    #[must_use]
    pub fn of_picture(self, picture: &RgbImage) -> RgbImage {
        let mut picture = picture.clone();
        if self.mirror {
            imageops::flip_horizontal_in_place(&mut picture);
        }
        if self.flip {
            imageops::flip_vertical_in_place(&mut picture);
        }
        if self.transpose {
            let (width, height) = picture.dimensions();
            picture = RgbImage::from_fn(height, width, |x, y| *picture.get_pixel(y, x));
        }
        if let Some(seed) = self.exposure {
            expose(&mut picture, &mut ChaCha8Rng::seed_from_u64(seed));
        }
        picture
    }

    /// The labels of a picture, seen this way.
    #[must_use]
    pub fn of_mask(self, mask: &Mask) -> Mask {
        let mut mask = if self.mirror { mask.mirrored() } else { mask.clone() };
        if self.flip {
            mask.pixels =
                mask.pixels.chunks_exact(mask.width.max(1)).rev().flatten().copied().collect();
        }
        if self.transpose {
            let (width, height) = (mask.width, mask.height);
            let pixels = (0..width).flat_map(|x| (0..height).map(move |y| (x, y)));
            let pixels = pixels.map(|(x, y)| mask.at(x, y)).collect();
            mask = Mask { width: height, height: width, pixels };
        }
        mask
    }
}

/// Changes gamma, gain (a little by colour) and black point.
fn expose(picture: &mut RgbImage, random: &mut ChaCha8Rng) {
    let mut factor = |spread: f32| random.random_range(-spread..spread).exp();
    let (gamma, gain) = (factor(0.4), factor(0.3));
    let gains = [0; 3].map(|_| gain * factor(0.1));
    let black: f32 = random.random_range(-15.0..15.0);
    let tables = gains.map(|gain| -> [u8; 256] {
        std::array::from_fn(|value| {
            let bent = 255.0 * (value as f32 / 255.0).powf(gamma);
            (bent * gain + black).round().clamp(0.0, 255.0) as u8
        })
    });
    for pixel in picture.pixels_mut() {
        pixel
            .0
            .iter_mut()
            .zip(&tables)
            .for_each(|(value, table)| *value = table[usize::from(*value)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn labels_follow_their_pixels() {
        let picture = RgbImage::from_fn(5, 3, |x, y| Rgb([(x + 10 * y) as u8; 3]));
        let pixels = (0..15).map(|at| (at % 5 + 10 * (at / 5)) as u8).collect();
        let mask = Mask { width: 5, height: 3, pixels };
        for view in FEW.into_iter().chain(MANY) {
            let turned = TestView { exposure: None, ..view };
            let (seen, labels) = (turned.of_picture(&picture), turned.of_mask(&mask));
            assert_eq!(
                (seen.width() as usize, seen.height() as usize),
                (labels.width, labels.height)
            );
            for (pixel, label) in seen.pixels().zip(&labels.pixels) {
                assert_eq!(pixel.0[0], *label, "{view:?}");
            }
        }
    }

    #[test]
    fn an_exposure_changes_values_and_keeps_their_order() {
        let picture = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        let seen = MANY[2].of_picture(&picture);
        assert_ne!(seen, picture);
        let values: Vec<u8> = seen.pixels().map(|pixel| pixel.0[0]).collect();
        assert!(values.is_sorted());
    }
}
