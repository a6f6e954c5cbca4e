//! How far to trust one picture's mask: an estimate of its intersection over union.
//!
//! From calibrated probabilities: the expected intersection of a class is the probability of the pixels labelled as it,
//! the expected union these pixels and the probability of all others. What held-out pictures show of the estimate's
//! error corrects it, and a picture that is unlike the labelled ones is trusted less. Where several models were asked, how
//! far their masks overlap counts as much: they err differently (Lakshminarayanan et al., 2017, arXiv 1612.01474).

use crate::features::score_map::ScoreMap;
use crate::metric::confusion::Confusion;
use crate::predict::expected::{Expected, ExpectedIou};
use crate::predict::held_out::HeldOut;

/// How much of the estimate is the models' agreement, where several were asked; the rest is their probabilities.
const AGREEMENT: f64 = 0.3;
/// Pictures' worth of weight of the belief that the estimate is right as it is.
const PRIOR: f64 = 0.5;
/// A picture this many times farther than usual is as unlike as the labelled ones may be.
const LIKE: f64 = 1.3;
/// How fast trust falls beyond that: hyperbolically, so that pictures far away still have an order.
const FALL: f64 = 2.0;
/// From this distance on a picture counts as unlike.
pub const UNLIKE: f64 = 1.7;

/// What held-out pictures tell of estimates.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    /// Added to the estimate's logarithm of odds.
    shift: f64,
    /// By plane, the share of pictures that hold it.
    presence: Vec<f64>,
    /// What a picture that looks right throughout is expected to have, 0 to 1.
    most: f64,
}

/// Expected intersection and union of each plane, in pixels or cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExpectedOverlap {
    intersection: Vec<f64>,
    union: Vec<f64>,
}

impl ExpectedOverlap {
    /// Of rows of probabilities `[pixels, planes]`.
    pub fn of_rows<'a>(rows: impl Iterator<Item = &'a [f32]>, planes: usize) -> Self {
        let mut of = Self { intersection: vec![0.0; planes], union: vec![0.0; planes] };
        for row in rows {
            let best = (0..planes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            for (plane, &probability) in row.iter().enumerate() {
                if plane == best {
                    of.intersection[plane] += f64::from(probability);
                    of.union[plane] += 1.0;
                } else {
                    of.union[plane] += f64::from(probability);
                }
            }
        }
        of
    }

    /// Of a map of probabilities.
    pub fn of_map(map: &ScoreMap) -> Self {
        let cells = map.height * map.width;
        let mut of = Self { intersection: vec![0.0; map.planes], union: vec![0.0; map.planes] };
        for cell in 0..cells {
            let at = |plane: usize| map.data[plane * cells + cell];
            let best = (0..map.planes).max_by(|&a, &b| at(a).total_cmp(&at(b))).unwrap_or(0);
            for plane in 0..map.planes {
                let probability = f64::from(at(plane));
                of.intersection[plane] += if plane == best { probability } else { 0.0 };
                of.union[plane] += if plane == best { 1.0 } else { probability };
            }
        }
        of
    }

    /// The expected intersection over union of a plane that was found; `None` for one that was not.
    fn iou(&self, plane: usize) -> Option<f64> {
        (self.intersection[plane] > 0.0).then(|| self.intersection[plane] / self.union[plane])
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self { shift: 0.0, presence: Vec::new(), most: 1.0 }
    }
}

impl Trust {
    /// From held-out rows of probabilities by part, how far the models agree there by plane, and what they label right.
    pub fn fit(
        held_out: &HeldOut<'_>,
        rows: &[Option<Vec<f32>>],
        agreement: &[Vec<Option<f32>>],
        counted: &[Confusion],
    ) -> Self {
        let planes = held_out.planes();
        let parts = held_out.parts.len() as f64;
        let mut errors = Vec::new();
        for ((rows, agreement), confusion) in rows.iter().zip(agreement).zip(counted) {
            let Some(rows) = rows else { continue };
            let estimate = ExpectedOverlap::of_rows(rows.chunks_exact(planes), planes);
            for plane in 1..planes {
                if let (Some(estimate), Some(truth)) = (estimate.iou(plane), confusion.iou(plane)) {
                    errors.push(logit(truth) - odds(estimate, agreement.get(plane)));
                }
            }
        }
        let weight = errors.len() as f64 / (planes - 1).max(1) as f64;
        let mean = errors.iter().sum::<f64>() / errors.len().max(1) as f64;
        let presence = (0..planes).map(|plane| {
            let holds = |part: &&crate::predict::held_out::HeldOutPart| {
                part.labels.iter().any(|&label| usize::from(label) == plane)
            };
            (held_out.parts.iter().filter(holds).count() as f64 + 0.5) / (parts + 1.0)
        });
        Self { shift: mean * weight / (weight + PRIOR), presence: presence.collect(), most: 1.0 }
    }

