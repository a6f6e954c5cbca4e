//! One mask per class: `masks/CLASS/NAME.png`, `masks/NAME_CLASS.png` or `masks/NAME-CLASS.png`;
//! any pixel that is not 0 is the class.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use crate::annotation::{Object, ObjectShape};
use crate::error::Result;
use crate::labels::{index, runs};

/// The picture and class that a mask without a picture of its own name may be for: `below` is its
/// path from masks/ without the ending, `keys` the pictures' paths without theirs.
///
/// Where several pictures fit, the one with the longest name is meant; `declared` names win.
pub fn belongs<'a>(
    below: &Path,
    keys: &HashSet<&'a Path>,
    declared: &[String],
) -> Option<(&'a Path, String)> {
    let mut parts = below.components();
    if let Some(Component::Normal(class)) = parts.next() {
        let rest = parts.as_path();
        if let Some(&key) = keys.get(rest) {
            return Some((key, class_name(&class.to_string_lossy())));
        }
    }
    let name = below.to_string_lossy();
    let mut fits: Vec<(&Path, String)> = name
        .match_indices(['_', '-'])
        .filter_map(|(at, _)| {
            let key = keys.get(Path::new(&name[..at]))?;
            let class = &name[at + 1..];
            (!class.is_empty()).then(|| (*key, class.to_owned()))
        })
        .collect();
    let known = |class: &String| {
        declared.contains(class) || crate::labels::names::reserved(class).is_some()
    };
    fits.sort_by_key(|(key, class)| (known(class), key.as_os_str().len()));
    fits.pop()
}

/// Words behind the names of pictures in the names of their whole masks.
const WHOLE: [&str; 14] = [
    "mask",
    "masks",
    "label",
    "labels",
    "seg",
    "segmentation",
    "gt",
    "groundtruth",
    "ground_truth",
    "annotation",
    "annotations",
    "target",
    "labelids",
    "L",
];

/// Whether a word behind a picture's name stands for its whole mask, and for no class.
pub fn is_whole(word: &str) -> bool {
    WHOLE.iter().any(|whole| whole.eq_ignore_ascii_case(word))
}

/// Classes that differ by a number at their end alone (`cat-0`, `cat-1`) become one, of which each mask is an object; says
/// so where there are some.
pub fn join_numbered(files: &mut [(String, PathBuf)], declared: &[String]) -> Option<String> {
    let base = |class: &str| -> Option<String> {
        let name = class.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let numbered = name.len() < class.len() && !declared.iter().any(|known| known == class);
        let name = name.trim_end_matches(['-', '_', ' ', '.']);
        (numbered && !name.is_empty()).then(|| name.to_owned())
    };
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    files
        .iter()
        .filter_map(|(class, _)| base(class))
        .for_each(|name| *known.entry(name).or_default() += 1);
    known.retain(|_, count| *count > 1);
    let (name, _) = known.iter().next()?;
    let of = |class: &str| base(class).filter(|name| known.contains_key(name));
    let first = files.iter().find(|(class, _)| of(class).as_ref() == Some(name))?.0.clone();
    for (class, _) in files.iter_mut() {
        if let Some(name) = of(class) {
            *class = name;
        }
    }
    Some(format!(
        "masks such as `{first}` are numbered: each is read as an object of the class `{name}`"
    ))
}

