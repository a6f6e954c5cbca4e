//! One line per finished picture: what a second run skips and what the final files are made from.
//!
//! `OUT/.kshot/records.jsonl` (or what else the [`Record`] names) is appended to as pictures finish. A run that is killed leaves at most
//! one half line at its end, which the next run drops; that picture is simply made again. A picture
//! made twice has two lines, of which the later counts. A line ends in a checksum of itself: one that was damaged since
//! counts for nothing, and its picture is made again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::atomic::{self, write_error};
use crate::checksum;
use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::objects::measure::ObjectsRecord;
pub use crate::rle::ClassRecord;

/// Below OUT, the record of the picture whose files are being written over.
const BEGUN: &str = ".kshot/begun.json";

/// The flag of a picture that the user labelled.
pub const LABELLED: &str = "labelled";

/// Everything known of one finished picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// The name of its outputs without an extension, unique in the run; may hold `/` for subfolders.
    pub name: String,
    /// The picture's file relative to the query folder, with `/` between folders.
    pub path: String,
    /// Its width in pixels, upright.
    pub width: u32,
    /// Its height in pixels, upright.
    pub height: u32,
    /// The mask's file relative to OUT, such as `masks/a.png`.
    pub mask: String,
    /// The overlay's file relative to OUT, such as `overlays/a.jpg`; empty if none was written.
    pub overlay: String,
    /// What tells whether the picture has changed: a hash, or its size and time.
    pub fingerprint: String,
    /// What tells whether the run would give the same result: a hash of support, options and version.
    pub run: String,
    /// What was found, by class index; classes without a pixel are left out.
    pub classes: Vec<ClassRecord>,
    /// Confidence of the whole picture, 0..1.
    pub confidence: f32,
    /// How many times farther it is from the labelled pictures than these are from each other, where that is known.
    #[serde(default)]
    pub distance: Option<f32>,
    /// Where it lies among other pictures, in the same unit; empty where that is not known.
    #[serde(default)]
    pub position: Vec<f32>,
    /// By class of the list, from the first: estimated intersection over union, 0..1; none for one that is not there,
    /// and was not expected to be.
    #[serde(default)]
    pub estimates: Vec<Option<f32>>,
    /// Expected share of pixels that are right, 0..1.
    #[serde(default)]
    pub expected_accuracy: f32,
    /// What a user should know, such as `none-of-these` or `uncertain`.
    pub flags: Vec<String>,
    /// Time spent on this picture.
    pub seconds: f64,
    /// A small JPEG of the overlay in base64 (see [`crate::overlay::thumbnail`]); may be empty.
    pub thumbnail: String,
    /// Its objects; `None` where these were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsRecord>,
}

/// What a journal keeps of a picture, with the fields `name`, `fingerprint` and `run`.
pub trait Record: Serialize + DeserializeOwned {
    /// The journal's file in `OUT/.kshot`.
    const FILE: &'static str;
    /// The picture's name, unique in the run.
    fn name(&self) -> &str;
    /// What tells whether the picture has changed.
    fn fingerprint(&self) -> &str;
    /// What tells whether the run would give the same result.
    fn run(&self) -> &str;
    /// Files relative to OUT that the picture is not finished without.
    fn files(&self) -> Vec<&str>;
}

impl Record for PictureRecord {
    const FILE: &'static str = "records.jsonl";

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn run(&self) -> &str {
        &self.run
    }

    fn files(&self) -> Vec<&str> {
        let objects = self.objects.as_ref().map_or("", |objects| &*objects.file);
        let all = [&*self.mask, &*self.overlay, objects];
        all.into_iter().filter(|file| !file.is_empty()).collect()
    }
}

/// The little that is kept in memory of a finished picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FinishedPicture {
    /// As [`PictureRecord::fingerprint`].
    pub fingerprint: String,
    /// As [`PictureRecord::run`].
    pub run: String,
    /// Where its line begins in the journal, in bytes.
    #[serde(skip)]
    pub offset: u64,
}

/// The name beside the part of a line that is kept.
#[derive(Deserialize)]
struct RecordHead {
    name: String,
    #[serde(flatten)]
    finished: FinishedPicture,
}

/// The journal of an output folder, open for appending.
#[derive(Debug)]
pub struct Journal<R = PictureRecord> {
    out: PathBuf,
    path: PathBuf,
    file: File,
    end: u64,
    finished: BTreeMap<String, FinishedPicture>,
    damaged: usize,
    records: PhantomData<fn() -> R>,
    /// Of one that is written.
    _lock: Option<Lock>,
}

