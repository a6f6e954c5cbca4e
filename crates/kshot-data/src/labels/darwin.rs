//! V7's Darwin JSON 2.0 and 1.0, a file for each picture
//! (<https://darwin-public.s3.eu-west-1.amazonaws.com/darwin_json/2.0/schema.json>).
//!
//! Masks lie together in one raster layer: pairs of a value and a count, row by row. Annotations of
//! the kind `mask` name the classes of its values.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::image::MOST_PIXELS;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{
    EMPTY_ELLIPSE, EMPTY_MASK, FEW_CORNERS, LINE, POINT, Reason, SKELETON, TAG, UNKNOWN_KIND, VIDEO,
};
use crate::labels::runs::by_columns;
use crate::labels::shapes::{NoShape, ellipse_corners, filled_box};
use crate::labels::{Outlines, tidy, trace};

/// Kinds without an inside, and why they are passed over. They may have a box beside them.
const PASSED: [(&str, &Reason); 5] = [
    ("keypoint", &POINT),
    ("line", &LINE),
    ("skeleton", &SKELETON),
    ("tag", &TAG),
    ("frames", &VIDEO),
];

/// Whether a JSON value is Darwin's of a picture.
pub fn is(value: &Value) -> bool {
    let has = |item: &str, name: &str| value.get(item).is_some_and(|item| item.get(name).is_some());
    let annotations = value.get("annotations").and_then(Value::as_array);
    (has("item", "name") || has("image", "filename"))
        && annotations.is_some_and(|all| all.iter().all(|one| one.get("name").is_some()))
}

/// The annotations of a parsed file. What has no inside is passed over, which the findings say; with
/// one that is wrong the picture is damaged.
///
/// # Errors
/// If it has no annotations.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let annotations = value.get("annotations").and_then(Value::as_array).ok_or_else(|| {
        Error::data("not a Darwin file kshot can read: it has no annotations").in_file(path)
    })?;
    let (picture, size) = item(value);
    let id = |one: &Value| one.get("id").and_then(Value::as_str).map(str::to_owned);
    let mut masks: HashMap<String, &Value> = HashMap::new();
    for mask in annotations.iter().filter(|one| one.get("mask").is_some()) {
        if let Some(id) = id(mask) {
            masks.insert(id, mask);
        }
    }
    let mut painted: HashSet<String> = HashSet::new();
    let (mut all, mut items) = (FileItems::default(), PictureItems::default());
    for (index, one) in annotations.iter().enumerate() {
        let name = || format!("`{}` (annotation {index})", class(one));
        if let Some(raster) = one.get("raster_layer") {
            let layers = layers(raster, size).unwrap_or_else(|what| {
                items.damage(format!("{}: {what}", name()));
                Vec::new()
            });
            for (id, counts) in layers {
                match (masks.get(id), counts) {
                    (Some(mask), Some(counts)) => {
                        items.take(Ok(object(mask, ObjectShape::Runs(counts))), name);
                        painted.insert(id.to_owned());
                    }
                    (Some(_), None) => {}
                    (None, _) => {
                        let what = format!("it paints `{id}`, which no mask is called");
                        items.damage(format!("{}: {what}", name()));
                    }
                }
            }
            continue;
        }
        if one.get("mask").is_some() {
            continue;
        }
        items.take(shape(one).map(|shape| object(one, shape)), name);
    }
    for mask in annotations.iter().filter(|one| one.get("mask").is_some()) {
        if id(mask).is_none_or(|id| !painted.contains(&id)) {
            items.pass_over(&EMPTY_MASK, format!("`{}`", class(mask)));
        }
    }
    let outlines = items.finish(path, &mut all);
    all.tell(path, "", findings);
    Ok(LabelFile::one(Outlines { picture, size, ..outlines }))
}

/// The picture's name with its folder, and its size.
fn item(value: &Value) -> (Option<String>, Option<(usize, usize)>) {
    let (item, name) = match value.get("item") {
        Some(item) => (item, "name"),
        None => (value.get("image").unwrap_or(&Value::Null), "filename"),
    };
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let folder = text("path").unwrap_or_default().trim_matches('/');
    let picture = text(name).map(|name| match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    });
    let slot = item.get("slots").and_then(Value::as_array).and_then(|slots| slots.first());
    let side = |key: &str| {
        let side = slot.unwrap_or(item).get(key)?.as_f64()?;
        (side >= 1.0).then_some(side as usize)
    };
    (picture, side("width").zip(side("height")))
}

