//! The confusion matrix of a segmentation or classification, and what is read off it.

use std::ops::Range;

use kshot_data::mask::{MAX_CLASSES, Mask};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Pixels (or pictures, or shares of either) by actual class (row) and predicted class (column). The
/// only place where overlap is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    /// Whether class 0 is background.
    background: bool,
    counts: Vec<f64>,
}

/// What a [`Confusion`] says of one class. Sums of them over pictures or episodes are meaningful.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Of the class and predicted as it.
    pub true_positives: f64,
    /// Predicted as the class, but of another.
    pub false_positives: f64,
    /// Of the class, but predicted as another.
    pub false_negatives: f64,
}

impl ClassCounts {
    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
    }

    /// What is of the class or predicted as it.
    pub fn union(&self) -> f64 {
        self.true_positives + self.false_positives + self.false_negatives
    }

    /// Intersection over union (Jaccard index), 0 to 1; `None` for a class that is neither there nor
    /// predicted.
    pub fn iou(&self) -> Option<f64> {
        let union = self.union();
        (union > 0.0).then(|| self.true_positives / union)
    }

    /// Share of what was predicted as the class that is of it, 0 to 1: 0 where nothing was predicted as it,
    /// `None` for a class that is neither there nor predicted.
    pub fn precision(&self) -> Option<f64> {
        let predicted = self.true_positives + self.false_positives;
        (self.union() > 0.0).then(|| self.true_positives / predicted.max(f64::MIN_POSITIVE))
    }

    /// Share of the class that was predicted as it, 0 to 1: 0 where it is not there, `None` for a class that is
    /// neither there nor predicted.
    pub fn recall(&self) -> Option<f64> {
        let there = self.true_positives + self.false_negatives;
        (self.union() > 0.0).then(|| self.true_positives / there.max(f64::MIN_POSITIVE))
    }

    /// Twice the intersection over the sum of both areas (Dice coefficient, F1), 0 to 1; `None` for a
    /// class that is neither there nor predicted.
    pub fn dice(&self) -> Option<f64> {
        let sum = 2.0 * self.true_positives + self.false_positives + self.false_negatives;
        (sum > 0.0).then(|| 2.0 * self.true_positives / sum)
    }
}

impl Confusion {
    /// An empty matrix of `classes` classes, of which class 0 is background.
    pub fn new(classes: usize) -> Self {
        Self { classes, background: true, counts: vec![0.0; classes * classes] }
    }

    /// Of counts, row by row.
    ///
    /// # Panics
    /// If they are not `classes * classes`.
    pub(super) fn from_counts(classes: usize, counts: Vec<f64>) -> Self {
        assert_eq!(counts.len(), classes * classes, "a row and a column for each class");
        Self { counts, ..Self::new(classes) }
    }

    /// Says whether class 0 is background, which means over classes leave out. Without it class 0 is
    /// a class as any other, or never occurs (CamVid).
    #[must_use]
    pub fn with_background(self, background: bool) -> Self {
        Self { background, ..self }
    }

    /// How many classes, background included.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether class 0 is background.
    pub fn has_background(&self) -> bool {
        self.background
    }

    /// Counts a picture; void and unlabelled pixels of the truth do not count.
    ///
    /// # Errors
    /// If the sizes differ or a class is out of range; then nothing is counted.
    pub fn add(&mut self, truth: &Mask, predicted: &Mask) -> Result<()> {
        if (truth.width, truth.height) != (predicted.width, predicted.height) {
            return Err(Error::data(format!(
                "the prediction is {} x {} but the truth {} x {}",
                predicted.width, predicted.height, truth.width, truth.height
            )));
        }
        self.add_pixels(&truth.pixels, &predicted.pixels)
    }

    /// Counts pixels of any pictures; those whose truth is void or unlabelled do not count.
    ///
    /// # Errors
    /// If there are more of one, or a class is out of range; then nothing is counted.
    pub fn add_pixels(&mut self, truth: &[u8], predicted: &[u8]) -> Result<()> {
        if truth.len() != predicted.len() {
            let (predicted, truth) = (predicted.len(), truth.len());
            return Err(Error::data(format!("{predicted} pixels predicted but {truth} of truth")));
        }
        let table = Table::new(self.classes);
        let parts = truth.len().div_ceil(PART).min(rayon::current_num_threads()).max(1);
        let part = truth.len().div_ceil(parts).max(1);
        let counts = truth
            .par_chunks(part)
            .zip(predicted.par_chunks(part))
            .map(|(truth, predicted)| table.count(truth, predicted))
            .reduce(
                || vec![0; table.cells()],
                |mut sums, counts| {
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    sums
                },
            );
        if table.is_any_wrong(&counts) {
            let pairs = truth.iter().zip(predicted).filter(|(truth, _)| **truth <= MAX_CLASSES);
            let mut classes = pairs.map(|(truth, predicted)| usize::from(*truth.max(predicted)));
            return classes.try_for_each(|class| self.in_range(class));
        }
        for (class, sums) in self.counts.chunks_exact_mut(self.classes).enumerate() {
            for (sum, count) in sums.iter_mut().zip(table.row(&counts, class)) {
                *sum += *count as f64;
            }
        }
        Ok(())
    }

