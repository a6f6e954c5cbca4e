//! Outlines of masks, and what simplifying them costs.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::annotation::Corner;
use crate::labels::borders::Borders;
use crate::labels::simplify::{simplify, without_specks};
use crate::labels::{keyhole, trace};
use crate::mask::{MAX_CLASSES, Mask};

/// What became of outlines.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Simplified {
    /// How far corners may be off, in pixels.
    pub tolerance: f64,
    /// Corners of the outlines along the pixels' borders.
    pub corners_before: usize,
    /// Corners now.
    pub corners: usize,
    /// Corners of the outline that has most, now.
    pub most: usize,
    /// Pieces and holes of fewer pixels than the tolerance squared, which are gone.
    pub specks: usize,
    /// The classes' mean intersection over union of the outlines' pixels with the masks', all pictures together, 0 to 1.
    pub mean_iou: f64,
    /// The least of them.
    pub least_iou: f64,
}

/// Makes outlines of masks, and counts their corners.
#[derive(Debug, Default)]
pub(super) struct Outliner {
    pub(super) tolerance: f64,
    before: AtomicUsize,
    after: AtomicUsize,
    most: AtomicUsize,
    specks: AtomicUsize,
}

impl Outliner {
    pub(super) fn new(tolerance: f64) -> Self {
        Self { tolerance, ..Self::default() }
    }

    /// The value and the outline of each 4-connected piece, by value and in reading order. Holes are reached by an edge
    /// that is walked there and back, or by a slit where outlines are simplified.
    pub(super) fn pieces(&self, mask: &Mask) -> Vec<(u8, Vec<Corner>)> {
        if self.tolerance <= 0.0 {
            let of =
                |value: u8| trace::pieces(mask, value).into_iter().map(move |ring| (value, ring));
            return super::shapes::values(mask).into_iter().flat_map(of).collect();
        }
        let (mask, specks) = without_specks(mask, self.tolerance);
        let mut borders = Borders::of(&mask);
        let corners = |pieces: &[(u8, Vec<Vec<Corner>>)]| -> usize {
            pieces.iter().flat_map(|(_, rings)| rings).map(Vec::len).sum()
        };
        let before = corners(&borders.pieces());
        simplify(&mut borders, self.tolerance);
        let pieces = borders.pieces();
        let most = pieces.iter().map(|(_, rings)| rings.iter().map(Vec::len).sum()).max();
        self.before.fetch_add(before, Ordering::Relaxed);
        self.after.fetch_add(corners(&pieces), Ordering::Relaxed);
        self.most.fetch_max(most.unwrap_or(0), Ordering::Relaxed);
        self.specks.fetch_add(specks, Ordering::Relaxed);
        let joined = |(value, rings): (u8, Vec<Vec<Corner>>)| (value, keyhole::polygon(&rings));
        pieces.into_iter().map(joined).collect()
    }

    /// What became of all outlines so far; `None` where nothing was simplified.
    pub(super) fn result(&self, overlap: &Overlap) -> Option<Simplified> {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let ious = overlap.ious();
        (self.tolerance > 0.0 && of(&self.before) > 0).then(|| Simplified {
            tolerance: self.tolerance,
            corners_before: of(&self.before),
            corners: of(&self.after),
            most: of(&self.most),
            specks: of(&self.specks),
            mean_iou: ious.iter().sum::<f64>() / ious.len().max(1) as f64,
            least_iou: ious.iter().copied().fold(1.0, f64::min),
        })
    }
}

/// Pixels of each class in both of two masks, and in any of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Overlap(Vec<[u64; 2]>);

impl Overlap {
    pub(super) fn of(one: &Mask, two: &Mask) -> Self {
        let mut counts = vec![[0; 2]; usize::from(MAX_CLASSES) + 1];
        for (&a, &b) in one.pixels.iter().zip(&two.pixels) {
            for value in [Some(a), (a != b).then_some(b)].into_iter().flatten() {
                if let Some([both, any]) = counts.get_mut(usize::from(value)) {
                    *both += u64::from(a == b);
                    *any += 1;
                }
            }
        }
        Self(counts)
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        if self.0.is_empty() {
            return other;
        }
        for (sum, [both, any]) in self.0.iter_mut().zip(other.0) {
            *sum = [sum[0] + both, sum[1] + any];
        }
        self
    }

    /// Of every class that is there.
    fn ious(&self) -> Vec<f64> {
        let classes = self.0.iter().skip(1).filter(|[_, any]| *any > 0);
        classes.map(|[both, any]| *both as f64 / *any as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_add_up() {
        let mask = |pixels: &[u8]| Mask::from_pixels(4, 1, pixels.to_vec()).unwrap();
        let one = Overlap::of(&mask(&[0, 1, 1, 2]), &mask(&[0, 1, 2, 2]));
        assert_eq!(one.ious(), [0.5, 0.5]);
        let two = Overlap::of(&mask(&[1, 1, 0, 0]), &mask(&[1, 1, 0, 0]));
        assert_eq!(one.plus(two).ious(), [0.75, 0.5]);
    }
}
