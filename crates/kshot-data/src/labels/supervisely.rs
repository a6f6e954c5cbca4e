//! Supervisely's JSON, a file for each picture
//! (<https://docs.supervisely.com/customization-and-integration/00_ann_format_navi>).
//!
//! Files count pixels, as Supervisely's SDK writes them: corners are centres of pixels, and the last
//! column and row of a rectangle are inside. Where a number has a fraction, it is a place in the
//! picture, as Supervisely's own page writes it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::Findings;
use crate::image::MOST_PIXELS;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{EMPTY_MASK, FEW_CORNERS, LINE, POINT, UNKNOWN_KIND};
use crate::labels::shapes::{NoShape, filled_box};
use crate::labels::{Outlines, boxes, brush, trace};

/// Whether a JSON value is Supervisely's of a picture.
pub fn is(value: &Value) -> bool {
    let size = value.get("size");
    let sides = ["height", "width"];
    let objects = value.get("objects").and_then(Value::as_array);
    sides.iter().all(|side| size.is_some_and(|size| size.get(side).is_some()))
        && objects.is_some_and(|all| all.iter().all(|one| one.get("classTitle").is_some()))
        && value.get("frames").is_none()
}

/// The objects of a parsed file. What has no inside is passed over, which the findings say; with an
/// object that is wrong the picture is damaged.
///
/// # Errors
/// If it has no objects.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let list = value.get("objects").and_then(Value::as_array).ok_or_else(|| {
        Error::data("not a Supervisely file kshot can read: it has no objects").in_file(path)
    })?;
    let side = |key: &str| {
        let side = value.get("size")?.get(key)?.as_f64()?;
        (side >= 1.0).then_some(side as usize)
    };
    let size = side("width").zip(side("height"));
    let (mut all, mut items) = (FileItems::default(), PictureItems::default());
    for (index, one) in list.iter().enumerate() {
        let Some(class) = one.get("classTitle").and_then(Value::as_str) else {
            items.damage(format!("object {index} has no classTitle"));
            continue;
        };
        let read = shape(one, size).map(|shape| {
            let id = one.get("id").and_then(Value::as_i64);
            Object { id, ..Object::new(class, shape) }
        });
        items.take(read, || format!("`{class}` (object {index})"));
    }
    let outlines = items.finish(path, &mut all);
    all.tell(path, "", findings);
    Ok(LabelFile::one(Outlines { picture: picture(path), size, ..outlines }))
}

/// The picture of a label file `a.jpg.json`; `None` of `a.json`.
fn picture(path: &Path) -> Option<String> {
    let name = Path::new(path.file_stem()?);
    let ending = name.extension()?.to_str()?.to_ascii_lowercase();
    let known = crate::image::EXTENSIONS.contains(&ending.as_str());
    known.then(|| name.to_string_lossy().into_owned())
}

/// The pixels of an object.
fn shape(object: &Value, size: Option<(usize, usize)>) -> Result<ObjectShape, NoShape> {
    let points = object.get("points").unwrap_or(&Value::Null);
    let kind = ["geometryType", "shape"].iter().find_map(|key| object.get(key)?.as_str());
    let drawn = object.get("bitmap").filter(|bitmap| bitmap.is_object());
    let kind = kind.unwrap_or(if drawn.is_some() { "bitmap" } else { "polygon" });
    match kind {
        "polygon" => match outline(points)? {
            Some(ring) => Ok(ObjectShape::Polygons(vec![ring])),
            None => Err(NoShape::Passed(&FEW_CORNERS)),
        },
        "multipolygon" => {
            let parts = object.get("parts").and_then(Value::as_array).ok_or("it has no parts")?;
            let rings = parts.iter().filter_map(|part| outline(part).transpose());
            let rings: Vec<Vec<Corner>> = rings.collect::<Result<_, String>>()?;
            if rings.is_empty() {
                return Err(NoShape::Passed(&FEW_CORNERS));
            }
            Ok(ObjectShape::Polygons(rings))
        }
        "rectangle" => {
            let corners = corners(points.get("exterior"))?;
            let &[[ax, ay], [bx, by]] = corners.as_slice() else {
                let count = corners.len();
                return Err(format!("a rectangle of {count} corners; it must be 2").into());
            };
            let more = if whole(&corners) { 1.0 } else { 0.0 };
            let [left, top, right, bottom] = boxes::sorted([ax, ay, bx, by]);
            filled_box([left, top, right + more, bottom + more])
        }
        "bitmap" | "alpha_mask" => {
            let size = size.filter(|(width, height)| {
                width.checked_mul(*height).is_some_and(|pixels| pixels <= MOST_PIXELS)
            });
            let size =
                size.ok_or("a bitmap in a picture without a size, or of a size beyond all")?;
            let counts = bitmap(drawn.ok_or("it has no bitmap")?, size)?;
            counts.map(ObjectShape::Runs).ok_or(NoShape::Passed(&EMPTY_MASK))
        }
        "point" => Err(NoShape::Passed(&POINT)),
        "line" | "polyline" => Err(NoShape::Passed(&LINE)),
        _ => Err(NoShape::Passed(&UNKNOWN_KIND)),
    }
}

