//! Whether tables and page tell of the masks that are there.
//!
//! Masks and the journal change picture by picture, tables and page at the end. A run that is killed in between, or a
//! picture that left the query folder, leaves tables of what was; the next run finds that out by what they say they
//! were written from, even where it has no picture to segment.

use std::path::{Path, PathBuf};

use kshot_data::atomic;
use kshot_data::hash;
use kshot_data::journal::{FinishedPicture, Journal};
use serde_json::json;

use crate::error::Result;
use crate::job::segment::SegmentOptions;
use crate::report::objects;

/// What the tables were written from, below OUT.
const FILE: &str = ".kshot/tables";

/// What tables and page are to be written from.
pub(super) struct Written(String);

impl Written {
    /// From the journal's pictures that `keep` accepts; `unfinished` are named as failed or not yet tried.
    pub(super) fn new(
        journal: &Journal,
        keep: impl Fn(&str, &FinishedPicture) -> bool,
        options: &SegmentOptions,
        unfinished: usize,
    ) -> Self {
        let kept = journal.finished().iter().filter(|(name, finished)| keep(name, finished));
        // A line's place tells it from an earlier one of the same picture.
        let kept: Vec<_> =
            kept.map(|(name, of)| (name, &of.run, &of.fingerprint, of.offset)).collect();
        let all = json!([env!("CARGO_PKG_VERSION"), kept, options.pixel_size, unfinished]);
        Self(hash::of_bytes(all.to_string().as_bytes()))
    }

    /// Whether all of them are there and were written from the same.
    pub(super) fn is_there(&self, options: &SegmentOptions) -> bool {
        let out = &options.out;
        let objects = options.objects.map(|_| objects::FILE);
        let files = ["report.html", "labels.csv", "coco.json", "run.toml"];
        let there =
            |name: &str| out.join(name).metadata().is_ok_and(|of| of.is_file() && of.len() > 0);
        std::fs::read_to_string(file(out)).is_ok_and(|noted| noted == self.0)
            && files.into_iter().chain(objects).all(there)
    }

    /// Notes that they were written.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn note(&self, out: &Path) -> Result<()> {
        atomic::write(file(out), self.0.as_bytes())
    }
}

fn file(out: &Path) -> PathBuf {
    out.join(FILE)
}
