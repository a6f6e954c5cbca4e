//! Where labels go.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folder of results, and the table of labels in it.
pub(in crate::job) struct LabelsPath {
    pub(in crate::job) folder: PathBuf,
    pub(in crate::job) table: PathBuf,
}

impl LabelsPath {
    /// From `out`: a `.csv` file, or a folder in which it is named `labels.csv`.
    pub(in crate::job) fn new(out: &Path) -> Self {
        let is_table = out.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        if !is_table || out.is_dir() {
            return Self { folder: out.to_owned(), table: out.join("labels.csv") };
        }
        let folder = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self { folder, table: out.to_owned() }
    }

    /// Refuses to write labels over what they are made from.
    pub(in crate::job) fn check(&self, given: &[Option<&Path>]) -> Result<()> {
        let Ok(table) = self.table.canonicalize() else { return Ok(()) };
        let same = |file: &&Path| file.canonicalize().is_ok_and(|file| file == table);
        match given.iter().copied().flatten().find(same) {
            None => Ok(()),
            Some(file) => {
                Err(Error::config("the labels would be written over it; give --out another name")
                    .in_file(file))
            }
        }
    }

    /// The page to look at.
    pub(in crate::job) fn report(&self) -> PathBuf {
        self.beside("report.html")
    }

    /// A file in the folder that people need not look into: `.kshot/linked.csv`, or `.kshot/mine.linked.csv` of another table.
    pub(in crate::job) fn hidden(&self, name: &str) -> PathBuf {
        let name = self.beside(name);
        self.folder.join(".kshot").join(name.file_name().unwrap_or_default())
    }

    /// A file beside the table: `report.html` beside `labels.csv`, `mine.report.html` beside `mine.csv`, so that several
    /// tables in one folder each have their own.
    pub(in crate::job) fn beside(&self, name: &str) -> PathBuf {
        let stem = self.table.file_stem().unwrap_or_default();
        if stem == "labels" {
            return self.folder.join(name);
        }
        let mut own = stem.to_owned();
        own.push(".");
        own.push(name);
        self.folder.join(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_or_a_folder() {
        let at = |out: &str| {
            let place = LabelsPath::new(Path::new(out));
            (place.folder.display().to_string(), place.table.display().to_string())
        };
        assert_eq!(at("a.csv"), (".".into(), "a.csv".into()));
        assert_eq!(at("out/a.CSV"), ("out".into(), "out/a.CSV".into()));
        assert_eq!(at("out"), ("out".into(), "out/labels.csv".into()));
        let report = |out: &str| LabelsPath::new(Path::new(out)).report().display().to_string();
        assert_eq!(
            ["out", "out/labels.csv", "out/b.c.csv"].map(report),
            ["out/report.html", "out/report.html", "out/b.c.report.html"]
        );
        let hidden = |out: &str| LabelsPath::new(Path::new(out)).hidden("linked.csv");
        assert_eq!(hidden("out"), Path::new("out/.kshot/linked.csv"));
        assert_eq!(hidden("out/b.csv"), Path::new("out/.kshot/b.linked.csv"));
    }
}
