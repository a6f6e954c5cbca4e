//! Pixels counted over few-shot episodes, by PANet's rule or the data set's.

use kshot_data::mask::Mask;
use serde::{Deserialize, Serialize};

use crate::data::episode::DrawnEpisode;
use crate::error::Result;
use crate::metric::calibration::Calibration;
use crate::metric::confusion::{ClassCounts, Confusion};
use crate::recipe::Counting;

/// What one episode adds: plane 0 is background, plane `i` the `i`-th class asked for.
///
/// # Errors
/// If the sizes differ.
pub(super) fn count(truth: &Mask, predicted: &Mask, planes: usize) -> Result<Vec<ClassCounts>> {
    let mut confusion = Confusion::new(planes);
    confusion.add(truth, predicted)?;
    Ok((0..planes).map(|plane| confusion.of_class(plane)).collect())
}

/// The counts of one run over one fold, by class of the data set; 0 is background.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunCounts {
    /// By class of the data set, background first.
    pub(super) classes: Vec<ClassCounts>,
    foreground: ClassCounts,
    pub(super) calibration: Calibration,
}

impl RunCounts {
    /// Nothing counted yet, for a data set of that many classes.
    pub(super) fn new(classes: usize) -> Self {
        Self {
            classes: vec![ClassCounts::default(); classes + 1],
            foreground: ClassCounts::default(),
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
        episode: &DrawnEpisode,
        counts: &[ClassCounts],
        present: &[usize; 256],
        counting: Counting,
    ) {
        self.classes[0].merge(&counts[0]);
        for (way, &class) in episode.classes.iter().enumerate() {
            let counts = &counts[way + 1];
            // PANet passes over a class that the query's truth does not hold.
            if counting == Counting::Panet && present[way + 1] == 0 {
                continue;
            }
            self.classes[usize::from(class)].merge(counts);
            self.foreground.merge(counts);
        }
    }
}

/// Mean IoU over the ways that the query's truth holds; 1 where every pixel of them is void.
pub(super) fn episode_iou(counts: &[ClassCounts], present: &[usize; 256]) -> f64 {
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
        let counts = count(&truth, &predicted, 3).unwrap();
        let of = |tp, fp, fneg| ClassCounts {
            true_positives: tp,
            false_positives: fp,
            false_negatives: fneg,
        };
        assert_eq!(counts[1], of(1.0, 0.0, 1.0));
        assert_eq!(counts[2], of(0.0, 1.0, 0.0));
        let episode = DrawnEpisode { classes: vec![5, 9], support: vec![], query: 0 };
        let tally = |counting| {
            let mut tally = RunCounts::new(20);
            tally.add(&episode, &counts, &truth.counts(), counting);
            (tally.classes[5].iou(), tally.classes[9].iou(), tally.foreground.iou())
        };
        assert_eq!(tally(Counting::Panet), (Some(0.5), None, Some(0.5)));
        assert_eq!(tally(Counting::Dataset), (Some(0.5), Some(0.0), Some(1.0 / 3.0)));
    }
}
