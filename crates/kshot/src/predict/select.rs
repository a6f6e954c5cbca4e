//! Which candidates to take, and with which shares: ensemble selection on held-out labels.
//!
//! Greedy forward selection with replacement from the best single candidate (Caruana et al., ICML 2004), by mean IoU at
//! held-out pixels. A few pictures can flatter any addition, so that one is taken only where it helps in nearly all
//! resamples of the pictures.
//!
//! Held-out pictures are like the others; new ones may not be. A partner that learns least from the labels and most from
//! the picture itself (self-support) goes beside what was chosen: near the labelled pictures by what both did on held-out
//! labels, far from them alone. What to expect of the choice is told by pixels that had no part in it: for each fold the
//! choice is made again on the others.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::metric::confusion::Confusion;
use crate::predict::ensemble::Share;
use crate::predict::held_out::{HeldOut, JudgedRows, mean_iou};

/// Candidates added at most to the best one.
const ROUNDS: usize = 3;
/// Mean IoU that an addition has to gain.
const GAIN: f64 = 0.005;
/// The same of another refinement.
const REFINEMENT_GAIN: f64 = 0.01;
/// Mean IoU by which the best single candidate has to surpass the first.
const LEAD: f64 = 0.02;
/// From this merit on a partner is asked alone.
const PARTNER_ALONE: f64 = 0.9;
/// Resamples of the pictures, and the share of them in which an addition has to help.
const RESAMPLES: usize = 100;
const SURE: f64 = 0.85;

/// Why candidates were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The defaults, which no other surely surpasses.
    Default,
    /// The best single one.
    Best,
    /// Others surely help the one chosen first.
    Joined,
    /// The partner alone, which has much more right.
    Partner,
}

/// Candidates with their shares, which add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Why.
    pub by: ChosenBy,
    /// Index of each candidate and its share.
    pub members: Vec<(usize, Share)>,
    /// Whether probabilities are refined along edges.
    pub guided: bool,
}

/// How many candidates may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The best alone.
    One,
    /// As many as help.
    Several,
}

/// The candidate that bears pictures that are unlike the labelled ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partner {
    /// Its index.
    pub candidate: usize,
    /// Its share near the labelled pictures; `None` where held-out pictures tell.
    pub near: Option<f64>,
    /// How much of the masks it can show, 0 to 1: near the labelled pictures, where others show all, its share is so much
    /// less.
    pub resolved: f64,
}

/// What is open to choose.
#[derive(Debug, Clone, Copy)]
pub struct SelectionRules<'a> {
    /// How many candidates may be joined.
    pub joined: Joined,
    /// The first so many candidates, joined, are taken unless another surely surpasses them.
    pub defaults: usize,
    /// Stands beside what is chosen among the others.
    pub partner: Option<Partner>,
    /// Whether probabilities are refined along edges: the first is taken unless another surely surpasses it.
    pub refinements: &'a [bool],
}

/// How often each candidate was taken, and what that labels right in each part; `None` where one was not judged.
#[derive(Clone)]
struct Trial {
    times: Vec<usize>,
    guided: bool,
    parts: Vec<Option<Confusion>>,
}

impl Trial {
    /// Mean IoU of this and of another by the parts that both know.
    fn beside(&self, other: &Self) -> [f64; 2] {
        let both: Vec<usize> = self.common(other);
        [self, other].map(|of| of.iou(both.iter().copied()))
    }

    fn common(&self, other: &Self) -> Vec<usize> {
        let known = |part: &usize| self.parts[*part].is_some() && other.parts[*part].is_some();
        (0..self.parts.len()).filter(known).collect()
    }

    fn iou(&self, some: impl Iterator<Item = usize>) -> f64 {
        let mut parts = some.filter_map(|part| self.parts[part].as_ref());
        let Some(first) = parts.next() else { return 0.0 };
        let mut sum = first.clone();
        parts.for_each(|part| sum.merge(part));
        mean_iou(&sum)
    }

