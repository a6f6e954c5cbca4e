//! What was downloaded into a folder: `.kshot-download.json`, and the sums of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Its name.
pub const RECORD: &str = ".kshot-download.json";

/// A file that was downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it came from.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, which counts for later downloads.
    pub sha256: String,
    /// Its MD5.
    pub md5: String,
    /// Whether it is in place: unpacked, if that is what becomes of it.
    pub in_place: bool,
}

/// The files that were downloaded into a folder, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// By the file's name.
    pub files: BTreeMap<String, Entry>,
}

impl Record {
    /// Where it is.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(RECORD)
    }

    /// The folder's; an empty one where there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = Self::path(folder);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::io("read what was downloaded", &path, error)),
        };
        serde_json::from_str(&text).map_err(|error| {
            Error::data(format!("damaged ({error}); remove it, and the next download starts anew"))
                .in_file(&path)
        })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = Self::path(folder);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::io("note what was downloaded", &path, error.into()))?;
        kshot_data::atomic::write_durable(&path, format!("{text}\n").as_bytes())
    }
}

/// Length, SHA-256 and MD5 of a file, in one pass.
///
/// # Errors
/// If it cannot be read.
pub fn sums(path: &Path) -> Result<(u64, String, String)> {
    let wrong = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(wrong)?;
    let (mut sha256, mut md5, mut all) = (Sha256::new(), Md5::new(), 0);
    let mut block = vec![0; 1 << 18];
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(wrong(error)),
        };
        sha256.update(&block[..count]);
        md5.update(&block[..count]);
        all += count as u64;
    }
    Ok((all, hex(&sha256.finalize()), hex(&md5.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_the_standards() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let (bytes, sha256, md5) = sums(file.path()).unwrap();
        assert_eq!(bytes, 3);
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // RFC 1321's own test suite.
        assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn a_record_is_read_again_and_a_damaged_one_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Record::default());
        let mut record = Record::default();
        let entry = Entry {
            url: "u".to_owned(),
            bytes: 1,
            sha256: "s".to_owned(),
            md5: "m".to_owned(),
            in_place: true,
        };
        record.files.insert("a.zip".to_owned(), entry);
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), record);
        std::fs::write(folder.path().join(RECORD), "{").unwrap();
        let error = Record::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("remove it"), "{error}");
    }
}
