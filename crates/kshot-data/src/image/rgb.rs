//! Decoded pictures of any kind as 8-bit RGB, row by row: there is the decoded picture and the RGB one, and no third.

use image::{DynamicImage, RgbImage};

use crate::deep::DeepRange;

/// Twelve bits: the brightest value of many scientific cameras in 16-bit files.
const TWELVE_BITS: u16 = 4096;

/// The picture as it is shown: transparent parts over white, 16 bits by `range`, floats stretched to what is there.
pub(super) fn to_rgb(picture: DynamicImage, range: Option<DeepRange>) -> RgbImage {
    let size = (picture.width(), picture.height());
    match picture {
        DynamicImage::ImageLumaA8(of) => mapped(size, of.as_raw(), |[v, a]| [over(v, a); 3]),
        DynamicImage::ImageRgba8(of) => {
            mapped(size, of.as_raw(), |[r, g, b, a]| [over(r, a), over(g, a), over(b, a)])
        }
        DynamicImage::ImageLuma16(of) => {
            let range = range_of(of.as_raw(), 1, 1, range);
            mapped(size, of.as_raw(), |[v]| [opaque(v, range); 3])
        }
        DynamicImage::ImageLumaA16(of) => {
            let range = range_of(of.as_raw(), 2, 1, range);
            mapped(size, of.as_raw(), |[v, a]| [deep_over(v, a, range); 3])
        }
        DynamicImage::ImageRgb16(of) => {
            let range = range_of(of.as_raw(), 3, 3, range);
            mapped(size, of.as_raw(), |pixel: [u16; 3]| pixel.map(|v| opaque(v, range)))
        }
        DynamicImage::ImageRgba16(of) => {
            let range = range_of(of.as_raw(), 4, 3, range);
            mapped(size, of.as_raw(), |[r, g, b, a]| [r, g, b].map(|v| deep_over(v, a, range)))
        }
        DynamicImage::ImageRgb32F(of) => {
            let stretch = stretch(of.as_raw(), 3);
            mapped(size, of.as_raw(), |pixel: [f32; 3]| pixel.map(&stretch))
        }
        DynamicImage::ImageRgba32F(of) => {
            let stretch = stretch(of.as_raw(), 4);
            mapped(size, of.as_raw(), |[r, g, b, _]| [r, g, b].map(&stretch))
        }
        other => other.into_rgb8(),
    }
}

/// Each pixel of so many values as three.
fn mapped<T: Copy, const VALUES: usize>(
    (width, height): (u32, u32),
    values: &[T],
    pixel: impl Fn([T; VALUES]) -> [u8; 3],
) -> RgbImage {
    let mut picture = RgbImage::new(width, height);
    for (to, from) in picture.as_chunks_mut::<3>().0.iter_mut().zip(values.as_chunks::<VALUES>().0)
    {
        *to = pixel(*from);
    }
    picture
}

