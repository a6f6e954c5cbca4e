//! One writer at a time: of an output folder, of a model file.
//!
//! The operating system holds the lock, so that a killed process leaves none behind.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::atomic::write_error;
use crate::error::{Error, Result};
use crate::hash;

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Open, and so locked.
    _file: File,
}

impl Lock {
    /// Of an output folder, which is made where it is missing.
    ///
    /// # Errors
    /// If another process holds it, or the file cannot be written.
    pub fn of_folder(out: &Path) -> Result<Self> {
        let folder = out.join(".kshot");
        std::fs::create_dir_all(&folder).map_err(|error| write_error(&folder, error))?;
        let path = folder.join("lock");
        let file = open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::config(
                "another kshot is writing into this folder: wait until it is done, or choose another --out",
            )
            .in_file(out)),
            // A file system without locks, such as some network drives.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(error)) => Err(Error::io("lock the folder", out, error)),
        }
    }

    /// Of a file that is read, changed and written again; waits until others are done with it.
    ///
    /// # Errors
    /// If the lock's file, which is in the folder for temporary files, cannot be written.
    pub fn of_file(path: &Path) -> Result<Self> {
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = hash::of_bytes(whole.as_os_str().as_encoded_bytes());
        let lock: PathBuf = std::env::temp_dir().join(format!("kshot-{}.lock", &name[..16]));
        let file = open(&lock)?;
        match file.lock() {
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => {
                Err(Error::io("lock the file", path, error))
            }
            _ => Ok(Self { _file: file }),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().write(true).create(true).truncate(false).open(path);
    file.map_err(|error| write_error(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::of_folder(folder.path()).unwrap();
        let error = Lock::of_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another kshot"), "{error}");
        drop(first);
        Lock::of_folder(folder.path()).unwrap();
    }

    #[test]
    fn a_file_waits_for_the_first_to_be_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.kshot");
        std::fs::write(&path, "0").unwrap();
        let add = || {
            let _lock = Lock::of_file(&path).unwrap();
            let count: u32 = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            std::thread::yield_now();
            std::fs::write(&path, (count + 1).to_string()).unwrap();
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(add);
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "8");
    }
}
