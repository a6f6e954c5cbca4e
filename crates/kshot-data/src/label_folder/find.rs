//! Pictures and labels find each other.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::finding::{Findings, Severity};
use crate::image::tiff_kinds::Pages;
use crate::label_folder::cache::MaskCache;
use crate::label_folder::classes::name_classes;
use crate::label_folder::hint;
use crate::label_folder::layout::{self, LooseNames};
use crate::label_folder::masks::beside_pictures;
use crate::label_folder::meaning::{self, MaskReading, Meaning};
use crate::label_folder::whose::Disagreements;
use crate::label_folder::{FolderPicture, LabelFolder, LabelSource};
use crate::labels::colours::Colours;
use crate::labels::instances;
use crate::labels::names::{self, Classes, Gathered};
use crate::mask::{BACKGROUND, MAX_CLASSES};
use crate::names::{SHOWN, counted, shortened};
use crate::predicted::{self, Predicted};

pub(super) fn open(root: &Path, masks: MaskReading) -> Result<LabelFolder> {
    let (mut folder, is_empty) = found(root, masks)?;
    if is_empty {
        let hint = hint::of(root);
        let last = folder.findings.0.iter_mut().rev().find(|of| of.severity == Severity::Error);
        if let (Some(hint), Some(last)) = (hint, last) {
            last.todo = hint;
        }
    }
    Ok(folder)
}

/// A folder, and whether it holds no labelled picture and nothing else is wrong with it.
pub(super) fn found(root: &Path, masks: MaskReading) -> Result<(LabelFolder, bool)> {
    let part = layout::training_part(root);
    let (whole, root) = (root, part.as_deref().unwrap_or(root));
    let mut finder = Finder::new(root)?;
    finder.part = part.is_some();
    if part.is_some() {
        let what = format!("its part {} is read: no picture is in the folder itself", shown(root));
        finder.findings.add(Severity::Note, whole, what, "");
    }
    let file = [root, whole].map(|folder| folder.join("classes.txt"));
    let file = file.iter().find(|file| file.is_file()).unwrap_or(&file[0]).clone();
    let mut declared =
        if file.is_file() { names::declared(&file, &mut finder.findings) } else { None };
    let colours = Colours::find(root).unwrap_or_else(|error| {
        finder.findings.fails(root, &error);
        None
    });
    let mut gathered = Gathered::default();
    if let Some(colours) = &colours {
        gathered.list(&colours.path, colours.entries.iter().map(|(name, _)| name.clone()));
    }
    finder.instances(declared.as_deref(), masks)?;
    finder.masks(declared.as_deref().unwrap_or_default())?;
    finder.scribbles()?;
    finder.tools(&mut gathered)?;
    finder.yolo(declared.as_deref(), &mut gathered)?;
    finder.boxes();
    finder.instances_alone();
    finder.tell_disagreements();
    let pages = Pages::of(finder.pictures.iter().map(|picture| picture.file.as_path()));
    if let Some(what) = pages.in_words() {
        let todo = "save the pages as files of their own";
        finder.findings.add(Severity::Warning, root, what, todo);
    }
    let is_empty = finder.unlabelled();
    let is_declared = declared.is_some();
    let mut folder = LabelFolder {
        root: root.to_owned(),
        pictures: finder.pictures,
        classes: Classes::default(),
        list: is_declared.then_some(file),
        declared: is_declared,
        numbered: false,
        findings: finder.findings,
        colours,
        meaning: Meaning::default(),
        cache: MaskCache::default(),
    };
    folder.meaning = meaning::settle(&mut folder, &mut declared, masks);
    if let Some(first) = declared.iter().flatten().next()
        && names::reserved(first) == Some(BACKGROUND)
        && !folder.meaning.first_is_background
    {
        folder.findings.add(
            Severity::Warning,
            &root.join("classes.txt"),
            format!("the first class is called {first}, so that class number 1 is background"),
            "remove that line: background is number 0 and needs no name",
        );
    }
    name_classes(&mut folder, declared, gathered);
    // Where there are more than masks can hold, that is said.
    let few = folder.classes.len() <= usize::from(MAX_CLASSES);
    let doubled = if few { names::doubled(folder.classes.names()) } else { Vec::new() };
    for (one, other) in doubled {
        let (one, other) = (shortened(one, SHOWN), shortened(other, SHOWN));
        let what =
            format!("the classes `{one}` and `{other}` differ by so little that they may be one");
        let todo = "give all their labels the same name, if so";
        folder.findings.add(Severity::Warning, root, what, todo);
    }
    Ok((folder, is_empty))
}

