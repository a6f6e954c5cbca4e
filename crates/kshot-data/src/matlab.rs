//! MATLAB's files of version 5 (`.mat`), as far as label masks need them: a field of 8-bit numbers of a structure.
//!
//! MathWorks, "MAT-File Format", version 5. Little-endian files are read, packed (zlib) elements too; version 7.3 is HDF5
//! and is not.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use crate::error::{Error, Result};
use crate::mask::Mask;

/// Bytes of a file, and of an element when unpacked, at most.
const MOST_BYTES: u64 = 256 << 20;
/// Bytes before the first element.
const HEADER: usize = 128;

/// Kinds of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Classes of matrices.
const STRUCT: u8 = 2;
const UINT8_CLASS: u8 = 9;

/// The field of a structure that is a matrix of 8-bit numbers, row by row.
///
/// # Errors
/// If the file cannot be read, is no MATLAB file of version 5, or holds no such field.
pub fn struct_field(path: &Path, variable: &str, field: &str) -> Result<Mask> {
    let wrong = |error| Error::io("read the MATLAB file", path, error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(wrong)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(wrong)?;
    find(&bytes, variable, field).map_err(|what| Error::data(what).in_file(path))
}

fn find(bytes: &[u8], variable: &str, field: &str) -> Result<Mask, String> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("a MATLAB file of more than {} MiB", MOST_BYTES >> 20));
    }
    let (header, mut rest) =
        bytes.split_at_checked(HEADER).ok_or("not a MATLAB file: it is too short")?;
    match (&header[124..126], &header[126..]) {
        ([0, 1], b"IM") => {}
        (_, b"IM") => {
            return Err("a MATLAB file of another version than 5; save it with -v7".into());
        }
        _ => return Err("not a little-endian MATLAB file of version 5; save it with -v7".into()),
    }
    while !rest.is_empty() {
        let (kind, content, after) = element(rest)?;
        rest = after;
        let unpacked;
        let content = match kind {
            COMPRESSED => {
                unpacked = inflated(content)?;
                let (kind, content, _) = element(&unpacked)?;
                if kind != MATRIX {
                    continue;
                }
                content
            }
            MATRIX => content,
            _ => continue,
        };
        let matrix = Matrix::read(content)?;
        if matrix.name == variable.as_bytes() {
            return matrix.field(variable, field);
        }
    }
    Err(format!("it holds no variable `{variable}`"))
}

fn inflated(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = ZlibDecoder::new(packed).take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("damaged ({error})"))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("an element of more than {} MiB", MOST_BYTES >> 20));
    }
    Ok(bytes)
}

