//! Pictures with a class each: a folder of class folders, or a csv of `path,class`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::csv_text::plain;
use crate::error::{Error, Result};
use crate::found_pictures::{self, FoundPictures};
use crate::image;
use crate::names::{counted, listed};
use crate::near_names::same_but_for_case;
use crate::text_file::{delimiter_of, text_of};

/// Of a data set that is divided into folders, the part to learn from; case does not matter.
pub const TRAINING_PARTS: [&str; 3] = ["train", "training", "train_data"];
/// The parts that are held out.
const HELD_OUT_PARTS: [&str; 7] =
    ["val", "valid", "validation", "val_data", "test", "testing", "test_data"];

/// Whether a folder is called like a part of a divided data set.
pub fn is_part(name: &str) -> bool {
    let mut parts = TRAINING_PARTS.iter().chain(&HELD_OUT_PARTS);
    parts.any(|part| name.eq_ignore_ascii_case(part))
}

/// A picture and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPicture {
    /// Its file.
    pub path: PathBuf,
    /// Index of its class.
    pub class: usize,
}

/// Pictures by class: classes in the order of their names, and the pictures of one class together,
/// in the order of theirs.
#[derive(Debug, Clone, Default)]
pub struct ClassFolder {
    /// The classes' names.
    pub classes: Vec<String>,
    /// The pictures.
    pub pictures: Vec<ClassPicture>,
    /// What was passed over, in words.
    pub warnings: Vec<String>,
}

/// A line of a list: a picture and, where the list tells it, its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListLine {
    /// The picture's file, relative to the list's folder where the line was not absolute.
    pub path: PathBuf,
    /// As it is written in the list.
    pub written: String,
    /// Its class; `None` where the list has no such column or the field is empty.
    pub class: Option<String>,
    /// The line, from 1.
    pub line: usize,
}

/// Words that may head the column of pictures.
const PATH_HEADS: [&str; 6] = ["path", "file", "picture", "image", "filename", "file_name"];
/// Words that may head the column of classes.
const CLASS_HEADS: [&str; 4] = ["class", "label", "class_name", "category"];
/// How many names a message shows.
const SHOWN: usize = 3;
/// How many classes a message names.
const CLASSES: usize = 10;

/// The part to learn from, where all folders are parts of a divided data set.
fn training_part(folders: &[PathBuf]) -> Option<&Path> {
    let name =
        |folder: &Path| folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let training = |folder: &&PathBuf| {
        TRAINING_PARTS.iter().any(|part| name(folder).eq_ignore_ascii_case(part))
    };
    let all = folders.iter().all(|folder| is_part(&name(folder)));
    let training = folders.iter().find(training)?;
    (all && folders.len() > 1).then_some(training)
}

