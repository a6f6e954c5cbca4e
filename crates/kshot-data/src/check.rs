//! What is wrong, or odd, with labels, before a run depends on them.

use std::fmt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::Result;
use crate::finding;
pub use crate::finding::{Finding, Findings, Severity};
use crate::image::tiff_kinds::Pages;
use crate::label_folder::{LabelFolder, MaskReading};
use crate::mask::MAX_CLASSES;
use crate::names::{Examples, SHOWN, classes, counted, shortened};
use crate::near_duplicate::{alike, difference_hash};

pub mod values;

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
    /// Pictures that look like another, all of them; among the findings a folder's copies are one.
    pub copies: Vec<LookAlike>,
}

/// A picture that looks like another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LookAlike {
    /// The picture.
    pub file: PathBuf,
    /// The labelled picture that it looks like.
    pub of: PathBuf,
}

impl Report {
    /// Whether a run would stop.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many findings are of that severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// For people: a line a finding, what to do about it below, and a summary.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in finding::gathered(&self.findings) {
            writeln!(f, "{}: {}: {}", finding.severity, finding.place(), finding.what)?;
            if !finding.todo.is_empty() {
                writeln!(f, "  -> {}", finding.todo)?;
            }
        }
        let classes = classes(&self.classes, LISTED);
        let of = |severity: Severity| {
            counted(self.count(severity), &severity.to_string(), &format!("{severity}s"))
        };
        writeln!(
            f,
            "{}, classes: {}; {}, {}, {}",
            counted(self.labelled, "labelled picture", "labelled pictures"),
            if classes.is_empty() { "none" } else { &classes },
            of(Severity::Error),
            of(Severity::Warning),
            of(Severity::Note)
        )
    }
}

/// Classes that a summary names.
const LISTED: usize = 12;

/// What is kept of a picture.
struct CheckedPicture {
    hash: u64,
    /// Which values its labels hold.
    used: [bool; 256],
}

/// Checks a support folder (laid out as for [`LabelFolder::open`]), and the pictures of a query
/// folder against it.
///
/// # Errors
/// Only when a folder cannot be listed; what is wrong with files is in the report.
pub fn check(folder: &Path, query: Option<&Path>) -> Result<Report> {
    check_reading(folder, query, MaskReading::Auto)
}

/// As [`check()`], with masks' numbers read as somebody asks for.
///
/// # Errors
/// As there.
pub fn check_reading(folder: &Path, query: Option<&Path>, masks: MaskReading) -> Result<Report> {
    let mut folder = LabelFolder::open_reading(folder, masks)?;
    let mut findings = std::mem::take(&mut folder.findings);
    let checked: Vec<(Option<CheckedPicture>, Findings)> = (0..folder.pictures.len())
        .into_par_iter()
        .map(|index| check_picture(&folder, index))
        .collect();
    let mut used = [false; 256];
    let mut seen = Vec::new();
    for (picture, (checked, mut found)) in folder.pictures.iter().zip(checked) {
        findings.0.append(&mut found.0);
        if let Some(checked) = checked {
            used.iter_mut().zip(checked.used).for_each(|(all, one)| *all |= one);
            seen.push((&picture.file, checked.hash));
        }
    }
    unused(&folder, &used, &mut findings);
    let mut copies = within(&folder.root, &seen, &mut findings);
    let mut report = Report {
        labelled: folder.pictures.iter().filter(|picture| picture.labels.is_some()).count(),
        classes: folder.classes.names().to_vec(),
        ..Report::default()
    };
    if let Some(query) = query {
        let (count, known) = against(&seen, query, &mut findings)?;
        report.query = count;
        copies.extend(known);
    }
    report.copies = copies;
    report.findings = findings.0;
    report.findings.sort_by(|a, b| (a.severity, &a.file).cmp(&(b.severity, &b.file)));
    Ok(report)
}

fn check_picture(folder: &LabelFolder, index: usize) -> (Option<CheckedPicture>, Findings) {
    let mut findings = Findings::default();
    let file = &folder.pictures[index].file;
    let picture = match crate::image::read(file) {
        Ok(picture) => picture,
        Err(error) => {
            findings.leaves_out(file, &error);
            return (None, findings);
        }
    };
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut used = [false; 256];
    if let Some(read) = folder.read(index, width, height, &mut findings) {
        read.mask.pixels.iter().for_each(|&value| used[usize::from(value)] = true);
    }
    (Some(CheckedPicture { hash: difference_hash(&picture), used }), findings)
}

