//! Batches and episodes as tensors: what networks and methods see, for recognition (one label a
//! picture) and segmentation (one a pixel) alike.

use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::mask::{MAX_CLASSES, Mask, VOID};
use rayon::prelude::*;

use crate::encoder::Normalization;

/// Pictures with one integer label each (`R` = 1) or one a pixel (`R` = 3).
#[derive(Debug, Clone)]
pub struct Batch<const R: usize> {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Tensor<4>,
    /// `[batch]`, or `[batch, height, width]` with 255 for pixels that do not count.
    pub labels: Tensor<R, Int>,
    /// By which a training step seeds the device's random numbers, for noise that a network draws: of the item's
    /// number alone. Episodes have their [`EpisodeId`] for that, and 0 here.
    pub seed: u64,
}

/// A batch with masks and, beside it, one of pictures without: what a step sees of a method that learns from both.
#[derive(Debug, Clone)]
pub struct SemiBatch {
    /// The labelled pictures.
    pub labelled: Batch<3>,
    /// `[batch, channels, height, width]`, normalised; none where a training has no unlabelled pictures, and in
    /// validations.
    pub unlabelled: Option<Tensor<4>>,
    /// Which batch of the training it is, from 0: for what changes as it goes on.
    pub index: u64,
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
        let (images, labels) = (Tensor::from_inner(self.images), Tensor::from_inner(self.labels));
        Self { images, labels, ..self }
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

/// Pictures as `[batch, 3, height, width]`, normalised; all of one size.
pub fn normalised(
    pictures: &[&RgbImage],
    normalization: &Normalization,
    device: &Device,
) -> Tensor<4> {
    let Some(first) = pictures.first() else { return Tensor::zeros([0, 3, 0, 0], device) };
    let [height, width] = [first.height() as usize, first.width() as usize];
    let mut values = vec![0.0; pictures.len() * 3 * height * width];
    let planes = values.par_chunks_exact_mut((3 * height * width).max(1));
    planes.zip(pictures).for_each(|(planes, picture)| normalization.whole(picture, planes));
    Tensor::from_data(TensorData::new(values, [pictures.len(), 3, height, width]), device)
}

/// Masks of one size as `[batch, height, width]`, 255 for all pixels that do not count.
pub fn labels(masks: &[&Mask], device: &Device) -> Tensor<3, Int> {
    let [height, width] = masks.first().map_or([0, 0], |mask| [mask.height, mask.width]);
    let value = |class: u8| i32::from(if class > MAX_CLASSES { VOID } else { class });
    let mut values = vec![0; masks.len() * height * width];
    let parts = values.par_chunks_exact_mut((height * width).max(1)).zip(masks);
    parts.for_each(|(values, mask)| {
        values.iter_mut().zip(&mask.pixels).for_each(|(to, class)| *to = value(*class));
    });
    Tensor::from_data(TensorData::new(values, [masks.len(), height, width]), device)
}
