//! What is wrong, or odd, with labels, before a run depends on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::labels::{boxes, index, labelme};
use super::likeness::{alike, difference_hash};
use super::mask::{BACKGROUND, MAX_CLASSES, Mask, UNLABELLED, VOID};
use crate::error::Result;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A run would stop, or fail this picture.
    Error,
    /// A run goes through, but likely not as meant.
    Warning,
    /// Good to know.
    Note,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something a person should know of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file it is about.
    pub file: PathBuf,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where nothing needs to be done.
    pub todo: String,
}

/// What a check saw.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Errors first, then by file.
    pub findings: Vec<Finding>,
    /// Labelled pictures of the support.
    pub labelled: usize,
    /// Pictures of the query folder.
    pub query: usize,
    /// Classes' names, where they are known.
    pub classes: Vec<String>,
}

impl Report {
    /// Whether a run would stop.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, file: &Path, what: impl Into<String>, todo: &str) {
        let (file, what, todo) = (file.to_owned(), what.into(), todo.to_owned());
        self.findings.push(Finding { severity, file, what, todo });
    }

    fn fails(&mut self, file: &Path, error: &crate::Error) {
        self.add(Severity::Error, file, error.message(), "");
    }
}

/// A label found for a picture or for none.
enum Label {
    /// Class numbers, and whether 255 means unlabelled.
    Numbers { scribble: bool },
    /// LabelMe.
    Outlines,
}

/// Checks a support folder (laid out as for [`super::support::Support::load`]), and the pictures of
/// a query folder against it.
///
/// # Errors
/// Only when a folder cannot be listed; what is wrong with files is in the report.
pub fn check(folder: &Path, query: Option<&Path>) -> Result<Report> {
    let mut report = Report::default();
    let images = folder.join("images");
    let images = if images.is_dir() { images } else { folder.to_owned() };
    let pictures = super::image::list(&images, false)?;
    let declared = declared(folder, &mut report);
    let stems = stems(&pictures, &mut report);
    let seen: Vec<_> = pictures.par_iter().map(|file| look(file)).collect();
    let sizes: BTreeMap<String, (usize, usize)> = pictures
        .iter()
        .zip(&seen)
        .filter_map(|(file, seen)| Some((stem(file), seen.as_ref().ok()?.size)))
        .collect();

    let mut used = [false; 256];
    let mut names = BTreeSet::new();
    let mut labelled = BTreeSet::new();
    for (file, label) in labels(folder, &images)? {
        let key = stem(&file);
        let checked = match label {
            Label::Numbers { scribble } => {
                let classes = declared.as_deref();
                numbers(&file, scribble, classes, sizes.get(&key), &mut report, &mut used)
            }
            Label::Outlines => outlines(&file, declared.as_deref(), &mut names, &mut report),
        };
        if !checked {
            continue;
        }
        if stems.contains(&key) {
            labelled.insert(key);
        } else {
            report.add(
                Severity::Warning,
                &file,
                "a label, but no picture of that name",
                "add the picture to images/, or rename one of the two",
            );
        }
    }
    check_boxes(folder, &pictures, declared.as_deref(), &mut names, &mut labelled, &mut report);

    for (file, seen) in pictures.iter().zip(&seen) {
        if let Err(error) = seen {
            report.fails(file, error);
        }
        if !labelled.contains(&stem(file)) {
            report.add(
                Severity::Warning,
                file,
                "a picture without a label",
                "label it (masks/, scribbles/, LabelMe JSON or boxes.csv), or leave it out",
            );
        }
    }
    report.labelled = labelled.len();
    if labelled.is_empty() {
        report.add(
            Severity::Error,
            folder,
            "no labelled picture",
            "put pictures in images/ and their labels in masks/ or scribbles/ (PNG of the same \
             name), LabelMe JSON beside them, or boxes.csv",
        );
    }
    unused(folder, declared, &used, names, &mut report);
    likenesses(&pictures, &seen, query, &mut report)?;
    report.findings.sort_by(|a, b| (a.severity, &a.file).cmp(&(b.severity, &b.file)));
    Ok(report)
}

