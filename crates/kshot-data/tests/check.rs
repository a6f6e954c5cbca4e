//! `kshot data check`: each fault is found, and nothing else.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use image::RgbImage;
use kshot_data::check::{Report, Severity, check};
use kshot_data::near_duplicate::{alike, difference_hash};

/// A picture of blobs that depend on the seed.
fn picture(seed: u32, side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        let (x, y) = (x * 8 / side, y * 8 / side);
        let value = (x * 7 + y * 13 + seed * 31).wrapping_mul(2_654_435_761 + seed) >> 24;
        image::Rgb([value as u8; 3])
    })
}

#[test]
fn flat_pictures_are_not_called_alike() {
    let flat = difference_hash(&RgbImage::from_pixel(20, 20, image::Rgb([7; 3])));
    assert!(!alike(flat, flat));
    let hash = difference_hash(&picture(4, 64));
    assert!(alike(hash, difference_hash(&picture(4, 96))));
    assert!(!alike(hash, difference_hash(&picture(5, 64))));
}

fn save(folder: &Path, name: &str, picture: &RgbImage) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn mask(folder: &Path, name: &str, side: u32, value: impl Fn(u32, u32) -> u8) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([value(x, y)])).save(path).unwrap();
}

fn expect(report: &Report, severity: Severity, file: &str, what: &str) {
    let found = report.findings.iter().any(|finding| {
        finding.severity == severity && finding.file.ends_with(file) && finding.what.contains(what)
    });
    assert!(found, "no {severity} on {file} with `{what}` in {:#?}", report.findings);
}

#[test]
fn a_clean_folder_has_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for seed in 0..3 {
        save(at, &format!("images/{seed}.png"), &picture(seed, 32));
        mask(at, &format!("masks/{seed}.png"), 32, |x, _| u8::from(x > 9));
    }
    std::fs::write(at.join("classes.txt"), "thing\n").unwrap();
    let report = check(at, None).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.labelled, &report.classes[..]), (3, &["thing".to_owned()][..]));
}

#[test]
fn each_fault_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (seed, name) in ["a", "b", "c", "d", "e", "f"].iter().enumerate() {
        save(at, &format!("images/{name}.png"), &picture(seed as u32, 32));
    }
    save(at, "images/b.bmp", &picture(20, 32));
    save(at, "images/copy.png", &picture(0, 48));
    mask(at, "masks/a.png", 32, |x, _| if x > 9 { 7 } else { 0 });
    mask(at, "masks/b.png", 16, |x, _| u8::from(x > 9));
    mask(at, "masks/c.png", 32, |_, _| 0);
    mask(at, "masks/d.png", 32, |x, _| if x == 0 { 255 } else { u8::from(x > 9) });
    save(at, "masks/e.png", &RgbImage::from_pixel(32, 32, image::Rgb([9, 2, 3])));
    mask(at, "masks/lost.png", 32, |x, _| u8::from(x > 9));
    mask(at, "masks/copy.png", 32, |x, _| u8::from(x > 9));
    std::fs::write(at.join("classes.txt"), "thing\nother\n").unwrap();
    let query = tempfile::tempdir().unwrap();
    save(query.path(), "sub/same.png", &picture(3, 64));
    save(query.path(), "new.png", &image::imageops::rotate90(&picture(11, 64)));
    std::fs::write(query.path().join("empty.jpg"), b"").unwrap();
    let report = check(at, Some(query.path())).unwrap();
    for (severity, file, what) in [
        (Severity::Error, "masks/a.png", "7 (704 pixels)"),
        (Severity::Error, "masks/b.png", "16 x 16"),
        (Severity::Error, "masks/copy.png", "48 x 48"),
        (Severity::Error, "images/b.png", "same name as b.bmp"),
        (Severity::Error, "masks/e.png", "colours"),
        (Severity::Error, "empty.jpg", "empty"),
        (Severity::Warning, "masks/c.png", "all background"),
        (Severity::Warning, "images/f.png", "without a label"),
        (Severity::Warning, "masks/lost.png", "no picture"),
        (Severity::Warning, "classes.txt", "`other` has no pixel"),
        (Severity::Warning, "images/copy.png", "same as a.png"),
        (Severity::Warning, "sub/same.png", "labelled picture d.png"),
        (Severity::Note, "masks/d.png", "void"),
    ] {
        expect(&report, severity, file, what);
    }
    assert_eq!(report.findings.len(), 13, "{:#?}", report.findings);
    assert!(report.has_errors() && report.query == 3);
}
