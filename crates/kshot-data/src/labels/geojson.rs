//! GeoJSON in pixels, as QuPath exports the objects of a picture
//! (<https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html>).
//!
//! It does not say its picture: it is for the picture of the file's own name.

use std::path::Path;

use serde_json::Value;

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{FEW_CORNERS, LINE, NO_PLACE, POINT, UNKNOWN_KIND};
use crate::labels::shapes::NoShape;
use crate::labels::trace;

/// The class of features without one.
const NO_CLASS: &str = "object";
/// Properties that name the class.
const NAMES: [&str; 4] = ["classification", "class", "label", "name"];

/// Whether a JSON value is a collection or a list of features.
pub fn is(value: &Value) -> bool {
    let feature = |one: &Value| {
        one.get("type").and_then(Value::as_str) == Some("Feature") && one.get("geometry").is_some()
    };
    match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(feature),
        _ => {
            value.get("type").and_then(Value::as_str) == Some("FeatureCollection")
                && value.get("features").is_some_and(Value::is_array)
        }
    }
}

/// The features of a parsed file. What has no inside is passed over, which the findings say; with one
/// that is wrong the picture is damaged.
///
/// # Errors
/// If it has no features.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let list = value.as_array().or_else(|| value.get("features")?.as_array()).ok_or_else(|| {
        Error::data("not a GeoJSON file kshot can read: it has no features").in_file(path)
    })?;
    let (mut all, mut items) = (FileItems::default(), PictureItems::default());
    for (index, feature) in list.iter().enumerate() {
        let named = class(feature.get("properties").unwrap_or(&Value::Null));
        let shape = shape(feature.get("geometry").unwrap_or(&Value::Null));
        if named.is_none() && shape.is_ok() {
            items.count_unnamed();
        }
        let class = named.unwrap_or_else(|| NO_CLASS.to_owned());
        let object = shape.map(|shape| Object::new(&class, shape));
        items.take(object, || format!("`{class}` (feature {index})"));
    }
    let outlines = items.finish(path, &mut all);
    all.tell(path, NO_CLASS, findings);
    Ok(LabelFile::one(outlines))
}

