//! Single items of a label file that are passed over: counted and listed in one finding a file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::finding::{Findings, Severity};
use crate::names::{Examples, counted};

/// Why items are passed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// What one such item is called.
    pub one: &'static str,
    /// What several are called.
    pub many: &'static str,
    /// Whether it was to be an object: a picture of which nothing else is left cannot count as background all over.
    pub lost: bool,
}

impl Reason {
    /// Of items that never have an inside.
    pub const fn harmless(one: &'static str, many: &'static str) -> Self {
        Self { one, many, lost: false }
    }

    /// Of items that were to be objects.
    pub const fn lost(one: &'static str, many: &'static str) -> Self {
        Self { one, many, lost: true }
    }
}

/// Outlines without an inside.
pub const FEW_CORNERS: Reason =
    Reason::lost("outline of fewer than 3 corners", "outlines of fewer than 3 corners");
/// Outlines that a person did not finish.
pub const OPEN: Reason =
    Reason::lost("outline that was not closed", "outlines that were not closed");
/// Boxes without an inside.
pub const EMPTY_BOX: Reason = Reason::lost("empty box", "empty boxes");
/// Circles and ellipses without an inside.
pub const EMPTY_ELLIPSE: Reason =
    Reason::lost("circle or ellipse without a radius", "circles and ellipses without a radius");
/// Shapes of two corners that have another number of them.
pub const WRONG_CORNERS: Reason = Reason::lost(
    "shape with too few or too many corners for its kind",
    "shapes with too few or too many corners for their kind",
);
/// Shapes of no known kind.
pub const UNKNOWN_KIND: Reason =
    Reason::lost("item of a kind kshot does not read", "items of a kind kshot does not read");
/// Cuboids.
pub const CUBOID: Reason = Reason::lost("cuboid, which is not read", "cuboids, which are not read");
/// Paths of curves.
pub const VECTOR_PATH: Reason =
    Reason::lost("vector path, which is not read", "vector paths, which are not read");
/// Objects that say no class.
pub const NO_CLASS: Reason = Reason::lost("object without a class", "objects without a class");
/// Objects that say no place.
pub const NO_PLACE: Reason = Reason::lost("object without a place", "objects without a place");
/// Masks that were wiped out, which a tool keeps.
pub const EMPTY_MASK: Reason = Reason::harmless("mask without a pixel", "masks without a pixel");
/// Points.
pub const POINT: Reason =
    Reason::harmless("point, which has no inside", "points, which have no inside");
/// Lines.
pub const LINE: Reason =
    Reason::harmless("line, which has no inside", "lines, which have no inside");
/// Skeletons.
pub const SKELETON: Reason =
    Reason::harmless("skeleton, which has no inside", "skeletons, which have no inside");
/// Labels of a whole picture.
pub const TAG: Reason = Reason::harmless(
    "label of a whole picture, which has no place",
    "labels of whole pictures, which have no place",
);
/// Annotations of a video's frames.
pub const VIDEO: Reason = Reason::lost("annotation of a video", "annotations of a video");

/// What was passed over in a file, by reason.
#[derive(Debug, Default)]
pub struct PassedOver(BTreeMap<&'static str, (&'static Reason, Examples)>);

impl PassedOver {
    /// Adds an item: why, and what names it.
    pub fn add(&mut self, reason: &'static Reason, item: impl AsRef<str>) {
        self.0.entry(reason.many).or_insert_with(|| (reason, Examples::default())).1.add(item);
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.0.values().map(|(_, items)| items.count()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the items of another.
    pub fn append(&mut self, other: Self) {
        for (many, (reason, items)) in other.0 {
            self.0.entry(many).or_insert_with(|| (reason, Examples::default())).1.append(items);
        }
    }

    /// All of it in words: `1 empty box (line 3); 2 points, which have no inside (...)`.
    pub fn in_words(&self) -> String {
        let words = |(reason, items): &(&'static Reason, Examples)| {
            format!("{} ({items})", counted(items.count(), reason.one, reason.many))
        };
        self.0.values().map(words).collect::<Vec<_>>().join("; ")
    }

    /// One warning of all, where there is something.
    pub fn tell(self, file: &Path, findings: &mut Findings) {
        if self.is_empty() {
            return;
        }
        findings.add(
            Severity::Warning,
            file,
            format!("{} passed over: {}", counted(self.len(), "item", "items"), self.in_words()),
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
            passed.add(&POINT, format!("`tip {at}`"));
        }
        let mut more = PassedOver::default();
        more.add(&FEW_CORNERS, "`cell`");
        more.add(&POINT, "`last`");
        passed.append(more);
        let mut findings = Findings::default();
        passed.tell(Path::new("a.json"), &mut findings);
        PassedOver::default().tell(Path::new("a.json"), &mut findings);
        assert_eq!(findings.0.len(), 1);
        assert_eq!(
            findings.0[0].what,
            "7 items passed over: 1 outline of fewer than 3 corners (`cell`); 6 points, which have no inside \
             (`tip 0`, `tip 1`, `tip 2` and 3 more)"
        );
    }
}
