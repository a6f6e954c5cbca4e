//! JPEG XL, still pictures; of an animation the first frame.

use std::io::{Cursor, Read};

use image::{DynamicImage, ImageDecoder, Limits};
use jxl_oxide::JxlImage;
use jxl_oxide::integration::JxlDecoder;

use crate::error::{Error, Result};
use crate::image::ReadLimits;

/// Bytes that the decoder may hold for a pixel: planes of 32 bits, of the frame and of what it is drawn from.
const WORKING_BYTES: u64 = 48;
/// Bytes that it may hold besides.
const BASE_BYTES: u64 = 64 << 20;
/// Pixels at most, since each takes so much.
const MOST_PIXELS: u64 = 64_000_000;
/// Pixels that a byte of a file can hold at most, beyond [`FREE_PIXELS`]: photographs have some tens.
const PIXELS_OF_BYTE: u64 = 1 << 14;
/// Pixels that a file of any length may have.
const FREE_PIXELS: u64 = 1 << 20;

/// Whether a file begins as a bare codestream or as a container does.
pub fn is_one(start: &[u8]) -> bool {
    start.starts_with(b"\xff\x0a") || start.get(4..).is_some_and(|rest| rest.starts_with(b"JXL "))
}

/// Decodes a picture, upright.
///
/// # Errors
/// If it is cut off, damaged or too large.
pub fn read<R: Read>(mut bytes: R, limits: ReadLimits) -> Result<DynamicImage> {
    let mut whole = Vec::new();
    bytes.read_to_end(&mut whole).map_err(|error| wrong(&error))?;
    // The decoder shows what there is of a picture that is cut off.
    let image = JxlImage::builder().read(Cursor::new(&whole)).map_err(|error| wrong(&error))?;
    let (width, height) = (image.width(), image.height());
    ReadLimits { pixels: limits.pixels.min(MOST_PIXELS), ..limits }.check(width, height)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > FREE_PIXELS + PIXELS_OF_BYTE * whole.len() as u64 {
        return Err(super::unfilled(width, height, whole.len() as u64));
    }
    if !image.is_loading_done() {
        return Err(Error::data(super::CUT));
    }
    drop(image);
    let mut decoder = JxlDecoder::new(Cursor::new(whole)).map_err(|error| wrong(&error))?;
    let mut memory = Limits::default();
    memory.max_alloc = Some(BASE_BYTES + pixels * WORKING_BYTES);
    decoder.set_limits(memory).map_err(|error| wrong(&error))?;
    DynamicImage::from_decoder(decoder).map_err(|error| wrong(&error))
}

/// Width and height, upright.
///
/// # Errors
/// If it is damaged.
pub fn dimensions<R: Read>(bytes: R) -> Result<(u32, u32)> {
    Ok(JxlDecoder::new(bytes).map_err(|error| wrong(&error))?.dimensions())
}

fn wrong(error: &dyn std::fmt::Display) -> Error {
    Error::data(format!(
        "a JPEG XL that cannot be decoded ({error}); copy it again, or export it as PNG or JPEG"
    ))
}
