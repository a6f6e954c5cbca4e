//! Whether a JPEG is whole: decoders fill what is missing with gray.

/// Whether the picture's data ends with the marker that ends it (what follows does not matter).
pub fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments up to the first scan: a marker and a length that holds itself.
    loop {
        let Some(&[first, marker]) = bytes.get(at..at + 2) else { return false };
        match (first, marker) {
            (0xff, 0xff) => at += 1,
            (0xff, 0xda) => break,
            (0xff, 0xd9) => return true,
            (0xff, 0x01 | 0xd0..=0xd8) => at += 2,
            (0xff, _) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
            _ => return true, // What it is says the decoder.
        }
    }
    // In a scan 0xff is followed by 0 or a restart; thumbnails lie before it.
    bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_not_whole() {
        let picture =
            image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, 90]));
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut bytes).encode_image(&picture).unwrap();
        assert!(is_whole(&bytes));
        for length in [3, 20, 200, bytes.len() / 2, bytes.len() - 2] {
            assert!(!is_whole(&bytes[..length]), "{length} of {}", bytes.len());
        }
        bytes.extend(b"what a camera adds");
        assert!(is_whole(&bytes));
    }
}
