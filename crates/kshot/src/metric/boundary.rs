//! `boundary_f`: how well the boundaries of the classes are met.
//!
//! Csurka et al., *What is a good evaluation measure for semantic segmentation?*, BMVC 2013,
//! doi 10.5244/C.27.32, and Perazzi et al., *A benchmark dataset and evaluation methodology for video object
//! segmentation* (DAVIS), CVPR 2016: a boundary pixel is met if a boundary pixel of the same class in the
//! other mask is at most 0.75 % of the picture's diagonal away, 1 pixel at least. Precision is the share of
//! predicted boundary pixels that are met, recall that of the truth's, F their harmonic mean; the mean is over
//! the classes that have a boundary in truth or prediction, then over pictures.
//!
//! A boundary pixel is one of a class that has a neighbour of another one above, below, left or right. The truth's
//! void pixels take the nearest label (of equally near ones the lowest class's), so that objects inside a rim of
//! void (VOC) have a boundary; but what lies farther inside void than the tolerance counts nowhere.

use kshot_data::mask::{MAX_CLASSES, Mask, VOID};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// The tolerance as a share of the diagonal.
const TOLERANCE: f64 = 0.0075;

/// The F-score of the boundaries of a picture, 0 to 1; `None` where no class has a boundary. Classes count from
/// `first` on: 1 leaves background out.
///
/// # Errors
/// If the sizes differ.
pub fn boundary_f(truth: &Mask, predicted: &Mask, first: u8) -> Result<Option<f64>> {
    let scores = boundary_scores(truth, predicted, first)?;
    let sum: f64 = scores.iter().map(|(_, score)| score).sum();
    Ok((!scores.is_empty()).then(|| sum / scores.len() as f64))
}

/// The F-score of each class that has a boundary in truth or prediction, 0 to 1, with the class; these are what
/// [`boundary_f`] is the mean of.
///
/// # Errors
/// If the sizes differ.
pub fn boundary_scores(truth: &Mask, predicted: &Mask, first: u8) -> Result<Vec<(u8, f64)>> {
    if (truth.width, truth.height) != (predicted.width, predicted.height) {
        return Err(Error::data(format!(
            "the prediction is {} x {} but the truth {} x {}",
            predicted.width, predicted.height, truth.width, truth.height
        )));
    }
    let tolerance = (TOLERANCE * (truth.width as f64).hypot(truth.height as f64)).max(1.0);
    let disk = Disk::new(truth, tolerance);
    let (truth, counts) = disk.filled(truth);
    let of_truth: Vec<u8> = disk.boundary(&truth);
    // What does not count is no boundary of the truth's.
    let of_truth: Vec<u8> = of_truth
        .iter()
        .zip(&counts)
        .map(|(class, counts)| if *counts { *class } else { NONE })
        .collect();
    let of_prediction = disk.boundary(&predicted.pixels);
    let counted: Vec<u8> = of_prediction
        .iter()
        .zip(&counts)
        .map(|(class, counts)| if *counts { *class } else { NONE })
        .collect();
    let precision = disk.met(&counted, &of_truth);
    let recall = disk.met(&of_truth, &of_prediction);
    let scores = (first..=MAX_CLASSES).filter_map(|class| {
        let [(met, predicted), (found, there)] =
            [precision[usize::from(class)], recall[usize::from(class)]];
        if predicted + there == 0 {
            return None;
        }
        let share = |met: u64, all: u64| met as f64 / all.max(1) as f64;
        let (precision, recall) = (share(met, predicted), share(found, there));
        let both = precision + recall;
        Some((class, if both > 0.0 { 2.0 * precision * recall / both } else { 0.0 }))
    });
    Ok(scores.collect())
}

/// No boundary.
const NONE: u8 = VOID;

/// Places around a pixel.
struct Disk {
    width: usize,
    height: usize,
    tolerance: f64,
    /// Right, down and the square of the distance, the nearest first, up to a pixel beyond the tolerance.
    places: Vec<(isize, isize, usize)>,
    /// How many of them are within the tolerance.
    within: usize,
}

impl Disk {
    fn new(mask: &Mask, tolerance: f64) -> Self {
        let reach = tolerance + 1.0;
        let side = reach.ceil() as isize;
        let far = |x: isize, y: isize| (x * x + y * y) as usize;
        let mut places: Vec<(isize, isize, usize)> = (-side..=side)
            .flat_map(|y| (-side..=side).map(move |x| (x, y, far(x, y))))
            .filter(|place| place.2 as f64 <= reach * reach)
            .collect();
        places.sort_by_key(|(x, y, far)| (*far, *y, *x));
        let within =
            places.iter().take_while(|place| place.2 as f64 <= tolerance * tolerance).count();
        Self { width: mask.width, height: mask.height, tolerance, places, within }
    }

    /// The pixel at a place around another, if the picture holds it.
    fn at(&self, pixel: usize, x: isize, y: isize) -> Option<usize> {
        let x = (pixel % self.width).checked_add_signed(x).filter(|x| *x < self.width)?;
        let y = (pixel / self.width).checked_add_signed(y).filter(|y| *y < self.height)?;
        Some(y * self.width + x)
    }

