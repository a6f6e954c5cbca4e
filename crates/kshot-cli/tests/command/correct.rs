//! The correction loop: a result into a labelling tool's format, corrected as that tool would save it, back into the support.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::{Value, json};

struct Place(tempfile::TempDir);

/// Where the two classes' shapes are in picture `index`: a disc, and a square.
fn shapes(index: u32) -> ([u32; 2], [u32; 2]) {
    ([22 + 5 * index, 24 + 3 * (index % 3)], [60 - 2 * index, 58])
}

fn class_of(index: u32, x: u32, y: u32) -> u8 {
    let ([cx, cy], [left, top]) = shapes(index);
    let disc = x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) < 14 * 14;
    let square = (left..left + 24).contains(&x) && (top..top + 24).contains(&y);
    if disc { 1 } else { 2 * u8::from(square) }
}

impl Place {
    /// Two labelled pictures and six others, of discs and squares.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for index in 0..8 {
            let (folder, name) = if index < 2 { ("labelled/images", "l") } else { ("photos", "q") };
            let picture = RgbImage::from_fn(96, 96, |x, y| {
                let noise = ((x * 7 + y * 13 + index * 5) % 23) as u8;
                Rgb(match class_of(index, x, y) {
                    1 => [200 + noise, 60, 40],
                    2 => [40, 70, 190 + noise],
                    _ => [60 + noise, 110, 60],
                })
            });
            place.save(&format!("{folder}/{name}{index}.png"), |path| picture.save(path).unwrap());
            if index < 2 {
                let mask = GrayImage::from_fn(96, 96, |x, y| Luma([class_of(index, x, y)]));
                place
                    .save(&format!("labelled/masks/l{index}.png"), |path| mask.save(path).unwrap());
            }
        }
        // In an order that is not the alphabet's.
        fs::write(place.at("labelled/classes.txt"), "red disc\nblue square\n").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn save(&self, name: &str, save: impl FnOnce(&Path)) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path);
    }

    fn kshot(&self, arguments: &str) -> Output {
        let mut command = Command::new(super::common::binary());
        command.current_dir(self.0.path()).args(arguments.split_whitespace()).output().unwrap()
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.kshot(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments}: {words}");
        words + &String::from_utf8_lossy(&output.stdout)
    }

    fn refused(&self, arguments: &str) -> String {
        let output = self.kshot(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn segmented() -> Self {
        let place = Self::new();
        place.done("segment --support labelled --query photos --out out --method probe --scale 1");
        place
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.at(name)).unwrap()).unwrap()
    }

    /// The class names of a run and of how many labelled pictures it learnt.
    fn learnt(&self, out: &str) -> (Vec<String>, usize) {
        let run: toml::Table =
            fs::read_to_string(self.at(out).join("run.toml")).unwrap().parse().unwrap();
        let classes = run["classes"].as_array().unwrap().iter();
        let classes = classes.map(|name| name.as_str().unwrap().to_owned()).collect();
        (classes, run["support"].as_array().unwrap().len())
    }
}

const AGAIN: &str = "segment --support labelled --support corrected --query photos --out again --method probe --scale 1";

fn names() -> Vec<String> {
    vec!["red disc".to_owned(), "blue square".to_owned()]
}

#[test]
fn labelme_files_are_few_corners_and_come_back() {
    let place = Place::segmented();
    let told =
        place.done("data convert --from out --to labelme --simplify 1.5 --out corrected --json");
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((told["pictures"].as_u64(), told["predictions"].as_u64()), (Some(6), Some(6)));
    let simplified = &told["simplified"];
    assert!(simplified["mean_iou"].as_f64().unwrap() > 0.9, "{simplified}");
    assert!(simplified["most"].as_u64().unwrap() < 40, "{simplified}");
    assert!(
        simplified["corners"].as_u64().unwrap() * 3
            < simplified["corners_before"].as_u64().unwrap()
    );

    // Nobody has saved anything: predictions are no labels.
    let words = place.refused("segment --support corrected --query photos --out x");
    assert!(words.contains("own predictions") && words.contains("predicted.json"), "{words}");

    // As LabelMe 6 saves it: keys and version of its own, a picture in base64, a corner moved.
    let mut saved = place.json("corrected/images/q2.json");
    saved["version"] = json!("6.3.1");
    saved["imageData"] = json!("aGVsbG8=");
    saved["flags"] = json!({"right": true});
    for shape in saved["shapes"].as_array_mut().unwrap() {
        shape["mask"] = Value::Null;
        shape["description"] = json!("");
        shape["flags"] = Value::Null;
    }
    fs::write(place.at("corrected/images/q2.json"), saved.to_string()).unwrap();
    let words = place.done(AGAIN);
    assert!(
        words.contains("kshot's own predictions") && words.contains("of 5 of 6 pictures"),
        "{words}"
    );
    assert_eq!(place.learnt("again"), (names(), 3));
    // The corrected picture keeps its labels, and is not to be labelled again.
    let journal = fs::read_to_string(place.at("again/.kshot/records.jsonl")).unwrap();
    let line = journal.lines().find(|line| line.contains("\"path\":\"q2.png\"")).unwrap();
    assert!(line.contains("\"labelled\""), "{line}");
}

