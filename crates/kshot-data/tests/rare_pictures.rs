//! JPEG XL and DICOM against what libjxl and pydicom read (`golden/make_rare.py`), whole and cut off.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::PathBuf;

use kshot_data::image;

fn golden() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/rare"))
}

fn files() -> Vec<PathBuf> {
    let mut files = image::list(golden(), false).unwrap();
    files.retain(|file| file.extension().is_some_and(|end| end == "jxl" || end == "dcm"));
    assert_eq!(files.len(), 9);
    files
}

#[test]
fn pictures_are_what_other_programs_read() {
    for file in files() {
        let read = image::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let expected = image::read(golden().join(format!("{name}.png"))).unwrap();
        assert_eq!(read.dimensions(), expected.dimensions(), "{name}");
        assert_eq!(image::dimensions(&file).unwrap(), expected.dimensions(), "{name}");
        let differences = read.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b));
        // Decoders of lossy files round in their own ways, and so do windows.
        let most = if name == "lossless.jxl" || name == "rgb.dcm" { 0 } else { 2 };
        assert!(differences.max().unwrap() <= most, "{name}");
    }
}

#[test]
fn those_that_end_early_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for file in files() {
        let whole = fs::read(&file).unwrap();
        let damaged = folder.path().join(file.file_name().unwrap());
        for length in [0, 1, 140, whole.len() / 3, whole.len() / 2] {
            fs::write(&damaged, &whole[..length.min(whole.len() / 2)]).unwrap();
            assert!(image::read(&damaged).is_err(), "{} of {length} bytes", damaged.display());
        }
    }
}

#[test]
fn a_header_that_its_file_cannot_fill_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.dcm");
    let mut bytes = fs::read(golden().join("rgb.dcm")).unwrap();
    // Rows (0028,0010) and columns (0028,0011), as 16 bits.
    for element in [[0x28, 0, 0x10, 0], [0x28, 0, 0x11, 0]] {
        let at = bytes.windows(4).position(|part| part == element).unwrap();
        bytes[at + 8..at + 10].copy_from_slice(&10_000u16.to_le_bytes());
    }
    fs::write(&file, bytes).unwrap();
    let error = image::read(&file).unwrap_err().to_string();
    assert!(error.contains("10000 x 10000") && error.contains("cannot hold"), "{error}");
}
