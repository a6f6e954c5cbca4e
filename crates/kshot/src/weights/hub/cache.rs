//! The cache of Hugging Face's tools: `models--owner--name/{blobs,refs,snapshots/COMMIT}`.
//!
//! A file's content lies in `blobs` under the name that the server has for it (its ETag), a snapshot
//! links to it under the file's own name, and `refs` says which commit a branch was at when it was
//! fetched. What the Python tools fetched is found here, and the reverse.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kshot_data::atomic;

use super::names;
use crate::error::{Error, Result};
use crate::weights::source::RepositoryFile;

/// The cache's folder. All names that come in were checked by [`names`].
pub(super) struct Cache(PathBuf);

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The file of a repository in the cache, if it is there.
    pub(super) fn find(&self, wanted: &RepositoryFile, file: &str) -> Option<PathBuf> {
        let folder = self.repository(wanted);
        let of = |commit: &str| {
            let path = folder.join("snapshots").join(commit).join(file);
            // A link to a blob that is gone is no file.
            (names::is_plain(commit) && path.is_file()).then_some(path)
        };
        let branch = fs::read_to_string(folder.join("refs").join(&wanted.revision)).ok();
        // A revision given as a commit has no entry among the names of branches.
        branch.and_then(|commit| of(commit.trim())).or_else(|| of(&wanted.revision))
    }

    /// Where the content under a name lies or will lie; the folder is made.
    pub(super) fn blob(&self, wanted: &RepositoryFile, tag: &str) -> Result<PathBuf> {
        let folder = self.repository(wanted).join("blobs");
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
        // In full, since it also names the lock, whatever way others came here.
        let folder = folder.canonicalize().map_err(|error| unwritable(&folder, error))?;
        Ok(folder.join(tag))
    }

    /// Gives a blob its file's name in a snapshot, whose path is returned, and the revision its commit.
    pub(super) fn link(
        &self,
        wanted: &RepositoryFile,
        file: &str,
        commit: &str,
        blob: &Path,
    ) -> Result<PathBuf> {
        let repository = self.repository(wanted);
        let path = repository.join("snapshots").join(commit).join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
        }
        // What is there is of an earlier content of this commit, which cannot be, or leads nowhere.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(unwritable(&path, error));
            }
            _ => {}
        }
        place(file, blob, &path).map_err(|error| unwritable(&path, error))?;
        if wanted.revision != commit {
            let name = repository.join("refs").join(&wanted.revision);
            atomic::write(name, commit.as_bytes())?;
        }
        Ok(path)
    }

    fn repository(&self, wanted: &RepositoryFile) -> PathBuf {
        self.0.join(format!("models--{}", wanted.repository.replace('/', "--")))
    }
}

/// A relative link, so that the cache can be moved.
#[cfg(unix)]
fn place(file: &str, blob: &Path, path: &Path) -> std::io::Result<()> {
    // Up from the file's own folders, the commit's and `snapshots`.
    let mut target = PathBuf::from("../..");
    target.extend(file.split('/').skip(1).map(|_| ".."));
    target.push("blobs");
    target.extend(blob.file_name());
    std::os::unix::fs::symlink(target, path)
}

/// Links take rights there that few users have.
#[cfg(not(unix))]
fn place(_: &str, blob: &Path, path: &Path) -> std::io::Result<()> {
    fs::copy(blob, path).map(|_| ())
}

/// A failed write into the cache, and what to do.
pub(super) fn unwritable(path: &Path, error: std::io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full; free some space and try again, it goes on where it stopped. Or set \
             HF_HOME to a folder on another disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "the cache of weights cannot be written; set HF_HOME to a folder that can"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file stands where the cache of weights needs a folder; set HF_HOME to another one"
        }
        _ => return Error::io("write into the cache of weights", path, error),
    };
    Error::new(crate::error::ErrorKind::Io, advice).in_file(path).caused_by(error)
}
