//! Single items of a label file that are passed over: counted and listed in one finding a file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::finding::{Findings, Severity};
use crate::names::{counted, listed};

/// Items that are named one by one, of each reason.
const NAMED: usize = 3;

/// Why an outline without an inside is passed over.
pub const FEW_CORNERS: &str = "outlines of fewer than 3 corners";

/// What was passed over in a file, by reason.
#[derive(Debug, Default)]
pub struct PassedOver(BTreeMap<String, Vec<String>>);

impl PassedOver {
    /// Adds an item: why (in the plural, such as `points, which have no inside`), and what names it.
    pub fn add(&mut self, why: impl Into<String>, item: impl Into<String>) {
        self.0.entry(why.into()).or_default().push(item.into());
    }

    /// One warning of all, where there is something.
    pub fn tell(self, file: &Path, findings: &mut Findings) {
        if self.0.is_empty() {
            return;
        }
        let count: usize = self.0.values().map(Vec::len).sum();
        let reason = |(why, items): (&String, &Vec<String>)| {
            format!("{} {why} ({})", items.len(), listed(items, NAMED))
        };
        let reasons: Vec<String> = self.0.iter().map(reason).collect();
        findings.add(
            Severity::Warning,
            file,
            format!("{} passed over: {}", counted(count, "item", "items"), reasons.join("; ")),
            "outline again what is to count; the rest of the file is used",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_warning() {
        let mut passed = PassedOver::default();
        for at in 0..5 {
            passed.add("points, which have no inside", format!("`tip {at}`"));
        }
        passed.add("outlines of fewer than 3 corners", "`cell`");
        let mut findings = Findings::default();
        passed.tell(Path::new("a.json"), &mut findings);
        PassedOver::default().tell(Path::new("a.json"), &mut findings);
        assert_eq!(findings.0.len(), 1);
        assert_eq!(
            findings.0[0].what,
            "6 items passed over: 1 outlines of fewer than 3 corners (`cell`); 5 points, which have no inside \
             (`tip 0`, `tip 1`, `tip 2` and 2 more)"
        );
    }
}
