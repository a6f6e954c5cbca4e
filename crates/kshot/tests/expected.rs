//! What is expected of new pictures is measured on labels that had no part in it: where labels have nothing to do with
//! the pictures, chance is expected.

#![allow(clippy::unwrap_used)]

use burn::prelude::*;
use image::{Rgb, RgbImage};
use kshot::features::extract::Extractor;
use kshot::method::few_shot::{Effort, HeadConfig};
use kshot::postprocess::refine::Refinement;
use kshot::predict::Predictor;
use kshot::predict::fit::{FitOptions, fit};
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::support::{LabelKind, LabelledPicture, Support};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn extractor() -> Extractor {
    let config = "efficientnet-lite0".parse().unwrap();
    Extractor::from_weights(&config, None, &Device::flex()).unwrap().0
}

/// Noise, with blocks of 16 pixels that are labelled by a coin.
fn noise(seed: u64) -> (RgbImage, Mask) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let side = 192;
    let image = RgbImage::from_fn(side, side, |_, _| Rgb([(); 3].map(|()| random.random())));
    let coins: Vec<u8> = (0..144).map(|_| u8::from(random.random_bool(0.5))).collect();
    let label = |place: usize| coins[place / 192 / 16 * 12 + place % 192 / 16];
    (image, Mask::from_pixels(192, 192, (0..192 * 192).map(label).collect()).unwrap())
}

/// A bright square on darker noise, labelled.
fn square(seed: u64) -> (RgbImage, Mask) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (left, top) = (random.random_range(10..90), random.random_range(10..90));
    let inside = |x: u32, y: u32| (left..left + 80).contains(&x) && (top..top + 80).contains(&y);
    let image = RgbImage::from_fn(192, 192, |x, y| {
        let value: u8 = random.random_range(20..90);
        Rgb(if inside(x, y) { [value + 120, value + 60, value] } else { [value; 3] })
    });
    let label = |place: u32| u8::from(inside(place % 192, place / 192));
    (image, Mask::from_pixels(192, 192, (0..192 * 192).map(label).collect()).unwrap())
}

fn support(pictures: Vec<(RgbImage, Mask)>) -> Support {
    let pictures = pictures.into_iter().enumerate().map(|(index, (image, mask))| LabelledPicture {
        path: format!("{index}.png").into(),
        labels: format!("{index}-mask.png").into(),
        image,
        mask,
        kind: LabelKind::Mask,
        objects: None,
    });
    Support {
        classes: vec!["thing".to_owned()],
        pictures: pictures.collect(),
        warnings: Vec::new(),
    }
}

fn fitted(support: &Support, effort: Effort) -> Predictor {
    let methods = "auto".parse::<HeadConfig>().unwrap().candidates(effort);
    let options =
        FitOptions { methods, effort, refinement: Refinement::Auto, scale: None, seed: 0 };
    fit(extractor(), support, options).unwrap()
}

/// Two classes of equal area, guessed at: a third of their union is common.
const CHANCE: f64 = 1.0 / 3.0;

#[test]
fn labels_without_meaning_are_expected_at_chance() {
    for pictures in [1, 4] {
        let support = support((0..pictures).map(noise).collect());
        let efforts =
            if pictures == 1 { &[Effort::Fast, Effort::Normal][..] } else { &[Effort::Fast] };
        for &effort in efforts {
            let predictor = fitted(&support, effort);
            let expected = predictor.choice().expected.mean_iou.unwrap();
            let told = expected.mean.unwrap_or(expected.high);
            // Guessing one class everywhere has an IoU of a half.
            assert!(told < 0.55, "{pictures} pictures, {effort:?}: {expected} for {CHANCE:.2}");
        }
    }
}

#[test]
fn one_labelled_picture_tells_a_range_and_several_a_figure() {
    let one = fitted(&support(vec![square(1)]), Effort::Fast);
    let range = one.choice().expected.mean_iou.unwrap();
    assert!(range.mean.is_none() && range.low < 0.5 && range.high > 0.5, "{range}");
    let several = fitted(&support((1..5).map(square).collect()), Effort::Fast);
    let expected = several.choice().expected.mean_iou.unwrap();
    let (image, mask) = square(77);
    let prediction = several.predict(&image).unwrap();
    let mut confusion = kshot::metric::confusion::Confusion::new(2);
    confusion.add(&mask, &prediction.labelling.mask).unwrap();
    let truth = confusion.iou(1).unwrap();
    assert!(truth > 0.8, "{truth}");
    assert!((expected.mean.unwrap() - truth).abs() < 0.15, "{expected} for {truth}");
    assert!((prediction.confidence - truth).abs() < 0.2, "{} for {truth}", prediction.confidence);
}

#[test]
fn another_kind_of_picture_is_unlike_and_trusted_less() {
    let predictor = fitted(&support((1..5).map(square).collect()), Effort::Fast);
    let like = predictor.predict(&square(9).0).unwrap();
    let stripes = RgbImage::from_fn(192, 192, |x, y| {
        if (x + y) % 8 < 4 { Rgb([250, 250, 20]) } else { Rgb([200, 10, 160]) }
    });
    let unlike = predictor.predict(&stripes).unwrap();
    assert!(!like.unlike && unlike.unlike);
    assert!(unlike.confidence < 0.6 * like.confidence, "{} {}", unlike.confidence, like.confidence);
}

#[test]
fn a_class_in_no_fitted_fold_does_not_blur_the_others() {
    // Two pictures of a thing, one of which alone holds a second class.
    let (mut both, mut labels) = square(3);
    for y in 0..24 {
        for x in 0..24 {
            both.put_pixel(x, y, Rgb([10, 250, 250]));
            labels.pixels[y as usize * 192 + x as usize] = 2;
        }
    }
    let mut all = support(vec![square(4), (both, labels), square(5)]);
    all.classes.push("rare".to_owned());
    let predictor = fitted(&all, Effort::Fast);
    assert!(predictor.choice().temperature < 4.0, "{}", predictor.choice().temperature);
}

#[test]
fn strokes_are_fitted_and_judged_too() {
    let (image, mut mask) = square(6);
    for (place, pixel) in mask.pixels.iter_mut().enumerate() {
        let (x, y) = (place % 192, place / 192);
        if !(x.abs_diff(100) < 4 || y.abs_diff(100) < 4) {
            *pixel = UNLABELLED;
        }
    }
    let predictor = fitted(&support(vec![(image, mask)]), Effort::Normal);
    let expected = predictor.choice().expected.mean_iou.unwrap();
    assert!(expected.mean.is_none(), "one picture's strokes tell a range: {expected}");
}
