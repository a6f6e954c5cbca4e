//! Datumaro's own JSON: one file for many pictures
//! (<https://open-edge-platform.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html>).
//!
//! Annotations with the same group are parts of one object. The box of an object that has an outline,
//! too, is passed over.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{
    EMPTY_ELLIPSE, EMPTY_MASK, FEW_CORNERS, LINE, POINT, TAG, UNKNOWN_KIND,
};
use crate::labels::shapes::{NoShape, ellipse_corners, filled_box};
use crate::labels::{Outlines, names, runs, tidy};
use crate::names::{counted, listed};

/// The class of annotations without one.
const NO_CLASS: &str = "object";
/// Kinds of annotations that say which pixels are an object's.
const OUTLINES: [&str; 3] = ["polygon", "mask", "ellipse"];

/// Whether a JSON value has Datumaro's categories and items.
pub fn is(value: &Value) -> bool {
    let items = value.get("items").and_then(Value::as_array);
    value.get("categories").is_some_and(Value::is_object)
        && items.is_some_and(|items| items.iter().all(|item| item.get("id").is_some()))
}

/// The annotations of a parsed file. What has no inside is passed over, which the findings say; a
/// picture with one that is wrong is damaged.
///
/// # Errors
/// If a class has no name, or there are no items.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let wrong = |what: &str| {
        Error::data(format!("not a Datumaro file kshot can read: {what}")).in_file(path)
    };
    let items = value.get("items").and_then(Value::as_array);
    let items = items.ok_or_else(|| wrong("it has no items"))?;
    let labels =
        value.get("categories").and_then(|all| all.get("label")?.get("labels")?.as_array());
    let labels = labels.into_iter().flatten();
    let names: Option<Vec<String>> =
        labels.map(|label| Some(label.get("name")?.as_str()?.to_owned())).collect();
    let classes = names.ok_or_else(|| wrong("a label without a name"))?;
    let mut all = FileItems::default();
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let mut pictures = Vec::new();
    for item in items {
        let (picture, mut size) = picture(item);
        let picture = picture.unwrap_or_default();
        let list = item.get("annotations").and_then(Value::as_array).into_iter().flatten();
        let mut list: Vec<&Value> = list.collect();
        list.sort_by_key(|one| one.get("z_order").and_then(Value::as_i64).unwrap_or(0));
        let outlined: HashSet<(i64, Option<u64>)> = list
            .iter()
            .filter(|one| OUTLINES.contains(&kind(one)))
            .filter_map(|one| Some((group(one)?, label(one))))
            .collect();
        let mut items = PictureItems::default();
        for one in list {
            let group = group(one);
            if kind(one) == "bbox" && group.is_some_and(|id| outlined.contains(&(id, label(one)))) {
                continue;
            }
            let of = one.get("label_id").filter(|of| !of.is_null());
            let at = label(one).and_then(|at| usize::try_from(at).ok());
            let class = match (of, at.and_then(|at| classes.get(at))) {
                (_, Some(class)) => class.as_str(),
                (None, None) => NO_CLASS,
                (Some(of), None) => {
                    *unknown.entry(of.to_string()).or_default() += 1;
                    continue;
                }
            };
            let is = |key: &str| {
                let value = one.get("attributes").and_then(|all| all.get(key));
                value.and_then(Value::as_bool) == Some(true)
            };
            let read = shape(one, &mut size).map(|shape| Object {
                id: group,
                crowd: is("is_crowd") && names::reserved(class).is_none(),
                difficult: is("difficult"),
                ..Object::new(class, shape)
            });
            if of.is_none() && read.is_ok() {
                items.count_unnamed();
            }
            items.take(read, || match kind(one) {
                "" => format!("`{class}` in `{picture}`"),
                kind => format!("{kind} `{class}` in `{picture}`"),
            });
        }
        let picture = Some(picture).filter(|name| !name.is_empty());
        pictures.push(Outlines { picture, size, ..items.finish(path, &mut all) });
    }
    all.tell(path, NO_CLASS, findings);
    if !unknown.is_empty() {
        let of = |(id, count): (&String, &usize)| {
            format!("{id} ({})", counted(*count, "annotation", "annotations"))
        };
        let ids: Vec<String> = unknown.iter().map(of).collect();
        let what = format!("label ids out of range: {}", listed(&ids, 6));
        let todo = "add them to the labels of `categories`, or mend the annotations";
        findings.add(Severity::Error, path, what, todo);
    }
    Ok(LabelFile { classes, pictures })
}

