//! Pictures and labels find each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::finding::{Findings, Severity};
use crate::label_folder::classes::name_classes;
use crate::label_folder::{FolderPicture, LabelFolder, LabelSource};
use crate::labels::class_masks;
use crate::labels::colours::Colours;
use crate::labels::instances;
use crate::labels::names::{self, Classes, Gathered};
use crate::mask::{UNLABELLED, VOID};
use crate::predicted::{self, Predicted};

/// Folders of pictures, in the order of preference.
const PICTURES: [&str; 2] = ["images", "JPEGImages"];
/// The folder of object numbers.
const INSTANCES: &str = "instances";
/// Folders of masks.
const MASKS: [&str; 2] = ["masks", "SegmentationClass"];
/// How names of masks end.
const MASK_ENDS: [&str; 3] = ["png", "tif", "tiff"];

pub(super) fn open(root: &Path) -> Result<LabelFolder> {
    let mut finder = Finder::new(root)?;
    let file = root.join("classes.txt");
    let declared = if file.is_file() { names::declared(&file, &mut finder.findings) } else { None };
    let colours = Colours::find(root).unwrap_or_else(|error| {
        finder.findings.fails(root, &error);
        None
    });
    let mut gathered = Gathered::default();
    if let Some(colours) = &colours {
        gathered.list(&colours.path, colours.entries.iter().map(|(name, _)| name.clone()));
    }
    finder.instances(declared.as_deref())?;
    finder.masks(declared.as_deref().unwrap_or_default())?;
    finder.scribbles()?;
    finder.tools(&mut gathered)?;
    finder.yolo(declared.as_deref(), &mut gathered)?;
    finder.boxes();
    finder.instances_alone();
    finder.unlabelled();
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
    };
    name_classes(&mut folder, declared, gathered);
    Ok(folder)
}

/// Pictures, and the labels found for them so far.
pub(super) struct Finder {
    pub(super) root: PathBuf,
    pub(super) images: PathBuf,
    pub(super) pictures: Vec<FolderPicture>,
    /// Pictures by their path from the folder of pictures, without the ending.
    pub(super) keys: HashMap<PathBuf, Vec<usize>>,
    /// Pictures by their file.
    pub(super) files: HashMap<PathBuf, usize>,
    /// Pictures by the last part of their path.
    pub(super) last_parts: HashMap<OsString, Vec<usize>>,
    /// Pictures that share their name with an earlier one.
    shadowed: Vec<usize>,
    /// Label files that may be predictions.
    predicted: Predicted,
    /// Pictures with a prediction that nobody has saved since.
    untouched: HashSet<usize>,
    /// Files of object numbers, which are neither pictures nor masks of classes.
    numbers: HashSet<PathBuf>,
    /// JSON and XML files that are of no format of labels.
    pub(super) unknown: Vec<PathBuf>,
    pub(super) findings: Findings,
}

