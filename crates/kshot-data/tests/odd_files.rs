//! Label files as tools of all kinds leave them.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use kshot_data::convert::{ConvertOptions, LabelFormat, convert};
use kshot_data::label_folder::LabelFolder;

fn picture(path: &Path, width: u32, height: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::new(width, height).save(path).unwrap();
}

fn file(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn what_no_file_could_hold_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("in/images/a.png"), 4, 2);
    file(
        &at("in/annotations/a.json"),
        r#"{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "bar "}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}]}"#,
    );
    let error = convert(&at("in"), &at("out"), &ConvertOptions::new(LabelFormat::Mask))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"bar \"") && error.contains("blanks") && !at("out").exists(),
        "{error}"
    );
    // LabelMe's labels lose their blanks as they are read; a picture inside the file that is none is told.
    picture(&at("labelme/a.png"), 4, 2);
    let shapes = r#""shapes": [{"label": "bar ", "points": [[0, 0], [2, 0], [2, 2]]}]"#;
    file(&at("labelme/a.json"), &format!("\u{feff}{{{shapes}}}"));
    file(&at("labelme/b.json"), &format!(r#"{{{shapes}, "imageData": "aGVsbG8="}}"#));
    let open = LabelFolder::open(&at("labelme")).unwrap();
    assert_eq!(open.classes.names(), ["bar"]);
    assert!(open.findings.0.iter().any(|finding| finding.what.contains("imageData is no picture")));
    let old =
        b"{\"shapes\": [{\"label\": \"\xcf\xb8\xb0\xfb\", \"points\": [[0, 0], [2, 0], [2, 2]]}]}";
    std::fs::write(at("labelme/a.json"), old).unwrap();
    let open = LabelFolder::open(&at("labelme")).unwrap();
    assert_eq!(open.classes.names(), ["\u{7ec6}\u{80de}"]);
}
