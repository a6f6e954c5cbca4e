//! JSON of the VGG Image Annotator: annotations of 1.x and 2.x, projects of 2.x
//! (<https://www.robots.ox.ac.uk/~vgg/software/via/>).
//!
//! The class is one attribute of the regions: the first dropdown, radio or text of the project that
//! the regions carry; without one class, label, type, name or category; else the first there is.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{EMPTY_ELLIPSE, FEW_CORNERS, LINE, POINT, UNKNOWN_KIND};
use crate::labels::shapes::{NoShape, ellipse_corners, filled_box};
use crate::labels::{Outlines, tidy};

/// Kinds of a project's attributes that have one value.
const KINDS: [&str; 3] = ["dropdown", "radio", "text"];
/// Names that attributes of classes commonly have.
const NAMES: [&str; 5] = ["class", "label", "type", "name", "category"];
/// The class of regions without one.
const NO_CLASS: &str = "object";

/// Whether a JSON value is a project of VIA, or its pictures by name.
pub fn is(value: &Value) -> bool {
    let has = |file: &Value| file.get("filename").is_some() && file.get("regions").is_some();
    let pictures = value.as_object().filter(|files| !files.is_empty());
    value.get("_via_img_metadata").is_some_and(Value::is_object)
        || pictures.is_some_and(|files| files.values().all(has))
}

/// The regions of a parsed file. What has no inside is passed over, which the findings say; a picture
/// with a region that is wrong is damaged.
///
/// # Errors
/// If it has no pictures.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let files = value.get("_via_img_metadata").unwrap_or(value).as_object().ok_or_else(|| {
        Error::data("not a VIA file kshot can read: it has no pictures").in_file(path)
    })?;
    let listed = value.get("_via_attributes").and_then(|all| all.get("region")?.as_object());
    let attribute = attribute(path, listed, files, findings);
    let options = attribute.and_then(|name| listed?.get(name)?.get("options")?.as_object());
    let classes: Vec<String> =
        options.map(|options| options.keys().cloned().collect()).unwrap_or_default();
    let mut all = FileItems::default();
    let mut pictures = Vec::new();
    for (key, file) in files {
        let Some(picture) = file.get("filename").and_then(Value::as_str) else {
            findings.add(Severity::Error, path, format!("`{key}` has no filename"), "");
            continue;
        };
        let mut items = PictureItems::default();
        for region in regions(file) {
            let class = attribute.and_then(|name| region.get("region_attributes")?.get(name));
            let class = class.and_then(word);
            let shape = shape(region.get("shape_attributes").unwrap_or(&Value::Null));
            if class.is_none() && shape.is_ok() {
                items.count_unnamed();
            }
            let class = class.unwrap_or_else(|| NO_CLASS.to_owned());
            let object = shape.map(|shape| Object::new(&class, shape));
            items.take(object, || format!("`{class}` in `{picture}`"));
        }
        let picture = Some(picture.replace('\\', "/"));
        pictures.push(Outlines { picture, ..items.finish(path, &mut all) });
    }
    all.tell(path, NO_CLASS, findings);
    Ok(LabelFile { classes, pictures })
}

/// The regions of a picture: a list, in 1.x numbered.
fn regions(file: &Value) -> Vec<&Value> {
    match file.get("regions") {
        Some(Value::Array(list)) => list.iter().collect(),
        Some(Value::Object(numbered)) => numbered.values().collect(),
        _ => Vec::new(),
    }
}

/// The attribute that is the class; where there are others, a note says so.
fn attribute<'a>(
    path: &Path,
    listed: Option<&'a Map<String, Value>>,
    files: &'a Map<String, Value>,
    findings: &mut Findings,
) -> Option<&'a str> {
    // By name: whether it is of checkboxes, and its place among those met.
    let mut met: BTreeMap<&'a str, (bool, usize)> = BTreeMap::new();
    for region in files.values().flat_map(regions) {
        let values = region.get("region_attributes").and_then(Value::as_object);
        for (name, value) in values.into_iter().flatten() {
            if word(value).is_some() {
                let place = met.len();
                met.entry(name.as_str()).or_insert((value.is_object(), place));
            }
        }
    }
    let mut order: Vec<(bool, usize, &'a str)> =
        met.iter().map(|(name, (ticks, place))| (*ticks, *place, *name)).collect();
    order.sort_unstable();
    let by_list = listed.into_iter().flatten().find(|(name, about)| {
        let kind = about.get("type").and_then(Value::as_str);
        kind.is_some_and(|kind| KINDS.contains(&kind))
            && met.get(name.as_str()).is_some_and(|(ticks, _)| !*ticks)
    });
    let by_name = || {
        NAMES.iter().find_map(|wanted| {
            let mut words = order.iter().filter(|(ticks, ..)| !*ticks).map(|(_, _, name)| *name);
            words.find(|name| name.eq_ignore_ascii_case(wanted))
        })
    };
    let chosen = by_list
        .map(|(name, _)| name.as_str())
        .or_else(by_name)
        .or_else(|| order.first().map(|(_, _, name)| *name))?;
    let others = order.iter().map(|(_, _, name)| *name).filter(|name| *name != chosen);
    let others: Vec<String> = others.take(3).map(|name| format!("`{name}`")).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        let what = format!("the class is the region attribute `{chosen}`; others are {others}");
        findings.add(Severity::Note, path, what, "");
    }
    Some(chosen)
}

