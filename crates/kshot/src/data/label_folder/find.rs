//! Pictures and labels find each other.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{LabelFolder, Labels, Picture};
use crate::data::finding::{Findings, Severity};
use crate::data::labels::colours::Colours;
use crate::data::labels::names::{self, Classes, Gathered};
use crate::data::labels::{
    Outlines, boxes, class_masks, coco, index, labelme, voc_xml, yolo, yolo_names,
};
use crate::data::mask::{MAX_CLASSES, UNLABELLED};
use crate::error::{Error, Result};

/// Folders of pictures, in the order of preference.
const PICTURES: [&str; 2] = ["images", "JPEGImages"];
/// Folders of masks.
const MASKS: [&str; 2] = ["masks", "SegmentationClass"];

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
    finder.masks(declared.as_deref().unwrap_or_default())?;
    finder.scribbles()?;
    finder.json(&mut gathered)?;
    finder.yolo(declared.as_deref(), &mut gathered)?;
    finder.voc()?;
    finder.boxes();
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

struct Finder {
    root: PathBuf,
    images: PathBuf,
    pictures: Vec<Picture>,
    /// Pictures by their path from the folder of pictures, without the ending.
    keys: HashMap<PathBuf, Vec<usize>>,
    /// Pictures that share their name with an earlier one.
    shadowed: Vec<usize>,
    findings: Findings,
}

impl Finder {
    fn new(root: &Path) -> Result<Self> {
        let below = PICTURES.iter().map(|name| root.join(name)).find(|folder| folder.is_dir());
        let images = below.clone().unwrap_or_else(|| root.to_owned());
        // Beside the pictures of the folder itself there are folders of masks: these are no pictures.
        let files = crate::data::image::list(&images, below.is_some())?;
        let mut finder = Self {
            root: root.to_owned(),
            images,
            pictures: Vec::new(),
            keys: HashMap::new(),
            shadowed: Vec::new(),
            findings: Findings::default(),
        };
        for file in files {
            finder.add(file);
        }
        Ok(finder)
    }

    fn add(&mut self, file: PathBuf) -> usize {
        let name = file
            .strip_prefix(&self.images)
            .or_else(|_| file.strip_prefix(&self.root))
            .unwrap_or(&file)
            .to_owned();
        self.keys.entry(without_ending(&name)).or_default().push(self.pictures.len());
        self.pictures.push(Picture { file, name, labels: None });
        self.pictures.len() - 1
    }

