//! Checkpoints that are whole, or known not to be.
//!
//! ```text
//! model-7.bpk, optim-7.bpk, scheduler-7.bpk   the parts, each forced to the disk before it has its name
//! sums-7.txt                                  SHA-256 of each (as of `sha256sum`), once all three are there
//! ```
//! Only then, and one checkpoint later, does an older one go: whatever spoils the last one, the one before it is
//! there, with the best of that time. Checkpoints without sums are of an earlier version, and count if they can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Bytes;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};
use kshot_data::{atomic, hash};

use super::pack;
use crate::error::{Error, Result};

/// What a checkpoint consists of.
pub const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

/// The file of a part.
pub fn file(folder: &Path, name: &str, epoch: usize) -> PathBuf {
    folder.join(format!("{name}-{epoch}.bpk"))
}

/// The file of a checkpoint's sums.
fn sums(folder: &Path, epoch: usize) -> PathBuf {
    folder.join(format!("sums-{epoch}.txt"))
}

/// The checkpoints of a folder while a training writes them.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    state: Arc<Mutex<CheckpointsState>>,
}

#[derive(Debug, Default)]
struct CheckpointsState {
    /// Sums of the parts that are there, of checkpoints that are not whole yet.
    begun: BTreeMap<usize, BTreeMap<&'static str, String>>,
    /// The last checkpoint of which a part was begun.
    newest: usize,
    /// Those to be deleted, each once a checkpoint after the one named with it is whole.
    doomed: BTreeMap<usize, usize>,
    failed: Option<Error>,
}

impl Checkpoints {
    /// Of a folder from whose checkpoint `from` (0: none) a training goes on. What is after it is not whole and goes;
    /// what is before it, other than the one next to it and the `best`, goes with the next checkpoint.
    ///
    /// # Errors
    /// If something cannot be deleted.
    pub fn open(folder: &Path, from: usize, best: Option<usize>) -> Result<Self> {
        let state = Arc::default();
        let checkpoints = Self { folder: folder.to_owned(), state };
        for path in remains(folder)? {
            remove(&path).map_err(|error| Error::io("remove what is left of", &path, error))?;
        }
        for epoch in epochs(folder)? {
            if epoch > from {
                checkpoints.remove(epoch).map_err(|error| {
                    Error::io("remove the damaged checkpoint", file(folder, "model", epoch), error)
                })?;
            } else if epoch + 1 < from && Some(epoch) != best {
                checkpoints.lock().doomed.insert(epoch, from);
            }
        }
        Ok(checkpoints)
    }

    /// What writes each of the parts.
    pub fn writers(&self) -> [WholeFiles; 3] {
        PARTS.map(|name| WholeFiles { of: self.clone(), name })
    }

    /// Why a checkpoint could not be written, if one could not.
    pub fn failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    /// Notes that a part is there; with the last part of a checkpoint come its sums, and older checkpoints go.
    fn part_is_whole(&self, epoch: usize, name: &'static str, sum: String) -> Result<()> {
        // Held while files are written: parts come from threads of their own.
        let mut state = self.lock();
        let parts = state.begun.entry(epoch).or_default();
        parts.insert(name, sum);
        if parts.len() < PARTS.len() {
            return Ok(());
        }
        let lines = |(name, sum): (&&str, &String)| format!("{sum}  {name}-{epoch}.bpk\n");
        let text: String = parts.iter().map(lines).collect();
        self.force_curve()?;
        atomic::write_durable(sums(&self.folder, epoch), text.as_bytes())?;
        state.begun.remove(&epoch);
        let due: Vec<usize> =
            state.doomed.iter().filter(|(_, after)| **after < epoch).map(|(old, _)| *old).collect();
        for old in due {
            state.doomed.remove(&old);
            self.remove(old).map_err(|error| {
                Error::io("remove the old checkpoint", file(&self.folder, "model", old), error)
            })?;
        }
        Ok(())
    }

