//! What a label file's items become: objects of a picture, items that are passed over, or damage.
//!
//! Every reader of shapes has one [`FileItems`] and, for each picture, one [`PictureItems`]. An item is an object, has no
//! inside (then it is passed over and told), or is wrong (then the picture is left out). A picture of which only lost
//! objects are left is left out, too: to call it background all over would be wrong.

use std::path::Path;

use crate::annotation::Object;
use crate::finding::{Findings, Severity};
use crate::labels::Outlines;
use crate::labels::passed_over::{PassedOver, Reason};
use crate::labels::shapes::NoShape;
use crate::names::{counted, shortened};

/// Letters of a reason that are shown.
const SHOWN: usize = 400;

/// What was met in all pictures of a file.
#[derive(Debug, Default)]
pub struct FileItems {
    passed: PassedOver,
    /// Objects without a class that got one.
    unnamed: usize,
}

/// What was met in one picture.
#[derive(Debug, Default)]
pub struct PictureItems {
    /// Objects by their layer, later ones on top within one.
    objects: Vec<(i64, Object)>,
    damaged: Option<String>,
    passed: PassedOver,
    lost: bool,
    unnamed: usize,
}

impl PictureItems {
    /// Takes an item: what it was read as, and what names it.
    pub fn take(&mut self, read: Result<Object, NoShape>, item: impl FnOnce() -> String) {
        self.take_at(0, read, item);
    }

    /// The same of an item on a layer; higher ones are on top.
    pub fn take_at(
        &mut self,
        layer: i64,
        read: Result<Object, NoShape>,
        item: impl FnOnce() -> String,
    ) {
        match read {
            Ok(object) => self.objects.push((layer, object)),
            Err(NoShape::Passed(reason)) => self.pass_over(reason, item()),
            Err(NoShape::Damaged(why)) => self.damage(format!("{}: {why}", item())),
        }
    }

    /// Passes an item over.
    pub fn pass_over(&mut self, reason: &'static Reason, item: impl AsRef<str>) {
        self.lost |= reason.lost;
        self.passed.add(reason, item);
    }

    /// Says what of the picture's labels is wrong; the first counts.
    pub fn damage(&mut self, what: String) {
        self.damaged.get_or_insert(what);
    }

    /// Counts an object that says no class and gets a usual one.
    pub fn count_unnamed(&mut self) {
        self.unnamed += 1;
    }

    /// The last object that was taken.
    pub fn last_mut(&mut self) -> Option<&mut Object> {
        self.objects.last_mut().map(|(_, object)| object)
    }

    /// The picture's outlines, in pixels; what was passed over is the file's.
    pub fn finish(mut self, path: &Path, all: &mut FileItems) -> Outlines {
        self.objects.sort_by_key(|(layer, _)| *layer);
        let objects: Vec<Object> = self.objects.into_iter().map(|(_, object)| object).collect();
        if objects.is_empty() && self.lost {
            self.damaged.get_or_insert_with(|| nothing_left(&self.passed));
        }
        let damaged = self.damaged.map(|what| shortened(&what, SHOWN).into_owned());
        all.passed.append(self.passed);
        all.unnamed += self.unnamed;
        Outlines { objects, damaged, ..Outlines::new(path) }
    }
}

/// Why a picture is left out whose objects were all passed over.
pub fn nothing_left(passed: &PassedOver) -> String {
    format!("nothing is left of its labels: {}", passed.in_words())
}

impl FileItems {
    /// Passes an item over that is of no picture.
    pub fn pass_over(&mut self, reason: &'static Reason, item: impl AsRef<str>) {
        self.passed.add(reason, item);
    }

    /// One warning of what was passed over, and a note of objects that got the class `usual`.
    pub fn tell(self, path: &Path, usual: &str, findings: &mut Findings) {
        self.passed.tell(path, findings);
        if self.unnamed > 0 {
            let what = counted(
                self.unnamed,
                "object says no class and is read as",
                "objects say no class and are read as",
            );
            findings.add(Severity::Note, path, format!("{what} `{usual}`"), "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::ObjectShape;
    use crate::labels::passed_over::{EMPTY_BOX, POINT};

    fn outlines(items: PictureItems) -> Outlines {
        items.finish(Path::new("a.json"), &mut FileItems::default())
    }

    #[test]
    fn a_picture_of_lost_objects_alone_is_damaged() {
        let object = |class: &str| Object::new(class, ObjectShape::Box([0.0, 0.0, 1.0, 1.0]));
        let name = || "`x`".to_owned();
        let mut items = PictureItems::default();
        items.take(Err(NoShape::Passed(&POINT)), name);
        assert_eq!(outlines(items).damaged, None);
        let mut items = PictureItems::default();
        items.take(Err(NoShape::Passed(&EMPTY_BOX)), name);
        let damaged = outlines(items).damaged.unwrap();
        assert!(damaged.contains("nothing is left") && damaged.contains("1 empty box (`x`)"));
        let mut items = PictureItems::default();
        items.take_at(3, Ok(object("top")), name);
        items.take(Ok(object("below")), name);
        items.take(Err(NoShape::Passed(&EMPTY_BOX)), name);
        let read = outlines(items);
        assert_eq!((read.objects.len(), &*read.objects[0].class, read.damaged), (2, "below", None));
        let mut items = PictureItems::default();
        items.take(Err(NoShape::Damaged("torn".to_owned())), name);
        items.take(Err(NoShape::Damaged("burnt".to_owned())), name);
        assert_eq!(outlines(items).damaged.as_deref(), Some("`x`: torn"));
    }
}
