//! The picture with its classes on it, to judge a mask at a glance.

use std::io;
use std::path::Path;

use base64::Engine as _;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use rayon::prelude::*;

use crate::atomic;
use crate::error::{Error, Result};
use crate::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::objects::ObjectMap;
use crate::palette::{Palette, Rgb};

/// How an overlay is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayStyle {
    /// How much of the class's colour covers the picture, 0..1.
    pub opacity: f32,
    /// Pixels whose class surpasses the next by less than this are hatched, 0..=255 for 0..1.
    pub hatch_below: u8,
    /// Larger pictures are shrunk to this many pixels on the long side.
    pub long_side: u32,
}

impl Default for OverlayStyle {
    fn default() -> Self {
        Self { opacity: 0.38, hatch_below: 51, long_side: 2048 }
    }
}

/// Draws the classes of `mask` over `picture`: translucent colours over the picture's gray levels, so that their hues
/// are those of the legend, a crisp line around every region (1 to 2 pixels by size), and white hatching where `margin`
/// (of the class's probability over the next, 0..=255 per pixel, row by row) is low. Background is left as it is; void
/// and unlabelled are shown only where the mask holds them.
///
/// # Errors
/// If the sizes of picture, mask and margin differ, or the picture is empty.
pub fn draw(
    picture: &RgbImage,
    mask: &Mask,
    margin: Option<&[u8]>,
    palette: &Palette,
    style: &OverlayStyle,
) -> Result<RgbImage> {
    draw_layers(picture, (mask, None), margin, palette, style)
}

/// As [`draw()`], with a line around every object: in its class's colour where nothing of the class is beyond, and white
/// where another object of the class is, so that touching ones are told apart.
///
/// # Errors
/// As [`draw()`], and if the objects have another size.
pub fn draw_objects(
    picture: &RgbImage,
    (mask, objects): (&Mask, &ObjectMap),
    margin: Option<&[u8]>,
    palette: &Palette,
    style: &OverlayStyle,
) -> Result<RgbImage> {
    if (mask.width, mask.height) != (objects.width, objects.height) {
        return Err(Error::data(format!(
            "an overlay needs a mask and objects of the same size, not {} x {} and {} x {}",
            mask.width, mask.height, objects.width, objects.height
        )));
    }
    draw_layers(picture, (mask, Some(objects)), margin, palette, style)
}

fn draw_layers(
    picture: &RgbImage,
    (mask, objects): (&Mask, Option<&ObjectMap>),
    margin: Option<&[u8]>,
    palette: &Palette,
    style: &OverlayStyle,
) -> Result<RgbImage> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if (width, height) != (mask.width, mask.height) || width * height == 0 {
        return Err(Error::data(format!(
            "an overlay needs a picture and a mask of the same size, not {width} x {height} and {} x {}",
            mask.width, mask.height
        )));
    }
    if let Some(given) = margin.map(<[u8]>::len).filter(|&given| given != width * height) {
        return Err(Error::data(format!(
            "an overlay of {width} x {height} needs {} margins, not {given}",
            width * height
        )));
    }
    let mut canvas = shrink(picture, style.long_side)?;
    let (small_width, small_height) = (canvas.width() as usize, canvas.height() as usize);
    let mask = mask.resized(small_width, small_height);
    let objects = objects.map(|objects| objects.resized(small_width, small_height));
    let margin = margin
        .map(|values| Mask::from_pixels(width, height, values.to_vec()))
        .transpose()?
        .map(|values| values.resized(small_width, small_height));

    let long_side = small_width.max(small_height);
    let thickness = if long_side >= 900 { 2 } else { 1 };
    let period = (long_side / 90).max(6);
    let opacity = (style.opacity.clamp(0.0, 1.0) * 256.0) as u32;
    canvas.par_chunks_exact_mut(small_width * 3).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let value = mask.at(x, y);
            let unsure = margin.as_ref().is_some_and(|values| values.at(x, y) < style.hatch_below);
            let hatch = unsure && (x + y) % period < period.div_ceil(4);
            if value == BACKGROUND {
                if hatch {
                    blend(pixel, [255; 3], 72);
                }
                continue;
            }
            let colour = palette.colour(value);
            if on_contour(&mask.pixels, [small_width, small_height], [x, y], thickness) {
                blend(pixel, colour, 256);
                continue;
            }
            let apart = |ids: &Vec<u32>| on_contour(ids, [small_width, small_height], [x, y], 1);
            if objects.as_ref().is_some_and(apart) {
                blend(pixel, [255; 3], 230);
                continue;
            }
            let [red, green, blue] = [0, 1, 2].map(|channel: usize| u32::from(pixel[channel]));
            // Rec. 601's luma in 256ths.
            pixel.fill(((77 * red + 150 * green + 29 * blue + 128) >> 8) as u8);
            blend(pixel, colour, if value == UNLABELLED { opacity / 2 } else { opacity });
            if hatch {
                blend(pixel, [255; 3], 150);
            }
        }
    });
    Ok(canvas)
}

