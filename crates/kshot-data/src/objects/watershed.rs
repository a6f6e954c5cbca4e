//! Touching objects told apart: hills of a landscape, flooded from their peaks.
//!
//! A watershed by union-find: pixels from the highest to the lowest, each joins the hill beside it, and where two hills
//! meet they stay apart only if the lower one rises far enough above the pass between them (its dynamics, Grimaud 1992;
//! markers by h-maxima, Vincent 1993, and the flooding from them are thereby one pass). How far is told as a share of
//! the hill's height instead of in units of the landscape, so that small and large objects are judged alike: two equal
//! discs of radius `r` that meet in a neck of half width `n` have a pass of `n / r`.

use crate::mask::{MAX_CLASSES, Mask};
use crate::objects::ObjectMap;

/// When two hills are two objects.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SplitRule {
    /// Two hills stay apart only if the pass between them is lower than this share of the lower one's height; above 0
    /// and at most 1. Less splits less.
    pub pass: f32,
    /// Hills that are lower than this are no objects of their own, in the landscape's units.
    pub least: f32,
}

/// A pixel that was not reached yet, or belongs to no class.
const NONE: u32 = u32::MAX;

/// Splits each 4-connected piece of a class of `mask` into the hills of `landscape` (a value a pixel, row by row,
/// higher inside of objects). A piece has one object at least; two classes never share one.
///
/// # Panics
/// If `landscape` has another size than the mask.
pub fn split(mask: &Mask, landscape: &[f32], rule: SplitRule) -> ObjectMap {
    assert_eq!(landscape.len(), mask.pixels.len(), "a value a pixel");
    let wanted = |at: &u32| (1..=MAX_CLASSES).contains(&mask.pixels[*at as usize]);
    let mut order: Vec<u32> = (0..mask.pixels.len() as u32).filter(wanted).collect();
    // Stable: on a plateau, reading order.
    order.sort_by(|a, b| landscape[*b as usize].total_cmp(&landscape[*a as usize]));
    let mut hills =
        Hills { hill: vec![NONE; mask.pixels.len()], parent: Vec::new(), peak: Vec::new() };
    let (width, height) = (mask.width, mask.height);
    for at in order {
        let at = at as usize;
        let (x, y) = (at % width, at / width);
        let beside = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then_some(at + 1),
            (y > 0).then(|| at - width),
            (y + 1 < height).then_some(at + width),
        ];
        let level = landscape[at];
        let mut highest: Option<usize> = None;
        let mut roots = [NONE; 4];
        for (root, other) in roots.iter_mut().zip(beside) {
            let Some(other) = other else { continue };
            if hills.hill[other] == NONE || mask.pixels[other] != mask.pixels[at] {
                continue;
            }
            *root = hills.root(hills.hill[other]);
            if highest.is_none_or(|highest| landscape[other] > landscape[highest]) {
                highest = Some(other);
            }
        }
        hills.hill[at] = match highest {
            Some(other) => hills.hill[other],
            None => hills.new_hill(level),
        };
        // The highest hill first: lower ones join it where the rule says so.
        let mut met: Vec<u32> = roots.into_iter().filter(|root| *root != NONE).collect();
        met.sort_by(|a, b| {
            let peak = |root: &u32| hills.peak[*root as usize];
            peak(b).total_cmp(&peak(a)).then(a.cmp(b))
        });
        met.dedup();
        for low in 1..met.len() {
            let peak = hills.peak[met[low] as usize];
            if level >= rule.pass * peak || peak < rule.least {
                hills.parent[met[low] as usize] = hills.root(met[0]);
            }
        }
    }
    let numbers: Vec<u32> = (0..mask.pixels.len())
        .map(|at| match hills.hill[at] {
            NONE => 0,
            hill => hills.root(hill) + 1,
        })
        .collect();
    let mut classes = vec![0u8; hills.parent.len() + 1];
    for (&number, &class) in numbers.iter().zip(&mask.pixels).filter(|(number, _)| **number > 0) {
        classes[number as usize] = class;
    }
    ObjectMap::new(width, height, &numbers, |number| classes[number as usize])
        .unwrap_or_else(|error| panic!("a number a pixel: {error}"))
}

