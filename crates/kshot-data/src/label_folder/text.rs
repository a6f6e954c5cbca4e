//! Labels in text: JSON, YOLO's lines, XML and CSV.

use std::path::{Path, PathBuf};

use roxmltree::Document;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::finding::Severity;
use crate::image::embedded;
use crate::label_folder::LabelSource;
use crate::label_folder::find::{Finder, shown, without_ending};
use crate::label_folder::layout;
use crate::labels::files::{self, LabelFile};
use crate::labels::names::{self, Gathered};
use crate::labels::{Outlines, boxes, yolo, yolo_names};
use crate::names::{Examples, counted};
use crate::text_file::text_of;

impl Finder {
    /// Label files of tools, in JSON and XML.
    pub(super) fn tools(&mut self, gathered: &mut Gathered) -> Result<()> {
        let images = std::slice::from_ref(&self.images);
        let mut json = self.files_of("json", &["", "annotations", "labels", "ann"], images)?;
        json.extend(self.files_of("geojson", &["", "annotations", "labels"], images)?);
        let mut known = Vec::new();
        for (base, file) in json {
            match read_json(&file) {
                Err(error) => self.unreadable(&base, file, &error),
                Ok(value) => match files::JSON.iter().position(|format| (format.is)(&value)) {
                    Some(format) => known.push((format, base, file, value)),
                    None => self.unknown.push(file),
                },
            }
        }
        known.sort_by_key(|(format, ..)| *format);
        let list = self.root.join("labels.txt");
        let labelme = known.iter().any(|(format, ..)| files::JSON[*format].name == "LabelMe");
        for (format, base, file, value) in known {
            let format = &files::JSON[format];
            let read = (format.read)(&file, &value, &mut self.findings);
            let key = without_ending(file.strip_prefix(&base).unwrap_or(&file));
            let inside = value.get("imageData").is_some_and(Value::is_string);
            if format.by_file_name && inside && self.owners(&key).is_none() {
                self.inside(file, read);
                continue;
            }
            self.tool(&base, file, format.by_file_name, read, gathered);
        }
        if labelme && list.is_file() {
            match names::lines(&list) {
                Ok(names) => gathered.list(&list, names),
                Err(error) => self.findings.fails(&list, &error),
            }
        }
        let images = std::slice::from_ref(&self.images);
        for (base, file) in self.files_of("xml", &["", "annotations", "Annotations"], images)? {
            let text = match text_of(&file) {
                Ok(text) => text,
                Err(error) => {
                    self.unreadable(&base, file, &error);
                    continue;
                }
            };
            let document = match Document::parse(&text) {
                Ok(document) => document,
                Err(error) => {
                    let line = error.pos().row as usize;
                    let error = Error::data(format!("not XML kshot can read: {error}"))
                        .at_line(&file, line);
                    self.unreadable(&base, file, &error);
                    continue;
                }
            };
            match files::XML.iter().find(|format| (format.is)(&document)) {
                Some(format) => {
                    let read = (format.read)(&file, &document, &mut self.findings);
                    self.tool(&base, file, format.by_file_name, read, gathered);
                }
                None => self.unknown.push(file),
            }
        }
        Ok(())
    }

    /// A label file that holds its picture, which is not beside it.
    fn inside(&mut self, file: PathBuf, read: Result<LabelFile>) {
        let ending = embedded::bytes(&file).and_then(|bytes| embedded::ending(&bytes));
        let (ending, labels) = match ending.and_then(|ending| Ok((ending, read?))) {
            Ok((ending, mut labels)) => {
                labels.settle(&file, &mut self.findings);
                (ending, labels)
            }
            Err(error) => return self.findings.leaves_out(&file, &error),
        };
        let name = self.name_of(&file).with_extension(ending);
        let index = self.add_named(file, name);
        for outlines in labels.pictures {
            self.label(index, LabelSource::Outlines(outlines));
        }
    }