/// Whether a pixel of another value lies within `thickness` pixels along a row or a column.
fn on_contour<T: PartialEq>(
    values: &[T],
    [width, height]: [usize; 2],
    [x, y]: [usize; 2],
    thickness: usize,
) -> bool {
    let at = y * width + x;
    let differs = |other: usize| values[other] != values[at];
    (1..=thickness).any(|step| {
        (x >= step && differs(at - step))
            || (x + step < width && differs(at + step))
            || (y >= step && differs(at - step * width))
            || (y + step < height && differs(at + step * width))
    })
}

/// Mixes `colour` into a pixel; `share` is of 256.
fn blend(pixel: &mut [u8], colour: Rgb, share: u32) {
    for (value, colour) in pixel.iter_mut().zip(colour) {
        *value = ((u32::from(*value) * (256 - share) + u32::from(colour) * share + 128) >> 8) as u8;
    }
}

/// The picture with its long side at most `long_side` pixels (at least 1); smaller ones as they are.
///
/// # Errors
/// If the picture is empty.
pub fn shrink(picture: &RgbImage, long_side: u32) -> Result<RgbImage> {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= long_side.max(1) {
        return Ok(picture.clone());
    }
    let scaled = |side: u32| {
        ((f64::from(side) * f64::from(long_side.max(1)) / f64::from(longest)).round() as u32).max(1)
    };
    let (new_width, new_height) = (scaled(width), scaled(height));
    crate::resize::resize(picture, new_width, new_height)
}

/// Encodes a picture as JPEG; `quality` is 1..=100.
///
/// # Errors
/// If a side is 0 or above JPEG's 65535 pixels.
pub fn jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = io::Cursor::new(Vec::with_capacity(picture.as_raw().len() / 8));
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(|error| {
            Error::data(format!(
                "a picture of {} x {} pixels could not be encoded as JPEG",
                picture.width(),
                picture.height()
            ))
            .caused_by(error)
        })?;
    Ok(bytes.into_inner())
}

/// Writes an overlay as JPEG, whole or not at all.
///
/// # Errors
/// As [`jpeg`] and [`atomic::write`].
pub fn write(path: &Path, overlay: &RgbImage) -> Result<()> {
    atomic::write(path, &jpeg(overlay, 88).map_err(|error| error.in_file(path))?)
}