#[test]
fn what_cvat_exports_comes_back() {
    let place = Place::segmented();
    place.done("data convert --from out --to coco --only q3* --out corrected");
    assert_eq!(fs::read_dir(place.at("corrected/images")).unwrap().count(), 1);
    // CVAT numbers categories by its labels, marks brush masks as crowds, and writes attributes of its own.
    let ours = place.json("corrected/annotations.json");
    let annotations: Vec<Value> = ours["annotations"].as_array().unwrap().iter().enumerate().map(|(index, of)| {
        json!({"id": index + 1, "image_id": 1, "category_id": of["category_id"], "segmentation": of["segmentation"],
            "area": of["area"], "bbox": of["bbox"], "iscrowd": 0, "attributes": {"occluded": false}})
    }).collect();
    let mut annotations = annotations;
    annotations.push(json!({"id": 99, "image_id": 1, "category_id": 2, "iscrowd": 1, "area": 4, "bbox": [0, 0, 2, 2],
        "segmentation": {"counts": [0, 2, 94, 2, 9118], "size": [96, 96]}, "attributes": {"occluded": false}}));
    let export = json!({
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [{"id": 1, "name": "red disc", "supercategory": ""}, {"id": 2, "name": "blue square", "supercategory": ""}],
        "images": [{"id": 1, "width": 96, "height": 96, "file_name": "q3.png", "license": 0, "flickr_url": "",
            "coco_url": "", "date_captured": 0}],
        "annotations": annotations});
    place.save("corrected/annotations/instances_default.json", |path| {
        fs::write(path, export.to_string()).unwrap()
    });
    place.done(AGAIN);
    assert_eq!(place.learnt("again"), (names(), 3));
    // The painted corner is a square, not void.
    place.done("data convert --from corrected --to tiff-masks --out check");
    let mask = kshot_data::image::read(place.at("check/masks/q3.tif")).unwrap();
    assert_eq!((mask.get_pixel(0, 0).0, mask.get_pixel(1, 1).0), ([2; 3], [2; 3]));
}

