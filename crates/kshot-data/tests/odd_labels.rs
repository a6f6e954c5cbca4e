//! Labels that would be read wrong in silence, or told badly.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use kshot_data::check::{Report, check};
use kshot_data::convert::{ConvertOptions, LabelFormat, convert};
use kshot_data::label_folder::LabelFolder;
use kshot_data::support::Support;

fn picture(path: &Path, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::new(width, height).save(path).unwrap();
}

fn file(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Whether something that is found says these words.
fn told(report: &Report, words: &[&str]) -> bool {
    report.findings.iter().any(|of| words.iter().all(|word| of.to_string().contains(word)))
}

/// The labels of the folder's pictures, by the pictures' names.
fn masks(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let support = Support::load(folder).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    support.pictures.into_iter().map(|of| (name(&of.path), of.mask.pixels)).collect()
}

/// A mask of 8 x 4 pixels of which the left columns are the class.
fn left(columns: usize) -> Vec<u8> {
    (0..32).map(|at| u8::from(at % 8 < columns)).collect()
}

#[test]
fn shares_are_read_as_such_in_every_format_of_pixels() {
    let ring = "[[0.0, 0.0], [0.25, 0.0], [0.25, 1.0], [0.0, 1.0]]";
    let coco = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 4}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0.25, 1]}]}"#;
    let via = r#"{"a.png1": {"filename": "a.png", "regions": [{"region_attributes": {"class": "x"},
        "shape_attributes": {"name": "rect", "x": 0, "y": 0, "width": 0.25, "height": 1}}]}}"#;
    let cvat = r#"<annotations><image name="a.png" width="8" height="4">
        <polygon label="x" points="0,0;0.25,0;0.25,1;0,1"/></image></annotations>"#;
    let voc = "<annotation><object><name>x</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>0.25</xmax>\
        <ymax>1</ymax></bndbox></object></annotation>";
    let supervisely = format!(
        r#"{{"size": {{"width": 8, "height": 4}}, "objects": [{{"classTitle": "x", "geometryType": "polygon",
            "points": {{"exterior": {ring}, "interior": []}}}}]}}"#
    );
    let cases = [
        ("images/a.json", format!(r#"{{"shapes": [{{"label": "x", "points": {ring}}}]}}"#)),
        ("annotations/all.json", coco.to_owned()),
        ("annotations/via.json", via.to_owned()),
        ("annotations.xml", cvat.to_owned()),
        ("Annotations/a.xml", voc.to_owned()),
        ("ann/a.png.json", supervisely),
        ("boxes.csv", "image,xmin,ymin,xmax,ymax,class\na.png,0,0,0.25,1,x\n".to_owned()),
    ];
    for (name, text) in cases {
        let folder = tempfile::tempdir().unwrap();
        picture(&folder.path().join("images/a.png"), 8, 4);
        file(&folder.path().join(name), &text);
        assert_eq!(masks(folder.path()), [("a.png".to_owned(), left(2))], "{name}");
        let report = check(folder.path(), None).unwrap();
        assert!(told(&report, &["between 0 and 1", "shares"]), "{name}: {report:#?}");
    }
}

#[test]
fn shares_among_pixels_leave_their_picture_out() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        picture(&folder.path().join("images").join(name), 8, 4);
    }
    let rows = "a.png,0,0,2,4,x\nb.png,0,0,2,4,x\nb.png,0.5,0.25,0.75,1,x\n";
    file(&folder.path().join("boxes.csv"), &format!("image,xmin,ymin,xmax,ymax,class\n{rows}"));
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), left(2))]);
    let report = check(folder.path(), None).unwrap();
    assert!(told(&report, &["object 2 (`x`)", "others of this file are in pixels"]), "{report:#?}");
}

