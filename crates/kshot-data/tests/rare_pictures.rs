//! JPEG XL and DICOM against what libjxl and pydicom read (`golden/make_rare.py`), whole and damaged.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::PathBuf;

use kshot_data::image;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
fn damaged_ones_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(16);
    for file in files() {
        let whole = fs::read(&file).unwrap();
        let damaged = folder.path().join(file.file_name().unwrap());
        for length in [0, 1, 140, whole.len() / 3, whole.len() / 2] {
            fs::write(&damaged, &whole[..length.min(whole.len() / 2)]).unwrap();
            assert!(image::read(&damaged).is_err(), "{} of {length} bytes", damaged.display());
        }
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            fs::write(&damaged, &bytes).unwrap();
            // Whatever comes of it, nothing panics.
            if let Err(error) = image::read(&damaged) {
                assert!(error.to_string().contains(damaged.to_str().unwrap()), "{error}");
            }
        }
    }
}