/// The picture of an item, and its size.
fn picture(item: &Value) -> (Option<String>, Option<(usize, usize)>) {
    let image = item.get("image").or_else(|| item.get("media")).unwrap_or(&Value::Null);
    let file = image.get("path").and_then(Value::as_str).filter(|file| !file.is_empty());
    let picture = file.or_else(|| item.get("id")?.as_str()).map(|name| name.replace('\\', "/"));
    let side = |at: usize| {
        let side = image.get("size")?.get(at)?.as_f64()?;
        (side >= 1.0).then_some(side as usize)
    };
    (picture, side(1).zip(side(0)))
}

fn kind(annotation: &Value) -> &str {
    annotation.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn label(annotation: &Value) -> Option<u64> {
    annotation.get("label_id").and_then(Value::as_u64)
}

/// What an annotation is a part of; 0 is nothing.
fn group(annotation: &Value) -> Option<i64> {
    annotation.get("group").and_then(Value::as_i64).filter(|group| *group != 0)
}

/// The pixels of an annotation. A mask says the picture's size.
fn shape(annotation: &Value, size: &mut Option<(usize, usize)>) -> Result<ObjectShape, NoShape> {
    let list = |key: &str| -> Result<Vec<f64>, String> {
        let numbers = annotation.get(key).and_then(Value::as_array);
        let numbers = numbers.and_then(|all| all.iter().map(Value::as_f64).collect());
        numbers.ok_or_else(|| format!("its `{key}` is no list of numbers"))
    };
    let four = |key: &str| -> Result<[f64; 4], String> {
        let numbers = list(key)?;
        let count = numbers.len();
        <[f64; 4]>::try_from(numbers).map_err(|_| format!("its `{key}` is {count} numbers, not 4"))
    };
    match kind(annotation) {
        "polygon" => {
            let numbers = list("points")?;
            if numbers.len() % 2 != 0 {
                let count = numbers.len();
                return Err(format!("an outline of {count} numbers; they must be pairs").into());
            }
            if numbers.len() < 6 {
                return Err(NoShape::Passed(&FEW_CORNERS));
            }
            let ring = numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
            Ok(ObjectShape::Polygons(vec![ring]))
        }
        "bbox" => {
            let [left, top, width, height] = four("bbox")?;
            filled_box([left, top, tidy(left + width), tidy(top + height)])
        }
        "ellipse" => {
            let [left, top, right, bottom] = four("points")?;
            let radii = [(right - left) / 2.0, (bottom - top) / 2.0];
            if radii[0] > 0.0 && radii[1] > 0.0 {
                let ring = ellipse_corners([left + radii[0], top + radii[1]], radii, 0.0);
                Ok(ObjectShape::Polygons(vec![ring]))
            } else {
                Err(NoShape::Passed(&EMPTY_ELLIPSE))
            }
        }
        "mask" => {
            let counts = counts(annotation.get("rle").unwrap_or(&Value::Null), size)?;
            if runs::area(&counts) > 0 {
                Ok(ObjectShape::Runs(counts))
            } else {
                Err(NoShape::Passed(&EMPTY_MASK))
            }
        }
        "points" => Err(NoShape::Passed(&POINT)),
        "polyline" => Err(NoShape::Passed(&LINE)),
        "label" | "caption" => Err(NoShape::Passed(&TAG)),
        _ => Err(NoShape::Passed(&UNKNOWN_KIND)),
    }
}

/// The run lengths of a mask, which are COCO's.
fn counts(rle: &Value, size: &mut Option<(usize, usize)>) -> Result<Vec<u32>, String> {
    let side = |at: usize| usize::try_from(rle.get("size")?.get(at)?.as_u64()?).ok();
    let own = side(1).zip(side(0)).ok_or("run lengths without a size of [height, width]")?;
    let (width, height) = own;
    let (w, h) = *size.get_or_insert(own);
    if own != (w, h) {
        return Err(format!("run lengths of {width} x {height} pixels in a picture of {w} x {h}"));
    }
    let counts = match rle.get("counts") {
        Some(Value::String(text)) => runs::decompress(text)?,
        Some(Value::Array(list)) => {
            let count = |count: &Value| u32::try_from(count.as_u64()?).ok();
            let counts: Option<Vec<u32>> = list.iter().map(count).collect();
            counts.ok_or("run lengths that are no whole numbers")?
        }
        _ => return Err("run lengths without counts".to_owned()),
    };
    runs::check(&counts, own)?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mask::Mask;

    /// What Datumaro wrote (`golden/make_formats.py`).
    const GOLDEN: &str = include_str!("../../../../golden/formats/datumaro.json");

    fn read(value: &Value) -> (LabelFile, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        (super::read(Path::new("d.json"), value, &mut findings).unwrap(), findings)
    }

    fn file(annotations: &Value) -> Value {
        let image = json!({"path": "a.png", "size": [4, 6]});
        let item = json!({"id": "a", "annotations": annotations, "image": image});
        let labels = json!([{"name": "cell"}, {"name": "tip"}]);
        json!({"info": {}, "categories": {"label": {"labels": labels}}, "items": [item]})
    }

    #[test]
    fn what_datumaro_writes_is_read() {
        let (labels, findings) = read(&serde_json::from_str(GOLDEN).unwrap());
        assert_eq!(labels.classes, ["tissue", "cell"]);
        let outlines = &labels.pictures[0];
        assert_eq!(outlines.picture.as_deref(), Some("sub_a.jpg"));
        assert_eq!(outlines.size, Some((6, 4)));
        let said: Vec<(&str, Option<i64>, bool)> =
            outlines.objects.iter().map(|one| (one.class.as_str(), one.id, one.crowd)).collect();
        // By `z_order`.
        let expected = [
            ("tissue", Some(1), false),
            ("tissue", Some(2), true),
            ("cell", None, false),
            ("cell", Some(7), false),
            ("cell", None, false),
        ];
        assert_eq!(said, expected);
        let ring = vec![[0.0, 0.0], [6.0, 0.0], [6.0, 4.0], [0.0, 4.0]];
        let cell = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0];
        let cell = runs::encode(&Mask::from_pixels(6, 4, cell.to_vec()).unwrap(), |v| v == 1);
        let expected = [
            ObjectShape::Polygons(vec![ring]),
            ObjectShape::Runs(cell),
            ObjectShape::Box([1.0, 1.0, 3.5, 3.0]),
            ObjectShape::Runs(vec![16, 1, 3, 2, 2]),
        ];
        for (object, shape) in outlines.objects.iter().zip(&expected) {
            assert_eq!(&object.shape, shape);
        }
        let mut mask = Mask::filled(6, 4, 0);
        outlines.objects[4].shape.paint(&mut mask, 1);
        let round = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(mask.pixels, round);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.starts_with("3 items passed over"), "{findings:?}");
    }

    #[test]
    fn a_box_beside_its_outline_is_no_object() {
        let rle = json!({"size": [4, 6], "counts": [16, 1, 7]});
        let (labels, findings) = read(&file(&json!([
            {"type": "bbox", "label_id": 1, "group": 3, "bbox": [0, 0, 6, 4]},
            {"type": "mask", "label_id": 1, "group": 3, "rle": rle},
            {"type": "bbox", "label_id": 0, "group": 3, "bbox": [0, 0, 6, 4]},
        ])));
        let classes: Vec<&str> =
            labels.pictures[0].objects.iter().map(|one| one.class.as_str()).collect();
        assert_eq!((classes, findings.0), (vec!["tip", "cell"], vec![]));
    }

    #[test]
    fn a_mask_says_the_size_and_an_id_the_name() {
        let rle = json!({"size": [4, 6], "counts": [16, 1, 7]});
        let mut value = file(&json!([{"type": "mask", "label_id": null, "rle": rle}]));
        value["items"][0]["image"] = json!({"path": ""});
        let (labels, findings) = read(&value);
        let outlines = &labels.pictures[0];
        assert_eq!((outlines.picture.as_deref(), outlines.size), (Some("a"), Some((6, 4))));
        assert_eq!(outlines.objects[0].class, "object");
        assert_eq!((findings.0.len(), findings.0[0].severity), (1, Severity::Note));
    }

    #[test]
    fn what_has_no_inside_is_passed_over() {
        let rle = json!({"size": [4, 6], "counts": [24]});
        let annotations = json!([
            {"type": "polygon", "label_id": 0, "points": [0, 0, 1, 1]},
            {"type": "bbox", "label_id": 0, "bbox": [1, 1, -1, 1]},
            {"type": "bbox", "label_id": 0, "bbox": [1e308, 1, 1e308, 1]},
            {"type": "ellipse", "label_id": 0, "points": [1, 1, 1, 3]},
            {"type": "mask", "label_id": 0, "rle": rle},
            {"type": "cuboid_3d", "label_id": 0},
            {"type": "caption", "caption": "a cell"},
            {},
        ]);
        let (labels, findings) = read(&file(&annotations));
        assert_eq!(labels.pictures[0].objects, []);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.starts_with("8 items passed over"), "{findings:?}");
    }

    #[test]
    fn what_is_damaged_is_said() {
        let mask = |size: Value, counts: Value| {
            let rle = json!({"size": size, "counts": counts});
            json!({"type": "mask", "label_id": 0, "rle": rle})
        };
        for (annotation, word) in [
            (json!({"type": "polygon", "label_id": 0, "points": [0, 1, 2, 3, 4, 5, 6]}), "pairs"),
            (json!({"type": "polygon", "label_id": 0, "points": [0, "NaN"]}), "points"),
            (json!({"type": "bbox", "label_id": 0, "bbox": [1, 2]}), "not 4"),
            (json!({"type": "bbox", "label_id": 7, "bbox": [1, 2, 3, 4]}), "7 (1 annotation)"),
            (json!({"type": "bbox", "label_id": -1, "bbox": [1, 2, 3, 4]}), "out of range"),
            (json!({"type": "mask", "label_id": 0}), "without a size"),
            (mask(json!([4, 6]), json!([9])), "9 pixels in all"),
            (mask(json!([6, 4]), json!([24])), "4 x 6"),
            (mask(json!([1u64 << 40, 1u64 << 40]), json!("0")), "run lengths of"),
            (mask(json!([20_000, 20_000]), json!("0")), "run lengths of"),
            (mask(json!([4, 6]), json!([-4, 28])), "whole numbers"),
            (mask(json!([4, 6]), json!("~~")), "damaged"),
            (mask(json!([4, 6]), Value::Null), "without counts"),
        ] {
            let (labels, findings) = read(&file(&json!([annotation])));
            assert_eq!(labels.pictures[0].objects, []);
            let said = labels.pictures[0].damaged.clone();
            let said = said.or_else(|| findings.0.first().map(|finding| finding.what.clone()));
            assert!(said.as_ref().is_some_and(|said| said.contains(word)), "{said:?}");
        }
        let mut nameless = file(&json!([]));
        nameless["categories"]["label"]["labels"][1] = json!({});
        let read = super::read(Path::new("d.json"), &nameless, &mut Findings::default());
        assert!(read.unwrap_err().to_string().contains("a label without a name"));
        let coco = json!({"images": [], "annotations": [], "categories": []});
        for other in [coco, json!({"categories": {}, "items": [3]}), json!([])] {
            assert!(!is(&other), "{other}");
        }
    }
}