#[test]
fn the_picture_that_a_file_names_is_used_where_it_alone_fits() {
    let json = |picture: &str, width: usize| {
        format!(
            r#"{{"imagePath": "{picture}", "imageWidth": {width}, "imageHeight": 4,
                "shapes": [{{"label": "x", "points": [[0, 0], [2, 0], [2, 4], [0, 4]]}}]}}"#
        )
    };
    // Both are here, and the size tells.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.png"), 6, 4);
    picture(&at("b.png"), 8, 4);
    file(&at("a.json"), &json("b.png", 8));
    assert_eq!(masks(folder.path()), [("b.png".to_owned(), left(2))]);
    assert!(told(&check(folder.path(), None).unwrap(), &["a.json names `b.png`", "the size"]));
    // Both fit: the file's own name counts.
    picture(&at("a.png"), 8, 4);
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), left(2))]);
    assert!(told(&check(folder.path(), None).unwrap(), &["which is here too"]));
    // The other is not here.
    file(&at("a.json"), &json("C:\\\\photos\\\\c.jpg", 8));
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), left(2))]);
    assert!(told(&check(folder.path(), None).unwrap(), &["1 label file names", "not here"]));
    // The file's own is not here.
    std::fs::remove_file(at("a.png")).unwrap();
    file(&at("a.json"), &json("b.jpg", 8));
    file(&at("a.json"), &json("../x/b.png", 8));
    assert_eq!(masks(folder.path()), [("b.png".to_owned(), left(2))]);
    assert!(told(&check(folder.path(), None).unwrap(), &["none has the file's own name"]));
    // No word where they agree but for ending and case.
    picture(&at("a.png"), 8, 4);
    file(&at("a.json"), &json("images\\\\A.JPG", 8));
    let open = LabelFolder::open(folder.path()).unwrap();
    assert!(!open.findings.0.iter().any(|of| of.what.contains("names")), "{:?}", open.findings);
}

#[test]
fn coco_files_meet_pictures_of_another_ending() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"), 8, 4);
    let image = |id: usize, name: &str| format!(r#"{{"id": {id}, "file_name": "{name}"}}"#);
    file(
        &at("annotations.json"),
        &format!(
            r#"{{"images": [{}, {}], "categories": [{{"id": 1, "name": "x"}}], "annotations": [
                {{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 4, 0, 4]]}}]}}"#,
            image(1, "a.jpg"),
            image(2, "b.jpg")
        ),
    );
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), left(2))]);
    let report = check(folder.path(), None).unwrap();
    assert!(told(&report, &["2 pictures it names 1 has another ending", "`a.jpg` is a.png"]));
    assert!(told(&report, &["1 is not here", "`b.jpg`"]), "{report:#?}");
}

#[test]
fn a_picture_whose_objects_are_all_lost_is_left_out_and_one_of_points_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["a", "b", "c", "d", "e"] {
        picture(&at(&format!("images/{name}.png")), 8, 4);
    }
    let voc =
        |sides: &str| format!("<annotation><object><name>x</name>{sides}</object></annotation>");
    let sides = "<bndbox><xmin>2</xmin><ymin>4</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>";
    file(&at("images/a.xml"), &voc(sides));
    file(&at("images/b.xml"), &voc(""));
    file(&at("images/c.json"), r#"{"shapes": [{"label": "x", "points": [[0, 0], [2, 2]]}]}"#);
    let point = r#"{"shapes": [{"label": "x", "points": [[0, 0]], "shape_type": "point"}]}"#;
    file(&at("images/d.json"), point);
    file(
        &at("images/e.json"),
        r#"{"shapes": [{"label": " ", "points": [[0, 0], [2, 0], [2, 2]]}]}"#,
    );
    let expected = [("a.png".to_owned(), left(2)), ("d.png".to_owned(), left(0))];
    assert_eq!(masks(folder.path()), expected);
    let report = check(folder.path(), None).unwrap();
    for name in ["b.xml", "c.json", "e.json"] {
        assert!(told(&report, &[name, "nothing is left of its labels"]), "{name}: {report:#?}");
    }
    assert!(told(&report, &["a.xml", "1 box has swapped corners"]));
    assert!(told(&report, &["d.json", "1 point, which has no inside"]));
    assert!(told(&report, &["d.json", "counts as background all over"]));
    let mut options = ConvertOptions::new(LabelFormat::Mask);
    options.lossy = true;
    let summary = convert(folder.path(), &at("out"), &options).unwrap();
    assert_eq!((summary.pictures, summary.unreadable.len()), (2, 3));
}

