use std::io::Cursor;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use serde_json::json;

use super::*;
use crate::labels::brush::opaque;
use crate::mask::Mask;

fn read(value: &Value) -> (LabelFile, Findings) {
    let mut findings = Findings::default();
    assert!(is(value));
    let file = super::read(Path::new("project.json"), value, &mut findings).unwrap();
    // What leaves a picture out, as a finding.
    for what in file.pictures.iter().filter_map(|picture| picture.damaged.as_ref()) {
        findings.add(Severity::Error, Path::new("project.json"), what, "");
    }
    (file, findings)
}

/// A task of one annotation.
fn task(result: Value) -> Value {
    json!([{"data": {"image": "a.png"}, "annotations": [{"result": result}]}])
}

/// An entry for a picture of 200 x 100 pixels.
fn entry(kind: &str, value: Value) -> Value {
    json!({"type": kind, "original_width": 200, "original_height": 100, "value": value})
}

/// The objects of one entry.
fn one(kind: &str, value: Value) -> (Vec<Object>, Findings) {
    let (mut file, findings) = read(&task(json!([entry(kind, value)])));
    (file.pictures.remove(0).objects, findings)
}

fn painted(object: &Object, width: usize, height: usize) -> Vec<u8> {
    let mut mask = Mask::filled(width, height, 0);
    object.shape.paint(&mut mask, 1);
    mask.pixels
}

#[test]
fn what_label_studios_own_code_writes_is_read() {
    let text = include_str!("../../../../golden/label_studio.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    for format in ["tasks", "min"] {
        let (file, findings) = read(&golden[format]);
        let said: Vec<_> =
            file.pictures.iter().map(|one| (one.picture.as_deref().unwrap(), one.size)).collect();
        assert_eq!(said, [("small cells.png", Some((9, 7))), ("wide.png", Some((40, 8)))]);
        let mut classes = Vec::new();
        for picture in &file.pictures {
            let (width, height) = picture.size.unwrap();
            for object in &picture.objects {
                let truth = &golden["truth"][&object.class];
                match &object.shape {
                    ObjectShape::Runs(_) => {
                        assert_eq!(
                            json!(painted(object, width, height)),
                            *truth,
                            "{}",
                            object.class
                        );
                    }
                    ObjectShape::Polygons(rings) if object.class == "box" => {
                        let truth: Vec<Corner> = serde_json::from_value(truth.clone()).unwrap();
                        let numbers = rings[0].iter().flatten().zip(truth.iter().flatten());
                        assert_eq!(rings[0].len(), truth.len());
                        numbers.for_each(|(ours, theirs)| assert!((ours - theirs).abs() < 1e-9));
                    }
                    outline => {
                        let ring = vec![[4.0, 2.0], [14.0, 2.0], [14.0, 7.0], [4.0, 7.0]];
                        assert_eq!(*outline, ObjectShape::Polygons(vec![ring]));
                    }
                }
                classes.push(object.class.as_str());
            }
        }
        assert_eq!(classes, ["cell", "wide", "dots", "box", "outline"]);
        let what: Vec<&str> = findings.0.iter().map(|finding| finding.what.as_str()).collect();
        assert!(
            what[0].contains("annotations: 1;") && what[0].ends_with("left out: 1"),
            "{what:?}"
        );
        assert!(what[1].ends_with("left out: 1 of 3") && what.len() == 2, "{what:?}");
        assert!(findings.0.iter().all(|finding| finding.severity == Severity::Note));
    }
}

#[test]
fn percent_become_pixels() {
    let rectangle = |degrees: f64| {
        json!({"x": 10, "y": 20, "width": 30, "height": 40, "rotation": degrees,
            "rectanglelabels": [" cat "]})
    };
    let (objects, findings) = one("rectanglelabels", rectangle(360.0));
    assert_eq!(findings.0, []);
    assert_eq!(objects, [Object::new("cat", ObjectShape::Box([20.0, 20.0, 80.0, 60.0]))]);
    // Clockwise about the corner at the upper left.
    let ring = vec![[20.0, 20.0], [20.0, 80.0], [-20.0, 80.0], [-20.0, 20.0]];
    let (objects, _) = one("rectanglelabels", rectangle(90.0));
    assert_eq!(objects[0].shape, ObjectShape::Polygons(vec![ring]));
    let points = json!([[0, 0], [50, 0.5], [12.5, 99]]);
    let (objects, _) =
        one("polygonlabels", json!({"points": points, "closed": true, "polygonlabels": ["cat"]}));
    let ring = vec![[0.0, 0.0], [100.0, 0.5], [25.0, 99.0]];
    assert_eq!(objects[0].shape, ObjectShape::Polygons(vec![ring]));
    let ellipse = |down: f64, degrees: f64| {
        let value = json!({"x": 50, "y": 50, "radiusX": 10, "radiusY": down,
            "rotation": degrees, "ellipselabels": ["cat"]});
        one("ellipselabels", value).0.remove(0).shape
    };
    assert_eq!(ellipse(20.0, 0.0), ObjectShape::Circle([100.0, 50.0], 20.0));
    for (degrees, expected) in
        [(0.0, [80.0f64, 40.0, 120.0, 60.0]), (90.0, [90.0, 30.0, 110.0, 70.0])]
    {
        let sides = ellipse(10.0, degrees).bounds(100).unwrap();
        let near = sides.iter().zip(expected).all(|(side, other)| (side - other).abs() < 0.25);
        assert!(near, "{sides:?}");
    }
}

