//! A frozen encoder as a function from a picture to one vector.
//!
//! The encoder's embedding map (what its classifier was trained on) is pooled twice, by its mean and
//! by its generalised mean of power 3 (which weighs small salient things more; Radenovic et al., 2018,
//! arXiv 1711.02512); each half has length 1, and so has the whole. Several views of a picture are
//! averaged.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::resize::resize_part;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::encoder::{Encode, Encoder, EncoderConfig, Normalization};
use crate::error::{Error, Result};
use crate::nn::{Precision, cpu_values};
use crate::weights::source::WeightsSource;

/// Input size and test-time views of an [`Embedder`]. Vectors of different settings cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InputViews {
    /// Side in pixels of the square that the encoder sees, 32 to 1024.
    #[schemars(range(min = SIZES[0], max = SIZES[1]))]
    pub size: usize,
    /// Views of a picture whose vectors are averaged, 1 to 12; each costs as much time as the first.
    #[schemars(range(min = 1, max = VIEWS))]
    pub views: usize,
}

impl Default for InputViews {
    fn default() -> Self {
        Self { size: 288, views: 2 }
    }
}

/// Smallest and largest side of what the encoder sees.
const SIZES: [usize; 2] = [32, 1024];
/// Views at most: centre, whole, and the corners, each also mirrored.
const VIEWS: usize = 12;
/// Side of the centre and corner views, as a share of the picture's shorter side.
const CENTRE: f64 = 0.875;
const CORNER: f64 = 0.7;
/// Pictures that go through the encoder together.
pub const BATCH: usize = 8;
/// The power of the generalised mean.
const POWER: i32 = 3;
/// Below this, a feature counts as nothing (the generalised mean is of positive numbers).
const FLOOR: f32 = 1e-6;

impl InputViews {
    /// Checks the numbers.
    ///
    /// # Errors
    /// If the size or the number of views is out of bounds.
    pub fn check(&self) -> Result<()> {
        if !(SIZES[0]..=SIZES[1]).contains(&self.size) {
            return Err(Error::config(format!(
                "size {} is out of bounds: valid are {} to {} pixels; 224 is quick, 288 better",
                self.size, SIZES[0], SIZES[1]
            )));
        }
        if !(1..=VIEWS).contains(&self.views) {
            return Err(Error::config(format!(
                "{} views: valid are 1 to {VIEWS}; each costs as much time as the first",
                self.views
            )));
        }
        Ok(())
    }
}

/// A part of a picture, in its pixels, and whether it is seen mirrored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct EmbeddingView {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    mirrored: bool,
}

/// The first `count` views of a picture: the centre, the whole (its shape given up) mirrored, these two
/// mirrored the other way, then the four corners and their mirror images.
fn views(count: usize, width: u32, height: u32) -> Vec<EmbeddingView> {
    let (width, height) = (f64::from(width), f64::from(height));
    let square = |share: f64, across: f64, down: f64, mirrored| {
        let side = (share * width.min(height)).max(1.0);
        EmbeddingView {
            left: (width - side) * across,
            top: (height - side) * down,
            width: side,
            height: side,
            mirrored,
        }
    };
    let whole = |mirrored| EmbeddingView { left: 0.0, top: 0.0, width, height, mirrored };
    let mut all = vec![
        square(CENTRE, 0.5, 0.5, false),
        whole(true),
        square(CENTRE, 0.5, 0.5, true),
        whole(false),
    ];
    for mirrored in [false, true] {
        for (across, down) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            all.push(square(CORNER, across, down, mirrored));
        }
    }
    all.truncate(count);
    all
}

/// An encoder that makes one vector of a picture.
#[derive(Debug, Clone)]
pub struct Embedder {
    encoder: Encoder,
    normalization: Normalization,
    device: Device,
    input_views: InputViews,
    precision: Precision,
}

impl Embedder {
    /// Wraps an encoder that is on `device`.
    ///
    /// # Errors
    /// If the size or the number of views is out of bounds.
    pub fn new(
        encoder: Encoder,
        normalization: Normalization,
        device: Device,
        input_views: InputViews,
    ) -> Result<Self> {
        input_views.check()?;
        Ok(Self { encoder, normalization, device, input_views, precision: Precision::F32 })
    }

