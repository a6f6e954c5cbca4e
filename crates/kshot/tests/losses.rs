//! Losses against PyTorch and segmentation_models_pytorch (`golden/make_losses.py` made the numbers),
//! against central differences, and what the contract promises of every row of the table.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use kshot::loss::boundary::Boundary;
use kshot::loss::cross_entropy::CrossEntropy;
use kshot::loss::dice::Dice;
use kshot::loss::focal::{Focal, Probability};
use kshot::loss::jaccard::Jaccard;
use kshot::loss::lovasz::Lovasz;
use kshot::loss::ohem::Ohem;
use kshot::loss::tversky::Tversky;
use kshot::loss::weights::Balance;
use kshot::loss::{Loss, LossConfig, Per, Term, rows};
use kshot::weights::state::StateDict;

const SIZE: [usize; 4] = [2, 4, 5, 6];

fn logits_of(values: &[f32], size: [usize; 4]) -> Tensor<4> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values.to_vec(), size), &device).require_grad()
}

fn targets_of(values: &[i64], size: [usize; 3]) -> Tensor<3, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), size), &Device::flex().autodiff())
}

/// The value and the gradient with respect to the logits.
fn judged(loss: &Loss, logits: &[f32], targets: &[i64], size: [usize; 4]) -> (f32, Vec<f32>) {
    let logits = logits_of(logits, size);
    let value = loss.forward(logits.clone(), targets_of(targets, [size[0], size[2], size[3]]));
    assert_eq!(value.dims(), [1]);
    let gradient = logits.grad(&value.clone().backward()).unwrap();
    (value.into_scalar(), gradient.into_data().try_into_vec().unwrap())
}

/// Logits and targets of the golden file, which hold void pixels and a class that no pixel is of.
fn given() -> (StateDict, Vec<f32>, Vec<i64>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/losses.safetensors");
    let mut state = StateDict::read(&path).unwrap();
    let logits = state.take("logits", &SIZE).unwrap().try_to_vec::<f32>().unwrap();
    let targets = state.take("targets", &[2, 5, 6]).unwrap().try_to_vec::<f32>().unwrap();
    (state, logits, targets.into_iter().map(|target| target as i64).collect())
}

fn entropy(weights: &[f64], label_smoothing: f64) -> Loss {
    Loss::CrossEntropy(CrossEntropy { weights: weights.to_vec().into(), label_smoothing })
}

/// What the golden file has, by its names.
fn compared() -> Vec<(&'static str, Loss)> {
    let weights = || vec![0.5, 2.0, 1.25, 3.0];
    let tversky = |alpha, beta, gamma, smooth, per| {
        Loss::Tversky(Tversky { alpha, beta, gamma, smooth, per })
    };
    let focal = |gamma, weights: Vec<f64>, probability| {
        Loss::Focal(Focal { gamma, weights: weights.into(), probability })
    };
    let ohem = |threshold, least, weights: Vec<f64>| {
        Loss::Ohem(Ohem { threshold, least, weights: weights.into() })
    };
    vec![
        ("cross-entropy", entropy(&[], 0.0)),
        ("weights", entropy(&weights(), 0.0)),
        ("smoothing", entropy(&[], 0.1)),
        ("both", entropy(&weights(), 0.3)),
        ("dice", Loss::Dice(Dice::default())),
        ("dice-smooth", Loss::Dice(Dice { smooth: 1.0, per: Per::Batch })),
        ("dice-picture", Loss::Dice(Dice { smooth: 0.0, per: Per::Picture })),
        ("jaccard", Loss::Jaccard(Jaccard::default())),
        ("jaccard-picture", Loss::Jaccard(Jaccard { smooth: 2.0, per: Per::Picture })),
        ("tversky", Loss::Tversky(Tversky::default())),
        ("tversky-picture", tversky(0.8, 0.4, 1.0, 1.0, Per::Picture)),
        ("tversky-focal", tversky(0.3, 0.7, 4.0 / 3.0, 0.0, Per::Batch)),
        ("focal", Loss::Focal(Focal::default())),
        ("focal-weights", focal(1.5, weights(), Probability::Softmax)),
        ("focal-sigmoid", focal(2.0, vec![], Probability::Sigmoid)),
        ("focal-sigmoid-weights", focal(3.0, weights(), Probability::Sigmoid)),
        ("lovasz", Loss::Lovasz(Lovasz::default())),
        ("lovasz-picture", Loss::Lovasz(Lovasz { per: Per::Picture })),
        ("ohem", Loss::Ohem(Ohem::default())),
        ("ohem-least", ohem(0.01, 0.5, vec![])),
        ("ohem-weights", ohem(0.6, 0.25, weights())),
        ("boundary", Loss::Boundary(Boundary::default())),
        ("boundary-pixels", Loss::Boundary(Boundary { normalize: false })),
    ]
}

