//! What `kshot segment` tries, what it lets expect, and what it leaves as the user labelled it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};

fn coins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/coins")
}

fn segment(support: &Path, query: &Path, out: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(super::common::binary());
    command.arg("segment").arg("--support").arg(support).arg("--query").arg(query);
    command.arg("--out").arg(out).args(flags).output().unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_effort_is_answered_with_those_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let coins = coins();
    let output = segment(
        &coins.join("support"),
        &coins.join("query"),
        folder.path(),
        &["--effort", "maximum"],
    );
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    for name in ["fast", "normal", "best"] {
        assert!(words.contains(name), "{words}");
    }
}

#[test]
fn several_methods_are_tried_and_the_page_says_what_to_expect() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, place) in [("a", 8), ("b", 30), ("c", 2)] {
        deep(&at(&format!("support/images/{name}.png")), place, None);
        square(&at(&format!("support/masks/{name}.png")), place);
    }
    deep(&at("query/one.png"), 20, None);
    let out = at("out");
    told(&segment(&at("support"), &at("query"), &out, &[]));
    let (inside, all) = found(&out.join("masks/one.png"), 20);
    assert!(inside > 480 && all < 680, "{inside} of 576 found, {all} in all");
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for words in ["Expected IoU", "pixel-decoder", "filter-forest", "Pixels expected right"] {
        assert!(page.contains(words), "{words}");
    }
    let run = fs::read_to_string(out.join("run.toml")).unwrap();
    assert!(run.contains("effort = \"normal\""), "{run}");
    let labels = fs::read_to_string(out.join("labels.csv")).unwrap();
    let mut rows = labels.lines().skip(1);
    assert!(rows.all(|row| {
        let confidence: f64 = row.split(',').nth(5).unwrap().parse().unwrap();
        (0.0..=1.0).contains(&confidence)
    }));
}

/// A gray square of `value` on black, at a place; 16 bits a pixel.
fn deep(path: &Path, place: u32, hot: Option<u16>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut picture = image::ImageBuffer::from_fn(64, 64, |x, y| {
        let inside = (place..place + 24).contains(&x) && (place..place + 24).contains(&y);
        image::Luma([if inside { 3800u16 } else { 500 + ((x * 7 + y * 13) % 90) as u16 }])
    });
    if let Some(hot) = hot {
        picture.put_pixel(1, 1, image::Luma([hot]));
    }
    picture.save(path).unwrap();
}

fn square(path: &Path, place: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_fn(64, 64, |x, y| {
        let inside = (place..place + 24).contains(&x) && (place..place + 24).contains(&y);
        image::Luma([u8::from(inside)])
    })
    .save(path)
    .unwrap();
}

/// Pixels of a mask that are the square at a place, and how many there are in all.
fn found(mask: &Path, place: u32) -> (usize, usize) {
    // Index PNGs have colours: whatever is not the background's colour is the class.
    let mask: RgbImage = kshot_data::image::read(mask).unwrap();
    let background = *mask.get_pixel(63, 0);
    let of_class = |(_, _, pixel): &(u32, u32, &Rgb<u8>)| **pixel != background;
    let inside =
        |x: u32, y: u32| (place..place + 24).contains(&x) && (place..place + 24).contains(&y);
    let all: Vec<_> = mask.enumerate_pixels().filter(of_class).collect();
    (all.iter().filter(|(x, y, _)| inside(*x, *y)).count(), all.len())
}

#[test]
fn sixteen_bits_mean_the_same_in_all_pictures_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, place) in [("a", 8), ("b", 30)] {
        deep(&at(&format!("support/images/{name}.png")), place, None);
        square(&at(&format!("support/masks/{name}.png")), place);
    }
    deep(&at("query/plain.png"), 20, None);
    deep(&at("query/hot.png"), 20, Some(65_535));
    deep(&at("query/bright.png"), 20, Some(4_300));
    let flags = ["--method", "probe", "--scale", "2", "--quiet"];
    told(&segment(&at("support"), &at("query"), &at("out"), &flags));
    for name in ["plain", "hot", "bright"] {
        let (inside, all) = found(&at(&format!("out/masks/{name}.png")), 20);
        assert!(inside > 480 && all < 680, "{name}: {inside} of 576 found, {all} in all");
    }
}

#[test]
fn a_labelled_picture_keeps_its_labels_and_is_not_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, place) in [("a", 8), ("b", 30)] {
        deep(&at(&format!("support/images/{name}.png")), place, None);
        // Labelled elsewhere than its square lies: nobody else would find this.
        square(&at(&format!("support/masks/{name}.png")), 16);
    }
    fs::create_dir_all(at("query")).unwrap();
    fs::copy(at("support/images/a.png"), at("query/same.png")).unwrap();
    for index in 0..4 {
        deep(&at(&format!("query/other-{index}.png")), 4 * index, None);
    }
    let flags = ["--method", "prototype", "--scale", "1", "--quiet"];
    told(&segment(&at("support"), &at("query"), &at("out"), &flags));
    assert_eq!(found(&at("out/masks/same.png"), 16), (576, 576));
    let labels = fs::read_to_string(at("out/labels.csv")).unwrap();
    let row = labels.lines().find(|line| line.starts_with("same.png")).unwrap();
    assert!(row.ends_with("labelled"), "{row}");
    let page = fs::read_to_string(at("out/report.html")).unwrap();
    let (_, next) = page.split_once("id=\"next\"").unwrap();
    let (next, _) = next.split_once("</section>").unwrap();
    assert!(!next.contains("same.png") && next.contains("other-"), "suggested again");
}
