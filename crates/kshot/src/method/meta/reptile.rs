//! Reptile (Nichol, Achiam and Schulman 2018, arXiv 1803.02999): parameters move towards those that a
//! short training on each task ends at. The inner loop is Adam without momentum (beta1 = 0), on small batches
//! drawn from the support. As in the paper's code its mean squares outlive a task and serve at evaluation
//! too: from nothing, Adam's first step moves every element by the full rate, those that hardly matter as
//! well. Here they move with the parameters, by the outer rate (there: with every task).
//!
//! The outer learning rate is the optimiser's: plain gradient descent from 1 to 0. At evaluation
//! queries are normalised one by one with the support's statistics (`support`) or together (`query`,
//! transductive); the paper's non-transductive form adds the support to each single query instead.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{EpisodeStep, FewShot, accuracy, cross_entropy};
use crate::data::batch::{Batch, Episode};
use crate::error::{Error, Result};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::meta::classifier::Classifier;
use crate::method::meta::second_order::gradient;
use crate::nn::Precision;
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNormMode, Pass};
use crate::nn::weights::{constant, plain};

/// How Reptile is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReptileConfig {
    /// Inner steps in training.
    #[schemars(range(min = 1, max = 1_000))]
    pub steps: usize,
    /// Inner steps at evaluation.
    #[schemars(range(min = 1, max = 10_000))]
    pub test_steps: usize,
    /// Support pictures of each inner step.
    #[schemars(range(min = 1, max = 4096))]
    pub batch: usize,
    /// The inner rate.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0))]
    pub rate: f64,
    /// Adam's beta2.
    #[schemars(range(min = 0.0, max = 0.999_999))]
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
    /// Adam's mean squares of gradients, one vector for each parameter.
    squares: Vec<Param<Tensor<1>>>,
    /// Inner steps that those are from, `[1]`.
    seen: Param<Tensor<1>>,
    #[module(skip)]
    config: ReptileConfig,
}

impl LearnerConfig for ReptileConfig {
    type Learner = Reptile;
    const NAME: &'static str = "reptile";
    const SUMMARY: &'static str = "parameters near those that a short training on each task finds";
    const SOURCE: &'static str = "https://arxiv.org/abs/1803.02999";

    fn init(&self, setting: LearnerSetting) -> Result<Reptile> {
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
                .at_key("model.encoder"));
        }
        let device = setting.device.clone();
        let classifier = Classifier::new(setting)?;
        let zeros = |count: usize| Param::from_tensor(Tensor::zeros([count], &device));
        let weights = classifier.weights();
        let squares = weights.0.iter().map(|weight| zeros(weight.shape.iter().product())).collect();
        Ok(Reptile { classifier, squares, seen: zeros(1), config: self.clone() })
    }
}

/// A small batch of the support.
fn pick(support: &Batch<1>, rows: &[i32]) -> Batch<1> {
    let device = support.images.device();
    let rows = Tensor::<1, Int>::from_data(TensorData::from(rows), &device);
    Batch {
        images: support.images.clone().select(0, rows.clone()),
        labels: support.labels.clone().select(0, rows),
        seed: 0,
    }
}

/// Where an inner loop is: parameters and Adam's mean squares.
#[derive(Clone)]
struct InnerState {
    weights: Vec<Tensor<1>>,
    squares: Vec<Tensor<1>>,
}

impl Reptile {
    fn start(&self) -> InnerState {
        let weights = self.classifier.weights().values().into_iter().map(plain).collect();
        // An outer optimiser other than plain descent could take them below zero.
        let squares = self.squares.iter().map(|of| plain(of.val()).clamp_min(0.0)).collect();
        InnerState { weights, squares }
    }