/// The outline of a polygon with its holes; `None` where it has fewer than 3 corners.
fn outline(points: &Value) -> Result<Option<Vec<Corner>>, String> {
    let mut rings = vec![corners(points.get("exterior"))?];
    for hole in points.get("interior").and_then(Value::as_array).into_iter().flatten() {
        rings.push(corners(Some(hole))?);
    }
    if rings.iter().all(|ring| whole(ring)) {
        for corner in rings.iter_mut().flatten() {
            *corner = [corner[0] + 0.5, corner[1] + 0.5];
        }
    }
    let mut rings = rings.into_iter();
    let outer = rings.next().filter(|ring| ring.len() >= 3);
    Ok(outer.map(|outer| trace::joined(outer, rings.filter(|ring| ring.len() >= 3))))
}

fn corners(list: Option<&Value>) -> Result<Vec<Corner>, String> {
    let list = list.and_then(Value::as_array).ok_or("an outline that is no list of corners")?;
    let corner = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([x, y]) => Some([x.as_f64()?, y.as_f64()?]),
        _ => None,
    };
    let corners: Option<Vec<Corner>> = list.iter().map(corner).collect();
    corners.ok_or_else(|| "an outline whose corners are not x and y".to_owned())
}

/// Whether corners count pixels.
fn whole(corners: &[Corner]) -> bool {
    corners.iter().flatten().all(|number| number.fract() == 0.0)
}