/// What is kept of a picture.
struct Seen {
    size: (usize, usize),
    hash: u64,
}

fn look(file: &Path) -> Result<Seen> {
    let picture = super::image::read(file)?;
    let size = (picture.width() as usize, picture.height() as usize);
    Ok(Seen { size, hash: difference_hash(&picture) })
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names of classes.txt, where there is one.
fn declared(folder: &Path, report: &mut Report) -> Option<Vec<String>> {
    let path = folder.join("classes.txt");
    if !path.is_file() {
        return None;
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let what = format!("cannot be read as text: {error}");
            report.add(Severity::Error, &path, what, "save it as UTF-8 with a name a line");
            return None;
        }
    };
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.is_empty() || names.len() > usize::from(MAX_CLASSES) {
        let what = format!("names {} classes; valid are 1 to {MAX_CLASSES}", names.len());
        report.add(Severity::Error, &path, what, "write a name a line, without background");
    }
    let mut known = BTreeSet::new();
    for name in &names {
        if !known.insert(name) {
            report.add(
                Severity::Error,
                &path,
                format!("the class `{name}` stands there twice"),
                "the line's number is the class's number: give each its own name",
            );
        }
    }
    if let Some(first) = names.first()
        && first.eq_ignore_ascii_case("background")
    {
        report.add(
            Severity::Warning,
            &path,
            "the first class is called background, so that class number 1 is background",
            "remove that line: background is number 0 and needs no name",
        );
    }
    Some(names)
}

fn stems(pictures: &[PathBuf], report: &mut Report) -> BTreeSet<String> {
    let mut stems: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for file in pictures {
        if let Some(first) = stems.get(&stem(file)) {
            let what =
                format!("has the same name as {}, so that one label serves both", shown(first));
            report.add(Severity::Error, file, what, "rename one picture and its label");
        } else {
            stems.insert(stem(file), file);
        }
    }
    stems.into_keys().collect()
}

