//! What Label Studio's brush leaves: run lengths of a picture's bytes, packed bit by bit, or a PNG.

use std::io::Cursor;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder as _};
use serde_json::Value;

use crate::labels::runs::by_columns;

/// The run lengths of a brush, in a picture of this size.
///
/// # Errors
/// In words, if it is damaged or of another size.
pub fn brush(runs: &Value, (width, height): (usize, usize)) -> Result<Vec<u32>, String> {
    let byte = |number: &Value| number.as_u64().and_then(|number| u8::try_from(number).ok());
    let bytes: Option<Vec<u8>> =
        runs.as_array().and_then(|numbers| numbers.iter().map(byte).collect());
    let bytes = bytes.ok_or("its `rle` is no list of bytes")?;
    let inside = opaque(&bytes, width * height)?;
    Ok(by_columns(&inside, width, [0, 0], (width, height)))
}

/// The pixels that are not fully transparent, of a picture of so many pixels.
pub(super) fn opaque(bytes: &[u8], pixels: usize) -> Result<Vec<Range<usize>>, String> {
    let mut bits = Bits { bytes, at: 0 };
    let values = bits.read(32).unwrap_or(0) as usize;
    if values != 4 * pixels {
        return Err(format!(
            "its `rle` is of {values} values, but {pixels} pixels of RGBA are {}",
            4 * pixels
        ));
    }
    decoded_runs(&mut bits, values)
        .ok_or_else(|| "its `rle` ends too early; export it again".to_owned())
}

/// What follows the number of values: the bits of a value, the bits of four lengths of runs, and the runs: whether all
/// values are the same, which of the four lengths, the length, and the value or values. `None` where the bits end.
fn decoded_runs(bits: &mut Bits<'_>, values: usize) -> Option<Vec<Range<usize>>> {
    let word = bits.read(5)? + 1;
    let mut lengths = [0; 4];
    for length in &mut lengths {
        *length = bits.read(4)? + 1;
    }
    let mut inside = Vec::new();
    let mut at = 0;
    while at < values {
        let same = bits.read(1)? == 1;
        let length = lengths[bits.read(2)? as usize];
        let end = (at + bits.read(length)? as usize + 1).min(values);
        if same {
            if bits.read(word)? > 0 {
                extend(&mut inside, at, end);
            }
            at = end;
        }
        while at < end {
            if bits.read(word)? > 0 {
                extend(&mut inside, at, at + 1);
            }
            at += 1;
        }
    }
    Some(inside)
}

/// Adds the pixels whose fourth value, the alpha channel, is in a run of values.
fn extend(inside: &mut Vec<Range<usize>>, from: usize, to: usize) {
    let (from, to) = (from / 4, to / 4);
    match inside.last_mut() {
        _ if from == to => {}
        Some(last) if last.end == from => last.end = to,
        _ => inside.push(from..to),
    }
}

/// Bytes bit by bit, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// A number of up to 32 bits; `None` where the bytes end.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            number = (number << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(number)
    }
}

/// The run lengths of a PNG of a picture's size in a `data:` address: what is not fully transparent.
///
/// # Errors
/// In words, if it is damaged or of another size.
pub fn bitmask(picture: &Value, (width, height): (usize, usize)) -> Result<Vec<u32>, String> {
    let address = picture.as_str().unwrap_or_default();
    let base64 = address.split_once("base64,").map_or(address, |(_, data)| data);
    let bytes = STANDARD.decode(base64.trim()).map_err(|error| format!("no base64: {error}"))?;
    let wrong = |error: image::ImageError| format!("no PNG: {error}");
    let limits = image::Limits::default();
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(wrong)?;
    let (w, h) = decoder.dimensions();
    if (w as usize, h as usize) != (width, height) {
        return Err(format!("its mask is {w} x {h}, but its picture {width} x {height}"));
    }
    let mask = DynamicImage::from_decoder(decoder).map_err(wrong)?.into_rgba8();
    let mut inside = Vec::new();
    for (at, _) in mask.pixels().enumerate().filter(|(_, pixel)| pixel.0[3] > 0) {
        extend(&mut inside, 4 * at, 4 * at + 4);
    }
    Ok(by_columns(&inside, width, [0, 0], (width, height)))
}
