//! Shapes as the target format has them.

use crate::annotation::{Annotation, Content, Object, ObjectShape, circle};
use crate::convert::outlines::Outliner;
use crate::labels::names::{Classes, reserved};
use crate::labels::{runs, settled, trace};
use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};

/// The values above background that a mask holds.
pub(super) fn values(mask: &Mask) -> Vec<u8> {
    let counts = mask.counts();
    (1..=u8::MAX).filter(|&value| counts[usize::from(value)] > 0).collect()
}

/// For COCO: masks become run lengths, one for each value, or simplified outlines; circles become polygons.
pub(super) fn with_runs(
    annotation: &Annotation,
    classes: &Classes,
    outliner: &Outliner,
) -> Vec<Object> {
    if outliner.tolerance > 0.0 {
        let mut objects = with_groups(annotation, classes, outliner);
        // The number is the annotation's there, and parts of an object are one annotation.
        if matches!(annotation.content, Content::Dense(_)) {
            objects.iter_mut().for_each(|object| object.id = None);
        }
        return without_circles(objects);
    }
    match &annotation.content {
        Content::Dense(mask) => values(mask)
            .into_iter()
            .map(|value| {
                let counts = runs::encode(mask, |other| other == value);
                Object::new(classes.word(value), ObjectShape::Runs(counts))
            })
            .collect(),
        Content::Objects(objects) => without_circles(objects.clone()),
    }
}

fn without_circles(mut objects: Vec<Object>) -> Vec<Object> {
    for object in &mut objects {
        if let ObjectShape::Circle(centre, radius) = object.shape {
            object.shape = ObjectShape::Polygons(vec![circle(centre, radius)]);
        }
    }
    objects
}

/// For LabelMe: run lengths and masks become polygons. Objects of several outlines get a number, by
/// which their parts are told to belong together.
pub(super) fn with_groups(
    annotation: &Annotation,
    classes: &Classes,
    outliner: &Outliner,
) -> Vec<Object> {
    let mut objects = match &annotation.content {
        Content::Dense(mask) => pieces(mask, classes, outliner),
        Content::Objects(objects) => objects.clone(),
    };
    let mut next = objects.iter().filter_map(|object| object.id).max().map_or(0, |id| id + 1);
    for object in &mut objects {
        if let ObjectShape::Runs(counts) = &object.shape {
            object.shape = ObjectShape::Polygons(traced(counts, annotation, outliner));
        }
        if let ObjectShape::Polygons(rings) = &object.shape
            && rings.len() > 1
            && object.id.is_none()
        {
            object.id = Some(next);
            next += 1;
        }
    }
    objects
}

/// For YOLO: every object of a class becomes one outline, or a box.
pub(super) fn with_single_outlines(
    annotation: &Annotation,
    mask: &Mask,
    classes: &Classes,
    outliner: &Outliner,
) -> Vec<Object> {
    let is_class = |object: &Object| {
        let value = classes.value(&object.class);
        !object.crowd && value.is_ok_and(|value| (1..=MAX_CLASSES).contains(&value))
    };
    let objects = match &annotation.content {
        // An outline that takes pixels away has no place in the format.
        Content::Objects(objects)
            if !objects
                .iter()
                .any(|object| reserved(&object.class) == Some(BACKGROUND) && !is_class(object)) =>
        {
            objects.clone()
        }
        _ => pieces(mask, classes, outliner),
    };
    objects
        .into_iter()
        .filter(is_class)
        .filter_map(|object| {
            let rings = match &object.shape {
                ObjectShape::Runs(counts) => traced(counts, annotation, outliner),
                // What was traced and simplified is one outline already.
                ObjectShape::Polygons(rings) if rings.len() == 1 && outliner.tolerance > 0.0 => {
                    return Some(object);
                }
                ObjectShape::Polygons(rings) if !fits(rings, annotation) => {
                    retraced(&object, annotation)
                }
                ObjectShape::Circle(centre, radius) => {
                    let rings = vec![circle(*centre, *radius)];
                    if fits(&rings, annotation) { rings } else { retraced(&object, annotation) }
                }
                _ => return Some(object),
            };
            // What covers no pixel of the picture has no outline.
            (!rings.is_empty()).then_some(Object { shape: ObjectShape::Polygons(rings), ..object })
        })
        .collect()
}

/// Boxes around everything that is a class.
pub(super) fn with_boxes(annotation: &Annotation, classes: &Classes) -> Vec<(Object, [f64; 4])> {
    let objects = match &annotation.content {
        Content::Dense(mask) => pieces(mask, classes, &Outliner::default()),
        Content::Objects(objects) => objects.clone(),
    };
    objects
        .into_iter()
        .filter(|object| {
            let value = classes.value(&object.class);
            !object.crowd && value.is_ok_and(|value| (1..=MAX_CLASSES).contains(&value))
        })
        .filter_map(|object| {
            let sides = object.shape.bounds(annotation.height)?;
            let filled = sides[0] < sides[2] && sides[1] < sides[3];
            filled.then_some((object, sides))
        })
        .collect()
}

/// An object for each connected piece of each value.
fn pieces(mask: &Mask, classes: &Classes, outliner: &Outliner) -> Vec<Object> {
    let object =
        |(value, outline)| Object::new(classes.word(value), ObjectShape::Polygons(vec![outline]));
    outliner.pieces(mask).into_iter().map(object).collect()
}

fn traced(counts: &[u32], annotation: &Annotation, outliner: &Outliner) -> Vec<Vec<[f64; 2]>> {
    let mut mask = Mask::filled(annotation.width, annotation.height, 0);
    runs::paint(&mut mask, counts, 1);
    outliner.pieces(&mask).into_iter().map(|(_, outline)| outline).collect()
}

fn retraced(object: &Object, annotation: &Annotation) -> Vec<Vec<[f64; 2]>> {
    let mut mask = Mask::filled(annotation.width, annotation.height, 0);
    object.shape.paint(&mut mask, 1);
    trace::pieces(&mask, 1)
}

/// Whether one outline through all rings, inside the picture, covers the very same pixels after its
/// corners were written as shares of the picture and read again: where an edge passes through a
/// pixel's centre, the last digit decides.
fn fits(rings: &[Vec<[f64; 2]>], annotation: &Annotation) -> bool {
    let (width, height) = (annotation.width as f64, annotation.height as f64);
    let inside = |&[x, y]: &[f64; 2]| (0.0..=width).contains(&x) && (0.0..=height).contains(&y);
    if !rings.iter().flatten().all(inside) {
        return false;
    }
    let empty = Mask::filled(annotation.width, annotation.height, 0);
    let (mut apart, mut joined) = (empty.clone(), empty);
    ObjectShape::Polygons(rings.to_vec()).paint(&mut apart, 1);
    let mut outline = trace::joined(Vec::new(), rings.iter().cloned());
    for [x, y] in &mut outline {
        (*x, *y) = (settled(*x / width * width), settled(*y / height * height));
    }
    ObjectShape::Polygons(vec![outline]).paint(&mut joined, 1);
    apart == joined
}