/// The run lengths of a bitmap, in a picture of this size; `None` where no pixel is in it.
fn bitmap(value: &Value, (width, height): (usize, usize)) -> Result<Option<Vec<u32>>, String> {
    let data = value.get("data").and_then(Value::as_str).ok_or("a bitmap without data")?;
    let origin = corners(value.get("origin").map(|at| Value::Array(vec![at.clone()])).as_ref());
    let Ok(&[[left, top]]) = origin.as_deref() else {
        return Err("a bitmap whose origin is not x and y".to_owned());
    };
    let unread = |error: &dyn std::fmt::Display| format!("its bitmap cannot be read: {error}");
    let bytes = STANDARD.decode(data.trim()).map_err(|error| unread(&error))?;
    let png = brush::unpacked(bytes, (width, height)).map_err(|error| unread(&error))?;
    let piece = brush::piece(&png, (width, height)).map_err(|error| unread(&error))?;
    let part = usize::from(piece.color().has_alpha());
    let piece = piece.into_luma_alpha8();
    // Far outside is as good as outside.
    let [left, top] = [left, top].map(|side| side.floor().clamp(-1e9, 1e9) as i64);
    let inside = |x: u32, y: u32| piece.get_pixel(x, y).0[part] > 0;
    Ok(brush::placed(piece.dimensions(), inside, [left, top], (width, height)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgba, RgbaImage};
    use serde_json::json;

    use super::*;
    use crate::labels::runs;
    use crate::mask::Mask;

    /// What Supervisely's SDK wrote (`golden/make_formats.py`).
    const GOLDEN: &str = include_str!("../../../../golden/formats/supervisely.json");

    fn read(value: &Value) -> (Outlines, Findings) {
        let mut findings = Findings::default();
        assert!(is(value));
        let read = super::read(Path::new("ann/a.png.json"), value, &mut findings);
        (read.unwrap().pictures.remove(0), findings)
    }

    fn one(object: &Value) -> (Outlines, Findings) {
        read(&json!({"size": {"height": 4, "width": 6}, "objects": [object]}))
    }

    fn bitmap(piece: impl Into<DynamicImage>, origin: &Value) -> Value {
        let (mut png, piece): (Vec<u8>, DynamicImage) = (Vec::new(), piece.into());
        piece.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
        let bitmap = json!({"origin": origin, "data": STANDARD.encode(png)});
        json!({"classTitle": "a", "geometryType": "bitmap", "bitmap": bitmap})
    }

    #[test]
    fn what_the_sdk_writes_is_read() {
        let (outlines, findings) = read(&serde_json::from_str(GOLDEN).unwrap());
        assert_eq!(outlines.picture.as_deref(), Some("a.png"));
        assert_eq!(outlines.size, Some((6, 4)));
        let classes: Vec<&str> = outlines.objects.iter().map(|one| one.class.as_str()).collect();
        assert_eq!(classes, ["cell", "tip", "box", "outline"]);
        let shapes: Vec<&ObjectShape> = outlines.objects.iter().map(|one| &one.shape).collect();
        let cell = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0];
        let cell = runs::encode(&Mask::from_pixels(6, 4, cell.to_vec()).unwrap(), |v| v == 1);
        assert_eq!(shapes[0], &ObjectShape::Runs(cell));
        assert_eq!(shapes[1], &ObjectShape::Runs(vec![16, 1, 3, 2, 2]));
        assert_eq!(shapes[2], &ObjectShape::Box([2.0, 1.0, 5.0, 3.0]));
        let mut mask = Mask::filled(6, 4, 0);
        shapes[3].paint(&mut mask, 1);
        let expected = [1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(mask.pixels, expected);
        assert_eq!((findings.0.len(), findings.errors()), (1, 0));
        assert!(findings.0[0].what.contains("1 point, which has no inside (`dot` (object"));
    }

    #[test]
    fn fractions_are_places_in_the_picture() {
        let object = |kind: &str, exterior: Value| {
            let points = json!({"exterior": exterior, "interior": []});
            let object = json!({"classTitle": "a", "geometryType": kind, "points": points});
            one(&object).0.objects[0].shape.clone()
        };
        let sides = object("rectangle", json!([[4.5, 3], [1, 0]]));
        assert_eq!(sides, ObjectShape::Box([1.0, 0.0, 4.5, 3.0]));
        let ring = object("polygon", json!([[0, 0], [2.5, 0], [0, 3]]));
        assert_eq!(ring, ObjectShape::Polygons(vec![vec![[0.0, 0.0], [2.5, 0.0], [0.0, 3.0]]]));
    }

    #[test]
    fn parts_are_one_object() {
        let part = |x: f64| json!({"exterior": [[x, 0], [x + 0.25, 0], [x, 3]], "interior": []});
        let parts = json!([part(0.5), part(3.5), {"exterior": []}]);
        let object = json!({"classTitle": "a", "geometryType": "multipolygon", "parts": parts});
        let ring = |x: f64| vec![[x, 0.0], [x + 0.25, 0.0], [x, 3.0]];
        let (outlines, findings) = one(&object);
        assert_eq!(findings.0, []);
        let expected = ObjectShape::Polygons(vec![ring(0.5), ring(3.5)]);
        assert_eq!(outlines.objects[0].shape, expected);
    }

    #[test]
    fn a_bitmap_is_cut_at_the_borders() {
        let full = GrayImage::from_pixel(2, 3, Luma([9]));
        let shape = |object: &Value| one(object).0.objects.first().map(|one| one.shape.clone());
        let at = |x: i32, y: i32| shape(&bitmap(full.clone(), &json!([x, y])));
        assert_eq!(at(-1, -1), Some(ObjectShape::Runs(vec![0, 2, 22])));
        assert_eq!(at(5, 2), Some(ObjectShape::Runs(vec![22, 2])));
        for origin in [json!([6, 0]), json!([-1e300, 0]), json!([0, 1e300])] {
            let (outlines, findings) = one(&bitmap(full.clone(), &origin));
            assert_eq!((outlines.objects.len(), findings.errors()), (0, 0));
            assert!(findings.0[0].what.contains("mask without a pixel"), "{findings:?}");
        }
        // Where there is alpha, it alone counts.
        let mut clear = RgbaImage::from_pixel(1, 2, Rgba([255, 255, 255, 0]));
        clear.put_pixel(0, 1, Rgba([0, 0, 0, 1]));
        let expected = Some(ObjectShape::Runs(vec![5, 1, 18]));
        assert_eq!(shape(&bitmap(clear, &json!([1, 0]))), expected);
    }

    #[test]
    fn what_is_damaged_is_said() {
        let wide = bitmap(GrayImage::new(7, 1), &json!([0, 0]));
        let mut cut = bitmap(GrayImage::new(2, 2), &json!([0, 0]));
        cut["bitmap"]["data"] = STANDARD.encode(b"\x89PNG\r\n\x1a\n").into();
        let mut text = cut.clone();
        text["bitmap"]["data"] = "eJzr%%".into();
        let mut unpacked = cut.clone();
        unpacked["bitmap"]["data"] = STANDARD.encode(b"no zlib").into();
        let nowhere = bitmap(GrayImage::new(2, 2), &json!(["NaN", 0]));
        let shape = |kind: &str, exterior: Value| {
            let points = json!({"exterior": exterior, "interior": []});
            json!({"classTitle": "a", "geometryType": kind, "points": points})
        };
        for object in [
            wide.clone(),
            cut,
            text,
            unpacked,
            nowhere,
            shape("polygon", json!([[0, 0], [1, null], [2, 2]])),
            shape("polygon", json!("none")),
            shape("rectangle", json!([[1, 2]])),
            json!({"classTitle": "a", "geometryType": "bitmap", "bitmap": null}),
            json!({"classTitle": 3}),
        ] {
            let (outlines, findings) = one(&object);
            assert_eq!((outlines.objects.len(), findings.0.len()), (0, 0), "{object}");
            assert!(outlines.damaged.is_some(), "{object}");
        }
        let vast = json!({"height": 1e18, "width": 1e18});
        let (outlines, _) = read(&json!({"size": vast, "objects": [wide]}));
        assert!(outlines.objects.is_empty() && outlines.damaged.is_some());
    }

    #[test]
    fn what_has_no_inside_is_passed_over() {
        for (kind, exterior) in [
            ("polygon", json!([[0, 0], [1, 1]])),
            ("rectangle", json!([[0.5, 0], [0.5, 1]])),
            ("polyline", json!([[0, 0], [1, 1], [2, 5]])),
            ("cuboid", json!([])),
        ] {
            let points = json!({"exterior": exterior, "interior": []});
            let object = json!({"classTitle": "a", "geometryType": kind, "points": points});
            let (outlines, findings) = one(&object);
            assert_eq!((outlines.objects.len(), findings.errors()), (0, 0), "{kind}");
            assert!(findings.0[0].what.starts_with("1 item passed over"), "{findings:?}");
        }
    }

    #[test]
    fn names_and_files_are_told_apart() {
        assert_eq!(picture(Path::new("ann/a.b.JPG.json")).as_deref(), Some("a.b.JPG"));
        assert_eq!(picture(Path::new("ann/a.2020.json")), None);
        assert_eq!(picture(Path::new("ann/a.json")), None);
        let size = json!({"height": 4, "width": 6});
        let video = json!({"size": size, "objects": [], "frames": []});
        for other in [video, json!({"objects": []}), json!({"size": size, "objects": [1]})] {
            assert!(!is(&other), "{other}");
        }
    }
}
