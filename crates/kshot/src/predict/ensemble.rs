//! Several models as one: the weighted mean of their probabilities, on the finest of their grids.

use image::RgbImage;

use crate::contract::pixel_model::{PicturePlacement, PixelModel, Scores};
use crate::error::Result;
use crate::nn::Precision;

/// A model with its share.
pub struct Member {
    /// The model.
    pub model: Box<dyn PixelModel>,
    /// Its share, 0 to 1; they add up to 1.
    pub share: f32,
    /// What its logits are divided by.
    pub temperature: f32,
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

    /// Logits are logarithms of the mean probabilities; the similarity is the first member's that has one, and so
    /// is the placement, of the largest distance.
    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let of_picture = [picture.height() as usize, picture.width() as usize];
        let mut similarity = Vec::new();
        let mut placement: Option<PicturePlacement> = None;
        let mut maps = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut scores = member.model.scores(picture)?;
            scores.logits.softmax(member.temperature);
            if similarity.is_empty() {
                similarity = scores.similarity;
            }
            placement = match (placement, scores.placement) {
                (Some(first), Some(other)) => {
                    Some(PicturePlacement { distance: first.distance.max(other.distance), ..first })
                }
                (first, other) => first.or(other),
            };
            maps.push((scores.logits, member.share));
        }
        maps.sort_by(|(a, _), (b, _)| b.scale[0].total_cmp(&a.scale[0]));
        let mut maps = maps.into_iter();
        let Some((finest, share)) = maps.next() else { panic!("an ensemble has members") };
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
    fn members_agree_as_far_as_they_overlap() {
        let members = [(vec![0, 1, 1, 0], 0.5), (vec![0, 1, 0, 0], 0.5)];
        let found = agreement(&[0, 1, 1, 0], &members, 3);
        assert_eq!(found, [Some(0.5 + 0.5 * 2.0 / 3.0), Some(0.75), None]);
    }
}