/// A class's name as a folder's: what file systems do not take is written as `%` and two hexadecimal
/// digits.
pub fn folder_name(class: &str) -> String {
    let special = |character: char, first: bool| {
        character.is_control() || r#"/\:*?"<>|%"#.contains(character) || (first && character == '.')
    };
    let mut name = String::new();
    for (at, character) in class.char_indices() {
        if !special(character, at == 0) {
            name.push(character);
        } else {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    name
}

/// The class's name of a folder's.
fn class_name(folder: &str) -> String {
    let bytes = folder.as_bytes();
    let mut name = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = folder.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                name.push(byte);
                at += 3;
            }
            None => {
                name.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(name).unwrap_or_else(|_| folder.to_owned())
}

/// The pixels of a class as an object, and the size of its mask.
///
/// # Errors
/// If the file cannot be read or holds colours.
pub fn read(path: &Path, class: &str) -> Result<(Object, usize, usize)> {
    let mask = index::read_values(path)?;
    let shape = ObjectShape::Runs(runs::encode(&mask, |value| value != 0));
    Ok((Object::new(class, shape), mask.width, mask.height))
}

/// How many pixels belong to more than one of the objects, which are run lengths.
pub fn overlap(objects: &[Object], width: usize, height: usize) -> usize {
    // Column by column, as the runs are: 1 is one object's, 2 several's.
    let mut seen = vec![0u8; width * height];
    for object in objects {
        let ObjectShape::Runs(counts) = &object.shape else { continue };
        let mut position = 0usize;
        for (index, &count) in counts.iter().enumerate() {
            let end = position.saturating_add(count as usize).min(seen.len());
            if index % 2 == 1 {
                seen[position..end].iter_mut().for_each(|pixel| *pixel = (*pixel + 1).min(2));
            }
            position = end;
        }
    }
    seen.iter().filter(|pixel| **pixel == 2).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_masks_are_objects_of_one_class() {
        let files = |classes: &[&str]| -> Vec<(String, PathBuf)> {
            classes.iter().map(|class| ((*class).to_owned(), PathBuf::from("x.png"))).collect()
        };
        let mut some = files(&["cat-0", "cat-1", "dog", "h2"]);
        assert!(join_numbered(&mut some, &[]).unwrap().contains("`cat-0`"));
        let classes: Vec<&str> = some.iter().map(|(class, _)| class.as_str()).collect();
        assert_eq!(classes, ["cat", "cat", "dog", "h2"]);
        let declared = ["layer 1", "layer 2"].map(str::to_owned);
        let mut layers = files(&["layer 1", "layer 2"]);
        assert_eq!(join_numbered(&mut layers, &declared), None);
        assert!(is_whole("Mask") && !is_whole("nucleus"));
    }

    #[test]
    fn pixels_of_several_classes_are_counted_once() {
        let object = |counts: &[u32]| Object::new("a", ObjectShape::Runs(counts.to_vec()));
        let objects = [object(&[1, 3, 2]), object(&[2, 4]), object(&[0, 3, 3]), object(&[6])];
        assert_eq!(overlap(&objects, 3, 2), 3);
        assert_eq!(overlap(&objects[..1], 3, 2), 0);
    }

    #[test]
    fn any_class_is_a_folder() {
        for (class, folder) in [
            ("cat", "cat"),
            ("tv/monitor", "tv%2Fmonitor"),
            ("50%", "50%25"),
            (".x", "%2Ex"),
            ("核", "核"),
        ] {
            assert_eq!((folder_name(class).as_str(), class_name(folder).as_str()), (folder, class));
        }
        assert_eq!(class_name("5%"), "5%");
    }

    #[test]
    fn folders_and_suffixes_tell_picture_and_class() {
        let keys = HashSet::from(["a", "a_b", "sub/c"].map(Path::new));
        let declared = ["b_dog".to_owned()];
        for (below, expected) in [
            ("cat/a", Some(("a", "cat"))),
            ("cat/sub/c", Some(("sub/c", "cat"))),
            ("a-cat", Some(("a", "cat"))),
            ("a_b_cat", Some(("a_b", "cat"))),
            ("a_b_dog", Some(("a", "b_dog"))),
            ("sub/c_cat", Some(("sub/c", "cat"))),
            ("lost", None),
            ("a_", None),
            ("acat", None),
        ] {
            let found = belongs(Path::new(below), &keys, &declared);
            let found = found.as_ref().map(|(key, class)| (key.to_str().unwrap(), class.as_str()));
            assert_eq!(found, expected, "{below}");
        }
    }
}
