//! `supervised`: an encoder and a decoder trained on pictures with masks.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::mask::Mask;
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use kshot_kernels::Channels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::scalar;
use crate::contract::{Objective, StepResult};
use crate::data::batch::Batch;
use crate::decoder::{Decode, Segmenter, TrainLogits};
use crate::device;
use crate::encoder::{Encode, Encoder, Features, Normalization};
use crate::features::tile::{TileMean, Tiling, shown_size};
use crate::loss::LossConfig;
use crate::metric::boundary::boundary_f;
use crate::metric::confusion::Confusion;
use crate::metric::state::MetricState;
use crate::metric::unread::counted;
use crate::nn::{cpu_labels, cpu_values, on_cpu};

/// Longer side of a preview in pixels.
const STRIP: u32 = 1280;
/// Pixels between the panels of a preview.
const GAP: u32 = 6;

/// Its name in recipes.
pub const NAME: &str = "supervised";
/// One line for lists.
pub const SUMMARY: &str = "an encoder and a decoder trained on pictures with masks";
/// Nobody's in particular.
pub const SOURCE: &str = "";

/// It has no keys of its own: encoder and decoder are `[model]`'s, the loss is `[loss]`'s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisedConfig {}

/// What is optimised: a [`Segmenter`] by a loss over pixels.
#[derive(Module, Debug)]
pub struct Supervised {
    /// The network.
    pub segmenter: Segmenter,
    #[module(skip)]
    loss: LossConfig,
    /// Whether 0 is background; where it is not, no pixel is background.
    #[module(skip)]
    background: bool,
    #[module(skip)]
    normalization: Normalization,
    /// Whether validations measure boundaries, which takes time.
    #[module(skip)]
    boundaries: bool,
    /// How validations see large pictures; whole where it is none.
    #[module(skip)]
    tiling: Option<Tiling>,
}

impl Supervised {
    /// Around a network whose plane 0 is background.
    pub fn new(
        segmenter: Segmenter,
        loss: LossConfig,
        background: bool,
        normalization: Normalization,
    ) -> Self {
        Self { segmenter, loss, background, normalization, boundaries: false, tiling: None }
    }

    /// The same by another loss.
    #[must_use]
    pub fn with_loss(self, loss: LossConfig) -> Self {
        Self { loss, ..self }
    }

    /// The same, whose validations see pictures as predictions do: larger ones than a tile by tiles.
    #[must_use]
    pub fn with_tiling(self, tiling: Tiling) -> Self {
        Self { tiling: Some(tiling), ..self }
    }

    /// The same, whose validations measure `boundary_f` if so.
    #[must_use]
    pub fn with_boundaries(self, boundaries: bool) -> Self {
        Self { boundaries, ..self }
    }
}

/// The class of the highest logit of each pixel: on the CPU read where they lie, elsewhere found there, so that
/// labels alone are read back.
fn found(logits: Tensor<4>) -> Vec<u8> {
    let [_, channels, height, width] = logits.dims();
    if !on_cpu(&logits) || height * width == 0 {
        return bytes(logits.argmax(1));
    }
    let shape = Channels { channels, area: height * width };
    kshot_kernels::slices::argmax(&shape, &cpu_values(logits))
}

/// Labels as masks hold them.
fn bytes<const D: usize>(labels: Tensor<D, Int>) -> Vec<u8> {
    cpu_labels(labels).into_iter().map(|label| label as u8).collect()
}

/// The labels of the highest logits, and the truth, as masks.
fn masks(found: &[u8], truth: &[u8], [height, width]: [usize; 2]) -> Vec<(Mask, Mask)> {
    let mask = |pixels: &[u8]| Mask { width, height, pixels: pixels.to_vec() };
    let area = (height * width).max(1);
    found
        .chunks_exact(area)
        .zip(truth.chunks_exact(area))
        .map(|(f, t)| (mask(t), mask(f)))
        .collect()
}

/// Labels `[batch, height, width]` at another size, `[batch, size[0], size[1]]`, each that of the nearest pixel.
fn nearest(labels: Tensor<3, Int>, size: [usize; 2]) -> Tensor<3, Int> {
    let [_, height, width] = labels.dims();
    let places = |from: usize, to: usize| {
        let places = (0..to).map(|place| ((2 * place + 1) * from / (2 * to)) as i64);
        let places: Vec<i64> = places.collect();
        Tensor::<1, Int>::from_data(TensorData::new(places, [to]), &labels.device())
    };
    let resized = |labels: Tensor<3, Int>, axis: usize, from: usize, to: usize| {
        if from == to { labels } else { labels.select(axis, places(from, to)) }
    };
    resized(resized(labels.clone(), 1, height, size[0]), 2, width, size[1])
}