#[test]
fn names_of_yolo_classes_are_found_above_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for part in ["train", "valid"] {
        picture(&at(&format!("{part}/images/a.jpg")), 8, 4);
        file(&at(&format!("{part}/labels/a.txt")), "1 0.125 0.5 0.25 1\n");
        let names = || LabelFolder::open(&at(part)).unwrap().classes.names().to_vec();
        assert_eq!(names(), ["class 0", "class 1"]);
        // A file that does not say where the parts are is another's.
        file(&at("other.yaml"), "names: [no, never]\n");
        assert_eq!(names(), ["class 0", "class 1"]);
        file(
            &at("data.yaml"),
            "train: ../train/images\nval: ../valid/images\nnames: [disk, bar]\n",
        );
        assert_eq!(names(), ["disk", "bar"]);
        assert!(told(&check(&at(part), None).unwrap(), &["data.yaml"]));
        std::fs::remove_file(at("data.yaml")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn what_lies_above_a_part_and_is_gone_is_nothing_to_fail_for() {
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part");
    picture(&part.join("images/a.png"), 8, 4);
    file(&part.join("labels/a.txt"), "0 0.25 0.5 0.5 1\n");
    std::os::unix::fs::symlink("nowhere", folder.path().join("golden")).unwrap();
    assert_eq!(masks(&part), [("a.png".to_owned(), left(4))]);
    // Names of classes that cannot be read are something else.
    std::os::unix::fs::symlink("nowhere", folder.path().join("data.yaml")).unwrap();
    assert!(check(&part, None).unwrap_err().to_string().contains("data.yaml"));
}

#[test]
fn hostile_names_are_cut_tidied_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let json = |label: &str| {
        format!(
            r#"{{"shapes": [{{"label": "{label}", "points": [[0, 0], [2, 0], [2, 4], [0, 4]]}}]}}"#
        )
    };
    for name in ["a", "b", "c"] {
        picture(&at(&format!("{name}.png")), 8, 4);
    }
    file(&at("a.json"), &json("bar\\u001b[31m\\nred"));
    file(&at("b.json"), &json(&"y".repeat(900)));
    file(&at("c.json"), &json(&"x".repeat(100_000)));
    let support = Support::load(folder.path()).unwrap();
    assert_eq!((support.pictures.len(), &*support.classes[0]), (2, "bar [31m red"));
    assert!(support.warnings.iter().all(|of| of.len() < 500 && !of.contains('\u{1b}')));
    let report = check(folder.path(), None).unwrap();
    assert!(told(&report, &["c.json", "object 1", "a name of 100000 bytes", "xxx...`"]));
    assert!(told(&report, &["a.json", "line breaks"]), "{report:#?}");
    assert!(report.to_string().lines().all(|line| line.len() < 500), "{report}");
}

#[test]
fn a_large_class_number_makes_no_list_of_all_below() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"), 8, 4);
    file(&at("labels/a.txt"), "60000 0.125 0.5 0.25 1\n7 0.9 0.5 0.1 1\n");
    let open = LabelFolder::open(folder.path()).unwrap();
    assert_eq!(open.classes.names(), ["class 7", "class 60000"]);
    assert!(open.findings.0.iter().all(|of| of.what.len() < 300));
    file(&at("data.yaml"), "names: {60000: far}\n");
    let open = LabelFolder::open(folder.path()).unwrap();
    assert_eq!(open.classes.names(), ["class 7", "far"]);
}

