//! Reptile (Nichol, Achiam and Schulman 2018, arXiv 1803.02999): parameters move towards those that a
//! short training on each task ends at. The inner loop is Adam without momentum (beta1 = 0), as in the
//! paper's code, on small batches drawn from the support.
//!
//! The outer step's length is the optimiser's rate: plain gradient descent from 1 to 0. At evaluation
//! queries are normalised one by one with the support's statistics (`support`) or together (`query`,
//! transductive); the paper's non-transductive form adds the support to each single query instead.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::classifier::Classifier;
use super::second_order::gradient;
use crate::data::batch::{Batch, Episode};
use crate::error::{Error, Result};
use crate::method::episodic::{FewShot, Step, accuracy, cross_entropy};
use crate::method::learner::{LearnerConfig, Setting};
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNormMode, Pass};
use crate::nn::weights::{constant, plain};

/// How Reptile is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReptileConfig {
    /// Inner steps in training.
    pub steps: usize,
    /// Inner steps at evaluation.
    pub test_steps: usize,
    /// Support pictures of each inner step.
    pub batch: usize,
    /// The inner rate.
    pub rate: f64,
    /// Adam's beta2.
    pub beta2: f64,
    /// Statistics at evaluation: `support` or `query`.
    pub batch_norm: BatchNormMode,
}

impl Default for ReptileConfig {
    fn default() -> Self {
        Self {
            steps: 5,
            test_steps: 50,
            batch: 10,
            rate: 1e-3,
            beta2: 0.999,
            batch_norm: BatchNormMode::Support,
        }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct Reptile {
    classifier: Classifier,
    #[module(skip)]
    config: ReptileConfig,
}

impl LearnerConfig for ReptileConfig {
    type Learner = Reptile;
    const NAME: &'static str = "reptile";
    const SUMMARY: &'static str = "parameters near those that a short training on each task finds";
    const SOURCE: &'static str = "https://arxiv.org/abs/1803.02999";

    fn init(&self, setting: Setting) -> Result<Reptile> {
        if self.steps == 0 || self.test_steps == 0 || self.batch == 0 {
            return Err(Error::config("steps, test_steps and batch must be at least 1")
                .at_key("method.steps"));
        }
        if self.batch_norm == BatchNormMode::Running {
            return Err(Error::config(
                "no running averages are kept here; write \"support\" or \"query\" (transductive)",
            )
            .at_key("method.batch_norm"));
        }
        if setting.network.weights().0.is_empty() {
            return Err(Error::config("an encoder cannot be adapted as a whole; use conv4")
                .at_key("network.name"));
        }
        Ok(Reptile { classifier: Classifier::new(setting)?, config: self.clone() })
    }
}

/// A small batch of the support.
fn pick(support: &Batch<1>, rows: &[i32]) -> Batch<1> {
    let device = support.images.device();
    let rows = Tensor::<1, Int>::from_data(TensorData::from(rows), &device);
    Batch {
        images: support.images.clone().select(0, rows.clone()),
        labels: support.labels.clone().select(0, rows),
    }
}

impl Reptile {
    /// The parameters after so many steps, the mean loss along them, and the share of the support that
    /// is right in the end. Batches go through the
    /// support in random order, again and again.
    fn adapt(
        &self,
        episode: &Episode<1>,
        mut weights: Vec<Tensor<1>>,
        steps: usize,
    ) -> (Vec<Tensor<1>>, f32, f32) {
        self.classifier.check_ways(episode.ways);
        let support = episode.support.clone().autodiff();
        let [count, ..] = support.images.dims();
        let mut random = ChaCha8Rng::seed_from_u64(episode.id.seed ^ episode.id.index << 20);
        let mut order: Vec<i32> = Vec::new();
        let mut squares: Vec<Tensor<1>> = weights.iter().map(Tensor::zeros_like).collect();
        let mut losses = 0.0;
        for step in 0..steps {
            let size = self.config.batch.min(count);
            if order.len() < size {
                let mut again: Vec<i32> = (0..count as i32).collect();
                again.shuffle(&mut random);
                order.extend(again);
            }
            let rows: Vec<i32> = order.drain(..size).collect();
            let batch = if size == count { support.clone() } else { pick(&support, &rows) };
            let objective = |weights: &[Dual<1>]| self.classifier.loss(&batch, weights);
            let (loss, gradients) = gradient(&objective, &weights);
            losses += loss as f32;
            let beta2 = self.config.beta2;
            let correction = 1.0 - beta2.powi(step as i32 + 1);
            for ((weight, square), gradient) in weights.iter_mut().zip(&mut squares).zip(gradients)
            {
                *square =
                    square.clone() * beta2 + gradient.clone() * gradient.clone() * (1.0 - beta2);
                let length = (square.clone() / correction).sqrt() + 1e-8;
                *weight = weight.clone() - gradient / length * self.config.rate;
            }
        }
        let last: Vec<Dual<1>> = weights.iter().cloned().map(Dual::from).collect();
        let scores = self.classifier.logits(plain(support.images), &last, &mut Pass::batch()).value;
        let right = accuracy(&scores, &support.labels);
        (weights, losses / steps as f32, right)
    }
}

impl FewShot<1> for Reptile {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let start = self.classifier.weights().values().into_iter().map(plain).collect();
        let (weights, ..) = self.adapt(episode, start, self.config.test_steps);
        let weights: Vec<Dual<1>> = weights.into_iter().map(Dual::from).collect();
        let mut pass = Pass::batch();
        if self.config.batch_norm == BatchNormMode::Support {
            let images = plain(episode.support.images.clone());
            self.classifier.logits(images, &weights, &mut pass);
            pass = Pass::given(pass.met);
        }
        self.classifier.logits(plain(episode.query.images.clone()), &weights, &mut pass).value
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let scores = constant(self.predict(episode));
        (cross_entropy(scores.clone(), &episode.query.clone().autodiff().labels), scores)
    }

    fn step(&self, episodes: &[Episode<1>]) -> Step {
        let weights = self.classifier.weights();
        let start: Vec<Tensor<1>> = weights.values().into_iter().map(plain).collect();
        let ends: Vec<(Vec<Tensor<1>>, f32, f32)> = episodes
            .par_iter()
            .map(|episode| self.adapt(episode, start.clone(), self.config.steps))
            .collect();
        let share = 1.0 / episodes.len() as f32;
        let mut result = Step { loss: 0.0, accuracy: Some(0.0), gradients: GradientsParams::new() };
        let mut towards: Vec<Tensor<1>> = start.iter().map(Tensor::zeros_like).collect();
        for (end, loss, right) in ends {
            result.loss += loss * share;
            result.accuracy = result.accuracy.map(|sum| sum + right * share);
            for ((sum, start), end) in towards.iter_mut().zip(&start).zip(end) {
                *sum = sum.clone() + (start.clone() - end) * share;
            }
        }
        result.gradients = weights.gradients(towards);
        result
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}
