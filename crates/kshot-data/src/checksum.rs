//! Damage that is noticed: a checksum in each line of a journal, and pictures that are whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::Crc;

/// Before the eight hexadecimal digits, at the end of a line.
const KEY: &[u8] = b",\"crc32\":\"";
/// Key, digits, quote and brace.
const TAIL: usize = KEY.len() + 8 + 2;

/// CRC-32 (ISO 3309, as in PNG and gzip) of some bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A JSON object with a last field `crc32` of what stands before it.
///
/// `object` ends in `}` and has at least one field.
pub fn seal(object: &mut Vec<u8>) {
    object.pop();
    let sum = crc32(object);
    object.extend_from_slice(KEY);
    object.extend_from_slice(format!("{sum:08x}\"}}").as_bytes());
}

/// Whether a JSON object is what [`seal`] left; one without a checksum (of an earlier version) is taken as it is.
pub fn is_sound(object: &[u8]) -> bool {
    let Some(at) = object.len().checked_sub(TAIL) else { return true };
    let (before, tail) = object.split_at(at);
    let Some(sum) = tail.strip_prefix(KEY) else { return true };
    sum == format!("{:08x}\"}}", crc32(before)).as_bytes()
}

/// Whether a picture that kshot wrote (PNG or JPEG) is there and whole: a power failure leaves empty files, a full disk of
/// another program's half ones. Of a PNG every chunk's checksum is compared, of a JPEG its ends are. Other files are
/// whole if they are not empty.
pub fn is_whole(path: &Path) -> bool {
    match path.extension().and_then(|end| end.to_str()) {
        Some("png") => std::fs::read(path).is_ok_and(|bytes| is_whole_png(&bytes)),
        Some("jpg") => ends(path).is_ok_and(|ends| ends == *b"\xff\xd8\xff\xd9"),
        _ => path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0),
    }
}

/// The first and the last two bytes of a file: many overlays are looked at before a run, and what is between is not read.
fn ends(path: &Path) -> std::io::Result<[u8; 4]> {
    let mut file = File::open(path)?;
    let mut ends = [0; 4];
    file.read_exact(&mut ends[..2])?;
    // Two bytes after the first two, so that these do not count twice.
    if file.seek(SeekFrom::End(-2))? >= 2 {
        file.read_exact(&mut ends[2..])?;
    }
    Ok(ends)
}

fn is_whole_png(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    // Length, kind, data, checksum of kind and data.
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((chunk, after)) = after.split_at_checked(length.saturating_add(4)) else {
            return false;
        };
        let Some((sum, after)) = after.split_first_chunk::<4>() else { return false };
        if u32::from_be_bytes(*sum) != crc32(chunk) {
            return false;
        }
        if chunk.starts_with(b"IEND") {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_line_is_noticed() {
        let mut line = br#"{"name":"a","area":12}"#.to_vec();
        assert!(is_sound(&line), "of an earlier version");
        seal(&mut line);
        assert!(is_sound(&line));
        assert!(serde_json::from_slice::<serde_json::Value>(&line).unwrap()["area"] == 12);
        let key = line.len() - TAIL..line.len() - TAIL + KEY.len();
        for bit in (0..line.len() * 8).filter(|bit| !key.contains(&(bit / 8))) {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let is_json = serde_json::from_slice::<serde_json::Value>(&flipped).is_ok();
            assert!(!is_sound(&flipped) || !is_json, "bit {bit}: {}", flipped.escape_ascii());
        }
    }

    #[test]
    fn empty_cut_and_flipped_pictures_are_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg"] {
            let path = folder.path().join(name);
            assert!(!is_whole(&path), "not there");
            image::RgbImage::from_fn(20, 10, |x, y| image::Rgb([x as u8, y as u8, 9]))
                .save(&path)
                .unwrap();
            assert!(is_whole(&path), "{name}");
            let whole = std::fs::read(&path).unwrap();
            for length in [0, 1, 8, whole.len() / 2, whole.len() - 1] {
                std::fs::write(&path, &whole[..length]).unwrap();
                assert!(!is_whole(&path), "{name} of {length} bytes");
            }
        }
        let path = folder.path().join("a.png");
        image::GrayImage::from_pixel(9, 9, image::Luma([3])).save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole_png(&flipped), "bit {bit}");
        }
    }
}
