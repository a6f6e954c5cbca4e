//! Files that are whole or absent: written under a temporary name beside their place, then renamed.
//!
//! A process that is killed leaves no half file under a final name. A power cut is another matter: the new name may
//! reach the disk before the content does, and the file is then empty or short.
//!
//! - [`write_durable`] forces content and name to the disk before it returns. It is for what cannot be made again, or
//!   only in hours: models, checkpoints, recipes, lists of what was moved.
//! - [`write()`] and [`write_with`] do not, and are for the rest: masks, overlays, pages, tables. Forcing a file of 3 kB
//!   to an ext4 disk takes 3 to 10 ms, where writing it takes 0.06 ms; a picture leaves three files, and small ones are
//!   segmented in less time than that. What a power cut spoils there, the next run finds and makes again.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes `bytes` to `path`, replacing what is there; missing folders are made.
///
/// # Errors
/// Kind [`Io`](crate::ErrorKind::Io), naming the path, the reason and what to do.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_with(path, |writer| Ok(writer.write_all(bytes)?))
}

/// Like [`write()`], and the file is on the disk, under its name, when this returns: a power cut loses neither.
///
/// # Errors
/// As [`write()`]; also if the disk does not take it, and what was there is then untouched.
pub fn write_durable(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let written = try_write_with(path, Reach::Disk, |writer| Ok(writer.write_all(bytes)?));
    written.map_err(|failure| failure.at(path))
}

/// How far a file has gone when it counts as written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To the operating system, which writes it when it sees fit.
    System,
    /// To the disk.
    Disk,
}

/// Why the content of a file could not be made: the file itself, or what it is made from. `?` turns
/// either into it.
#[derive(Debug)]
pub enum Failure {
    /// The file could not be written.
    Write(io::Error),
    /// What should be written could not be had.
    Other(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}

impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        // The conversion that csv has forgets which error of the system it was.
        Self::Write(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })
    }
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        match self {
            Self::Write(source) => write_error(path, source),
            Self::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The writer that [`write_with`] hands out.
pub type AtomicWriter<'a> = BufWriter<&'a mut NamedTempFile>;

/// Like [`write()`], with the content streamed by `fill` into a buffered writer.
///
/// # Errors
/// Kind [`Io`](crate::ErrorKind::Io) if it cannot be written, or the error that `fill` returns;
/// `path` is then untouched.
pub fn write_with(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut AtomicWriter<'_>) -> Result<(), Failure>,
) -> Result<()> {
    let path = path.as_ref();
    try_write_with(path, Reach::System, fill).map_err(|failure| failure.at(path))
}

fn try_write_with(
    path: &Path,
    reach: Reach,
    fill: impl FnOnce(&mut AtomicWriter<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    // A directory would refuse the rename with a text that differs by system.
    if path.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    let mut temporary = temporary_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 16, &mut temporary);
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    if reach == Reach::Disk {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    if reach == Reach::Disk {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Forces the names in a folder to the disk. File systems without such a thing (and Windows, which writes names on
/// its own) are left alone.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match fs::File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        done => done,
    }
}

/// A temporary file that others may read as the user's own umask says (the default of `tempfile`
/// is for the user alone, and it would stay so after the rename).
fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kshot-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// A failed write, in words: the path, the reason and what to do about it.
pub fn write_error(path: impl AsRef<Path>, source: io::Error) -> Error {
    let advice = match source.kind() {
        io::ErrorKind::StorageFull => Some(
            "the disk is full; free some space and run the same command again: what is finished is kept",
        ),
        io::ErrorKind::QuotaExceeded => Some(
            "your disk quota is used up; free some space and run the same command again: what is finished is kept",
        ),
        io::ErrorKind::FileTooLarge => Some(
            "a file may not grow that large here (`ulimit -f`, or the file system); raise the limit and run the same command again: what is finished is kept",
        ),
        io::ErrorKind::PermissionDenied => {
            Some("permission denied; choose another --out folder or make this one writable")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only; choose another --out folder")
        }
        io::ErrorKind::InvalidFilename => Some(
            "the file system does not accept this name (too long, or a character it has no room for); rename the picture",
        ),
        io::ErrorKind::IsADirectory => {
            Some("a folder of this name is in the way; move it or choose another --out folder")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            Some("a file stands where a folder is needed; move it or choose another --out folder")
        }
        _ => None,
    };
    match advice {
        Some(advice) => Error::new(crate::ErrorKind::Io, format!("could not write: {advice}"))
            .in_file(path)
            .caused_by(source),
        None => Error::io("write", path, source),
    }
}

/// Whether the system refused to write for want of room: the disk is full, a quota is used up, or a file may not
/// grow that large.
pub fn no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether an error means that the output folder takes nothing more.
pub fn unwritable(error: &Error) -> bool {
    let Some(source) = std::error::Error::source(error) else { return false };
    source
        .downcast_ref::<io::Error>()
        .is_some_and(|error| no_room(error) || error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |writer| {
            writer.write_all(b"half of it")?;
            Err(io::Error::from(io::ErrorKind::StorageFull).into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(error.to_string().contains("a.txt"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_durable_file_is_replaced_whole_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/model.bpk");
        write_durable(&path, b"one").unwrap();
        write_durable(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn want_of_room_is_known_through_every_writer() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let folder = tempfile::tempdir().unwrap();
        let fails = |failure: fn(io::Error) -> Failure| {
            write_with(folder.path().join("a.csv"), |_| Err(failure(full()))).unwrap_err()
        };
        for error in [
            fails(Failure::Write),
            fails(|error| csv::Error::from(error).into()),
            fails(|error| serde_json::Error::io(error).into()),
        ] {
            assert!(unwritable(&error), "{error}");
            assert!(error.to_string().contains("the disk is full"), "{error}");
        }
        assert!(!unwritable(&write_error("a", io::ErrorKind::PermissionDenied.into())));
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path().join("masks"), b"").unwrap();
        let error = write(folder.path().join("masks/a.png"), b"").unwrap_err();
        assert!(error.to_string().contains("a file stands where a folder is needed"), "{error}");
        fs::create_dir(folder.path().join("report.html")).unwrap();
        let error = write(folder.path().join("report.html"), b"").unwrap_err();
        assert!(error.to_string().contains("folder of this name"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plain"), b"").unwrap();
        write(folder.path().join("ours"), b"").unwrap();
        let mode = |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("plain"), mode("ours"));
    }
}
