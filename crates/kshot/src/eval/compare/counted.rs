//! Figures of pixels: ratios of counts that are added up over what is drawn.

use crate::eval::rows::Counts;
use crate::metric::confusion::ClassCounts;
use crate::metric::paired::{DrawnUnit, PairedFigures, Side};

/// A figure of the counts of a group by class, background first.
pub(super) type OfCounts = fn(&[ClassCounts]) -> f64;

/// The figures of segmentation, by the names of the results' metrics, the headline first.
pub(super) const OF_PICTURES: [(&str, OfCounts); 8] = [
    ("mean_iou", mean_iou),
    ("binary_iou", |classes| mean(classes.iter().filter_map(ClassCounts::iou))),
    ("dice", |classes| mean(foreground(classes).iter().filter_map(ClassCounts::dice))),
    ("precision", |classes| mean(foreground(classes).iter().filter_map(ClassCounts::precision))),
    ("recall", |classes| mean(foreground(classes).iter().filter_map(ClassCounts::recall))),
    ("fw_iou", fw_iou),
    ("mean_pixel_accuracy", |classes| {
        mean(classes.iter().filter(|of| truth(of) > 0.0).map(|of| of.true_positives / truth(of)))
    }),
    ("pixel_accuracy", |classes| {
        let right: f64 = classes.iter().map(|of| of.true_positives).sum();
        let all: f64 = classes.iter().map(truth).sum();
        if all > 0.0 { right / all } else { 0.0 }
    }),
];

/// The figures of few-shot segmentation: of background, and of the classes asked for.
pub(super) const OF_EPISODES: [(&str, OfCounts); 2] = [
    ("mean_iou", mean_iou),
    ("binary_iou", |classes| {
        let mut all = ClassCounts::default();
        foreground(classes).iter().for_each(|of| all.merge(of));
        let background = classes.first().and_then(ClassCounts::iou).unwrap_or(0.0);
        f64::midpoint(background, all.iou().unwrap_or(0.0))
    }),
];

fn foreground(classes: &[ClassCounts]) -> &[ClassCounts] {
    classes.get(1..).unwrap_or_default()
}

fn mean_iou(classes: &[ClassCounts]) -> f64 {
    mean(foreground(classes).iter().filter_map(ClassCounts::iou))
}

/// IoU weighted by how frequent each class is.
fn fw_iou(classes: &[ClassCounts]) -> f64 {
    let all: f64 = classes.iter().map(truth).sum();
    let there = classes.iter().filter(|of| truth(of) > 0.0);
    there.filter_map(|of| Some(truth(of) / all * of.iou()?)).sum()
}

/// Pixels of the class.
fn truth(of: &ClassCounts) -> f64 {
    of.true_positives + of.false_negatives
}

/// Counts as they are added up.
fn class_counts([hits, wrong, missed]: Counts) -> ClassCounts {
    ClassCounts {
        true_positives: hits as f64,
        false_positives: wrong as f64,
        false_negatives: missed as f64,
    }
}

/// The mean; 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count > 0 { sum / f64::from(count) } else { 0.0 }
}

/// What a unit adds: group (run of a fold, or seed), class and counts.
pub(super) type Added = (usize, usize, Counts);

/// Figures that are the mean over groups of a figure of the group's counts.
pub(super) struct CountedFigures {
    pub(super) strata: Vec<usize>,
    pub(super) groups: usize,
    /// With background.
    pub(super) classes: usize,
    pub(super) figures: Vec<OfCounts>,
    /// What each unit adds, in the first and the second result.
    pub(super) units: [Vec<Vec<Added>>; 2],
}

impl CountedFigures {
    /// The figures of each group of a result's whole units.
    pub(super) fn by_group(&self, side: Side) -> Vec<Vec<f64>> {
        let all: usize = self.strata.iter().sum();
        let drawn: Vec<DrawnUnit> = (0..all).map(|unit| DrawnUnit { unit, side }).collect();
        let counts = self.add(&drawn);
        let of_group = |group: &[ClassCounts]| self.figures.iter().map(|of| of(group)).collect();
        counts.chunks(self.classes).map(of_group).collect()
    }

    fn add(&self, drawn: &[DrawnUnit]) -> Vec<ClassCounts> {
        let mut sums = vec![ClassCounts::default(); self.groups * self.classes];
        for &DrawnUnit { unit, side } in drawn {
            let units = match side {
                Side::First => &self.units[0],
                Side::Second => &self.units[1],
            };
            for &(group, class, counts) in &units[unit] {
                sums[group * self.classes + class].merge(&class_counts(counts));
            }
        }
        sums
    }
}

impl PairedFigures for CountedFigures {
    fn strata(&self) -> &[usize] {
        &self.strata
    }

    fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64> {
        let counts = self.add(drawn);
        let figure = |of: &OfCounts| mean(counts.chunks(self.classes).map(of));
        self.figures.iter().map(figure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::confusion::Confusion;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn counts_of_classes_give_what_the_confusion_matrix_gives(
            classes in 2..5usize,
            pixels in prop::collection::vec((0..5usize, 0..5usize), 1..40),
        ) {
            let mut confusion = Confusion::new(classes);
            for (truth, predicted) in pixels {
                confusion.add_weighted(truth % classes, predicted % classes, 1.0).unwrap();
            }
            let counts: Vec<ClassCounts> =
                (0..classes).map(|class| confusion.of_class(class)).collect();
            let expected = [
                confusion.mean_iou(1..classes),
                confusion.mean_iou(0..classes),
                confusion.mean_dice(1..classes),
                confusion.mean_precision(1..classes),
                confusion.mean_recall(1..classes),
                confusion.fw_iou(),
                confusion.mean_pixel_accuracy(),
                confusion.pixel_accuracy(),
            ];
            for ((name, of), expected) in OF_PICTURES.iter().zip(expected) {
                prop_assert!((of(&counts) - expected).abs() < 1e-12, "{name}");
            }
        }
    }
}
