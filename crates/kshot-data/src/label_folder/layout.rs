//! Where pictures and masks lie in folders as tools leave them, and what else is there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::class_folder::TRAINING_PARTS;
use crate::label_folder::find::without_ending;
use crate::names::{counted, listed};

/// Folders of pictures, in the order of preference; case does not matter.
const PICTURES: [&str; 11] = [
    "images",
    "JPEGImages",
    "image",
    "imgs",
    "img",
    "pictures",
    "photos",
    "imagesTr",
    "image_2",
    "input",
    "inputs",
];
/// Folders of masks; the later ones only where they hold pictures.
const MASKS: [&str; 16] = [
    "masks",
    "SegmentationClass",
    "mask",
    "SegmentationClassPNG",
    "labels",
    "labelsTr",
    "annotations",
    "label",
    "annotation",
    "gt",
    "ground_truth",
    "groundtruth",
    "ground-truth",
    "segmentations",
    "targets",
    "GT",
];
/// What is listed at most of a folder.
const LISTED: usize = 8;

/// The folder of pictures.
pub(super) fn pictures(root: &Path) -> Option<PathBuf> {
    PICTURES.iter().find_map(|name| below(root, name))
}

/// The folder of masks.
pub(super) fn masks(root: &Path) -> Option<PathBuf> {
    let has_masks =
        |folder: &PathBuf| crate::image::list(folder, true).is_ok_and(|files| !files.is_empty());
    let (usual, others) = MASKS.split_at(2);
    let usual = usual.iter().find_map(|name| below(root, name));
    usual.or_else(|| others.iter().filter_map(|name| below(root, name)).find(has_masks))
}

/// The part to learn from, where the folder itself holds no picture.
pub(super) fn training_part(root: &Path) -> Option<PathBuf> {
    if pictures(root).is_some()
        || crate::image::list(root, false).is_ok_and(|files| !files.is_empty())
    {
        return None;
    }
    TRAINING_PARTS.iter().find_map(|name| below(root, name))
}

/// Whether a folder is laid out as a part of a data set of YOLO: pictures and labels below it, and nothing that names classes.
pub(super) fn is_part(root: &Path) -> bool {
    let has = |name: &str| below(root, name).is_some();
    has("labels") && pictures(root).is_some() && !root.join("classes.txt").is_file()
}

/// The folder above, whatever the path is.
pub(super) fn above(root: &Path) -> Option<PathBuf> {
    match (root.file_name(), root.parent()) {
        (Some(_), Some(parent)) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
        (Some(_), _) => Some(PathBuf::from(".")),
        // `.` and the like.
        (None, _) => Some(root.canonicalize().ok()?.parent()?.to_owned()),
    }
}

/// A folder of this name, whatever its case.
fn below(root: &Path, name: &str) -> Option<PathBuf> {
    let exact = root.join(name);
    if exact.is_dir() {
        return Some(exact);
    }
    let entries = std::fs::read_dir(root).ok()?.filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(name))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.into_iter().next()
}

/// A name as it is compared where nothing has it exactly: composed letters, in lower case, without URL escapes.
pub(super) fn loosely(name: &Path) -> String {
    let name = crate::query::slashed(name);
    let plain = percent_encoding::percent_decode_str(&name).decode_utf8_lossy();
    plain.nfc().flat_map(char::to_lowercase).collect()
}

/// Pictures by their names as these are compared loosely.
#[derive(Default)]
pub(super) struct LooseNames {
    /// By the whole name without its ending.
    pub(super) keys: HashMap<String, Vec<usize>>,
    /// By the whole name.
    pub(super) names: HashMap<String, Vec<usize>>,
    /// By the last part of the name.
    pub(super) last_parts: HashMap<String, Vec<usize>>,
    /// By the last part of the name without its ending.
    pub(super) last_keys: HashMap<String, Vec<usize>>,
}

impl LooseNames {
    /// Of the names of pictures.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a Path>) -> Self {
        let mut all = Self::default();
        names.enumerate().for_each(|(index, name)| all.add(index, name));
        all
    }

    /// Adds the picture `index`.
    pub(super) fn add(&mut self, index: usize, name: &Path) {
        let last = Path::new(name.file_name().unwrap_or_default());
        let into = [
            (&mut self.keys, loosely(&without_ending(name))),
            (&mut self.names, loosely(name)),
            (&mut self.last_parts, loosely(last)),
            (&mut self.last_keys, loosely(&without_ending(last))),
        ];
        for (map, name) in into {
            map.entry(name).or_default().push(index);
        }
    }
}

/// What a folder holds, for people: its folders, and its files by their endings.
pub(super) fn contents(root: &Path) -> String {
    let mut found = Vec::new();
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !crate::image::is_hidden(path))
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let count = walkdir::WalkDir::new(&path)
                .into_iter()
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_file())
                .count();
            found.push(format!("{name}/ ({})", counted(count, "file", "files")));
        } else {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            *endings.entry(ending).or_default() += 1;
        }
    }
    let files = endings.iter().map(|(ending, count)| match (ending.as_str(), count) {
        ("", count) => format!("{count} without an ending"),
        (ending, count) => format!("{count} .{ending}"),
    });
    found.extend(files);
    if found.is_empty() {
        return "it is empty".to_owned();
    }
    format!("it holds {}", listed(&found, LISTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_meet_whatever_their_case_form_and_escapes() {
        let same = loosely(Path::new("sub/m\u{fc}ller a.png"));
        for name in ["sub/Mu\u{308}ller a.PNG", "sub/m%C3%BCller%20a.png", "Sub/M\u{dc}LLER A.png"]
        {
            assert_eq!(loosely(Path::new(name)), same, "{name}");
        }
    }

    #[test]
    fn folders_are_found_whatever_tools_call_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["Train/Image", "Train/labels", "Train/GT", "val"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let train = training_part(folder.path()).unwrap();
        assert_eq!(train, at("Train"));
        assert_eq!(pictures(&train), Some(at("Train/Image")));
        assert_eq!(masks(&train), None);
        image::GrayImage::new(1, 1).save(at("Train/GT/a.png")).unwrap();
        std::fs::write(at("Train/labels/a.txt"), "").unwrap();
        assert_eq!(masks(&train), Some(at("Train/GT")));
        assert_eq!(contents(&train), "it holds GT/ (1 file), Image/ (0 files), labels/ (1 file)");
        assert_eq!(training_part(&train), None);
    }
}