    /// Whether this gains so much over another, and surpasses it in nearly all resamples of the parts.
    fn surely_beats(&self, other: &Self, gain: f64) -> bool {
        let [one, two] = self.beside(other);
        if one <= two + gain {
            return false;
        }
        let both = self.common(other);
        let mut random = ChaCha8Rng::seed_from_u64(both.len() as u64);
        let better = (0..RESAMPLES)
            .filter(|_| {
                let draw = |_| both[random.random_range(0..both.len())];
                let drawn: Vec<usize> = (0..both.len()).map(draw).collect();
                self.iou(drawn.iter().copied()) > other.iou(drawn.iter().copied())
            })
            .count();
        better as f64 >= SURE * RESAMPLES as f64
    }
}

/// The choice, by the parts for which `counted` holds.
pub fn select(
    held_out: &HeldOut<'_>,
    judged: &[JudgedRows],
    SelectionRules { joined, defaults, partner, refinements }: SelectionRules<'_>,
    counted: &dyn Fn(usize) -> bool,
) -> Selection {
    let places: Vec<usize> = (0..held_out.parts.len()).filter(|part| counted(*part)).collect();
    let trial = |times: Vec<usize>, guided: bool| {
        let shares = shares(&times);
        let part = |&part: &usize| {
            let rows = mixed(judged, &shares, guided, part)?;
            Some(held_out.confusion(part, &rows))
        };
        Trial { parts: places.iter().map(part).collect(), times, guided }
    };
    let better = |best: Trial, next: Trial| {
        let [one, two] = next.beside(&best);
        if one > two { next } else { best }
    };
    let Some(&guided) = refinements.first() else {
        return Selection { by: ChosenBy::Best, members: Vec::new(), guided: false };
    };
    let once = |index: usize| (0..judged.len()).map(|of| usize::from(of == index)).collect();
    let aside = partner.map(|partner| partner.candidate);
    let open = || (0..judged.len()).filter(|index| Some(*index) != aside);
    let Some(best) = open().map(|index| trial(once(index), guided)).reduce(better) else {
        let members = aside.map(|index| (index, Share::always(1.0))).into_iter().collect();
        return Selection { by: ChosenBy::Best, members, guided };
    };
    let first = trial((0..judged.len()).map(|of| usize::from(of < defaults)).collect(), guided);
    let stays = !best.surely_beats(&first, LEAD);
    let mut by = if stays { ChosenBy::Default } else { ChosenBy::Best };
    let mut chosen = if stays { first } else { best };
    for _ in 0..if joined == Joined::Several { ROUNDS } else { 0 } {
        let more = |index: usize| {
            let mut times = chosen.times.clone();
            times[index] += 1;
            trial(times, chosen.guided)
        };
        match open().map(more).filter(|more| more.surely_beats(&chosen, GAIN)).reduce(better) {
            Some(next) => (chosen, by) = (next, ChosenBy::Joined),
            None => break,
        }
    }
    for &guided in &refinements[1..] {
        let other = trial(chosen.times.clone(), guided);
        if other.surely_beats(&chosen, REFINEMENT_GAIN) {
            chosen = other;
        }
    }
    let mut members = shares(&chosen.times);
    if let Some(Partner { candidate, near, resolved }) = partner {
        let merit = near.unwrap_or_else(|| {
            let [others, own] = chosen.beside(&trial(once(candidate), chosen.guided));
            chance(own, others)
        });
        if beside(&mut members, candidate, [merit, resolved], joined) {
            by = ChosenBy::Partner;
        }
    }
    Selection { by, members, guided: chosen.guided }
}

/// The share of the first of two by their mean IoU: as their squares.
fn chance(one: f64, other: f64) -> f64 {
    one.powi(2) / (one.powi(2) + other.powi(2)).max(f64::MIN_POSITIVE)
}

/// Puts a partner beside members, by its merit and by how much of the masks it can show; where one model at a time is to be
/// asked, its share is all or nothing. Answers whether it has all.
fn beside(
    members: &mut Vec<(usize, Share)>,
    partner: usize,
    [merit, resolved]: [f64; 2],
    joined: Joined,
) -> bool {
    let alone = merit > if joined == Joined::One { 0.5 } else { PARTNER_ALONE };
    if alone {
        *members = vec![(partner, Share::always(1.0))];
        return true;
    }
    let near = if joined == Joined::One { 0.0 } else { (merit * resolved) as f32 };
    for (_, share) in members.iter_mut() {
        *share = Share { near: share.near * (1.0 - near), far: 0.0 };
    }
    members.push((partner, Share { near, far: 1.0 }));
    false
}

