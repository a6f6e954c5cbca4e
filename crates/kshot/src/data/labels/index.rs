//! Masks as pictures: index, palette, gray and binary PNG, and strokes over nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::data::mask::{BACKGROUND, Mask, UNLABELLED, VOID};
use crate::error::{Error, Result};

/// What the values of a mask file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// 0 is background, `1..=classes` the classes, 255 void; with a single class, a file of 0 and
    /// 255 alone is binary: 255 is the class.
    Mask,
    /// 0 is background, `1..=classes` the classes, everything at 255 is unlabelled.
    Scribble,
}

/// The raw values of a PNG: palette indices or gray levels, never colours.
///
/// # Errors
/// If the file is not a PNG, is damaged, or holds colours.
pub fn read_values(path: &Path) -> Result<Mask> {
    let file = File::open(path).map_err(|error| Error::io("read the mask", path, error))?;
    let wrong = |error: png::DecodingError| {
        Error::data(format!("not a mask kshot can read ({error}); masks are PNG files"))
            .in_file(path)
            .caused_by(error)
    };
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(wrong)?;
    let size = reader.output_buffer_size().ok_or_else(|| {
        Error::data("the mask's header asks for more memory than there is").in_file(path)
    })?;
    let mut buffer = vec![0; size];
    let info = reader.next_frame(&mut buffer).map_err(wrong)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let bits = match info.bit_depth {
        png::BitDepth::One => 1,
        png::BitDepth::Two => 2,
        png::BitDepth::Four => 4,
        png::BitDepth::Eight => 8,
        png::BitDepth::Sixteen => {
            return Err(Error::data("a 16-bit mask; save it with 8 bits").in_file(path));
        }
    };
    let samples = info.color_type.samples();
    if bits == 8 && samples > 1 {
        return flat(&buffer, width, height, samples).ok_or_else(|| {
            Error::data(
                "the mask holds colours, not class numbers; save it as an index (palette) or gray \
                 PNG with 0 for background, 1 for the first class and so on",
            )
            .in_file(path)
        });
    }
    // A one-bit gray mask means black and white: its 1 stands for 255 in what follows.
    let gray_bit = bits == 1 && info.color_type == png::ColorType::Grayscale;
    let mut pixels = Vec::with_capacity(width * height);
    for line in buffer.chunks_exact(info.line_size).take(height) {
        for x in 0..width {
            let bit = x * bits;
            let value = line[bit / 8] >> (8 - bits - bit % 8) & (255u16 >> (8 - bits)) as u8;
            pixels.push(if gray_bit { value * 255 } else { value });
        }
    }
    Mask::from_pixels(width, height, pixels)
}

/// The common value of colour files that are gray all over; an alpha channel is passed over.
fn flat(buffer: &[u8], width: usize, height: usize, samples: usize) -> Option<Mask> {
    let colours = if samples == 2 { 1 } else { 3 };
    let gray = buffer
        .chunks_exact(samples)
        .all(|pixel| pixel[..colours].iter().all(|value| *value == pixel[0]));
    let pixels = || buffer.chunks_exact(samples).map(|pixel| pixel[0]).collect();
    gray.then(|| Mask { width, height, pixels: pixels() })
}

/// Reads a mask of `classes` classes.
///
/// # Errors
/// If the file cannot be read, or holds a value that is no class.
pub fn read(path: &Path, classes: usize, reading: Reading) -> Result<Mask> {
    let mut mask = read_values(path)?;
    let counts = mask.counts();
    let binary = reading == Reading::Mask
        && classes == 1
        && counts[usize::from(VOID)] > 0
        && counts[1..255].iter().all(|&count| count == 0);
    let wrong: Vec<String> = (classes + 1..255)
        .filter(|&value| counts[value] > 0 && value != usize::from(UNLABELLED))
        .map(|value| format!("{value} ({} pixels)", counts[value]))
        .collect();
    if !wrong.is_empty() {
        let shown = wrong[..wrong.len().min(6)].join(", ");
        return Err(Error::data(format!(
            "the mask holds {shown}, but there are {classes} classes: valid are 0 (background), 1 \
             to {classes} and 255; add the missing names to classes.txt, one a line, or mend the mask"
        ))
        .in_file(path));
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

/// Whether a mask file holds classes beside background; the largest class number.
///
/// # Errors
/// As [`read_values`].
pub fn largest_class(path: &Path) -> Result<u8> {
    let counts = read_values(path)?.counts();
    let largest = (1..usize::from(UNLABELLED)).rev().find(|&value| counts[value] > 0);
    let binary = counts[usize::from(VOID)] > 0 && counts[usize::from(BACKGROUND)] > 0;
    Ok(largest.map_or(u8::from(binary), |value| value as u8))
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
        assert!(error.contains("7 (1 pixels)") && error.contains("classes.txt"), "{error}");
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
