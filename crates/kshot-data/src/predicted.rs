//! Which label files of a folder are predictions that nobody has looked at.
//!
//! `kshot data convert` of a result writes predictions as labels, to be corrected in another tool. Those that the tool
//! never saved are no labels: to learn from them would be to believe oneself. `.kshot/predicted.json` therefore notes
//! each such file with the hash that it was written with; a file that is still the same is passed over as a label. A
//! tool that saves a file writes it its own way, so that a prediction that was found right and saved counts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::{Error, Result};
use crate::hash;

/// The list, below the folder.
pub const FILE: &str = ".kshot/predicted.json";

/// Label files with the SHA-256 they were written with, by their paths below the folder, with `/` between folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    files: BTreeMap<String, String>,
    #[serde(skip)]
    root: PathBuf,
    /// What was found of files so far: one may label thousands of pictures.
    #[serde(skip)]
    looked_at: RefCell<BTreeMap<String, bool>>,
}

impl Predicted {
    /// The list of a folder; empty where there is none.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        if !path.is_file() {
            return Ok(Self { root: root.to_owned(), ..Self::default() });
        }
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::io("read which labels are predictions", &path, error))?;
        let mut list: Self = serde_json::from_slice(&bytes).map_err(|error| {
            Error::data(format!(
                "not a list of predictions as kshot writes it ({error}); delete it to take all labels of the folder"
            ))
            .in_file(&path)
            .caused_by(error)
        })?;
        root.clone_into(&mut list.root);
        Ok(list)
    }

    /// Notes files as they are now.
    ///
    /// # Errors
    /// If one cannot be read, or the list not written.
    pub fn write(root: &Path, files: &[PathBuf]) -> Result<()> {
        let mut list = Self::default();
        for file in files {
            let name = crate::query::slashed(file.strip_prefix(root).unwrap_or(file));
            list.files.insert(name, hash::of_file(file)?);
        }
        let mut text = serde_json::to_string_pretty(&list).map_err(|error| {
            Error::data("the list of predictions cannot be written as JSON").caused_by(error)
        })?;
        text.push('\n');
        atomic::write(root.join(FILE), text.as_bytes())
    }

    /// Forgets what was noted before.
    ///
    /// # Errors
    /// If the list is there and cannot be removed.
    pub fn clear(root: &Path) -> Result<()> {
        let path = root.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("replace the list of predictions", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether a file is a prediction as it was written.
    pub fn is_untouched(&self, file: &Path) -> bool {
        let name = crate::query::slashed(file.strip_prefix(&self.root).unwrap_or(file));
        let Some(noted) = self.files.get(&name) else { return false };
        let look = || hash::of_file(file).is_ok_and(|now| now == *noted);
        *self.looked_at.borrow_mut().entry(name).or_insert_with(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_it_was_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("images/a.json");
        atomic::write(&file, b"{}").unwrap();
        assert!(!Predicted::read(folder.path()).unwrap().is_untouched(&file));
        Predicted::write(folder.path(), std::slice::from_ref(&file)).unwrap();
        let list = Predicted::read(folder.path()).unwrap();
        assert!(list.is_untouched(&file) && !list.is_untouched(&folder.path().join("b.json")));
        atomic::write(&file, b"{ }").unwrap();
        assert!(!Predicted::read(folder.path()).unwrap().is_untouched(&file));
        Predicted::clear(folder.path()).unwrap();
        Predicted::clear(folder.path()).unwrap();
        assert!(Predicted::read(folder.path()).unwrap().is_empty());
    }
}
