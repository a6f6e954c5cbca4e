//! LabelMe's JSON, one file beside each picture (<https://github.com/wkentaro/labelme>).
//!
//! `__ignore__` is void and `_background_` background, as in LabelMe's own exporters. A crowd
//! (several objects in one outline) has no place of its own there: it is written as `__ignore__`
//! with the description `crowd of CLASS`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::annotation::{Corner, Object, ObjectShape, rectangle};
use crate::error::{Error, Result};
use crate::labels::Outlines;

/// The label of void outlines.
const IGNORE: &str = "__ignore__";
/// How the description of a crowd begins.
const CROWD: &str = "crowd of ";
/// The flag of what is hard to see.
const DIFFICULT: &str = "difficult";

#[derive(Deserialize)]
struct LabelmeFile {
    shapes: Vec<Outline>,
    #[serde(rename = "imagePath")]
    image: Option<String>,
    #[serde(rename = "imageWidth")]
    width: Option<usize>,
    #[serde(rename = "imageHeight")]
    height: Option<usize>,
}

#[derive(Deserialize, Serialize)]
struct Outline {
    label: String,
    points: Vec<Corner>,
    #[serde(default)]
    group_id: Option<i64>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default = "polygon_shape")]
    shape_type: String,
    #[serde(default)]
    flags: serde_json::Map<String, serde_json::Value>,
}

fn polygon_shape() -> String {
    "polygon".to_owned()
}

/// The outlines of a parsed LabelMe file.
///
/// # Errors
/// If it is damaged, or an outline is of a kind that has no inside.
pub fn parse(path: &Path, value: serde_json::Value) -> Result<Outlines> {
    let file: LabelmeFile = serde_json::from_value(value).map_err(|error| {
        Error::data(format!("not a LabelMe file kshot can read: {error}"))
            .in_file(path)
            .caused_by(error)
    })?;
    let mut objects: Vec<Object> = Vec::new();
    for (index, outline) in file.shapes.into_iter().enumerate() {
        let shape = shape(index, &outline).map_err(|error| error.in_file(path))?;
        let crowd = outline.label == IGNORE;
        let crowd = outline
            .description
            .as_deref()
            .and_then(|text| text.strip_prefix(CROWD))
            .filter(|_| crowd);
        let object = Object {
            class: crowd.unwrap_or(&outline.label).to_owned(),
            id: outline.group_id,
            crowd: crowd.is_some(),
            difficult: outline.flags.get(DIFFICULT).and_then(serde_json::Value::as_bool)
                == Some(true),
            shape,
        };
        // Neighbours in one group are parts of one object.
        if let (Some(last), ObjectShape::Polygons(new)) = (objects.last_mut(), &object.shape)
            && object.id.is_some()
            && (last.id, &last.class, last.crowd) == (object.id, &object.class, object.crowd)
            && let ObjectShape::Polygons(rings) = &mut last.shape
        {
            rings.extend(new.iter().cloned());
            continue;
        }
        objects.push(object);
    }
    let size = file.width.zip(file.height);
    Ok(Outlines { file: path.to_owned(), picture: file.image, size, relative: false, objects })
}

fn shape(index: usize, outline: &Outline) -> Result<ObjectShape> {
    Ok(match (outline.shape_type.as_str(), outline.points.as_slice()) {
        ("polygon", points) if points.len() >= 3 => ObjectShape::Polygons(vec![points.to_vec()]),
        ("rectangle", &[[ax, ay], [bx, by]]) => {
            ObjectShape::Box([ax.min(bx), ay.min(by), ax.max(bx), ay.max(by)])
        }
        // LabelMe 6 writes all four corners.
        ("rectangle", points) if points.len() == 4 => {
            let shape = ObjectShape::Polygons(vec![points.to_vec()]);
            match shape.bounds(0) {
                Some(sides) if same_corners(points, &rectangle(sides)) => ObjectShape::Box(sides),
                _ => shape,
            }
        }
        ("circle", &[[x, y], [u, v]]) => ObjectShape::Circle([x, y], (u - x).hypot(v - y)),
        (kind, points) => {
            return Err(Error::data(format!(
                "shape {index} (`{}`) is a {kind} of {} points; kshot reads polygons of 3 or more, \
                 rectangles of 2 and circles of 2",
                outline.label,
                points.len()
            )));
        }
    })
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

    fn read(text: &str) -> Result<Outlines> {
        parse(Path::new("a.json"), serde_json::from_str(text).unwrap())
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
    fn a_shape_without_an_inside_is_refused() {
        let error = read(
            r#"{"shapes": [{"label": "x", "points": [[0, 0], [1, 1]], "shape_type": "line"}]}"#,
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("line of 2 points") && error.contains("a.json"), "{error}");
        assert!(read(r#"{"shapes": 3}"#).unwrap_err().to_string().contains("not a LabelMe file"));
    }
}