/// The class that a feature's properties name.
fn class(properties: &Value) -> Option<String> {
    NAMES.iter().find_map(|name| {
        let value = properties.get(name)?;
        // QuPath's classes are objects; those of several parts have a list.
        let parts = value.get("names").and_then(Value::as_array);
        let parts: Option<Vec<&str>> =
            parts.and_then(|parts| parts.iter().map(Value::as_str).collect());
        let text = value.as_str().or_else(|| value.get("name")?.as_str()).map(str::to_owned);
        let text = text.or_else(|| parts.map(|parts| parts.join(": ")))?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// The pixels of a geometry.
fn shape(geometry: &Value) -> Result<ObjectShape, NoShape> {
    let parts = || {
        let parts = geometry.get("coordinates").and_then(Value::as_array);
        parts.ok_or("coordinates that are no list")
    };
    let rings: Vec<Vec<Corner>> = match geometry.get("type").and_then(Value::as_str) {
        Some("Polygon") => outline(parts()?)?.into_iter().collect(),
        Some("MultiPolygon") => {
            let outlines = parts()?.iter().filter_map(|part| match part.as_array() {
                Some(rings) => outline(rings).transpose(),
                None => Some(Err("a polygon that is no list".to_owned())),
            });
            outlines.collect::<Result<_, String>>()?
        }
        Some("Point" | "MultiPoint") => return Err(NoShape::Passed(&POINT)),
        Some("LineString" | "MultiLineString") => return Err(NoShape::Passed(&LINE)),
        None => return Err(NoShape::Passed(&NO_PLACE)),
        Some(_) => return Err(NoShape::Passed(&UNKNOWN_KIND)),
    };
    if rings.is_empty() {
        return Err(NoShape::Passed(&FEW_CORNERS));
    }
    Ok(ObjectShape::Polygons(rings))
}

/// A polygon with its holes as one outline; `None` where it has fewer than 3 corners.
fn outline(rings: &[Value]) -> Result<Option<Vec<Corner>>, String> {
    let mut read = Vec::new();
    for ring in rings {
        read.push(corners(ring)?);
    }
    let mut rings = read.into_iter();
    let outer = rings.next().filter(|ring| ring.len() >= 3);
    Ok(outer.map(|outer| trace::joined(outer, rings.filter(|ring| ring.len() >= 3))))
}

/// The corners of a ring, whose last one is its first again.
fn corners(ring: &Value) -> Result<Vec<Corner>, String> {
    let corner = |place: &Value| Some([place.get(0)?.as_f64()?, place.get(1)?.as_f64()?]);
    let corners: Option<Vec<Corner>> =
        ring.as_array().and_then(|all| all.iter().map(corner).collect());
    let mut corners = corners.ok_or("an outline whose corners are not x and y")?;
    if corners.len() > 1 && corners.first() == corners.last() {
        corners.pop();
    }
    Ok(corners)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::labels::Outlines;
    use crate::mask::Mask;

    fn read(value: &Value) -> (Outlines, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        let read = super::read(Path::new("a.geojson"), value, &mut findings);
        (read.unwrap().pictures.remove(0), findings)
    }

    fn feature(kind: &str, coordinates: &Value) -> Value {
        let geometry = json!({"type": kind, "coordinates": coordinates});
        let properties = json!({"classification": {"name": "cell", "color": [1, 2, 3]}});
        json!({"type": "Feature", "id": "f0", "geometry": geometry, "properties": properties})
    }

    fn square(left: i32, top: i32, side: i32) -> Value {
        let (right, bottom) = (left + side, top + side);
        json!([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
    }

    #[test]
    fn polygons_with_holes_are_read() {
        let polygon = json!([square(1, 1, 3), square(2, 2, 1)]);
        let many = json!([polygon, [square(5, 0, 1)]]);
        let (a, b) = (feature("Polygon", &polygon), feature("MultiPolygon", &many));
        let alone = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0];
        let mut both = alone;
        both[5] = 1;
        for value in [json!([a, b]), json!({"type": "FeatureCollection", "features": [a, b]})] {
            let (outlines, findings) = read(&value);
            assert_eq!((findings.0.len(), outlines.picture, outlines.size), (0, None, None));
            for (object, expected) in outlines.objects.iter().zip([alone, both]) {
                let mut mask = Mask::filled(6, 4, 0);
                object.shape.paint(&mut mask, 1);
                assert_eq!((object.class.as_str(), mask.pixels), ("cell", expected.to_vec()));
            }
            assert_eq!(outlines.objects.len(), 2);
        }
        let (outlines, _) = read(&json!([feature("Polygon", &json!([square(0, 0, 2)]))]));
        let ring = vec![[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]];
        assert_eq!(outlines.objects[0].shape, ObjectShape::Polygons(vec![ring]));
    }

    #[test]
    fn the_class_is_a_property() {
        for (properties, class, notes) in [
            (json!({"classification": "old", "name": "x"}), "old", 0),
            (json!({"classification": {"names": ["Tumor", "Positive"]}}), "Tumor: Positive", 0),
            (json!({"classification": null, "label": " b "}), "b", 0),
            (json!({"class": "c", "name": "x"}), "c", 0),
            (json!({"name": ""}), "object", 1),
            (json!({"classification": {"names": [1]}}), "object", 1),
            (Value::Null, "object", 1),
        ] {
            let mut feature = feature("Polygon", &json!([square(0, 0, 2)]));
            feature["properties"] = properties;
            let (outlines, findings) = read(&json!([feature]));
            assert_eq!(outlines.objects[0].class, class);
            assert_eq!((findings.0.len(), findings.errors()), (notes, 0), "{findings:?}");
        }
    }

    #[test]
    fn what_has_no_inside_is_passed_over() {
        let line = json!([[0, 0], [1, 1], [0, 0]]);
        let mut nowhere = feature("Point", &json!([1, 1]));
        nowhere["geometry"] = Value::Null;
        let (outlines, findings) = read(&json!([
            feature("Point", &json!([1, 1])),
            feature("LineString", &line),
            feature("Polygon", &json!([line])),
            feature("Polygon", &json!([])),
            feature("MultiPolygon", &json!([[], [line]])),
            feature("GeometryCollection", &json!([])),
            nowhere,
        ]));
        assert_eq!(outlines.objects, []);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.starts_with("7 items passed over"), "{findings:?}");
    }

    #[test]
    fn what_is_damaged_is_said() {
        for (kind, coordinates) in [
            ("Polygon", json!([[[0, 0], [1, "NaN"], [1, 1]]])),
            ("Polygon", json!([[[0], [1], [2]]])),
            ("Polygon", json!([3])),
            ("Polygon", json!({})),
            ("MultiPolygon", json!([3])),
        ] {
            let (outlines, findings) = read(&json!([feature(kind, &coordinates)]));
            assert_eq!((outlines.objects.len(), findings.0.len()), (0, 0), "{coordinates}");
            assert!(outlines.damaged.is_some(), "{coordinates}");
        }
        // Far outside is no harm.
        let vast = json!([[[-1e300, -1e300], [1e300, -1e300], [1e300, 1e300]]]);
        let (outlines, _) = read(&json!([feature("Polygon", &vast)]));
        let mut mask = Mask::filled(6, 4, 0);
        outlines.objects[0].shape.paint(&mut mask, 1);
    }

    #[test]
    fn other_files_are_not_its_own() {
        for other in [
            json!([]),
            json!({"type": "Feature"}),
            json!({"type": "FeatureCollection"}),
            json!([{"type": "Feature"}]),
            json!([{"type": "polygon", "geometry": {}}]),
            json!({"type": "instances", "features": []}),
        ] {
            assert!(!is(&other), "{other}");
        }
    }
}