impl Finder {
    fn new(root: &Path) -> Result<Self> {
        let below = PICTURES.iter().map(|name| root.join(name)).find(|folder| folder.is_dir());
        let images = below.clone().unwrap_or_else(|| root.to_owned());
        // Beside the pictures of the folder itself there are folders of masks: these are no pictures.
        let files = instances::list(&images, below.is_some())?;
        let mut finder = Self {
            root: root.to_owned(),
            images,
            pictures: Vec::new(),
            keys: HashMap::new(),
            files: HashMap::new(),
            last_parts: HashMap::new(),
            shadowed: Vec::new(),
            predicted: Predicted::read(root)?,
            untouched: HashSet::new(),
            numbers: beside_pictures(&files),
            unknown: Vec::new(),
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
        let name = file
            .strip_prefix(&self.images)
            .or_else(|_| file.strip_prefix(&self.root))
            .unwrap_or(&file)
            .to_owned();
        let index = self.pictures.len();
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
        let Some(indices) = self.keys.get(key).cloned() else {
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

    fn orphan(&mut self, file: &Path) {
        self.findings.add(
            Severity::Warning,
            file,
            "a label, but no picture of that name",
            "add the picture to images/, or rename one of the two",
        );
    }

    /// Object numbers: all of `instances/`, Cellpose's beside the pictures, and among masks what holds more than classes.
    fn instances(&mut self, declared: Option<&[String]>) -> Result<()> {
        let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
        for file in &self.numbers {
            found.push((self.images.clone(), file.clone()));
        }
        let mut among_masks = None;
        for name in [INSTANCES].iter().chain(&MASKS).chain(&["labels"]) {
            let below = self.root.join(name);
            if !below.is_dir() {
                continue;
            }
            let own = *name == INSTANCES;
            for file in instances::list(&below, true)? {
                let named = file.strip_prefix(&below).unwrap_or(&file);
                let among = || self.owner(named).is_some() && are_objects(&file, declared);
                if own || (instances::is_numbers(&file) && among()) {
                    found.push((below.clone(), file.clone()));
                    among_masks = among_masks.or((!own).then_some(file));
                }
            }
        }
        found.sort();
        for (below, file) in found {
            self.numbers.insert(file.clone());
            let Some(index) = self.owner(file.strip_prefix(&below).unwrap_or(&file)) else {
                self.orphan(&file);
                continue;
            };
            match &self.pictures[index].instances {
                None => self.pictures[index].instances = Some(file),
                Some(first) => {
                    let name = self.pictures[index].name.display();
                    let what = format!("the objects of {name} are in {} already", shown(first));
                    let todo = "keep one file of object numbers for a picture";
                    self.findings.add(Severity::Warning, &file, what, todo);
                }
            }
        }
        if let Some(file) = among_masks {
            self.findings.add(
                Severity::Warning,
                &file,
                "TIFF and 16-bit masks are read as object numbers: each value is one object, and no class",
                "save masks of class numbers as PNG with 8 bits; put object numbers into instances/",
            );
        }
        Ok(())
    }

    /// The picture that object numbers are for: of the same name, or as Cellpose names them.
    fn owner(&self, file: &Path) -> Option<usize> {
        let named = instances::picture_name(file).map(instances::candidates).into_iter().flatten();
        let keys = std::iter::once(without_ending(file))
            .chain(named.map(|name| file.with_file_name(name)));
        keys.filter_map(|key| self.keys.get(&key)).find_map(|indices| indices.first().copied())
    }

    /// Where nothing else labels a picture, its objects do.
    fn instances_alone(&mut self) {
        for picture in self.pictures.iter_mut().filter(|picture| picture.labels.is_none()) {
            picture.labels = picture.instances.take().map(LabelSource::Instances);
        }
    }

    fn masks(&mut self, declared: &[String]) -> Result<()> {
        let Some(below) = MASKS.iter().map(|name| self.root.join(name)).find(|path| path.is_dir())
        else {
            return Ok(());
        };
        let mut classed: BTreeMap<PathBuf, Vec<(String, PathBuf)>> = BTreeMap::new();
        let keys: Vec<PathBuf> = self.keys.keys().cloned().collect();
        let keys: Vec<&Path> = keys.iter().map(PathBuf::as_path).collect();
        for file in self.mask_files(&below)? {
            let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
            if self.keys.contains_key(&key) {
                self.label_key(&key, LabelSource::Mask(file));
            } else if let Some((key, class)) = class_masks::belongs(&key, &keys, declared) {
                classed.entry(key.to_owned()).or_default().push((class, file));
            } else {
                self.orphan(&file);
            }
        }
        for (key, mut files) in classed {
            // A picture with a mask of its own name has no use for others: rather these are masks of
            // pictures that are not here.
            let whole =
                self.keys[&key].first().is_some_and(|&at| self.pictures[at].labels.is_some());
            if whole {
                files.iter().for_each(|(_, file)| self.orphan(file));
                continue;
            }
            files.sort();
            for pair in files.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                let what = format!("a second mask of the class `{}`", pair[1].0);
                self.findings.add(Severity::Error, &pair[1].1, what, "keep one of the two");
            }
            self.label_key(&key, LabelSource::ClassMasks(files));
        }
        Ok(())
    }

    fn scribbles(&mut self) -> Result<()> {
        let below = self.root.join("scribbles");
        if below.is_dir() {
            for file in self.mask_files(&below)? {
                let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
                self.label_key(&key, LabelSource::Scribble(file));
            }
        }
        Ok(())
    }

    /// The PNG and TIFF files of a folder of masks; others get a warning.
    fn mask_files(&mut self, below: &Path) -> Result<Vec<PathBuf>> {
        let mut files = crate::image::list(below, true)?;
        files.retain(|file| !self.numbers.contains(file));
        files.retain(|file| {
            let is = |end: &str| file.extension().is_some_and(|of| of.eq_ignore_ascii_case(end));
            let lossless = MASK_ENDS.into_iter().any(is);
            if !lossless {
                self.findings.add(
                    Severity::Warning,
                    file,
                    "not read: masks are PNG and TIFF files (.png, .tif)",
                    "save it as an index PNG (JPEG changes class numbers)",
                );
            }
            lossless
        });
        Ok(files)
    }

    fn unlabelled(&mut self) {
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
                    "the labels of all {all} pictures are kshot's own predictions, which nobody has saved since: \
                     nothing to learn from"
                );
                self.findings.add(Severity::Error, &self.root, what, &todo);
            }
            (count, all) => {
                let what = format!(
                    "the labels of {count} of {all} pictures are kshot's own predictions, which nobody has saved \
                     since, and are passed over"
                );
                self.findings.add(Severity::Warning, &self.root, what, &todo);
            }
        }
        for (index, picture) in self.pictures.iter().enumerate() {
            let known = self.shadowed.contains(&index) || self.untouched.contains(&index);
            if picture.labels.is_none() && !known {
                self.findings.add(
                    Severity::Warning,
                    &picture.file,
                    "a picture without a label, passed over",
                    "label it (masks/, instances/, scribbles/, LabelMe JSON, COCO JSON, YOLO text, VOC XML \
                     or boxes.csv), or leave it out",
                );
            }
        }
        if self.findings.errors() == 0
            && self.pictures.iter().all(|picture| picture.labels.is_none())
        {
            self.findings.add(
                Severity::Error,
                &self.root,
                "no labelled picture here",
                "put pictures in images/ and their labels in masks/, instances/ or scribbles/ (PNG of the \
                 same name), LabelMe JSON beside them, COCO JSON, YOLO text in labels/, VOC XML in \
                 annotations/, or boxes.csv",
            );
        }
    }
}

