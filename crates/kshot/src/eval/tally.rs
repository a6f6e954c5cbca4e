//! Pixels counted over few-shot episodes, by PANet's rule or the data set's.

use kshot_data::mask::{MAX_CLASSES, Mask};
use serde::{Deserialize, Serialize};

use crate::data::episode::Episode;
use crate::metric::calibration::Calibration;
use crate::recipe::segmentation::Counting;

/// Right, falsely found and missed pixels of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    hits: u64,
    false_alarms: u64,
    misses: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
        self.misses += other.misses;
    }

    pub(super) fn iou(self) -> Option<f64> {
        let union = self.hits + self.false_alarms + self.misses;
        (union > 0).then(|| self.hits as f64 / union as f64)
    }
}

/// What one episode adds: plane 0 is background, plane `i` the `i`-th class asked for.
pub(super) fn count(truth: &Mask, predicted: &Mask, planes: usize) -> Vec<Counts> {
    let mut counts = vec![Counts::default(); planes];
    for (&truth, &predicted) in truth.pixels.iter().zip(&predicted.pixels) {
        if truth > MAX_CLASSES {
            continue;
        }
        if truth == predicted {
            counts[usize::from(truth)].hits += 1;
        } else {
            counts[usize::from(predicted)].false_alarms += 1;
            counts[usize::from(truth)].misses += 1;
        }
    }
    counts
}

/// The counts of one run over one fold, by class of the data set; 0 is background.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tally {
    /// By class of the data set, background first.
    pub(super) classes: Vec<Counts>,
    foreground: Counts,
    pub(super) calibration: Calibration,
}

impl Tally {
    /// Nothing counted yet, for a data set of that many classes.
    pub(super) fn new(classes: usize) -> Self {
        Self {
            classes: vec![Counts::default(); classes + 1],
            foreground: Counts::default(),
            calibration: Calibration::default(),
        }
    }

    /// Mean IoU of the classes that occurred, without background.
    pub(super) fn mean_iou(&self) -> f64 {
        let known: Vec<f64> = self.classes[1..].iter().filter_map(|counts| counts.iou()).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// Mean of the IoUs of background and of all classes taken as one.
    pub(super) fn binary_iou(&self) -> f64 {
        let background = self.classes[0].iou().unwrap_or(0.0);
        f64::midpoint(background, self.foreground.iou().unwrap_or(0.0))
    }

    /// Adds an episode; `present` is how many pixels of the truth hold each value.
    pub(super) fn add(
        &mut self,
        episode: &Episode,
        counts: &[Counts],
        present: &[usize; 256],
        counting: Counting,
    ) {
        self.classes[0].add(counts[0]);
        for (way, &class) in episode.classes.iter().enumerate() {
            let counts = counts[way + 1];
            // PANet passes over a class that the query's truth does not hold.
            if counting == Counting::Panet && present[way + 1] == 0 {
                continue;
            }
            self.classes[usize::from(class)].add(counts);
            self.foreground.add(counts);
        }
    }
}

/// Mean IoU over the ways that the query's truth holds; 1 where every pixel of them is void.
pub(super) fn episode_iou(counts: &[Counts], present: &[usize; 256]) -> f64 {
    let known: Vec<f64> = (1..counts.len())
        .filter(|&way| present[way] > 0)
        .filter_map(|way| counts[way].iou())
        .collect();
    if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_counting_rules_differ_where_a_class_is_absent() {
        let truth = Mask::from_pixels(4, 1, vec![0, 1, 1, 255]).unwrap();
        let predicted = Mask::from_pixels(4, 1, vec![2, 1, 0, 2]).unwrap();
        let counts = count(&truth, &predicted, 3);
        assert_eq!(counts[1], Counts { hits: 1, false_alarms: 0, misses: 1 });
        assert_eq!(counts[2], Counts { hits: 0, false_alarms: 1, misses: 0 });
        let episode = Episode { classes: vec![5, 9], support: vec![], query: 0 };
        let tally = |counting| {
            let mut tally = Tally::new(20);
            tally.add(&episode, &counts, &truth.counts(), counting);
            (tally.classes[5].iou(), tally.classes[9].iou(), tally.foreground.iou())
        };
        assert_eq!(tally(Counting::Panet), (Some(0.5), None, Some(0.5)));
        assert_eq!(tally(Counting::Dataset), (Some(0.5), Some(0.0), Some(1.0 / 3.0)));
    }
}
