//! How many objects were found: matches by overlap, and what follows from them.
//!
//! An object is found where one predicted object has an intersection over union with it of at least a threshold; none
//! counts twice. The average precision at that threshold is `TP / (TP + FP + FN)`, as the 2018 Data Science Bowl
//! (Caicedo et al., Nature Methods 2019) and StarDist (Schmidt et al. 2018, arXiv 1806.03535) have it; it is not COCO's,
//! which is an area under a curve over scores.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::objects::ObjectMap;

/// What became of the objects of one picture, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Matches {
    /// True objects that were found.
    pub found: usize,
    /// Predicted objects that are none (false positives).
    pub spurious: usize,
    /// True objects that were not found (false negatives).
    pub missed: usize,
}

impl Matches {
    /// Of a picture, at an intersection over union of `iou` (0 to 1) or more; objects of different classes never match.
    ///
    /// # Errors
    /// If the two differ in size.
    pub fn of(truth: &ObjectMap, predicted: &ObjectMap, iou: f64) -> Result<Self> {
        if (truth.width, truth.height) != (predicted.width, predicted.height) {
            return Err(Error::data(format!(
                "objects of {} x {} pixels cannot be held against {} x {}",
                predicted.width, predicted.height, truth.width, truth.height
            )));
        }
        let mut both: HashMap<(u32, u32), u64> = HashMap::new();
        for (&a, &b) in truth.ids.iter().zip(&predicted.ids).filter(|(a, b)| **a > 0 && **b > 0) {
            *both.entry((a, b)).or_default() += 1;
        }
        let (true_areas, areas) = (truth.areas(), predicted.areas());
        let overlap = |((a, b), both): ((u32, u32), u64)| {
            let union = true_areas[a as usize - 1] + areas[b as usize - 1] - both;
            (both as f64 / union as f64, a, b)
        };
        let alike = |(overlap, a, b): &(f64, u32, u32)| {
            *overlap >= iou && truth.class(*a) == predicted.class(*b)
        };
        let mut pairs: Vec<(f64, u32, u32)> = both.into_iter().map(overlap).filter(alike).collect();
        // Above one half there is one partner at most; below, the best goes first.
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut taken = (vec![false; truth.count() + 1], vec![false; predicted.count() + 1]);
        let mut found = 0;
        for (_, a, b) in pairs {
            let (a, b) = (a as usize, b as usize);
            if !taken.0[a] && !taken.1[b] {
                (taken.0[a], taken.1[b]) = (true, true);
                found += 1;
            }
        }
        Ok(Self { found, spurious: predicted.count() - found, missed: truth.count() - found })
    }

    /// `TP / (TP + FP + FN)`, 0 to 1; 1 where there was nothing to find and nothing was found.
    pub fn average_precision(self) -> f64 {
        match self.found + self.spurious + self.missed {
            0 => 1.0,
            all => self.found as f64 / all as f64,
        }
    }

    /// How far the number of objects is off, as a share of the true one (of 1 where there is none).
    pub fn count_error(self) -> f64 {
        self.spurious.abs_diff(self.missed) as f64 / (self.found + self.missed).max(1) as f64
    }
}

impl std::ops::AddAssign for Matches {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.spurious += other.spurious;
        self.missed += other.missed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(numbers: &[u32]) -> ObjectMap {
        ObjectMap::new(numbers.len(), 1, numbers, |_| 1).unwrap()
    }

    #[test]
    fn counted_by_hand() {
        let truth = map(&[1, 1, 1, 1, 0, 2, 2, 0, 3, 3, 3, 3]);
        // The first has 3 of 5 pixels in common, the second 1 of 3, the third is cut in halves.
        let predicted = map(&[0, 1, 1, 1, 1, 0, 2, 2, 3, 3, 4, 4]);
        let at = |iou| Matches::of(&truth, &predicted, iou).unwrap();
        assert_eq!(at(0.5), Matches { found: 2, spurious: 2, missed: 1 });
        assert_eq!(at(0.6), Matches { found: 1, spurious: 3, missed: 2 });
        assert_eq!(at(0.3).found, 3);
        assert!((at(0.5).average_precision() - 0.4).abs() < 1e-12);
        assert!((at(0.5).count_error() - 1.0 / 3.0).abs() < 1e-12);
        let nothing = Matches::of(&map(&[0, 0]), &map(&[0, 0]), 0.5).unwrap();
        assert_eq!((nothing.average_precision(), nothing.count_error()), (1.0, 0.0));
        assert!(Matches::of(&truth, &map(&[0]), 0.5).is_err());
    }

    #[test]
    fn another_class_is_no_match() {
        let truth = ObjectMap::new(2, 1, &[1, 1], |_| 1).unwrap();
        let predicted = ObjectMap::new(2, 1, &[1, 1], |_| 2).unwrap();
        let matches = Matches::of(&truth, &predicted, 0.5).unwrap();
        assert_eq!(matches, Matches { found: 0, spurious: 1, missed: 1 });
    }
}