/// Pictures, and the labels found for them so far.
pub(super) struct Finder {
    pub(super) root: PathBuf,
    pub(super) images: PathBuf,
    /// The folder of masks.
    pub(super) masks: Option<PathBuf>,
    pub(super) pictures: Vec<FolderPicture>,
    /// Pictures by their path from the folder of pictures, without the ending.
    pub(super) keys: HashMap<PathBuf, Vec<usize>>,
    /// Pictures by their file.
    pub(super) files: HashMap<PathBuf, usize>,
    /// The same, compared loosely; made when a name is not found otherwise.
    loose: OnceCell<LooseNames>,
    /// Pictures by the last part of their path.
    pub(super) last_parts: HashMap<OsString, Vec<usize>>,
    /// Pictures that share their name with an earlier one.
    shadowed: Vec<usize>,
    /// Label files that may be predictions.
    predicted: Predicted,
    /// Pictures with a prediction that nobody has saved since.
    untouched: HashSet<usize>,
    /// Whether the folder is a part of a divided data set.
    pub(super) part: bool,
    /// Files of object numbers, which are neither pictures nor masks of classes.
    pub(super) numbers: HashSet<PathBuf>,
    /// JSON and XML files that are of no format of labels.
    pub(super) unknown: Vec<PathBuf>,
    /// Label files that name another picture than their own.
    pub(super) disagreements: Disagreements,
    pub(super) findings: Findings,
}

impl Finder {
    fn new(root: &Path) -> Result<Self> {
        let below = layout::pictures(root);
        let images = below.clone().unwrap_or_else(|| root.to_owned());
        // Beside the pictures of the folder itself there are folders of masks: these are no pictures.
        let files = instances::list(&images, below.is_some())?;
        let mut finder = Self {
            root: root.to_owned(),
            images,
            masks: layout::masks(root),
            pictures: Vec::new(),
            keys: HashMap::new(),
            files: HashMap::new(),
            loose: OnceCell::new(),
            last_parts: HashMap::new(),
            shadowed: Vec::new(),
            predicted: Predicted::read(root)?,
            untouched: HashSet::new(),
            part: false,
            numbers: beside_pictures(&files),
            unknown: Vec::new(),
            disagreements: Disagreements::default(),
            findings: Findings::default(),
        };
        for file in files {
            if !finder.numbers.contains(&file) && !instances::is_array(&file) {
                finder.add(file);
            }
        }
        Ok(finder)
    }

    pub(super) fn add(&mut self, file: PathBuf) -> usize {
        let name = self.name_of(&file);
        self.add_named(file, name)
    }

    /// A file's path from the folder of pictures.
    pub(super) fn name_of(&self, file: &Path) -> PathBuf {
        let below = file.strip_prefix(&self.images).or_else(|_| file.strip_prefix(&self.root));
        below.unwrap_or(file).to_owned()
    }

    /// Adds a picture whose name is not its file's.
    pub(super) fn add_named(&mut self, file: PathBuf, name: PathBuf) -> usize {
        let index = self.pictures.len();
        if let Some(loose) = self.loose.get_mut() {
            loose.add(index, &name);
        }
        self.keys.entry(without_ending(&name)).or_default().push(index);
        self.files.insert(file.clone(), index);
        let last = file.file_name().unwrap_or_default().to_owned();
        self.last_parts.entry(last).or_default().push(index);
        self.pictures.push(FolderPicture { file, name, labels: None, instances: None });
        index
    }

    /// Gives labels to a picture, unless it has some.
    pub(super) fn label(&mut self, index: usize, labels: LabelSource) {
        if !self.predicted.is_empty()
            && labels.files().iter().all(|file| self.predicted.is_untouched(file))
        {
            self.untouched.insert(index);
            return;
        }
        let picture = &mut self.pictures[index];
        match &picture.labels {
            None => picture.labels = Some(labels),
            Some(first) => {
                let what = format!(
                    "{} is labelled by {} already: this is passed over",
                    picture.name.display(),
                    first.file().display()
                );
                let todo = "keep one label for a picture";
                self.findings.add(Severity::Warning, labels.file(), what, todo);
            }
        }
    }

