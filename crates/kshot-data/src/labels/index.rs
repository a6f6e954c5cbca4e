//! Masks as pictures: index, palette, gray and binary PNG, TIFF of class numbers, and strokes over nothing.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::labels::colours::listed;
use crate::mask::{BACKGROUND, Mask, UNLABELLED, VOID};
use crate::mask_png::CLASSES_KEYWORD;
use crate::mask_tiff;
use crate::names::counted;
use crate::palette::Rgb;

/// How far apart red, green and blue of a gray JPEG may be.
const GRAY_ENOUGH: u8 = 24;

/// What the values of a mask file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// 0 is background, `1..=classes` the classes, 255 void; with a single class, a file of 0 and
    /// 255 alone is binary: 255 is the class.
    Mask,
    /// 0 is background, `1..=classes` the classes, everything at 255 is unlabelled.
    Scribble,
}

/// A picture of colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coloured {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row.
    pub pixels: Vec<Rgb>,
}

/// What a mask file holds.
#[derive(Debug, Clone, Default)]
pub struct MaskFile {
    /// Palette indices or gray levels; `None` for colours that are not gray all over.
    pub values: Option<Mask>,
    /// The colours of a coloured or palette file; `None` for gray ones.
    pub coloured: Option<Coloured>,
    /// Whether the values are indices of a palette.
    pub palette: bool,
    /// Whether they may have been changed by compression (JPEG).
    pub lossy: bool,
    /// Whether some pixels are transparent, and so background.
    pub transparent: bool,
    /// The classes' names that kshot's own masks carry.
    pub names: Option<Vec<String>>,
}

/// The raw values of a PNG or TIFF: palette indices or gray levels, never colours.
///
/// # Errors
/// If the file is neither, is damaged, or holds colours.
pub fn read_values(path: &Path) -> Result<Mask> {
    values(path, read_file(path)?)
}

/// The same of a file that was read before.
///
/// # Errors
/// If it holds colours.
pub fn values(path: &Path, file: MaskFile) -> Result<Mask> {
    file.values.ok_or_else(|| {
        let colours = file.coloured.map(|coloured| listed(&coloured.pixels)).unwrap_or_default();
        Error::data(format!(
            "the mask holds colours, not class numbers: {colours}; say which class each is in \
             colors.csv (a line name,red,green,blue each), or save the mask as an index (palette) \
             or gray PNG with 0 for background, 1 for the first class and so on",
        ))
        .in_file(path)
    })
}

