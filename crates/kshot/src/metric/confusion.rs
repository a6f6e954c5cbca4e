//! The confusion matrix of a segmentation, and what is read off it.

use kshot_data::mask::{MAX_CLASSES, Mask};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Pixels by true class (row) and predicted class (column), class 0 being background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix of `classes` classes, background included.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts a picture; void and unlabelled pixels of the truth do not count.
    ///
    /// # Errors
    /// If the sizes differ or a class is out of range.
    pub fn add(&mut self, truth: &Mask, predicted: &Mask) -> Result<()> {
        if (truth.width, truth.height) != (predicted.width, predicted.height) {
            return Err(Error::data(format!(
                "the prediction is {} x {} but the truth {} x {}",
                predicted.width, predicted.height, truth.width, truth.height
            )));
        }
        for (&truth, &predicted) in truth.pixels.iter().zip(&predicted.pixels) {
            if truth > MAX_CLASSES {
                continue;
            }
            let (row, column) = (usize::from(truth), usize::from(predicted));
            if row.max(column) >= self.classes {
                return Err(Error::data(format!(
                    "class {} among {} classes (0 is background)",
                    row.max(column),
                    self.classes
                )));
            }
            self.counts[row * self.classes + column] += 1;
        }
        Ok(())
    }

    /// Adds another matrix of the same size.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.classes, other.classes);
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    fn row(&self, class: usize) -> u64 {
        self.counts[class * self.classes..][..self.classes].iter().sum()
    }

    fn column(&self, class: usize) -> u64 {
        self.counts.iter().skip(class).step_by(self.classes).sum()
    }

    /// Right pixels of a class.
    pub fn hits(&self, class: usize) -> u64 {
        self.counts[class * self.classes + class]
    }

    /// Pixels that are of a class or predicted as it.
    pub fn union(&self, class: usize) -> u64 {
        self.row(class) + self.column(class) - self.hits(class)
    }

    /// Intersection over union, 0 to 1; `None` for a class that is neither there nor predicted.
    pub fn iou(&self, class: usize) -> Option<f64> {
        let union = self.union(class);
        (union > 0).then(|| self.hits(class) as f64 / union as f64)
    }

    /// Twice the intersection over the sum of both areas, 0 to 1.
    pub fn dice(&self, class: usize) -> Option<f64> {
        let sum = self.row(class) + self.column(class);
        (sum > 0).then(|| 2.0 * self.hits(class) as f64 / sum as f64)
    }

    /// Mean IoU of `classes`, those that are neither there nor predicted left out.
    pub fn mean_iou(&self, classes: impl Iterator<Item = usize>) -> f64 {
        let known: Vec<f64> = classes.filter_map(|class| self.iou(class)).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// Share of right pixels, 0 to 1.
    pub fn pixel_accuracy(&self) -> f64 {
        let hits: u64 = (0..self.classes).map(|class| self.hits(class)).sum();
        hits as f64 / self.counts.iter().sum::<u64>().max(1) as f64
    }

    /// Mean over the classes that are there of the share of their pixels that is right.
    pub fn mean_pixel_accuracy(&self) -> f64 {
        let known: Vec<f64> = (0..self.classes)
            .filter(|&class| self.row(class) > 0)
            .map(|class| self.hits(class) as f64 / self.row(class) as f64)
            .collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    }

    /// IoU weighted by how frequent each class is.
    pub fn fw_iou(&self) -> f64 {
        let total = self.counts.iter().sum::<u64>().max(1) as f64;
        (0..self.classes)
            .filter_map(|class| Some(self.row(class) as f64 / total * self.iou(class)?))
            .sum()
    }
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
        assert!((confusion.pixel_accuracy() - 0.6).abs() < 1e-12);
        assert!((confusion.mean_pixel_accuracy() - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert!((confusion.fw_iou() - (0.4 / 3.0 + 0.6 * 0.5)).abs() < 1e-12);
        assert!((confusion.dice(1).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }
}
