//! LabelMe's JSON, one file beside each picture (<https://github.com/wkentaro/labelme>).
//!
//! `__ignore__` is void and `_background_` background, as in LabelMe's own exporters. A crowd
//! (several objects in one outline) has no place of its own there: it is written as `__ignore__`
//! with the description `crowd of CLASS`.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::annotation::{Corner, Object, ObjectShape, rectangle};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{
    EMPTY_ELLIPSE, FEW_CORNERS, LINE, POINT, UNKNOWN_KIND, WRONG_CORNERS,
};
use crate::labels::shapes::{NoShape, filled_box, pixel_size};
use crate::labels::{Outlines, boxes, brush};

/// The label of void outlines.
const IGNORE: &str = "__ignore__";
/// How the description of a crowd begins.
const CROWD: &str = "crowd of ";
/// The flag of what is hard to see.
const DIFFICULT: &str = "difficult";

#[derive(Deserialize)]
struct LabelmeFile {
    shapes: Vec<ReadOutline>,
    #[serde(rename = "imagePath")]
    image: Option<String>,
    /// Whole numbers, which some tools write as `64.0`.
    #[serde(rename = "imageWidth")]
    width: Option<f64>,
    #[serde(rename = "imageHeight")]
    height: Option<f64>,
}

/// As LabelMe's relatives write it: any key may be null or missing, numbers may be text.
#[derive(Deserialize)]
struct ReadOutline {
    label: Value,
    points: Vec<Corner>,
    #[serde(default)]
    group_id: Value,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    shape_type: Option<String>,
    #[serde(default)]
    flags: Value,
    /// A PNG in base64, of the box between the two points.
    #[serde(default)]
    mask: Option<String>,
}

impl ReadOutline {
    fn label(&self) -> String {
        match &self.label {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        }
    }

    fn group(&self) -> Option<i64> {
        match &self.group_id {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_i64().or_else(|| other.as_f64().map(|number| number as i64)),
        }
    }

    fn kind(&self) -> &str {
        self.shape_type.as_deref().unwrap_or("polygon")
    }
}

#[derive(Serialize)]
struct Outline {
    label: String,
    points: Vec<Corner>,
    group_id: Option<i64>,
    description: Option<String>,
    shape_type: String,
    flags: serde_json::Map<String, Value>,
    mask: Option<String>,
}

/// Whether a JSON value is LabelMe's.
pub fn is(value: &Value) -> bool {
    value.get("shapes").is_some()
}

/// The outlines of a parsed LabelMe file. What has no inside (points, lines) is passed over, which the findings say.
///
/// # Errors
/// If it is damaged.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let file = LabelmeFile::deserialize(value).map_err(|error| {
        Error::data(format!("not a LabelMe file kshot can read: {error}"))
            .in_file(path)
            .caused_by(error)
    })?;
    let side = |side: Option<f64>| side.filter(|side| *side >= 1.0).map(|side| side as usize);
    let size = side(file.width).zip(side(file.height));
    let (mut all, mut items) = (FileItems::default(), PictureItems::default());
    for (index, outline) in file.shapes.iter().enumerate() {
        let read = shape(outline, size).map(|shape| object(outline, shape));
        // Neighbours in one group are parts of one object.
        if let (Some(last), Ok(object)) = (items.last_mut(), &read)
            && let ObjectShape::Polygons(new) = &object.shape
            && object.id.is_some()
            && (last.id, &last.class, last.crowd) == (object.id, &object.class, object.crowd)
            && let ObjectShape::Polygons(rings) = &mut last.shape
        {
            rings.extend(new.iter().cloned());
            continue;
        }
        items.take(read, || format!("{} `{}` (shape {index})", outline.kind(), outline.label()));
    }
    let outlines = items.finish(path, &mut all);
    all.tell(path, "", findings);
    Ok(LabelFile::one(Outlines { picture: file.image, size, ..outlines }))
}

