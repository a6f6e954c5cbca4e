//! What a format cannot hold.

use crate::annotation::{Content, ObjectShape};
use crate::convert::LabelFormat;
use crate::finding::LabelKind;
use crate::label_folder::PaintedLabels;
use crate::labels::names::Classes;
use crate::mask::{MAX_CLASSES, UNLABELLED, VOID};
use crate::names::counted;

/// Counts of what formats differ in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FormatTally {
    boxes: usize,
    outlines: usize,
    runs: usize,
    crowds: usize,
    difficult: usize,
    /// Pictures with a value per pixel that hold a class.
    masks: usize,
    void: usize,
    unlabelled: usize,
    /// Pictures without any object of a class.
    empty: usize,
}

impl FormatTally {
    /// Counts what a picture has.
    pub(super) fn of(read: &PaintedLabels, classes: &Classes) -> Self {
        let counts = read.mask.counts();
        let mut tally = Self {
            void: counts[usize::from(VOID)],
            unlabelled: counts[usize::from(UNLABELLED)],
            ..Self::default()
        };
        let is_class = |value: u8| (1..=MAX_CLASSES).contains(&value);
        let mut any = false;
        match &read.annotation.content {
            Content::Dense(_) => {
                any = counts[1..=usize::from(MAX_CLASSES)].iter().any(|&count| count > 0);
                tally.masks = usize::from(any);
            }
            Content::Objects(objects) => {
                for object in objects {
                    if object.crowd {
                        tally.crowds += 1;
                        continue;
                    }
                    any |= classes.value(&object.class).is_ok_and(is_class);
                    tally.difficult += usize::from(object.difficult);
                    match object.shape {
                        ObjectShape::Box(_) => tally.boxes += 1,
                        ObjectShape::Polygons(_) | ObjectShape::Circle(..) => tally.outlines += 1,
                        ObjectShape::Runs(_) => tally.runs += 1,
                    }
                }
            }
        }
        tally.empty = usize::from(!any && read.annotation.kind != LabelKind::Scribble);
        tally
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.boxes += other.boxes;
        self.outlines += other.outlines;
        self.runs += other.runs;
        self.crowds += other.crowds;
        self.difficult += other.difficult;
        self.masks += other.masks;
        self.void += other.void;
        self.unlabelled += other.unlabelled;
        self.empty += other.empty;
    }

    /// Whether there is a mask, or an object of pixels, that an outline would have to follow.
    pub(super) fn is_painted(&self) -> bool {
        self.masks + self.runs > 0
    }

    /// What would be lost, in words.
    pub(super) fn lost(&self, to: LabelFormat) -> Vec<String> {
        let mut lost = Vec::new();
        let mut say = |count: usize, one: &str, many: &str, what: &str| {
            if count > 0 {
                lost.push(format!("{} {what}", counted(count, one, many)));
            }
        };
        if to.is_dense() {
            say(
                self.boxes,
                "box",
                "boxes",
                "would be filled with the class: a box says where an object is, not which pixels are the object's",
            );
        }
        if to.is_boxes() {
            let outlines = self.outlines + self.runs;
            let (one, many) = ("outline or mask of an object", "outlines and masks of objects");
            say(outlines, one, many, "would become boxes");
            say(self.masks, "mask", "masks", "would become boxes, one for each connected piece");
        }
        if to.is_boxes() || to == LabelFormat::YoloSeg {
            let together = "(many objects outlined together) would be left out";
            say(self.crowds, "crowd", "crowds", together);
            say(self.void, "void pixel", "void pixels", "would become background");
            let (one, many) = ("unlabelled pixel", "unlabelled pixels");
            say(self.unlabelled, one, many, "would become background");
        }
        if to == LabelFormat::BoxesCsv {
            let (one, many) =
                ("picture with none of the classes", "pictures with none of the classes");
            say(self.empty, one, many, "would be without a label");
        }
        lost
    }

    /// What is not kept although no pixel changes, in words.
    pub(super) fn notes(&self, to: LabelFormat, simplified: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if to.is_dense() && self.outlines + self.runs > 0 {
            notes.push(format!(
                "{} became pixels: corners, and which object a pixel belongs to, are not kept",
                counted(self.outlines + self.runs, "object", "objects")
            ));
        }
        if matches!(to, LabelFormat::Labelme | LabelFormat::YoloSeg)
            && self.masks > 0
            && !simplified
        {
            notes.push(format!(
                "{} became outlines along the pixels' borders, one for each connected piece",
                counted(self.masks, "mask", "masks")
            ));
        }
        if self.difficult > 0 && (to.is_dense() || to == LabelFormat::YoloSeg) {
            let marks = counted(
                self.difficult,
                "mark of what is difficult is",
                "marks of what is difficult are",
            );
            notes.push(format!("{marks} not kept"));
        }
        notes
    }
}
