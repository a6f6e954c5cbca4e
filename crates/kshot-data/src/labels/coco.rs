//! COCO's JSON: one file for many pictures (<https://cocodataset.org/#format-data>).
//!
//! Outlines and run lengths are shapes; an annotation without either is its `bbox`. Crowds
//! (`iscrowd`) are void: many objects outlined together teach neither the class's pixels nor the
//! background's. CVAT marks what is painted with a brush as crowds, too: these are objects. Void and unlabelled pixels of our own are written as categories `void` and
//! `unlabelled` with the supercategory `kshot`, as crowds, so that other readers pass over them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{EMPTY_BOX, FEW_CORNERS};
use crate::labels::shapes::NoShape;
use crate::labels::{Outlines, boxes, runs};
use crate::names::{counted, listed};

/// The supercategory of void and unlabelled.
pub const OURS: &str = "kshot";
/// How `info.description` of our own files begins.
pub const MADE_BY: &str = "written by kshot";

#[derive(Deserialize)]
struct RawImage {
    id: Value,
    file_name: String,
    #[serde(default)]
    width: Option<f64>,
    #[serde(default)]
    height: Option<f64>,
}

#[derive(Deserialize)]
struct RawCategory {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct RawAnnotation {
    #[serde(default)]
    id: Value,
    image_id: Value,
    category_id: i64,
    #[serde(default)]
    segmentation: Value,
    #[serde(default)]
    bbox: Option<Vec<f64>>,
    #[serde(default)]
    iscrowd: Value,
    #[serde(default)]
    difficult: Value,
    #[serde(default)]
    group_id: Option<i64>,
    #[serde(default)]
    attributes: Value,
}

/// Whether a JSON value has COCO's three lists.
pub fn is(value: &Value) -> bool {
    ["images", "annotations", "categories"]
        .iter()
        .all(|key| value.get(key).is_some_and(Value::is_array))
}

/// Reads a parsed file; single annotations that are wrong go to the findings.
///
/// # Errors
/// If an image or a category is damaged.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let description = value.get("info").and_then(|info| info.get("description"));
    let ours = description.and_then(Value::as_str).is_some_and(|text| text.starts_with(MADE_BY));
    let list = |key: &str| value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let wrong = |what: &str, index: usize, error: &dyn std::fmt::Display| {
        Error::data(format!("item {index} of `{what}` is not as in COCO: {error}")).in_file(path)
    };
    let mut categories: Vec<RawCategory> = Vec::new();
    for (index, item) in list("categories").iter().enumerate() {
        categories.push(
            RawCategory::deserialize(item).map_err(|error| wrong("categories", index, &error))?,
        );
    }
    categories.sort_by_key(|category| category.id);
    let names: HashMap<i64, &str> =
        categories.iter().map(|category| (category.id, category.name.as_str())).collect();
    if names.len() < categories.len() {
        findings.add(
            Severity::Error,
            path,
            "two categories have the same id",
            "give each category an id of its own and export again",
        );
    }
    let mut pictures: Vec<Outlines> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, item) in list("images").iter().enumerate() {
        let image = RawImage::deserialize(item).map_err(|error| wrong("images", index, &error))?;
        if places.insert(image.id.to_string(), pictures.len()).is_some() {
            let what = format!("two images have the id {}", image.id);
            findings.add(Severity::Error, path, what, "give each image an id of its own");
        }
        let side = |side: Option<f64>| side.filter(|side| *side >= 1.0).map(|side| side as usize);
        pictures.push(Outlines {
            picture: Some(image.file_name.replace('\\', "/")),
            size: side(image.width).zip(side(image.height)),
            ..Outlines::new(path)
        });
    }
    let mut unknown: BTreeMap<i64, usize> = BTreeMap::new();
    let mut homeless: BTreeMap<String, usize> = BTreeMap::new();
    let mut items: Vec<PictureItems> = Vec::new();
    items.resize_with(pictures.len(), PictureItems::default);
    let annotations = list("annotations");
    let brushed = !ours && all_crowds(annotations);
    for (index, item) in annotations.iter().enumerate() {
        let annotation = match RawAnnotation::deserialize(item) {
            Ok(annotation) => annotation,
            Err(error) => {
                findings.fails(path, &wrong("annotations", index, &error));
                continue;
            }
        };
        let Some(&place) = places.get(&annotation.image_id.to_string()) else {
            *homeless.entry(annotation.image_id.to_string()).or_default() += 1;
            continue;
        };
        let Some(name) = names.get(&annotation.category_id) else {
            *unknown.entry(annotation.category_id).or_default() += 1;
            continue;
        };
        // Run lengths say of which size the picture must be, where the file does not.
        if pictures[place].size.is_none() {
            pictures[place].size = runs_size(&annotation.segmentation);
        }
        let read = object(&annotation, name, pictures[place].size)
            .map(|object| Object { crowd: object.crowd && !brushed, ..object });
        items[place].take(read, || {
            let picture = pictures[place].picture.as_deref().unwrap_or_default();
            format!("annotation {} of `{picture}`", annotation.id)
        });
    }
    let mut all = FileItems::default();
    let whole = pictures.into_iter().zip(items).map(|(picture, items)| {
        let Outlines { objects, damaged, .. } = items.finish(path, &mut all);
        Outlines { objects, damaged, ..picture }
    });
    let pictures: Vec<Outlines> = whole.collect();
    all.tell(path, "", findings);
    if brushed {
        findings.add(
            Severity::Warning,
            path,
            "every annotation is marked as a crowd, as CVAT marks what is painted with a brush: they are read as objects",
            "",
        );
    }
    if !unknown.is_empty() {
        let what = format!("category ids out of range: {}", with_counts(&unknown));
        let todo = "add them to `categories`, or mend the annotations";
        findings.add(Severity::Error, path, what, todo);
    }
    if !homeless.is_empty() {
        let what = format!("annotations of images that are not listed: {}", with_counts(&homeless));
        findings.add(Severity::Error, path, what, "add them to `images`, or mend the annotations");
    }
    let classes = categories.into_iter().map(|category| category.name).collect();
    Ok(LabelFile { classes, pictures })
}

