//! LabelMe's JSON, one file beside each picture.

use std::path::Path;

use serde::Deserialize;

use super::polygon;
use crate::data::mask::{BACKGROUND, Mask};
use crate::error::{Error, Result};

/// The part of a LabelMe file that says where what is.
#[derive(Debug, Deserialize)]
pub struct File {
    /// The outlines, later ones on top.
    pub shapes: Vec<Shape>,
    /// The picture's file name, relative to the JSON.
    #[serde(rename = "imagePath")]
    pub image: String,
}

/// One outline.
#[derive(Debug, Deserialize)]
pub struct Shape {
    /// The class's name.
    pub label: String,
    /// Its corners, `[x, y]` in pixels.
    pub points: Vec<[f64; 2]>,
    /// `polygon`, `rectangle` or `circle` here.
    #[serde(default = "polygon_shape")]
    pub shape_type: String,
}

fn polygon_shape() -> String {
    "polygon".to_owned()
}

/// Reads a LabelMe file; `None` where the JSON is of another kind.
///
/// # Errors
/// If the file cannot be read, or is LabelMe's but damaged.
pub fn read(path: &Path) -> Result<Option<File>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read the labels", path, error))?;
    let wrong = |error: serde_json::Error| {
        Error::data(format!("not a LabelMe file kshot can read: {error}"))
            .at_line(path, error.line())
            .caused_by(error)
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(wrong)?;
    if value.get("shapes").is_none() {
        return Ok(None);
    }
    serde_json::from_value(value).map(Some).map_err(wrong)
}

/// Paints the outlines of a file; what is outside all of them is background.
///
/// # Errors
/// If a label is not among `classes`, or an outline is of a kind that has no inside.
pub fn paint(
    file: &File,
    classes: &[String],
    width: usize,
    height: usize,
    path: &Path,
) -> Result<Mask> {
    let mut mask = Mask::filled(width, height, BACKGROUND);
    for (index, shape) in file.shapes.iter().enumerate() {
        let Some(class) = classes.iter().position(|class| *class == shape.label) else {
            return Err(Error::data(format!(
                "shape {index} has the label `{}`, which is not among the classes ({}); add it to \
                 classes.txt or mend the label",
                shape.label,
                classes.join(", ")
            ))
            .in_file(path));
        };
        let value = class as u8 + 1;
        match (shape.shape_type.as_str(), shape.points.as_slice()) {
            ("polygon", points) if points.len() >= 3 => polygon::fill(&mut mask, points, value),
            ("rectangle", &[[ax, ay], [bx, by]]) => {
                polygon::fill(&mut mask, &[[ax, ay], [bx, ay], [bx, by], [ax, by]], value);
            }
            ("circle", &[[x, y], [u, v]]) => {
                let radius = (u - x).hypot(v - y);
                // Enough corners that none is off by more than a fifth of a pixel.
                let corners = (radius.sqrt() * 5.0).ceil().max(16.0) as usize;
                let points: Vec<[f64; 2]> = (0..corners)
                    .map(|corner| {
                        let angle = corner as f64 / corners as f64 * std::f64::consts::TAU;
                        [x + radius * angle.cos(), y + radius * angle.sin()]
                    })
                    .collect();
                polygon::fill(&mut mask, &points, value);
            }
            (kind, points) => {
                return Err(Error::data(format!(
                    "shape {index} (`{}`) is a {kind} of {} points; kshot reads polygons of 3 or \
                     more, rectangles of 2 and circles of 2",
                    shape.label,
                    points.len()
                ))
                .in_file(path));
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_painted_in_order() {
        let text = r#"{"imagePath": "a.png", "imageData": null, "shapes": [
            {"label": "b", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]},
            {"label": "a", "points": [[1, 0], [2, 2]], "shape_type": "rectangle"}]}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        let file = read(&path).unwrap().unwrap();
        let classes = ["a".to_owned(), "b".to_owned()];
        let mask = paint(&file, &classes, 4, 2, &path).unwrap();
        assert_eq!(mask.pixels, [2, 1, 2, 2, 2, 1, 2, 2]);
        let error = paint(&file, &classes[..1], 4, 2, &path).unwrap_err().to_string();
        assert!(error.contains("`b`") && error.contains("classes.txt"), "{error}");
    }

    #[test]
    fn other_json_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, r#"{"images": []}"#).unwrap();
        assert!(read(&path).unwrap().is_none());
    }
}
