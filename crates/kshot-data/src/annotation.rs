//! What a label file says, before it is pixels: objects with their outlines, or a value per pixel.
//!
//! Every format is read into this and written from it, so that what two formats both hold (corners,
//! instances, boxes, run lengths, void) goes from one to the other as it is.

use crate::error::Result;
use crate::finding::LabelKind;
use crate::labels::names::Classes;
use crate::labels::{polygon, runs, shapes};
use crate::mask::{BACKGROUND, Mask, VOID};

/// A corner: x and y in pixels, the first pixel's centre at 0.5, 0.5.
pub type Corner = [f64; 2];

/// Where an object is.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectShape {
    /// Closed outlines; a pixel belongs to the object when its centre is inside any of them.
    Polygons(Vec<Vec<Corner>>),
    /// A circle: its centre and its radius in pixels.
    Circle(Corner, f64),
    /// Left, top, right, bottom in pixels; right and bottom are outside. It says where the object
    /// is, not which pixels are the object's.
    Box([f64; 4]),
    /// Run lengths in COCO's order: column by column, pixels outside, inside, outside, ...
    Runs(Vec<u32>),
}

impl ObjectShape {
    /// Paints `value` on the shape's pixels.
    pub fn paint(&self, mask: &mut Mask, value: u8) {
        match self {
            Self::Polygons(rings) => {
                for ring in rings {
                    polygon::fill(mask, ring, value);
                }
            }
            Self::Circle(centre, radius) => {
                polygon::fill(mask, &circle(*centre, *radius), value);
            }
            Self::Box(sides) => polygon::fill(mask, &rectangle(*sides), value),
            Self::Runs(counts) => runs::paint(mask, counts, value),
        }
    }

    /// The smallest box around the shape (left, top, right, bottom), in a picture of this height;
    /// `None` where there is nothing.
    pub fn bounds(&self, height: usize) -> Option<[f64; 4]> {
        let around = |points: &mut dyn Iterator<Item = Corner>| {
            let start = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
            let all =
                points.fold(start, |[l, t, r, b], [x, y]| [l.min(x), t.min(y), r.max(x), b.max(y)]);
            (all[0] <= all[2]).then_some(all)
        };
        match self {
            Self::Polygons(rings) => around(&mut rings.iter().flatten().copied()),
            Self::Circle([x, y], radius) => Some([x - radius, y - radius, x + radius, y + radius]),
            Self::Box(sides) => Some(*sides),
            Self::Runs(counts) => runs::bounds(counts, height),
        }
    }
}

/// The corners of a box.
pub fn rectangle([left, top, right, bottom]: [f64; 4]) -> Vec<Corner> {
    vec![[left, top], [right, top], [right, bottom], [left, bottom]]
}

/// Corners of a circle: so many that none of it is off by more than a fifth of a pixel.
pub fn circle([x, y]: Corner, radius: f64) -> Vec<Corner> {
    let corners = (radius.sqrt() * 5.0).ceil().clamp(16.0, 4096.0) as usize;
    (0..corners)
        .map(|corner| {
            let angle = corner as f64 / corners as f64 * std::f64::consts::TAU;
            [x + radius * angle.cos(), y + radius * angle.sin()]
        })
        .collect()
}

/// One thing somebody outlined.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The class's name, or one of the names that stand for background, void and unlabelled
    /// ([`crate::labels::names`]).
    pub class: String,
    /// Where it is.
    pub shape: ObjectShape,
    /// The tool's number of this object: COCO's annotation id, LabelMe's group. Shapes with the same
    /// number in one picture are parts of one object.
    pub id: Option<i64>,
    /// Many objects outlined together (COCO's `iscrowd`): its pixels are void.
    pub crowd: bool,
    /// Marked as hard to see (VOC's `difficult`); kept, and not looked at.
    pub difficult: bool,
}

impl Object {
    /// An object of a class, without a number.
    pub fn new(class: impl Into<String>, shape: ObjectShape) -> Self {
        Self { class: class.into(), shape, id: None, crowd: false, difficult: false }
    }
}

/// The labels of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A value per pixel.
    Dense(Mask),
    /// Objects, later ones on top.
    Objects(Vec<Object>),
}

/// The labels of one picture, and how they were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// The picture's width in pixels.
    pub width: usize,
    /// The picture's height in pixels.
    pub height: usize,
    /// How it was labelled.
    pub kind: LabelKind,
    /// The labels.
    pub content: Content,
}

impl Annotation {
    /// The objects; none for a mask.
    pub fn objects(&self) -> &[Object] {
        match &self.content {
            Content::Dense(_) => &[],
            Content::Objects(objects) => objects,
        }
    }

    /// A value for every pixel.
    ///
    /// # Errors
    /// If an object's class has no number.
    pub fn paint(&self, classes: &Classes) -> Result<Mask> {
        match &self.content {
            Content::Dense(mask) => Ok(mask.clone()),
            Content::Objects(objects) => paint(objects, classes, self.width, self.height),
        }
    }
}

/// Paints objects on background. Crowds come first, so that an object known by itself stays; where
/// all else are boxes the smaller ones come later, else the file's order holds.
///
/// # Errors
/// If an object's class has no number, or there is so much to paint that it would take minutes.
pub fn paint(objects: &[Object], classes: &Classes, width: usize, height: usize) -> Result<Mask> {
    shapes::affordable(objects, width, height)?;
    let mut mask = Mask::filled(width, height, BACKGROUND);
    for object in in_order(objects) {
        let value = classes.value(&object.class)?;
        object.shape.paint(&mut mask, if object.crowd { VOID } else { value });
    }
    Ok(mask)
}

/// The objects in the order in which they are painted.
pub fn in_order(objects: &[Object]) -> Vec<&Object> {
    let mut order: Vec<&Object> = objects.iter().collect();
    let area = |object: &Object| match object.shape {
        ObjectShape::Box([left, top, right, bottom]) => (right - left) * (bottom - top),
        _ => 0.0,
    };
    if objects.iter().all(|object| object.crowd || matches!(object.shape, ObjectShape::Box(_))) {
        order.sort_by(|a, b| area(b).total_cmp(&area(a)));
    }
    order.sort_by_key(|object| !object.crowd);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Classes {
        Classes::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn smaller_boxes_win_and_borders_clip() {
        let object = |class: &str, left, right| {
            Object::new(class, ObjectShape::Box([left, 0.0, right, 1.0]))
        };
        let objects = [object("small", 2.0, 3.0), object("big", 1.0, 99.0)];
        let mask = paint(&objects, &classes(&["big", "small"]), 5, 1).unwrap();
        assert_eq!(mask.pixels, [0, 1, 2, 1, 1]);
    }

    #[test]
    fn outlines_are_painted_in_order_and_crowds_first() {
        let square = |left, right| ObjectShape::Polygons(vec![rectangle([left, 0.0, right, 1.0])]);
        let mut crowd = Object::new("a", square(0.0, 3.0));
        crowd.crowd = true;
        let objects = [
            Object::new("a", square(1.0, 4.0)),
            Object::new("b", ObjectShape::Box([2.0, 0.0, 3.0, 1.0])),
            crowd,
            Object::new("__ignore__", square(3.0, 4.0)),
        ];
        let mask = paint(&objects, &classes(&["a", "b"]), 5, 1).unwrap();
        assert_eq!(mask.pixels, [VOID, 1, 2, VOID, 0]);
        let error = paint(&objects, &classes(&["a"]), 5, 1).unwrap_err().to_string();
        assert!(error.contains("`b`") && error.contains("classes.txt"), "{error}");
    }
}