#[test]
fn runs_of_values_are_read_bit_by_bit() {
    // 4 values of 8 bits, lengths of 3, 4, 8 and 16 bits; 4 different values: 1, 2, 3, 4.
    let different = [0, 0, 0, 4, 57, 27, 248, 96, 32, 64, 96, 128];
    let pixels = |runs: Result<Vec<Range<usize>>, String>| -> Vec<usize> {
        runs.unwrap().into_iter().flatten().collect()
    };
    assert_eq!(pixels(opaque(&different, 1)), [0]);
    // 8 values of 255.
    let same = [0, 0, 0, 8, 57, 27, 252, 255, 224];
    assert_eq!(pixels(opaque(&same, 2)), [0, 1]);
    assert_eq!(brush(&json!(same), (2, 1)).unwrap(), [0, 2]);
    for length in 0..different.len() {
        assert!(opaque(&different[..length], 1).is_err(), "{length}");
    }
    assert!(opaque(&different, 2).unwrap_err().contains("4 values"));
    // Whatever the bytes are, no pixel is outside and none twice.
    let mut state = 1u32;
    for _ in 0..500 {
        let mut bytes: Vec<u8> = vec![0, 0, 0, 160];
        bytes.extend((0..60).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }));
        let Ok(inside) = opaque(&bytes, 40) else { continue };
        assert!(inside.iter().all(|run| run.start < run.end && run.end <= 40), "{inside:?}");
        assert!(inside.windows(2).all(|pair| pair[0].end < pair[1].start), "{inside:?}");
    }
}

#[test]
fn the_latest_annotation_counts() {
    let annotation = |class: &str, rest: Value| {
        let shape = entry(
            "polygonlabels",
            json!({"points": [[0, 0], [9, 0], [0, 9]],
            "polygonlabels": [class]}),
        );
        let mut annotation = json!({"result": [shape]});
        for (key, value) in rest.as_object().unwrap() {
            annotation[key] = value.clone();
        }
        annotation
    };
    let at = |day: u32| json!({"updated_at": format!("2025-05-0{day}T08:00:00.000000Z")});
    for (all, expected) in [
        (vec![annotation("a", at(3)), annotation("b", at(2))], Some("a")),
        (vec![annotation("a", json!({})), annotation("b", json!({}))], Some("b")),
        (
            vec![
                annotation("a", json!({})),
                annotation("b", json!({"was_cancelled": true})),
                annotation("c", json!({"skipped": true})),
            ],
            Some("a"),
        ),
        (vec![annotation("a", json!({"was_cancelled": true}))], None),
    ] {
        for key in ["annotations", "completions"] {
            let mut task = json!({"data": {"image": "a.png"},
                "predictions": [annotation("predicted", json!({}))]});
            task[key] = json!(all);
            // A file of one task may be without the list.
            for file in [task.clone(), json!([task])] {
                let (file, _) = read(&file);
                let objects = file.pictures.first().map(|picture| &picture.objects[0]);
                assert_eq!(objects.map(|object| &*object.class), expected, "{all:?}");
            }
        }
    }
    // An annotation without a shape says that there is none.
    let (file, _) = read(&task(json!([])));
    assert!(file.pictures[0].objects.is_empty());
}

#[test]
fn a_shape_and_its_label_may_be_two_entries() {
    let mut shape = entry("rectangle", json!({"x": 0, "y": 0, "width": 50, "height": 50}));
    shape["id"] = json!("r1");
    let mut label = shape.clone();
    label["type"] = json!("labels");
    label["value"]["labels"] = json!(["cat", "pet"]);
    let mut text = shape.clone();
    text["type"] = json!("textarea");
    text["value"]["text"] = json!(["grey"]);
    let relation = json!({"type": "relation", "from_id": "r1", "to_id": "r2"});
    let (file, findings) = read(&task(json!([shape, label, text, relation])));
    let cat = Object::new("cat", ObjectShape::Box([0.0, 0.0, 100.0, 50.0]));
    assert_eq!(file.pictures[0].objects, [cat]);
    assert_eq!(findings.0.len(), 1);
    assert!(findings.0[0].what.contains("another label before (`pet`"), "{:?}", findings.0);
}

