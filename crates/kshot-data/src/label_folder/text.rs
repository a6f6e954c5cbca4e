//! Labels in text: JSON, YOLO's lines, XML and CSV.

use std::path::{Path, PathBuf};

use roxmltree::Document;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::finding::Severity;
use crate::image::embedded;
use crate::label_folder::LabelSource;
use crate::label_folder::find::{Finder, without_ending};
use crate::label_folder::layout;
use crate::labels::files::{self, LabelFile};
use crate::labels::names::{self, Gathered};
use crate::labels::{Outlines, boxes, yolo, yolo_names};
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
            Ok((ending, labels)) => (ending, labels),
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
            Ok(read) => read,
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
                self.label_key(&key, LabelSource::Outlines(outlines));
                continue;
            }
            let name = outlines.picture.clone().unwrap_or_default();
            match self.named(&name, base) {
                Named::One(index) => self.label(index, LabelSource::Outlines(outlines)),
                Named::None => missing.push(name),
                Named::Several => self.findings.add(
                    Severity::Error,
                    &file,
                    format!("`{name}` is the name of several pictures in different folders"),
                    "write the path from images/ as its file_name",
                ),
            }
        }
        if let Some(first) = missing.first() {
            self.findings.add(
                Severity::Warning,
                &file,
                format!(
                    "{} of the {count} pictures it names are not here, such as `{first}`",
                    missing.len()
                ),
                "add them to images/, or mend their names in the file",
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
            for file in list(&labels, "txt", true)? {
                let key = without_ending(file.strip_prefix(&labels).unwrap_or(&file));
                let known = self.owners(&key).is_some();
                if known || !key.ends_with("classes") {
                    found.push((key, file));
                }
            }
        } else {
            for file in list(&self.images, "txt", self.images != self.root)? {
                let key = without_ending(file.strip_prefix(&self.images).unwrap_or(&file));
                if self.owners(&key).is_some() {
                    found.push((key, file));
                }
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let mut names: Option<(PathBuf, Vec<String>)> = None;
        // Of a divided data set, the names are beside its parts.
        let above = self.part.then(|| self.root.parent()).flatten().map(Path::to_owned);
        for folder in [Some(self.root.clone()), above].into_iter().flatten() {
            let of = |end| list(&folder, end, false);
            for file in [of("yaml")?, of("yml")?].concat() {
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
            match yolo::read(&file, known, &mut self.findings) {
                Ok(outlines) => read.push((key, outlines)),
                Err(error) => {
                    self.findings.leaves_out(&file, &error);
                    self.label_key(&key, LabelSource::Broken(file));
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
            self.label_key(&key, LabelSource::Outlines(outlines));
        }
        Ok(())
    }

    pub(super) fn boxes(&mut self) {
        let csv = self.root.join("boxes.csv");
        if !csv.is_file() {
            return;
        }
        let all = match boxes::read_csv(&csv, &mut self.findings) {
            Ok(all) => all,
            Err(error) => return self.findings.fails(&csv, &error),
        };
        for (name, objects) in all {
            let labels = Outlines { picture: Some(name.clone()), objects, ..Outlines::new(&csv) };
            match self.named(&name, &self.root.clone()) {
                Named::One(index) => self.label(index, LabelSource::Outlines(labels)),
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
            let files = list(&folder, end, folder != self.root)?;
            found.extend(files.into_iter().map(|file| (folder.clone(), file)));
        }
        Ok(found)
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
    serde_json::from_str(&text_of(file)?).map_err(|error| {
        Error::data(format!("not a label file, nor any JSON: {error}"))
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