impl Supervised {
    /// The logits of pictures or tiles, which the network is shown at [`shown_size`].
    fn shown(&self, images: Tensor<4>) -> Tensor<4> {
        let [.., height, width] = images.dims();
        let size = shown_size(&self.segmenter, [height, width], !on_cpu(&images));
        self.segmenter.forward_shown(images, size)
    }

    /// The logits of whole pictures: of large ones the [mean](TileMean) of overlapping tiles.
    pub(crate) fn whole(&self, images: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = images.dims();
        let tiles = self.tiling.map_or_else(Vec::new, |tiling| tiling.tiles([height, width]));
        if tiles.len() < 2 {
            return self.shown(images);
        }
        let mut planes = 0;
        let mut means: Vec<TileMean> = Vec::with_capacity(batch);
        for tile in tiles {
            let rows = tile.top..tile.top + tile.height;
            let columns = tile.left..tile.left + tile.width;
            let logits = self.shown(images.clone().slice([0..batch, 0..channels, rows, columns]));
            planes = logits.dims()[1];
            means.resize_with(batch, || TileMean::new(planes, [height, width]));
            let values = cpu_values(logits);
            let each = values.chunks_exact(planes * tile.height * tile.width);
            means.iter_mut().zip(each).for_each(|(mean, values)| mean.add(tile, values));
        }
        let values: Vec<f32> = means.into_iter().flat_map(TileMean::finish).collect();
        let data = TensorData::new(values, [batch, planes, height, width]);
        Tensor::from_data(data, &images.device())
    }

    /// Loss and counted pixels: at once on the CPU; elsewhere they stay where they are until many are read together.
    ///
    /// # Shapes
    /// - `loss`: `[1]`
    /// - `logits`: `[batch, classes, height, width]`
    /// - `labels`: `[batch, height, width]`
    pub fn metrics(
        &self,
        loss: Tensor<1>,
        logits: Tensor<4>,
        labels: Tensor<3, Int>,
    ) -> MetricState {
        if !on_cpu(&logits) {
            return MetricState::default()
                .with_unread_mean("loss", loss, 1.0)
                .with_unread_confusion(counted(logits, labels), self.background);
        }
        let (loss, planes) = (f64::from(scalar(&loss)), logits.dims()[1]);
        let confusion = self.counted(planes, &found(logits), &bytes(labels));
        MetricState::default().with_mean("loss", loss, 1.0).with_confusion(confusion)
    }

    fn counted(&self, planes: usize, found: &[u8], truth: &[u8]) -> Confusion {
        let mut confusion = Confusion::new(planes).with_background(self.background);
        // There are as many of both, and planes bound both.
        let _ = confusion.add_pixels(truth, found);
        confusion
    }

    /// The training loss of pictures by their features, with auxiliary heads' where the decoder has some, and their
    /// logits. Methods that learn from other pictures too add to it.
    ///
    /// # Shapes
    /// - `features`: of pictures `[batch, channels, size[0], size[1]]`
    /// - `labels`: `[batch, size[0], size[1]]`
    /// - result: `[1]` and `[batch, classes, size[0], size[1]]`
    pub fn loss_of(
        &self,
        features: &Features,
        size: [usize; 2],
        labels: Tensor<3, Int>,
    ) -> (Tensor<1>, Tensor<4>) {
        let TrainLogits { logits, auxiliary } =
            self.segmenter.decoder.train_forward(features, size);
        let main = self.loss.forward(logits.clone(), labels.clone());
        let main = match self.segmenter.decoder.main_weight() {
            1.0 => main,
            weight => main * weight,
        };
        let loss = auxiliary.into_iter().fold(main, |sum, head| {
            let [.., height, width] = head.logits.dims();
            let labels = nearest(labels.clone(), [height, width]);
            sum + self.loss.forward(head.logits, labels) * head.weight
        });
        (loss, logits)
    }
}

impl Objective for Supervised {
    type Item = Batch<3>;