/// The class that a value of an attribute names; of checkboxes the first that is ticked.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(boxes) => boxes
            .iter()
            .find(|(_, ticked)| **ticked == Value::Bool(true))
            .map(|(name, _)| name.clone()),
        _ => None,
    }
}

/// The pixels of a shape.
fn shape(of: &Value) -> Result<ObjectShape, NoShape> {
    let number = |key: &str| -> Result<f64, String> {
        let number = of.get(key).and_then(Value::as_f64);
        number.ok_or_else(|| format!("its `{key}` is no number"))
    };
    let list = |key: &str| -> Result<Vec<f64>, String> {
        let numbers = of.get(key).and_then(Value::as_array);
        let numbers = numbers.and_then(|all| all.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| format!("its `{key}` is no list of numbers"))
    };
    match of.get("name").and_then(Value::as_str).unwrap_or_default() {
        "polygon" => {
            let (across, down) = (list("all_points_x")?, list("all_points_y")?);
            if across.len() != down.len() {
                return Err(format!("it has {} x, but {} y", across.len(), down.len()).into());
            }
            let ring: Vec<Corner> = across.into_iter().zip(down).map(|(x, y)| [x, y]).collect();
            if ring.len() < 3 {
                return Err(NoShape::Passed(&FEW_CORNERS));
            }
            Ok(ObjectShape::Polygons(vec![ring]))
        }
        "rect" => {
            let (left, top) = (number("x")?, number("y")?);
            let (right, bottom) = (left + number("width")?, top + number("height")?);
            filled_box([left, top, tidy(right), tidy(bottom)])
        }
        "circle" => match ([number("cx")?, number("cy")?], number("r")?) {
            (centre, radius) if radius > 0.0 => Ok(ObjectShape::Circle(centre, radius)),
            _ => Err(NoShape::Passed(&EMPTY_ELLIPSE)),
        },
        "ellipse" => {
            let (centre, radii) = ([number("cx")?, number("cy")?], [number("rx")?, number("ry")?]);
            let angle = of.get("theta").and_then(Value::as_f64).unwrap_or(0.0);
            if radii[0] > 0.0 && radii[1] > 0.0 {
                Ok(ObjectShape::Polygons(vec![ellipse_corners(centre, radii, angle)]))
            } else {
                Err(NoShape::Passed(&EMPTY_ELLIPSE))
            }
        }
        "polyline" => Err(NoShape::Passed(&LINE)),
        "point" => Err(NoShape::Passed(&POINT)),
        "" => Err("it has no shape".into()),
        _ => Err(NoShape::Passed(&UNKNOWN_KIND)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mask::Mask;

    fn read(value: &Value) -> (LabelFile, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        (super::read(Path::new("via.json"), value, &mut findings).unwrap(), findings)
    }

    fn region(shape: &Value) -> Value {
        json!({"shape_attributes": shape, "region_attributes": {"label": "a"}})
    }

    fn file(regions: &Value) -> Value {
        json!({"a.png12": {"filename": "a.png", "size": 12, "regions": regions}})
    }

    fn painted(shape: &ObjectShape) -> Vec<u8> {
        let mut mask = Mask::filled(6, 4, 0);
        shape.paint(&mut mask, 1);
        mask.pixels
    }

    #[test]
    fn shapes_of_every_kind_are_read() {
        let of = [
            json!({"name": "polygon", "all_points_x": [0, 4, 4], "all_points_y": [0, 0, 3.5]}),
            json!({"name": "rect", "x": 1, "y": 0.5, "width": 2, "height": 1.5}),
            json!({"name": "circle", "cx": 3, "cy": 2, "r": 1.5}),
        ];
        let expected = [
            ObjectShape::Polygons(vec![vec![[0.0, 0.0], [4.0, 0.0], [4.0, 3.5]]]),
            ObjectShape::Box([1.0, 0.5, 3.0, 2.0]),
            ObjectShape::Circle([3.0, 2.0], 1.5),
        ];
        let [a, b, c] = of.each_ref().map(region);
        let new = json!([a.clone(), b.clone(), c.clone()]);
        let old = json!({"0": a, "1": b, "2": c});
        for regions in [new, old] {
            let (labels, findings) = read(&file(&regions));
            assert_eq!(findings.0, []);
            assert_eq!(labels.pictures[0].picture.as_deref(), Some("a.png"));
            let objects = expected.clone().map(|shape| Object::new("a", shape));
            assert_eq!(labels.pictures[0].objects, objects);
        }
    }

    #[test]
    fn an_ellipse_is_turned_from_right_to_down() {
        let shape = |theta: f64| {
            let of = json!({"name": "ellipse", "cx": 3, "cy": 2, "rx": 2, "ry": 1, "theta": theta});
            read(&file(&json!([region(&of)]))).0.pictures[0].objects[0].shape.clone()
        };
        let lying = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(painted(&shape(0.0)), lying);
        let upright = [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0];
        assert_eq!(painted(&shape(std::f64::consts::FRAC_PI_2)), upright);
        let oblique = ellipse_corners([3.0, 2.0], [2.5, 0.5], std::f64::consts::FRAC_PI_4);
        let oblique = painted(&ObjectShape::Polygons(vec![oblique]));
        assert_eq!((oblique[3 * 6 + 4], oblique[4]), (1, 0));
    }

    #[test]
    fn what_has_no_inside_is_passed_over() {
        let regions = [
            json!({"name": "point", "cx": 1, "cy": 1}),
            json!({"name": "polyline", "all_points_x": [0, 1, 2], "all_points_y": [0, 1, 1]}),
            json!({"name": "polygon", "all_points_x": [0, 1], "all_points_y": [0, 1]}),
            json!({"name": "rect", "x": 1, "y": 1, "width": -2, "height": 1}),
            json!({"name": "rect", "x": 1e308, "y": 1, "width": 1e308, "height": 1}),
            json!({"name": "circle", "cx": 1, "cy": 1, "r": -1}),
            json!({"name": "ellipse", "cx": 1, "cy": 1, "rx": 1, "ry": 0, "theta": 0}),
            json!({"name": "spiral"}),
        ];
        let (labels, findings) = read(&file(&json!(regions.each_ref().map(region))));
        assert_eq!(labels.pictures[0].objects, []);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.starts_with("8 items passed over"), "{findings:?}");
    }

    #[test]
    fn what_is_damaged_is_said() {
        for (of, word) in [
            (json!({"name": "polygon", "all_points_x": [0, 1, 2], "all_points_y": [0]}), "3 x"),
            (json!({"name": "polygon", "all_points_x": ["NaN"], "all_points_y": [0]}), "points_x"),
            (json!({"name": "polygon"}), "points_x"),
            (json!({"name": "rect", "x": null, "y": 1, "width": 2, "height": 1}), "`x`"),
            (json!({"name": "circle", "cx": 1, "cy": 1}), "`r`"),
            (Value::Null, "no shape"),
        ] {
            let (labels, findings) = read(&file(&json!([region(&of)])));
            assert_eq!((labels.pictures[0].objects.len(), findings.0.len()), (0, 0));
            let damaged = labels.pictures[0].damaged.as_deref();
            assert!(damaged.is_some_and(|damaged| damaged.contains(word)), "{damaged:?}");
        }
        let project = json!({"_via_img_metadata": {"a.png12": {"regions": 3}}});
        assert_eq!(read(&project).1.errors(), 1);
        for other in [json!({}), json!([]), json!({"shapes": []}), json!({"a": {"regions": []}})] {
            assert!(!is(&other), "{other}");
        }
    }

    #[test]
    fn the_class_is_an_attribute() {
        for (attributes, class, notes) in [
            (json!({"name": "x", "Type": " cat "}), "cat", 1),
            (json!({"colour": "red"}), "red", 0),
            (json!({"label": {"x": true}, "colour": "red"}), "red", 1),
            (json!({"id": 7}), "7", 0),
            (json!({"kind": {"dead": false, "cell": true, "more": true}}), "cell", 0),
            (json!({"label": "", "kind": {}}), "object", 1),
            (json!({}), "object", 1),
        ] {
            let shape = json!({"name": "circle", "cx": 1, "cy": 1, "r": 1});
            let mut region = region(&shape);
            region["region_attributes"] = attributes;
            let (labels, findings) = read(&file(&json!([region])));
            assert_eq!(labels.pictures[0].objects[0].class, class);
            assert_eq!((findings.0.len(), findings.errors()), (notes, 0), "{findings:?}");
        }
    }

    #[test]
    fn a_project_lists_its_classes() {
        let shape = json!({"name": "circle", "cx": 1, "cy": 1, "r": 1});
        let attributes = json!({"note": "", "tick": {"x": true}, "class": "no", "kind": "a"});
        let region = json!({"shape_attributes": shape, "region_attributes": attributes});
        let project = json!({
            "_via_settings": {},
            "_via_img_metadata": file(&json!([region])),
            "_via_attributes": {"file": {}, "region": {
                "note": {"type": "text"},
                "tick": {"type": "checkbox", "options": {"x": ""}},
                "kind": {"type": "dropdown", "options": {"b": "B", "a": "A"}},
            }},
        });
        let (labels, findings) = read(&project);
        assert_eq!(labels.classes, ["b", "a"]);
        assert_eq!(labels.pictures[0].objects[0].class, "a");
        assert_eq!((findings.0.len(), findings.0[0].severity), (1, Severity::Note));
        assert!(findings.0[0].what.contains("`kind`; others are `class`, `tick`"), "{findings:?}");
    }
}