#[test]
fn what_napari_saves_comes_back() {
    let place = Place::segmented();
    place.done("data convert --from out --to tiff-masks --next 2 --out corrected");
    let mut masks: Vec<PathBuf> = fs::read_dir(place.at("corrected/masks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    masks.sort();
    assert_eq!(masks.len(), 2);
    // Labels are whole numbers of 32 bits there.
    let painted = kshot_data::image::read(&masks[0]).unwrap();
    let numbers: Vec<i32> = painted.pixels().map(|pixel| i32::from(pixel.0[0])).collect();
    let mut encoder = tiff::encoder::TiffEncoder::new(fs::File::create(&masks[0]).unwrap())
        .unwrap()
        .with_compression(tiff::encoder::Compression::Deflate(Default::default()));
    encoder.write_image::<tiff::encoder::colortype::GrayI32>(96, 96, &numbers).unwrap();
    place.done(AGAIN);
    assert_eq!(place.learnt("again"), (names(), 3));
}

#[test]
fn pictures_that_were_moved_are_asked_for() {
    let place = Place::segmented();
    fs::rename(place.at("photos"), place.at("elsewhere")).unwrap();
    let words = place.refused("data convert --from out --to labelme --out corrected");
    assert!(words.contains("none of the 6 pictures") && words.contains("--images DIR"), "{words}");
    assert!(words.contains("photos") && !place.at("corrected").exists(), "{words}");
    place.done("data convert --from out --to labelme --images elsewhere --out corrected");
    // Without the hidden files pictures are known by their names.
    fs::remove_dir_all(place.at("out/.kshot")).unwrap();
    place.done("data convert --from out --to coco --images elsewhere --out again");
    for (arguments, part) in [
        (
            "--from out --to labelme --only z9 --images elsewhere --out x",
            "names none of the 6 pictures",
        ),
        ("--from out --to mask --simplify 2 --images elsewhere --out x", "mask has none"),
        ("--from out --to coco --simplify -1 --images elsewhere --out x", "0 to 100 pixels"),
        ("--from labelled --to coco --next --out x", "--next is for the output folder"),
        (
            "--from labelled --to coco --images elsewhere --out x",
            "--images is for the output folder",
        ),
    ] {
        let arguments = arguments.replace("--simplify -1", "--simplify=-1");
        let words = place.refused(&format!("data convert {arguments}"));
        assert!(words.contains(part), "{arguments}: {words}");
    }
}

#[test]
fn a_result_is_found_from_any_folder() {
    let place = Place::segmented();
    fs::create_dir(place.at("below")).unwrap();
    let mut command = Command::new(super::common::binary());
    let arguments = "data convert --from ../out --to labelme --out corrected".split(' ');
    let output = command.current_dir(place.at("below")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(place.at("below/corrected/images/q2.json").is_file());
}

#[test]
fn the_page_gives_the_commands_and_they_work() {
    let place = Place::segmented();
    let page = fs::read_to_string(place.at("out/report.html")).unwrap();
    let commands: Vec<String> = page
        .split("<pre>")
        .skip(1)
        .map(|part| {
            part.split("</pre>").next().unwrap().replace("&quot;", "\"").replace("&amp;", "&")
        })
        .collect();
    let of = |part: &str| {
        let line = commands.iter().flat_map(|text| text.lines()).find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("{part}: {commands:?}")).to_owned()
    };
    let convert = of("--to labelme");
    let (_, convert) = convert.split_once(" data ").unwrap();
    assert_eq!(
        convert,
        "convert --from out --to labelme --next --simplify 1.5 --out out-to-correct"
    );
    place.done(&format!("data {convert}"));
    assert!(of("labelme out-to").contains("--labels out-to-correct/classes.txt"));
    assert_eq!(
        fs::read_dir(place.at("out-to-correct/images")).unwrap().count(),
        6,
        "3 with their labels"
    );
    for entry in fs::read_dir(place.at("out-to-correct/images")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() == "json" {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("5.5.0", "6.3.1")).unwrap();
        }
    }
    let again = of("--support out-to-correct");
    let (_, again) = again.split_once(" segment ").unwrap();
    place.done(&format!("segment {again}"));
    assert_eq!(place.learnt("out"), (names(), 5));
    // Earlier corrections stay: the new page names another folder.
    let page = fs::read_to_string(place.at("out/report.html")).unwrap();
    assert!(page.contains("--out out-to-correct-2"));
}

#[test]
fn results_are_not_mixed_without_a_word() {
    let place = Place::segmented();
    // Other options: told, and replaced.
    let words =
        place.done("segment --support labelled --query photos --out out --method prototype");
    assert!(
        words.contains("6 masks of an earlier run with other labels or options are replaced"),
        "{words}"
    );
    // Other pictures: refused.
    let other = "segment --support labelled --query labelled/images --out out --method prototype";
    let words = place.refused(other);
    assert!(words.contains("results of other pictures (6 of --query photos)"), "{words}");
    assert!(
        place
            .done(&format!("{other} --force"))
            .contains("6 pictures of an earlier run are not in the query")
    );
    // A mask that somebody corrected in place is not written over.
    let place = Place::segmented();
    GrayImage::new(96, 96).save(place.at("out/masks/q4.png")).unwrap();
    let words =
        place.refused("segment --support labelled --query photos --out out --method prototype");
    assert!(words.contains("1 mask here was changed") && words.contains("q4.png"), "{words}");
    place.done("data convert --from out --to mask --only q4.png --out corrected");
}

#[test]
fn a_folder_of_results_below_the_pictures_is_no_picture() {
    let place = Place::new();
    place.done("segment --support labelled --query photos --out out --method prototype");
    fs::rename(place.at("out"), place.at("photos/out")).unwrap();
    place.done("segment --support labelled --query photos --out again --method prototype");
    assert_eq!(fs::read_dir(place.at("again/masks")).unwrap().count(), 6);
}

#[test]
fn tables_beside_each_other_have_a_page_each() {
    let place = Place::new();
    for (class, index) in [("red", 0), ("blue", 1)] {
        let picture = place.at(&format!("labelled/images/l{index}.png"));
        place.save(&format!("parts/{class}/l.png"), |path| {
            fs::copy(picture, path).map(|_| ()).unwrap()
        });
    }
    for table in ["one.csv", "two.csv", "labels.csv"] {
        place.done(&format!("classify --support parts --query photos --out made/{table}"));
    }
    for (table, page) in [
        ("one.csv", "one.report.html"),
        ("two.csv", "two.report.html"),
        ("labels.csv", "report.html"),
    ] {
        let page = fs::read_to_string(place.at(&format!("made/{page}"))).unwrap();
        assert!(page.contains(table), "{table}");
    }
    assert!(place.at("made/two.run.toml").is_file() && place.at("made/run.toml").is_file());
}

#[test]
fn the_choice_of_a_method_is_told_as_it_is_made() {
    let place = Place::new();
    let told =
        place.done("segment --support labelled --query photos --out out --effort fast --json");
    let events: Vec<Value> =
        told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let tried: Vec<&Value> = events.iter().filter(|event| event["event"] == "tried").collect();
    assert!(tried.len() > 2, "{told}");
    for (index, event) in tried.iter().enumerate() {
        assert_eq!(
            (event["tried"].as_u64(), event["candidates"].as_u64()),
            (Some(index as u64 + 1), Some(tried.len() as u64))
        );
        assert!(
            (0.0..=1.0).contains(&event["mean_iou"].as_f64().unwrap())
                && event["method"].is_string()
        );
    }
    assert!(!told.contains("at-hand"));
    fs::remove_dir_all(place.at("out")).unwrap();
    let words = place.done("segment --support labelled --query photos --out out --effort fast");
    assert!(words.contains(&format!("({0} of {0})", tried.len())), "{words}");
}
