//! How good labels were, where the truth is known.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metric::recognition::{Bin, auroc, bins, ece, wilson};

/// What a picture really shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// One of the classes.
    Class(usize),
    /// None of them.
    None,
}

/// A label beside the truth.
#[derive(Debug, Clone, Copy)]
pub struct JudgedLabel {
    /// What the picture really shows.
    pub truth: Truth,
    /// The likeliest class.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
    /// Whether the truth is among the likeliest few that were listed.
    pub listed: bool,
    /// The picture's similarity to the examples.
    pub familiarity: f32,
    /// Whether it was accepted.
    pub accepted: bool,
}

/// A share of pictures with its 95 % interval (Wilson's); all 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// The share.
    pub mean: f64,
    /// Both ends of the interval.
    pub interval: [f64; 2],
    /// Of how many pictures.
    pub n: usize,
}

impl Share {
    fn of(hits: usize, n: usize) -> Option<Self> {
        (n > 0).then(|| Self { mean: hits as f64 / n as f64, interval: wilson(hits, n), n })
    }
}

/// Bins of the reliability table.
const BINS: usize = 10;

/// How good the labels of a folder were. What there is no picture for is `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Judgement {
    /// Members whose likeliest class is theirs, whether accepted or not.
    pub accuracy: Option<Share>,
    /// Members whose class is among the listed ones.
    pub top_k: Option<Share>,
    /// Accepted pictures (out-of-distribution ones too) that are labelled rightly.
    pub accepted_right: Option<Share>,
    /// Members that were accepted.
    pub members_accepted: Option<Share>,
    /// Out-of-distribution pictures that were rejected.
    pub out_of_distribution_rejected: Option<Share>,
    /// How often a member was more similar to the examples than an out-of-distribution picture.
    pub auroc: Option<f64>,
    /// Expected calibration error of members.
    pub ece: Option<f64>,
    /// Members by probability.
    pub reliability: Vec<Bin>,
    /// By class: members, and how many of them were recognised.
    pub per_class: BTreeMap<usize, (usize, usize)>,
    /// Confusions: the actual class, the predicted one, the count; most frequent first.
    pub confused: Vec<(usize, usize, usize)>,
}

impl std::fmt::Display for Judgement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        let mut share = |what: &str, share: &Option<Share>| {
            if let Some(Share { mean, interval: [low, high], n }) = share {
                parts.push(format!("{what} {mean:.4} ({low:.4} to {high:.4}, n = {n})"));
            }
        };
        share("accuracy", &self.accuracy);
        share("among the listed", &self.top_k);
        share("right of the accepted", &self.accepted_right);
        share("members accepted", &self.members_accepted);
        share("out of distribution rejected", &self.out_of_distribution_rejected);
        for (what, value) in [("rejection AUROC", self.auroc), ("ECE", self.ece)] {
            parts.extend(value.map(|value| format!("{what} {value:.4}")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Judges labels.
pub fn judge(all: &[JudgedLabel]) -> Judgement {
    let mut members = Vec::new();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let (mut listed, mut kept, mut refused, mut accepted, mut fine) = (0, 0, 0, 0, 0);
    let mut judgement = Judgement::default();
    let mut confused: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for one in all {
        let right = one.truth == Truth::Class(one.class);
        accepted += usize::from(one.accepted);
        fine += usize::from(one.accepted && right);
        match one.truth {
            Truth::Class(class) => {
                members.push((one.probability, right));
                known.push(one.familiarity);
                listed += usize::from(one.listed);
                kept += usize::from(one.accepted);
                let (count, hits) = judgement.per_class.entry(class).or_default();
                *count += 1;
                *hits += usize::from(right);
                if !right {
                    *confused.entry((class, one.class)).or_default() += 1;
                }
            }
            Truth::None => {
                unknown.push(one.familiarity);
                refused += usize::from(!one.accepted);
            }
        }
    }
    let right = members.iter().filter(|(_, right)| *right).count();
    judgement.accuracy = Share::of(right, members.len());
    judgement.top_k = Share::of(listed, members.len());
    judgement.accepted_right = Share::of(fine, accepted);
    judgement.members_accepted = Share::of(kept, members.len());
    judgement.out_of_distribution_rejected = Share::of(refused, unknown.len());
    judgement.auroc = auroc(&known, &unknown);
    judgement.ece = (!members.is_empty()).then(|| ece(&members));
    judgement.reliability = bins(&members, BINS);
    judgement.confused = confused.into_iter().map(|((a, b), count)| (a, b, count)).collect();
    judgement.confused.sort_by_key(|&(_, _, count)| std::cmp::Reverse(count));
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_others_are_counted_apart() {
        let one = |truth, class, familiarity, accepted| JudgedLabel {
            truth,
            class,
            probability: 0.75,
            listed: true,
            familiarity,
            accepted,
        };
        let judgement = judge(&[
            one(Truth::Class(0), 0, 1.5, true),
            one(Truth::Class(0), 1, 1.4, true),
            one(Truth::Class(1), 1, 0.3, false),
            one(Truth::None, 1, 0.4, false),
            one(Truth::None, 0, 1.0, true),
        ]);
        let mean = |share: Option<Share>| share.unwrap().mean;
        assert!((mean(judgement.accuracy) - 2.0 / 3.0).abs() < 1e-9);
        assert!((mean(judgement.members_accepted) - 2.0 / 3.0).abs() < 1e-9);
        assert!((mean(judgement.accepted_right) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(mean(judgement.out_of_distribution_rejected), 0.5);
        assert!((judgement.auroc.unwrap() - 4.0 / 6.0).abs() < 1e-9);
        assert!((judgement.ece.unwrap() - (0.75 - 2.0 / 3.0)).abs() < 1e-6);
        assert_eq!(judgement.confused, [(0, 1, 1)]);
        assert_eq!(judgement.per_class[&0], (2, 1));
        assert!(judge(&[]).accuracy.is_none());
    }
}
