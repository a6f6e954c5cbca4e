//! What to do with a folder that holds no labelled picture.

use std::path::{Path, PathBuf};

use crate::image::is_hidden;
use crate::label_folder::MaskReading;
use crate::label_folder::find;
use crate::names::{counted, listed};

/// Endings of archives.
const ARCHIVES: [&str; 7] = ["zip", "tar", "gz", "tgz", "7z", "rar", "bz2"];
/// Endings of files that may be labels.
const LABELS: [&str; 6] = ["json", "geojson", "xml", "txt", "csv", "npy"];
/// Folders below that are looked at, the first by name.
const LOOKED: usize = 24;
/// Files of a folder below above which it is not looked at.
const MOST_FILES: usize = 20_000;
/// Folders that are named.
const NAMED: usize = 4;

/// What to do, where what is there tells: a folder below that is labelled, an archive, pictures alone, labels alone.
pub(super) fn of(root: &Path) -> Option<String> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(root).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.retain(|path| !is_hidden(path));
    entries.sort();
    let folders = entries.iter().filter(|path| path.is_dir()).take(LOOKED);
    let labelled: Vec<String> = folders
        .filter(|folder| is_labelled(folder))
        .map(|folder| folder.display().to_string())
        .collect();
    match labelled.as_slice() {
        [] => {}
        [only] => return Some(format!("give {only}, which holds labelled pictures")),
        several => {
            let folders = listed(several, NAMED);
            return Some(format!(
                "give one of the folders below that hold labelled pictures: {folders}"
            ));
        }
    }
    let is = |path: &Path, known: &[&str]| {
        let end = path.extension().map(|end| end.to_string_lossy().to_lowercase());
        end.is_some_and(|end| known.contains(&end.as_str()))
    };
    if let Some(archive) = entries.iter().find(|path| path.is_file() && is(path, &ARCHIVES)) {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        return Some(format!("unpack {name} and give the folder that comes out"));
    }
    let pictures = crate::image::list(root, true).map_or(0, |files| files.len());
    let files = walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok);
    let labels = files.filter(|entry| entry.file_type().is_file() && is(entry.path(), &LABELS));
    match (pictures, labels.take(MOST_FILES).count()) {
        (0, 0) => None,
        (0, _) => Some(
            "there are labels, but no picture: put the pictures beside them, or into images/"
                .to_owned(),
        ),
        (pictures, 0) => {
            let there = counted(pictures, "picture", "pictures");
            Some(format!(
                "there {} {there}, but no labels: label a few in a tool of `kshot list formats`, or put their masks \
                 into masks/ (PNG of the same name)",
                if pictures == 1 { "is" } else { "are" }
            ))
        }
        _ => None,
    }
}

/// Whether a folder would be read with labelled pictures.
fn is_labelled(folder: &Path) -> bool {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    if files.take(MOST_FILES).count() == MOST_FILES {
        return false;
    }
    let found = find::found(folder, MaskReading::Auto);
    found.is_ok_and(|(folder, _)| folder.pictures.iter().any(|picture| picture.labels.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_folder::LabelFolder;

    fn todo(root: &Path) -> String {
        let findings = LabelFolder::open(root).unwrap().findings.0;
        let found = findings.iter().find(|of| of.what.starts_with("no labelled picture")).unwrap();
        found.todo.clone()
    }

    #[test]
    fn what_is_there_tells_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let picture = |name: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            image::GrayImage::new(4, 4).save(at(name)).unwrap();
        };
        assert!(todo(folder.path()).contains("images/"));
        std::fs::write(at("labels.zip"), "PK").unwrap();
        assert!(todo(folder.path()).starts_with("unpack labels.zip"));
        std::fs::remove_file(at("labels.zip")).unwrap();
        std::fs::write(at("a.json"), r#"{"shapes": []}"#).unwrap();
        assert!(todo(folder.path()).contains("no picture: put"));
        std::fs::remove_file(at("a.json")).unwrap();
        picture("photos/a.png");
        assert!(todo(folder.path()).contains("there is 1 picture, but no labels"));
        picture("set/images/a.png");
        picture("set/masks/a.png");
        assert_eq!(
            todo(folder.path()),
            format!("give {}, which holds labelled pictures", at("set").display())
        );
        picture("other/images/a.png");
        picture("other/masks/a.png");
        assert!(todo(folder.path()).contains("one of the folders below"));
    }
}