/// Kind and content of the first element, and what is behind it.
fn element(bytes: &[u8]) -> Result<(u32, &[u8], &[u8]), String> {
    let cut = || "damaged: it ends within an element".to_owned();
    let (first, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let first = u32::from_le_bytes(*first);
    // Up to four bytes lie within the tag.
    if first >> 16 != 0 {
        let content = rest.get(..(first >> 16) as usize).filter(|of| of.len() <= 4);
        let after = rest.get(4..).ok_or_else(cut)?;
        return Ok((first & 0xffff, content.ok_or_else(cut)?, after));
    }
    let (size, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let size = u32::from_le_bytes(*size) as usize;
    let (content, after) = rest.split_at_checked(size).ok_or_else(cut)?;
    // Elements begin at multiples of eight bytes, but for what follows packed ones.
    let filled = if first == COMPRESSED { 0 } else { size.next_multiple_of(8) - size };
    Ok((first, content, after.get(filled..).unwrap_or_default()))
}

/// A matrix's head, and what is behind it.
struct Matrix<'a> {
    class: u8,
    rows: usize,
    columns: usize,
    name: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Matrix<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (_, flags, rest) = element(bytes)?;
        let (_, sides, rest) = element(rest)?;
        let (_, name, rest) = element(rest)?;
        let class = *flags.first().ok_or("damaged: a matrix without a class")?;
        let sides = sides
            .chunks_exact(4)
            .map(|side| i32::from_le_bytes([side[0], side[1], side[2], side[3]]));
        let sides: Option<Vec<usize>> = sides.map(|side| usize::try_from(side).ok()).collect();
        match sides.as_deref() {
            Some(&[rows, columns]) => Ok(Self { class, rows, columns, name, rest }),
            // Matrices of more sides are passed over, whatever they are called.
            _ => Ok(Self { class, rows: 0, columns: 0, name, rest }),
        }
    }

    /// A field of the structure.
    fn field(&self, variable: &str, field: &str) -> Result<Mask, String> {
        if self.class != STRUCT || (self.rows, self.columns) != (1, 1) {
            return Err(format!("`{variable}` is not one structure"));
        }
        let (_, length, rest) = element(self.rest)?;
        let length = length.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        let length = length.filter(|length| *length > 0).ok_or("damaged: fields without names")?;
        let (kind, names, mut rest) = element(rest)?;
        if kind != INT8 {
            return Err("damaged: fields without names".to_owned());
        }
        for name in names.chunks_exact(length) {
            let (_, content, after) = element(rest)?;
            rest = after;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            if &name[..end] == field.as_bytes() {
                return Matrix::read(content)?.mask(field);
            }
        }
        Err(format!("`{variable}` has no field `{field}`"))
    }

    /// Its numbers row by row; files hold them column by column.
    fn mask(&self, field: &str) -> Result<Mask, String> {
        let (rows, columns) = (self.rows, self.columns);
        let (kind, numbers, _) = element(self.rest)?;
        let all = rows.checked_mul(columns).filter(|all| *all > 0 && *all == numbers.len());
        if self.class != UINT8_CLASS || kind != UINT8 || all.is_none() {
            return Err(format!("`{field}` is not a matrix of 8-bit numbers"));
        }
        let mut mask = Mask::filled(columns, rows, 0);
        for (x, column) in numbers.chunks_exact(rows).enumerate() {
            for (y, value) in column.iter().enumerate() {
                mask.pixels[y * columns + x] = *value;
            }
        }
        Ok(mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// golden/make_sbd.py: `GTcls` as SBD's files have it, written by SciPy as it is and packed.
    const PLAIN: &[u8] = include_bytes!("../../../golden/sbd_plain.mat");
    const PACKED: &[u8] = include_bytes!("../../../golden/sbd_packed.mat");

    #[test]
    fn what_scipy_wrote_is_read() {
        for bytes in [PLAIN, PACKED] {
            let mask = find(bytes, "GTcls", "Segmentation").unwrap();
            assert_eq!((mask.width, mask.height), (7, 5));
            let right = |at: usize| ((3 * (at % 7) + 5 * (at / 7)) % 21) as u8;
            assert_eq!(mask.pixels, (0..35).map(right).collect::<Vec<_>>());
            let error = find(bytes, "GTcls", "Segments").unwrap_err();
            assert!(error.contains("no field `Segments`"), "{error}");
            let error = find(bytes, "GTinst", "Segmentation").unwrap_err();
            assert!(error.contains("no variable `GTinst`"), "{error}");
            let error = find(bytes, "GTcls", "CategoriesPresent").unwrap_err();
            assert!(error.contains("not a matrix of 8-bit numbers"), "{error}");
        }
    }

    #[test]
    fn cut_and_changed_files_are_told() {
        for bytes in [PLAIN, PACKED] {
            for length in 0..bytes.len() {
                // The end of the last field is not looked at.
                let _ = find(&bytes[..length], "GTcls", "Segmentation");
            }
            assert!(find(&bytes[..HEADER], "GTcls", "Segmentation").is_err());
            assert!(find(&bytes[..HEADER + 40], "GTcls", "Segmentation").is_err());
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut changed = bytes.to_vec();
                    changed[at] = value;
                    if let Ok(mask) = find(&changed, "GTcls", "Segmentation") {
                        assert_eq!(mask.pixels.len(), mask.width * mask.height);
                    }
                }
            }
        }
        assert!(find(b"MATLAB", "a", "b").unwrap_err().contains("too short"));
        let hdf = [&b"MATLAB 7.3 MAT-file"[..], &[0; 105], &[0, 2], b"IM"].concat();
        assert!(find(&hdf, "a", "b").unwrap_err().contains("-v7"));
    }
}