/// What somebody outlined.
fn object(outline: &ReadOutline, shape: ObjectShape) -> Object {
    let label = outline.label();
    let crowd = outline.description.as_deref().and_then(|text| text.strip_prefix(CROWD));
    let crowd = crowd.filter(|_| label == IGNORE);
    Object {
        id: outline.group(),
        crowd: crowd.is_some(),
        difficult: outline.flags.get(DIFFICULT).and_then(Value::as_bool) == Some(true),
        class: crowd.map_or(label, str::to_owned),
        shape,
    }
}

/// The pixels of a shape.
fn shape(outline: &ReadOutline, size: Option<(usize, usize)>) -> Result<ObjectShape, NoShape> {
    Ok(match (outline.kind(), outline.points.as_slice()) {
        // A rotated rectangle of other tools is its four corners.
        ("polygon" | "rotation", points) if points.len() >= 3 => {
            ObjectShape::Polygons(vec![points.to_vec()])
        }
        ("rectangle", &[[ax, ay], [bx, by]]) => filled_box(boxes::sorted([ax, ay, bx, by]))?,
        // LabelMe 6 writes all four corners.
        ("rectangle", points) if points.len() == 4 => {
            let shape = ObjectShape::Polygons(vec![points.to_vec()]);
            match shape.bounds(0) {
                Some(sides) if same_corners(points, &rectangle(sides)) => ObjectShape::Box(sides),
                _ => shape,
            }
        }
        ("circle", &[[x, y], [u, v]]) if [x, y] == [u, v] => {
            return Err(NoShape::Passed(&EMPTY_ELLIPSE));
        }
        ("circle", &[[x, y], [u, v]]) => ObjectShape::Circle([x, y], (u - x).hypot(v - y)),
        ("mask", &[[left, top], ..]) => {
            let mask = outline.mask.as_deref().ok_or("it has no `mask`".to_owned());
            let runs = mask.and_then(|mask| painted(mask, [left, top], size));
            ObjectShape::Runs(runs?)
        }
        ("point" | "points", _) => return Err(NoShape::Passed(&POINT)),
        ("line" | "linestrip", _) => return Err(NoShape::Passed(&LINE)),
        ("polygon" | "rotation", _) => return Err(NoShape::Passed(&FEW_CORNERS)),
        ("rectangle" | "circle" | "mask", _) => return Err(NoShape::Passed(&WRONG_CORNERS)),
        _ => return Err(NoShape::Passed(&UNKNOWN_KIND)),
    })
}

/// The run lengths of a PNG in base64, which lies at a corner of a picture.
fn painted(
    base64: &str,
    [left, top]: Corner,
    size: Option<(usize, usize)>,
) -> Result<Vec<u32>, String> {
    size.ok_or("the file does not say imageWidth and imageHeight")?;
    let size = pixel_size(size)?;
    let bytes = STANDARD.decode(base64).map_err(|error| format!("no base64: {error}"))?;
    let piece = brush::piece(&bytes, size)?.into_luma8();
    let inside = |x: u32, y: u32| piece.get_pixel(x, y).0[0] > 0;
    let corner = [left.round() as i64, top.round() as i64];
    let counts = brush::placed(piece.dimensions(), inside, corner, size);
    Ok(counts.unwrap_or_else(|| vec![(size.0 * size.1) as u32]))
}

fn same_corners(a: &[Corner], b: &[Corner]) -> bool {
    a.len() == b.len() && a.iter().all(|corner| b.contains(corner))
}

