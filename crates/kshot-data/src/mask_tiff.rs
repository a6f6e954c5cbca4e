//! Masks as TIFF: class numbers in one band, as napari, Fiji and GIS tools read and write them.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult};
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

/// The numbers of the first picture of a TIFF of one band, row by row, and its width and height.
///
/// # Errors
/// If the file is damaged, too large, or has several bands.
pub fn numbers(path: &Path) -> Result<([usize; 2], DecodingResult)> {
    let file = File::open(path).map_err(|error| Error::io("read the labels", path, error))?;
    let wrong = |error: tiff::TiffError| {
        Error::data(format!(
            "not a TIFF of labels kshot can read ({error}); save it as one band of whole numbers, or as a PNG"
        ))
        .in_file(path)
        .caused_by(error)
    };
    let mut decoder = Decoder::new(BufReader::new(file)).map_err(wrong)?;
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    ReadLimits::default().check(width, height).map_err(|error| error.in_file(path))?;
    let bands = decoder.colortype().map_err(wrong)?.num_samples();
    if bands != 1 {
        return Err(Error::data(format!(
            "a TIFF of {bands} bands; labels have one, of class or object numbers: save it as one band, or as a PNG of \
             colours with colors.csv"
        ))
        .in_file(path));
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
