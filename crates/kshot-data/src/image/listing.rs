//! The files of a folder, by their endings.

use std::path::{Path, PathBuf};

use super::EXTENSIONS;
use crate::error::{Error, Result};

/// Whether a file's ending is one of a picture's.
pub fn is_ending(end: &std::ffi::OsStr) -> bool {
    one_of(end, EXTENSIONS)
}

/// The picture files of a folder, sorted; hidden files are passed over.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(folder: impl AsRef<Path>, recursive: bool) -> Result<Vec<PathBuf>> {
    list_ending(folder.as_ref(), recursive, EXTENSIONS)
}

/// The files of a folder whose names end so, sorted; hidden ones are passed over.
///
/// # Errors
/// If there is no such folder or it cannot be listed. What else it holds is nothing to fail for: a link of another ending
/// that points nowhere, or a file that went away meanwhile.
pub fn list_ending(folder: &Path, recursive: bool, endings: &[&str]) -> Result<Vec<PathBuf>> {
    walk(folder, recursive, endings, |place, error| {
        let is_gone =
            error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if is_gone && error.depth() > 0 && !ends(&place, endings) {
            return Ok(());
        }
        Err(unlisted(place, &error))
    })
}

/// The same; what of the folder cannot be listed is the caller's to refuse or to pass over.
pub(crate) fn walk(
    folder: &Path,
    recursive: bool,
    endings: &[&str],
    mut failed: impl FnMut(PathBuf, walkdir::Error) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Err(Error::no_folder(folder));
    }
    let depth = if recursive { usize::MAX } else { 1 };
    let mut files = Vec::new();
    let hidden = |entry: &walkdir::DirEntry| {
        let name = entry.file_name();
        // What storage devices and archives leave beside the pictures.
        let side = name == "@eaDir" || name == "__MACOSX";
        entry.depth() > 0 && (side || is_hidden(entry.path()))
    };
    let walk = walkdir::WalkDir::new(folder).max_depth(depth).follow_links(true);
    for entry in walk.into_iter().filter_entry(|entry| !hidden(entry)) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                failed(error.path().unwrap_or(folder).to_owned(), error)?;
                continue;
            }
        };
        if entry.file_type().is_file() && ends(entry.path(), endings) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

fn ends(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|end| one_of(end, endings))
}

fn one_of(end: &std::ffi::OsStr, endings: &[&str]) -> bool {
    endings.iter().any(|known| end.eq_ignore_ascii_case(known))
}

/// Whether a file or folder is hidden by its name.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// A folder, or a place in it, that cannot be listed.
pub(crate) fn unlisted(place: PathBuf, error: &walkdir::Error) -> Error {
    Error::data(format!("the folder cannot be listed: {error}")).in_file(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_sorted_and_passes_over_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["b.PNG", "a.jpg", ".hidden.png", "notes.txt", "sub/c.tif"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let names = |recursive| -> Vec<String> {
            list(folder.path(), recursive)
                .unwrap()
                .iter()
                .map(|p| p.strip_prefix(folder.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(names(false), ["a.jpg", "b.PNG"]);
        assert_eq!(names(true), ["a.jpg", "b.PNG", "sub/c.tif"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_that_point_nowhere_fail_only_where_they_would_count() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str| {
            std::os::unix::fs::symlink("nowhere", folder.path().join(name)).unwrap();
        };
        link("notes.txt");
        assert!(list(folder.path(), true).unwrap().is_empty());
        link("gone.png");
        let error = list(folder.path(), true).unwrap_err().to_string();
        assert!(error.contains("gone.png"), "{error}");
    }
}
