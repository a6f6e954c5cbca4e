//! Pictures of object numbers: 0 is none, every other value one object.
//!
//! Cellpose's `NAME_cp_masks.png|tif`, `NAME_masks.tif` and `NAME_seg.npy`, StarDist's label TIFFs, and whatever Fiji,
//! napari, QuPath or scikit-image save as a label image: PNG of 8 or 16 bits, TIFF of 8, 16 or 32 bits, NumPy's arrays,
//! whole numbers also as floats.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tiff::decoder::DecodingResult;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::labels::{index, numpy};
use crate::mask_tiff;
use crate::objects::ObjectMap;
use crate::png_rows::PngRows;
use crate::rle;

/// What a picture's name is followed by in Cellpose's files.
const SUFFIXES: [&str; 2] = ["_cp_masks", "_masks"];
/// The same of its arrays.
const ARRAY_SUFFIXES: [&str; 3] = ["_seg", "_cp_masks", "_masks"];
/// What Cellpose's training folders put behind the names of pictures.
const PICTURE: &str = "_img";

/// Objects of a picture at most.
const MOST_OBJECTS: usize = 1_000_000;

/// How names of NumPy's arrays end.
const ARRAY: &str = "npy";

/// A number a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Row by row.
    pub values: Vec<u32>,
}

/// The picture's name that a file of numbers is for, where it is one of Cellpose's; pictures themselves may have `_img`
/// behind it.
pub fn picture_name(file: &Path) -> Option<&str> {
    let stem = file.file_stem()?.to_str()?;
    let suffixes = if is_array(file) { &ARRAY_SUFFIXES[..] } else { &SUFFIXES };
    let name = suffixes.iter().find_map(|suffix| stem.strip_suffix(suffix))?;
    (!name.is_empty()).then_some(name)
}

/// The names that the picture of such a file may have.
pub fn candidates(name: &str) -> [String; 2] {
    [name.to_owned(), format!("{name}{PICTURE}")]
}

/// The pictures and NumPy's arrays of a folder, sorted, as [`crate::image::list`] has the pictures alone.
///
/// # Errors
/// As there.
pub fn list(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let endings: Vec<&str> = crate::image::EXTENSIONS.iter().copied().chain([ARRAY]).collect();
    crate::image::list_ending(folder, recursive, &endings)
}

/// Whether a file holds numbers rather than classes, whatever folder it is in: a TIFF, or a gray PNG of 16 bits.
pub fn is_numbers(path: &Path) -> bool {
    is_tiff(path) || {
        // Signature, length and name of the first chunk, width, height, then bits and kind of colour.
        let mut head = [0u8; 26];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
        read.is_ok() && head.starts_with(b"\x89PNG") && head[24] == 16 && head[25] == 0
    }
}

/// Whether a file is one of NumPy's arrays.
pub fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case(ARRAY))
}

fn is_tiff(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("tif") || end.eq_ignore_ascii_case("tiff"))
}

/// Reads a file of numbers.
///
/// # Errors
/// If it cannot be read, is in colour, is larger than pictures may be, or holds what is no whole number from 0 up.
pub fn read(path: &Path) -> Result<Numbers> {
    let read = match path {
        path if is_array(path) => numpy::read(path),
        path if is_tiff(path) => read_tiff(path),
        path => read_png(path),
    };
    read.and_then(few_enough).map_err(|error| error.in_file(path))
}

/// Refuses more objects than a picture shows: each has a name, a box and an outline.
fn few_enough(numbers: Numbers) -> Result<Numbers> {
    let largest = numbers.values.iter().max().copied().unwrap_or(0);
    if largest as usize > MOST_OBJECTS {
        let mut known = HashSet::new();
        for &number in &numbers.values {
            known.insert(number);
            if known.len() > MOST_OBJECTS {
                return Err(Error::data(format!(
                    "more than {} million different object numbers; this is no picture of objects, or one to be cut into \
                     parts",
                    MOST_OBJECTS / 1_000_000
                )));
            }
        }
    }
    Ok(numbers)
}

fn read_png(path: &Path) -> Result<Numbers> {
    if !is_numbers(path) {
        let mask = index::read_values(path)?;
        let values = mask.pixels.into_iter().map(u32::from).collect();
        return Ok(Numbers { width: mask.width, height: mask.height, values });
    }
    let wrong = |error: png::DecodingError| {
        Error::data(format!("not a picture of object numbers kshot can read ({error})"))
            .caused_by(error)
    };
    let png = PngRows::open(path, wrong)?;
    let (width, height) = png.size();
    let mut values = Vec::with_capacity((width * height).min(index::LARGE));
    png.rows(|row| {
        let pairs = row.chunks_exact(2);
        values.extend(pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))));
    })
    .map_err(wrong)?;
    Ok(Numbers { width, height, values })
}

fn read_tiff(path: &Path) -> Result<Numbers> {
    let ([width, height], values) = mask_tiff::numbers(path)?;
    let values = match values {
        DecodingResult::U8(values) => Ok(values.into_iter().map(u32::from).collect()),
        DecodingResult::U16(values) => Ok(values.into_iter().map(u32::from).collect()),
        DecodingResult::U32(values) => Ok(values),
        DecodingResult::I8(values) => whole(values.into_iter().map(f64::from)),
        DecodingResult::I16(values) => whole(values.into_iter().map(f64::from)),
        DecodingResult::I32(values) => whole(values.into_iter().map(f64::from)),
        DecodingResult::U64(values) => whole(values.into_iter().map(|value| value as f64)),
        DecodingResult::I64(values) => whole(values.into_iter().map(|value| value as f64)),
        DecodingResult::F32(values) => whole(values.into_iter().map(f64::from)),
        DecodingResult::F64(values) => whole(values.into_iter()),
        DecodingResult::F16(values) => whole(values.into_iter().map(|value| value.to_f64())),
    }?;
    Ok(Numbers { width, height, values })
}

