//! Checkpoints that are whole or not there.

use std::path::{Path, PathBuf};

use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};

/// What a checkpoint consists of.
pub const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

/// Files `NAME-EPOCH.bpk`, written under another name first.
pub struct WholeFiles {
    folder: PathBuf,
    name: &'static str,
}

impl WholeFiles {
    /// Of one part of a checkpoint.
    pub fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name }
    }
}

/// The file of a part.
pub fn file(folder: &Path, name: &str, epoch: usize) -> PathBuf {
    folder.join(format!("{name}-{epoch}.bpk"))
}

impl<R: Checkpoint> Checkpointer<R> for WholeFiles {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        // The writer would change another ending.
        let part = self.folder.join(format!("{}-{epoch}.part.bpk", self.name));
        record.save(part.clone())?;
        std::fs::rename(&part, file(&self.folder, self.name, epoch))
            .map_err(CheckpointerError::IOError)
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        match std::fs::remove_file(file(&self.folder, self.name, epoch)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(CheckpointerError::IOError(error))
            }
            _ => Ok(()),
        }
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        R::load(file(&self.folder, self.name, epoch))
    }
}

/// The last epoch of which every part is there.
pub fn newest(folder: &Path) -> Option<usize> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
        })
        .filter(|epoch| PARTS.iter().all(|part| file(folder, part, *epoch).is_file()))
        .max()
}
