//! Paired comparisons against SciPy's (golden/make_compare.py).
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use kshot::metric::confusion::ClassCounts;
use kshot::metric::paired::{Difference, DrawnUnit, PairedFigures, PairedMeans, Side, compare};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    means: Vec<Case<f64>>,
    ious: Vec<Case<[[f64; 3]; 2]>>,
}

#[derive(Deserialize)]
struct Case<T> {
    first: Vec<T>,
    second: Vec<T>,
    difference: f64,
    interval: [f64; 2],
    above_zero: f64,
    /// The standard error that the bootstrap gives.
    deviation: f64,
    p: f64,
}

fn golden() -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/compare.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Draws are other ones than SciPy's: a bound of 10 000 resamples has an error of about 0.03 standard errors, a
/// share of at most 0.005. All changes of sides are the same, so a p-value of few units is exact.
fn check<T>(case: &Case<T>, of: Difference) {
    let n = case.first.len();
    assert_eq!(of.n, n);
    assert!((of.difference - case.difference).abs() < 1e-12, "{n}: {}", of.difference);
    for (bound, expected) in of.interval.unwrap().into_iter().zip(case.interval) {
        let off = (bound - expected).abs() / case.deviation;
        assert!(off < 0.15, "{n}: a bound of {bound}, not {expected}");
    }
    let above = of.above_zero.unwrap();
    assert!((above - case.above_zero).abs() < 0.02, "{n}: {above}, not {}", case.above_zero);
    let (p, within) = (of.p.unwrap(), if n <= 13 { 1e-12 } else { 0.02 });
    assert!((p - case.p).abs() < within, "{n}: p of {p}, not {}", case.p);
}

#[test]
fn differences_of_means_agree_with_scipy() {
    for case in golden().means {
        let units = |values: &[f64]| values.iter().map(|value| vec![*value]).collect();
        let of = compare(&PairedMeans::new(units(&case.first), units(&case.second)), 0);
        check(&case, of[0]);
    }
}

/// Mean IoU of two classes over all pixels of the pictures drawn.
struct Ious<'a>(&'a Case<[[f64; 3]; 2]>, [usize; 1]);

impl PairedFigures for Ious<'_> {
    fn strata(&self) -> &[usize] {
        &self.1
    }

    fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64> {
        let mut sums = [ClassCounts::default(); 2];
        for of in drawn {
            let side = if of.side == Side::First { &self.0.first } else { &self.0.second };
            for (sum, [hits, wrong, missed]) in sums.iter_mut().zip(side[of.unit]) {
                sum.merge(&ClassCounts {
                    true_positives: hits,
                    false_positives: wrong,
                    false_negatives: missed,
                });
            }
        }
        vec![sums.iter().filter_map(ClassCounts::iou).sum::<f64>() / 2.0]
    }
}

#[test]
fn differences_of_ious_over_all_pixels_agree_with_scipy() {
    for case in golden().ious {
        let of = compare(&Ious(&case, [case.first.len()]), 0);
        check(&case, of[0]);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let case = &golden().means[2];
    let units = |values: &[f64]| values.iter().map(|value| vec![*value]).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| compare(&PairedMeans::new(units(&case.first), units(&case.second)), 7))
    };
    assert_eq!(with(1), with(3));
    let other = compare(&PairedMeans::new(units(&case.first), units(&case.second)), 8);
    assert_ne!(with(1)[0].interval, other[0].interval, "another seed, other draws");
}