/// The text of a LabelMe file of 5.x: `picture` is the picture's path from the JSON's folder. Runs of
/// pixels must have become polygons before.
pub fn text(picture: &str, width: usize, height: usize, objects: &[&Object]) -> String {
    let mut shapes = Vec::new();
    for object in objects {
        let mut push = |points: Vec<Corner>, kind: &str| {
            let mut flags = serde_json::Map::new();
            if object.difficult {
                flags.insert(DIFFICULT.to_owned(), true.into());
            }
            shapes.push(Outline {
                label: if object.crowd { IGNORE.to_owned() } else { object.class.clone() },
                points,
                group_id: object.id,
                description: object.crowd.then(|| format!("{CROWD}{}", object.class)),
                shape_type: kind.to_owned(),
                flags,
                mask: None,
            });
        };
        match &object.shape {
            ObjectShape::Polygons(rings) => {
                for ring in rings {
                    push(ring.clone(), "polygon");
                }
            }
            ObjectShape::Circle([x, y], radius) => push(vec![[*x, *y], [x + radius, *y]], "circle"),
            ObjectShape::Box([left, top, right, bottom]) => {
                push(vec![[*left, *top], [*right, *bottom]], "rectangle");
            }
            ObjectShape::Runs(_) => {}
        }
    }
    let file = json!({
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": picture,
        "imageData": null, "imageHeight": height, "imageWidth": width,
    });
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;

    fn read_with(text: &str, findings: &mut Findings) -> Result<Outlines> {
        let value: Value = serde_json::from_str(text).unwrap();
        super::read(Path::new("a.json"), &value, findings).map(|mut file| file.pictures.remove(0))
    }

    fn read(text: &str) -> Result<Outlines> {
        read_with(text, &mut Findings::default())
    }

    #[test]
    fn what_is_written_reads_back() {
        let triangle = |x: f64| vec![[x, 0.1], [x + 2.5, 0.0], [x, 3.0]];
        let mut objects = vec![
            Object::new("b", ObjectShape::Polygons(vec![triangle(0.0), triangle(5.25)])),
            Object::new("a", ObjectShape::Box([1.0, 0.5, 2.0, 2.0])),
            Object::new("a", ObjectShape::Circle([4.0, 4.0], 2.0)),
            Object::new("a", ObjectShape::Polygons(vec![triangle(1.0)])),
        ];
        objects[0].id = Some(7);
        objects[1].difficult = true;
        objects[3].crowd = true;
        let text = text("a.png", 9, 8, &objects.iter().collect::<Vec<_>>());
        let back = read(&text).unwrap();
        assert_eq!(back.objects, objects);
        assert_eq!((back.size, back.picture.as_deref()), (Some((9, 8)), Some("a.png")));
    }

    #[test]
    fn a_shape_without_an_inside_is_passed_over() {
        let text = r#"{"shapes": [
            {"label": "tip", "points": [[0, 0]], "shape_type": "point"},
            {"label": "x", "points": [[0, 0]], "shape_type": "spiral"},
            {"label": "a", "points": [[0, 0], [4, 0], [0, 4]], "shape_type": "polygon"}]}"#;
        let mut findings = Findings::default();
        let outlines = read_with(text, &mut findings).unwrap();
        assert_eq!(outlines.objects.len(), 1);
        let what = "2 items passed over: 1 item of a kind kshot does not read (spiral `x` (shape 1)); 1 point, which \
            has no inside (point `tip` (shape 0))";
        assert!(findings.0[0].what.starts_with(what), "{:?}", findings.0);
        assert!(read(r#"{"shapes": 3}"#).unwrap_err().to_string().contains("not a LabelMe file"));
    }

    #[test]
    fn null_text_and_fractions_are_read_as_meant() {
        let back = read(
            r#"{"shapes": [{"label": 1, "points": [[0, 0], [4, 0], [0, 4]], "group_id": "1", "flags": null,
                "shape_type": null, "description": null, "mask": null}],
                "imagePath": null, "imageHeight": 64.0, "imageWidth": 96, "imageData": null, "flags": null}"#,
        )
        .unwrap();
        assert_eq!((back.size, back.picture), (Some((96, 64)), None));
        assert_eq!((&*back.objects[0].class, back.objects[0].id), ("1", Some(1)));
    }

    #[test]
    fn a_mask_lies_at_its_corner() {
        let mut png = Vec::new();
        let piece = image::GrayImage::from_raw(2, 2, vec![255, 0, 255, 255]).unwrap();
        piece.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let text = format!(
            r#"{{"shapes": [{{"label": "a", "points": [[1.0, 0.0], [2.0, 1.0]], "shape_type": "mask", "mask": "{}"}}],
                "imageHeight": 2, "imageWidth": 4}}"#,
            STANDARD.encode(&png)
        );
        let mut mask = Mask::filled(4, 2, 0);
        read(&text).unwrap().objects[0].shape.paint(&mut mask, 1);
        assert_eq!(mask.pixels, [0, 1, 0, 0, 0, 1, 1, 0]);
    }
}
