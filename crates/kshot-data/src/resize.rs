//! Pictures at other sizes, by filters that do not alias. The one place that resizes: the filters are compiled once, for
//! the two kinds of pixels there are.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, RgbImage};

use crate::error::{Error, Result};

/// Resizes to `width` x `height` pixels by a bilinear filter that averages over areas when it shrinks.
///
/// # Errors
/// If a side is zero.
pub fn resize(picture: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    if picture.dimensions() == (width, height) {
        return Ok(picture.clone());
    }
    let (columns, rows) = picture.dimensions();
    let whole = [0.0, 0.0, f64::from(columns), f64::from(rows)];
    resize_part(picture, whole, width, height)
}

/// The same of a part of the picture, `[left, top, width, height]` in pixels and fractions of them. Along the part's
/// border the filter sees what is beyond.
///
/// # Errors
/// If a side is zero, or the part is not within the picture.
pub fn resize_part(
    picture: &RgbImage,
    part: [f64; 4],
    width: u32,
    height: u32,
) -> Result<RgbImage> {
    let (from, bytes) = (picture.dimensions(), picture.as_raw());
    let bytes = resized::<U8x3>(bytes, from, part, (width, height), FilterType::Bilinear)?;
    RgbImage::from_raw(width, height, bytes).ok_or_else(|| wrong(from, (width, height), &"too few"))
}

/// Resizes a gray picture by Lanczos' filter of three lobes.
///
/// # Errors
/// If a side is zero.
pub fn resize_gray(picture: &GrayImage, width: u32, height: u32) -> Result<GrayImage> {
    let (from, bytes) = (picture.dimensions(), picture.as_raw());
    if from == (width, height) {
        return Ok(picture.clone());
    }
    let whole = [0.0, 0.0, f64::from(from.0), f64::from(from.1)];
    let bytes = resized::<U8>(bytes, from, whole, (width, height), FilterType::Lanczos3)?;
    GrayImage::from_raw(width, height, bytes)
        .ok_or_else(|| wrong(from, (width, height), &"too few"))
}

fn wrong(from: (u32, u32), to: (u32, u32), error: &dyn std::fmt::Display) -> Error {
    let ((columns, rows), (width, height)) = (from, to);
    Error::data(format!(
        "could not resize a picture of {columns} x {rows} pixels to {width} x {height}: {error}"
    ))
}

fn resized<P: InnerPixel + PixelTrait>(
    bytes: &[u8],
    from: (u32, u32),
    [left, top, width, height]: [f64; 4],
    to: (u32, u32),
    filter: FilterType,
) -> Result<Vec<u8>> {
    let wrong = |error: &dyn std::fmt::Display| wrong(from, to, error);
    if from.0.min(from.1).min(to.0).min(to.1) == 0 {
        return Err(wrong(&"a side is 0"));
    }
    let mut pixels = vec![0; to.0 as usize * to.1 as usize * P::size()];
    let source =
        TypedImageRef::<P>::from_buffer(from.0, from.1, bytes).map_err(|error| wrong(&error))?;
    let mut target =
        TypedImage::<P>::from_buffer(to.0, to.1, &mut pixels).map_err(|error| wrong(&error))?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(left, top, width, height);
    let resized = Resizer::new().resize_typed(&source, &mut target, &options);
    resized.map_err(|error| wrong(&error))?;
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages_and_a_side_of_nothing_is_refused() {
        let picture =
            RgbImage::from_fn(8, 4, |x, _| image::Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
        let half = resize(&picture, 4, 2).unwrap();
        assert!(half.as_raw().iter().all(|value| (75..=125).contains(value)), "{half:?}");
        let part = resize_part(&picture, [1.0, 0.0, 1.0, 4.0], 1, 4).unwrap();
        assert!(part.as_raw().iter().all(|value| *value == 200), "{part:?}");
        let gray = GrayImage::from_pixel(9, 9, image::Luma([7]));
        assert!(resize_gray(&gray, 3, 5).unwrap().as_raw().iter().all(|value| *value == 7));
        assert!(resize(&picture, 0, 2).is_err() && resize_gray(&gray, 1, 0).is_err());
        assert!(resize_part(&picture, [6.0, 0.0, 4.0, 4.0], 2, 2).is_err());
    }
}