    /// A checkpoint is of no use without the curve up to it, which was written before: it has to reach the disk first.
    fn force_curve(&self) -> Result<()> {
        let curve = self.folder.with_file_name("metrics.jsonl");
        match fs::File::options().write(true).open(&curve).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(atomic::write_error(curve, error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a checkpoint; its sums first, so that no half of it looks like a damaged one.
    fn remove(&self, epoch: usize) -> std::io::Result<()> {
        remove(&sums(&self.folder, epoch))?;
        PARTS.iter().try_for_each(|part| remove(&file(&self.folder, part, epoch)))
    }

    fn lock(&self) -> MutexGuard<'_, CheckpointsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the files `NAME-EPOCH.bpk` of one part.
pub struct WholeFiles {
    of: Checkpoints,
    name: &'static str,
}

impl WholeFiles {
    fn write<R: Checkpoint>(&self, epoch: usize, record: R) -> Result<()> {
        let path = file(&self.of.folder, self.name, epoch);
        let bytes = record.checkpoint_into_bytes().map_err(|error| {
            Error::weights(format!("the checkpoint cannot be written: {error}")).in_file(&path)
        })?;
        atomic::write_durable(&path, &bytes)?;
        self.of.part_is_whole(epoch, self.name, hash::of_bytes(&bytes))
    }
}

impl<R: Checkpoint> Checkpointer<R> for WholeFiles {
    fn save(&self, epoch: usize, record: R) -> std::result::Result<(), CheckpointerError> {
        {
            let mut state = self.of.lock();
            state.newest = state.newest.max(epoch);
            state.begun.entry(epoch).or_default();
        }
        self.write(epoch, record).map_err(|error| {
            let told = CheckpointerError::Unknown(error.to_string());
            // Burn's error would lose what kind it is of; the first is the cause of others.
            self.of.lock().failed.get_or_insert(error);
            told
        })
    }

    fn delete(&self, epoch: usize) -> std::result::Result<(), CheckpointerError> {
        // Asked for by each part in turn, after its share of the newest checkpoint.
        let mut state = self.of.lock();
        let newest = state.newest;
        state.doomed.entry(epoch).or_insert(newest);
        Ok(())
    }

    fn restore(&self, epoch: usize) -> std::result::Result<R, CheckpointerError> {
        let bytes = fs::read(file(&self.of.folder, self.name, epoch));
        let bytes = bytes.map_err(CheckpointerError::IOError)?;
        R::checkpoint_from_bytes(Bytes::from_bytes_vec(bytes)).map_err(CheckpointerError::Record)
    }
}

/// The last checkpoint that is whole.
#[derive(Debug, Default)]
pub struct Newest {
    /// Its number, if there is one.
    pub epoch: Option<usize>,
    /// Those after it, which are not, from the last on.
    pub damaged: Vec<DamagedCheckpoint>,
}

/// A checkpoint that is not whole.
#[derive(Debug)]
pub struct DamagedCheckpoint {
    /// Its number.
    pub epoch: usize,
    /// What of it is wrong.
    why: String,
    /// Whether it was whole once, and not only begun.
    pub was_whole: bool,
}

impl fmt::Display for DamagedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, why, was_whole } = self;
        let what = if *was_whole { "is damaged" } else { "was not finished" };
        write!(f, "checkpoint {epoch} {what} ({why})")
    }
}

impl Newest {
    /// A line on each checkpoint that is not whole: what of it is wrong, and where a training goes on.
    pub fn told(&self) -> Vec<String> {
        let from = match self.epoch {
            Some(epoch) => format!("going on from checkpoint {epoch}"),
            None => "going on from the beginning".to_owned(),
        };
        self.damaged.iter().map(|damaged| format!("{damaged}: {from}")).collect()
    }
}

/// Looks for the last checkpoint of a folder of which every part is as it was written.
///
/// # Errors
/// If a file is there and cannot be read.
pub fn newest(folder: &Path) -> Result<Newest> {
    let mut found = Newest::default();
    for epoch in epochs(folder)?.into_iter().rev() {
        match fault(folder, epoch)? {
            Some(damaged) => found.damaged.push(damaged),
            None => {
                found.epoch = Some(epoch);
                break;
            }
        }
    }
    Ok(found)
}

/// What is wrong with a checkpoint, if something is.
///
/// # Errors
/// If a file is there and cannot be read.
pub fn fault(folder: &Path, epoch: usize) -> Result<Option<DamagedCheckpoint>> {
    let text = match fs::read(sums(folder, epoch)) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("read the sums", sums(folder, epoch), error)),
    };
    let there = |part: &&str| file(folder, part, epoch).is_file();
    let was_whole = text.is_some() || PARTS.iter().all(there);
    for part in PARTS {
        if let Some(why) = fault_of_part(folder, part, epoch, text.as_deref())? {
            return Ok(Some(DamagedCheckpoint { epoch, why, was_whole }));
        }
    }
    Ok(None)
}

fn fault_of_part(
    folder: &Path,
    part: &str,
    epoch: usize,
    sums: Option<&str>,
) -> Result<Option<String>> {
    let path = file(folder, part, epoch);
    let name = format!("{part}-{epoch}.bpk");
    match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Some(format!("{name} is missing")));
        }
        Ok(about) if about.len() == 0 => return Ok(Some(format!("{name} is empty"))),
        _ => {}
    }
    let checked = match sums {
        Some(sums) => hash::of_file(&path).map(|sum| {
            let written = sums.lines().find_map(|line| line.strip_suffix(&format!("  {name}")));
            (written != Some(&*sum)).then(|| format!("{name} is not what was written"))
        }),
        None if part == "optim" => pack::check_optimizer(&path).map(|()| None),
        None => pack::check(&path).map(|()| None),
    };
    checked.or_else(|error| {
        let source = std::error::Error::source(&error);
        let source = source.and_then(|source| source.downcast_ref::<std::io::Error>());
        // What nobody may read is not damaged; what the disk does not give any more is.
        match source.map(std::io::Error::kind) {
            Some(ErrorKind::PermissionDenied) => Err(error),
            _ => Ok(Some(format!("{name}: {}", error.message()))),
        }
    })
}

/// What is wrong with the parameters of a checkpoint, by their file, if something is.
///
/// # Errors
/// If the file is there and may not be read.
pub fn fault_of_model(path: &Path) -> Result<Option<String>> {
    let (Some(folder), Some(epoch)) = (path.parent(), epoch_of(path)) else { return Ok(None) };
    let text = fs::read(sums(folder, epoch)).ok();
    let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    fault_of_part(folder, "model", epoch, text.as_deref())
}

/// The checkpoint that a file belongs to by its name, such as 7 of `model-7.bpk`.
fn epoch_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    let (part, rest) = name.split_once('-')?;
    let number = match part {
        "sums" => rest.strip_suffix(".txt")?,
        part if PARTS.contains(&part) => rest.strip_suffix(".bpk")?,
        _ => return None,
    };
    number.parse().ok()
}

/// The checkpoints of which something is there.
fn epochs(folder: &Path) -> Result<BTreeSet<usize>> {
    Ok(files(folder)?.iter().filter_map(|path| epoch_of(path)).collect())
}

/// Files under temporary names, which a killed training left.
fn remains(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = files(folder)?;
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".part.bpk") || (name.starts_with(".kshot-") && name.ends_with(".part"))
    });
    Ok(files)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unread = |error| Error::io("read the checkpoints", folder, error);
    match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        entries => {
            entries.map_err(unread)?.map(|entry| Ok(entry.map_err(unread)?.path())).collect()
        }
    }
}
