//! Metrics against scikit-learn, torchmetrics and scikit-image (`golden/make_metrics.py` made the numbers), and
//! overlap against counting pixel by pixel.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use kshot::metric::boundary::boundary_f;
use kshot::metric::calibration::Calibration;
use kshot::metric::confusion::Confusion;
use kshot::metric::recognition::auroc;
use kshot::metric::{METRICS, MetricState, by_name, rows};
use kshot_data::mask::Mask;
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    levels: Vec<u8>,
    masks: Vec<Case>,
    pictures: Pictures,
    scores: Scores,
}

#[derive(Deserialize)]
struct Case {
    classes: usize,
    background: bool,
    size: [usize; 2],
    /// Values, and how many times each comes.
    truth: Vec<(u8, usize)>,
    predicted: Vec<(u8, usize)>,
    values: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Pictures {
    probability: Vec<f32>,
    right: Vec<bool>,
    ece: f64,
    accuracy: f64,
}

#[derive(Deserialize)]
struct Scores {
    r#in: Vec<f32>,
    out: Vec<f32>,
    auroc: f64,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/metrics.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn mask(pixels: &[u8]) -> Mask {
    Mask::from_pixels(pixels.len(), 1, pixels.to_vec()).unwrap()
}

/// What is counted of a part's pixels, of classes of which the first is background if there is one.
fn counted(
    (classes, background): (usize, bool),
    truth: &[u8],
    predicted: &[u8],
    confidence: &[u8],
) -> MetricState {
    let mut confusion = Confusion::new(classes).with_background(background);
    confusion.add(&mask(truth), &mask(predicted)).unwrap();
    let mut calibration = Calibration::default();
    calibration.add(&mask(truth), &mask(predicted), confidence);
    MetricState::default().with_confusion(confusion).with_calibration(calibration)
}

#[test]
fn metrics_of_pixels_agree_with_the_originals() {
    let mut wrong = Vec::new();
    let Golden { levels, masks, .. } = golden();
    for case in masks {
        let Case { classes, background, size: [height, width], values, .. } = case;
        let pixels = |runs: &[(u8, usize)]| -> Vec<u8> {
            runs.iter().flat_map(|(value, count)| vec![*value; *count]).collect()
        };
        let (truth, predicted) = (pixels(&case.truth), pixels(&case.predicted));
        let confidence: Vec<u8> = levels.iter().copied().cycle().take(truth.len()).collect();
        // In parts, as batches add up.
        let mut whole = MetricState::default();
        for at in (0..truth.len()).step_by(50) {
            let part = at..(at + 50).min(truth.len());
            let (truth, predicted) = (&truth[part.clone()], &predicted[part.clone()]);
            whole.merge(&counted((classes, background), truth, predicted, &confidence[part]));
        }
        let [truth, predicted] =
            [truth, predicted].map(|of| Mask::from_pixels(width, height, of).unwrap());
        let boundaries = boundary_f(&truth, &predicted, u8::from(background)).unwrap().unwrap();
        let whole = whole.with_mean("boundary_f", boundaries, 1.0);
        let ours = whole.values();
        assert!(ours.keys().eq(values.keys()), "{ours:?}");
        for (name, expected) in values {
            // torchmetrics computes in 32 bits.
            let tolerance = if name == "ece" { 1e-5 } else { 1e-12 };
            let value = ours[&name];
            if (value - expected).abs() > tolerance {
                wrong.push(format!("{name} of {classes} classes: {value} for {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn metrics_of_pictures_agree_with_the_originals() {
    let Golden { pictures, scores, .. } = golden();
    let predictions: Vec<_> = pictures.probability.into_iter().zip(pictures.right).collect();
    let mut state = MetricState::default().with_calibration(Calibration::of(&predictions));
    for (_, right) in predictions {
        state = state.with_mean("accuracy", f64::from(u8::from(right)), 1.0);
    }
    assert!((state.value("ece").unwrap() - pictures.ece).abs() < 1e-6);
    assert!((state.value("accuracy").unwrap() - pictures.accuracy).abs() < 1e-12);
    assert!((auroc(&scores.r#in, &scores.out).unwrap() - scores.auroc).abs() < 1e-12);
}

#[test]
fn every_metric_is_named_and_perfect_on_perfect_predictions() {
    let pixels = [0, 1, 2, 2, 255];
    let of = |predicted: &[u8], share: f64| {
        // Boundaries are far from each other, or the same.
        let row = |edge: usize| mask(&[vec![0; edge], vec![1; 20 - edge]].concat());
        let boundaries = boundary_f(&row(5), &row(if share == 1.0 { 5 } else { 15 }), 1).unwrap();
        counted((3, true), &pixels, predicted, &[255; 5])
            .with_mean("accuracy", share, 4.0)
            .with_mean("boundary_f", boundaries.unwrap(), 1.0)
    };
    let (perfect, awful) = (of(&[0, 1, 2, 2, 0], 1.0), of(&[1, 2, 0, 1, 0], 0.0));
    assert_eq!(rows().len(), METRICS.len());
    for (metric, row) in METRICS.iter().zip(rows()) {
        assert_eq!(row.name, metric.name);
        assert!(!row.summary.is_empty() && row.source.unwrap().starts_with("https://"));
        let (best, worst) = if metric.higher_is_better { (1.0, 0.0) } else { (0.0, 1.0) };
        assert_eq!(metric.of(&perfect), Some(best), "{}", metric.name);
        assert_eq!(metric.of(&awful), Some(worst), "{}", metric.name);
        assert_eq!(metric.of(&MetricState::default()), None, "{}", metric.name);
        assert_eq!(by_name(metric.name).unwrap().name, metric.name);
    }
    let error = by_name("mean_iuo").unwrap_err().to_string();
    assert!(error.contains("did you mean `mean_iou`?"), "{error}");
}

fn labels() -> impl Strategy<Value = Vec<(u8, u8)>> {
    let truth = prop_oneof![8 => 0u8..4, 1 => Just(254u8), 1 => Just(255u8)];
    proptest::collection::vec((truth, 0u8..4), 1..200)
}

proptest! {
    #[test]
    fn overlap_is_what_counting_pixel_by_pixel_gives(pixels in labels()) {
        let (truth, predicted): (Vec<u8>, Vec<u8>) = pixels.iter().copied().unzip();
        let mut confusion = Confusion::new(4);
        confusion.add(&mask(&truth), &mask(&predicted)).unwrap();
        let mut one_by_one = Confusion::new(4);
        for &(truth, predicted) in pixels.iter().filter(|(truth, _)| *truth < 4) {
            one_by_one.add_weighted(truth.into(), predicted.into(), 1.0).unwrap();
        }
        prop_assert_eq!(&confusion, &one_by_one);
        // In parts, however they are cut.
        let mut parts = Confusion::new(4);
        for part in pixels.chunks(7) {
            let (truth, predicted): (Vec<u8>, Vec<u8>) = part.iter().copied().unzip();
            parts.add_pixels(&truth, &predicted).unwrap();
        }
        prop_assert_eq!(&confusion, &parts);
        let counted = || pixels.iter().filter(|(truth, _)| *truth < 4);
        for class in 0u8..4 {
            let both = counted().filter(|(t, p)| *t == class && *p == class).count();
            let either = counted().filter(|(t, p)| *t == class || *p == class).count();
            let expected = (either > 0).then(|| both as f64 / either as f64);
            prop_assert_eq!(confusion.iou(class.into()), expected);
        }
        let state = MetricState::default().with_confusion(confusion);
        for (name, value) in state.values() {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{name}: {value}");
        }
        prop_assert_eq!(state.values().is_empty(), counted().count() == 0);
    }
}
