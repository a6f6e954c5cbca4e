//! Masks as TIFF: class numbers in one band, as napari, Fiji and GIS tools read and write them.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

use crate::atomic;
use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::mask::{Mask, VOID};

/// What places a picture on the map.
const PLACE: [Tag; 6] = [
    Tag::ModelPixelScaleTag,
    Tag::ModelTiepointTag,
    Tag::ModelTransformationTag,
    Tag::GeoKeyDirectoryTag,
    Tag::GeoDoubleParamsTag,
    Tag::GeoAsciiParamsTag,
];

/// Whether a file begins as a TIFF does.
pub fn is_tiff(start: &[u8]) -> bool {
    matches!(start.get(..4), Some(b"II*\0" | b"MM\0*" | b"II+\0" | b"MM\0+"))
}

/// Reads the first picture of a TIFF as class numbers: one band of whole numbers of any width, from 0 to 255. Where there
/// is only 0 and one other number that is the largest of its width, that is 255.
///
/// # Errors
/// If the file is damaged, has several bands, or holds other numbers.
pub fn read(path: &Path) -> Result<Mask> {
    let (size, values) = numbers(path)?;
    let values = match values {
        DecodingResult::U8(values) => return Mask::from_pixels(size[0], size[1], values),
        DecodingResult::U16(values) => narrow(&values, u16::MAX),
        DecodingResult::U32(values) => narrow(&values, u32::MAX),
        DecodingResult::U64(values) => narrow(&values, u64::MAX),
        DecodingResult::I8(values) => narrow(&values, i8::MAX),
        DecodingResult::I16(values) => narrow(&values, i16::MAX),
        DecodingResult::I32(values) => narrow(&values, i32::MAX),
        DecodingResult::I64(values) => narrow(&values, i64::MAX),
        _ => Err("floating-point numbers, which are no class numbers; save it as whole numbers"
            .to_owned()),
    };
    let pixels =
        values.map_err(|what| Error::data(format!("the mask holds {what}")).in_file(path))?;
    Mask::from_pixels(size[0], size[1], pixels)
}

/// Width and height of a TIFF's first picture, from its header; `None` of other files.
pub fn size(path: &Path) -> Option<(usize, usize)> {
    let mut decoder = Decoder::new(BufReader::new(File::open(path).ok()?)).ok()?;
    let (width, height) = decoder.dimensions().ok()?;
    Some((width as usize, height as usize))
}

/// Bytes of a picture of numbers at most: 200 million of 32 bits.
const MOST_BYTES: usize = 800_000_000;

/// The numbers of the first picture of a TIFF of one band, row by row, and its width and height.
///
/// # Errors
/// If the file is damaged, too large, or has several bands.
pub fn numbers(path: &Path) -> Result<([usize; 2], DecodingResult)> {
    let failed = |error| Error::io("read the labels", path, error);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let wrong = |error: tiff::TiffError| {
        Error::data(format!(
            "not a TIFF of labels kshot can read ({error}); save it as one band of whole numbers, or as a PNG"
        ))
        .in_file(path)
        .caused_by(error)
    };
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MOST_BYTES;
    // No part can be longer than the file.
    limits.intermediate_buffer_size =
        limits.intermediate_buffer_size.max(usize::try_from(length).unwrap_or(usize::MAX));
    let decoder = Decoder::new(BufReader::new(file)).map_err(wrong)?;
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    ReadLimits::default().check(width, height).map_err(|error| error.in_file(path))?;
    let kind = decoder.colortype().map_err(wrong)?;
    let bands = kind.num_samples();
    if bands != 1 {
        return Err(Error::data(format!(
            "a TIFF of {bands} bands; labels have one, of class or object numbers: save it as one band, or as a PNG of \
             colours with colors.csv"
        ))
        .in_file(path));
    }
    let packed = decoder.find_tag_unsigned::<u16>(Tag::Compression).map_err(wrong)?;
    let bits = u64::from(width) * u64::from(height) * u64::from(kind.bit_depth());
    if packed.is_none_or(|packed| packed == 1) && bits.div_ceil(8) > length {
        let text = format!(
            "the file ends too early: {width} x {height} numbers of {} bits do not fit into its {length} bytes; copy or \
             export it again",
            kind.bit_depth()
        );
        return Err(Error::data(text).in_file(path));
    }
    Ok(([width as usize, height as usize], decoder.read_image().map_err(wrong)?))
}

/// Class numbers of numbers of any width, of which `largest` is the largest there is.
///
/// # Errors
/// In words, if one is not from 0 to 255.
pub fn narrow<T: Copy + PartialEq + TryInto<u8> + std::fmt::Display>(
    values: &[T],
    largest: T,
) -> Result<Vec<u8>, String> {
    let narrowed: Option<Vec<u8>> = values.iter().map(|&value| value.try_into().ok()).collect();
    if let Some(narrowed) = narrowed {
        return Ok(narrowed);
    }
    let binary: Option<Vec<u8>> =
        values
            .iter()
            .map(|&value| {
                if value == largest {
                    Some(VOID)
                } else {
                    value.try_into().ok().filter(|v| *v == 0)
                }
            })
            .collect();
    binary.ok_or_else(|| {
        let wrong = |value: &&T| TryInto::<u8>::try_into(**value).is_err();
        let first = values.iter().find(wrong).map(ToString::to_string).unwrap_or_default();
        let count = values.iter().filter(wrong).count();
        format!(
            "numbers that are no class numbers, such as {first} ({count} pixels in all): valid are 0 to 255. If they \
             number single objects, as Cellpose and StarDist write them, give every object its class's number (1 for the \
             first class)"
        )
    })
}

