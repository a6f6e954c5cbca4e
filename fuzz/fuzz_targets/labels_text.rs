//! YOLO's text and names, tables of boxes, lists of colours.
#![no_main]

use kshot_data::finding::Findings;
use kshot_data::labels::colours::Colours;
use kshot_data::labels::files::LabelFile;
use kshot_data::labels::{boxes, yolo, yolo_names};
use kshot_fuzz::{as_file, painted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let findings = &mut Findings::default();
    as_file("a.txt", data, |path| {
        if let Ok(outlines) = yolo::read(path, None, findings) {
            painted(LabelFile::one(outlines));
        }
    });
    as_file("boxes.csv", data, |path| drop(boxes::read_csv(path, findings)));
    as_file("data.yaml", data, |path| drop(yolo_names::read(path)));
    as_file("colors.csv", data, |path| drop(Colours::find(path.parent().expect("a folder"))));
});
