//! Several models as one: the weighted mean of their probabilities, on the finest of their grids.

use image::RgbImage;

use crate::contract::pixel_model::{PicturePlacement, PixelModel, Scores};
use crate::error::{Error, Result};
use crate::nn::Precision;

/// A member's share, 0 to 1, by how far a picture is from the labelled ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// As near as these usually are to each other.
    pub near: f32,
    /// Far from all of them.
    pub far: f32,
}

/// The distances, in units of the usual one, where near ends and far begins: on draws of nuclei, photographs and streets
/// that no figure is reported of.
const NEAR: f32 = 1.0;
const FAR: f32 = 1.8;

impl Share {
    /// Whatever the distance.
    pub fn always(share: f32) -> Self {
        Self { near: share, far: share }
    }

    /// At a distance; an unknown one is near.
    pub fn at(self, distance: Option<f32>) -> f32 {
        let way = distance.map_or(0.0, |of| ((of - NEAR) / (FAR - NEAR)).clamp(0.0, 1.0));
        self.near + (self.far - self.near) * way
    }
}

/// A model with its share.
pub struct Member {
    /// The model.
    pub model: Box<dyn PixelModel>,
    /// Its share; at each distance they add up to 1.
    pub share: Share,
    /// What its logits are divided by.
    pub temperature: f32,
    /// By plane, what its probabilities are multiplied by; `None` where every pixel was labelled.
    pub ratios: Option<Vec<f32>>,
}

/// Probabilities are kept above this, so that their logarithms are finite.
pub const LEAST: f32 = 1e-6;

/// The members together.
pub struct EnsembleModel {
    members: Vec<Member>,
}

impl EnsembleModel {
    /// Of members of the same planes.
    pub fn new(members: Vec<Member>) -> Self {
        Self { members }
    }
}

impl PixelModel for EnsembleModel {
    fn planes(&self) -> usize {
        self.members.first().map_or(0, |member| member.model.planes())
    }

    /// Logits are logarithms of the mean probabilities; the placement is the first member's that has one, and so is the
    /// similarity. A member without a share at that distance is not asked.
    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let of_picture = [picture.height() as usize, picture.width() as usize];
        let mut similarity = Vec::new();
        let mut placement: Option<PicturePlacement> = None;
        let mut maps = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let share_at = |placement: &Option<PicturePlacement>| {
                member.share.at(placement.as_ref().map(|of| of.distance))
            };
            if placement.is_some() && share_at(&placement) <= 0.0 {
                continue;
            }
            let mut scores = member.model.scores(picture)?;
            scores.logits.softmax(member.temperature);
            member.ratios.iter().for_each(|ratios| scores.logits.reweigh(ratios));
            placement = placement.or(scores.placement);
            let share = share_at(&placement);
            if share > 0.0 {
                if similarity.is_empty() {
                    similarity = scores.similarity;
                }
                maps.push((scores.logits, share));
            }
        }
        maps.sort_by(|(a, _), (b, _)| b.scale[0].total_cmp(&a.scale[0]));
        let mut maps = maps.into_iter();
        let Some((finest, share)) = maps.next() else {
            return Err(Error::config("a mixture of models needs one with a share"));
        };
        let size = [0, 1]
            .map(|axis| (finest.scale[axis] * of_picture[axis] as f32).round().max(1.0) as usize);
        let mut sum = finest.resampled(size, of_picture);
        let mut labelled = vec![(sum.labels(), share)];
        sum.data.iter_mut().for_each(|value| *value *= share);
        for (map, share) in maps {
            let map = map.resampled(size, of_picture);
            labelled.push((map.labels(), share));
            sum.data.iter_mut().zip(map.data).for_each(|(sum, value)| *sum += share * value);
        }
        let agreement = agreement(&sum.labels(), &labelled, sum.planes);
        sum.data.iter_mut().for_each(|value| *value = value.max(LEAST).ln());
        Ok(Scores { logits: sum, similarity, placement, agreement })
    }

    fn set_precision(&mut self, precision: Precision) {
        self.members.iter_mut().for_each(|member| member.model.set_precision(precision));
    }
}

/// By plane, the members' mean intersection over union with what they label together; `None` where none found it.
pub fn agreement(together: &[u8], members: &[(Vec<u8>, f32)], planes: usize) -> Vec<Option<f32>> {
    let (mut sums, mut found) = (vec![0.0f32; planes], vec![false; planes]);
    for (labels, share) in members {
        let (mut common, mut union) = (vec![0u32; planes], vec![0u32; planes]);
        for (&one, &other) in labels.iter().zip(together) {
            union[usize::from(one)] += 1;
            if one == other {
                common[usize::from(one)] += 1;
            } else {
                union[usize::from(other)] += 1;
            }
        }
        for plane in 0..planes {
            found[plane] |= union[plane] > 0;
            sums[plane] += share * common[plane] as f32 / union[plane].max(1) as f32;
        }
    }
    sums.into_iter().zip(found).map(|(sum, found)| found.then_some(sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_distance() {
        let share = Share { near: 0.2, far: 1.0 };
        assert_eq!(
            [None, Some(0.5), Some(1.0), Some(9.0)].map(|of| share.at(of)),
            [0.2, 0.2, 0.2, 1.0]
        );
        assert!((share.at(Some(1.4)) - 0.6).abs() < 1e-6);
    }

    #[test]
    fn members_agree_as_far_as_they_overlap() {
        let members = [(vec![0, 1, 1, 0], 0.5), (vec![0, 1, 0, 0], 0.5)];
        let found = agreement(&[0, 1, 1, 0], &members, 3);
        assert_eq!(found, [Some(0.5 + 0.5 * 2.0 / 3.0), Some(0.75), None]);
    }
}
