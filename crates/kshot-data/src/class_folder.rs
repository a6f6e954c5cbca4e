//! Pictures with a class each: a folder of class folders, or a csv of `path,class`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::image;
use crate::names::counted;
use crate::text_file::{delimiter_of, text_of};

/// Parts of data sets; the first two are those to learn from.
const PARTS: [&str; 7] = ["train", "training", "val", "valid", "validation", "test", "testing"];

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
/// How many wrong lines a message shows.
const SHOWN: usize = 5;

/// The part to learn from, where all folders are parts of a divided data set.
fn training_part(folders: &[PathBuf]) -> Option<&Path> {
    let is = |folder: &Path, names: &[&str]| {
        let name = folder.file_name().unwrap_or_default();
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let all = folders.iter().all(|folder| is(folder, &PARTS));
    let training = folders.iter().find(|folder| is(folder, &PARTS[..2]))?;
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
            let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            if path.is_dir() && !hidden {
                folders.push(path);
            }
        }
        let loose = image::list(root, false)?;
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
        for folder in folders {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let pictures = image::list(&folder, true)?;
            by_class.insert(name, pictures);
        }
        let empty: Vec<&str> =
            by_class.iter().filter(|(_, p)| p.is_empty()).map(|(name, _)| &**name).collect();
        if !empty.is_empty() {
            return Err(Error::data(format!(
                "{} without a picture: {}; put at least one into each, or remove {}",
                if empty.len() == 1 { "a class folder" } else { "class folders" },
                empty.join(", "),
                if empty.len() == 1 { "the folder" } else { "the folders" },
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
                "{} that are not there: {}{}; paths count from the list's folder",
                counted(missing.len(), "picture", "pictures"),
                missing[..missing.len().min(SHOWN)].join(", "),
                if missing.len() > SHOWN { ", ..." } else { "" },
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
            self.warnings.push(format!("fewer than {shots} pictures of: {}", fewer.join(", ")));
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
            Some(path) => lines.push(listed(path, record.get(class_at), line)),
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