    /// Gives labels to the picture of the same name but for the ending.
    pub(super) fn label_key(&mut self, key: &Path, labels: LabelSource) {
        let Some(indices) = self.owners(key) else {
            self.orphan(labels.file());
            return;
        };
        for &other in &indices[1..] {
            if self.shadowed.contains(&other) {
                continue;
            }
            self.shadowed.push(other);
            let what = format!(
                "has the same name as {}, so that one label serves both",
                shown(&self.pictures[indices[0]].file)
            );
            let file = self.pictures[other].file.clone();
            let todo = "rename one picture and its label";
            self.findings.add(Severity::Error, &file, what, todo);
        }
        self.label(indices[0], labels);
    }

    /// The pictures of a name without an ending; else of a name that has one more (`a.jpg.json`), of nnU-Net's channels
    /// (`a_0000.png`), and of names that differ by case, by the form of letters or by escapes of URLs alone.
    pub(super) fn owners(&self, key: &Path) -> Option<Vec<usize>> {
        if let Some(indices) = self.keys.get(key) {
            return Some(indices.clone());
        }
        let channel = key.with_file_name(format!("{}_0000", shown(key)));
        let more = [without_ending(key), channel];
        let named = |key: &PathBuf| self.keys.get(key).cloned();
        if key.extension().is_some_and(crate::image::is_ending)
            && let Some(indices) = named(&more[0])
        {
            return Some(indices);
        }
        if let Some(indices) = named(&more[1]) {
            return Some(indices);
        }
        match self.loose().keys.get(&layout::loosely(key)).map(Vec::as_slice) {
            Some(&[index]) => Some(vec![index]),
            _ => None,
        }
    }

    /// Pictures by their names as these are compared loosely.
    pub(super) fn loose(&self) -> &LooseNames {
        let names = || self.pictures.iter().map(|picture| picture.name.as_path());
        self.loose.get_or_init(|| LooseNames::of(names()))
    }

    pub(super) fn orphan(&mut self, file: &Path) {
        self.findings.add(
            Severity::Warning,
            file,
            "a label, but no picture of that name",
            "add the picture to images/, or rename one of the two",
        );
    }

    /// Tells of pictures without labels; whether there is no labelled one and nothing else is wrong.
    fn unlabelled(&mut self) -> bool {
        let Self { pictures, untouched, .. } = self;
        untouched.retain(|&index| pictures[index].labels.is_none());
        let list = self.root.join(predicted::FILE);
        let todo = format!(
            "save those that are right in the labelling tool; to take all as they are, delete {}",
            list.display()
        );
        match (self.untouched.len(), self.pictures.len()) {
            (0, _) => {}
            (count, all) if count == all => {
                let what = format!(
                    "kshot's own predictions, which nobody has saved since, are the labels of {}: nothing to learn from",
                    match all {
                        1 => "the only picture".to_owned(),
                        all => format!("all {all} pictures"),
                    }
                );
                self.findings.add(Severity::Error, &self.root, what, &todo);
            }
            (count, all) => {
                let what = format!(
                    "kshot's own predictions, which nobody has saved since, are passed over: the labels of {count} of \
                     {all} pictures"
                );
                self.findings.add(Severity::Warning, &self.root, what, &todo);
            }
        }
        let known = |index: &usize| self.shadowed.contains(index) || self.untouched.contains(index);
        let without: Vec<usize> = (0..self.pictures.len())
            .filter(|&index| self.pictures[index].labels.is_none())
            .filter(|index| !known(index))
            .collect();
        if let Some(&first) = without.first()
            && without.len() < self.pictures.len()
        {
            let what = match without.len() {
                1 => "a picture without a label, passed over".to_owned(),
                count => format!(
                    "this and {} without a label, passed over",
                    counted(count - 1, "more picture", "more pictures")
                ),
            };
            let file = self.pictures[first].file.clone();
            self.findings.add(Severity::Warning, &file, what, "label them, or leave them out");
        }
        let is_empty = self.findings.errors() == 0
            && self.pictures.iter().all(|picture| picture.labels.is_none());
        if is_empty {
            let unknown = match self.unknown.first() {
                None => String::new(),
                Some(first) => format!("; {} is of no format kshot reads", shown(first)),
            };
            let here = layout::contents(&self.root);
            self.findings.add(
                Severity::Error,
                &self.root,
                format!("no labelled picture here: {here}{unknown}"),
                "put pictures in images/ and their labels in masks/, instances/ or scribbles/ (PNG of the \
                 same name), or beside them in a format of `kshot list formats`",
            );
        }
        is_empty
    }
}

pub(super) fn without_ending(path: &Path) -> PathBuf {
    path.with_file_name(path.file_stem().unwrap_or_default())
}

pub(super) fn shown(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
