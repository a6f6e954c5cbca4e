//! What a person should know of a label file, and how labels were made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How a picture was labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// Every pixel is labelled (index, palette, colour or binary mask, run lengths).
    Mask,
    /// Outlines: polygons of a labelling tool.
    Polygons,
    /// A few strokes; the rest is unlabelled.
    Scribble,
    /// Boxes; what is inside is the class and more, what is outside is background.
    Boxes,
}

impl std::fmt::Display for LabelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mask => "mask",
            Self::Polygons => "polygons",
            Self::Scribble => "scribble",
            Self::Boxes => "boxes",
        })
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
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
    /// The line in it, from 1, where one is known.
    pub line: Option<usize>,
    /// What was found.
    pub what: String,
    /// What to do about it; empty where nothing needs to be done.
    pub todo: String,
    /// Whether an error is of one picture alone: a run leaves that out and goes on with the others.
    pub left_out: bool,
}

impl Finding {
    /// The file, and the line where one is known: `file:line`.
    pub fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}", crate::visible::visible(&self.file.to_string_lossy()))
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place(), self.what)?;
        if self.todo.is_empty() { Ok(()) } else { write!(f, "; {}", self.todo) }
    }
}

/// So many files of which the same is found are told one by one.
const ONE_BY_ONE: usize = 3;

/// Findings for people: the same of more than three files is told once, at the first. Errors stay one by one: which file is
/// wrong is what has to be mended.
pub fn gathered(findings: &[Finding]) -> Vec<Finding> {
    type Key<'a> = (Severity, &'a str, &'a str);
    fn key(finding: &Finding) -> Key<'_> {
        (finding.severity, &finding.what, &finding.todo)
    }
    let mut counts: HashMap<Key<'_>, usize> = HashMap::new();
    findings.iter().for_each(|finding| *counts.entry(key(finding)).or_default() += 1);
    let mut told = Vec::new();
    for finding in findings {
        match counts.get_mut(&key(finding)) {
            Some(0) => {}
            Some(count) if *count > ONE_BY_ONE && finding.severity != Severity::Error => {
                let what = format!("{} (and {} more files)", finding.what, *count - 1);
                *count = 0;
                told.push(Finding { what, ..finding.clone() });
            }
            _ => told.push(finding.clone()),
        }
    }
    told
}

/// At most this many errors are listed in one.
const LISTED: usize = 10;

/// A list of findings that is easy to add to.
#[derive(Debug, Clone, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, severity: Severity, file: &Path, what: impl Into<String>, todo: &str) {
        let (file, what, todo) = (file.to_owned(), what.into(), todo.to_owned());
        self.0.push(Finding { severity, file, line: None, what, todo, left_out: false });
    }

    /// Adds an error that reading a file gave.
    pub fn fails(&mut self, file: &Path, error: &Error) {
        let (file, line) = match error.place() {
            Some(crate::error::Place::File(file, line)) => (file.clone(), *line),
            _ => (file.to_owned(), None),
        };
        self.0.push(Finding {
            severity: Severity::Error,
            file,
            line,
            what: error.message().to_owned(),
            todo: String::new(),
            left_out: false,
        });
    }

    /// Adds an error that leaves a picture out.
    pub fn leaves_out(&mut self, file: &Path, error: &Error) {
        self.fails(file, error);
        if let Some(last) = self.0.last_mut() {
            last.left_out = true;
        }
    }

    /// All errors as one, at most ten of them in words; `Ok` where there is none.
    ///
    /// # Errors
    /// If there is an error among the findings.
    pub fn refuse_errors(&self, folder: &Path) -> Result<()> {
        self.refuse(folder, |_| true)
    }

    /// The same of errors that are not of single pictures.
    ///
    /// # Errors
    /// If there is one among the findings.
    pub fn refuse_errors_of_all(&self, folder: &Path) -> Result<()> {
        self.refuse(folder, |finding| !finding.left_out)
    }

    fn refuse(&self, folder: &Path, counts: impl Fn(&Finding) -> bool) -> Result<()> {
        let errors = self.0.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<&Finding> = errors.filter(|finding| counts(finding)).collect();
        match errors.as_slice() {
            [] => Ok(()),
            [only] if only.file == folder => {
                Err(Error::data(format!("{}; {}", only.what, only.todo)).in_file(folder))
            }
            errors => {
                let mut lines: Vec<String> =
                    errors.iter().take(LISTED).map(|finding| format!("\n  {finding}")).collect();
                if errors.len() > LISTED {
                    lines.push(format!("\n  and {} more", errors.len() - LISTED));
                }
                let count = errors.len();
                let labels = if count == 1 { "wrong label" } else { "wrong labels" };
                let text = format!("{count} {labels}:{}", lines.concat());
                Err(Error::data(text).in_file(folder))
            }
        }
    }

    /// How many are errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|finding| finding.severity == Severity::Error).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_of_many_files_is_told_once() {
        let mut findings = Findings::default();
        for at in 0..5 {
            findings.add(Severity::Warning, Path::new(&format!("{at}.png")), "turned", "look");
            findings.add(Severity::Note, Path::new("a"), format!("odd {}", at % 2), "");
            findings.add(Severity::Error, Path::new("b"), "cut", "");
        }
        let told: Vec<String> = gathered(&findings.0).iter().map(ToString::to_string).collect();
        let first = "0.png: turned (and 4 more files); look";
        let (errors, told): (Vec<_>, Vec<_>) = told.into_iter().partition(|of| of == "b: cut");
        assert_eq!(told, [first, "a: odd 0", "a: odd 1", "a: odd 0", "a: odd 1", "a: odd 0"]);
        assert_eq!(errors.len(), 5);
    }
}