/// Notes classes that no label shows.
fn unused(folder: &LabelFolder, used: &[bool; 256], findings: &mut Findings) {
    let names = folder.classes.names().iter().zip(1..=MAX_CLASSES);
    let absent: Vec<(u8, &String)> = names
        .map(|(name, number)| (number, name))
        .filter(|(number, _)| !used[usize::from(*number)])
        .collect();
    let file = folder.list.as_deref().unwrap_or(&folder.root);
    if folder.declared || folder.list.is_none() {
        for (number, name) in absent {
            let name = shortened(name, SHOWN);
            let what = format!("class {number} `{name}` has no pixel in any label");
            let todo = "label a picture that shows it, or remove it from the end of classes.txt";
            findings.add(Severity::Warning, file, what, todo);
        }
    } else if !absent.is_empty() {
        // A tool's own list is often longer than what is labelled.
        let names: Vec<&String> = absent.iter().map(|(_, name)| *name).collect();
        let what = format!(
            "of its {} {} no pixel in any label: {}",
            counted(folder.classes.len(), "class", "classes"),
            counted(absent.len(), "has", "have"),
            classes(&names, 8)
        );
        let todo =
            "a run leaves out what no label shows; label a picture that shows it if it is wanted";
        findings.add(Severity::Note, file, what, todo);
    }
}

/// Finds near-duplicates within the support.
fn within(root: &Path, support: &[(&PathBuf, u64)], findings: &mut Findings) -> Vec<LookAlike> {
    let mut copies = Vec::new();
    for (index, (file, hash)) in support.iter().enumerate() {
        if let Some((other, _)) = support[..index].iter().find(|(_, other)| alike(*hash, *other)) {
            copies.push(LookAlike { file: (*file).clone(), of: (*other).clone() });
        }
    }
    let todo =
        "label different pictures: a copy adds nothing and makes the expected quality too good";
    tell_copies(root, "another", "others", &copies, todo, findings);
    copies
}

/// One warning of a folder's copies, at the picture where there is one.
fn tell_copies(
    root: &Path,
    another: &str,
    others: &str,
    copies: &[LookAlike],
    todo: &str,
    findings: &mut Findings,
) {
    match copies {
        [] => {}
        [only] => {
            let labelled = another.strip_prefix("a ").map(|of| format!("the {of} "));
            let what =
                format!("looks the same as {}{}", labelled.unwrap_or_default(), shown(&only.of));
            findings.add(Severity::Warning, &only.file, what, todo);
        }
        several => {
            let mut examples = Examples::default();
            for copy in several {
                examples.add(format!("{} as {}", shown(&copy.file), shown(&copy.of)));
            }
            let what = format!("{} pictures look the same as {others}: {examples}", several.len());
            findings.add(Severity::Warning, root, what, todo);
        }
    }
}

/// Finds near-duplicates of the support in a query folder, and how many pictures that has.
fn against(
    support: &[(&PathBuf, u64)],
    query: &Path,
    findings: &mut Findings,
) -> Result<(usize, Vec<LookAlike>)> {
    let files = crate::image::list(query, true)?;
    let checked: Vec<Result<u64>> =
        files.par_iter().map(|file| Ok(difference_hash(&crate::image::read(file)?))).collect();
    let mut copies = Vec::new();
    for (file, checked) in files.iter().zip(checked) {
        match checked {
            Err(error) => findings.leaves_out(file, &error),
            Ok(hash) => {
                if let Some((other, _)) = support.iter().find(|(_, other)| alike(hash, *other)) {
                    copies.push(LookAlike { file: file.clone(), of: (*other).clone() });
                }
            }
        }
    }
    let todo = "leave out where quality is measured what is known already";
    tell_copies(query, "a labelled picture", "labelled ones", &copies, todo, findings);
    if let Some(what) = Pages::of(files.iter().map(PathBuf::as_path)).in_words() {
        findings.add(Severity::Warning, query, what, "save the pages as files of their own");
    }
    if let Some(unread) = crate::image::kinds::unread(query) {
        let todo = "export them as JPEG, PNG or TIFF";
        findings.add(Severity::Warning, query, format!("not read: {unread}"), todo);
    }
    if files.is_empty() {
        let todo = "kshot reads JPEG, PNG, TIFF, WebP, BMP and GIF, in subfolders too";
        findings.add(Severity::Error, query, "no picture here", todo);
    }
    Ok((files.len(), copies))
}

fn shown(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}