    /// A file that may be no label at all: an error where a picture has its name.
    fn unreadable(&mut self, base: &Path, file: PathBuf, error: &Error) {
        let key = without_ending(file.strip_prefix(base).unwrap_or(&file));
        if self.owners(&key).is_some() {
            self.findings.leaves_out(&file, error);
            self.label_key(&key, LabelSource::Broken(file));
        } else {
            let what = format!("passed over: {}", error.message());
            self.findings.add(Severity::Warning, &file, what, "mend it or take it away");
        }
    }

    /// What a tool's file says, given to its pictures.
    fn tool(
        &mut self,
        base: &Path,
        file: PathBuf,
        by_file_name: bool,
        read: Result<LabelFile>,
        gathered: &mut Gathered,
    ) {
        let key = without_ending(file.strip_prefix(base).unwrap_or(&file));
        let LabelFile { classes, pictures } = match read {
            Ok(mut read) => {
                read.settle(&file, &mut self.findings);
                read
            }
            Err(error) => {
                if by_file_name {
                    self.findings.leaves_out(&file, &error);
                    self.label_key(&key, LabelSource::Broken(file));
                } else {
                    self.findings.fails(&file, &error);
                }
                return;
            }
        };
        gathered.list(&file, classes);
        let mut missing = Vec::new();
        let count = pictures.len();
        for outlines in pictures {
            if by_file_name || outlines.picture.is_none() {
                self.label_own(&key, base, outlines);
                continue;
            }
            let name = outlines.picture.clone().unwrap_or_default();
            match self.named(&name, base) {
                Named::One(index) => self.label(index, LabelSource::Outlines(outlines)),
                Named::None => missing.push((name, outlines)),
                Named::Several => self.findings.add(
                    Severity::Error,
                    &file,
                    format!("`{name}` is the name of several pictures in different folders"),
                    "write the path from images/ as its file_name",
                ),
            }
        }
        self.not_here(&file, count, missing);
    }

    /// Pictures that a file names and that are not here: of those with another ending, these are taken.
    fn not_here(&mut self, file: &Path, count: usize, missing: Vec<(String, Outlines)>) {
        let (mut others, mut absent) = (Examples::default(), Examples::default());
        for (name, outlines) in missing {
            let found = self.with_another_ending(&name);
            match found.filter(|&index| self.pictures[index].labels.is_none()) {
                Some(index) => {
                    others.add(format!("`{name}` is {}", shown(&self.pictures[index].file)));
                    self.label(index, LabelSource::Outlines(outlines));
                }
                None => absent.add(format!("`{name}`")),
            }
        }
        let of = |found: &Examples, one: &str, many: &str| {
            let verb = if found.count() == 1 { one } else { many };
            let pictures = counted(count, "picture", "pictures");
            format!("of the {pictures} it names {} {verb}", found.count())
        };
        if others.count() > 0 {
            let what = of(&others, "has another ending here", "have another ending here");
            let todo = "mend the names in the file if these are other pictures";
            self.findings.add(Severity::Warning, file, format!("{what}: {others}"), todo);
        }
        if absent.count() > 0 {
            let what = of(&absent, "is not here", "are not here");
            let todo = "add what is missing to images/, or mend the names in the file";
            self.findings.add(Severity::Warning, file, format!("{what}: {absent}"), todo);
        }
    }

    /// The only picture of a name but for the ending.
    fn with_another_ending(&self, name: &str) -> Option<usize> {
        let key = without_ending(Path::new(name));
        let last = without_ending(Path::new(Path::new(name).file_name()?));
        let loose = self.loose();
        let found = loose.keys.get(&layout::loosely(&key));
        match found.or_else(|| loose.last_keys.get(&layout::loosely(&last)))?.as_slice() {
            &[index] => Some(index),
            _ => None,
        }
    }

