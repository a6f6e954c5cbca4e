//! DICOM: the picture as a viewer shows it, by the window that the file asks for, without one from its least to its
//! greatest value; of several frames the first.

use std::io::{Cursor, Read};

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, OpenFileOptions};
use dicom_pixeldata::{DecodedPixelData, PixelDecoder};
use image::{DynamicImage, GrayImage, RgbImage};

use crate::error::{Error, Result};
use crate::image::{ReadLimits, dicom_lengths, tiff_kinds};

/// Pixels that a byte of a file can hold at most: a block of 8 x 8 of a JPEG inside takes a bit or more.
const PIXELS_OF_BYTE: u64 = 1024;

/// Whether a file begins as DICOM files do; `start` is at least 132 bytes of it.
pub fn is_one(start: &[u8]) -> bool {
    start.get(128..).is_some_and(|rest| rest.starts_with(b"DICM"))
}

/// Decodes the first frame as 8 bits.
///
/// # Errors
/// If it is damaged, too large, without a picture, or compressed in a way that is not known (JPEG 2000, JPEG-LS).
pub fn read<R: Read>(bytes: R, limits: ReadLimits) -> Result<DynamicImage> {
    let whole = whole(bytes)?;
    let length = whole.len() as u64;
    let object = OpenFileOptions::new().from_reader(Cursor::new(whole));
    let object = object.map_err(|error| wrong(&error))?;
    let (width, height) = size(&object)?;
    limits.check(width, height)?;
    if u64::from(width) * u64::from(height) > length * PIXELS_OF_BYTE {
        return Err(super::unfilled(width, height, length));
    }
    let pixels = object.decode_pixel_data_frame(0).map_err(|error| wrong(&error))?;
    let picture = if pixels.samples_per_pixel() == 1 {
        GrayImage::from_raw(width, height, gray(&pixels)?).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, colours(&pixels)?).map(DynamicImage::ImageRgb8)
    };
    picture
        .ok_or_else(|| Error::data("a DICOM file that ends before its last pixel; copy it again"))
}

/// The values of one plane by the file's first window (PS3.3 C.11.2.1.2, linear), else from the least to the greatest.
fn gray(pixels: &DecodedPixelData<'_>) -> Result<Vec<u8>> {
    let inverted = match pixels.photometric_interpretation().as_str() {
        "MONOCHROME1" => true,
        "MONOCHROME2" => false,
        other => return Err(unknown(other)),
    };
    let values: Vec<f32> = pixels.to_vec_frame(0).map_err(|error| wrong(&error))?;
    let window = pixels.window().map_err(|error| wrong(&error))?.and_then(|all| all.first());
    let (low, width) = match window {
        Some(window) if window.width > 1.0 => {
            (window.center - 0.5 - (window.width - 1.0) / 2.0, window.width - 1.0)
        }
        _ => {
            let ends = values.iter().filter(|value| value.is_finite());
            let ends = ends.fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
            (f64::from(ends.0), f64::from(ends.1) - f64::from(ends.0))
        }
    };
    let scale = 255.0 / width.max(f64::MIN_POSITIVE);
    let shown = |value: f32| {
        // Saturates, and gives 0 for what is no number.
        let level = ((f64::from(value) - low) * scale + 0.5) as u8;
        if inverted { 255 - level } else { level }
    };
    Ok(values.into_iter().map(shown).collect())
}

/// Three planes of 8 bits as red, green and blue, pixel by pixel.
fn colours(pixels: &DecodedPixelData<'_>) -> Result<Vec<u8>> {
    let kind = pixels.photometric_interpretation().as_str();
    let from_ycbcr = match kind {
        "RGB" => false,
        "YBR_FULL" | "YBR_FULL_422" => true,
        other => return Err(unknown(other)),
    };
    if pixels.samples_per_pixel() != 3 || pixels.bits_allocated() != 8 {
        return Err(unknown(kind));
    }
    let data = pixels.frame_data(0).map_err(|error| wrong(&error))?;
    let plane = data.len() / 3;
    let is_planar = pixels.planar_configuration() as u16 == 1;
    let pixel = |at: usize| {
        [0, 1, 2].map(|band| data[if is_planar { band * plane + at } else { 3 * at + band }])
    };
    let shown = (0..plane).map(pixel);
    Ok(match from_ycbcr {
        true => shown.flat_map(tiff_kinds::from_ycbcr).collect(),
        false => shown.flatten().collect(),
    })
}

/// A file's bytes, if its elements end within it.
fn whole<R: Read>(mut bytes: R) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    bytes.read_to_end(&mut whole).map_err(|error| wrong(&error))?;
    if dicom_lengths::fit(&whole) {
        return Ok(whole);
    }
    Err(Error::data(
        "a DICOM file that is cut off, damaged or packed as a whole; copy it again, or export it as PNG",
    ))
}

fn unknown(kind: &str) -> Error {
    Error::data(format!(
        "a DICOM file of the kind {kind}, which is not read (gray, and RGB or YBR of 8 bits are); export it as PNG"
    ))
}

/// Width and height.
///
/// # Errors
/// If it is damaged or has no picture.
pub fn dimensions<R: Read>(bytes: R) -> Result<(u32, u32)> {
    let head = OpenFileOptions::new().read_until(tags::PIXEL_DATA);
    let head = head.from_reader(Cursor::new(whole(bytes)?));
    size(&head.map_err(|error| wrong(&error))?)
}

fn size(object: &DefaultDicomObject) -> Result<(u32, u32)> {
    let number = |tag| object.element(tag).ok().and_then(|of| of.to_int::<u32>().ok());
    match (number(tags::COLUMNS), number(tags::ROWS)) {
        (Some(width), Some(height)) => Ok((width, height)),
        _ => Err(Error::data(
            "a DICOM file without a picture (no rows and columns); leave it out, or export its picture as PNG",
        )),
    }
}

fn wrong(error: &(dyn std::error::Error + 'static)) -> Error {
    // The reason is at the end of the chain.
    let mut reason = error;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    Error::data(format!(
        "a DICOM file that cannot be decoded ({reason}); export it as PNG (JPEG 2000 and JPEG-LS inside are not read)"
    ))
}
