//! `feature-alignment`: supervised segmentation of a source's labelled pictures, whose encoder at the same time is to
//! make features of unlabelled target pictures that are distributed as the source's.
//!
//! To the training loss comes `weight` times a distance of both domains' features: [`coral`] (Deep CORAL, Sun and
//! Saenko 2016, arXiv 1607.01719) or [`mmd`] (Long et al. 2015, arXiv 1502.02791).
//!
//! Deviations: the papers have one vector of a picture, of the last layers of a classifier; here each place of an
//! encoder's map is one, of the coarsest map by default, of which at most 512 a domain are drawn at random in each
//! step (a map of stride 32 of four crops of 256 pixels has 256). Features are brought to mean 0 and standard
//! deviation 1 over both domains together, differentiably: distances then do not depend on the features' scale, so
//! that one weight suits any encoder and nothing is gained by features that shrink (on CamVid, CORAL of
//! EfficientNet-Lite0's plain features drowned the loss of the labels at weight 1). Both domains' pictures pass the
//! encoder as one batch, so that batch normalisation sees in training the mixture of which its running statistics are.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{coral, mmd};
use crate::contract::episodic::scalar;
use crate::contract::{Objective, StepResult};
use crate::data::batch::SemiBatch;
use crate::data::source::generator;
use crate::device;
use crate::encoder::{Encode, Encoder, Features};
use crate::method::supervised::Supervised;
use crate::metric::state::MetricState;
use crate::nn::on_cpu;

/// Its name in recipes.
pub const NAME: &str = "feature-alignment";
/// One line for lists.
pub const SUMMARY: &str = "supervised, with features of unlabelled pictures of another domain brought to the labelled ones'";
/// The paper of its default distance.
pub const SOURCE: &str = "https://arxiv.org/abs/1607.01719";

/// Places of a domain that are compared in a step, at most.
const PLACES: usize = 512;
/// Added to variances before features are divided by their root: a feature that is the same everywhere stays 0.
const EPSILON: f64 = 1e-5;

/// How far two domains' features are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureDistance {
    /// The distance of their covariances.
    #[default]
    Coral,
    /// The maximum mean discrepancy: the distance of their means in the space of a kernel.
    Mmd,
}

/// What of the features is brought together, and how strongly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureAlignmentConfig {
    /// How far two domains' features are apart.
    pub distance: FeatureDistance,
    /// What the distance is multiplied by before it is added to the loss.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub weight: f64,
    /// Batches over which the weight rises from 0, linearly: at first features say little.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub warmup: u64,
    /// How many of the encoder's maps are aligned, from the coarsest on; their distances are averaged.
    #[schemars(range(min = 1, max = 64))]
    pub maps: usize,
}

impl Default for FeatureAlignmentConfig {
    fn default() -> Self {
        Self { distance: FeatureDistance::Coral, weight: 1.0, warmup: 0, maps: 1 }
    }
}

impl FeatureAlignmentConfig {
    /// What the distance is multiplied by in batch `index`, from 0.
    pub fn weight_at(&self, index: u64) -> f64 {
        match self.warmup {
            0 => self.weight,
            warmup => self.weight * (index as f64 / warmup as f64).min(1.0),
        }
    }

    /// The distance of the features of pictures, of which the first `labelled` are the source's; the places are drawn
    /// by `seed`.
    ///
    /// # Shapes
    /// Result: `[1]`
    ///
    /// # Panics
    /// If all pictures are of one domain.
    pub fn distance_of(&self, features: &Features, labelled: usize, seed: u64) -> Tensor<1> {
        let count = self.maps.min(features.maps.len());
        let aligned = features.maps.iter().rev().take(count).enumerate();
        let distances = aligned.map(|(number, map)| {
            let [batch, ..] = map.dims();
            let part = |start: usize, length: usize, domain: u64| {
                let part = 2 * number as u64 + domain;
                drawn(map.clone().narrow(0, start, length), seed, part)
            };
            let source = part(0, labelled, 0);
            let target = part(labelled, batch - labelled, 1);
            let (source, target) = standardised(source, target);
            match self.distance {
                FeatureDistance::Coral => coral::coral(source, target),
                FeatureDistance::Mmd => mmd::mmd(source, target),
            }
        });
        let Some(sum) = distances.reduce(|sum, distance| sum + distance) else {
            unreachable!("every encoder has a map")
        };
        sum / count as f64
    }
}

/// Some of a map's places, at most [`PLACES`]: `[batch, channels, height, width]` to `[places, channels]`.
fn drawn(map: Tensor<4>, seed: u64, part: u64) -> Tensor<2> {
    let [batch, channels, height, width] = map.dims();
    let count = batch * height * width;
    let places = map.permute([0, 2, 3, 1]).reshape([count, channels]);
    if count <= PLACES {
        return places;
    }
    let mut chosen = sample(&mut generator(seed, part, 0), count, PLACES).into_vec();
    chosen.sort_unstable();
    let chosen: Vec<i64> = chosen.into_iter().map(|place| place as i64).collect();
    let device = places.device();
    places.select(0, Tensor::<1, Int>::from_data(TensorData::new(chosen, [PLACES]), &device))
}

