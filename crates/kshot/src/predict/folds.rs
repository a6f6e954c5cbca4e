//! Which labels are held out: whole pictures, or blocks of them, always in the pictures' own coordinates.

use kshot_data::mask::{MAX_CLASSES, Mask, UNLABELLED};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Blocks along a side that are tried, fewest first.
const BLOCKS: [usize; 5] = [2, 3, 4, 6, 10];
/// The share of a class's pixels that each half of the blocks is to hold.
const SHARE: f64 = 0.2;

/// How the held-out part was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOutBy {
    /// Each picture in turn, or a few at a time.
    Pictures,
    /// Blocks of the pictures, where most classes are in a single one: optimistic, since neighbours are alike.
    Blocks,
}

/// Some of the labels of one picture.
#[derive(Debug, Clone)]
pub struct PartLabels {
    /// The picture, by its place in the support.
    pub picture: usize,
    /// Its labels without what is left out; `None` for all of them.
    pub mask: Option<Mask>,
}

/// One way to hold labels out.
#[derive(Debug, Clone)]
pub struct Fold {
    /// What is fitted to.
    pub fit: Vec<PartLabels>,
    /// What is judged by.
    pub judged: Vec<PartLabels>,
}

/// All ways: each label is judged by in exactly one of them.
#[derive(Debug, Clone)]
pub struct Folds {
    /// The ways.
    pub folds: Vec<Fold>,
    /// How the held-out part was chosen.
    pub held_out: HeldOutBy,
}

impl Folds {
    /// Of labelled pictures, at most `most` ways; the same seed splits them the same way.
    pub fn new(masks: &[&Mask], most: usize, seed: u64) -> Self {
        if shown_once(masks) {
            return Self::blocks(masks);
        }
        let mut order: Vec<usize> = (0..masks.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let count = masks.len().min(most);
        let part = |fold: usize, inside: bool| {
            let in_fold = move |place: &usize| (place % count == fold) == inside;
            let places = (0..order.len()).filter(in_fold);
            places.map(|place| PartLabels { picture: order[place], mask: None }).collect()
        };
        let folds =
            (0..count).map(|fold| Fold { fit: part(fold, false), judged: part(fold, true) });
        Self { folds: folds.collect(), held_out: HeldOutBy::Pictures }
    }
}

impl Folds {
    /// Two ways: each holds out half of every picture, in blocks.
    pub fn blocks(masks: &[&Mask]) -> Self {
        let split: Vec<[Mask; 2]> = masks.iter().map(|mask| halves(mask)).collect();
        let half = |which: usize| -> Vec<PartLabels> {
            let of = |(picture, halves): (usize, &[Mask; 2])| PartLabels {
                picture,
                mask: Some(halves[which].clone()),
            };
            split.iter().enumerate().map(of).collect()
        };
        let fold = |fit: usize| Fold { fit: half(fit), judged: half(1 - fit) };
        Self { folds: vec![fold(0), fold(1)], held_out: HeldOutBy::Blocks }
    }