    /// Gives labels to a picture, unless it has some.
    fn label(&mut self, index: usize, labels: Labels) {
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
    fn label_key(&mut self, key: &Path, labels: Labels) {
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

    fn masks(&mut self, declared: &[String]) -> Result<()> {
        let Some(below) = MASKS.iter().map(|name| self.root.join(name)).find(|path| path.is_dir())
        else {
            return Ok(());
        };
        let mut classed: BTreeMap<PathBuf, Vec<(String, PathBuf)>> = BTreeMap::new();
        let keys: Vec<PathBuf> = self.keys.keys().cloned().collect();
        let keys: Vec<&Path> = keys.iter().map(PathBuf::as_path).collect();
        for file in self.pngs(&below)? {
            let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
            if self.keys.contains_key(&key) {
                self.label_key(&key, Labels::Mask(file));
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
            self.label_key(&key, Labels::ClassMasks(files));
        }
        Ok(())
    }

    fn scribbles(&mut self) -> Result<()> {
        let below = self.root.join("scribbles");
        if below.is_dir() {
            for file in self.pngs(&below)? {
                let key = without_ending(file.strip_prefix(&below).unwrap_or(&file));
                self.label_key(&key, Labels::Scribble(file));
            }
        }
        Ok(())
    }

    /// The PNG files of a folder of masks; others get a warning.
    fn pngs(&mut self, below: &Path) -> Result<Vec<PathBuf>> {
        let mut files = crate::data::image::list(below, true)?;
        files.retain(|file| {
            let png = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"));
            if !png {
                self.findings.add(
                    Severity::Warning,
                    file,
                    "not read: labels are looked for by the ending .png",
                    "save it as an index PNG (JPEG changes class numbers)",
                );
            }
            png
        });
        Ok(files)
    }

    /// LabelMe's files first, which are for one picture, then COCO's.
    fn json(&mut self, gathered: &mut Gathered) -> Result<()> {
        let mut all = Vec::new();
        for (base, files) in self.files_of(
            "json",
            &["", "annotations", "labels"],
            std::slice::from_ref(&self.images),
        )? {
            all.extend(files.into_iter().map(|file| (base.clone(), file)));
        }
        let mut coco_files = Vec::new();
        let mut outlines = 0;
        for (base, file) in all {
            let key = without_ending(file.strip_prefix(&base).unwrap_or(&file));
            let known = self.keys.contains_key(&key);
            match read_json(&file) {
                Err(error) if known => {
                    self.findings.fails(&file, &error);
                    self.label_key(&key, Labels::Broken(file));
                }
                Err(error) => {
                    let what = format!("passed over: {}", error.message());
                    self.findings.add(Severity::Warning, &file, what, "mend it or take it away");
                }
                Ok(value) if value.get("shapes").is_some() => {
                    outlines += 1;
                    match labelme::parse(&file, value) {
                        Ok(labels) => self.label_key(&key, Labels::Outlines(labels)),
                        Err(error) => {
                            self.findings.fails(&file, &error);
                            self.label_key(&key, Labels::Broken(file));
                        }
                    }
                }
                Ok(value) if coco::is_coco(&value) => coco_files.push((base, file, value)),
                Ok(_) => {}
            }
        }
        for (base, file, value) in coco_files {
            match coco::parse(&file, value, &mut self.findings) {
                Ok(coco) => {
                    gathered.list(&file, coco.categories);
                    self.coco(&base, &file, coco.pictures);
                }
                Err(error) => self.findings.fails(&file, &error),
            }
        }
        let list = self.root.join("labels.txt");
        if outlines > 0 && list.is_file() {
            match names::lines(&list) {
                Ok(names) => gathered.list(&list, names),
                Err(error) => self.findings.fails(&list, &error),
            }
        }
        Ok(())
    }

    fn coco(&mut self, base: &Path, file: &Path, pictures: Vec<Outlines>) {
        let mut missing = Vec::new();
        let count = pictures.len();
        for outlines in pictures {
            let name = outlines.picture.clone().unwrap_or_default();
            match self.named(&name, base) {
                Named::One(index) => self.label(index, Labels::Outlines(outlines)),
                Named::None => missing.push(name),
                Named::Several => self.findings.add(
                    Severity::Error,
                    file,
                    format!("`{name}` is the name of several pictures in different folders"),
                    "write the path from images/ as its file_name",
                ),
            }
        }
        if let Some(first) = missing.first() {
            self.findings.add(
                Severity::Warning,
                file,
                format!(
                    "{} of the {count} pictures it names are not here, such as `{first}`",
                    missing.len()
                ),
                "add them to images/, or mend their file_name",
            );
        }
    }

    /// The picture of a name with its ending, which may hold folders.
    fn named(&mut self, name: &str, base: &Path) -> Named {
        let relative = Path::new(name);
        let plain = relative.components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        if plain {
            for place in [&self.images, &self.root, &base.to_owned()] {
                let path = place.join(relative);
                if let Some(index) = self.pictures.iter().position(|picture| picture.file == path) {
                    return Named::One(index);
                }
            }
            let path = self.root.join(relative);
            if path.is_file() {
                return Named::One(self.add(path));
            }
        }
        let last = relative.file_name();
        let mut same = self
            .pictures
            .iter()
            .enumerate()
            .filter(|(_, picture)| picture.file.file_name() == last)
            .map(|(index, _)| index);
        match (same.next(), same.next()) {
            (Some(index), None) => Named::One(index),
            (Some(_), Some(_)) => Named::Several,
            (None, _) => Named::None,
        }
    }

    fn yolo(&mut self, declared: Option<&[String]>, gathered: &mut Gathered) -> Result<()> {
        let mut found = Vec::new();
        let labels = self.root.join("labels");
        if labels.is_dir() {
            for file in list(&labels, "txt", true)? {
                let key = without_ending(file.strip_prefix(&labels).unwrap_or(&file));
                let known = self.keys.contains_key(&key);
                if known || !key.ends_with("classes") {
                    found.push((key, file));
                }
            }
        } else {
            for file in list(&self.images, "txt", self.images != self.root)? {
                let key = without_ending(file.strip_prefix(&self.images).unwrap_or(&file));
                if self.keys.contains_key(&key) {
                    found.push((key, file));
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut names: Option<(PathBuf, Vec<String>)> = None;
        for end in ["yaml", "yml"] {
            for file in list(&self.root, end, false)? {
                match yolo_names::read(&file) {
                    Ok(Some(read)) if names.is_none() => names = Some((file, read)),
                    Ok(_) => {}
                    Err(error) => self.findings.fails(&file, &error),
                }
            }
        }
        let beside = labels.join("classes.txt");
        if names.is_none() && declared.is_none() && beside.is_file() {
            names = Some((beside.clone(), names::lines(&beside)?));
        }
        let known = names.as_ref().map(|(_, names)| names.as_slice()).or(declared);
        let mut read = Vec::new();
        for (key, file) in found {
            match yolo::read(&file, known) {
                Ok(outlines) => read.push((key, outlines)),
                Err(error) => {
                    self.findings.fails(&file, &error);
                    self.label_key(&key, Labels::Broken(file));
                }
            }
        }
        if let Some((file, names)) = names {
            gathered.list(&file, names);
        } else if declared.is_none()
            && let Some(largest) = yolo::largest(read.iter().map(|(_, outlines)| outlines))
        {
            gathered.list(&labels, (0..=largest).map(|class| format!("class {class}")));
            self.findings.add(
                Severity::Note,
                &self.root,
                "no data.yaml and no classes.txt: YOLO's classes are called by their numbers",
                "write classes.txt with a name a line, the first for YOLO's 0",
            );
        }
        for (key, outlines) in read {
            self.label_key(&key, Labels::Outlines(outlines));
        }
        Ok(())
    }

    fn voc(&mut self) -> Result<()> {
        for (base, files) in self.files_of(
            "xml",
            &["annotations", "Annotations"],
            std::slice::from_ref(&self.images),
        )? {
            for file in files {
                let key = without_ending(file.strip_prefix(&base).unwrap_or(&file));
                match voc_xml::read(&file) {
                    Ok(Some(outlines)) => self.label_key(&key, Labels::Outlines(outlines)),
                    Ok(None) => {}
                    Err(error) => {
                        self.findings.fails(&file, &error);
                        self.label_key(&key, Labels::Broken(file));
                    }
                }
            }
        }
        Ok(())
    }

    fn boxes(&mut self) {
        let csv = self.root.join("boxes.csv");
        if !csv.is_file() {
            return;
        }
        let all = match boxes::read_csv(&csv) {
            Ok(all) => all,
            Err(error) => return self.findings.fails(&csv, &error),
        };
        for (name, objects) in all {
            let labels = Outlines {
                file: csv.clone(),
                picture: Some(name.clone()),
                size: None,
                relative: false,
                objects,
            };
            match self.named(&name, &self.root.clone()) {
                Named::One(index) => self.label(index, Labels::Outlines(labels)),
                Named::None => self.findings.add(
                    Severity::Warning,
                    &csv,
                    format!("boxes for `{name}`, but no such picture"),
                    "add the picture to images/, or mend the name (with its ending)",
                ),
                Named::Several => self.findings.add(
                    Severity::Error,
                    &csv,
                    format!("`{name}` is the name of several pictures in different folders"),
                    "write the path from images/",
                ),
            }
        }
    }

    /// Files of an ending, by the folder they are in: folders of the root by name, then others
    /// (with the folders below them), each folder once.
    fn files_of(
        &self,
        end: &str,
        below: &[&str],
        others: &[PathBuf],
    ) -> Result<Vec<(PathBuf, Vec<PathBuf>)>> {
        let mut folders: Vec<PathBuf> = Vec::new();
        let named = below
            .iter()
            .map(|name| if name.is_empty() { self.root.clone() } else { self.root.join(name) });
        for folder in others.iter().cloned().chain(named) {
            if folder.is_dir() && !folders.iter().any(|known| same_folder(known, &folder)) {
                folders.push(folder);
            }
        }
        folders
            .into_iter()
            .map(|folder| {
                let files = list(&folder, end, folder != self.root)?;
                Ok((folder, files))
            })
            .collect()
    }

    fn unlabelled(&mut self) {
        for (index, picture) in self.pictures.iter().enumerate() {
            if picture.labels.is_none() && !self.shadowed.contains(&index) {
                self.findings.add(
                    Severity::Warning,
                    &picture.file,
                    "a picture without a label, passed over",
                    "label it (masks/, scribbles/, LabelMe JSON, COCO JSON, YOLO text, VOC XML or \
                     boxes.csv), or leave it out",
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
                "put pictures in images/ and their labels in masks/ or scribbles/ (PNG of the same \
                 name), LabelMe JSON beside them, COCO JSON, YOLO text in labels/, VOC XML in \
                 annotations/, or boxes.csv",
            );
        }
    }
}

enum Named {
    None,
    One(usize),
    Several,
}

/// On file systems that do not tell `Annotations` from `annotations`, both names are one folder.
fn same_folder(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn read_json(file: &Path) -> Result<Value> {
    let bytes = std::fs::read(file).map_err(|error| Error::io("read the labels", file, error))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Error::data(format!("not JSON kshot can read: {error}"))
            .at_line(file, error.line())
            .caused_by(error)
    })
}

fn list(folder: &Path, end: &str, recursive: bool) -> Result<Vec<PathBuf>> {
    let depth = if recursive { usize::MAX } else { 1 };
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).max_depth(depth).follow_links(true) {
        let entry = entry.map_err(|error| {
            Error::data(format!("the folder cannot be listed: {error}")).in_file(folder)
        })?;
        let fits = entry.path().extension().is_some_and(|known| known.eq_ignore_ascii_case(end));
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if fits && !hidden && entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

fn without_ending(path: &Path) -> PathBuf {
    path.with_file_name(path.file_stem().unwrap_or_default())
}

fn shown(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// Settles the classes' names, from everything that gives one.
fn name_classes(folder: &mut LabelFolder, declared: Option<Vec<String>>, mut gathered: Gathered) {
    let mut largest = 0;
    let mut carried: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for picture in &folder.pictures {
        match &picture.labels {
            Some(Labels::Mask(path) | Labels::Scribble(path)) => {
                let scribble = matches!(picture.labels, Some(Labels::Scribble(_)));
                let coloured = folder.colours.is_some() && !scribble;
                if declared.is_some() || (coloured && gathered.list.is_some()) {
                    folder.numbered |= !coloured;
                    continue;
                }
                folder.numbered = true;
                // What is wrong with it is said when it is read for good.
                let Ok(png) = index::read_png(path) else { continue };
                if let Some(values) = png.values {
                    let number = if scribble {
                        let counts = values.counts();
                        (1..UNLABELLED).rev().find(|&value| counts[usize::from(value)] > 0)
                    } else {
                        Some(index::largest_class(&values))
                    };
                    largest = largest.max(number.unwrap_or(0));
                }
                if let Some(names) = png.names.filter(|names| !names.is_empty())
                    && carried.iter().all(|(_, known)| *known != names)
                {
                    carried.push((path.clone(), names));
                }
            }
            Some(Labels::ClassMasks(files)) => {
                files.iter().for_each(|(class, _)| gathered.mention(class));
            }
            Some(Labels::Outlines(outlines)) => {
                outlines.objects.iter().for_each(|object| gathered.mention(&object.class));
            }
            Some(Labels::Broken(_)) | None => {}
        }
    }
    let findings = &mut folder.findings;
    if let Some(names) = declared {
        folder.classes = Classes::new(names);
        return;
    }
    match carried.as_slice() {
        [] => {}
        [(path, names)] => gathered.list(path, names.iter().cloned()),
        [(first, _), (other, _), ..] => findings.add(
            Severity::Warning,
            other,
            format!("its class names differ from those in {}, so that none count", shown(first)),
            "write classes.txt with a name a line",
        ),
    }
    folder.list = gathered.list.clone();
    let mut names = gathered.into_names();
    if !names.is_empty() && usize::from(largest) > names.len() {
        findings.add(
            Severity::Error,
            &folder.root,
            format!(
                "masks hold class numbers up to {largest}, but the outlines and boxes name {} classes",
                names.len()
            ),
            "write classes.txt with a name a line, in the order of the numbers",
        );
    }
    let labelled = folder.pictures.iter().any(|picture| picture.labels.is_some());
    if names.is_empty() {
        names = (1..=largest).map(|number| format!("class {number}")).collect();
        if largest > 0 {
            findings.add(
                Severity::Note,
                &folder.root,
                format!("no classes.txt: classes are called {}", names.join(", ")),
                "write classes.txt with a name a line to have names in tables and the report",
            );
        } else if labelled && findings.errors() == 0 {
            findings.add(
                Severity::Error,
                &folder.root,
                format!("0 classes; there must be 1 to {MAX_CLASSES}"),
                "label something, or name the classes in classes.txt, one a line",
            );
        }
    }
    if names.len() > usize::from(MAX_CLASSES) {
        findings.add(
            Severity::Error,
            folder.list.as_deref().unwrap_or(&folder.root),
            format!("{} classes; there must be 1 to {MAX_CLASSES}", names.len()),
            "list the ones you need in classes.txt, one a line, and leave the others out",
        );
    }
    folder.classes = Classes::new(names);
}
