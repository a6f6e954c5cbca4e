//! CreateML's JSON of boxes: one file for many pictures
//! (<https://developer.apple.com/documentation/createml/building-an-object-detector-data-source>).
//!
//! A box is its centre and its sides, in pixels.

use std::path::Path;

use serde_json::Value;

use crate::annotation::Object;
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::shapes::{NoShape, filled_box};
use crate::labels::{Outlines, tidy};

/// Whether a JSON value is a list of pictures with boxes.
pub fn is(value: &Value) -> bool {
    let picture = |one: &Value| {
        let boxes = annotations(one);
        let boxes = boxes.is_some_and(|all| all.iter().all(|one| one.get("coordinates").is_some()));
        name(one).is_some() && boxes
    };
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(picture))
}

/// The boxes of a parsed file. Empty ones are passed over, which the findings say; a picture with one
/// that is wrong is damaged.
///
/// # Errors
/// If it is no list.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let list = value.as_array().ok_or_else(|| {
        Error::data("not a CreateML file kshot can read: it is no list").in_file(path)
    })?;
    let mut all = FileItems::default();
    let mut pictures = Vec::new();
    for one in list {
        let Some(picture) = name(one) else {
            findings.add(Severity::Error, path, "a picture without a name", "");
            continue;
        };
        let mut items = PictureItems::default();
        for annotation in annotations(one).into_iter().flatten() {
            let class = class(annotation);
            items.take(boxed(annotation, class), || match class {
                Some(class) => format!("`{class}` in `{picture}`"),
                None => format!("a box in `{picture}`"),
            });
        }
        let picture = Some(picture.replace('\\', "/"));
        pictures.push(Outlines { picture, ..items.finish(path, &mut all) });
    }
    all.tell(path, "", findings);
    Ok(LabelFile { classes: Vec::new(), pictures })
}

fn name(picture: &Value) -> Option<&str> {
    ["image", "imagefilename"].iter().find_map(|key| picture.get(key)?.as_str())
}

fn annotations(picture: &Value) -> Option<&Vec<Value>> {
    ["annotations", "annotation"].iter().find_map(|key| picture.get(key)?.as_array())
}

/// The class of a box.
fn class(annotation: &Value) -> Option<&str> {
    let label = annotation.get("label")?;
    // Of several labels the first.
    let label = label.as_array().and_then(|all| all.first()).unwrap_or(label);
    label.as_str().map(str::trim).filter(|label| !label.is_empty())
}

/// A box of a class.
fn boxed(annotation: &Value, class: Option<&str>) -> Result<Object, NoShape> {
    let class = class.ok_or("it has no label")?;
    let number = |key: &str| {
        let number = annotation.get("coordinates").and_then(|all| all.get(key)?.as_f64());
        number.ok_or_else(|| format!("its `{key}` is no number"))
    };
    let (x, y, width, height) = (number("x")?, number("y")?, number("width")?, number("height")?);
    let (across, down) = (width / 2.0, height / 2.0);
    let sides = [x - across, y - down, x + across, y + down].map(tidy);
    Ok(Object::new(class, filled_box(sides)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::annotation::ObjectShape;

    fn read(value: &Value) -> (LabelFile, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        (super::read(Path::new("c.json"), value, &mut findings).unwrap(), findings)
    }

    fn file(annotation: &Value) -> Value {
        json!([{"image": "sub\\a.png", "annotations": [annotation]}])
    }

    #[test]
    fn a_box_is_its_centre_and_its_sides() {
        let place = json!({"x": 71, "y": 32.5, "width": 22, "height": 38});
        let expected = Object::new("bar", ObjectShape::Box([60.0, 13.5, 82.0, 51.5]));
        for label in [json!("bar"), json!(["bar", "other"])] {
            let one = json!({"label": label, "coordinates": place});
            let (labels, findings) = read(&file(&one));
            assert_eq!(findings.0, []);
            assert_eq!(labels.pictures[0].picture.as_deref(), Some("sub/a.png"));
            assert_eq!(labels.pictures[0].objects, std::slice::from_ref(&expected));
            let old = json!([{"imagefilename": "sub/a.png", "annotation": [one]}]);
            assert_eq!(read(&old).0, labels);
        }
        let bare = json!([{"image": "a.png", "annotations": []}]);
        assert_eq!(read(&bare).0.pictures[0].objects, []);
    }

    #[test]
    fn empty_boxes_are_passed_over() {
        for (x, width, height) in [(1.0, 0.0, 1.0), (1.0, 1.0, -1.0), (1e308, 1e308, 1.0)] {
            let place = json!({"x": x, "y": 1, "width": width, "height": height});
            let (labels, findings) = read(&file(&json!({"label": "a", "coordinates": place})));
            assert_eq!(labels.pictures[0].objects, []);
            assert_eq!((findings.0.len(), findings.errors()), (1, 0));
            assert!(findings.0[0].what.contains("1 empty box (`a` in"), "{findings:?}");
        }
    }

    #[test]
    fn what_is_damaged_is_said() {
        let place = json!({"x": 1, "y": 1, "width": 1, "height": 1});
        for (annotation, word) in [
            (json!({"coordinates": place}), "no label"),
            (json!({"label": [], "coordinates": place}), "no label"),
            (json!({"label": " ", "coordinates": place}), "no label"),
            (json!({"label": "a", "coordinates": 3}), "`x`"),
            (json!({"label": "a", "coordinates": {"x": 1, "y": 1, "width": "NaN"}}), "`width`"),
        ] {
            let (labels, findings) = read(&file(&annotation));
            assert_eq!((labels.pictures[0].objects.len(), findings.0.len()), (0, 0));
            let damaged = labels.pictures[0].damaged.as_deref();
            assert!(damaged.is_some_and(|damaged| damaged.contains(word)), "{damaged:?}");
        }
        for other in [
            json!([]),
            json!({"image": "a.png", "annotations": []}),
            json!([{"image": "a.png"}]),
            json!([{"image": "a.png", "annotations": [{"result": []}]}]),
        ] {
            assert!(!is(&other), "{other}");
        }
    }
}
