//! Labels in the formats people have them.

use std::path::PathBuf;

use crate::annotation::{Object, ObjectShape};
use crate::finding::LabelKind;
use crate::mask::UNLABELLED;

pub mod borders;
pub mod boxes;
pub mod class_masks;
pub mod coco;
pub mod coco_text;
pub mod colours;
pub mod files;
pub mod index;
pub mod instances;
pub mod keyhole;
pub mod labelme;
pub mod names;
pub mod numpy;
pub mod passed_over;
pub mod pickle;
pub mod polygon;
pub mod runs;
pub mod simplify;
pub mod trace;
pub mod voc_xml;
pub mod yolo;
pub mod yolo_names;

/// What a text format says about one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlines {
    /// The label file.
    pub file: PathBuf,
    /// The picture's name as the file gives it.
    pub picture: Option<String>,
    /// The picture's width and height as the file gives them.
    pub size: Option<(usize, usize)>,
    /// Whether coordinates are shares of the picture's size rather than pixels.
    pub relative: bool,
    /// The objects, later ones on top.
    pub objects: Vec<Object>,
}

impl Outlines {
    /// The objects in pixels of a picture of this size.
    pub fn objects(&self, width: usize, height: usize) -> Vec<Object> {
        let mut objects = self.objects.clone();
        if self.relative {
            let (width, height) = (width as f64, height as f64);
            for object in &mut objects {
                match &mut object.shape {
                    ObjectShape::Polygons(rings) => {
                        for [x, y] in rings.iter_mut().flatten() {
                            (*x, *y) = (settled(*x * width), settled(*y * height));
                        }
                    }
                    ObjectShape::Box([left, top, right, bottom]) => {
                        (*left, *right) = (tidy(*left * width), tidy(*right * width));
                        (*top, *bottom) = (tidy(*top * height), tidy(*bottom * height));
                    }
                    ObjectShape::Circle(..) | ObjectShape::Runs(_) => {}
                }
            }
        }
        objects
    }

    /// How the picture was labelled, to judge by the shapes.
    pub fn kind(&self) -> LabelKind {
        let any =
            |test: fn(&ObjectShape) -> bool| self.objects.iter().any(|object| test(&object.shape));
        let open = |object: &Object| names::reserved(&object.class) == Some(UNLABELLED);
        if self.objects.iter().any(open) {
            LabelKind::Scribble
        } else if any(|shape| matches!(shape, ObjectShape::Runs(_))) {
            LabelKind::Mask
        } else if !any(|shape| !matches!(shape, ObjectShape::Box(_))) && !self.objects.is_empty() {
            LabelKind::Boxes
        } else {
            LabelKind::Polygons
        }
    }
}

/// A corner that was divided and multiplied again: one that was on a pixel's border or centre, where
/// the last digit decides, is on it again.
pub fn settled(corner: f64) -> f64 {
    let half = (corner * 2.0).round() / 2.0;
    if (corner - half).abs() < 1e-9 { half } else { corner }
}

/// A side of a box to a millionth of a pixel: what adding and dividing left in the last digits goes.
pub fn tidy(side: f64) -> f64 {
    (side * 1e6).round() / 1e6
}
