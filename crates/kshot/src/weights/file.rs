//! What a file is, before it is read as weights.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// No larger file is read: it would be held in memory, and the weights of any network here are far
/// below.
pub(super) const MOST_BYTES: u64 = 4 << 30;

/// That much of a file is enough to tell what it is.
const HEAD: u64 = 512;

/// The longest header of a `.safetensors` file.
const LONGEST_HEADER: u64 = 100_000_000;

/// The beginning of a file that could hold weights, and its length.
pub(super) struct Head {
    pub(super) length: u64,
    bytes: Vec<u8>,
}

impl Head {
    /// Looks at a file.
    ///
    /// # Errors
    /// If it cannot be opened, is too large, or is plainly something else: a folder, an empty file, a
    /// pointer of Git LFS, a web page.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let failed = |error| Error::io("open the weights", path, error);
        let about = std::fs::metadata(path).map_err(failed)?;
        let wrong = |text: String| Err(Error::weights(text).in_file(path));
        if about.is_dir() {
            return wrong("a folder; give the file of weights in it".to_owned());
        }
        if !about.is_file() {
            return wrong("no ordinary file; save the weights into one and give that".to_owned());
        }
        let length = about.len();
        if length == 0 {
            return wrong("the file is empty; fetch or save it again".to_owned());
        }
        if length > MOST_BYTES {
            return wrong(format!(
                "the file has {length} bytes; at most {MOST_BYTES} are read. Save the network's state \
                 dict alone, without an optimizer's state"
            ));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(HEAD).read_to_end(&mut bytes).map_err(failed)?;
        let head = Self { length, bytes };
        if head.bytes.starts_with(b"version https://git-lfs") {
            return wrong(
                "only a pointer of Git LFS, which stands for a file that was not fetched; run `git \
                 lfs pull` in its repository, or download the file itself"
                    .to_owned(),
            );
        }
        if head.is_page() {
            return wrong(
                "a web page and no weights, such as a site sends instead of a file that needs a \
                 login or another address; download the file itself"
                    .to_owned(),
            );
        }
        Ok(head)
    }

    /// Whether it begins as a `.safetensors` file does: the header's length, then the header.
    pub(super) fn is_safetensors(&self) -> bool {
        let length = self.bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        length.is_some_and(|length| length <= LONGEST_HEADER) && self.bytes.get(8) == Some(&b'{')
    }

    pub(super) fn starts_with(&self, bytes: &[u8]) -> bool {
        self.bytes.starts_with(bytes)
    }

    /// Whether it begins as files of PyTorch do: a zip archive, or a pickle of a later protocol.
    pub(super) fn is_pytorch(&self) -> bool {
        self.starts_with(b"PK") || (self.starts_with(b"\x80") && !self.is_safetensors())
    }

    /// What a file that could not be read seems to be, to be added to a message.
    pub(super) fn guess(&self) -> &'static str {
        let text = match std::str::from_utf8(&self.bytes) {
            // A character may be cut at the end.
            Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
            Ok(_) => true,
        };
        let odd = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
        if text && !self.bytes.iter().any(odd) { "it is a text file; " } else { "" }
    }

    fn is_page(&self) -> bool {
        let text = String::from_utf8_lossy(&self.bytes).to_lowercase();
        let text = text.trim_start_matches('\u{feff}').trim_start();
        ["<!doctype", "<html", "<head", "<body", "<?xml", "<!--"]
            .iter()
            .any(|tag| text.starts_with(tag))
    }
}
