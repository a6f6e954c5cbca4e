//! What is learnt from strokes: a few labelled pixels, and nothing from the others.

use std::path::Path;

use image::{GrayImage, Luma};
use kshot::job::{TrainOptions, Watch, train};

use super::support::{LISTED, Place, SCRATCH, SUPERVISED, alone, tiny};

/// What masks have where nobody labelled.
const UNLABELLED: u8 = 255;
/// Pictures that are learnt from; as many more validate.
const LEARNT: u32 = 4;

/// Keeps some pixels of every sixth row.
fn stroke(mask: &Path) {
    let whole = image::open(mask).unwrap().into_luma8();
    let kept = |x: u32, y: u32| y % 6 == 2 && !x.is_multiple_of(3);
    GrayImage::from_fn(whole.width(), whole.height(), |x, y| {
        if kept(x, y) { *whole.get_pixel(x, y) } else { Luma([UNLABELLED]) }
    })
    .save(mask)
    .unwrap();
}

#[test]
fn strokes_teach_what_covers_whole_pictures() {
    let _alone = alone();
    let place = Place::with_squares(2 * LEARNT, [40, 32], &[[220, 40, 30]], &["red"]);
    let list =
        |numbers: std::ops::Range<u32>| numbers.map(|of| format!("{of}\n")).collect::<String>();
    std::fs::write(place.at("data/train.txt"), list(0..LEARNT)).unwrap();
    std::fs::write(place.at("data/validation.txt"), list(LEARNT..2 * LEARNT)).unwrap();
    for number in 0..LEARNT {
        stroke(&place.at(&format!("data/masks/{number}.png")));
    }
    let train_keys = r#"
        steps = 60
        validate_every = 20
        seed = 0
        batch = 4
        learning_rate = 1e-2
        optimizer = "adam"
    "#;
    let loss = r#"loss.terms=[{ name = "cross-entropy" }, { name = "dice" }]"#;
    let sections = [LISTED, SCRATCH, SUPERVISED, train_keys];
    let recipe = tiny(&place.written("data"), sections, &[loss]).unwrap();
    let trained = train(&TrainOptions::new(recipe, place.at("run")), &Watch::silent()).unwrap();
    let found = trained.best.monitored(&trained.monitor);
    assert!(found > 0.7, "{} on whole masks: {found}", trained.monitor);
}
