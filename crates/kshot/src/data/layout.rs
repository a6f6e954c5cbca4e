//! What readers of published data sets share: a drawing of the layout for messages, parts by name, folders of files.

use std::path::{Path, PathBuf};

use kshot_data::labels::index::read_values;
use kshot_data::mask::Mask;

use crate::error::{Error, Result};
use crate::names::{instead_of, unknown};

/// A layout on disk as its publisher gives it out.
pub(super) struct Layout {
    /// What its folder is called.
    pub(super) name: &'static str,
    /// Its folders and files, a line each.
    pub(super) drawing: &'static str,
}

impl Layout {
    /// What is said where something is missing.
    pub(super) fn missing(&self, path: &Path) -> Error {
        Error::data(format!(
            "not there; {}. data.root is {}, which holds\n{}",
            instead_of(path),
            self.name,
            self.drawing
        ))
        .in_file(path)
    }

    /// The first of these folders or files that is there.
    ///
    /// # Errors
    /// If none is, with the drawing.
    pub(super) fn first(&self, root: &Path, below: &[&str]) -> Result<PathBuf> {
        let mut paths = below.iter().map(|below| root.join(below));
        let there = paths.find(|path| path.exists());
        there
            .ok_or_else(|| self.missing(&below.first().map_or(root.to_owned(), |at| root.join(at))))
    }
}

/// What a part is called on disk: each of these names with its name there.
///
/// # Errors
/// If it is none of them; the nearest is suggested.
pub(super) fn part_of<'a>(given: &str, parts: &[(&str, &'a str)]) -> Result<&'a str> {
    let found = parts.iter().find(|(name, _)| *name == given);
    found.map(|(_, on_disk)| *on_disk).ok_or_else(|| {
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        Error::config(unknown("part", given, &names)).at_key("data")
    })
}

/// The files of a folder whose names end so, without that ending, sorted.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn stems(folder: &Path, ending: &str) -> Result<Vec<String>> {
    let wrong = |error| Error::io("read the folder", folder, error);
    let mut stems = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(ending));
        // Files that begin with a point are macOS's notes on others.
        if let Some(stem) = stem.filter(|stem| !stem.is_empty() && !stem.starts_with('.')) {
            stems.push(stem.to_owned());
        }
    }
    stems.sort_unstable();
    Ok(stems)
}

/// Pictures of one folder with the masks of another, by name.
///
/// # Errors
/// If a folder cannot be read, or a picture has no mask.
pub(super) fn pairs(
    (pictures, picture_ending): (&Path, &str),
    (masks, mask_ending): (&Path, &str),
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let known = stems(masks, mask_ending)?;
    let pair = |stem: String| {
        let mask = masks.join(format!("{stem}{mask_ending}"));
        if known.binary_search(&stem).is_err() {
            let text = "a picture without a mask; unpack the data set's masks completely";
            return Err(Error::data(text).in_file(mask));
        }
        Ok((pictures.join(format!("{stem}{picture_ending}")), mask))
    };
    stems(pictures, picture_ending)?.into_iter().map(pair).collect()
}

/// A mask file with its values changed to ours.
///
/// # Errors
/// If it cannot be read or holds a value that `ours` does not know; `valid` says which there are.
pub(super) fn relabelled(
    path: &Path,
    ours: impl Fn(u8) -> Option<u8>,
    valid: &str,
) -> Result<Mask> {
    let mut mask = read_values(path)?;
    let table: [Option<u8>; 256] = std::array::from_fn(|value| ours(value as u8));
    for pixel in &mut mask.pixels {
        *pixel = table[usize::from(*pixel)].ok_or_else(|| {
            Error::data(format!("the value {pixel}; its masks hold {valid}")).in_file(path)
        })?;
    }
    Ok(mask)
}

/// Names as data sets hold them.
pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
