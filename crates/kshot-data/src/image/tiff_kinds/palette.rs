//! TIFFs of palette indices, read in their colours.
//!
//! The decoder refuses them, but reads the same numbers as gray ones: it is shown gray in place of the palette, and the
//! table of colours is a tag that it gives.

use std::io::{self, Read, Seek, SeekFrom};

use image::{DynamicImage, ImageBuffer, Rgb};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::image::tiff_kinds::wrong;

/// The tag that says what numbers mean, its value of a palette, and that of gray from black.
const MEANING: u16 = 262;
const PALETTE: u16 = 3;
const GRAY: u16 = 1;
/// The type of a tag of 16 bits.
const SHORT: u16 = 3;
/// Entries of a directory that are looked at.
const MOST_ENTRIES: u64 = 1000;

/// Where a file says that the numbers of its first page are indices of a palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PalettePlace {
    at: u64,
    little: bool,
}

/// The place of that; `None` where they are not, or nothing can be read.
pub(super) fn place<R: Read + Seek>(file: &mut R) -> Option<PalettePlace> {
    let found = find(file).ok().flatten();
    file.rewind().ok()?;
    found
}

fn find<R: Read + Seek>(file: &mut R) -> io::Result<Option<PalettePlace>> {
    file.rewind()?;
    let mut head = [0; 16];
    file.read_exact(&mut head[..8])?;
    let little = head.starts_with(b"II");
    let number = |bytes: &[u8]| {
        let step = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if little { bytes.iter().rev().fold(0, step) } else { bytes.iter().fold(0, step) }
    };
    let big = number(&head[2..4]) == 43;
    let directory = if big {
        file.read_exact(&mut head[8..])?;
        number(&head[8..16])
    } else {
        number(&head[4..8])
    };
    let (count_bytes, entry_bytes, value_at) = if big { (8, 20, 12) } else { (2, 12, 8) };
    file.seek(SeekFrom::Start(directory))?;
    let mut entry = [0; 20];
    file.read_exact(&mut entry[..count_bytes])?;
    let entries = number(&entry[..count_bytes]).min(MOST_ENTRIES);
    for index in 0..entries {
        file.read_exact(&mut entry[..entry_bytes])?;
        let value = number(&entry[value_at..value_at + 2]);
        let is = number(&entry[..2]) == u64::from(MEANING)
            && number(&entry[2..4]) == u64::from(SHORT)
            && value == u64::from(PALETTE);
        if is {
            let before = directory + count_bytes as u64 + index * entry_bytes as u64;
            return Ok(Some(PalettePlace { at: before + value_at as u64, little }));
        }
    }
    Ok(None)
}

/// A file whose two bytes at a place are others.
struct Replaced<R> {
    file: R,
    at: u64,
    bytes: [u8; 2],
    position: u64,
}

impl<R: Read> Read for Replaced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        for (place, byte) in (self.at..).zip(self.bytes) {
            let inside = place.checked_sub(self.position).and_then(|at| usize::try_from(at).ok());
            if let Some(at) = inside.filter(|at| *at < count) {
                buffer[at] = byte;
            }
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for Replaced<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

/// Decodes the first page.
///
/// # Errors
/// If it is damaged, too large, or its indices have more than 8 bits.
pub(super) fn read<R: Read + Seek>(
    file: R,
    place: PalettePlace,
    limits: ReadLimits,
) -> Result<DynamicImage> {
    let bytes = if place.little { GRAY.to_le_bytes() } else { GRAY.to_be_bytes() };
    let file = Replaced { file, at: place.at, bytes, position: 0 };
    let mut decoder = Decoder::new(file).map_err(wrong)?;
    let (width, height) = decoder.dimensions().map_err(wrong)?;
    limits.check(width, height)?;
    let refused = |what: &str| {
        Error::data(format!("a TIFF of palette indices {what}; export it as RGB of 8 bits"))
    };
    let bits = match decoder.colortype().map_err(wrong)? {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => usize::from(bits),
        kind => return Err(refused(&format!("of the kind {kind:?}"))),
    };
    let table = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(wrong)?;
    let colours = 1 << bits;
    if table.len() < 3 * colours {
        return Err(refused("without a colour for each"));
    }
    // Some programs write 8 bits where 16 are meant.
    let shift = if table.iter().all(|value| *value < 256) { 0 } else { 8 };
    let DecodingResult::U8(values) = decoder.read_image().map_err(wrong)? else {
        return Err(refused("of more than 8 bits"));
    };
    let row = (width as usize * bits).div_ceil(8);
    if values.len() < row * height as usize {
        return Err(refused("that ends too early"));
    }
    let picture = ImageBuffer::from_fn(width, height, |x, y| {
        let bit = x as usize * bits;
        let byte = u16::from(values[y as usize * row + bit / 8]);
        let index = usize::from(byte >> (8 - bits - bit % 8) & (255 >> (8 - bits)));
        Rgb([0, 1, 2].map(|plane| (table[plane * colours + index] >> shift) as u8))
    });
    Ok(DynamicImage::ImageRgb8(picture))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A little-endian TIFF of one strip.
    fn file(bits: u16, width: u16, data: &[u8], table: &[u16]) -> Vec<u8> {
        let strip = 8u32;
        let map = strip + data.len() as u32;
        let directory = map + 2 * table.len() as u32;
        let mut bytes = b"II*\0".to_vec();
        bytes.extend(directory.to_le_bytes());
        bytes.extend(data);
        table.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        let long = |tag: u16, count: u32, value: u32| (tag, 4u16, count, value);
        let entries = [
            long(256, 1, u32::from(width)),
            long(257, 1, 1),
            (258, 3, 1, u32::from(bits)),
            (259, 3, 1, 1),
            (262, 3, 1, 3),
            long(273, 1, strip),
            (277, 3, 1, 1),
            long(278, 1, 1),
            long(279, 1, data.len() as u32),
            (320, 3, table.len() as u32, map),
        ];
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    fn colours(bytes: Vec<u8>) -> Vec<[u8; 3]> {
        let read = super::super::read(Cursor::new(bytes), ReadLimits::default()).unwrap();
        read.to_rgb8().pixels().map(|pixel| pixel.0).collect()
    }

    #[test]
    fn indices_become_their_colours() {
        let mut table = vec![0u16; 3 * 256];
        (table[7], table[256 + 7], table[512 + 7]) = (0xff00, 0x8080, 0x0100);
        table[256 + 9] = 0xffff;
        let read = colours(file(8, 3, &[7, 0, 9], &table));
        assert_eq!(read, [[255, 128, 1], [0, 0, 0], [0, 255, 0]]);
        let mut table = vec![0u16; 3 * 16];
        (table[5], table[16 + 5], table[32 + 10]) = (200, 100, 50);
        let read = colours(file(4, 3, &[0x5a, 0x50], &table));
        assert_eq!(read, [[200, 100, 0], [0, 0, 50], [200, 100, 0]]);
    }

    #[test]
    fn what_is_damaged_is_said() {
        let short = file(8, 3, &[7, 0, 9], &[0; 12]);
        let error = super::super::read(Cursor::new(short), ReadLimits::default()).unwrap_err();
        assert!(error.to_string().contains("without a colour for each"), "{error}");
        assert_eq!(place(&mut Cursor::new(b"II*\0\xff\xff\xff\x7f")), None);
        assert_eq!(place(&mut Cursor::new(b"II")), None);
    }
}