    /// The picture of a name with its ending, which may hold folders.
    pub(super) fn named(&mut self, name: &str, base: &Path) -> Named {
        let relative = Path::new(name);
        let plain = relative.components().all(|part| {
            matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
        });
        if plain {
            for place in [&self.images, &self.root, base] {
                let path = place.join(relative);
                if let Some(&index) = self.files.get(&path) {
                    return Named::One(index);
                }
            }
            let path = self.root.join(relative);
            if path.is_file() {
                return Named::One(self.add(path));
            }
        }
        // Frames of videos are named without an ending.
        if relative.extension().is_none()
            && let Some(&[index]) = self.keys.get(relative).map(Vec::as_slice)
        {
            return Named::One(index);
        }
        match relative.file_name().and_then(|last| self.last_parts.get(last)).map(Vec::as_slice) {
            Some(&[index]) => Named::One(index),
            Some(_) => Named::Several,
            None => self.named_loosely(name),
        }
    }

    /// The same of a name that no picture has exactly: URLs, other cases and forms of letters.
    fn named_loosely(&self, name: &str) -> Named {
        // Label Studio gives local files as `/data/local-files/?d=folder/a.png`.
        let name = name.rsplit_once("?d=").map_or(name, |(_, local)| local);
        let whole = layout::loosely(Path::new(name));
        let last = whole.rsplit('/').next().unwrap_or_default();
        let loose = self.loose();
        let found = loose.names.get(&whole).or_else(|| loose.last_parts.get(last));
        match found.map_or(&[][..], Vec::as_slice) {
            // Uploads have a word and a dash before their names.
            [] => match last.split_once('-') {
                Some((_, rest)) => self.named_loosely(rest),
                None => Named::None,
            },
            [index] => Named::One(*index),
            _ => Named::Several,
        }
    }