fn class(annotation: &Value) -> &str {
    annotation.get("name").and_then(Value::as_str).unwrap_or_default().trim()
}

fn object(annotation: &Value, shape: ObjectShape) -> Object {
    let mut object = Object::new(class(annotation), shape);
    let number = annotation.get("instance_id").and_then(|id| id.get("value"));
    object.id = number.and_then(Value::as_i64);
    object
}

/// The pixels of an annotation.
fn shape(annotation: &Value) -> Result<ObjectShape, NoShape> {
    let of = |key: &str| annotation.get(key).filter(|value| value.is_object());
    if class(annotation).is_empty() {
        return Err("it has no name".into());
    }
    if let Some(polygon) = of("polygon") {
        let all = |key: &str| polygon.get(key).and_then(Value::as_array);
        let first = polygon.get("path").into_iter();
        let old = first.chain(all("additional_paths").into_iter().flatten());
        let paths: Vec<&Value> =
            all("paths").map_or_else(|| old.collect(), |new| new.iter().collect());
        let mut rings = Vec::new();
        for path in paths {
            rings.push(ring(path)?);
        }
        rings.retain(|ring| ring.len() >= 3);
        let outline = trace::joined(Vec::new(), rings);
        return if outline.is_empty() {
            Err(NoShape::Passed(&FEW_CORNERS))
        } else {
            Ok(ObjectShape::Polygons(vec![outline]))
        };
    }
    if let Some(round) = of("ellipse") {
        let centre = round.get("center").and_then(corner).ok_or("an ellipse without a center")?;
        let radii = round.get("radius").and_then(corner).ok_or("an ellipse without a radius")?;
        let angle = round.get("angle").and_then(Value::as_f64).unwrap_or(0.0);
        return if radii[0] > 0.0 && radii[1] > 0.0 {
            Ok(ObjectShape::Polygons(vec![ellipse_corners(centre, radii, angle)]))
        } else {
            Err(NoShape::Passed(&EMPTY_ELLIPSE))
        };
    }
    if let Some((_, why)) = PASSED.iter().find(|(key, _)| annotation.get(key).is_some()) {
        return Err(NoShape::Passed(why));
    }
    let Some(sides) = of("bounding_box") else {
        return Err(NoShape::Passed(&UNKNOWN_KIND));
    };
    let number = |key: &str| {
        let number = sides.get(key).and_then(Value::as_f64);
        number.ok_or_else(|| format!("a box whose `{key}` is no number"))
    };
    let (left, top) = (number("x")?, number("y")?);
    filled_box([left, top, tidy(left + number("w")?), tidy(top + number("h")?)])
}

fn ring(path: &Value) -> Result<Vec<Corner>, String> {
    let corners = path.as_array().and_then(|all| all.iter().map(corner).collect());
    corners.ok_or_else(|| "an outline whose corners are not x and y".to_owned())
}

fn corner(value: &Value) -> Option<Corner> {
    Some([value.get("x")?.as_f64()?, value.get("y")?.as_f64()?])
}

/// The run lengths of masks by their ids; `None` of one without a pixel.
type Layers<'a> = Vec<(&'a str, Option<Vec<u32>>)>;