    /// What is fitted to where the folds `group`, `group + groups`, ... are held out together.
    pub fn without(&self, group: usize, groups: usize) -> Vec<PartLabels> {
        let together = self.folds.iter().skip(group).step_by(groups);
        let held_out: Vec<usize> =
            together.clone().flat_map(|fold| &fold.judged).map(|part| part.picture).collect();
        let mut fit = self.folds[group].fit.clone();
        if self.held_out == HeldOutBy::Pictures {
            fit.retain(|part| !held_out.contains(&part.picture));
        }
        fit
    }
}

/// Pixels of each class.
fn counts(mask: &Mask) -> [usize; MAX_CLASSES as usize + 1] {
    let mut counts = [0usize; MAX_CLASSES as usize + 1];
    for &class in &mask.pixels {
        if class <= MAX_CLASSES {
            counts[usize::from(class)] += 1;
        }
    }
    counts
}

/// Whether most classes are in a single picture: leaving that one out would leave nothing to learn them from.
fn shown_once(masks: &[&Mask]) -> bool {
    let mut pictures = [0usize; MAX_CLASSES as usize + 1];
    for mask in masks {
        for (pictures, count) in pictures.iter_mut().zip(counts(mask)) {
            *pictures += usize::from(count > 0);
        }
    }
    let classes = pictures[1..].iter().filter(|count| **count > 0).count();
    let once = pictures[1..].iter().filter(|count| **count == 1).count();
    masks.len() == 1 || 2 * once > classes
}

/// The two halves of a mask by a chessboard of blocks: the largest blocks that leave enough of each class in both.
fn halves(mask: &Mask) -> [Mask; 2] {
    let whole = counts(mask);
    let mut best: Option<([Mask; 2], f64)> = None;
    for blocks in BLOCKS {
        let split = [0, 1].map(|parity| chessboard(mask, blocks, parity));
        let first = counts(&split[0]);
        let least = first
            .iter()
            .zip(&whole)
            .filter(|(_, whole)| **whole > 0)
            .map(|(first, whole)| *first as f64 / *whole as f64)
            .map(|share| share.min(1.0 - share))
            .fold(0.5, f64::min);
        if least >= SHARE {
            return split;
        }
        if best.as_ref().is_none_or(|(_, share)| least > *share) {
            best = Some((split, least));
        }
    }
    best.map_or_else(|| [mask.clone(), mask.clone()], |(split, _)| split)
}

/// The mask where `blocks` by `blocks` blocks have a parity; elsewhere unlabelled.
fn chessboard(mask: &Mask, blocks: usize, parity: usize) -> Mask {
    let (width, height) = (mask.width, mask.height);
    let mut part = mask.clone();
    for (y, line) in part.pixels.chunks_exact_mut(width.max(1)).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            if (y * blocks / height + x * blocks / width) % 2 != parity {
                *pixel = UNLABELLED;
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_judged_by_once_and_never_fitted_to_there() {
        let masks: Vec<Mask> = (0..7).map(|at| Mask::filled(40, 30, 1 + at % 2)).collect();
        let folds = Folds::new(&masks.iter().collect::<Vec<_>>(), 3, 0);
        assert_eq!((folds.held_out, folds.folds.len()), (HeldOutBy::Pictures, 3));
        let mut judged: Vec<usize> = Vec::new();
        for fold in &folds.folds {
            for part in &fold.judged {
                assert!(fold.fit.iter().all(|fit| fit.picture != part.picture));
                judged.push(part.picture);
            }
        }
        for group in 0..2 {
            let fit = folds.without(group, 2);
            let together = folds.folds.iter().skip(group).step_by(2).flat_map(|fold| &fold.judged);
            assert!(together.clone().all(|part| fit.iter().all(|of| of.picture != part.picture)));
            assert_eq!(fit.len() + together.count(), 7);
        }
        judged.sort_unstable();
        assert_eq!(judged, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn blocks_of_a_single_picture_do_not_overlap_and_hold_both_classes() {
        let mut mask = Mask::filled(97, 64, 0);
        for y in 10..50 {
            mask.pixels[y * 97 + 20..y * 97 + 60].fill(1);
        }
        let folds = Folds::new(&[&mask], 5, 0);
        assert_eq!((folds.held_out, folds.folds.len()), (HeldOutBy::Blocks, 2));
        let of = |parts: &[PartLabels]| parts[0].mask.clone().unwrap_or_else(|| mask.clone());
        for fold in &folds.folds {
            let (fit, judged) = (of(&fold.fit), of(&fold.judged));
            for ((fit, judged), whole) in fit.pixels.iter().zip(&judged.pixels).zip(&mask.pixels) {
                let both = [fit, judged].map(|pixel| *pixel == *whole);
                assert_eq!(both.iter().filter(|same| **same).count(), 1, "{fit} {judged} {whole}");
            }
            assert!(counts(&fit)[1] > 0 && counts(&judged)[1] > 0);
        }
    }
}
