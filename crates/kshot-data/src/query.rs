//! The pictures of a query: what is asked about, each with a name of its own.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{Error, Result};
use crate::image;
use crate::journal::{Journal, Record};

/// A picture to segment.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its file.
    pub file: PathBuf,
    /// Its path below the query folder, for people.
    pub shown: String,
    /// The name of its outputs, unique, without an extension.
    pub name: String,
}

/// A picture without a mask.
#[derive(Debug, Clone, Default)]
pub struct FailedPicture {
    /// The picture's file.
    pub name: String,
    /// What went wrong and what to do.
    pub error: String,
}

/// The pictures of a folder (or the one picture that `query` is), with unique output names. Masks and overlays that kshot
/// left in a folder below are no pictures.
///
/// # Errors
/// If there is no picture there.
pub fn items(query: &Path) -> Result<Vec<Item>> {
    let (root, files) = if query.is_file() {
        (query.parent().unwrap_or(Path::new("")).to_owned(), vec![query.to_owned()])
    } else {
        let mut files = image::list(query, true)?;
        files.retain(|file| !is_output(file, query));
        (query.to_owned(), files)
    };
    if files.is_empty() {
        return Err(Error::data(
            "no picture here; kshot reads JPEG, PNG, TIFF, WebP, BMP and GIF, in subfolders too",
        )
        .in_file(query));
    }
    let mut taken = HashSet::new();
    let mut items = Vec::with_capacity(files.len());
    for file in files {
        let relative = file.strip_prefix(&root).unwrap_or(&file);
        let shown = slashed(relative);
        let stem = slashed(&relative.with_extension(""));
        // `a.jpg` and `a.png` would both become `a`: the later one keeps its extension, and a number
        // where even that is taken (names that differ only in bytes that are not text).
        let candidates = [stem, shown.clone()].into_iter();
        let numbered = (2..).map(|number| format!("{shown}-{number}"));
        let name = candidates
            .chain(numbered)
            .find(|name| !taken.contains(&name.to_lowercase()))
            .unwrap_or_else(|| shown.clone());
        taken.insert(name.to_lowercase());
        items.push(Item { file, shown, name });
    }
    Ok(items)
}

/// Whether a file is a mask or an overlay of a result below `root`.
fn is_output(file: &Path, root: &Path) -> bool {
    file.ancestors().skip(1).take_while(|folder| *folder != root).any(|folder| {
        let named = folder.file_name().is_some_and(|name| name == "masks" || name == "overlays");
        let result = |of: &Path| of.join("run.toml").is_file() || of.join(".kshot").is_dir();
        named && folder.parent().is_some_and(result)
    })
}

/// A path with `/` between folders, for people and names.
pub fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    // The root is a part of its own.
    parts.join("/").replacen("//", "/", 1)
}

/// Size and time of a file: enough to see that it was changed, without reading it.
pub fn fingerprint(file: &Path) -> Result<String> {
    let metadata =
        std::fs::metadata(file).map_err(|error| Error::io("look at the picture", file, error))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    Ok(format!("{}-{modified}", metadata.len()))
}

/// Which of `items` an earlier run of the same settings (`run`) has finished.
///
/// # Errors
/// If a picture cannot be looked at.
pub fn split_finished<R: Record>(
    items: Vec<Item>,
    journal: &Journal<R>,
    run: &str,
) -> (Vec<Item>, usize) {
    let all = items.len();
    let left: Vec<Item> = items
        .into_iter()
        .filter(|item| {
            // A picture that cannot be looked at is tried, and fails with its reason.
            !fingerprint(&item.file).is_ok_and(|print| journal.is_finished(&item.name, &print, run))
        })
        .collect();
    let skipped = all - left.len();
    (left, skipped)
}