/// Hills that grow and join.
struct Hills {
    /// The hill of each pixel, as it was when the pixel was reached.
    hill: Vec<u32>,
    /// The hill that each has joined, itself where it stands alone.
    parent: Vec<u32>,
    /// The height of each.
    peak: Vec<f32>,
}

impl Hills {
    fn new_hill(&mut self, peak: f32) -> u32 {
        let hill = self.parent.len() as u32;
        self.parent.push(hill);
        self.peak.push(peak);
        hill
    }

    /// The hill that one has become part of.
    fn root(&mut self, hill: u32) -> u32 {
        let mut at = hill;
        while self.parent[at as usize] != at {
            // Halves the path for the next who asks.
            let above = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = above;
            at = above;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::distance;

    const RULE: SplitRule = SplitRule { pass: 0.8, least: 1.5 };

    /// Discs `[x, y, radius]` of class 1.
    fn discs(width: usize, height: usize, discs: &[[f32; 3]]) -> Mask {
        let inside = |at: usize| {
            let (x, y) = ((at % width) as f32, (at / width) as f32);
            discs.iter().any(|[u, v, radius]| (x - u).hypot(y - v) <= *radius)
        };
        let pixels = (0..width * height).map(|at| u8::from(inside(at))).collect();
        Mask::from_pixels(width, height, pixels).unwrap()
    }

    fn count(mask: &Mask) -> usize {
        split(mask, &distance::of_classes(mask), RULE).count()
    }

    #[test]
    fn two_discs_that_overlap_are_two_and_one_is_one() {
        let two = discs(60, 30, &[[18.0, 15.0, 10.0], [34.0, 15.0, 10.0]]);
        let map = split(&two, &distance::of_classes(&two), RULE);
        assert_eq!((map.count(), ObjectMap::components(&two).count()), (2, 1));
        // The border lies where the discs cross.
        assert_eq!(
            (map.ids[15 * 60 + 24], map.ids[15 * 60 + 28]),
            (map.ids[15 * 60 + 10], map.ids[15 * 60 + 40])
        );
        let areas = map.areas();
        assert!(areas[0].abs_diff(areas[1]) < 30, "{areas:?}");
        assert_eq!(count(&discs(40, 40, &[[20.0, 20.0, 15.0]])), 1);
        assert_eq!(count(&discs(40, 40, &[[20.0, 20.0, 3.0]])), 1);
    }

    #[test]
    fn a_concave_blob_is_split_only_where_it_is_narrow() {
        // A bean: its neck is nearly as wide as its ends.
        assert_eq!(
            count(&discs(60, 30, &[[20.0, 15.0, 9.0], [25.0, 13.0, 9.0], [30.0, 15.0, 9.0]])),
            1
        );
        // A dumb-bell.
        assert_eq!(
            count(&discs(60, 30, &[[15.0, 15.0, 9.0], [25.0, 15.0, 3.0], [36.0, 15.0, 9.0]])),
            2
        );
    }

    #[test]
    fn classes_are_apart_and_low_hills_are_no_objects() {
        let mut mask = discs(40, 20, &[[12.0, 10.0, 7.0], [27.0, 10.0, 7.0]]);
        for y in 0..20 {
            mask.pixels[y * 40 + 20..][..20].iter_mut().for_each(|pixel| *pixel *= 2);
        }
        let map = split(&mask, &distance::of_classes(&mask), RULE);
        assert_eq!(map.classes, [1, 2]);
        // A probability that dips once, on a shape that does not.
        let bar = Mask::filled(9, 1, 1);
        let hills = [0.9, 0.9, 0.8, 0.3, 0.1, 0.3, 0.8, 0.9, 0.9];
        assert_eq!(
            split(&bar, &hills, SplitRule { pass: 0.8, least: 0.5 }).ids,
            [1, 1, 1, 1, 1, 2, 2, 2, 2]
        );
        assert_eq!(split(&bar, &hills, SplitRule { pass: 0.8, least: 0.95 }).count(), 1);
        assert_eq!(split(&Mask::filled(3, 3, 0), &[0.0; 9], RULE).count(), 0);
    }
}
