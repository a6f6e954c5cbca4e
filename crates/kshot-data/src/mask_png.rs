//! Masks as index PNGs with a palette: what labelling tools, PIL and the VOC devkit read.

use std::path::Path;

use crate::atomic;
use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::palette::Palette;

/// The text chunk that holds the classes' names, as a JSON list; class `i + 1` is item `i`.
pub const CLASSES_KEYWORD: &str = "kshot classes";

/// Encodes a mask: 8 bits per pixel, the pixel's value is the class index, colours by `palette`.
/// The names of the classes stand in an iTXt chunk (tEXt with any alphabet).
///
/// # Errors
/// If the mask is empty, or larger than a PNG can be.
pub fn encode(mask: &Mask, palette: &Palette, classes: &[String]) -> Result<Vec<u8>> {
    let side = |pixels: usize| u32::try_from(pixels).ok().filter(|&pixels| pixels > 0);
    let (Some(width), Some(height)) = (side(mask.width), side(mask.height)) else {
        return Err(Error::data(format!(
            "a mask of {} x {} pixels cannot be written as a PNG; both sides must be at least 1",
            mask.width, mask.height
        )));
    };
    let names = serde_json::Value::from(classes).to_string();
    let encode = || -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::with_capacity(4096 + mask.pixels.len() / 32);
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette.bytes());
        // Most rows of a mask are nearly the row above: `Up` turns them to zeros, which the fast
        // compressor is made for.
        encoder.set_filter(png::Filter::Up);
        encoder.set_compression(png::Compression::Fast);
        encoder.add_itxt_chunk(CLASSES_KEYWORD.into(), names)?;
        encoder.add_text_chunk(
            "Software".into(),
            concat!("kshot ", env!("CARGO_PKG_VERSION")).into(),
        )?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&mask.pixels)?;
        writer.finish()?;
        Ok(bytes)
    };
    encode().map_err(|error| Error::data("could not encode the mask as a PNG").caused_by(error))
}

/// Writes a mask to `path`, whole or not at all.
///
/// # Errors
/// As [`encode`] and [`atomic::write`].
pub fn write(path: &Path, mask: &Mask, palette: &Palette, classes: &[String]) -> Result<()> {
    atomic::write(path, &encode(mask, palette, classes).map_err(|error| error.in_file(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::{UNLABELLED, VOID};

    fn decode(bytes: &[u8]) -> (Mask, String, Vec<u8>) {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
        decoder.set_transformations(png::Transformations::IDENTITY);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(frame.color_type, png::ColorType::Indexed);
        let text = reader.info().utf8_text[0].get_text().unwrap();
        let palette = reader.info().palette.as_ref().unwrap().to_vec();
        let (width, height) = (frame.width as usize, frame.height as usize);
        (Mask::from_pixels(width, height, pixels).unwrap(), text, palette)
    }

    #[test]
    fn reads_back_the_same_indices_names_and_colours() {
        let values = [0, 1, 2, 250, UNLABELLED, VOID];
        let pixels = (0..37 * 11).map(|i| values[(i * i / 5) % values.len()]).collect();
        let mask = Mask::from_pixels(37, 11, pixels).unwrap();
        let names = ["cell \"a\"".to_string(), "Zellkörper 核".to_string()];
        let (back, text, palette) = decode(&encode(&mask, &Palette::voc(), &names).unwrap());
        assert_eq!(back, mask);
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), names);
        assert_eq!(palette, Palette::voc().bytes());
    }

    #[test]
    fn a_plain_mask_compresses_well_and_an_empty_one_is_refused() {
        let mut mask = Mask::filled(1000, 1000, 0);
        for y in 300..600 {
            mask.pixels[y * 1000 + 200..y * 1000 + 700].fill(3);
        }
        let bytes = encode(&mask, &Palette::distinct(), &[]).unwrap();
        assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
        assert!(encode(&Mask::filled(0, 5, 0), &Palette::distinct(), &[]).is_err());
    }
}