/// A value over white.
fn over(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u16::from(value), u16::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// The range of 16-bit values: what somebody says, or from 0 to the brightest where that is of 12 bits.
fn range_of(values: &[u16], bands: usize, colours: usize, range: Option<DeepRange>) -> DeepRange {
    range.unwrap_or_else(|| {
        let brightest = if bands == colours {
            values.iter().max().copied()
        } else {
            values.chunks_exact(bands).flat_map(|pixel| &pixel[..colours]).max().copied()
        };
        let brightest = brightest.unwrap_or(u16::MAX);
        let full = if brightest < TWELVE_BITS { brightest.max(1) } else { u16::MAX };
        DeepRange { low: 0, high: full }
    })
}

fn opaque(value: u16, range: DeepRange) -> u8 {
    (range.scaled(value) + 0.5) as u8
}

fn deep_over(value: u16, alpha: u16, range: DeepRange) -> u8 {
    let alpha = f32::from(alpha) / 65_535.0;
    (range.scaled(value) * alpha + 255.0 * (1.0 - alpha) + 0.5) as u8
}

/// Floating-point pictures have no fixed range: what is there is stretched to 0..255. The fourth value is no colour.
fn stretch(values: &[f32], bands: usize) -> impl Fn(f32) -> u8 {
    let colours = values.chunks_exact(bands).flat_map(|pixel| &pixel[..3]);
    let (low, high) = colours
        .filter(|value| value.is_finite())
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    let span = (high - low).max(1e-12);
    move |value| ((value - low) / span * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageBuffer;
    use rand::{Rng, SeedableRng};

    /// The definition, pixel by pixel on whole copies.
    fn plainly(picture: DynamicImage, range: Option<DeepRange>) -> RgbImage {
        use DynamicImage as Of;
        match picture {
            Of::ImageLuma16(_) | Of::ImageLumaA16(_) | Of::ImageRgb16(_) | Of::ImageRgba16(_) => {
                let has_alpha = picture.color().has_alpha();
                let deep = picture.to_rgba16();
                let brightest =
                    deep.pixels().flat_map(|p| p.0[..3].to_vec()).max().unwrap_or(u16::MAX);
                let full = if brightest < 4096 { brightest.max(1) } else { u16::MAX };
                let range = range.unwrap_or(DeepRange { low: 0, high: full });
                RgbImage::from_fn(deep.width(), deep.height(), |x, y| {
                    let pixel = deep.get_pixel(x, y).0;
                    let alpha = if has_alpha { f32::from(pixel[3]) / 65_535.0 } else { 1.0 };
                    image::Rgb(std::array::from_fn(|c| {
                        let value = range.scaled(pixel[c]);
                        (value * alpha + 255.0 * (1.0 - alpha) + 0.5) as u8
                    }))
                })
            }
            Of::ImageLumaA8(_) | Of::ImageRgba8(_) => {
                let shown = picture.to_rgba8();
                RgbImage::from_fn(shown.width(), shown.height(), |x, y| {
                    let [r, g, b, a] = shown.get_pixel(x, y).0.map(u16::from);
                    let over = |v: u16| ((v * a + 255 * (255 - a) + 127) / 255) as u8;
                    image::Rgb([over(r), over(g), over(b)])
                })
            }
            Of::ImageRgb32F(_) | Of::ImageRgba32F(_) => {
                let deep = picture.to_rgb32f();
                let (low, high) = deep
                    .iter()
                    .filter(|v| v.is_finite())
                    .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
                let span = (high - low).max(1e-12);
                RgbImage::from_fn(deep.width(), deep.height(), |x, y| {
                    image::Rgb(
                        deep.get_pixel(x, y).0.map(|v| ((v - low) / span * 255.0 + 0.5) as u8),
                    )
                })
            }
            other => other.to_rgb8(),
        }
    }

    #[test]
    fn every_kind_is_as_its_definition() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        for round in 0..40 {
            let (width, height) = (random.random_range(1..30), random.random_range(1..30));
            let pixels = (width * height) as usize;
            let top = [u16::MAX, 4095, 1000, 1][round % 4];
            let mut deep = |bands: usize| -> Vec<u16> {
                (0..pixels * bands).map(|_| random.random_range(0..=top)).collect()
            };
            let (one, two, three, four) = (deep(1), deep(2), deep(3), deep(4));
            let bytes = |of: &[u16]| of.iter().map(|v| *v as u8).collect::<Vec<u8>>();
            let float = |v: &u16| match v % 97 {
                0 => f32::NAN,
                1 => f32::INFINITY,
                _ => f32::from(*v) * 0.37 - 900.0,
            };
            let floats = |of: &[u16]| of.iter().map(float).collect::<Vec<f32>>();
            let range = (round % 3 == 0).then_some(DeepRange { low: 300, high: 3000 });
            macro_rules! kinds {
                ($($kind:ident: $values:expr;)*) => {
                    [$(DynamicImage::$kind(
                        ImageBuffer::from_raw(width, height, $values).unwrap(),
                    )),*]
                };
            }
            for picture in kinds! {
                ImageLuma8: bytes(&one);
                ImageLumaA8: bytes(&two);
                ImageRgb8: bytes(&three);
                ImageRgba8: bytes(&four);
                ImageLuma16: one.clone();
                ImageLumaA16: two.clone();
                ImageRgb16: three.clone();
                ImageRgba16: four.clone();
                ImageRgb32F: floats(&three);
                ImageRgba32F: floats(&four);
            } {
                let kind = picture.color();
                assert!(to_rgb(picture.clone(), range) == plainly(picture, range), "{kind:?}");
            }
        }
    }
}