fn shown(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// Every label file but boxes.csv.
fn labels(folder: &Path, images: &Path) -> Result<Vec<(PathBuf, Label)>> {
    let mut all = Vec::new();
    for (below, scribble) in [("masks", false), ("scribbles", true)] {
        let below = folder.join(below);
        if below.is_dir() {
            let files = super::image::list(&below, false)?;
            all.extend(files.into_iter().map(|file| (file, Label::Numbers { scribble })));
        }
    }
    let entries = std::fs::read_dir(images)
        .map_err(|error| crate::Error::io("list the folder", images, error))?;
    let mut outlines: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    outlines.sort();
    all.extend(outlines.into_iter().map(|file| (file, Label::Outlines)));
    Ok(all)
}

/// Checks a mask or scribble; whether it is a label at all.
fn numbers(
    file: &Path,
    scribble: bool,
    declared: Option<&[String]>,
    size: Option<&(usize, usize)>,
    report: &mut Report,
    used: &mut [bool; 256],
) -> bool {
    if file.extension().is_none_or(|end| end != "png") {
        report.add(
            Severity::Warning,
            file,
            "not read: labels are looked for by the ending .png",
            "save it as an index PNG (JPEG changes class numbers)",
        );
        return false;
    }
    let mask = match index::read_values(file) {
        Ok(mask) => mask,
        Err(error) => {
            report.fails(file, &error);
            return true;
        }
    };
    if let Some(&(width, height)) = size
        && (mask.width, mask.height) != (width, height)
    {
        let what = format!(
            "{} x {} pixels, but its picture is {width} x {height}",
            mask.width, mask.height
        );
        report.add(Severity::Error, file, what, "export the mask at the picture's size");
    }
    values(file, &mask, scribble, declared, report, used);
    true
}

fn values(
    file: &Path,
    mask: &Mask,
    scribble: bool,
    declared: Option<&[String]>,
    report: &mut Report,
    used: &mut [bool; 256],
) {
    let counts = mask.counts();
    let high = usize::from(VOID);
    let classes = declared.map_or(usize::from(MAX_CLASSES), <[String]>::len);
    let present: Vec<usize> =
        (1..usize::from(UNLABELLED)).filter(|&value| counts[value] > 0).collect();
    let nameless: Vec<String> = present
        .iter()
        .filter(|&&value| value > classes)
        .map(|&value| format!("{value} ({} pixels)", counts[value]))
        .collect();
    if !nameless.is_empty() {
        let listed = nameless[..nameless.len().min(6)].join(", ");
        let what = format!("class numbers without a name: {listed}; there are {classes} classes");
        let todo = "add the missing names to classes.txt, one a line, or mend the mask";
        report.add(Severity::Error, file, what, todo);
    }
    // 0 and 255 alone mean "the class" where there is one class only.
    let binary = !scribble && present.is_empty() && counts[high] > 0;
    if binary && classes > 1 && declared.is_some() {
        report.add(
            Severity::Warning,
            file,
            "only 0 and 255: with more than one class, 255 does not count, so nothing is labelled \
             but background",
            "give the objects the numbers of their classes",
        );
    } else if binary {
        used[1] = true;
    } else if !scribble && counts[high] > 0 {
        let percent = 100.0 * counts[high] as f64 / mask.pixels.len() as f64;
        let what = format!(
            "255 beside class numbers ({percent:.1} % of the pixels) is void: neither learnt from \
             nor counted"
        );
        report.add(Severity::Note, file, what, "");
    }
    for &value in &present {
        used[value] = true;
    }
    let blank = counts[high] + counts[usize::from(UNLABELLED)];
    if scribble && blank == mask.pixels.len() {
        let todo = "draw strokes of the classes and of background (0)";
        report.add(Severity::Error, file, "every pixel is unlabelled (255)", todo);
    } else if scribble && counts[usize::from(BACKGROUND)] == 0 {
        let todo = "draw a stroke of 0 where none of the classes is";
        report.add(Severity::Warning, file, "no stroke of background", todo);
    } else if counts[usize::from(BACKGROUND)] == mask.pixels.len() {
        report.add(
            Severity::Warning,
            file,
            "all background: no pixel of any class",
            "keep it only if the picture really shows none of the classes",
        );
    }
}

/// Checks a LabelMe file; whether it is one.
fn outlines(
    file: &Path,
    declared: Option<&[String]>,
    names: &mut BTreeSet<String>,
    report: &mut Report,
) -> bool {
    match labelme::read(file) {
        Err(error) => report.fails(file, &error),
        Ok(None) => return false,
        Ok(Some(labels)) => {
            let found: Vec<String> =
                labels.shapes.iter().map(|shape| shape.label.clone()).collect();
            let all: Vec<String> = declared.map_or_else(|| found.clone(), <[String]>::to_vec);
            // Painting on a small canvas finds unknown labels and shapes without an inside.
            if let Err(error) = labelme::paint(&labels, &all, 1, 1, file) {
                report.fails(file, &error);
            }
            if found.is_empty() {
                report.add(
                    Severity::Warning,
                    file,
                    "no outline: the picture counts as background all over",
                    "keep it only if the picture really shows none of the classes",
                );
            }
            names.extend(found);
        }
    }
    true
}

fn check_boxes(
    folder: &Path,
    pictures: &[PathBuf],
    declared: Option<&[String]>,
    names: &mut BTreeSet<String>,
    labelled: &mut BTreeSet<String>,
    report: &mut Report,
) {
    let csv = folder.join("boxes.csv");
    if !csv.is_file() {
        return;
    }
    let all = match boxes::read_csv(&csv) {
        Ok(all) => all,
        Err(error) => {
            let at = match error.place() {
                Some(crate::error::Place::File(_, Some(line))) => format!("line {line}: "),
                _ => String::new(),
            };
            report.add(Severity::Error, &csv, format!("{at}{}", error.message()), "");
            return;
        }
    };
    for (name, rows) in &all {
        match pictures.iter().find(|file| shown(file) == *name) {
            Some(file) => {
                labelled.insert(stem(file));
            }
            None => report.add(
                Severity::Warning,
                &csv,
                format!("boxes for `{name}`, but no such picture"),
                "add the picture to images/, or mend the name (with its ending)",
            ),
        }
        let all: Vec<String> = declared
            .map_or_else(|| rows.iter().map(|row| row.class.clone()).collect(), <[String]>::to_vec);
        if let Err(error) = boxes::paint(rows, &all, 1, 1, &csv) {
            report.fails(&csv, &error);
        }
        names.extend(rows.iter().map(|row| row.class.clone()));
    }
}

/// Notes classes that no label shows, and keeps the names.
fn unused(
    folder: &Path,
    declared: Option<Vec<String>>,
    used: &[bool; 256],
    names: BTreeSet<String>,
    report: &mut Report,
) {
    let Some(declared) = declared else {
        let largest = (1..=usize::from(MAX_CLASSES)).rev().find(|&value| used[value]).unwrap_or(0);
        report.classes = if names.is_empty() {
            (1..=largest).map(|number| format!("class {number}")).collect()
        } else {
            names.into_iter().collect()
        };
        if largest > 0 {
            report.add(
                Severity::Note,
                folder,
                format!("no classes.txt: classes are called {}", report.classes.join(", ")),
                "write classes.txt with a name a line to have names in tables and the report",
            );
        }
        return;
    };
    for (index, name) in declared.iter().enumerate().take(usize::from(MAX_CLASSES)) {
        if !used[index + 1] && !names.contains(name) {
            report.add(
                Severity::Warning,
                &folder.join("classes.txt"),
                format!("class {} `{name}` has no pixel in any label", index + 1),
                "label a picture that shows it, or remove it from the end of classes.txt",
            );
        }
    }
    report.classes = declared;
}

/// Finds near-duplicates within the support, and of the support in the query folder.
fn likenesses(
    pictures: &[PathBuf],
    seen: &[Result<Seen>],
    query: Option<&Path>,
    report: &mut Report,
) -> Result<()> {
    let support: Vec<(&PathBuf, u64)> = pictures
        .iter()
        .zip(seen)
        .filter_map(|(file, seen)| Some((file, seen.as_ref().ok()?.hash)))
        .collect();
    for (index, (file, hash)) in support.iter().enumerate() {
        if let Some((other, _)) = support[..index].iter().find(|(_, other)| alike(*hash, *other)) {
            report.add(
                Severity::Warning,
                file,
                format!("looks the same as {}", shown(other)),
                "label different pictures: a copy adds nothing and makes the expected quality too \
                 good",
            );
        }
    }
    let Some(query) = query else { return Ok(()) };
    let files = super::image::list(query, true)?;
    report.query = files.len();
    let looked: Vec<_> = files.par_iter().map(|file| look(file)).collect();
    for (file, looked) in files.iter().zip(looked) {
        match looked {
            Err(error) => report.fails(file, &error),
            Ok(looked) => {
                if let Some((other, _)) =
                    support.iter().find(|(_, other)| alike(looked.hash, *other))
                {
                    report.add(
                        Severity::Warning,
                        file,
                        format!("looks the same as the labelled picture {}", shown(other)),
                        "leave it out where quality is measured: it is known already",
                    );
                }
            }
        }
    }
    if files.is_empty() {
        let todo = "kshot reads JPEG, PNG, TIFF, WebP, BMP and GIF, in subfolders too";
        report.add(Severity::Error, query, "no picture here", todo);
    }
    Ok(())
}
