//! Kinds of TIFF that the usual decoder does not know: BigTIFF, floating-point and signed numbers, YCbCr, palettes; and how
//! many pages a TIFF has.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use image::{DynamicImage, ImageBuffer, Rgb};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::names::{Examples, counted};

mod palette;

/// Share of the values that may lie below and above the range that is shown.
const TAIL: f64 = 0.001;

/// Pages that are counted.
const MOST_PAGES: usize = 10_000;
/// What a page is for: bits of a smaller version and of a mask of another page.
const NO_PAGE: u32 = 0b101;

/// How many pages a TIFF has, smaller versions and masks of others aside; `None` of other files.
pub fn pages(path: &Path) -> Option<usize> {
    let is = |end: &str| path.extension().is_some_and(|known| known.eq_ignore_ascii_case(end));
    if !is("tif") && !is("tiff") {
        return None;
    }
    let mut decoder = Decoder::new(BufReader::new(File::open(path).ok()?)).ok()?;
    let mut count = 0;
    loop {
        let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).ok().flatten();
        count += usize::from(kind.unwrap_or(0) & NO_PAGE == 0);
        if count >= MOST_PAGES || !decoder.more_images() || decoder.next_image().is_err() {
            return Some(count);
        }
    }
}

/// The TIFFs among files that have several pages.
#[derive(Debug, Default)]
pub struct Pages(Examples);

impl Pages {
    /// Looks at the files.
    pub fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let mut found = Examples::default();
        for file in files {
            if let Some(count) = pages(file).filter(|count| *count > 1) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                found.add(format!("{name} ({count} pages)"));
            }
        }
        Self(found)
    }

    /// What to know of them; `None` where there is none.
    pub fn in_words(&self) -> Option<String> {
        let Self(found) = self;
        let files = counted(found.count(), "TIFF file has", "TIFF files have");
        (found.count() > 0)
            .then(|| format!("{files} several pages, of which the first is read: {found}"))
    }
}

/// Decodes the first page. Whole numbers of 8 and 16 bits stay as they are; what else there is, is stretched: all but a
/// thousandth of the values at either end to the whole range.
///
/// # Errors
/// If it is damaged, too large, or of a kind that is not known.
pub fn read<R: Read + Seek>(mut file: R, limits: ReadLimits) -> Result<DynamicImage> {
    if let Some(place) = palette::place(&mut file) {
        return palette::read(file, place, limits);
    }
    numbers(file, limits)
}

/// What is said of a TIFF that its decoder refuses.
fn wrong(error: tiff::TiffError) -> Error {
    Error::data(format!("a TIFF kshot cannot read ({error}); export it as PNG or as RGB of 8 bits"))
        .caused_by(error)
}

fn numbers<R: Read + Seek>(file: R, limits: ReadLimits) -> Result<DynamicImage> {
    let mut decoder = Decoder::new(file).map_err(wrong)?;
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    limits.check(width, height)?;
    let kind = decoder.colortype().map_err(wrong)?;
    let values = decoder.read_image().map_err(wrong)?;
    let bands = usize::from(kind.num_samples());
    let refused = || {
        Error::data(format!(
            "a TIFF of {} of the kind {kind:?}; export it as gray or RGB, band beside band",
            counted(bands, "band", "bands")
        ))
    };
    let shown = match (bands, kind) {
        // Inks and opponent colours are no red, green and blue.
        (_, ColorType::CMYK(_) | ColorType::CMYKA(_) | ColorType::Lab(_)) => return Err(refused()),
        (1 | 2, _) => 1,
        (3 | 4, _) => 3,
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

    #[test]
    fn pages_are_counted_without_thumbnails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let write = |kinds: &[u32]| {
            let mut encoder = TiffEncoder::new(File::create(&path).unwrap()).unwrap();
            for kind in kinds {
                let mut page = encoder.new_image::<colortype::Gray8>(2, 1).unwrap();
                page.encoder().write_tag(Tag::NewSubfileType, *kind).unwrap();
                page.write_data(&[1, 2]).unwrap();
            }
        };
        for (kinds, expected) in [(&[0][..], 1), (&[0, 1, 5], 1), (&[0, 2, 2, 1], 3)] {
            write(kinds);
            assert_eq!(pages(&path), Some(expected));
        }
        let files = [path.as_path(), Path::new("b.png"), Path::new("none.tif")];
        let words = Pages::of(files.into_iter()).in_words().unwrap();
        assert!(
            words.starts_with("1 TIFF file has several pages")
                && words.ends_with("a.tif (3 pages)")
        );
        write(&[0]);
        assert_eq!(Pages::of(files.into_iter()).in_words(), None);
    }

    #[test]
    fn inks_are_refused_and_not_shown_as_colours() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new_big(&mut file).unwrap();
        encoder.write_image::<colortype::CMYK8>(1, 1, &[0, 255, 255, 0]).unwrap();
        let error = read(Cursor::new(file.into_inner()), ReadLimits::default()).unwrap_err();
        assert!(error.to_string().contains("4 bands of the kind CMYK"), "{error}");
    }
}