    pub(super) fn yolo(
        &mut self,
        declared: Option<&[String]>,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let mut found = Vec::new();
        let labels = self.root.join("labels");
        if labels.is_dir() {
            for file in crate::image::list_ending(&labels, true, &["txt"])? {
                let key = without_ending(file.strip_prefix(&labels).unwrap_or(&file));
                let known = self.owners(&key).is_some();
                if known || !key.ends_with("classes") {
                    found.push((key, file));
                }
            }
        } else {
            for file in crate::image::list_ending(&self.images, self.images != self.root, &["txt"])?
            {
                let key = without_ending(file.strip_prefix(&self.images).unwrap_or(&file));
                if self.owners(&key).is_some() {
                    found.push((key, file));
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut names = self.yolo_names(&labels, declared.is_some())?;
        if let Some((file, of)) = &mut names {
            *of = names::tidied_list(file, std::mem::take(of), &mut self.findings);
        }
        let known = names.as_ref().map(|(_, names)| names.as_slice()).or(declared);
        let mut read = Vec::new();
        for (key, file) in found {
            match yolo::read(&file, known, &mut self.findings) {
                Ok(outlines) => read.push((key, outlines)),
                Err(error) => {
                    self.findings.leaves_out(&file, &error);
                    self.label_key(&key, LabelSource::Broken(file));
                }
            }
        }
        let numbered = yolo::numbered(read.iter().map(|(_, outlines)| outlines));
        if let Some((file, names)) = names {
            gathered.list(&file, names);
        } else if declared.is_none() && !numbered.is_empty() {
            gathered.list(&labels, numbered);
            self.findings.add(
                Severity::Note,
                &self.root,
                "no data.yaml and no classes.txt: YOLO's classes are called by their numbers",
                "write classes.txt with a name a line, the first for YOLO's 0",
            );
        }
        for (key, outlines) in read {
            self.label_key(&key, LabelSource::Outlines(outlines));
        }
        Ok(())
    }

    /// YOLO's own names: of a YAML file in the folder, or, of a part of a divided data set, beside the parts; else of
    /// `labels/classes.txt`.
    fn yolo_names(
        &mut self,
        labels: &Path,
        declared: bool,
    ) -> Result<Option<(PathBuf, Vec<String>)>> {
        let root = self.root.clone();
        if let Some(found) = self.yaml_names(&root, |_| true)? {
            return Ok(Some(found));
        }
        let is_part = self.part || layout::is_part(&root);
        if let Some(above) = layout::above(&root).filter(|_| is_part)
            && let Some((file, names)) = self.yaml_names(&above, yolo_names::is_of_parts)?
        {
            if !self.part {
                let what = format!("the names of its classes are those of {}", file.display());
                self.findings.add(Severity::Note, &root, what, "");
            }
            return Ok(Some((file, names)));
        }
        let beside = labels.join("classes.txt");
        if declared || !beside.is_file() {
            return Ok(None);
        }
        Ok(Some((beside.clone(), names::lines(&beside)?)))
    }

    /// The names of the first YAML file of a folder that has some and whose text is as asked for.
    fn yaml_names(
        &mut self,
        folder: &Path,
        is: impl Fn(&str) -> bool,
    ) -> Result<Option<(PathBuf, Vec<String>)>> {
        let files = crate::image::list_ending(folder, false, &["yaml", "yml"])?;
        let mut found = None;
        for file in files {
            match yolo_names::read_of(&file, &is) {
                Ok(Some(names)) if found.is_none() => found = Some((file, names)),
                Ok(_) => {}
                Err(error) => self.findings.fails(&file, &error),
            }
        }
        Ok(found)
    }

    pub(super) fn boxes(&mut self) {
        let csv = self.root.join("boxes.csv");
        if !csv.is_file() {
            return;
        }
        let mut all = match boxes::read_csv(&csv, &mut self.findings) {
            Ok(all) => all,
            Err(error) => return self.findings.fails(&csv, &error),
        };
        let mut absent = Examples::default();
        all.settle(&csv, &mut self.findings);
        for outlines in all.pictures {
            let name = outlines.picture.clone().unwrap_or_default();
            match self.named(&name, &self.root.clone()) {
                Named::One(index) => self.label(index, LabelSource::Outlines(outlines)),
                Named::None => absent.add(format!("`{name}`")),
                Named::Several => self.findings.add(
                    Severity::Error,
                    &csv,
                    format!("`{name}` is the name of several pictures in different folders"),
                    "write the path from images/",
                ),
            }
        }
        if absent.count() > 0 {
            let pictures = counted(absent.count(), "picture that is", "pictures that are");
            let what = format!("boxes for {pictures} not here: {absent}");
            let todo = "add the pictures to images/, or mend the names (with their endings)";
            self.findings.add(Severity::Warning, &csv, what, todo);
        }
    }

    /// Files of an ending with the folder they are in: others and the folders below them, then folders of the root by
    /// name, each folder once.
    fn files_of(
        &self,
        end: &str,
        below: &[&str],
        others: &[PathBuf],
    ) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut folders: Vec<PathBuf> = Vec::new();
        let named = below
            .iter()
            .map(|name| if name.is_empty() { self.root.clone() } else { self.root.join(name) });
        for folder in others.iter().cloned().chain(named) {
            if folder.is_dir() && !folders.iter().any(|known| same_folder(known, &folder)) {
                folders.push(folder);
            }
        }
        let mut found = Vec::new();
        for folder in folders {
            let files = crate::image::list_ending(&folder, folder != self.root, &[end])?;
            found.extend(files.into_iter().map(|file| (folder.clone(), file)));
        }
        Ok(found)
    }
}

/// The picture of a name.
pub(super) enum Named {
    /// There is none.
    None,
    One(usize),
    /// Which of them is not said.
    Several,
}

/// On file systems that do not tell `Annotations` from `annotations`, both names are one folder.
fn same_folder(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn read_json(file: &Path) -> Result<Value> {
    serde_json::from_str(&text_of(file)?).map_err(|error| {
        Error::data(format!("not a label file, nor any JSON: {error}"))
            .at_line(file, error.line())
            .caused_by(error)
    })
}
