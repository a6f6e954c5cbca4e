//! Batches and episodes as tensors: what networks and methods see, for recognition (one label a
//! picture) and segmentation (one a pixel) alike.

use burn::prelude::*;

use crate::error::Result;

/// Pictures with one integer label each (`R` = 1) or one a pixel (`R` = 3).
#[derive(Debug, Clone)]
pub struct Batch<const R: usize> {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// `[batch]`, or `[batch, height, width]` with 255 for pixels that do not count.
    pub labels: Tensor<R, Int>,
}

/// Where episodes come from.
pub trait EpisodeSource<const R: usize>: Send + Sync {
    /// Episode `index`: the same whenever it is asked for.
    ///
    /// # Errors
    /// If a picture cannot be read.
    fn episode(&self, index: u64, device: &Device) -> Result<Episode<R>>;
}

/// Which episode it is: the same numbers give the same episode anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EpisodeId {
    /// Seed of the list.
    pub seed: u64,
    /// Place in it.
    pub index: u64,
}

/// One few-shot task.
#[derive(Debug, Clone)]
pub struct Episode<const R: usize> {
    /// The labelled examples, class by class.
    pub support: Batch<R>,
    /// What is to be labelled, class by class.
    pub query: Batch<R>,
    /// Classes; labels are below it.
    pub ways: usize,
    /// The classes as numbers of the data set.
    pub classes: Vec<usize>,
    /// Which it is.
    pub id: EpisodeId,
}

impl<const R: usize> Batch<R> {
    /// The same on the autodiff side, as constants.
    #[must_use]
    pub fn autodiff(self) -> Self {
        if self.images.is_autodiff() {
            return self;
        }
        Self { images: Tensor::from_inner(self.images), labels: Tensor::from_inner(self.labels) }
    }
}

impl<const R: usize> Episode<R> {
    /// The same on the autodiff side, as constants.
    #[must_use]
    pub fn autodiff(self) -> Self {
        Self { support: self.support.autodiff(), query: self.query.autodiff(), ..self }
    }

    /// Support pictures of each class, if all have as many.
    pub fn shots(&self) -> usize {
        self.support.images.dims()[0] / self.ways
    }
}