fn with_counts<T: std::fmt::Display>(ids: &BTreeMap<T, usize>) -> String {
    let of = |(id, count): (&T, &usize)| {
        format!("{id} ({})", counted(*count, "annotation", "annotations"))
    };
    let ids: Vec<String> = ids.iter().map(of).collect();
    listed(&ids, 6)
}

/// Whether all annotations are crowds of run lengths: as labels they would say nothing of any class.
fn all_crowds(annotations: &[Value]) -> bool {
    let crowd = |one: &Value| {
        let key = |key: &str| one.get(key).unwrap_or(&Value::Null);
        truth(key("iscrowd")) && key("segmentation").is_object()
    };
    !annotations.is_empty() && annotations.iter().all(crowd)
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or(false) || value.as_f64().unwrap_or(0.0) != 0.0
}

fn object(
    raw: &RawAnnotation,
    name: &str,
    size: Option<(usize, usize)>,
) -> Result<Object, NoShape> {
    let sides = raw.bbox.as_deref().map(|sides| match *sides {
        [left, top, width, height] => {
            Ok([left, top, crate::labels::tidy(left + width), crate::labels::tidy(top + height)])
        }
        _ => Err("a bbox that is not of 4 numbers"),
    });
    let shape = match &raw.segmentation {
        Value::Array(rings) if !rings.is_empty() => {
            // A single outline is often written without the outer list.
            let flat = rings[0].is_number();
            let one = [raw.segmentation.clone()];
            let rings = if flat { &one[..] } else { rings };
            let rings: Vec<_> = rings.iter().map(ring).collect::<Result<_, _>>()?;
            ObjectShape::Polygons(rings.into_iter().filter(|ring| ring.len() >= 3).collect())
        }
        Value::Object(_) => ObjectShape::Runs(counts(&raw.segmentation, size)?),
        _ => ObjectShape::Box(sides.ok_or("neither a segmentation nor a bbox of 4 numbers")??),
    };
    match &shape {
        ObjectShape::Polygons(rings) if rings.is_empty() => return Err((&FEW_CORNERS).into()),
        ObjectShape::Box(sides) if boxes::check(*sides).is_err() => return Err((&EMPTY_BOX).into()),
        _ => {}
    }
    // CVAT has no crowds of its own: what it marks so was painted with a brush.
    let cvat = raw.attributes.get("occluded").is_some() && raw.segmentation.is_object();
    let crowd = truth(&raw.iscrowd) && !cvat && crate::labels::names::reserved(name).is_none();
    Ok(Object {
        class: name.to_owned(),
        shape,
        id: raw.group_id.or(raw.id.as_i64()),
        crowd,
        difficult: truth(&raw.difficult),
    })
}

