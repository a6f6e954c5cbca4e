//! `run.toml`: what was run, from what, by which version, so that it can be told and repeated.

use std::path::Path;

use kshot_data::atomic;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a run came about. Everything that decides the result is in here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFile {
    /// The version of kshot.
    pub kshot: String,
    /// The command line, one argument an item.
    pub command: Vec<String>,
    /// When it began: RFC 3339 in UTC (see [`now`]).
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The seed of everything random.
    pub seed: u64,
    /// The compute device, such as `flex` or `cuda:0`.
    pub device: String,
    /// Threads used.
    pub threads: usize,
    /// The encoder's name.
    pub encoder: String,
    /// SHA-256 of the encoder's weights, in hexadecimal.
    pub weights_sha256: String,
    /// The method that made the masks, such as `probe`.
    pub method: String,
    /// The names of the classes; class `i + 1` of the masks is item `i`.
    pub classes: Vec<String>,
    /// The query folder, as it was given.
    pub query: String,
    /// The folder that the command ran in, from which relative paths count.
    #[serde(default)]
    pub working_directory: String,
    /// SHA-256 of what the results depend on (network, labels, options): the journal's lines with it are this run's.
    #[serde(default)]
    pub fingerprint: String,
    /// The pictures to label next, relative to the query folder, the most useful first; of segmentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_next: Vec<String>,
    /// How many pictures.
    pub counts: Counts,
    /// Every other option, as used (defaults included).
    pub options: toml::Table,
    /// The labelled pictures.
    pub support: Vec<SupportFile>,
}

/// How many pictures went which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Pictures found in the query folder.
    pub pictures: usize,
    /// Segmented in this run.
    pub done: usize,
    /// Finished by an earlier run and left as they were.
    pub skipped: usize,
    /// Failed.
    pub failed: usize,
}

/// One labelled picture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SupportFile {
    /// The picture's file.
    pub image: String,
    /// SHA-256 of the picture's file, in hexadecimal.
    pub image_sha256: String,
    /// The file its labels came from.
    pub labels: String,
    /// SHA-256 of that file, in hexadecimal.
    pub labels_sha256: String,
}

impl RunFile {
    /// Writes the file, such as `OUT/run.toml`.
    ///
    /// # Errors
    /// If the file cannot be written, or a number is too large for TOML (above 2^63 - 1).
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| {
            Error::config(format!("the run's settings cannot be written as TOML: {error}"))
                .in_file(path)
                .caused_by(error)
        })?;
        let text = format!("# How the files in this folder were made, by kshot.\n{text}");
        atomic::write(path, text.as_bytes())
    }

    /// Reads a `run.toml`.
    ///
    /// # Errors
    /// If there is none or it cannot be understood.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::io("read the run file", path, source))?;
        toml::from_str(&text).map_err(|error| {
            Error::data(format!("this is not a run file of kshot: {error}"))
                .in_file(path)
                .caused_by(error)
        })
    }
}

/// The time as RFC 3339 in UTC to the second, such as `2026-03-01T12:30:05Z`.
pub fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_file_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = RunFile {
            kshot: "0.1.0".into(),
            command: vec!["kshot".into(), "segment".into(), "a \"b\"\n".into()],
            started: now(),
            seconds: 1.5,
            seed: 7,
            support: vec![SupportFile { image: "a.png".into(), ..SupportFile::default() }],
            ..RunFile::default()
        };
        run.options.insert("refine".into(), true.into());
        let path = folder.path().join("run.toml");
        run.write(&path).unwrap();
        assert_eq!(RunFile::read(&path).unwrap(), run);
        assert!(RunFile::read(&folder.path().join("other.toml")).is_err());
    }

    #[test]
    fn the_time_is_rfc_3339_to_the_second() {
        let text = now();
        assert_eq!(text.len(), 20, "{text}");
        assert!(text.ends_with('Z') && text.as_bytes()[10] == b'T', "{text}");
    }
}