/// Whether a TIFF or a PNG of 16 bits among masks tells objects and not classes: where `classes.txt` names several classes,
/// numbers are theirs; where it names one, what else than 0 and 1 (and the values of void and unlabelled) is an object.
fn are_objects(file: &Path, declared: Option<&[String]>) -> bool {
    match declared.map(<[String]>::len) {
        None | Some(0) => true,
        Some(1) => {
            let class =
                |value: &u32| *value <= 1 || [UNLABELLED, VOID].map(u32::from).contains(value);
            // One that cannot be read says so when it is.
            instances::read(file).map_or(true, |numbers| !numbers.values.iter().all(class))
        }
        Some(_) => false,
    }
}

/// Files beside the pictures that hold the object numbers of one of them, as Cellpose leaves them.
fn beside_pictures(files: &[PathBuf]) -> HashSet<PathBuf> {
    let pictures = files.iter().filter(|file| !instances::is_array(file));
    let keys: HashSet<PathBuf> = pictures.map(|file| without_ending(file)).collect();
    let is_of_another = |file: &&PathBuf| {
        let name = instances::picture_name(file).map(instances::candidates).into_iter().flatten();
        name.into_iter().any(|name| keys.contains(&file.with_file_name(name)))
    };
    files.iter().filter(is_of_another).cloned().collect()
}

pub(super) fn without_ending(path: &Path) -> PathBuf {
    path.with_file_name(path.file_stem().unwrap_or_default())
}

pub(super) fn shown(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
