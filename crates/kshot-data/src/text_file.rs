//! Text files as tools and editors of all systems leave them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use encoding_rs::{GB18030, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::{Error, Result};

/// Bytes of a text at most: COCO's files of 120 000 pictures have half of it.
const MOST_BYTES: u64 = 1 << 30;

/// What stands between the columns of tables.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// A file's text: UTF-8 with or without a byte order mark, UTF-16 with one, and what old tools write in China (GB 18030)
/// and western Europe (Windows-1252).
///
/// # Errors
/// If it cannot be read, or is none of these.
pub fn text_of(file: &Path) -> Result<String> {
    text_within(file, MOST_BYTES)
}

/// The same of a file that has so many bytes at most.
///
/// # Errors
/// As [`text_of`]; if it is larger.
pub fn text_within(file: &Path, most: u64) -> Result<String> {
    let failed = |error| Error::io("read the text", file, error);
    let opened = File::open(file).map_err(failed)?;
    let mut bytes = Vec::new();
    opened.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        let text = format!(
            "a text of more than {} MiB, which is more than kshot reads of one file; divide it, or leave out what is no \
             label",
            most >> 20
        );
        return Err(Error::data(text).in_file(file));
    }
    decoded(bytes).map_err(|error| error.in_file(file))
}

/// The same of bytes.
///
/// # Errors
/// If they are text in none of these encodings.
pub fn decoded(bytes: Vec<u8>) -> Result<String> {
    let wide = [(UTF_16LE, b"\xff\xfe"), (UTF_16BE, b"\xfe\xff")];
    if let Some((encoding, _)) = wide.into_iter().find(|(_, mark)| bytes.starts_with(*mark)) {
        let (text, damaged) = encoding.decode_with_bom_removal(&bytes);
        return if damaged {
            Err(Error::data("damaged UTF-16 text; save it as UTF-8"))
        } else {
            Ok(text.into_owned())
        };
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            national(error.as_bytes()).ok_or_else(|| {
                Error::data(format!(
                    "not text in UTF-8, UTF-16, GB 18030 or Windows-1252 (at byte {at}); open it in an editor and save \
                     it as UTF-8"
                ))
            })
        }
    }
}

/// What stands between the columns of a header: what occurs most often in it, a comma where nothing does.
pub fn delimiter_of(head: &str) -> u8 {
    let count = |byte: &u8| head.bytes().filter(|of| of == byte).count();
    // Of several that occur equally often, the first.
    DELIMITERS.into_iter().rev().max_by_key(count).unwrap_or(b',')
}

/// Text of a national encoding, told by its bytes beyond ASCII: Chinese has them in pairs, European text has single ones
/// between plain letters.
fn national(bytes: &[u8]) -> Option<String> {
    let runs = || bytes.split(|byte| byte.is_ascii()).map(<[u8]>::len).filter(|length| *length > 0);
    let encoding = if runs().all(|length| length % 2 == 0) {
        GB18030
    } else if runs().all(|length| length == 1) {
        WINDOWS_1252
    } else {
        return None;
    };
    let (text, damaged) = encoding.decode_without_bom_handling(bytes);
    let control = |letter: char| letter.is_control() && !letter.is_whitespace();
    (!damaged && !text.contains(control)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "four").unwrap();
        assert_eq!(text_within(file.path(), 4).unwrap(), "four");
        let error = text_within(file.path(), 3).unwrap_err().to_string();
        assert!(error.contains("more than 0 MiB"), "{error}");
    }

    #[test]
    fn text_of_every_system_is_read() {
        for (bytes, text) in [
            (&b"caf\xc3\xa9"[..], "caf\u{e9}"),
            (b"\xef\xbb\xbfx", "x"),
            (b"\xff\xfex\0\xe9\0", "x\u{e9}"),
            (b"\xfe\xff\0x", "x"),
            (b"\xcf\xb8\xb0\xfb", "\u{7ec6}\u{80de}"),
            (b"\xe9t\xe9", "\u{e9}t\u{e9}"),
            (b"", ""),
        ] {
            assert_eq!(decoded(bytes.to_vec()).unwrap(), text);
        }
        for bytes in [&b"\xff\xff\xff"[..], b"\xff\xfe\0\xd8", b"\xe9 \xe9\xe9\xe9"] {
            assert!(decoded(bytes.to_vec()).unwrap_err().to_string().contains("UTF-8"));
        }
    }
}
