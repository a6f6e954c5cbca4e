//! Few-shot segmentation tasks as tensors: each made from (seed, index) alone.

use std::sync::{Arc, OnceLock};

use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::image::resize;
use kshot_data::mask::{MAX_CLASSES, Mask, VOID};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::batch::{Batch, Episode, EpisodeId, EpisodeSource};
use crate::data::episode::{Episodes, relabel, support_labels};
use crate::data::set::SegmentationSet;
use crate::encoder::Normalization;
use crate::error::Result;

/// The pictures of a data set as squares, kept once decoded.
pub struct Squares {
    set: SegmentationSet,
    size: usize,
    normalization: Normalization,
    kept: Vec<OnceLock<(RgbImage, Mask)>>,
}

impl Squares {
    /// Of a side of `size` pixels; read when they are asked for.
    pub fn new(set: SegmentationSet, size: usize, normalization: Normalization) -> Self {
        let kept = (0..set.len()).map(|_| OnceLock::new()).collect();
        Self { set, size, normalization, kept }
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.set.classes
    }

    fn get(&self, index: usize) -> Result<&(RgbImage, Mask)> {
        if let Some(kept) = self.kept[index].get() {
            return Ok(kept);
        }
        let image = resize(&self.set.image(index)?, self.size as u32, self.size as u32)?;
        let mask = self.set.mask(index)?.resized(self.size, self.size);
        // Two threads may read the same picture at once: either is right.
        Ok(self.kept[index].get_or_init(|| (image, mask)))
    }
}

/// Pictures `[batch, 3, height, width]`, normalised, of one size.
pub fn normalised(
    pictures: &[&RgbImage],
    normalization: &Normalization,
    device: &Device,
) -> Tensor<4> {
    let Some(first) = pictures.first() else { return Tensor::zeros([0, 3, 0, 0], device) };
    let [height, width] = [first.height() as usize, first.width() as usize];
    let mut values = Vec::with_capacity(pictures.len() * 3 * height * width);
    pictures
        .iter()
        .for_each(|picture| values.extend(normalization.planes(picture, [0, 0, height, width])));
    Tensor::from_data(TensorData::new(values, [pictures.len(), 3, height, width]), device)
}

/// The episodes of some classes.
pub struct PixelTasks {
    squares: Arc<Squares>,
    episodes: Episodes,
    /// Whether half of the pictures of support and of query are mirrored.
    flip: [bool; 2],
    seed: u64,
}

impl PixelTasks {
    /// From a list of episodes over the same pictures.
    pub fn new(squares: Arc<Squares>, episodes: Episodes, flip: [bool; 2], seed: u64) -> Self {
        Self { squares, episodes, flip, seed }
    }
}

/// Masks `[batch, height, width]`, 255 for all that does not count.
pub(crate) fn labels(masks: &[Mask], size: usize, device: &Device) -> Tensor<3, Int> {
    let value = |&class: &u8| i64::from(if class > MAX_CLASSES { VOID } else { class });
    let values: Vec<i64> = masks.iter().flat_map(|mask| mask.pixels.iter().map(value)).collect();
    Tensor::from_data(TensorData::new(values, [masks.len(), size, size]), device)
}

impl EpisodeSource<3> for PixelTasks {
    fn episode(&self, index: u64, device: &Device) -> Result<Episode<3>> {
        let drawn = self.episodes.get(0, index as usize);
        let ways = drawn.classes.len();
        let shots = drawn.support.len() / ways;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.rotate_left(32) ^ index ^ 0x666c_6970);
        let mut side = |pictures: &[usize], flip: bool, of: &dyn Fn(&Mask, usize) -> Mask| {
            let mut images = Vec::with_capacity(pictures.len());
            let mut masks = Vec::with_capacity(pictures.len());
            for (place, &picture) in pictures.iter().enumerate() {
                let (image, mask) = self.squares.get(picture)?;
                let mask = of(mask, place);
                if flip && random.random_bool(0.5) {
                    images.push(image::imageops::flip_horizontal(image));
                    masks.push(mask.mirrored());
                } else {
                    images.push(image.clone());
                    masks.push(mask);
                }
            }
            let images: Vec<&RgbImage> = images.iter().collect();
            Ok(Batch {
                images: normalised(&images, &self.squares.normalization, device),
                labels: labels(&masks, self.squares.size, device),
            })
        };
        let own = |mask: &Mask, place: usize| support_labels(mask, &drawn.classes, place / shots);
        let support = side(&drawn.support, self.flip[0], &own)?;
        let all = |mask: &Mask, _: usize| relabel(mask, &drawn.classes);
        let query = side(&[drawn.query], self.flip[1], &all)?;
        Ok(Episode {
            support,
            query,
            ways,
            classes: drawn.classes.iter().map(|class| usize::from(*class)).collect(),
            id: EpisodeId { seed: self.seed, index },
        })
    }
}