/// The masks of a raster layer.
fn layers(raster: &Value, size: Option<(usize, usize)>) -> Result<Layers<'_>, String> {
    let (width, height) = size.ok_or("masks in a picture without a size")?;
    let pixels = width.checked_mul(height).filter(|pixels| *pixels <= MOST_PIXELS);
    let pixels = pixels.ok_or_else(|| format!("masks in a picture of {width} x {height}"))?;
    let ids = raster.get("mask_annotation_ids_mapping").and_then(Value::as_object);
    let ids = ids.ok_or("a raster layer without mask_annotation_ids_mapping")?;
    let mut numbers: HashMap<u64, u16> = HashMap::new();
    for (index, (id, value)) in ids.iter().enumerate() {
        let value = value.as_u64().filter(|value| *value > 0);
        let value = value.ok_or_else(|| format!("the value of `{id}` is no number above 0"))?;
        let number = u16::try_from(index + 1).map_err(|_| "a raster layer of too many masks")?;
        numbers.insert(value, number);
    }
    let pairs = raster.get("dense_rle").and_then(Value::as_array);
    let pairs = pairs.ok_or("a raster layer without dense_rle")?;
    let mut rows: Vec<Vec<Range<usize>>> = vec![Vec::new(); ids.len()];
    let mut at = 0usize;
    for pair in pairs.chunks(2) {
        let number = |at: usize| pair.get(at).and_then(Value::as_u64);
        let (Some(value), Some(count)) = (number(0), number(1)) else {
            return Err("a dense_rle that is not pairs of a value and a count".to_owned());
        };
        let number = if value == 0 { Some(0) } else { numbers.get(&value).copied() };
        let number = number.ok_or_else(|| format!("the value {value} is of no mask"))?;
        let count = usize::try_from(count).ok().filter(|count| *count <= pixels - at);
        let count = count.ok_or_else(|| format!("a dense_rle of more than {pixels} pixels"))?;
        if number > 0 && count > 0 {
            rows[usize::from(number) - 1].push(at..at + count);
        }
        at += count;
    }
    if at != pixels {
        return Err(format!("a dense_rle of {at} pixels, but {pixels} in the picture"));
    }
    let runs = rows
        .into_iter()
        .map(|rows| (!rows.is_empty()).then(|| by_columns(&rows, width, [0, 0], (width, height))));
    Ok(ids.keys().map(String::as_str).zip(runs).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels::runs;
    use crate::mask::Mask;

    /// What V7's own package wrote (`golden/make_formats.py`).
    const GOLDEN: &str = include_str!("../../../../golden/formats/darwin.json");
    /// The same with masks, which it read back.
    const MASKS: &str = include_str!("../../../../golden/formats/darwin_masks.json");
    const CELL: [u8; 24] = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0];

    fn read(value: &Value) -> (Outlines, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        let read = super::read(Path::new("a.json"), value, &mut findings);
        (read.unwrap().pictures.remove(0), findings)
    }

    fn file(annotations: &Value) -> Value {
        let slots = json!([{"slot_name": "0", "width": 6, "height": 4}]);
        let item = json!({"name": "a.png", "path": "/", "slots": slots});
        json!({"version": "2.0", "item": item, "annotations": annotations})
    }

    fn painted(shape: &ObjectShape) -> Vec<u8> {
        let mut mask = Mask::filled(6, 4, 0);
        shape.paint(&mut mask, 1);
        mask.pixels
    }

    #[test]
    fn polygons_and_boxes_are_read() {
        let (outlines, findings) = read(&serde_json::from_str(GOLDEN).unwrap());
        assert_eq!(outlines.picture.as_deref(), Some("sub/a.png"));
        assert_eq!(outlines.size, Some((6, 4)));
        let [cell, sides] = outlines.objects.as_slice() else { panic!("{outlines:?}") };
        assert_eq!((cell.class.as_str(), painted(&cell.shape)), ("cell", CELL.to_vec()));
        assert_eq!(sides, &Object::new("box", ObjectShape::Box([1.0, 1.0, 3.5, 3.0])));
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(
            findings.0[0]
                .what
                .contains("1 label of a whole picture, which has no place (`picture`")
        );
    }

    #[test]
    fn masks_of_a_raster_layer_are_read() {
        let (outlines, findings) = read(&serde_json::from_str(MASKS).unwrap());
        assert_eq!(findings.0, []);
        let cell = runs::encode(&Mask::from_pixels(6, 4, CELL.to_vec()).unwrap(), |v| v == 1);
        let expected = [("cell", cell), ("tip", vec![16, 1, 3, 2, 2])];
        let expected = expected.map(|(class, runs)| Object::new(class, ObjectShape::Runs(runs)));
        assert_eq!(outlines.objects, expected);
    }

    #[test]
    fn the_older_version_is_read() {
        let at = |points: &[[i32; 2]]| -> Vec<Value> {
            points.iter().map(|[x, y]| json!({"x": x, "y": y})).collect()
        };
        let outer = at(&[[1, 1], [4, 1], [4, 4], [1, 4]]);
        let holes = [at(&[[2, 2], [3, 2], [3, 3], [2, 3]]), at(&[[5, 0], [6, 0]])];
        let polygon = json!({"path": outer, "additional_paths": holes});
        let annotation = json!({"name": " cell ", "polygon": polygon, "instance_id": {"value": 7}});
        let image = json!({"filename": "a.png", "width": 6, "height": 4.0});
        let (outlines, findings) = read(&json!({"image": image, "annotations": [annotation]}));
        assert_eq!((outlines.picture.as_deref(), outlines.size), (Some("a.png"), Some((6, 4))));
        let cell = &outlines.objects[0];
        assert_eq!((cell.class.as_str(), cell.id), ("cell", Some(7)));
        assert_eq!((painted(&cell.shape), findings.0), (CELL.to_vec(), vec![]));
    }

    #[test]
    fn an_ellipse_is_read_and_not_its_box() {
        let round = json!({"angle": 0.0, "center": {"x": 3, "y": 2}, "radius": {"x": 2, "y": 1}});
        let sides = json!({"x": 0, "y": 0, "w": 6, "h": 4});
        let annotation = json!({"name": "a", "ellipse": round, "bounding_box": sides});
        let (outlines, _) = read(&file(&json!([annotation])));
        let expected = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(painted(&outlines.objects[0].shape), expected);
    }

    #[test]
    fn what_has_no_inside_is_passed_over() {
        let corner = json!({"x": 1, "y": 1});
        let sides = json!({"x": 1e308, "y": 0, "w": 1e308, "h": 4});
        let annotations = json!([
            {"name": "a", "keypoint": corner},
            {"name": "a", "line": {"path": [corner, corner]}, "bounding_box": sides},
            {"name": "a", "skeleton": {"nodes": []}},
            {"name": "a", "polygon": {"paths": [[corner, corner]]}},
            {"name": "a", "polygon": {"paths": []}},
            {"name": "a", "ellipse": {"center": corner, "radius": {"x": 1, "y": -1}}},
            {"name": "a", "bounding_box": sides},
            {"name": "a", "bounding_box": {"x": 1, "y": 1, "w": -1, "h": 1}},
            {"name": "a", "cuboid": {}},
            {"name": "a", "frames": {}},
            {"name": "a", "id": "b", "mask": {}},
        ]);
        let (outlines, findings) = read(&file(&annotations));
        assert_eq!(outlines.objects, []);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.starts_with("11 items passed over"), "{findings:?}");
    }

    #[test]
    fn what_is_damaged_is_said() {
        let raster = |values: Value, pairs: Value| {
            let layer = json!({"mask_annotation_ids_mapping": values, "dense_rle": pairs});
            json!({"name": "layer", "raster_layer": layer})
        };
        for (annotation, word) in [
            (json!({"name": "a", "polygon": {"paths": [[{"x": 1, "y": "NaN"}]]}}), "x and y"),
            (json!({"name": "a", "polygon": {"path": 3}}), "x and y"),
            (json!({"name": "a", "bounding_box": {"x": 1, "y": 1, "w": null, "h": 1}}), "`w`"),
            (json!({"name": "a", "ellipse": {"center": {"x": 1, "y": 1}}}), "radius"),
            (json!({"name": 3, "bounding_box": {}}), "no name"),
            (raster(json!({"b": 1}), json!([0, 23, 1])), "pairs"),
            (raster(json!({"b": 1}), json!([0, 24, -1, 1])), "pairs"),
            (raster(json!({"b": 1}), json!([0, 9e9 as u64])), "more than 24"),
            (raster(json!({"b": 1}), json!([0, 20])), "20 pixels"),
            (raster(json!({"b": 1}), json!([0, 20, 2, 4])), "value 2"),
            (raster(json!({"b": 0}), json!([0, 24])), "`b`"),
            (raster(json!({"b": 1}), json!([0, 20, 1, 4])), "`b`"),
            (raster(json!(null), json!([])), "mapping"),
        ] {
            let (outlines, findings) = read(&file(&json!([annotation])));
            assert_eq!((outlines.objects.len(), findings.errors()), (0, 0), "{annotation}");
            let damaged = outlines.damaged;
            assert!(damaged.as_ref().is_some_and(|what| what.contains(word)), "{damaged:?}");
        }
        for side in [json!(1e18), json!(20_000)] {
            let mut vast = file(&json!([raster(json!({"b": 1}), json!([0, 24]))]));
            vast["item"]["slots"][0]["width"] = side.clone();
            vast["item"]["slots"][0]["height"] = side;
            assert!(read(&vast).0.damaged.is_some());
        }
    }

    #[test]
    fn other_files_are_not_its_own() {
        let coco = json!({"images": [], "annotations": [], "categories": []});
        let unnamed = file(&json!([{"polygon": {}}]));
        for other in [coco, unnamed, json!([]), json!({"item": {"name": "a"}})] {
            assert!(!is(&other), "{other}");
        }
    }
}