#[test]
fn copies_are_told_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let query = tempfile::tempdir().unwrap();
    let pattern = image::RgbImage::from_fn(64, 64, |x, y| {
        let value = ((x / 8) * 7 + (y / 8) * 13).wrapping_mul(2_654_435_761) >> 24;
        image::Rgb([value as u8; 3])
    });
    std::fs::create_dir_all(folder.path().join("masks")).unwrap();
    std::fs::create_dir_all(folder.path().join("images")).unwrap();
    for at in 0..6 {
        pattern.save(folder.path().join(format!("images/{at}.png"))).unwrap();
        let mask = image::GrayImage::from_fn(64, 64, |x, _| image::Luma([u8::from(x > 9)]));
        mask.save(folder.path().join(format!("masks/{at}.png"))).unwrap();
        pattern.save(query.path().join(format!("{at}.png"))).unwrap();
    }
    file(&folder.path().join("classes.txt"), "x\n");
    let report = check(folder.path(), Some(query.path())).unwrap();
    assert_eq!((report.findings.len(), report.copies.len()), (2, 11), "{report:#?}");
    assert!(told(&report, &["5 pictures look the same as others: 1.png as 0.png", "and 2 more"]));
    assert!(told(&report, &["6 pictures look the same as labelled ones"]));
}

#[test]
fn a_mask_of_the_stored_picture_is_turned_where_the_size_tells() {
    use image::ImageEncoder as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("masks")).unwrap();
    std::fs::create_dir_all(at("images")).unwrap();
    // Stored 8 x 4, shown 4 x 8: turned to the right.
    let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let write = |exif: &[u8]| {
        let out = std::fs::File::create(at("images/a.png")).unwrap();
        let mut encoder = image::codecs::png::PngEncoder::new(out);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&[9; 96], 8, 4, image::ExtendedColorType::Rgb8).unwrap();
    };
    write(&exif);
    let mask = image::GrayImage::from_fn(8, 4, |x, y| image::Luma([u8::from(x < 2 && y < 1)]));
    mask.save(at("masks/a.png")).unwrap();
    file(&at("classes.txt"), "x\n");
    let shown: Vec<u8> = (0..32).map(|at| u8::from(at % 4 == 3 && at / 4 < 2)).collect();
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), shown.clone())]);
    assert!(told(&check(folder.path(), None).unwrap(), &["turned by its EXIF orientation 6"]));
    // Outlines, too.
    std::fs::remove_file(at("masks/a.png")).unwrap();
    let ring = "[[0, 0], [2, 0], [2, 1], [0, 1]]";
    let size = r#""imageWidth": 8, "imageHeight": 4"#;
    file(
        &at("images/a.json"),
        &format!(r#"{{{size}, "shapes": [{{"label": "x", "points": {ring}}}]}}"#),
    );
    assert_eq!(masks(folder.path()), [("a.png".to_owned(), shown)]);
    // Without an orientation nothing explains the size.
    exif[19] = 1;
    write(&exif);
    let size = r#""imageWidth": 4, "imageHeight": 8"#;
    file(
        &at("images/a.json"),
        &format!(r#"{{{size}, "shapes": [{{"label": "x", "points": {ring}}}]}}"#),
    );
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("4 x 8") && error.contains("turned"), "{error}");
}

#[test]
fn pages_of_a_tiff_are_told_once_for_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("images")).unwrap();
    std::fs::create_dir_all(at("masks")).unwrap();
    for name in ["a", "b"] {
        let out = std::fs::File::create(at(&format!("images/{name}.tif"))).unwrap();
        let mut encoder = tiff::encoder::TiffEncoder::new(out).unwrap();
        for _ in 0..3 {
            encoder.write_image::<tiff::encoder::colortype::Gray8>(8, 4, &[9; 32]).unwrap();
        }
        let mask = image::GrayImage::from_fn(8, 4, |x, _| image::Luma([u8::from(x < 2)]));
        mask.save(at(&format!("masks/{name}.png"))).unwrap();
    }
    file(&at("classes.txt"), "x\n");
    let report = check(folder.path(), Some(&at("images"))).unwrap();
    let words = "2 TIFF files have several pages, of which the first is read: a.tif (3 pages), b.tif (3 pages)";
    assert_eq!(report.findings.iter().filter(|of| of.what == words).count(), 2, "{report:#?}");
}