impl<R: Record> Journal<R> {
    /// Opens the journal of the output folder `out`, or begins one.
    ///
    /// # Errors
    /// If the folder cannot be made or another process writes into it, or the file cannot be read or written. Lines that cannot be understood
    /// are no error: their pictures count as not finished (see [`Self::damaged`]).
    pub fn open(out: impl AsRef<Path>) -> Result<Self> {
        let out = out.as_ref().to_owned();
        let path = out.join(".kshot").join(R::FILE);
        let folder = out.join(".kshot");
        fs::create_dir_all(&folder).map_err(|source| write_error(&folder, source))?;
        let lock = Lock::of_folder(&out)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| write_error(&path, source))?;
        let (finished, records) = (BTreeMap::new(), PhantomData);
        let _lock = Some(lock);
        let mut journal = Self { out, path, file, end: 0, finished, damaged: 0, records, _lock };
        journal.scan()?;
        // A half line at the end goes, so that the next record begins a line of its own.
        journal.file.set_len(journal.end).map_err(|source| write_error(&journal.path, source))?;
        Ok(journal)
    }

    /// Opens the journal of a finished output folder to read it: nothing in the folder changes, and it may be
    /// write-protected.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn read_only(out: impl AsRef<Path>) -> Result<Self> {
        let out = out.as_ref().to_owned();
        let path = out.join(".kshot").join(R::FILE);
        let file =
            File::open(&path).map_err(|source| Error::io("read the journal", &path, source))?;
        let (finished, records) = (BTreeMap::new(), PhantomData);
        let _lock = None;
        let mut journal = Self { out, path, file, end: 0, finished, damaged: 0, records, _lock };
        journal.scan()?;
        Ok(journal)
    }

    fn scan(&mut self) -> Result<()> {
        let mut reader = BufReader::with_capacity(1 << 18, &self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader
                .read_until(b'\n', &mut line)
                .map_err(|source| Error::io("read the journal", &self.path, source))?;
            if length == 0 || line.last() != Some(&b'\n') {
                self.damaged += usize::from(length > 0);
                return Ok(());
            }
            let head = match line.strip_suffix(b"\n") {
                Some(object) if checksum::is_sound(object) => serde_json::from_slice(object).ok(),
                _ => None,
            };
            match head {
                Some(RecordHead { name, finished }) => {
                    let finished = FinishedPicture { offset: self.end, ..finished };
                    self.finished.insert(name, finished);
                }
                None => self.damaged += 1,
            }
            self.end += length as u64;
        }
    }

    /// Adds a finished picture. Its mask and overlay must have been written before.
    ///
    /// # Errors
    /// If the line cannot be written whole; the journal is then as it was before.
    pub fn append(&mut self, record: &R) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|error| {
            Error::data(format!("could not record the picture {}", record.name())).caused_by(error)
        })?;
        checksum::seal(&mut line);
        line.push(b'\n');
        let written =
            self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&line));
        if let Err(source) = written {
            // Best effort: what stays of the line, the next opening drops.
            let _ = self.file.set_len(self.end);
            return Err(write_error(&self.path, source));
        }
        let finished = FinishedPicture {
            fingerprint: record.fingerprint().to_owned(),
            run: record.run().to_owned(),
            offset: self.end,
        };
        self.finished.insert(record.name().to_owned(), finished);
        self.end += line.len() as u64;
        Ok(())
    }

    /// Notes what is about to be written over a finished picture's files: until [`Self::append`], these may be either
    /// record's (see [`Self::begun`]). Of a picture that is not finished nothing needs to be noted.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn begin(&self, record: &R) -> Result<()> {
        if !self.finished.contains_key(record.name()) {
            return Ok(());
        }
        let text = serde_json::to_vec(record).map_err(|error| {
            Error::data(format!("could not record the picture {}", record.name())).caused_by(error)
        })?;
        atomic::write(self.out.join(BEGUN), &text)
    }

    /// The picture whose files a run was writing over when it ended, if it was.
    pub fn begun(&self) -> Option<R> {
        serde_json::from_slice(&fs::read(self.out.join(BEGUN)).ok()?).ok()
    }

    /// All finished pictures by name.
    pub fn finished(&self) -> &BTreeMap<String, FinishedPicture> {
        &self.finished
    }

    /// Whether the picture is finished with these fingerprints and its files are still there and whole.
    pub fn is_finished(&self, name: &str, fingerprint: &str, run: &str) -> bool {
        let same = |known: &&FinishedPicture| known.fingerprint == fingerprint && known.run == run;
        if self.finished.get(name).filter(same).is_none() {
            return false;
        }
        let whole = |file: &&str| checksum::is_whole(&self.out.join(file));
        self.read(name).is_ok_and(|record| record.files().iter().all(whole))
    }

    /// Keeps the pictures that `keep` accepts for what follows: those that left the query folder
    /// since the last run should not stand in the report. The file is not changed.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &FinishedPicture) -> bool) {
        self.finished.retain(|name, finished| keep(name, finished));
    }

    /// How many lines could not be understood (a killed run leaves at most one).
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// The output folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The record of one picture.
    ///
    /// # Errors
    /// If there is none of this name, or the journal cannot be read.
    pub fn read(&self, name: &str) -> Result<R> {
        let Some(finished) = self.finished.get(name) else {
            return Err(
                Error::data(format!("the journal has no picture `{name}`")).in_file(&self.path)
            );
        };
        let mut line = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(finished.offset))
            .and_then(|_| {
                let limit = self.end - finished.offset;
                BufReader::with_capacity(1 << 14, file.take(limit)).read_until(b'\n', &mut line)
            })
            .map_err(|source| Error::io("read the journal", &self.path, source))?;
        serde_json::from_slice(&line).map_err(|error| {
            Error::data(format!(
                "the record of `{name}` cannot be understood; run again with --force"
            ))
            .in_file(&self.path)
            .caused_by(error)
        })
    }

    /// All records in the order of their names, one in memory at a time.
    pub fn records(&self) -> impl Iterator<Item = Result<R>> + '_ {
        self.finished.keys().map(|name| self.read(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Journal = crate::journal::Journal<PictureRecord>;

    /// A record to test with: class 1 on a quarter of a picture of 8 x 4 pixels.
    fn record(name: &str) -> PictureRecord {
        PictureRecord {
            name: name.into(),
            path: format!("{name}.png"),
            width: 8,
            height: 4,
            mask: format!("masks/{name}.png"),
            overlay: String::new(),
            fingerprint: "f".into(),
            run: "r".into(),
            classes: vec![ClassRecord {
                class: 1,
                area: 8,
                fraction: 0.25,
                confidence: 0.75,
                rle: "88`0".into(),
                bbox: [2, 0, 2, 4],
            }],
            confidence: 0.5,
            distance: Some(1.5),
            position: vec![0.25, -0.5],
            estimates: vec![Some(0.5), None],
            expected_accuracy: 0.9,
            flags: vec!["uncertain".into()],
            seconds: 0.25,
            thumbnail: String::new(),
            objects: None,
        }
    }

    #[test]
    fn the_later_line_counts_and_names_are_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(&record("b")).unwrap();
        journal.append(&record("a")).unwrap();
        journal.append(&PictureRecord { confidence: 0.9, ..record("b") }).unwrap();
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        let all: Vec<PictureRecord> = journal.records().collect::<Result<_>>().unwrap();
        assert_eq!(all, [record("a"), PictureRecord { confidence: 0.9, ..record("b") }]);
        assert_eq!(journal.damaged(), 0);
    }

    #[test]
    fn what_is_written_over_is_noted_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.begin(&record("a")).unwrap();
        assert_eq!(journal.begun(), None, "nothing is there to be written over");
        journal.append(&record("a")).unwrap();
        let next = PictureRecord { run: "s".into(), ..record("a") };
        journal.begin(&next).unwrap();
        drop(journal);
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.begun(), journal.read("a").unwrap()), (Some(next), record("a")));
    }

    #[test]
    fn a_half_line_of_a_killed_run_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(&record("a")).unwrap();
        journal.append(&record("b")).unwrap();
        drop(journal);
        let path = folder.path().join(".kshot/records.jsonl");
        let text = fs::read(&path).unwrap();
        for cut in [text.len() - 1, text.len() - 40, text.len() / 2 + 1] {
            fs::write(&path, &text[..cut]).unwrap();
            let mut journal = Journal::open(folder.path()).unwrap();
            assert_eq!(journal.finished().keys().collect::<Vec<_>>(), ["a"]);
            assert_eq!(journal.damaged(), 1);
            journal.append(&record("c")).unwrap();
            drop(journal);
            let journal = Journal::open(folder.path()).unwrap();
            assert_eq!(journal.finished().keys().collect::<Vec<_>>(), ["a", "c"]);
            assert_eq!(journal.read("c").unwrap(), record("c"));
        }
    }

    #[test]
    fn a_line_of_rubbish_counts_as_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        Journal::open(folder.path()).unwrap().append(&record("a")).unwrap();
        let path = folder.path().join(".kshot/records.jsonl");
        let mut text = b"\0\xff{\n".to_vec();
        text.extend(fs::read(&path).unwrap());
        fs::write(&path, text).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.damaged(), journal.finished().len()), (1, 1));
        assert_eq!(journal.read("a").unwrap(), record("a"));
        assert!(journal.read("b").is_err());
        drop(journal);
        // A digit that changed, in a line that can still be understood.
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(text.contains("\"area\":8"), "{text}");
        fs::write(&path, text.replace("\"area\":8", "\"area\":9")).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        assert_eq!((journal.damaged(), journal.finished().len()), (2, 0));
    }

    #[test]
    fn finished_needs_same_fingerprints_and_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        journal.append(&record("a")).unwrap();
        assert!(!journal.is_finished("a", "f", "r"), "the mask is missing");
        crate::atomic::write(folder.path().join("masks/a.png"), b"").unwrap();
        assert!(!journal.is_finished("a", "f", "r"), "the mask is empty");
        ::image::GrayImage::new(8, 4).save(folder.path().join("masks/a.png")).unwrap();
        assert!(journal.is_finished("a", "f", "r"));
        assert!(!journal.is_finished("a", "other", "r"));
        assert!(!journal.is_finished("a", "f", "other"));
        assert!(!journal.is_finished("b", "f", "r"));
        journal.retain(|name, _| name != "a");
        assert!(journal.finished().is_empty());
    }
}
