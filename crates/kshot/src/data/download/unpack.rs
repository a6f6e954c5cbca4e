//! Archives of data sets, unpacked below one folder and nowhere else: names that lead out of it, links and
//! devices are refused, and so is more than the limits.
//!
//! A plain tar that ends between two entries cannot be told from a whole one, so that those of the catalog have a
//! published sum; zips and compressed tars say where they end.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use kshot_data::atomic::write_error;
use tar::EntryType;
use zip::ZipArchive;

use super::catalog::Archive;
use crate::error::{Error, Result};
use crate::transfer::web::escaped;

/// Bytes of a name's part at most.
const LONGEST: usize = 255;
/// Bits of a file's mode that say what it is, and those of a symbolic link.
const KIND_BITS: u32 = 0o170_000;
const LINK_BITS: u32 = 0o120_000;

/// How much may be unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// What is unpacked and where to.
pub struct Unpacking<'a> {
    /// The archive.
    pub archive: &'a Path,
    /// Its kind.
    pub kind: Archive,
    /// The folder of the archive that is unpacked; empty for all of it.
    pub strip: &'a str,
    /// Where to.
    pub into: &'a Path,
    /// How much at most.
    pub limits: Limits,
}

/// Unpacks; `on_entry` is told how many entries are done.
///
/// # Errors
/// If the archive is damaged, holds what would lie outside or is no file, or is above the limits; or nothing can be
/// written.
pub fn unpack(of: &Unpacking<'_>, on_entry: &dyn Fn(u64)) -> Result<u64> {
    let wrong = |error| Error::io("open the archive", of.archive, error);
    let file = BufReader::new(File::open(of.archive).map_err(wrong)?);
    let mut done = Done { of, entries: 0, bytes: 0, files: 0, on_entry };
    match of.kind {
        Archive::Zip => zip(&mut done, file)?,
        Archive::Tar => tar(&mut done, file)?,
        Archive::TarGz => tar(&mut done, MultiGzDecoder::new(file))?,
    }
    Ok(done.files)
}

struct Done<'a> {
    of: &'a Unpacking<'a>,
    entries: u64,
    bytes: u64,
    files: u64,
    on_entry: &'a dyn Fn(u64),
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Folder,
    /// A link, a device, ...
    Other,
}

impl Done<'_> {
    fn refused(&self, what: impl Into<String>) -> Error {
        Error::data(format!("{}; nothing more of it was unpacked", what.into()))
            .in_file(self.of.archive)
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> Error {
        self.refused(format!("not a whole archive: {error}. Remove it and download it again"))
    }

    /// Unpacks one entry.
    fn entry(&mut self, name: &[u8], kind: Kind, content: &mut dyn Read) -> Result<()> {
        self.entries += 1;
        if self.entries > self.of.limits.entries {
            return Err(self.refused(format!("more than {} entries", self.of.limits.entries)));
        }
        (self.on_entry)(self.entries);
        let Some(path) = inside(name) else {
            let name = escaped(name);
            return Err(self.refused(format!("the entry `{name}` would lie outside the folder")));
        };
        let strip = self.of.strip.trim_end_matches('/');
        let Ok(path) = path.strip_prefix(strip) else { return Ok(()) };
        let target = self.of.into.join(path);
        let unwritable = |error| write_error(&target, error);
        match kind {
            Kind::Folder => fs::create_dir_all(&target).map_err(unwritable),
            Kind::Other => {
                let name = escaped(name);
                Err(self.refused(format!("the entry `{name}` is a link or a device")))
            }
            Kind::File => {
                if let Some(folder) = target.parent() {
                    fs::create_dir_all(folder).map_err(|error| write_error(folder, error))?;
                }
                let mut file = File::create(&target).map_err(unwritable)?;
                let left = self.of.limits.bytes - self.bytes;
                let count = self.copied(&mut content.take(left + 1), &mut file, &target)?;
                self.bytes += count;
                self.files += 1;
                if count > left {
                    let most = self.of.limits.bytes;
                    return Err(self.refused(format!("more than {most} bytes when unpacked")));
                }
                Ok(())
            }
        }
    }

    /// As [`io::copy`], with what cannot be read told from what cannot be written.
    fn copied(&self, from: &mut dyn Read, to: &mut File, target: &Path) -> Result<u64> {
        let mut block = vec![0; 1 << 16];
        let mut all = 0;
        loop {
            let count = match from.read(&mut block) {
                Ok(0) => return Ok(all),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(&error)),
            };
            io::Write::write_all(to, &block[..count])
                .map_err(|error| write_error(target, error))?;
            all += count as u64;
        }
    }
}

fn zip(done: &mut Done<'_>, file: impl Read + Seek) -> Result<()> {
    let mut archive = ZipArchive::new(file).map_err(|error| done.damaged(&error))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| done.damaged(&error))?;
        let is_link = entry.unix_mode().is_some_and(|mode| mode & KIND_BITS == LINK_BITS);
        let kind = match (is_link, entry.is_dir()) {
            (true, _) => Kind::Other,
            (_, true) => Kind::Folder,
            _ => Kind::File,
        };
        let name = entry.name_raw().to_vec();
        done.entry(&name, kind, &mut entry)?;
    }
    Ok(())
}

fn tar(done: &mut Done<'_>, file: impl Read) -> Result<()> {
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries().map_err(|error| done.damaged(&error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| done.damaged(&error))?;
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            // Notes on the archive as a whole.
            EntryType::XGlobalHeader => continue,
            _ => Kind::Other,
        };
        let name = entry.path_bytes().into_owned();
        done.entry(&name, kind, &mut entry)?;
    }
    Ok(())
}

/// An entry's name as a path below any folder; `None` if it is none.
fn inside(name: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(name).ok()?;
    let text = text.strip_suffix('/').unwrap_or(text);
    let mut path = PathBuf::new();
    for part in text.split('/') {
        let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
        match part {
            // Some archives begin all names with it.
            "." => {}
            "" | ".." => return None,
            // Windows takes `.. ` for `..`.
            part if part.len() > LONGEST || part.contains(odd) || part.ends_with(['.', ' ']) => {
                return None;
            }
            part => path.push(part),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (name, path) in [
            ("a/b.png", Some("a/b.png")),
            ("./a/b", Some("a/b")),
            ("a/", Some("a")),
            ("./", Some("")),
            ("..", None),
            ("../a", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("a//b", None),
            ("C:/a", None),
            ("a\\..\\b", None),
            ("a/.. /b", None),
            ("a\nb", None),
            ("", None),
        ] {
            assert_eq!(inside(name.as_bytes()), path.map(PathBuf::from), "{name:?}");
        }
        assert_eq!(inside(&[0xff]), None);
        assert_eq!(inside("x".repeat(300).as_bytes()), None);
    }
}