    /// The labels, with the nearest one in place of void where it is in reach; and which pixels count.
    fn filled(&self, mask: &Mask) -> (Vec<u8>, Vec<bool>) {
        let label = |(pixel, own): (usize, &u8)| {
            if *own <= MAX_CLASSES {
                return (*own, true);
            }
            let mut nearest: Option<(u8, usize)> = None;
            for &(x, y, far) in &self.places {
                if nearest.is_some_and(|(_, nearest)| far > nearest) {
                    break;
                }
                let label = self.at(pixel, x, y).map(|at| mask.pixels[at]);
                if let Some(label) = label.filter(|label| *label <= MAX_CLASSES) {
                    nearest = Some((nearest.map_or(label, |(lowest, _)| lowest.min(label)), far));
                }
            }
            let counts = |far: usize| far as f64 <= self.tolerance * self.tolerance;
            nearest.map_or((VOID, false), |(label, far)| (label, counts(far)))
        };
        mask.pixels.par_iter().enumerate().map(label).unzip()
    }

    /// The class of each boundary pixel, [`NONE`] elsewhere.
    fn boundary(&self, pixels: &[u8]) -> Vec<u8> {
        let edge = |(pixel, &own): (usize, &u8)| {
            let (x, y) = (pixel % self.width, pixel / self.width);
            let other = |there: bool, at: usize| there && pixels[at] != own;
            let is_edge = own <= MAX_CLASSES
                && (other(x > 0, pixel.wrapping_sub(1))
                    || other(x + 1 < self.width, pixel + 1)
                    || other(y > 0, pixel.wrapping_sub(self.width))
                    || other(y + 1 < self.height, pixel + self.width));
            if is_edge { own } else { NONE }
        };
        pixels.par_iter().enumerate().map(edge).collect()
    }

    /// By class, how many of the boundary pixels are met by one of the other boundary, and how many there are.
    fn met(&self, boundary: &[u8], other: &[u8]) -> Vec<(u64, u64)> {
        let rows = boundary.par_chunks(self.width.max(1)).enumerate();
        let of_row = |(y, row): (usize, &[u8])| {
            let mut sums = vec![(0, 0); 256];
            for (x, &class) in row.iter().enumerate().filter(|(_, class)| **class != NONE) {
                let pixel = y * self.width + x;
                let mut places = self.places[..self.within].iter();
                let is_met = places
                    .any(|&(x, y, _)| self.at(pixel, x, y).is_some_and(|at| other[at] == class));
                sums[usize::from(class)].0 += u64::from(is_met);
                sums[usize::from(class)].1 += 1;
            }
            sums
        };
        let add = |mut sums: Vec<(u64, u64)>, of: Vec<(u64, u64)>| {
            sums.iter_mut().zip(of).for_each(|(sum, of)| *sum = (sum.0 + of.0, sum.1 + of.1));
            sums
        };
        rows.map(of_row).reduce(|| vec![(0, 0); 256], add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let value = |letter: char| match letter {
            '.' => 0,
            '?' => 255,
            digit => digit as u8 - b'0',
        };
        let pixels = rows.iter().flat_map(|row| row.chars().map(value)).collect();
        Mask::from_pixels(rows[0].len(), rows.len(), pixels).unwrap()
    }

    #[test]
    fn by_hand() {
        let truth = mask(&["111....", "111....", "111....", "......."]);
        assert_eq!(boundary_f(&truth, &truth, 1).unwrap(), Some(1.0));
        // Five boundary pixels of the truth; three columns to the right are two pixels off.
        let moved = mask(&["...111.", "...111.", "...111.", "......."]);
        // Predicted: 3 on the left, 3 on the right, and the one between them below. Met: of the left column all
        // three, which lie beside column 2. Of the truth: column 2, three of five.
        let (precision, recall) = (3.0 / 7.0, 3.0 / 5.0);
        let expected = 2.0 * precision * recall / (precision + recall);
        let found = boundary_f(&truth, &moved, 1).unwrap().unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        // A class that is not there has no boundary that could be met; with background, two classes.
        let none = mask(&["......."; 4]);
        assert_eq!(boundary_f(&truth, &none, 1).unwrap(), Some(0.0));
        assert_eq!(boundary_scores(&truth, &moved, 1).unwrap(), [(1, found)]);
        assert_eq!(boundary_scores(&truth, &truth, 0).unwrap(), [(0, 1.0), (1, 1.0)]);
        assert_eq!(boundary_f(&none, &none, 1).unwrap(), None);
        assert_eq!(boundary_f(&truth, &truth, 0).unwrap(), Some(1.0));
        assert!(boundary_f(&truth, &mask(&["1"]), 1).is_err());
    }

    #[test]
    fn rims_of_void_have_a_boundary_in_their_middle() {
        let truth = mask(&["11??..."; 3]);
        for predicted in ["111....", "11....."] {
            assert_eq!(boundary_f(&truth, &mask(&[predicted; 3]), 1).unwrap(), Some(1.0));
        }
        // Far inside void nothing counts: class 2 is nowhere near a label.
        let truth = mask(&["11???????"; 3]);
        assert_eq!(boundary_f(&truth, &mask(&["111122111"; 3]), 1).unwrap(), None);
        // All is void.
        assert_eq!(boundary_f(&mask(&["???"; 2]), &mask(&["121"; 2]), 1).unwrap(), None);
    }
}