impl ClassFolder {
    /// Opens a folder of class folders (pictures in subfolders of these too), or a csv of `path,class`
    /// with paths relative to it. Pictures are listed, not read.
    ///
    /// # Errors
    /// If there is no class, a class has no picture, a listed picture is missing, or a picture is
    /// listed with two classes; the message names them.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::of_folders(path) } else { Self::of_list(path) }
    }

    fn of_folders(root: &Path) -> Result<Self> {
        let unlisted = |error| Error::io("list the folder", root, error);
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(root).map_err(unlisted)? {
            let path = entry.map_err(unlisted)?.path();
            let hidden = crate::image::is_hidden(&path);
            if path.is_dir() && !hidden {
                folders.push(path);
            }
        }
        folders.sort();
        let FoundPictures { files: loose, mut broken } = FoundPictures::of(root, false)?;
        if let Some(training) = training_part(&folders) {
            let mut part = Self::of_folders(training)?;
            part.warnings.push(format!(
                "{}: its folders are parts of a data set and no classes: {} is read",
                root.display(),
                training.display()
            ));
            return Ok(part);
        }
        if folders.is_empty() {
            return Err(Error::data(format!(
                "no class folder here{}; make one folder a class and put its pictures into it, or \
                 give a csv of path,class",
                if loose.is_empty() { "" } else { ", only pictures" }
            ))
            .in_file(root));
        }
        let mut by_class = BTreeMap::new();
        let mut empty = Vec::new();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let found = FoundPictures::of(&folder, true)?;
            if found.files.is_empty() {
                let unread = image::kinds::unread(&folder).map(|kinds| format!(" ({kinds})"));
                let links =
                    (!found.broken.is_empty()).then(|| " (links that point nowhere)".into());
                empty.push(format!("{name}{}", unread.or(links).unwrap_or_default()));
            }
            broken.extend(found.broken);
            by_class.insert(name, found.files);
        }
        if !empty.is_empty() {
            return Err(Error::data(format!(
                "{} without a picture: {}; put at least one into {}",
                if empty.len() == 1 { "a class folder" } else { "class folders" },
                listed(&empty, CLASSES),
                if empty.len() == 1 {
                    "it, or remove the folder"
                } else {
                    "each, or remove the folders"
                },
            ))
            .in_file(root));
        }
        if let (true, true) = (by_class.contains_key("images"), by_class.contains_key("masks")) {
            return Err(Error::data(
                "images/ and masks/ are labels of pixels, for `kshot segment`; here every folder is a \
                 class",
            )
            .in_file(root));
        }
        let mut all = Self::of(by_class);
        if !loose.is_empty() {
            all.warnings.push(format!(
                "{}: {} beside the class folders, passed over: a picture's class is the folder it is in",
                root.display(),
                if loose.len() == 1 { "a picture".to_owned() } else { format!("{} pictures", loose.len()) },
            ));
        }
        all.warnings.extend(found_pictures::of_broken(root, &broken));
        Ok(all)
    }

    fn of_list(file: &Path) -> Result<Self> {
        let mut by_class: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut classes_of: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut missing = Vec::new();
        for listed in list(file)? {
            let Some(class) = listed.class else {
                return Err(Error::data(format!(
                    "`{}` has no class; a line is path,class",
                    listed.written
                ))
                .at_line(file, listed.line));
            };
            if !listed.path.is_file() {
                missing.push(format!("{} (line {})", listed.written, listed.line));
                continue;
            }
            match classes_of.get(&listed.path) {
                Some(known) if *known == class => continue,
                Some(known) => {
                    return Err(Error::data(format!(
                        "`{}` is listed as {known} and as {class}; keep one line",
                        listed.written
                    ))
                    .at_line(file, listed.line));
                }
                None => {}
            }
            classes_of.insert(listed.path.clone(), class.clone());
            by_class.entry(class).or_default().push(listed.path);
        }
        if !missing.is_empty() {
            return Err(Error::data(format!(
                "{} not there: {}; paths count from the list's folder",
                counted(missing.len(), "picture is", "pictures are"),
                listed(&missing, SHOWN),
            ))
            .in_file(file));
        }
        if by_class.is_empty() {
            return Err(Error::data("the list is empty; a line is path,class").in_file(file));
        }
        by_class.values_mut().for_each(|pictures| pictures.sort());
        Ok(Self::of(by_class))
    }

    fn of(by_class: BTreeMap<String, Vec<PathBuf>>) -> Self {
        let mut all = Self::default();
        for (name, pictures) in by_class {
            let class = all.classes.len();
            all.classes.push(name);
            all.pictures.extend(pictures.into_iter().map(|path| ClassPicture { path, class }));
        }
        let same = same_but_for_case(&all.classes);
        let same: Vec<String> =
            same.iter().map(|names| format!("`{}`", names.join("`, `"))).collect();
        if !same.is_empty() {
            all.warnings.push(format!(
                "classes whose names are nearly the same: {}; give them one name if one class is meant",
                listed(&same, SHOWN)
            ));
        }
        all
    }

    /// The same with only the first `shots` pictures of every class. Classes that have fewer are told
    /// in [`Self::warnings`].
    #[must_use]
    pub fn first(mut self, shots: usize) -> Self {
        let counts = self.counts();
        let fewer: Vec<String> = (0..counts.len())
            .filter(|&class| counts[class] < shots)
            .map(|class| format!("{} ({})", self.classes[class], counts[class]))
            .collect();
        if !fewer.is_empty() {
            self.warnings
                .push(format!("fewer than {shots} pictures of: {}", listed(&fewer, CLASSES)));
        }
        let mut taken = vec![0; self.classes.len()];
        self.pictures.retain(|picture| {
            taken[picture.class] += 1;
            taken[picture.class] <= shots
        });
        self
    }

    /// How many pictures each class has.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.pictures.iter().for_each(|picture| counts[picture.class] += 1);
        counts
    }
}

