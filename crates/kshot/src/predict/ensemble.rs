//! Several models as one: the weighted mean of their probabilities, on the finest of their grids.

use image::RgbImage;

use crate::contract::pixel_model::{PixelModel, Scores};
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
const LEAST: f32 = 1e-6;

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

    /// Logits are logarithms of the mean probabilities; the similarity is the first member's that has one, the distance
    /// the largest.
    fn scores(&self, picture: &RgbImage) -> Result<Scores> {
        let of_picture = [picture.height() as usize, picture.width() as usize];
        let mut similarity = Vec::new();
        let mut distance: Option<f32> = None;
        let mut maps = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut scores = member.model.scores(picture)?;
            scores.logits.softmax(member.temperature);
            if similarity.is_empty() {
                similarity = scores.similarity;
            }
            distance = [distance, scores.distance].into_iter().flatten().reduce(f32::max);
            maps.push((scores.logits, member.share));
        }
        maps.sort_by(|(a, _), (b, _)| b.scale[0].total_cmp(&a.scale[0]));
        let mut maps = maps.into_iter();
        let Some((finest, share)) = maps.next() else { panic!("an ensemble has members") };
        let size = [0, 1]
            .map(|axis| (finest.scale[axis] * of_picture[axis] as f32).round().max(1.0) as usize);
        let mut sum = finest.resampled(size, of_picture);
        sum.data.iter_mut().for_each(|value| *value *= share);
        for (map, share) in maps {
            let map = map.resampled(size, of_picture);
            sum.data.iter_mut().zip(map.data).for_each(|(sum, value)| *sum += share * value);
        }
        sum.data.iter_mut().for_each(|value| *value = value.max(LEAST).ln());
        Ok(Scores { logits: sum, similarity, distance })
    }

    fn set_precision(&mut self, precision: Precision) {
        self.members.iter_mut().for_each(|member| member.model.set_precision(precision));
    }
}