    /// The place after so many steps, and the mean loss along them. Batches go through the support in
    /// random order, again and again.
    fn adapt(&self, episode: &Episode<1>, start: InnerState, steps: usize) -> (InnerState, f32) {
        self.classifier.check_ways(episode.ways);
        let support = episode.support.clone().autodiff();
        let [count, ..] = support.images.dims();
        let mut random = ChaCha8Rng::seed_from_u64(episode.id.seed ^ episode.id.index << 20);
        let mut order: Vec<i32> = Vec::new();
        let seen = f64::from(plain(self.seen.val()).into_scalar::<f32>());
        let InnerState { mut weights, mut squares } = start;
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
            let correction = 1.0 - beta2.powf(seen + step as f64 + 1.0);
            for ((weight, square), gradient) in weights.iter_mut().zip(&mut squares).zip(gradients)
            {
                *square =
                    square.clone() * beta2 + gradient.clone() * gradient.clone() * (1.0 - beta2);
                let length = (square.clone() / correction).sqrt() + 1e-8;
                *weight = weight.clone() - gradient / length * self.config.rate;
            }
        }
        (InnerState { weights, squares }, losses / steps as f32)
    }

    /// The share of pictures that are right with such parameters.
    fn accuracy(&self, batch: &Batch<1>, weights: &[Tensor<1>]) -> f32 {
        let weights: Vec<Dual<1>> = weights.iter().cloned().map(Dual::from).collect();
        let images = plain(batch.images.clone());
        accuracy(&self.classifier.logits(images, &weights, &mut Pass::batch()).value, &batch.labels)
    }
}

impl FewShot for Reptile {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (end, _) = self.adapt(episode, self.start(), self.config.test_steps);
        let weights: Vec<Dual<1>> = end.weights.into_iter().map(Dual::from).collect();
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

    fn step(&self, episodes: &[Episode<1>]) -> EpisodeStep {
        let start = self.start();
        let precision = Precision::current();
        let ends: Vec<(InnerState, f32, f32)> = episodes
            .par_iter()
            .map(|episode| {
                precision.run(|| {
                    let (end, loss) = self.adapt(episode, start.clone(), self.config.steps);
                    let right = self.accuracy(&episode.support, &end.weights);
                    (end, loss, right)
                })
            })
            .collect();
        let share = 1.0 / episodes.len() as f32;
        let mut result = EpisodeStep {
            loss: 0.0,
            accuracy: Some(0.0),
            gradients: GradientsParams::new(),
            unread: None,
        };
        let zeros = |of: &[Tensor<1>]| of.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let mut towards =
            InnerState { weights: zeros(&start.weights), squares: zeros(&start.squares) };
        let add = |sums: &mut [Tensor<1>], from: &[Tensor<1>], to: Vec<Tensor<1>>| {
            for ((sum, from), to) in sums.iter_mut().zip(from).zip(to) {
                *sum = sum.clone() + (from.clone() - to) * share;
            }
        };
        for (end, loss, right) in ends {
            result.loss += loss * share;
            result.accuracy = result.accuracy.map(|sum| sum + right * share);
            add(&mut towards.weights, &start.weights, end.weights);
            add(&mut towards.squares, &start.squares, end.squares);
        }
        result.gradients = self.classifier.weights().gradients(towards.weights);
        for (parameter, towards) in self.squares.iter().zip(towards.squares) {
            result.gradients.register(parameter.id, towards);
        }
        let steps = plain(self.seen.val()).zeros_like() - self.config.steps as f32;
        result.gradients.register(self.seen.id, steps);
        result
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::meta::tiny;

    #[test]
    fn mean_squares_outlive_a_task() {
        let device = Device::flex();
        device.seed(3);
        let setting = tiny::setting(&device);
        let tracked = setting.device.clone();
        let config = ReptileConfig { rate: 0.01, steps: 1, ..ReptileConfig::default() };
        let mut method = config.init(setting).unwrap();
        let episode = tiny::episode(&device);
        let moved = |method: &Reptile| {
            let (start, (end, _)) = (method.start(), method.adapt(&episode, method.start(), 1));
            let last = start.weights.len() - 1;
            let apart = end.weights[last].clone() - start.weights[last].clone();
            (apart.abs().max().into_scalar::<f32>(), end.squares)
        };
        // From nothing a step has the full length, whatever the gradient.
        let (length, squares) = moved(&method);
        assert!((length - 0.01).abs() < 1e-4, "{length}");
        // The second moments of twice these gradients, from long training: half the step.
        for (held, square) in method.squares.iter_mut().zip(squares) {
            let square = Tensor::from_inner(square * (4.0 / 0.001));
            *held = Param::from_tensor(square);
        }
        method.seen = Param::from_tensor(Tensor::full([1], 1e6, &tracked));
        let (length, _) = moved(&method);
        assert!((length - 0.005).abs() < 1e-4, "{length}");
    }
}