/// Reads a list of pictures: a csv with a column of paths and perhaps one of classes (a first line of
/// names such as `path,class` or `file,label` is understood; without one, these are the first two
/// columns), or plain text with a path a line. Whether the pictures exist is not looked at.
///
/// # Errors
/// If the file cannot be read, or a line is not csv.
pub fn list(file: &Path) -> Result<Vec<ListLine>> {
    let text = text_of(file)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    // Windows tools write folders with backslashes.
    let found = |written: &str| {
        let path = folder.join(written);
        let slashed = written.contains('\\') && !path.exists();
        if slashed { folder.join(written.replace('\\', "/")) } else { path }
    };
    let listed = |written: &str, class: Option<&str>, line| ListLine {
        path: found(written),
        written: written.to_owned(),
        class: class.map(str::trim).filter(|class| !class.is_empty()).map(str::to_owned),
        line,
    };
    // A table of ours has an apostrophe before what a spreadsheet would take for a formula.
    let own = |written: &str| folder.join(written).exists().then(|| written.to_owned());
    if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("txt")) {
        return Ok((1..)
            .zip(text.lines())
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| listed(line.trim(), None, number))
            .collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter_of(text.lines().next().unwrap_or_default()))
        .from_reader(text.as_bytes());
    let (mut path_at, mut class_at) = (0, 1);
    let mut lines = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(index + 1, |place| place.line() as usize);
            Error::data(format!("not a line of csv: {error}")).at_line(file, line).caused_by(error)
        })?;
        let line = record.position().map_or(index + 1, |place| place.line() as usize);
        if index == 0 {
            let named = |heads: &[&str]| {
                record.iter().position(|field| heads.contains(&&*field.trim().to_lowercase()))
            };
            if let Some(at) = named(&PATH_HEADS) {
                path_at = at;
                class_at = named(&CLASS_HEADS).unwrap_or(usize::MAX);
                continue;
            }
        }
        match record.get(path_at).map(str::trim) {
            None | Some("") => {}
            Some(path) => {
                let path = own(path).unwrap_or_else(|| plain(path).to_owned());
                lines.push(listed(&path, record.get(class_at).map(plain), line));
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        folder
    }

    #[test]
    fn class_folders_in_order_with_their_subfolders() {
        let folder = place(&["b/2.png", "b/1.jpg", "a/sub/9.png", "loose.png", ".git/x.png"]);
        let all = ClassFolder::open(folder.path()).unwrap();
        assert_eq!(all.classes, ["a", "b"]);
        assert_eq!(all.counts(), [1, 2]);
        let shown: Vec<_> = all.pictures.iter().map(|p| p.path.file_name().unwrap()).collect();
        assert_eq!(shown, ["9.png", "1.jpg", "2.png"]);
        assert!(all.warnings[0].contains("a picture beside"), "{:?}", all.warnings);
        let first = all.first(1);
        assert_eq!((first.pictures.len(), first.counts()), (2, vec![1, 1]));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name() {
        let says = |folder: &tempfile::TempDir, part: &str| {
            let error = ClassFolder::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let folder = place(&["a/1.png", "b/notes.txt"]);
        says(&folder, "without a picture: b;");
        says(&place(&["1.png"]), "only pictures");
        says(&place(&["images/1.png", "masks/1.png"]), "kshot segment");
        let nowhere = ClassFolder::open(Path::new("does/not/exist")).unwrap_err().to_string();
        assert!(nowhere.contains("does/not/exist"), "{nowhere}");
    }

    #[cfg(unix)]
    #[test]
    fn links_that_point_nowhere_are_told_once() {
        let folder = place(&["a/1.png", "b/1.png"]);
        for index in 0..5 {
            let link = folder.path().join(format!("a/{index}-gone.png"));
            std::os::unix::fs::symlink("/nowhere/at/all.png", link).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("b/1.png"), folder.path().join("a/9.png"))
            .unwrap();
        let all = ClassFolder::open(folder.path()).unwrap();
        assert_eq!(all.counts(), [2, 1]);
        let said = "5 links point nowhere, passed over: a/0-gone.png, a/1-gone.png, a/2-gone.png and 2 more";
        assert!(all.warnings.len() == 1 && all.warnings[0].ends_with(said), "{:?}", all.warnings);
        std::fs::remove_file(folder.path().join("a/1.png")).unwrap();
        std::fs::remove_file(folder.path().join("a/9.png")).unwrap();
        let error = ClassFolder::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("without a picture: a (links that point nowhere)"), "{error}");
    }

    #[test]
    fn classes_that_differ_in_case_alone_are_told() {
        let folder = place(&["1.png", "2.png", "3.png"]);
        let file = folder.path().join("list.csv");
        std::fs::write(&file, "1.png,Kiwi\n2.png,kiwi\n3.png,plum\n").unwrap();
        let all = ClassFolder::open(&file).unwrap();
        assert_eq!(all.classes.len(), 3);
        assert!(all.warnings[0].contains("nearly the same: `Kiwi`, `kiwi`"), "{:?}", all.warnings);
    }

    #[test]
    fn the_part_to_learn_from_is_read_whatever_its_name() {
        for names in [["Train", "val"], ["train_data", "test_data"], ["training", "testing"]] {
            let folder =
                place(&names.map(|part| format!("{part}/kiwi/1.png")).each_ref().map(|s| &**s));
            let all = ClassFolder::open(folder.path()).unwrap();
            assert_eq!((&all.classes[..], all.pictures.len()), (&["kiwi".to_owned()][..], 1));
            assert!(all.pictures[0].path.starts_with(folder.path().join(names[0])));
            assert!(all.warnings[0].contains("no classes"), "{:?}", all.warnings);
        }
        assert!(is_part("VALIDATION") && !is_part("kiwi"));
    }

    #[test]
    fn a_table_of_ours_names_its_pictures() {
        let folder = place(&["=1+1.png", "'=2.png", "-3.png"]);
        let file = folder.path().join("labels.csv");
        let fields = ["=1+1.png", "'=2.png", "-3.png"].map(|name| crate::csv_text::field(name));
        let lines: String = fields.iter().map(|field| format!("{field},'+class\n")).collect();
        std::fs::write(&file, format!("file,class\n{lines}")).unwrap();
        let all = ClassFolder::open(&file).unwrap();
        assert_eq!((&all.classes[..], all.pictures.len()), (&["+class".to_owned()][..], 3));
    }

    #[test]
    fn lists_with_and_without_names_of_columns() {
        let folder = place(&["x/1.png", "x/2.png", "3.png"]);
        let write = |text: &str| {
            let file = folder.path().join("list.csv");
            std::fs::write(&file, text).unwrap();
            ClassFolder::open(&file)
        };
        let all = write("label,file\nkiwi,x/2.png\nkiwi,x/1.png\napple, 3.png\n").unwrap();
        assert_eq!(
            (all.classes.clone(), all.counts()),
            (vec!["apple".into(), "kiwi".into()], vec![1, 2])
        );
        assert!(all.pictures[1].path.ends_with("x/1.png"));
        assert_eq!(write("x/1.png,kiwi\n").unwrap().classes, ["kiwi"]);
        for (text, part) in [
            ("x/1.png\n", "has no class"),
            ("x/1.png,a\nx/9.png,a\n", "x/9.png (line 2)"),
            ("x/1.png,a\nx/1.png,b\n", "listed as a and as b"),
            ("path,class\n", "empty"),
        ] {
            let error = write(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        std::fs::write(folder.path().join("plain.txt"), "x/1.png\n\n3.png\n").unwrap();
        let plain = list(&folder.path().join("plain.txt")).unwrap();
        assert_eq!(plain.iter().map(|l| l.line).collect::<Vec<_>>(), [1, 3]);
    }
}
