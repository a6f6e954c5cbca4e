//! The pictures of a data set as squares of one size: what episodes of segmentation are made of.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::Mask;
use rand_chacha::ChaCha8Rng;

use crate::data::cache::Cache;
use crate::data::dataset::{Dataset, read_at};
use crate::data::transforms::{Transform, apply_to};
use crate::error::{Error, Result};

/// Bytes of decoded pictures that are kept.
const KEPT: usize = 1 << 30;

/// The pictures of a data set as squares, kept decoded as far as there is room.
pub struct Squares {
    set: Arc<dyn Dataset>,
    size: usize,
    kept: Cache<(RgbImage, Mask)>,
}

impl Squares {
    /// Of a side of `size` pixels; read when they are asked for.
    pub fn new(set: Arc<dyn Dataset>, size: usize) -> Self {
        Self { set, size, kept: Cache::new(KEPT) }
    }

    /// Side of the squares, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A picture and its mask, in the data set's classes, changed at random.
    ///
    /// # Errors
    /// If it cannot be read, or the transforms leave another size.
    pub fn changed(
        &self,
        index: usize,
        transforms: &[Transform],
        random: &mut ChaCha8Rng,
    ) -> Result<(RgbImage, Mask)> {
        let side = self.size as u32;
        let kept = self.kept.get(index, || read_at(&*self.set, index, |_, _| (side, side)))?;
        let (image, mask) = apply_to(transforms, &kept.0, &kept.1, None, random)?;
        if image.dimensions() != (side, side) {
            return Err(Error::config(format!(
                "the transforms leave pictures of {} x {} pixels, and episodes have {side} x {side}; \
                 crop to that size, or leave out what changes it",
                image.width(),
                image.height()
            ))
            .at_key("data.transforms"));
        }
        Ok((image, mask))
    }
}