fn ring(value: &Value) -> Result<Vec<[f64; 2]>, String> {
    let numbers: Option<Vec<f64>> =
        value.as_array().and_then(|items| items.iter().map(Value::as_f64).collect());
    let numbers = numbers.ok_or("an outline that is no list of numbers")?;
    if numbers.len() % 2 == 1 {
        return Err(format!("an outline of {} numbers; it must be x, y, x, y, ...", numbers.len()));
    }
    Ok(numbers.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}

/// The string of run lengths of which Python's `str` made `b'...'`.
fn as_written_by_python(text: &str) -> &str {
    let inside = |quote: char| text.strip_prefix('b')?.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"')).unwrap_or(text)
}

/// Width and height of run lengths.
fn runs_size(value: &Value) -> Option<(usize, usize)> {
    let sides = value.get("size")?.as_array()?;
    let side = |at: usize| usize::try_from(sides.get(at)?.as_u64()?).ok();
    (sides.len() == 2).then(|| side(1).zip(side(0)))?
}

fn counts(value: &Value, size: Option<(usize, usize)>) -> Result<Vec<u32>, String> {
    let Some((width, height)) = runs_size(value) else {
        return Err("run lengths without a size of [height, width]".to_owned());
    };
    if let Some((w, h)) = size
        && (width, height) != (w, h)
    {
        return Err(format!("run lengths of {width} x {height} pixels in a picture of {w} x {h}"));
    }
    let counts = match value.get("counts") {
        Some(Value::String(text)) => runs::decompress(as_written_by_python(text))?,
        Some(Value::Array(counts)) => counts
            .iter()
            .map(|count| count.as_u64().and_then(|count| u32::try_from(count).ok()))
            .collect::<Option<_>>()
            .ok_or("run lengths that are no whole numbers")?,
        _ => return Err("run lengths without counts".to_owned()),
    };
    runs::check(&counts, (width, height))?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels::coco_text::{CocoPicture, text};
    use crate::rle::compress;

    fn read(value: Value) -> (LabelFile, Findings) {
        let mut findings = Findings::default();
        assert!(is(&value));
        (super::read(Path::new("c.json"), &value, &mut findings).unwrap(), findings)
    }

    fn file(annotation: Value) -> Value {
        json!({"images": [{"id": "x", "file_name": "sub\\a.jpg", "width": 3, "height": 2}],
            "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}],
            "annotations": [annotation]})
    }

    #[test]
    fn shapes_of_every_kind_are_read() {
        for (segmentation, expected) in [
            (
                json!([[0, 0, 2, 0, 2, 1.5]]),
                ObjectShape::Polygons(vec![vec![[0.0, 0.0], [2.0, 0.0], [2.0, 1.5]]]),
            ),
            (json!({"size": [2, 3], "counts": [1, 2, 3]}), ObjectShape::Runs(vec![1, 2, 3])),
            (
                json!({"size": [2, 3], "counts": compress(&[1, 2, 3])}),
                ObjectShape::Runs(vec![1, 2, 3]),
            ),
            (json!([]), ObjectShape::Box([1.0, 0.5, 3.0, 2.0])),
            (Value::Null, ObjectShape::Box([1.0, 0.5, 3.0, 2.0])),
        ] {
            let mut value = file(json!({"id": 5, "image_id": "x", "category_id": 90,
                "segmentation": segmentation, "bbox": [1, 0.5, 2, 1.5], "iscrowd": 1}));
            value["info"] = json!({"description": MADE_BY});
            let (file, findings) = read(value);
            assert_eq!(findings.0, []);
            assert_eq!(file.classes, ["cat", "dog"]);
            assert_eq!(file.pictures[0].picture.as_deref(), Some("sub/a.jpg"));
            let object = &file.pictures[0].objects[0];
            assert_eq!((&object.shape, object.id, object.crowd), (&expected, Some(5), true));
            assert_eq!(object.class, "dog");
        }
    }

    #[test]
    fn what_cvat_paints_is_an_object() {
        let runs = json!({"size": [2, 3], "counts": [1, 2, 3]});
        let brush =
            json!({"id": 1, "image_id": "x", "category_id": 7, "segmentation": runs, "iscrowd": 1});
        let (all, findings) = read(file(brush.clone()));
        assert!(!all.pictures[0].objects[0].crowd && findings.0[0].what.contains("CVAT"));
        // Among others, by what only CVAT writes.
        for (attributes, crowd) in [(json!({"occluded": false}), false), (json!({}), true)] {
            let mut value = file(json!({"id": 2, "image_id": "x", "category_id": 90, "iscrowd": 0,
                "segmentation": [[0, 0, 2, 0, 2, 1.5]]}));
            let mut brush = brush.clone();
            brush["attributes"] = attributes;
            value["annotations"].as_array_mut().unwrap().push(brush);
            let (mixed, findings) = read(value);
            assert_eq!((mixed.pictures[0].objects[1].crowd, findings.0.len()), (crowd, 0));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (annotation, word) in [
            (json!({"image_id": "x", "category_id": 8, "bbox": [0, 0, 1, 1]}), "8 (1 annotation)"),
            (json!({"image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1]}), "not listed"),
            (json!({"image_id": "x", "category_id": 7}), "neither"),
            (json!({"image_id": "x", "category_id": 7, "bbox": [0, 0, 1]}), "4 numbers"),
            (
                json!({"image_id": "x", "category_id": 7, "segmentation": [[1, 2, 3, 4, 5]]}),
                "5 numbers",
            ),
            (
                json!({"image_id": "x", "category_id": 7, "segmentation": {"size": [2, 3], "counts": [9]}}),
                "9 pixels in all",
            ),
            (
                json!({"image_id": "x", "category_id": 7, "segmentation": {"size": [9, 3], "counts": "0"}}),
                "3 x 9",
            ),
            (json!({"image_id": "x"}), "category_id"),
        ] {
            let (file, findings) = read(file(annotation));
            let damaged = file.pictures[0].damaged.clone();
            let said = damaged.or_else(|| findings.0.first().map(|finding| finding.what.clone()));
            assert!(said.as_ref().is_some_and(|said| said.contains(word)), "{said:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut objects = vec![
            (
                Object::new(
                    "dog",
                    ObjectShape::Polygons(vec![vec![[0.0, 0.25], [2.0, 0.0], [2.0, 1.5]]]),
                ),
                2,
            ),
            (Object::new("void", ObjectShape::Runs(vec![1, 2, 3])), 2),
            (Object::new("cat", ObjectShape::Box([0.5, 0.0, 1.0, 2.0])), 1),
        ];
        objects[2].0.difficult = true;
        objects[0].0.crowd = true;
        for (id, (object, _)) in objects.iter_mut().enumerate() {
            object.id = Some(id as i64 + 40);
        }
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let picture = |objects| CocoPicture { name: "a.jpg".into(), width: 3, height: 2, objects };
        let text = text(&classes, &["void".to_owned()], &[picture(objects.clone())]);
        let (file, findings) = read(serde_json::from_str(&text).unwrap());
        assert_eq!(
            (findings.0, file.classes),
            (vec![], ["cat", "dog", "void"].map(str::to_owned).to_vec())
        );
        let back: Vec<_> = objects.into_iter().map(|(object, _)| object).collect();
        assert_eq!(file.pictures[0].objects, back);
    }
}