    /// Counts one pixel, cell or picture by a weight, such as the share of a cell that is labelled.
    ///
    /// # Errors
    /// If a class is out of range.
    pub fn add_weighted(&mut self, truth: usize, predicted: usize, weight: f64) -> Result<()> {
        self.in_range(truth.max(predicted))?;
        self.counts[truth * self.classes + predicted] += weight;
        Ok(())
    }

    fn in_range(&self, class: usize) -> Result<()> {
        if class < self.classes {
            return Ok(());
        }
        let classes = self.classes;
        Err(Error::data(format!("class {class} among {classes} classes (0 is background)")))
    }

    /// Adds another matrix.
    ///
    /// # Panics
    /// If it is of other classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(
            (self.classes, self.background),
            (other.classes, other.background),
            "confusion matrices of the same classes are added"
        );
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// All that was counted.
    pub fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// How much of `truth` was predicted as `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> f64 {
        self.counts[truth * self.classes + predicted]
    }

    fn row(&self, class: usize) -> f64 {
        self.counts[class * self.classes..][..self.classes].iter().sum()
    }

    fn column(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes).sum()
    }

    /// Right pixels of a class.
    pub fn hits(&self, class: usize) -> f64 {
        self.count(class, class)
    }

    /// What there is to say of one class.
    pub fn of_class(&self, class: usize) -> ClassCounts {
        let hits = self.hits(class);
        ClassCounts {
            true_positives: hits,
            false_positives: self.column(class) - hits,
            false_negatives: self.row(class) - hits,
        }
    }

    /// Pixels that are of a class or predicted as it, rounded up: 0 only if there is none.
    pub fn union(&self, class: usize) -> u64 {
        self.of_class(class).union().ceil() as u64
    }

    /// Intersection over union, 0 to 1; `None` for a class that is neither there nor predicted.
    pub fn iou(&self, class: usize) -> Option<f64> {
        self.of_class(class).iou()
    }

    /// Twice the intersection over the sum of both areas, 0 to 1.
    pub fn dice(&self, class: usize) -> Option<f64> {
        self.of_class(class).dice()
    }

    /// The classes that means are over: all but background, or background where it is all there is.
    pub fn averaged(&self) -> Range<usize> {
        usize::from(self.background && self.classes > 1)..self.classes
    }

    /// Mean IoU of `classes`, those that are neither there nor predicted left out; 0 if all are.
    /// [`Self::averaged`] are those to take.
    pub fn mean_iou(&self, classes: impl Iterator<Item = usize>) -> f64 {
        mean(classes.filter_map(|class| self.iou(class))).unwrap_or(0.0)
    }

    /// Mean Dice coefficient of `classes`, those that are neither there nor predicted left out; 0 if
    /// all are.
    pub fn mean_dice(&self, classes: impl Iterator<Item = usize>) -> f64 {
        mean(classes.filter_map(|class| self.dice(class))).unwrap_or(0.0)
    }

    /// Mean precision of `classes`, those that are neither there nor predicted left out; 0 if all are.
    pub fn mean_precision(&self, classes: impl Iterator<Item = usize>) -> f64 {
        mean(classes.filter_map(|class| self.of_class(class).precision())).unwrap_or(0.0)
    }

    /// Mean recall of `classes`, those that are neither there nor predicted left out; 0 if all are.
    pub fn mean_recall(&self, classes: impl Iterator<Item = usize>) -> f64 {
        mean(classes.filter_map(|class| self.of_class(class).recall())).unwrap_or(0.0)
    }

    /// Mean of the IoUs of background and of the other classes' pooled counts (as PANet's code has it:
    /// one class taken for another is a false positive and a false negative). `None` without
    /// background or other classes.
    pub fn binary_iou(&self) -> Option<f64> {
        if !self.background || self.classes < 2 {
            return None;
        }
        let mut foreground = ClassCounts::default();
        (1..self.classes).for_each(|class| foreground.merge(&self.of_class(class)));
        mean([self.iou(0), foreground.iou()].into_iter().flatten())
    }

    /// Share of right pixels, 0 to 1.
    pub fn pixel_accuracy(&self) -> f64 {
        let hits: f64 = (0..self.classes).map(|class| self.hits(class)).sum();
        let total = self.total();
        if total > 0.0 { hits / total } else { 0.0 }
    }

    /// Mean over the classes that are there, background included, of the share of their pixels that is
    /// right.
    pub fn mean_pixel_accuracy(&self) -> f64 {
        let known = (0..self.classes).filter(|&class| self.row(class) > 0.0);
        mean(known.map(|class| self.hits(class) / self.row(class))).unwrap_or(0.0)
    }

    /// IoU weighted by how frequent each class is, background included.
    pub fn fw_iou(&self) -> f64 {
        let total = self.total();
        (0..self.classes)
            .filter(|&class| self.row(class) > 0.0)
            .filter_map(|class| Some(self.row(class) / total * self.iou(class)?))
            .sum()
    }
}

/// Pixels that a thread should have at least.
const PART: usize = 1 << 15;

