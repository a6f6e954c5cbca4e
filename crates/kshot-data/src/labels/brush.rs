//! What brushes of tools leave: Label Studio's run lengths of a picture's bytes, packed bit by bit, and PNGs in base64.

use std::io::{Cursor, Read};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder as _};
use serde_json::Value;

use crate::labels::runs::{ColumnRuns, by_columns};

/// Bytes that a PNG may have beside its pixels: names, text, a profile.
const MOST_BESIDE: u64 = 1 << 20;
/// Bytes of a pixel at most.
const MOST_OF_PIXEL: u64 = 8;

/// The bytes of a PNG that may be packed by zlib once more, of a piece of a picture of this size.
///
/// # Errors
/// In words, if they are damaged, or more than such a piece needs.
pub fn unpacked(bytes: Vec<u8>, (width, height): (usize, usize)) -> Result<Vec<u8>, String> {
    if bytes.starts_with(b"\x89PNG") {
        return Ok(bytes);
    }
    // A PNG is hardly ever longer than its pixels; every row has a byte more.
    let pixels = (width as u64).saturating_mul(height as u64).saturating_mul(MOST_OF_PIXEL);
    let most = pixels.saturating_add(height as u64).saturating_add(MOST_BESIDE);
    let mut png = Vec::new();
    let packed = ZlibDecoder::new(bytes.as_slice()).take(most.saturating_add(1));
    { packed }.read_to_end(&mut png).map_err(|error| error.to_string())?;
    if png.len() as u64 > most {
        return Err(format!("it unpacks to more than a picture of {width} x {height} pixels"));
    }
    Ok(png)
}

/// The piece of a picture of this size that a PNG holds.
///
/// # Errors
/// In words, if it is damaged, no PNG, or larger than the picture.
pub fn piece(png: &[u8], (width, height): (usize, usize)) -> Result<DynamicImage, String> {
    let wrong = |error: image::ImageError| format!("no PNG: {error}");
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(MOST_BESIDE.saturating_add(width as u64 * MOST_OF_PIXEL));
    let decoder = PngDecoder::with_limits(Cursor::new(png), limits).map_err(wrong)?;
    let (w, h) = decoder.dimensions();
    if w as usize > width || h as usize > height {
        return Err(format!("it is {w} x {h} pixels, more than its picture of {width} x {height}"));
    }
    DynamicImage::from_decoder(decoder).map_err(wrong)
}

/// The run lengths of a piece of a picture that lies at a corner, cut at the picture's borders; `None` where no pixel is
/// inside.
pub fn placed(
    (across, down): (u32, u32),
    inside: impl Fn(u32, u32) -> bool,
    [left, top]: [i64; 2],
    (width, height): (usize, usize),
) -> Option<Vec<u32>> {
    let place = |corner: i64, at: u32, side: usize| {
        usize::try_from(corner.saturating_add(i64::from(at))).ok().filter(|place| *place < side)
    };
    let mut runs = ColumnRuns::default();
    for x in 0..across {
        let Some(column) = place(left, x, width) else { continue };
        for y in 0..down {
            if let Some(row) = place(top, y, height)
                && inside(x, y)
            {
                runs.add(column * height + row);
            }
        }
    }
    runs.finish(width * height)
}

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
    let mask = piece(&bytes, (width, height))?;
    let (w, h) = (mask.width(), mask.height());
    if (w as usize, h as usize) != (width, height) {
        return Err(format!("its mask is {w} x {h}, but its picture {width} x {height}"));
    }
    let mask = mask.into_rgba8();
    let inside = |x: u32, y: u32| mask.get_pixel(x, y).0[3] > 0;
    let counts = placed((w, h), inside, [0, 0], (width, height));
    Ok(counts.unwrap_or_else(|| vec![(width * height) as u32]))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_piece_is_no_larger_than_its_picture() {
        let mut png = Cursor::new(Vec::new());
        image::GrayImage::new(9, 7).write_to(&mut png, image::ImageFormat::Png).unwrap();
        let png = png.into_inner();
        assert_eq!(unpacked(packed(&png), (9, 7)).unwrap(), png);
        assert_eq!(piece(&png, (9, 7)).unwrap().width(), 9);
        let error = piece(&png, (8, 7)).unwrap_err();
        assert!(error.contains("9 x 7 pixels, more than its picture of 8 x 7"), "{error}");
        let bomb = packed(&vec![0; 8 << 20]);
        let error = unpacked(bomb, (100, 100)).unwrap_err();
        assert!(error.contains("more than a picture of 100 x 100"), "{error}");
        assert!(unpacked(b"no zlib".to_vec(), (9, 7)).is_err());
    }

    #[test]
    fn a_piece_is_cut_at_the_borders() {
        let full = |x: i64, y: i64| placed((2, 3), |_, _| true, [x, y], (6, 4));
        assert_eq!(full(-1, -1), Some(vec![0, 2, 22]));
        assert_eq!(full(5, 2), Some(vec![22, 2]));
        for far in [[6, 0], [i64::MIN, 0], [0, i64::MAX]] {
            assert_eq!(full(far[0], far[1]), None);
        }
    }
}