/// Each candidate's share by how often it was taken.
fn shares(times: &[usize]) -> Vec<(usize, Share)> {
    let total: usize = times.iter().sum();
    let taken = times.iter().enumerate().filter(|(_, times)| **times > 0);
    taken.map(|(index, times)| (index, Share::always(*times as f32 / total as f32))).collect()
}

/// The members' mean probabilities in a part, `[pixels, planes]`; `None` if one of them was not judged there.
pub fn mixed(
    judged: &[JudgedRows],
    members: &[(usize, Share)],
    guided: bool,
    part: usize,
) -> Option<Vec<f32>> {
    let mut sum: Option<Vec<f32>> = None;
    for (index, share) in shares_at(judged, members, part) {
        let rows = judged[index].rows(guided, part)?;
        let sum = sum.get_or_insert_with(|| vec![0.0; rows.len()]);
        sum.iter_mut().zip(rows).for_each(|(sum, value)| *sum += share * value);
    }
    sum
}

/// The members that have a share in a part.
pub fn shares_at<'a>(
    judged: &[JudgedRows],
    members: &'a [(usize, Share)],
    part: usize,
) -> impl Iterator<Item = (usize, f32)> + 'a {
    let distance = members.iter().find_map(|(index, _)| judged[*index].distance(part));
    let at = move |&(index, share): &(usize, Share)| (index, share.at(distance));
    members.iter().map(at).filter(|(_, share)| *share > 0.0)
}

/// What to expect of such a choice, by part: the pixels of each are counted by a choice made without its fold, as far as
/// its members were judged there.
pub fn nested(
    held_out: &HeldOut<'_>,
    judged: &[JudgedRows],
    how: SelectionRules<'_>,
) -> Vec<Confusion> {
    let fold = |part: usize| held_out.parts[part].fold;
    let folds = held_out.parts.iter().map(|part| part.fold + 1).max().unwrap_or(0);
    let choices: Vec<Selection> =
        (0..folds).map(|of| select(held_out, judged, how, &|part| fold(part) != of)).collect();
    let counted = |part: usize| {
        let Selection { members, guided, .. } = &choices[fold(part)];
        let there = |of: &&(usize, Share)| judged[of.0].rows(*guided, part).is_some();
        let known: Vec<(usize, Share)> = members.iter().filter(there).copied().collect();
        let rows = mixed(judged, &known, *guided, part)
            .or_else(|| mixed(judged, &[(0, Share::always(1.0))], *guided, part));
        held_out.confusion(part, &rows.unwrap_or_default())
    };
    (0..held_out.parts.len()).map(counted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_has_far_pictures_to_itself_and_near_ones_by_merit() {
        let chosen = || vec![(0, Share::always(0.75)), (1, Share::always(0.25))];
        let mut members = chosen();
        beside(&mut members, 2, [chance(0.4, 0.8), 0.5], Joined::Several);
        for (distance, shares) in [(0.5, [0.675, 0.225, 0.1]), (5.0, [0.0, 0.0, 1.0])] {
            for ((_, share), expected) in members.iter().zip(shares) {
                assert!(
                    (share.at(Some(distance)) - expected).abs() < 1e-6,
                    "{share:?} at {distance}"
                );
            }
        }
        // One at a time: the better one near, the partner far.
        let mut members = vec![(0, Share::always(1.0))];
        beside(&mut members, 1, [chance(0.4, 0.8), 1.0], Joined::One);
        assert_eq!(members[1].1, Share { near: 0.0, far: 1.0 });
        let mut members = chosen();
        beside(&mut members, 2, [chance(0.8, 0.4), 1.0], Joined::One);
        assert_eq!(members, [(2, Share::always(1.0))]);
        // One that is right nowhere leaves the others their share.
        assert!(chance(0.0, 0.5) < 1e-9 && chance(0.0, 0.0) < 1e-9);
    }
}
