//! What mean IoU to expect of new pictures, with an interval, from labels that had no part in the choice.

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::metric::confusion::Confusion;
use crate::predict::folds::HeldOutBy;
use crate::predict::held_out::mean_iou;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 500;
/// The share of an interval's bounds that lies below and above.
const TAIL: f64 = 0.1;
/// Half of the narrowest interval from one picture; from `n` it is so much over their root. Pictures that happen to agree
/// say little of others: without it, intervals held the truth in six of eleven draws of three to six pictures.
const LEAST: f64 = 0.25;
/// How far a single picture (or blocks of a few) is trusted: of ten folders with one labelled picture or a stroke a class,
/// eight had at least about a sixth of what blocks gave.
const BLOCKS_LOW: f64 = 0.15;
/// The share of what blocks got wrong that other pictures may get right, where blocks got half of it right or more: what
/// learns little from a picture's pixels errs in its other half as elsewhere.
const BLOCKS_HIGH: f64 = 0.6;

/// An expected intersection over union, 0 to 1, between bounds that are to hold eight times of ten.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct ExpectedIou {
    /// The expectation; `None` where the labels tell a range only.
    pub mean: Option<f64>,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// What to expect of new pictures like the labelled ones.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Expected {
    /// Mean over the classes; `None` where nothing could be held out.
    pub mean_iou: Option<ExpectedIou>,
    /// By class, from 1; `None` where no held-out label holds it.
    pub classes: Vec<Option<ExpectedIou>>,
}

impl Expected {
    /// From what was counted in each held-out part.
    pub fn of(parts: &[Confusion], held_out: HeldOutBy) -> Self {
        let Some(first) = parts.first() else {
            return Self::default();
        };
        let planes = first.classes();
        let all = merged(parts.iter());
        let classes: Vec<Option<f64>> = (1..planes).map(|class| all.iou(class)).collect();
        if classes.iter().all(Option::is_none) {
            return Self { mean_iou: None, classes: vec![None; planes - 1] };
        }
        if held_out == HeldOutBy::Blocks {
            let range = |iou: f64| ExpectedIou {
                mean: None,
                low: BLOCKS_LOW * iou,
                high: iou + BLOCKS_HIGH * (1.0 - iou) * (2.0 * iou).min(1.0),
            };
            return Self {
                mean_iou: Some(range(mean_iou(&all))),
                classes: classes.into_iter().map(|iou| iou.map(range)).collect(),
            };
        }
        let mut random = ChaCha8Rng::seed_from_u64(parts.len() as u64);
        let resamples: Vec<Confusion> = (0..RESAMPLES)
            .map(|_| merged((0..parts.len()).map(|_| &parts[random.random_range(0..parts.len())])))
            .collect();
        let interval = |value: f64, of: &dyn Fn(&Confusion) -> Option<f64>| {
            let mut values: Vec<f64> = resamples.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
            // A bootstrap of n pictures is too narrow by about sqrt(n / (n - 1)), and blind to what none of them shows.
            let n = parts.len() as f64;
            let widen = (n / (n - 1.0).max(0.5)).sqrt() * (1.0 + 2.0 / n);
            let least = LEAST / n.sqrt();
            let low = (value + (at(TAIL) - value) * widen).min(value - least).max(0.0);
            let high = (value + (at(1.0 - TAIL) - value) * widen).max(value + least).min(1.0);
            ExpectedIou { mean: Some(value), low, high }
        };
        let of_class = |(index, iou): (usize, Option<f64>)| {
            iou.map(|iou| interval(iou, &|confusion: &Confusion| confusion.iou(index + 1)))
        };
        Self {
            mean_iou: Some(interval(mean_iou(&all), &|confusion| Some(mean_iou(confusion)))),
            classes: classes.into_iter().enumerate().map(of_class).collect(),
        }
    }
}

fn merged<'a>(parts: impl Iterator<Item = &'a Confusion>) -> Confusion {
    let mut parts = parts;
    let mut sum = parts.next().cloned().unwrap_or_else(|| Confusion::new(1));
    parts.for_each(|part| sum.merge(part));
    sum
}

impl ExpectedIou {
    /// The figure and what lies around it, in words; the range alone where there is no figure.
    pub fn told(&self) -> (String, String) {
        let [low, high] = [self.low, self.high].map(|bound| 100.0 * bound);
        match self.mean {
            Some(mean) => (format!("{:.0} %", 100.0 * mean), format!("{low:.0} to {high:.0} %")),
            None => (format!("{low:.0} to {high:.0} %"), "too few labels for a figure".to_owned()),
        }
    }
}

impl fmt::Display for ExpectedIou {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = [self.low, self.high].map(|bound| 100.0 * bound);
        match self.mean {
            Some(mean) => write!(f, "{:.1} % ({low:.0} to {high:.0})", 100.0 * mean),
            None => write!(f, "between {low:.0} and {high:.0} %"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mean_iou {
            Some(iou) => iou.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(right: f64, wrong: f64) -> Confusion {
        let mut confusion = Confusion::new(2);
        for (actual, predicted, weight) in [(1, 1, right), (1, 0, wrong), (0, 0, 5.0)] {
            confusion.add_weighted(actual, predicted, weight).expect("in range");
        }
        confusion
    }

    #[test]
    fn more_pictures_that_agree_give_a_narrower_interval_and_blocks_a_range() {
        let width = |pictures: usize| {
            let alike = Expected::of(&vec![part(8.0, 2.0); pictures], HeldOutBy::Pictures);
            let iou = alike.mean_iou.expect("known");
            assert!((iou.mean.expect("known") - 0.8).abs() < 1e-9);
            iou.high - iou.low
        };
        assert!(width(4) > 0.2 && width(25) < 0.11, "{} {}", width(4), width(25));
        let unlike = [part(9.0, 1.0), part(1.0, 9.0), part(5.0, 5.0)];
        let iou = Expected::of(&unlike, HeldOutBy::Pictures).mean_iou.expect("known");
        assert!(iou.low < 0.4 && iou.high > 0.6, "{iou:?}");
        let iou = Expected::of(&unlike, HeldOutBy::Blocks).mean_iou.expect("known");
        assert_eq!((iou.mean, iou.high), (None, 0.8));
    }

    #[test]
    fn a_class_without_pixels_is_not_known_to_be_perfect() {
        let mut empty = Confusion::new(2);
        empty.add_weighted(0, 0, 10.0).expect("in range");
        assert_eq!(Expected::of(&[empty], HeldOutBy::Pictures).mean_iou, None);
    }
}
