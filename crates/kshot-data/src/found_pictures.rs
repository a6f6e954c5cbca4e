//! The pictures of a folder and, beside them, the links in it that point nowhere: what they linked was moved or removed, and
//! the rest of the folder is as good as before.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::image;
use crate::names::{counted, listed};
use crate::query::slashed;

/// How many names a message shows.
const SHOWN: usize = 3;

/// What a folder holds; both sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPictures {
    /// Its pictures.
    pub files: Vec<PathBuf>,
    /// Links that point nowhere.
    pub broken: Vec<PathBuf>,
}

impl FoundPictures {
    /// The pictures of a folder as [`image::list`] finds them (which stops at a link that points nowhere).
    ///
    /// # Errors
    /// If there is no such folder or it cannot be listed.
    pub fn of(folder: &Path, recursive: bool) -> Result<Self> {
        let mut broken = Vec::new();
        let files = image::walk(folder, recursive, image::EXTENSIONS, |place, error| {
            if !place.is_symlink() || place.exists() {
                return Err(image::unlisted(place, &error));
            }
            if !image::is_hidden(&place) {
                broken.push(place);
            }
            Ok(())
        })?;
        broken.sort();
        Ok(Self { files, broken })
    }
}

/// Says once that links below `root` point nowhere; nothing where there is none.
pub fn of_broken(root: &Path, broken: &[PathBuf]) -> Option<String> {
    let below = |path: &PathBuf| slashed(path.strip_prefix(root).unwrap_or(path));
    let names: Vec<String> = broken.iter().map(below).collect();
    let count = counted(names.len(), "link points nowhere", "links point nowhere");
    let named = || format!("{}: {count}, passed over: {}", root.display(), listed(&names, SHOWN));
    (!names.is_empty()).then(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_those_that_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("sub/.git")).unwrap();
        for name in ["b.PNG", "a.jpg", "notes.txt", "sub/c.tif", "sub/.git/d.png", ".e.png"] {
            std::fs::write(at(name), "").unwrap();
        }
        for recursive in [false, true] {
            let found = FoundPictures::of(folder.path(), recursive).unwrap();
            assert_eq!(found.files, image::list(folder.path(), recursive).unwrap());
            assert_eq!(found.files.len(), if recursive { 3 } else { 2 });
            assert_eq!(of_broken(folder.path(), &found.broken), None);
        }
        #[cfg(unix)]
        for name in ["gone.png", ".hidden.png", "sub/gone.png"] {
            std::os::unix::fs::symlink("/nowhere/at/all", at(name)).unwrap();
            let found = FoundPictures::of(folder.path(), true).unwrap();
            assert_eq!(found.files.len(), 3);
            let gone = found.broken.iter().any(|path| *path == at(name));
            assert_eq!(gone, name != ".hidden.png");
        }
        let error = FoundPictures::of(&at("none"), true).unwrap_err().to_string();
        assert!(error.contains("no such folder"), "{error}");
    }
}