/// Writes a mask as one band of 8 bits, uncompressed, so that GIS tools can edit it in place. Where `picture` is a TIFF that
/// says where on the map it lies, the mask says the same.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, mask: &Mask, picture: &Path) -> Result<()> {
    let wrong = |error: tiff::TiffError| {
        Error::data("could not encode the mask as a TIFF").in_file(path).caused_by(error)
    };
    let mut bytes = Cursor::new(Vec::new());
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut encoder = TiffEncoder::new(&mut bytes).map_err(wrong)?;
    let mut image = encoder
        .new_image::<colortype::Gray8>(side(mask.width), side(mask.height))
        .map_err(wrong)?;
    for (tag, value) in place(picture) {
        match value {
            PlaceValue::Doubles(values) => image.encoder().write_tag(tag, &values[..]),
            PlaceValue::Shorts(values) => image.encoder().write_tag(tag, &values[..]),
            PlaceValue::Text(text) => image.encoder().write_tag(tag, &text[..]),
        }
        .map_err(wrong)?;
    }
    image.write_data(&mask.pixels).map_err(wrong)?;
    atomic::write(path, &bytes.into_inner())
}

enum PlaceValue {
    Doubles(Vec<f64>),
    Shorts(Vec<u16>),
    Text(String),
}

/// What a picture says of its place on the map; nothing where it is no TIFF, or says nothing.
fn place(picture: &Path) -> Vec<(Tag, PlaceValue)> {
    let decoder = File::open(picture).ok().and_then(|file| Decoder::new(BufReader::new(file)).ok());
    let Some(mut decoder) = decoder else { return Vec::new() };
    PLACE
        .into_iter()
        .filter_map(|tag| {
            let value = decoder.find_tag(tag).ok()??;
            let value = match tag {
                Tag::GeoKeyDirectoryTag => PlaceValue::Shorts(value.into_u16_vec().ok()?),
                Tag::GeoAsciiParamsTag => PlaceValue::Text(value.into_string().ok()?),
                _ => PlaceValue::Doubles(value.into_f64_vec().ok()?),
            };
            Some((tag, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_reads_back_with_its_place_on_the_map() {
        let folder = tempfile::tempdir().unwrap();
        let [picture, path] = ["picture.tif", "mask.tif"].map(|name| folder.path().join(name));
        let mut encoder = TiffEncoder::new(File::create(&picture).unwrap()).unwrap();
        let mut image = encoder.new_image::<colortype::RGB8>(3, 2).unwrap();
        let scale = [0.5f64, 0.5, 0.0];
        image.encoder().write_tag(Tag::ModelPixelScaleTag, &scale[..]).unwrap();
        image.encoder().write_tag(Tag::GeoKeyDirectoryTag, &[1u16, 1, 0, 0][..]).unwrap();
        image.encoder().write_tag(Tag::GeoAsciiParamsTag, "WGS 84|").unwrap();
        image.write_data(&[7; 18]).unwrap();
        let mask = Mask::from_pixels(3, 2, vec![0, 1, 2, 250, 254, 255]).unwrap();
        write(&path, &mask, &picture).unwrap();
        assert_eq!(read(&path).unwrap(), mask);
        let mut decoder = Decoder::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(decoder.get_tag_f64_vec(Tag::ModelPixelScaleTag).unwrap(), scale);
        assert_eq!(decoder.get_tag_ascii_string(Tag::GeoAsciiParamsTag).unwrap(), "WGS 84|");
        assert!(read(&picture).unwrap_err().to_string().contains("3 bands"));
    }

    #[test]
    fn what_is_not_in_the_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tif");
        let mut encoder = TiffEncoder::new(File::create(&path).unwrap()).unwrap();
        encoder.write_image::<colortype::Gray8>(4, 1, &[0, 1, 2, 3]).unwrap();
        // Width and height are the first numbers of the directory, of 12 bytes each.
        let mut bytes = std::fs::read(&path).unwrap();
        let directory = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize + 2;
        for entry in 0..2 {
            let at = directory + 12 * entry;
            bytes[at + 2..at + 4].copy_from_slice(&4u16.to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&14_000u32.to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(size(&path), Some((14_000, 14_000)));
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("ends too early") && error.contains("14000 x 14000"), "{error}");
    }

    #[test]
    fn whole_numbers_of_any_width_are_class_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tif");
        let file = || File::create(&path).unwrap();
        let mut encoder = TiffEncoder::new(file()).unwrap();
        encoder.write_image::<colortype::GrayI32>(2, 1, &[0, 3]).unwrap();
        assert_eq!(read(&path).unwrap().pixels, [0, 3]);
        let mut encoder = TiffEncoder::new(file()).unwrap();
        encoder.write_image::<colortype::Gray16>(2, 1, &[0, 65_535]).unwrap();
        assert_eq!(read(&path).unwrap().pixels, [0, 255]);
        let mut encoder = TiffEncoder::new(file()).unwrap();
        encoder.write_image::<colortype::Gray16>(2, 1, &[1, 300]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("such as 300") && error.contains("single objects"), "{error}");
    }
}