/// Where pairs of labels are counted without a question for each: a row for each class, one for classes that are
/// out of range, one for what does not count; a column for each class and one for those out of range.
struct Table {
    classes: usize,
    /// By label of the truth, where its row begins.
    rows: [u32; 256],
    /// By predicted label, its column.
    columns: [u32; 256],
}

impl Table {
    fn new(classes: usize) -> Self {
        let width = classes as u32 + 1;
        let known = |label: usize| label.min(classes) as u32;
        let row = |label: usize| {
            if label > usize::from(MAX_CLASSES) { classes as u32 + 1 } else { known(label) }
        };
        Self {
            classes,
            rows: std::array::from_fn(|label| row(label) * width),
            columns: std::array::from_fn(known),
        }
    }

    fn cells(&self) -> usize {
        (self.classes + 2) * (self.classes + 1)
    }

    fn count(&self, truth: &[u8], predicted: &[u8]) -> Vec<u64> {
        // Neighbours mostly fall into the same cell: each of four has a table of its own, so that none waits for
        // the one before.
        let mut tables: [Vec<u32>; 4] = std::array::from_fn(|_| vec![0; self.cells()]);
        let mut sums = vec![0u64; self.cells()];
        // Below what 32 bits hold.
        for (truth, predicted) in truth.chunks(1 << 31).zip(predicted.chunks(1 << 31)) {
            let mut count = |table: usize, truth: u8, predicted: u8| {
                let cell = self.rows[usize::from(truth)] + self.columns[usize::from(predicted)];
                tables[table][cell as usize] += 1;
            };
            let (fours, rest) = truth.as_chunks::<4>();
            let (predicted_fours, predicted_rest) = predicted.as_chunks::<4>();
            for (truth, predicted) in fours.iter().zip(predicted_fours) {
                count(0, truth[0], predicted[0]);
                count(1, truth[1], predicted[1]);
                count(2, truth[2], predicted[2]);
                count(3, truth[3], predicted[3]);
            }
            for (truth, predicted) in rest.iter().zip(predicted_rest) {
                count(0, *truth, *predicted);
            }
            for table in &mut tables {
                for (sum, count) in sums.iter_mut().zip(table) {
                    *sum += u64::from(std::mem::take(count));
                }
            }
        }
        sums
    }

    fn row<'a>(&self, counts: &'a [u64], class: usize) -> &'a [u64] {
        &counts[class * (self.classes + 1)..][..self.classes]
    }

    /// Whether a pixel that counts has a class out of range.
    fn is_any_wrong(&self, counts: &[u64]) -> bool {
        let width = self.classes + 1;
        let known = counts[..self.classes * width].chunks_exact(width);
        known
            .map(|row| row[self.classes])
            .chain(counts[self.classes * width..][..width].iter().copied())
            .any(|count| count > 0)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        let truth = Mask::from_pixels(6, 1, vec![0, 0, 1, 1, 1, 255]).unwrap();
        let predicted = Mask::from_pixels(6, 1, vec![0, 1, 1, 1, 0, 1]).unwrap();
        let mut confusion = Confusion::new(3);
        confusion.add(&truth, &predicted).unwrap();
        assert_eq!(confusion.iou(0), Some(1.0 / 3.0));
        assert_eq!(confusion.iou(1), Some(0.5));
        assert_eq!(confusion.iou(2), None);
        assert!((confusion.mean_iou(0..3) - 5.0 / 12.0).abs() < 1e-12);
        assert_eq!(confusion.mean_iou(confusion.averaged()), 0.5);
        assert!((confusion.binary_iou().unwrap() - 5.0 / 12.0).abs() < 1e-12);
        assert!((confusion.pixel_accuracy() - 0.6).abs() < 1e-12);
        assert!((confusion.mean_pixel_accuracy() - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!((confusion.fw_iou() - (0.4 / 3.0 + 0.6 * 0.5)).abs() < 1e-12);
        assert!((confusion.dice(1).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn weights_add_up_and_a_wrong_class_counts_nothing() {
        let mut confusion = Confusion::new(2);
        confusion.add_weighted(1, 1, 0.25).unwrap();
        confusion.add_weighted(1, 0, 0.5).unwrap();
        assert_eq!(confusion.iou(1), Some(0.25 / 0.75));
        assert_eq!(confusion.union(1), 1);
        let before = confusion.clone();
        assert!(confusion.add_weighted(2, 0, 1.0).is_err());
        let truth = Mask::from_pixels(2, 1, vec![0, 0]).unwrap();
        let predicted = Mask::from_pixels(2, 1, vec![0, 7]).unwrap();
        assert!(confusion.add(&truth, &predicted).is_err());
        assert_eq!(confusion, before);
    }

    #[test]
    fn background_is_left_out_of_means_where_there_are_other_classes() {
        assert_eq!(Confusion::new(3).averaged(), 1..3);
        assert_eq!(Confusion::new(1).averaged(), 0..1);
        assert_eq!(Confusion::new(3).with_background(false).averaged(), 0..3);
        assert_eq!(Confusion::new(3).with_background(false).binary_iou(), None);
    }
}
