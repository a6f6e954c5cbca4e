//! Kinds of TIFF that the usual decoder does not know: BigTIFF, floating-point and signed numbers, YCbCr.

use std::io::{Read, Seek};

use image::{DynamicImage, ImageBuffer, Rgb};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};

use crate::error::{Error, Result};
use crate::image::ReadLimits;

/// Share of the values that may lie below and above the range that is shown.
const TAIL: f64 = 0.001;

/// Decodes the first page. Whole numbers of 8 and 16 bits stay as they are; what else there is, is stretched: all but a
/// thousandth of the values at either end to the whole range.
///
/// # Errors
/// If it is damaged, too large, or of a kind that is not known.
pub fn read<R: Read + Seek>(file: R, limits: ReadLimits) -> Result<DynamicImage> {
    let wrong = |error: tiff::TiffError| {
        Error::data(format!(
            "a TIFF kshot cannot read ({error}); export it as PNG or as RGB of 8 bits"
        ))
        .caused_by(error)
    };
    let mut decoder = Decoder::new(file).map_err(wrong)?;
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    limits.check(width, height)?;
    let kind = decoder.colortype().map_err(wrong)?;
    let values = decoder.read_image().map_err(wrong)?;
    let bands = usize::from(kind.num_samples());
    let refused = || {
        Error::data(format!(
            "a TIFF of {bands} bands of the kind {kind:?}; export it as gray or RGB"
        ))
    };
    let shown = match bands {
        1 | 2 => 1,
        3 | 4 => 3,
        _ => return Err(refused()),
    };
    let sized = |length: usize| length == width as usize * height as usize * bands;
    let planes = |at: usize| if shown == 1 { [at; 3] } else { [at, at + 1, at + 2] };
    match values {
        DecodingResult::U8(values) if sized(values.len()) => {
            let pixel = |at: usize| {
                let [a, b, c] = planes(at).map(|at| values[at]);
                if matches!(kind, ColorType::YCbCr(_)) { from_ycbcr([a, b, c]) } else { [a, b, c] }
            };
            let picture = ImageBuffer::from_fn(width, height, |x, y| {
                Rgb(pixel((y as usize * width as usize + x as usize) * bands))
            });
            Ok(DynamicImage::ImageRgb8(picture))
        }
        DecodingResult::U16(values) if sized(values.len()) => {
            let picture = ImageBuffer::from_fn(width, height, |x, y| {
                let at = (y as usize * width as usize + x as usize) * bands;
                Rgb(planes(at).map(|at| values[at]))
            });
            Ok(DynamicImage::ImageRgb16(picture))
        }
        other => {
            let values = floats(other).filter(|values| sized(values.len())).ok_or_else(refused)?;
            let (low, high) = range(&values, bands, shown);
            let span = (high - low).max(f32::MIN_POSITIVE);
            let picture = ImageBuffer::from_fn(width, height, |x, y| {
                let at = (y as usize * width as usize + x as usize) * bands;
                Rgb(planes(at).map(|at| ((values[at] - low) / span * 255.0 + 0.5) as u8))
            });
            Ok(DynamicImage::ImageRgb8(picture))
        }
    }
}

/// The values that become black and white.
fn range(values: &[f32], bands: usize, shown: usize) -> (f32, f32) {
    let of = values.chunks_exact(bands).flat_map(|pixel| &pixel[..shown]);
    let mut of: Vec<f32> = of.copied().filter(|value| value.is_finite()).collect();
    if of.is_empty() {
        return (0.0, 1.0);
    }
    let tail = (of.len() as f64 * TAIL) as usize;
    let last = of.len() - 1;
    let (_, low, _) = of.select_nth_unstable_by(tail, f32::total_cmp);
    let low = *low;
    let (_, high, _) = of.select_nth_unstable_by(last - tail, f32::total_cmp);
    (low, *high)
}

fn floats(values: DecodingResult) -> Option<Vec<f32>> {
    Some(match values {
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::F16(values) => values.into_iter().map(|value| value.to_f32()).collect(),
        DecodingResult::I8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U8(_) | DecodingResult::U16(_) => return None,
    })
}

/// JFIF's colours (ITU-R BT.601, full range).
pub(super) fn from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|value| (value + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use tiff::encoder::{TiffEncoder, colortype};

    fn pixels(file: &[u8]) -> Vec<u8> {
        let picture = read(Cursor::new(file), ReadLimits::default()).unwrap();
        picture.to_rgb8().pixels().map(|pixel| pixel.0[0]).collect()
    }

    #[test]
    fn numbers_of_every_kind_are_stretched() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new_big(&mut file).unwrap();
        encoder.write_image::<colortype::Gray32Float>(3, 1, &[-1.0, 0.0, 1.0]).unwrap();
        assert_eq!(pixels(file.get_ref()), [0, 128, 255]);
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<colortype::GrayI16>(3, 1, &[-300, 0, 300]).unwrap();
        assert_eq!(pixels(file.get_ref()), [0, 128, 255]);
        let mut file = Cursor::new(Vec::new());
        TiffEncoder::new_big(&mut file)
            .unwrap()
            .write_image::<colortype::Gray8>(2, 1, &[7, 9])
            .unwrap();
        assert_eq!(pixels(file.get_ref()), [7, 9]);
        assert_eq!(from_ycbcr([76, 85, 255]), [254, 0, 0]);
    }
}
