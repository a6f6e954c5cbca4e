//! Labels in the formats people have them.

use std::path::{Path, PathBuf};

use crate::annotation::{Object, ObjectShape};
use crate::finding::LabelKind;
use crate::mask::UNLABELLED;

pub mod borders;
pub mod boxes;
pub mod brush;
pub mod class_masks;
pub mod coco;
pub mod coco_text;
pub mod collect;
pub mod colours;
pub mod createml;
pub mod cvat_xml;
pub mod darwin;
pub mod datumaro;
pub mod files;
pub mod geojson;
pub mod index;
pub mod instances;
pub mod keyhole;
pub mod label_studio;
pub mod labelme;
pub mod names;
pub mod numpy;
pub mod passed_over;
pub mod pickle;
pub mod polygon;
pub mod runs;
pub mod shapes;
pub mod shares;
pub mod simplify;
pub mod supervisely;
pub mod trace;
pub mod via;
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
    /// What of the picture's labels cannot be read, so that the rest would be wrong.
    pub damaged: Option<String>,
}

impl Outlines {
    /// Of no object yet, in pixels.
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            picture: None,
            size: None,
            relative: false,
            objects: Vec::new(),
            damaged: None,
        }
    }

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