    /// A frozen encoder with published weights (see [`WeightsSource::of`]), and the SHA-256 of their file.
    ///
    /// # Errors
    /// When the weights are missing, damaged, or do not fit the encoder, size or views are out of bounds, or the
    /// encoder takes other than RGB pictures.
    pub fn from_weights(
        config: &EncoderConfig,
        weights: Option<&Path>,
        device: &Device,
        input_views: InputViews,
    ) -> Result<(Self, String)> {
        input_views.check()?;
        config.check_rgb()?;
        let (encoder, sha256) =
            WeightsSource::of(config, weights)?.load_embedding(config, device)?;
        let encoder = encoder.optimize();
        Ok((Self::new(encoder, config.normalization(), device.clone(), input_views)?, sha256))
    }

    /// The same with another precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Input size and test-time views.
    pub fn input_views(&self) -> InputViews {
        self.input_views
    }

    /// What the encoder sees of a picture, `[views, 3, size, size]`, normalised. This is the part that
    /// may go on beside the encoder.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn prepare(&self, picture: &RgbImage) -> Result<Vec<f32>> {
        let side = self.input_views.size;
        let mut planes = vec![0.0; self.input_views.views * 3 * side * side];
        let views = views(self.input_views.views, picture.width(), picture.height());
        for (view, planes) in views.iter().zip(planes.chunks_exact_mut(3 * side * side)) {
            self.normalization.square(&cut(picture, view, side)?, view.mirrored, planes);
        }
        Ok(planes)
    }

    /// The vectors (length 1) of prepared pictures, in their order.
    pub fn embed(&self, prepared: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let InputViews { size, views } = self.input_views;
        // Not more pictures at a time than keep the activations in the caches' neighbourhood.
        let together = (BATCH / views).max(1);
        let mut vectors = Vec::with_capacity(prepared.len());
        for batch in prepared.chunks(together) {
            let mut planes = batch.concat();
            let mut pictures = batch.len();
            // On a GPU, where every shape is tuned for, the last few are made up to as many as the others.
            if self.device != Device::flex() {
                pictures = together;
                planes.resize(pictures * views * 3 * size * size, 0.0);
            }
            let data = TensorData::new(planes, [pictures * views, 3, size, size]);
            let images = Tensor::from_data(data, &self.device);
            let map = self.precision.run(|| self.encoder.embedding(images));
            let [_, channels, height, width] = map.dims();
            let values = cpu_values(map.to_device(&Device::flex()));
            let of_view = channels * height * width;
            vectors.par_extend(
                values[..batch.len() * of_view * views]
                    .par_chunks_exact(of_view * views)
                    .map(|picture| averaged(picture, of_view, height * width)),
            );
        }
        vectors
    }

    /// How many numbers a vector has. (A blank picture goes through the encoder to find out.)
    pub fn dimensions(&self) -> usize {
        let InputViews { size, views } = self.input_views;
        let blank = vec![0.0; views * 3 * size * size];
        self.embed(std::slice::from_ref(&blank)).first().map_or(0, Vec::len)
    }

    /// The vector of one picture.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn embed_one(&self, picture: &RgbImage) -> Result<Vec<f32>> {
        let prepared = self.prepare(picture)?;
        Ok(self.embed(std::slice::from_ref(&prepared)).swap_remove(0))
    }
}

/// The mean over the views of a picture's pooled maps, of length 1.
fn averaged(maps: &[f32], of_view: usize, cells: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; 2 * of_view / cells];
    for map in maps.chunks_exact(of_view) {
        for (sum, value) in sum.iter_mut().zip(pooled(map, cells)) {
            *sum += value;
        }
    }
    normalise(&mut sum);
    rounded(sum)
}