/// A small JPEG of `picture` in base64 for reports: at most `long_side` pixels and `max_bytes` bytes
/// (before base64), of the best quality that fits; pictures full of noise are shrunk further.
///
/// # Errors
/// If the picture is empty.
pub fn thumbnail(picture: &RgbImage, long_side: u32, max_bytes: usize) -> Result<String> {
    let mut side = long_side;
    loop {
        let small = shrink(picture, side)?;
        for quality in [82, 68, 52, 36] {
            let bytes = jpeg(&small, quality)?;
            // A picture of 16 pixels is little but JPEG headers: it has to do.
            if bytes.len() <= max_bytes || side <= 16 {
                return Ok(base64::engine::general_purpose::STANDARD.encode(bytes));
            }
        }
        side = side * 3 / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> (RgbImage, Mask) {
        let mut mask = Mask::filled(40, 40, 0);
        for y in 10..30 {
            mask.pixels[y * 40 + 10..y * 40 + 30].fill(1);
        }
        (RgbImage::from_pixel(40, 40, image::Rgb([100; 3])), mask)
    }

    #[test]
    fn background_stays_the_line_is_pure_and_the_inside_is_mixed() {
        let (picture, mask) = square();
        let palette = Palette::distinct();
        let style = OverlayStyle { opacity: 0.5, ..OverlayStyle::default() };
        let drawn = draw(&picture, &mask, None, &palette, &style).unwrap();
        assert_eq!(drawn.get_pixel(5, 5).0, [100; 3]);
        assert_eq!(drawn.get_pixel(10, 20).0, palette.colour(1));
        assert_eq!(drawn.get_pixel(20, 20).0, [165, 130, 50]);
        // A blue picture under an orange class is not brown: the hue is the legend's.
        let blue = RgbImage::from_pixel(40, 40, image::Rgb([0, 0, 255]));
        let drawn = draw(&blue, &mask, None, &palette, &style).unwrap();
        let colour = palette.colour(1).map(|value| (f32::from(value) - 29.0).signum());
        let tint = drawn.get_pixel(20, 20).0.map(|value| (f32::from(value) - 29.0).signum());
        assert_eq!(tint, colour);
        assert_eq!(drawn.get_pixel(5, 5).0, [0, 0, 255]);
    }

    #[test]
    fn a_white_line_lies_between_touching_objects() {
        let (picture, mask) = square();
        let number = |at: usize| u32::from(mask.pixels[at]) * if at % 40 < 20 { 1 } else { 2 };
        let numbers: Vec<u32> = (0..1600).map(number).collect();
        let objects = ObjectMap::new(40, 40, &numbers, |_| 1).unwrap();
        let (palette, style) = (Palette::distinct(), OverlayStyle::default());
        let plain = draw(&picture, &mask, None, &palette, &style).unwrap();
        let drawn = draw_objects(&picture, (&mask, &objects), None, &palette, &style).unwrap();
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let between = (19..21).contains(&x) && (11..29).contains(&y);
            let is_white = pixel.0.iter().all(|value| *value > 200);
            assert_eq!(is_white, between, "{x}, {y}: {pixel:?}");
            assert!(between || pixel == plain.get_pixel(x, y), "{x}, {y}");
        }
        let other = ObjectMap::new(1, 1, &[0], |_| 1).unwrap();
        assert!(draw_objects(&picture, (&mask, &other), None, &palette, &style).is_err());
    }

    #[test]
    fn only_a_small_margin_is_hatched() {
        let (picture, mask) = square();
        let palette = Palette::distinct();
        let style = OverlayStyle::default();
        let plain = draw(&picture, &mask, None, &palette, &style).unwrap();
        let sure = vec![255; 1600];
        assert_eq!(draw(&picture, &mask, Some(&sure), &palette, &style).unwrap(), plain);
        let mut half = sure;
        half[..800].fill(10);
        let hatched = draw(&picture, &mask, Some(&half), &palette, &style).unwrap();
        assert_ne!(hatched.as_raw()[..20 * 120], plain.as_raw()[..20 * 120]);
        assert_eq!(hatched.as_raw()[20 * 120..], plain.as_raw()[20 * 120..]);
    }

    #[test]
    fn large_pictures_are_shrunk_and_wrong_sizes_refused() {
        let (picture, mask) = square();
        let palette = Palette::distinct();
        let style = OverlayStyle { long_side: 20, ..OverlayStyle::default() };
        assert_eq!(draw(&picture, &mask, None, &palette, &style).unwrap().dimensions(), (20, 20));
        assert_eq!(
            shrink(&RgbImage::new(3000, 1), 100).unwrap().dimensions(),
            (100, 1),
            "no side becomes 0"
        );
        let other = Mask::filled(40, 39, 0);
        assert!(draw(&picture, &other, None, &palette, &style).is_err());
        assert!(draw(&picture, &mask, Some(&[1, 2]), &palette, &style).is_err());
    }

    #[test]
    fn a_thumbnail_keeps_to_its_bytes_even_for_noise() {
        let mut state = 1u32;
        let noise = RgbImage::from_fn(300, 200, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        });
        let text = thumbnail(&noise, 240, 8000).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        assert!(bytes.len() <= 8000, "{}", bytes.len());
        assert!(image::load_from_memory(&bytes).is_ok());
    }
}
