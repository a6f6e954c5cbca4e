//! Masks as pictures: index, palette, gray and binary PNG, TIFF of class numbers, and strokes over nothing.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::labels::colours::listed;
use crate::labels::instances::is_array;
use crate::labels::numpy;
use crate::mask::{BACKGROUND, Mask, UNLABELLED, VOID};
use crate::mask_png::CLASSES_KEYWORD;
use crate::mask_tiff;
use crate::names::counted;
use crate::palette::Rgb;
use crate::png_rows::{self, PngRows};

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
    /// The colours of a coloured file; `None` for gray and palette ones.
    pub coloured: Option<Coloured>,
    /// The colours of the palette whose indices the values are.
    pub palette: Option<Vec<Rgb>>,
    /// Whether they may have been changed by compression (JPEG).
    pub lossy: bool,
    /// Whether some pixels are transparent, and so background.
    pub transparent: bool,
    /// The classes' names that kshot's own masks carry.
    pub names: Option<Vec<String>>,
}

impl MaskFile {
    /// The colours of a coloured or palette file; `None` for gray ones.
    pub fn colours(&self) -> Option<Cow<'_, Coloured>> {
        if let Some(coloured) = &self.coloured {
            return Some(Cow::Borrowed(coloured));
        }
        let (values, palette) = (self.values.as_ref()?, self.palette.as_ref()?);
        let colour = |value: &u8| palette.get(usize::from(*value)).copied().unwrap_or_default();
        let pixels = values.pixels.iter().map(colour).collect();
        Some(Cow::Owned(Coloured { width: values.width, height: values.height, pixels }))
    }
}

/// Pixels from which on a mask is held against its picture before anything is made of it, and for which there is memory
/// before they are decoded.
pub(super) const LARGE: usize = 1 << 24;

/// Width and height of a mask or file of object numbers, from its header alone; `None` where that does not say them.
pub fn size(path: &Path) -> Option<(usize, usize)> {
    if is_array(path) {
        return numpy::size(path);
    }
    let mut start = [0; 4];
    File::open(path).ok()?.read_exact(&mut start).ok()?;
    if mask_tiff::is_tiff(&start) {
        return mask_tiff::size(path);
    }
    if start.starts_with(b"\xff\xd8") {
        let (width, height) = crate::image::dimensions(path).ok()?;
        return Some((width as usize, height as usize));
    }
    png_rows::size(File::open(path).ok()?)
}

/// Whether a mask is small, or as large as its picture, by their headers: what a look at many masks may read. What is
/// wrong with others is said when they are read for good.
pub fn may_be_read(mask: &Path, picture: &Path) -> bool {
    size(mask).is_none_or(|(width, height)| {
        width.saturating_mul(height) <= LARGE
            || crate::image::dimensions(picture)
                .is_ok_and(|(w, h)| (w as usize, h as usize) == (width, height))
    })
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
        let colours =
            file.coloured.as_ref().map(|coloured| listed(&coloured.pixels)).unwrap_or_default();
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
    let wrong = |error: png::DecodingError| {
        Error::data(format!(
            "not a mask kshot can read ({error}); masks are PNG, TIFF or JPEG files"
        ))
        .in_file(path)
        .caused_by(error)
    };
    let png = PngRows::open(path, wrong).map_err(|error| error.in_file(path))?;
    from_png(png).map_err(|error| match error {
        Unread::Png(error) => wrong(error),
        Unread::Other(error) => error.in_file(path),
    })
}

/// Why a PNG is no mask.
enum Unread {
    Png(png::DecodingError),
    Other(Error),
}

impl From<png::DecodingError> for Unread {
    fn from(error: png::DecodingError) -> Self {
        Self::Png(error)
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn from_png<R: std::io::BufRead + std::io::Seek>(png: PngRows<R>) -> Result<MaskFile, Unread> {
    let (width, height) = png.size();
    let names = png.text(CLASSES_KEYWORD).and_then(|text| serde_json::from_str(&text).ok());
    let (kind, bits) = (png.info().color_type, png.info().bit_depth as usize);
    let samples = kind.samples();
    let palette = png.info().palette.as_ref().filter(|_| kind == png::ColorType::Indexed);
    let palette =
        palette.map(|palette| palette.chunks_exact(3).map(|of| [of[0], of[1], of[2]]).collect());
    if bits == 16 {
        return deep(png, names);
    }
    let mut alpha = Vec::new();
    if samples > 2 {
        let mut pixels: Vec<Rgb> = Vec::with_capacity((width * height).min(LARGE));
        png.rows(|row| {
            pixels.extend(row.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
            if samples == 4 {
                alpha.extend(row.chunks_exact(4).map(|pixel| pixel[3]));
            }
        })?;
        let transparent = samples == 4 && hide(&mut pixels, |at| alpha[at], [0; 3], [VOID; 3]);
        let gray = pixels.iter().all(|[red, green, blue]| red == green && red == blue);
        let values = gray.then(|| pixels.iter().map(|pixel| pixel[0]).collect());
        let values = values.map(|pixels| Mask::from_pixels(width, height, pixels)).transpose()?;
        let coloured = Some(Coloured { width, height, pixels });
        return Ok(MaskFile { values, coloured, names, transparent, ..MaskFile::default() });
    }
    // A one-bit gray mask means black and white: its 1 stands for 255 in what follows.
    let gray_bit = bits == 1 && kind == png::ColorType::Grayscale;
    let mut pixels = Vec::with_capacity((width * height).min(LARGE));
    png.rows(|row| match (samples, bits) {
        (1, 8) => pixels.extend_from_slice(row),
        (2, 8) => {
            pixels.extend(row.chunks_exact(2).map(|pixel| pixel[0]));
            alpha.extend(row.chunks_exact(2).map(|pixel| pixel[1]));
        }
        _ => pixels.extend((0..width).map(|x| {
            let bit = x * bits;
            let value = row[bit / 8] >> (8 - bits - bit % 8) & (255u16 >> (8 - bits)) as u8;
            if gray_bit { value * 255 } else { value }
        })),
    })?;
    let transparent = samples == 2 && hide(&mut pixels, |at| alpha[at], 0, VOID);
    let values = Some(Mask::from_pixels(width, height, pixels)?);
    Ok(MaskFile { values, palette, names, transparent, ..MaskFile::default() })
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
    drop(picture);
    let values = Some(Mask::from_pixels(width, height, values)?);
    Ok(MaskFile { values, lossy: true, ..MaskFile::default() })
}

/// The first band of a PNG of 16 bits.
fn deep<R: std::io::BufRead + std::io::Seek>(
    png: PngRows<R>,
    names: Option<Vec<String>>,
) -> Result<MaskFile, Unread> {
    let (width, height) = png.size();
    let samples = png.info().color_type.samples();
    if samples > 2 {
        return Err(Unread::Other(Error::data(
            "a mask of 16-bit colours; save it with 8 bits, or as class numbers in one band",
        )));
    }
    let mut values: Vec<u16> = Vec::with_capacity((width * height).min(LARGE));
    png.rows(|row| {
        let pixels = row.chunks_exact(2 * samples);
        values.extend(pixels.map(|pixel| u16::from_be_bytes([pixel[0], pixel[1]])));
    })?;
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