/// A map `[channels, cells]` pooled by its mean and by its generalised mean, each half of the same
/// length, the whole of length 1.
fn pooled(map: &[f32], cells: usize) -> Vec<f32> {
    let count = cells as f32;
    let mut mean: Vec<f32> =
        map.chunks_exact(cells).map(|channel| channel.iter().sum::<f32>() / count).collect();
    let mut powered: Vec<f32> = map
        .chunks_exact(cells)
        .map(|channel| {
            let sum: f32 = channel.iter().map(|value| value.max(FLOOR).powi(POWER)).sum();
            (sum / count).powf(1.0 / POWER as f32)
        })
        .collect();
    normalise(&mut mean);
    normalise(&mut powered);
    mean.append(&mut powered);
    normalise(&mut mean);
    mean
}

/// Divides by the length; a vector of zeros stays one.
pub fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

/// Half precision, as vectors are stored: so a stored one and a fresh one are the same.
fn rounded(mut vector: Vec<f32>) -> Vec<f32> {
    vector.iter_mut().for_each(|value| *value = half::f16::from_f32(*value).to_f32());
    vector
}

/// A view of a picture at the encoder's size, by an area-aware bilinear filter.
fn cut(picture: &RgbImage, view: &EmbeddingView, side: usize) -> Result<RgbImage> {
    let part = [view.left, view.top, view.width, view.height];
    resize_part(picture, part, side as u32, side as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedder(input_views: InputViews) -> Embedder {
        let config: EncoderConfig = "efficientnet-lite-tiny".parse().unwrap();
        let device = Device::flex();
        device.seed(1);
        let encoder = config.init_embedding(&device);
        Embedder::new(encoder, config.normalization(), device, input_views).unwrap()
    }

    fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 7 + seed) as u8, (y * 5) as u8, (x * y + seed) as u8])
        })
    }

    #[test]
    fn vectors_have_length_one_and_do_not_depend_on_the_batch() {
        let embedder = embedder(InputViews { size: 64, views: 3 });
        let pictures = [picture(40, 90, 1), picture(1, 1, 2), picture(64, 64, 3)];
        let prepared: Vec<_> = pictures.iter().map(|p| embedder.prepare(p).unwrap()).collect();
        let together = embedder.embed(&prepared);
        for (picture, vector) in pictures.iter().zip(&together) {
            assert_eq!(vector.len(), 2 * 32, "mean and generalised mean of the head's channels");
            let length: f32 = vector.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 2e-3, "{length}");
            let alone = embedder.embed_one(picture).unwrap();
            let gap = alone.iter().zip(vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 2e-3, "{gap}");
        }
    }

    #[test]
    fn views_lie_within_the_picture_and_differ() {
        for (width, height) in [(100, 60), (60, 100), (1, 1)] {
            let all = views(VIEWS, width, height);
            assert_eq!(all.len(), VIEWS);
            for view in &all {
                assert!(view.left >= 0.0 && view.top >= 0.0, "{view:?}");
                assert!(view.left + view.width <= f64::from(width) + 1e-9, "{view:?}");
                assert!(view.top + view.height <= f64::from(height) + 1e-9, "{view:?}");
            }
        }
        let all = views(VIEWS, 100, 60);
        for (index, view) in all.iter().enumerate() {
            assert!(!all[..index].contains(view), "{view:?} twice");
        }
    }

    #[test]
    fn a_mirrored_view_sees_the_mirrored_picture() {
        let picture = picture(20, 20, 0);
        let mirror = image::imageops::flip_horizontal(&picture);
        let n = Normalization::IMAGENET;
        let (mut a, mut b) = (vec![0.0; 1200], vec![0.0; 1200]);
        n.square(&picture, true, &mut a);
        n.square(&mirror, false, &mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn the_generalised_mean_is_computed_by_hand() {
        // One channel of 0 and 2: mean 1, generalised mean (8 / 2)^(1/3); alone, each becomes 1.
        let both = pooled(&[0.0, 2.0, 1.0, 1.0], 2);
        let powered = [4.0f32.powf(1.0 / 3.0), 1.0];
        let length = (powered[0].powi(2) + 1.0).sqrt() * 2f32.sqrt();
        let expected = [0.5, 0.5, powered[0] / length, powered[1] / length];
        for (value, expected) in both.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{both:?}");
        }
    }

    #[test]
    fn out_of_bounds_is_refused() {
        for input_views in [InputViews { size: 8, views: 1 }, InputViews { size: 224, views: 13 }] {
            assert!(input_views.check().is_err());
        }
    }
}