/// Both with features of mean 0 and standard deviation 1 over all places of both.
///
/// # Shapes
/// `[places, features]`, any number of places each, to the same
pub fn standardised(source: Tensor<2>, target: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let (n, m) = (source.dims()[0], target.dims()[0]);
    let both = Tensor::cat(vec![source, target], 0);
    let centred = both.clone() - both.mean_dim(0);
    let variance = (centred.clone() * centred.clone()).mean_dim(0);
    let scaled = centred / (variance + EPSILON).sqrt();
    (scaled.clone().narrow(0, 0, n), scaled.narrow(0, n, m))
}

/// What is optimised: a [`Supervised`] segmenter, with a distance of features added to its loss.
#[derive(Module, Debug)]
pub struct FeatureAlignment {
    /// The network and the loss of the labelled pictures.
    pub supervised: Supervised,
    #[module(skip)]
    config: FeatureAlignmentConfig,
}

impl FeatureAlignment {
    /// Around a network with its loss.
    pub fn new(supervised: Supervised, config: FeatureAlignmentConfig) -> Self {
        Self { supervised, config }
    }
}

impl Objective for FeatureAlignment {
    type Item = SemiBatch;

    fn encoder(&self) -> Option<&Encoder> {
        self.supervised.encoder()
    }

    fn step(&self, item: SemiBatch) -> StepResult {
        let SemiBatch { labelled, unlabelled, index } = item;
        let Some(unlabelled) = unlabelled else { return self.supervised.step(labelled) };
        // Dropout draws the same whether training was interrupted or not.
        device::seed(&labelled.images.device(), labelled.seed);
        let [count, _, height, width] = labelled.images.dims();
        let images = Tensor::cat(vec![labelled.images, unlabelled], 0);
        let features = self.supervised.segmenter.encoder.forward(images);
        let distance = self.config.distance_of(&features, count, labelled.seed);
        let own = features.maps.into_iter().map(|map| map.narrow(0, 0, count)).collect();
        let (loss, logits) = self.supervised.loss_of(
            &Features { maps: own },
            [height, width],
            labelled.labels.clone(),
        );
        let apart = distance.clone().inner();
        let loss = loss + distance * self.config.weight_at(index);
        let value = loss.clone().inner();
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        let (logits, truth) = (logits.inner(), labelled.labels.inner());
        let read = on_cpu(&apart);
        let metrics = self.supervised.metrics(value, logits, truth);
        let metrics = match read {
            true => metrics.with_mean("feature_distance", f64::from(scalar(&apart)), 1.0),
            false => metrics.with_unread_mean("feature_distance", apart, 1.0),
        };
        StepResult { loss: metrics.mean("loss").unwrap_or(f64::NAN), gradients, metrics }
    }

    fn evaluate(&self, item: SemiBatch) -> MetricState {
        self.supervised.evaluate(item.labelled)
    }

    fn preview(&self, item: &SemiBatch) -> Option<RgbImage> {
        self.supervised.preview(&item.labelled)
    }

    fn monitor(&self) -> &'static str {
        self.supervised.monitor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_do_not_depend_on_the_scale_of_features() {
        let device = Device::flex();
        let map = |scale: f32, shift: f32| {
            let values = (0..4 * 3 * 5 * 7).map(|at| {
                let domain = if at < 2 * 3 * 5 * 7 { 1.0 } else { 1.7 };
                scale * domain * ((at * 7919 % 101) as f32 / 50.0 - 1.0) + shift
            });
            let data = TensorData::new(values.collect::<Vec<f32>>(), [4, 3, 5, 7]);
            Features { maps: vec![Tensor::from_data(data, &device)] }
        };
        for distance in [FeatureDistance::Coral, FeatureDistance::Mmd] {
            let config = FeatureAlignmentConfig { distance, ..Default::default() };
            let of = |scale, shift| -> f32 {
                config.distance_of(&map(scale, shift), 2, 1).into_scalar()
            };
            let plain = of(1.0, 0.0);
            assert!(plain > 1e-4, "{distance:?}: {plain}");
            assert!((of(300.0, 40.0) / plain - 1.0).abs() < 1e-3, "{distance:?}");
        }
    }

    #[test]
    fn places_are_drawn_without_order_and_bounded() {
        let device = Device::flex();
        let values: Vec<f32> = (0..2 * 40 * 30).map(|at| at as f32).collect();
        let map = Tensor::<4>::from_data(TensorData::new(values, [2, 1, 40, 30]), &device);
        let of = |seed, part| -> Vec<f32> {
            drawn(map.clone(), seed, part).into_data().iter::<f32>().collect()
        };
        let first = of(1, 0);
        assert!(first.len() == PLACES && first.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(first, of(1, 0));
        assert!(first != of(1, 1) && first != of(2, 0));
        let few = map.clone().narrow(2, 0, 2);
        assert_eq!(drawn(few, 1, 0).dims(), [2 * 2 * 30, 1]);
    }

    #[test]
    fn the_weight_rises() {
        let config = FeatureAlignmentConfig { weight: 2.0, warmup: 10, ..Default::default() };
        assert_eq!([0, 5, 10, 99].map(|at| config.weight_at(at)), [0.0, 1.0, 2.0, 2.0]);
        assert_eq!(FeatureAlignmentConfig::default().weight_at(0), 1.0);
    }
}