/// Reads a PNG of 1 to 16 bits, a TIFF of class numbers or a gray JPEG; transparent pixels are background.
///
/// # Errors
/// If the file is neither, is damaged, or its 16 bits hold numbers above 255.
pub fn read_file(path: &Path) -> Result<MaskFile> {
    let failed = |error| Error::io("read the mask", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut start = [0; 4];
    let known = file.read(&mut start).map_err(failed)?;
    if mask_tiff::is_tiff(&start[..known]) {
        let values = Some(mask_tiff::read(path)?);
        return Ok(MaskFile { values, ..MaskFile::default() });
    }
    if start.starts_with(b"\xff\xd8") {
        return jpeg(path);
    }
    file.rewind().map_err(failed)?;
    let wrong = |error: png::DecodingError| {
        Error::data(format!(
            "not a mask kshot can read ({error}); masks are PNG, TIFF or JPEG files"
        ))
        .in_file(path)
        .caused_by(error)
    };
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(wrong)?;
    ReadLimits::default()
        .check(reader.info().width, reader.info().height)
        .map_err(|error| error.in_file(path))?;
    let size = reader.output_buffer_size().ok_or_else(|| {
        Error::data("the mask's header asks for more memory than there is").in_file(path)
    })?;
    let names = reader.info().utf8_text.iter().find(|chunk| chunk.keyword == CLASSES_KEYWORD);
    let names = names.and_then(|chunk| serde_json::from_str(&chunk.get_text().ok()?).ok());
    let palette = reader.info().palette.as_ref().map(|palette| palette.to_vec());
    let mut buffer = vec![0; size];
    let info = reader.next_frame(&mut buffer).map_err(wrong)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let bits = match info.bit_depth {
        png::BitDepth::One => 1,
        png::BitDepth::Two => 2,
        png::BitDepth::Four => 4,
        png::BitDepth::Eight => 8,
        png::BitDepth::Sixteen => 16,
    };
    let samples = info.color_type.samples();
    if bits == 16 {
        return deep(&buffer, (width, height), samples, names).map_err(|error| error.in_file(path));
    }
    if samples > 2 {
        let mut pixels: Vec<Rgb> =
            buffer.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        let transparent =
            samples == 4 && hide(&mut pixels, |at| buffer[at * 4 + 3], [0; 3], [VOID; 3]);
        let gray = pixels.iter().all(|[red, green, blue]| red == green && red == blue);
        let values = gray.then(|| pixels.iter().map(|pixel| pixel[0]).collect());
        let values = values.map(|pixels| Mask::from_pixels(width, height, pixels)).transpose()?;
        let coloured = Some(Coloured { width, height, pixels });
        return Ok(MaskFile { values, coloured, names, transparent, ..MaskFile::default() });
    }
    // A one-bit gray mask means black and white: its 1 stands for 255 in what follows.
    let gray_bit = bits == 1 && info.color_type == png::ColorType::Grayscale;
    let mut pixels = Vec::with_capacity(width * height);
    for line in buffer.chunks_exact(info.line_size).take(height) {
        for x in 0..width {
            let bit = x * bits * samples;
            let value = line[bit / 8] >> (8 - bits - bit % 8) & (255u16 >> (8 - bits)) as u8;
            pixels.push(if gray_bit { value * 255 } else { value });
        }
    }
    let transparent =
        samples == 2 && bits == 8 && hide(&mut pixels, |at| buffer[at * 2 + 1], 0, VOID);
    let colour = |value: u8, palette: &[u8]| {
        let at = usize::from(value) * 3;
        palette.get(at..at + 3).map_or([0; 3], |colour| [colour[0], colour[1], colour[2]])
    };
    let coloured = palette.filter(|_| info.color_type == png::ColorType::Indexed).map(|palette| {
        let pixels = pixels.iter().map(|&value| colour(value, &palette)).collect();
        Coloured { width, height, pixels }
    });
    let values = Some(Mask::from_pixels(width, height, pixels)?);
    let palette = coloured.is_some();
    Ok(MaskFile { values, palette, coloured, names, transparent, ..MaskFile::default() })
}

/// Makes transparent pixels background, where some are and others are not: what shows one colour alone is the object.
/// Whether there were some.
fn hide<T: Copy + PartialEq>(
    pixels: &mut [T],
    alpha: impl Fn(usize) -> u8,
    background: T,
    object: T,
) -> bool {
    let shown = |at: usize| alpha(at) >= 128;
    let Some(first) = (0..pixels.len()).find(|&at| shown(at)) else { return false };
    if (0..pixels.len()).all(shown) {
        return false;
    }
    let colour = pixels[first];
    let one = (0..pixels.len()).filter(|&at| shown(at)).all(|at| pixels[at] == colour);
    for (at, pixel) in pixels.iter_mut().enumerate() {
        *pixel = match (shown(at), one) {
            (false, _) => background,
            (true, true) => object,
            (true, false) => *pixel,
        };
    }
    true
}

/// A JPEG, whose values are near what was saved.
fn jpeg(path: &Path) -> Result<MaskFile> {
    let picture = crate::image::read(path)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let close = |[red, green, blue]: [u8; 3]| {
        red.max(green).max(blue) - red.min(green).min(blue) <= GRAY_ENOUGH
    };
    if !picture.pixels().all(|pixel| close(pixel.0)) {
        return Err(Error::data(
            "a JPEG in colours, which compression changes; save the mask as an index PNG",
        )
        .in_file(path));
    }
    let values = picture.pixels().map(|pixel| pixel.0[1]).collect();
    let values = Some(Mask::from_pixels(width, height, values)?);
    Ok(MaskFile { values, lossy: true, ..MaskFile::default() })
}

/// The first band of a PNG of 16 bits.
fn deep(
    buffer: &[u8],
    (width, height): (usize, usize),
    samples: usize,
    names: Option<Vec<String>>,
) -> Result<MaskFile> {
    if samples > 2 {
        return Err(Error::data(
            "a mask of 16-bit colours; save it with 8 bits, or as class numbers in one band",
        ));
    }
    let values: Vec<u16> = buffer
        .chunks_exact(2 * samples)
        .map(|pixel| u16::from_be_bytes([pixel[0], pixel[1]]))
        .collect();
    let pixels = mask_tiff::narrow(&values, u16::MAX)
        .map_err(|what| Error::data(format!("the mask holds {what}")))?;
    let values = Some(Mask::from_pixels(width, height, pixels)?);
    Ok(MaskFile { values, names, ..MaskFile::default() })
}

/// Whether values mean one class by 0 and 255 alone: where there is one class and no other number.
/// In kshot's own masks, which carry their classes' names, 255 is always void.
pub fn is_binary(values: &Mask, classes: usize, ours: bool) -> bool {
    let counts = values.counts();
    classes == 1
        && !ours
        && counts[usize::from(VOID)] > 0
        && counts[1..255].iter().all(|&count| count == 0)
}

/// Reads a mask of `classes` classes.
///
/// # Errors
/// If the file cannot be read, or holds a value that is no class.
pub fn read(path: &Path, classes: usize, reading: Reading) -> Result<Mask> {
    let file = read_file(path)?;
    let ours = file.names.is_some();
    let values = match file.values {
        Some(values) => values,
        None => read_values(path)?,
    };
    interpret(values, classes, reading, ours).map_err(|error| error.in_file(path))
}

/// A mask of `classes` classes from a file's values.
///
/// # Errors
/// If there is a value that is no class.
pub fn interpret(mut mask: Mask, classes: usize, reading: Reading, ours: bool) -> Result<Mask> {
    let counts = mask.counts();
    let binary = reading == Reading::Mask && is_binary(&mask, classes, ours);
    let wrong: Vec<String> = (classes + 1..255)
        .filter(|&value| counts[value] > 0 && value != usize::from(UNLABELLED))
        .map(|value| format!("{value} ({})", counted(counts[value], "pixel", "pixels")))
        .collect();
    if !wrong.is_empty() {
        let shown = wrong[..wrong.len().min(6)].join(", ");
        return Err(Error::data(format!(
            "the mask holds {shown}, but there {} {}: valid are 0 (background), 1 to {classes} and 255; \
             add the missing names to classes.txt, one a line, or mend the mask",
            if classes == 1 { "is" } else { "are" },
            counted(classes, "class", "classes")
        )));
    }
    for pixel in &mut mask.pixels {
        *pixel = match (*pixel, reading) {
            (VOID, Reading::Scribble) => UNLABELLED,
            (VOID, Reading::Mask) if binary => 1,
            (value, _) => value,
        };
    }
    Ok(mask)
}

/// The largest class number among values; 1 for a binary mask.
pub fn largest_class(values: &Mask) -> u8 {
    let counts = values.counts();
    let largest = (1..usize::from(UNLABELLED)).rev().find(|&value| counts[value] > 0);
    let binary = counts[usize::from(VOID)] > 0 && counts[usize::from(BACKGROUND)] > 0;
    largest.map_or(u8::from(binary), |value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, pixels: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        image::GrayImage::from_raw(pixels.len() as u32, 1, pixels.to_vec())
            .unwrap()
            .save(&path)
            .unwrap();
        (folder, path)
    }

    #[test]
    fn binary_void_and_unlabelled_are_told_apart() {
        let (_keep, path) = write("m.png", &[0, 255, 255]);
        assert_eq!(read(&path, 1, Reading::Mask).unwrap().pixels, [0, 1, 1]);
        assert_eq!(read(&path, 1, Reading::Scribble).unwrap().pixels, [0, 254, 254]);
        let (_keep, path) = write("m.png", &[0, 1, 255]);
        assert_eq!(read(&path, 1, Reading::Mask).unwrap().pixels, [0, 1, 255]);
    }

    #[test]
    fn a_value_without_a_class_is_named() {
        let (_keep, path) = write("m.png", &[0, 1, 7]);
        let error = read(&path, 2, Reading::Mask).unwrap_err().to_string();
        assert!(error.contains("7 (1 pixel)") && error.contains("classes.txt"), "{error}");
    }

    #[test]
    fn sixteen_bits_are_class_numbers_up_to_255() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        let save = |pixels: [u16; 3]| {
            let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 1, pixels.to_vec());
            deep.unwrap().save(&path).unwrap();
        };
        save([0, 1, 2]);
        assert_eq!(read(&path, 2, Reading::Mask).unwrap().pixels, [0, 1, 2]);
        save([0, 65_535, 0]);
        assert_eq!(read(&path, 1, Reading::Mask).unwrap().pixels, [0, 1, 0]);
        save([0, 1, 700]);
        let error = read(&path, 2, Reading::Mask).unwrap_err().to_string();
        assert!(error.contains("such as 700") && error.contains("single objects"), "{error}");
    }

    #[test]
    fn palette_indices_are_read_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.png");
        let file = File::create(&path).unwrap();
        let mut encoder = png::Encoder::new(file, 5, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Two);
        encoder.set_palette(vec![0, 0, 0, 9, 9, 9, 200, 0, 0, 0, 0, 255]);
        encoder.write_header().unwrap().write_image_data(&[0b0001_1011, 0b0100_0000]).unwrap();
        assert_eq!(read_values(&path).unwrap().pixels, [0, 1, 2, 3, 1]);
    }
}
