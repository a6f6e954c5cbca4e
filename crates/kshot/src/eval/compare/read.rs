//! A result as `kshot eval` wrote it, read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::ComparedResult;
use crate::error::{Error, Result};
use crate::eval::rows::Rows;

/// The file that `kshot eval --out DIR` leaves in its folder.
const RESULT: &str = "result.json";
/// Bytes of a result at most; one of a million episodes is smaller.
const LARGEST: u64 = 512 << 20;

/// A mean, of which the rest is of no use here.
#[derive(Debug, Deserialize)]
pub(super) struct Mean {
    #[allow(dead_code)] // that it is a number is part of the format
    mean: Option<f64>,
}

/// What a result says before its rows.
#[derive(Deserialize)]
struct Head {
    protocol: String,
    version: String,
    recipe: Value,
    metrics: BTreeMap<String, Mean>,
    #[serde(default)]
    smoke: bool,
}

/// A result.
#[derive(Debug)]
pub(super) struct ResultFile {
    pub(super) letter: char,
    pub(super) path: PathBuf,
    pub(super) protocol: String,
    version: String,
    recipe: Value,
    pub(super) metrics: BTreeMap<String, Mean>,
    pub(super) smoke: bool,
    pub(super) rows: Rows,
}

impl ResultFile {
    /// Reads a file, or the `result.json` of a folder.
    ///
    /// # Errors
    /// If it is not there, is no result, or has no rows.
    pub(super) fn read(path: &Path, letter: char) -> Result<Self> {
        let path = if path.is_dir() { path.join(RESULT) } else { path.to_owned() };
        let unreadable = |error| {
            Error::io(
                "read the result (a file of `kshot eval --json`, or a folder of its --out)",
                &path,
                error,
            )
        };
        let bytes = std::fs::metadata(&path).map_err(unreadable)?.len();
        if bytes > LARGEST {
            return Err(
                Error::data(format!("{bytes} bytes are too many for a result")).in_file(&path)
            );
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let wrong = |error: serde_json::Error| {
            Error::data(format!("not a result of `kshot eval`: {error}"))
                .in_file(&path)
                .caused_by(error)
        };
        let mut value: Value = serde_json::from_str(&text).map_err(wrong)?;
        let rows = value.as_object_mut().and_then(|object| object.remove("rows"));
        let head: Head = serde_json::from_value(value).map_err(wrong)?;
        let Some(rows) = rows else {
            return Err(Error::data(format!(
                "this result has no rows to pair (it is of kshot {}, of a version that kept none); run `kshot eval` \
                 again",
                head.version
            ))
            .in_file(&path));
        };
        let rows: Rows = serde_json::from_value(rows).map_err(|error| {
            Error::data(format!(
                "its rows cannot be read: {error}; they are of kshot {}",
                head.version
            ))
            .in_file(&path)
            .caused_by(error)
        })?;
        rows.check().map_err(|error| error.in_file(&path))?;
        let Head { protocol, version, recipe, metrics, smoke } = head;
        Ok(Self { letter, path, protocol, version, recipe, metrics, smoke, rows })
    }

    /// What a recipe's key says, such as `/protocol/seed`.
    pub(super) fn says(&self, pointer: &str) -> Option<&Value> {
        self.recipe.pointer(pointer).filter(|value| !value.is_null())
    }

    /// What it is, for people.
    pub(super) fn about(&self) -> ComparedResult {
        let name = |section: &str, key: &str| {
            let of = self.says(&format!("/{section}/{key}"))?;
            // A name, or a table with one.
            of.as_str().or_else(|| of.get("name")?.as_str()).map(str::to_owned)
        };
        let method = name("method", "name").unwrap_or_else(|| "unknown".to_owned());
        let method = match name("model", "encoder") {
            Some(encoder) => format!("{method} with {encoder}"),
            None => method,
        };
        let (file, version) = (self.path.clone(), self.version.clone());
        ComparedResult { letter: self.letter, file, method, version }
    }
}