    fn encoder(&self) -> Option<&Encoder> {
        Some(&self.segmenter.encoder)
    }

    fn step(&self, item: Batch<3>) -> StepResult {
        // Dropout draws the same whether training was interrupted or not.
        device::seed(&item.images.device(), item.seed);
        let [.., height, width] = item.images.dims();
        let features = self.segmenter.encoder.forward(item.images);
        let (loss, logits) = self.loss_of(&features, [height, width], item.labels.clone());
        let value = loss.clone().inner();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        let metrics = self.metrics(value, logits.inner(), item.labels.inner());
        StepResult { loss: metrics.mean("loss").unwrap_or(f64::NAN), gradients, metrics }
    }

    fn evaluate(&self, item: Batch<3>) -> MetricState {
        let [_, height, width] = item.labels.dims();
        let logits = self.whole(item.images);
        // Labels are at the picture's own size, whatever size the network saw.
        let logits = kshot_kernels::bilinear(logits, [height, width], false);
        let loss = self.loss.forward(logits.clone(), item.labels.clone());
        if !self.boundaries {
            return self.metrics(loss, logits, item.labels);
        }
        let (loss, planes) = (f64::from(scalar(&loss)), logits.dims()[1]);
        let (found, truth) = (found(logits), bytes(item.labels));
        let confusion = self.counted(planes, &found, &truth);
        let state = MetricState::default().with_mean("loss", loss, 1.0).with_confusion(confusion);
        let first = u8::from(self.background);
        let pictures = masks(&found, &truth, [height, width]);
        // Both are of one size; pictures without a boundary have no value.
        let values =
            pictures.iter().filter_map(|(truth, found)| boundary_f(truth, found, first).ok()?);
        values.fold(state, |state, value| state.with_mean("boundary_f", value, 1.0))
    }

    /// The picture, the truth and the prediction side by side.
    fn preview(&self, item: &Batch<3>) -> Option<RgbImage> {
        let [_, height, width] = item.labels.dims();
        let images = item.images.clone().narrow(0, 0, 1);
        let shown = kshot_kernels::bilinear(images.clone(), [height, width], false);
        let picture = self.normalization.picture(&cpu_values(shown), height, width)?;
        let logits = kshot_kernels::bilinear(self.whole(images), [height, width], false);
        let labels = bytes(item.labels.clone().narrow(0, 0, 1));
        let (truth, found) = masks(&found(logits), &labels, [height, width]).pop()?;
        let style = OverlayStyle { opacity: 0.5, ..OverlayStyle::default() };
        let palette = Palette::distinct();
        let drawn = |mask: &Mask| overlay::draw(&picture, mask, None, &palette, &style).ok();
        let panels = [picture.clone(), drawn(&truth)?, drawn(&found)?];
        let mut strip =
            RgbImage::from_pixel(3 * (width as u32 + GAP), height as u32, image::Rgb([255; 3]));
        for (place, panel) in panels.iter().enumerate() {
            let left = place as i64 * i64::from(width as u32 + GAP);
            image::imageops::replace(&mut strip, panel, left, 0);
        }
        overlay::shrink(&strip, STRIP).ok()
    }

    fn monitor(&self) -> &'static str {
        "mean_iou"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_logits_are_those_that_burn_finds() {
        // Whole numbers, of which many are equal, and one that is no number.
        let mut values: Vec<f32> =
            (0..2 * 5 * 33 * 41).map(|at| ((at * 7919) % 13) as f32).collect();
        values[5 * 33 * 41 + 7] = f32::NAN;
        let data = TensorData::new(values, [2, 5, 33, 41]);
        let logits = Tensor::<4>::from_data(data, &Device::flex());
        assert_eq!(found(logits.clone()), bytes(logits.argmax(1)));
    }

    #[test]
    fn labels_of_auxiliary_heads_are_those_of_the_nearest_pixels() {
        let device = Device::flex();
        let labels =
            Tensor::<3, Int>::from_data([[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]]], &device);
        let of = |size| -> Vec<i64> { nearest(labels.clone(), size).into_data().iter().collect() };
        assert_eq!(of([3, 4]), (0..11).chain([255]).collect::<Vec<i64>>());
        assert_eq!(of([1, 2]), [5, 7]);
        assert_eq!(of([3, 8])[..8], [0, 0, 1, 1, 2, 2, 3, 3]);
    }
}