/// Values as object numbers.
pub(super) fn whole(values: impl Iterator<Item = f64>) -> Result<Vec<u32>> {
    let number = |value: f64| {
        let fits = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
        fits.then_some(value as u32).ok_or_else(|| {
            Error::data(format!(
                "the value {value} is no object number; valid are 0 (none) and whole numbers up to {}",
                u32::MAX
            ))
        })
    };
    values.map(number).collect()
}

/// The objects of such a file, of one class, each with its number.
///
/// # Errors
/// If there is not a number a pixel.
pub fn objects(numbers: &Numbers, class: &str) -> Result<Vec<Object>> {
    let map = ObjectMap::new(numbers.width, numbers.height, &numbers.values, |_| 1)?;
    let mut named = vec![0i64; map.count()];
    for (&id, &number) in map.ids.iter().zip(&numbers.values).filter(|(id, _)| **id > 0) {
        named[id as usize - 1] = i64::from(number);
    }
    let runs = rle::runs(&map.ids, map.width, map.height, map.count() as u32);
    let object = |(runs, number): (rle::Runs, i64)| Object {
        id: Some(number),
        ..Object::new(class, ObjectShape::Runs(runs.counts))
    };
    Ok(runs.into_iter().zip(named).map(object).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma};
    use tiff::encoder::{TiffEncoder, colortype};

    #[test]
    fn every_depth_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let values = [0u16, 1, 2, 2, 0, 7];
        ImageBuffer::<Luma<u16>, _>::from_raw(3, 2, values.to_vec())
            .unwrap()
            .save(at("a.png"))
            .unwrap();
        let bytes = values.map(|value| value as u8).to_vec();
        ImageBuffer::<Luma<u8>, _>::from_raw(3, 2, bytes.clone())
            .unwrap()
            .save(at("b.png"))
            .unwrap();
        ImageBuffer::<Luma<u8>, _>::from_raw(3, 2, bytes).unwrap().save(at("c.tif")).unwrap();
        let encoder = |name: &str| TiffEncoder::new(File::create(at(name)).unwrap()).unwrap();
        let wide = values.map(i32::from);
        encoder("d.tiff").write_image::<colortype::GrayI32>(3, 2, &wide).unwrap();
        let floats = values.map(f32::from);
        encoder("e.tif").write_image::<colortype::Gray32Float>(3, 2, &floats).unwrap();
        for name in ["a.png", "b.png", "c.tif", "d.tiff", "e.tif"] {
            let numbers = read(&at(name)).unwrap();
            assert_eq!((numbers.width, numbers.height), (3, 2), "{name}");
            assert_eq!(numbers.values, values.map(u32::from), "{name}");
        }
        assert!(is_numbers(&at("a.png")) && !is_numbers(&at("b.png")));
        let objects = objects(&read(&at("a.png")).unwrap(), "cell").unwrap();
        assert_eq!(objects.iter().map(|of| of.id).collect::<Vec<_>>(), [Some(1), Some(2), Some(7)]);
        assert_eq!(objects[1].shape, ObjectShape::Runs(vec![1, 1, 2, 1, 1]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let encoder = |name: &str| TiffEncoder::new(File::create(at(name)).unwrap()).unwrap();
        encoder("half.tif").write_image::<colortype::Gray32Float>(2, 1, &[0.0, 1.5]).unwrap();
        encoder("below.tif").write_image::<colortype::GrayI16>(2, 1, &[0, -3]).unwrap();
        encoder("colour.tif").write_image::<colortype::RGB8>(1, 1, &[0, 1, 2]).unwrap();
        std::fs::write(at("text.tif"), "no picture").unwrap();
        for (name, words) in [
            ("half.tif", "1.5 is no object number"),
            ("below.tif", "-3 is no object number"),
            ("colour.tif", "3 bands"),
            ("text.tif", "one band of whole numbers"),
        ] {
            let error = read(&at(name)).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn more_objects_than_a_picture_shows_are_refused() {
        let numbers = |count: u32| Numbers { width: 0, height: 0, values: (0..count).collect() };
        assert!(few_enough(numbers(1_000_000)).is_ok());
        let error = few_enough(numbers(1_000_002)).unwrap_err().to_string();
        assert!(error.contains("more than 1 million"), "{error}");
        // One with a large number is one.
        let one = Numbers { width: 2, height: 1, values: vec![0, u32::MAX] };
        assert!(few_enough(one).is_ok());
    }

    #[test]
    fn names_of_cellpose() {
        for (file, name) in [
            ("well_01_cp_masks.png", Some("well_01")),
            ("well_masks.tif", Some("well")),
            ("in/well_seg.npy", Some("well")),
            ("well_seg.png", None),
            ("_masks.png", None),
            ("well.png", None),
        ] {
            assert_eq!(picture_name(Path::new(file)), name, "{file}");
        }
    }
}