#[test]
fn values_and_gradients_agree_with_the_originals() {
    let (mut state, logits, targets) = given();
    let mut wrong = Vec::new();
    let mut compare = |name: &str, (value, gradient): (f32, Vec<f32>), tolerance: f32| {
        let expected = state.take(&format!("{name}.value"), &[1]).unwrap();
        let expected = expected.try_to_vec::<f32>().unwrap()[0];
        let all = state.take(&format!("{name}.gradient"), &SIZE).unwrap();
        let all = all.try_to_vec::<f32>().unwrap();
        let length = |of: &mut dyn Iterator<Item = f32>| of.map(|v| v * v).sum::<f32>().sqrt();
        let apart = length(&mut all.iter().zip(&gradient).map(|(a, b)| a - b));
        let apart = apart / length(&mut all.iter().copied());
        if !((value - expected).abs() <= tolerance * expected.abs() && apart <= 10.0 * tolerance) {
            wrong.push(format!("{name}: {value} for {expected}, gradients {apart} apart"));
        }
    };
    for (name, loss) in compared() {
        compare(name, judged(&loss, &logits, &targets, SIZE), 1e-6);
    }
    // Whole pictures: the first pixel of each.
    let firsts: Vec<f32> = logits.chunks_exact(30).map(|plane| plane[0]).collect();
    let labels: Vec<i64> = targets.chunks_exact(30).map(|picture| picture[0]).collect();
    let (value, small) = judged(&entropy(&[], 0.1), &firsts, &labels, [2, 4, 1, 1]);
    let mut gradient = vec![0.0; logits.len()];
    gradient.chunks_exact_mut(30).zip(small).for_each(|(plane, first)| plane[0] = first);
    compare("pictures", (value, gradient), 1e-6);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Half the way over which a slope is taken.
const STEP: f32 = 0.02;

#[test]
fn gradients_agree_with_central_differences() {
    let (_, logits, targets) = given();
    let all = Loss::all().into_iter().map(|loss| ("by default", loss)).chain(compared());
    for (row, loss) in all {
        let (_, gradient) = judged(&loss, &logits, &targets, SIZE);
        let (mut checked, mut passed_over) = (0, 0);
        for at in (0..logits.len()).step_by(7) {
            let moved = |by: f32| {
                let mut logits = logits.clone();
                logits[at] += by;
                let (value, gradient) = judged(&loss, &logits, &targets, SIZE);
                (f64::from(value), f64::from(gradient[at]))
            };
            let ((above, right), (below, left)) = (moved(STEP), moved(-STEP));
            let own = f64::from(gradient[at]);
            // Where pixels are sorted or chosen, an order that changes on the way is a kink: there the slopes
            // on both sides and in the middle do not lie on a line.
            if (f64::midpoint(left, right) - own).abs() > 5e-5 {
                passed_over += 1;
                continue;
            }
            checked += 1;
            let apart = ((above - below) / f64::from(2.0 * STEP) - own).abs();
            assert!(apart < 6e-5, "{} ({row}) at {at}: {apart} from {own}", loss.name());
        }
        assert!(checked >= 2 * passed_over, "{} ({row}): {passed_over} kinks", loss.name());
        if !matches!(loss, Loss::Lovasz(_) | Loss::Ohem(_)) {
            assert_eq!(passed_over, 0, "{} ({row}) has no kinks", loss.name());
        }
    }
}

#[test]
fn class_weights_by_frequency_agree_with_the_originals() {
    let (mut state, _, targets) = given();
    let mut counts = [[0usize; 256]; 2];
    for (at, target) in targets.iter().enumerate() {
        counts[at / 30][*target as usize] += 1;
    }
    for balance in [Balance::MedianFrequency, Balance::LogInverse, Balance::Inverse] {
        let expected = state.take(&format!("by.{}", balance.name()), &[4]).unwrap();
        let ours = balance.weights(&counts, 4).unwrap();
        for (ours, expected) in ours.iter().zip(expected.try_to_vec::<f32>().unwrap()) {
            let apart = (ours - f64::from(expected)).abs();
            assert!(apart <= 1e-6 * ours, "{}: {ours} for {expected}", balance.name());
        }
    }
}

#[test]
fn every_loss_keeps_the_contract() {
    let (_, logits, targets) = given();
    for loss in Loss::all() {
        let name = loss.name();
        loss.check(4).unwrap();
        let (value, gradient) = judged(&loss, &logits, &targets, SIZE);
        assert!(value.is_finite() && value > 0.0, "{name}: {value}");
        assert!(gradient.iter().all(|v| v.is_finite()), "{name}");
        // Pixels that don't count have no gradient, and what is said of them changes nothing.
        let void = |at: usize| targets[at / 120 * 30 + at % 30] == 255;
        for (at, gradient) in gradient.iter().enumerate() {
            assert!(!void(at) || *gradient == 0.0, "{name} at {at}: {gradient}");
        }
        assert!(gradient.iter().any(|gradient| *gradient != 0.0), "{name}");
        let mut other = logits.clone();
        other.iter_mut().enumerate().filter(|(at, _)| void(*at)).for_each(|(_, v)| *v += 9.0);
        assert_eq!(judged(&loss, &other, &targets, SIZE), (value, gradient.clone()), "{name}");
        let unlabelled: Vec<i64> =
            targets.iter().map(|t| if *t == 255 { 254 } else { *t }).collect();
        assert_eq!(judged(&loss, &logits, &unlabelled, SIZE), (value, gradient), "{name}");
        // None counts at all.
        let (value, gradient) = judged(&loss, &logits, &[255; 60], SIZE);
        assert_eq!(value, 0.0, "{name}");
        assert!(gradient.iter().all(|gradient| *gradient == 0.0), "{name}");
        // Right and sure is about 0.
        let mut sure = vec![-30.0; logits.len()];
        for (at, target) in targets.iter().enumerate().filter(|(_, target)| **target != 255) {
            sure[at / 30 * 120 + *target as usize * 30 + at % 30] = 30.0;
        }
        let (value, _) = judged(&loss, &sure, &targets, SIZE);
        assert!(value.abs() < 1e-5, "{name}: {value}");
        // Extreme logits stay finite.
        let wild: Vec<f32> = logits.iter().map(|value| value * 1e4).collect();
        let (value, gradient) = judged(&loss, &wild, &targets, SIZE);
        assert!(value.is_finite() && gradient.iter().all(|v| v.is_finite()), "{name}");
    }
}

#[test]
fn every_loss_survives_a_recipe() {
    let described = rows();
    for (loss, row) in Loss::all().into_iter().zip(&described) {
        assert_eq!(loss.name(), row.name);
        assert!(!row.summary.is_empty() && row.source.as_ref().unwrap().starts_with("https://"));
        let config = LossConfig { terms: vec![Term { loss: loss.clone(), weight: 0.25 }] };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<LossConfig>(&text).unwrap(), config, "{text}");
        let short = format!("terms = [{{ name = \"{}\" }}]", row.name);
        let config: LossConfig = toml::from_str(&short).unwrap();
        assert_eq!(config.terms, [Term { loss, weight: 1.0 }]);
    }
    assert_eq!(described.len(), Loss::all().len());
}

#[test]
fn terms_are_added_by_weight() {
    let (_, logits, targets) = given();
    let text = "terms = [{ name = \"cross-entropy\" }, { name = \"dice\", weight = 0.5 }]";
    let config: LossConfig = toml::from_str(text).unwrap();
    config.check(4).unwrap();
    let sum = config.forward(logits_of(&logits, SIZE), targets_of(&targets, [2, 5, 6]));
    let of = |loss: &Loss| judged(loss, &logits, &targets, SIZE).0;
    let expected = of(&Loss::all()[0]) + 0.5 * of(&Loss::all()[1]);
    assert!((sum.into_scalar::<f32>() - expected).abs() < 1e-6);
}