#[test]
fn without_a_size_coordinates_are_shares() {
    let entry = |value: Value| json!({"type": "x", "value": value});
    let shape = entry(json!({"points": [[0, 0], [50, 0], [0, 25]], "polygonlabels": ["a"]}));
    let (file, findings) = read(&task(json!([shape])));
    let picture = &file.pictures[0];
    assert_eq!((picture.size, picture.relative, findings.0.len()), (None, true, 0));
    let ring = vec![[0.0, 0.0], [100.0, 0.0], [0.0, 25.0]];
    assert_eq!(picture.objects(200, 100)[0].shape, ObjectShape::Polygons(vec![ring]));
    for value in [
        json!({"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 5, "rectanglelabels": ["a"]}),
        json!({"x": 50, "y": 50, "radiusX": 9, "radiusY": 9, "ellipselabels": ["a"]}),
        json!({"rle": [0, 0, 0, 4], "brushlabels": ["a"]}),
    ] {
        let (_, findings) = read(&task(json!([entry(value)])));
        assert!(findings.0[0].what.contains("width and height are missing"), "{:?}", findings.0);
    }
}

#[test]
fn what_has_no_inside_is_passed_over() {
    let a = json!(["a"]);
    for (kind, value, word) in [
        ("keypointlabels", json!({"x": 1, "y": 1, "width": 1, "keypointlabels": a}), "1 point,"),
        ("polygonlabels", json!({"points": [[0, 0], [1, 1]], "polygonlabels": a}), "fewer than 3"),
        (
            "polygonlabels",
            json!({"points": [[0, 0], [1, 1], [2, 0]], "closed": false, "polygonlabels": a}),
            "not closed",
        ),
        ("vectorlabels", json!({"vertices": [], "vectorlabels": a}), "vector"),
        (
            "rectanglelabels",
            json!({"x": 1, "y": 1, "width": 0, "height": 1, "rectanglelabels": a}),
            "1 empty box",
        ),
        (
            "rectanglelabels",
            json!({"x": 1, "y": 1, "width": 9, "height": -1, "rectanglelabels": a}),
            "1 empty box",
        ),
        (
            "ellipselabels",
            json!({"x": 1, "y": 1, "radiusX": -1, "radiusY": 1, "ellipselabels": a}),
            "1 circle or ellipse",
        ),
        ("choices", json!({"choices": ["sharp"]}), "no shape (choices of `a.png`)"),
        ("rectangle", json!({"x": 1, "y": 1, "width": 9, "height": 1}), "without a label"),
        ("brushlabels", json!({"rle": [], "brushlabels": [""]}), "without a label"),
    ] {
        let (objects, findings) = one(kind, value);
        assert_eq!((objects.len(), findings.0[0].severity), (0, Severity::Warning), "{kind}");
        let what = &findings.0[0].what;
        assert!(what.contains("passed over") && what.contains(word), "{what}");
    }
}

#[test]
fn what_is_damaged_is_said() {
    let a = json!(["a"]);
    for (value, word) in [
        (json!({"rle": [0, 0, 1, 1], "brushlabels": a}), "257 values, but 20000 pixels"),
        (json!({"rle": [0, 1, 56, 128], "brushlabels": a}), "ends too early"),
        (json!({"rle": [0, -1], "brushlabels": a}), "list of bytes"),
        (json!({"rle": {"0": 1}, "brushlabels": a}), "list of bytes"),
        (json!({"points": [[0, 0], [1], [2, 0]], "polygonlabels": a}), "`points`"),
        (json!({"points": [[0, 0], [1e300, 1], [2, 0]], "polygonlabels": a}), "`points`"),
        (json!({"points": 3, "polygonlabels": a}), "`points`"),
        (json!({"x": null, "y": 1, "rectanglelabels": a}), "`x` and `y`"),
        (json!({"x": 1, "y": 1, "width": 1e308, "height": 1, "rectanglelabels": a}), "far outside"),
        (json!({"imageDataURL": 3, "bitmasklabels": a}), "no PNG"),
        (json!({"imageDataURL": "data:image/png;base64,?", "bitmasklabels": a}), "no base64"),
    ] {
        let (objects, findings) = one("x", value);
        assert_eq!((objects.len(), findings.errors()), (0, 1), "{word}");
        let what = &findings.0[0].what;
        assert!(what.contains(word) && what.starts_with("x `a` of `a.png`"), "{what}");
    }
    let mut png = Vec::new();
    let piece = image::RgbaImage::new(3, 2);
    piece.write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    let url = format!("data:image/png;base64,{}", STANDARD.encode(&png));
    let (_, findings) = one("x", json!({"imageDataURL": url, "bitmasklabels": a}));
    assert!(findings.0[0].what.contains("its mask is 3 x 2"), "{:?}", findings.0);
    for (width, height, word) in [
        (json!(60000), json!(60000), "200 million"),
        (json!(1e30), json!(2), "missing"),
        (json!(-5), json!(2), "missing"),
    ] {
        let brush = json!({"rle": [0, 0, 0, 0], "brushlabels": a});
        let mut entry = entry("brushlabels", brush);
        (entry["original_width"], entry["original_height"]) = (width, height);
        let (_, findings) = read(&task(json!([entry])));
        assert!(findings.0[0].what.contains(word), "{:?}", findings.0);
    }
    let shape = json!({"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": a});
    let first = entry("rectanglelabels", shape);
    let mut other = first.clone();
    other["original_width"] = json!(201);
    let (file, findings) = read(&task(json!([first, other])));
    assert_eq!((file.pictures[0].objects.len(), findings.errors()), (1, 1));
}

#[test]
fn names_are_those_before_the_upload() {
    for (address, name) in [
        ("/data/upload/7/0a1b2c3d-small%20cells.png", "small cells.png"),
        ("/data/upload/0A1B2C3D-a-b.png", "a-b.png"),
        ("/data/upload/7/beach-day.png", "beach-day.png"),
        ("https://host/data/upload/3/0a1b2c3d-a.png", "a.png"),
        ("https://host/x/0a1b2c3d-a%2Bb.png?sign=1/2#3", "0a1b2c3d-a+b.png"),
        ("/data/local-files/?d=set%201/a.png&x=1", "set 1/a.png"),
        ("/data/local-files/?d=%2Fx%5Ca.png", "x/a.png"),
        ("s3://bucket/day 1/a%20b.png", "a%20b.png"),
        ("gs://bucket/a.png", "a.png"),
        ("sub\\a.png", "sub/a.png"),
        ("100%.png", "100%.png"),
        ("%+1é%C3%A9.png", "%+1éé.png"),
    ] {
        assert_eq!(picture_name(address).as_deref(), Some(name), "{address}");
    }
    for address in ["", " ", "data:image/png;base64,AAAA", "https://host/"] {
        assert_eq!(picture_name(address), None, "{address}");
    }
}

#[test]
fn the_picture_is_found_among_the_data() {
    let shape = |object: &str| {
        let mut entry = entry(
            "polygonlabels",
            json!({"points": [[0, 0], [9, 0], [0, 9]],
            "polygonlabels": ["a"]}),
        );
        entry["to_name"] = json!(object);
        entry
    };
    for (data, upload, expected) in [
        (json!({"text": "b.txt", "photo": "/data/upload/1/x.JPG"}), None, Some("x.JPG")),
        (json!({"one": "1.png", "image": "2"}), None, Some("2")),
        (json!({"one": "1.png", "right": "2.png"}), None, Some("2.png")),
        (json!({"pages": ["1.png", "2.png"]}), None, Some("1.png")),
        (json!({"photo": "x"}), Some("0a1b2c3d-y.png"), Some("y.png")),
        (json!({"photo": "x"}), None, None),
    ] {
        let task = json!({"data": data, "file_upload": upload,
            "annotations": [{"result": [shape("right"), shape("left")]}]});
        let (file, findings) = read(&json!([task]));
        assert_eq!(file.pictures[0].picture.as_deref(), expected);
        assert_eq!(file.pictures[0].objects.len(), 1);
        assert!(findings.0[0].what.contains("further picture"), "{:?}", findings.0);
    }
    let task = json!({"data": {"photo": "x"}, "annotations": [{"result": []}]});
    let (file, findings) = read(&json!([task, task]));
    assert_eq!(file.pictures, []);
    assert!(findings.0[0].what.contains("name no picture (task 1, task 2)"), "{:?}", findings.0);
}

#[test]
fn other_json_is_told_apart() {
    for (value, expected) in [
        (json!([]), false),
        (json!({"shapes": [], "imagePath": "a.png"}), false),
        (json!({"images": [], "annotations": [], "categories": []}), false),
        (
            json!([{"image": "a.png", "annotations": [{"label": "a", "coordinates": {"x": 1}}]}]),
            false,
        ),
        (json!([{"image": "a.png", "points": [{"x": 1, "y": 2}]}]), false),
        (json!([3, {"data": {"image": "a.png"}, "predictions": []}]), true),
        (json!([{"image": "a.png", "tag": [{"x": 1, "rectanglelabels": ["a"]}]}]), true),
    ] {
        assert_eq!(is(&value), expected, "{value}");
    }
}
