//! Few-shot segmentation tasks as tensors: each made from (seed, index) alone.

use std::borrow::Cow;
use std::sync::Arc;

use burn::prelude::*;
use image::RgbImage;
use kshot_data::mask::Mask;

use crate::data::batch::{Batch, Episode, EpisodeId, labels, normalised};
use crate::data::cache::Cache;
use crate::data::dataset::{Dataset, read_at};
use crate::data::episode::{EpisodeSampler, relabel, support_labels};
use crate::data::source::{ItemSource, generator};
use crate::data::transforms::{Pair, Transform, apply};
use crate::encoder::Normalization;
use crate::error::{Error, Result};

/// Bytes of decoded pictures that are kept.
const KEPT: usize = 1 << 30;

/// The pictures of a data set as squares, kept decoded as far as there is room.
pub struct Squares {
    set: Arc<dyn Dataset>,
    size: usize,
    normalization: Normalization,
    kept: Cache<(RgbImage, Mask)>,
}

impl Squares {
    /// Of a side of `size` pixels; read when they are asked for.
    pub fn new(set: Arc<dyn Dataset>, size: usize, normalization: Normalization) -> Self {
        Self { set, size, normalization, kept: Cache::new(KEPT) }
    }

    fn get(&self, index: usize) -> Result<Arc<(RgbImage, Mask)>> {
        let side = self.size as u32;
        self.kept.get(index, || read_at(&*self.set, index, |_, _| (side, side)))
    }
}

/// The episodes of some classes.
pub struct PixelTasks {
    squares: Arc<Squares>,
    episodes: EpisodeSampler,
    /// What is done to support and to query pictures.
    transforms: [Vec<Transform>; 2],
    seed: u64,
}

impl PixelTasks {
    /// From a list of episodes over the same pictures, with what is done to the pictures of `[support, query]`.
    pub fn new(
        squares: Arc<Squares>,
        episodes: EpisodeSampler,
        transforms: [Vec<Transform>; 2],
        seed: u64,
    ) -> Self {
        Self { squares, episodes, transforms, seed }
    }

    /// Pictures with their labels as the episode numbers them, changed at random.
    fn side(
        &self,
        pictures: &[usize],
        transforms: &[Transform],
        part: u64,
        index: u64,
        of: &dyn Fn(&Mask, usize) -> Mask,
        device: &Device,
    ) -> Result<Batch<3>> {
        let mut random = generator(self.seed, index, part);
        let kept = pictures.iter().map(|picture| self.squares.get(*picture));
        let kept = kept.collect::<Result<Vec<_>>>()?;
        let (mut images, mut masks) = (Vec::new(), Vec::new());
        for (place, kept) in kept.iter().enumerate() {
            let mask = Cow::Owned(of(&kept.1, place));
            let pair = Pair::new(Cow::Borrowed(&kept.0), Some(mask))?;
            let (image, mask) = apply(transforms, pair, &mut random)?.into_parts()?;
            let side = self.squares.size as u32;
            if image.dimensions() != (side, side) {
                return Err(Error::config(format!(
                    "the transforms leave pictures of {} x {} pixels, and episodes have {side} x {side}; \
                     crop to that size, or leave out what changes it",
                    image.width(),
                    image.height()
                ))
                .at_key("data.transforms"));
            }
            images.push(image);
            masks.extend(mask);
        }
        let images: Vec<&RgbImage> = images.iter().map(|image| &**image).collect();
        let masks: Vec<&Mask> = masks.iter().map(|mask| &**mask).collect();
        Ok(Batch {
            images: normalised(&images, &self.squares.normalization, device),
            labels: labels(&masks, device),
            seed: 0,
        })
    }
}

impl ItemSource<Episode<3>> for PixelTasks {
    fn item(&self, index: u64, device: &Device) -> Result<Episode<3>> {
        let drawn = self.episodes.get(0, index as usize);
        let ways = drawn.classes.len();
        let shots = drawn.support.len() / ways;
        let own = |mask: &Mask, place: usize| support_labels(mask, &drawn.classes, place / shots);
        let all = |mask: &Mask, _: usize| relabel(mask, &drawn.classes);
        let [of_support, of_query] = &self.transforms;
        Ok(Episode {
            support: self.side(&drawn.support, of_support, 0, index, &own, device)?,
            query: self.side(&[drawn.query], of_query, 1, index, &all, device)?,
            ways,
            classes: drawn.classes.iter().map(|class| usize::from(*class)).collect(),
            id: EpisodeId { seed: self.seed, index },
        })
    }
}