    /// The same where the labels tell a range only: a picture that looks right throughout has the middle of it.
    #[must_use]
    pub fn within(self, expected: &Expected) -> Self {
        let most = match expected.mean_iou {
            Some(ExpectedIou { mean: None, low, high }) => f64::midpoint(low, high),
            _ => 1.0,
        };
        Self { most, ..self }
    }

    /// The estimated intersection over union of each class (from 1), 0 to 1, of a picture that is `distance` times as
    /// far from the labelled ones as these are from each other; `agreement` by plane is empty where one model was asked.
    /// A class that was not found has the chance that it is absent, where pictures without it are known; else `None`.
    pub fn of_classes(
        &self,
        overlap: &ExpectedOverlap,
        agreement: &[Option<f32>],
        distance: Option<f32>,
    ) -> Vec<Option<f64>> {
        let factor = self.most
            * distance.map_or(1.0, |of| 1.0 / (1.0 + FALL * (f64::from(of) - LIKE).max(0.0)));
        (1..overlap.union.len())
            .map(|plane| match overlap.iou(plane) {
                Some(iou) => {
                    let odds = odds(iou, agreement.get(plane)) + self.shift;
                    Some(factor / (1.0 + (-odds).exp()))
                }
                None => {
                    let presence = self.presence.get(plane).copied().unwrap_or(0.0);
                    (presence > 0.5).then_some((1.0 - presence) * factor)
                }
            })
            .collect()
    }
}

/// The logarithm of odds of an estimate from probabilities and from the models' agreement, where there is one.
fn odds(estimate: f64, agreement: Option<&Option<f32>>) -> f64 {
    match agreement.copied().flatten() {
        Some(agreement) => {
            (1.0 - AGREEMENT) * logit(estimate) + AGREEMENT * logit(f64::from(agreement))
        }
        None => logit(estimate),
    }
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(0.01, 0.99);
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_pixels_overlap_fully_and_doubtful_ones_half() {
        let rows: [[f32; 2]; 4] = [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]];
        let sure = ExpectedOverlap::of_rows(rows.iter().map(|row| &row[..]), 2);
        assert_eq!(sure.iou(1), Some(1.0));
        let rows: [[f32; 2]; 4] = [[0.4, 0.6], [0.4, 0.6], [0.6, 0.4], [0.6, 0.4]];
        let doubtful = ExpectedOverlap::of_rows(rows.iter().map(|row| &row[..]), 2);
        assert!((doubtful.iou(1).expect("found") - 1.2 / 2.8).abs() < 1e-6);
        let trust = Trust::default();
        let near = trust.of_classes(&doubtful, &[], Some(1.0))[0].expect("found");
        let far = trust.of_classes(&doubtful, &[], Some(6.0))[0].expect("found");
        assert!(far < 0.4 * near, "{near} {far}");
        let agreed = |agreement: f32| {
            trust.of_classes(&doubtful, &[None, Some(agreement)], None)[0].expect("found")
        };
        assert!(agreed(0.9) > near && agreed(0.1) < near, "{} {near}", agreed(0.9));
    }

    #[test]
    fn a_class_that_all_labelled_pictures_hold_is_missed_rather_than_absent() {
        let rows: [[f32; 2]; 2] = [[0.9, 0.1], [0.8, 0.2]];
        let empty = ExpectedOverlap::of_rows(rows.iter().map(|row| &row[..]), 2);
        let trust = Trust { presence: vec![1.0, 0.9], ..Trust::default() };
        assert!((trust.of_classes(&empty, &[], None)[0].expect("expected") - 0.1).abs() < 1e-9);
        let trust = Trust { presence: vec![1.0, 0.2], ..Trust::default() };
        assert_eq!(trust.of_classes(&empty, &[], None)[0], None);
    }
}
