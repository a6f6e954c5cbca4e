//! Baselines: a network trained as an ordinary classifier, then a simple head on its embeddings.
//!
//! - `nearest-centroid`: the nearest class mean.
//! - `simple-shot`: the same after centring by the training classes' mean embedding and scaling to
//!   length 1 (Wang et al. 2019, arXiv 1911.04623, CL2N).
//! - `linear-probe`: logistic regression on the support, with a small weight decay.
//! - `baseline-plus-plus`: a classifier by cosines, in training and on the support (Chen et al. 2019,
//!   arXiv 1904.04232, Baseline++).
//!
//! Training episodes serve as batches: support and query pictures together, labelled by the classes of
//! the data set.

use burn::module::{Module, Param, RunningState};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::TensorData;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::Result;
use crate::method::few_shot::distance::{Distance, class_means, unit};
use crate::method::few_shot::prototypical_networks::{embed_apart, embed_together};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::nn::norm::BatchNormMode;
use crate::nn::weights::{constant, leaves, plain};

/// Which head labels the queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BaselineHead {
    /// The nearest class mean.
    NearestCentroid,
    /// The nearest class mean, centred and scaled to length 1.
    #[default]
    SimpleShot,
    /// Logistic regression.
    LinearProbe,
    /// A classifier by cosines.
    BaselinePlusPlus,
}

/// How a baseline is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineConfig {
    /// The head.
    pub head: BaselineHead,
    /// Steps that a fitted head takes on the support.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub steps: usize,
    /// Learning rate.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub rate: f64,
    /// Weight decay of a fitted head.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub decay: f64,
    /// Statistics at evaluation.
    pub batch_norm: BatchNormMode,
}

impl Default for BaselineConfig {
    fn default() -> Self {
        let head = BaselineHead::default();
        Self { head, steps: 100, rate: 0.5, decay: 1e-3, batch_norm: BatchNormMode::Running }
    }
}

/// A classifier by cosines multiplies them by it.
const COSINE_SCALE: f64 = 10.0;
/// Share of a batch that goes into the mean embedding.
const MOMENTUM: f64 = 0.05;

/// The method.
#[derive(Module, Debug)]
pub struct Baseline {
    network: EmbeddingNetwork,
    /// `[features, classes]` of the training classes.
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    /// The mean embedding of the training classes, `[features]`.
    mean: RunningState<Tensor<1>>,
    #[module(skip)]
    config: BaselineConfig,
}

impl LearnerConfig for BaselineConfig {
    type Learner = Baseline;
    const NAME: &'static str = "baseline";
    const SUMMARY: &'static str = "an ordinary classifier's embeddings with nearest centroid, SimpleShot, linear probe or \
         Baseline++";
    const SOURCE: &'static str = "https://arxiv.org/abs/1904.04232";

    fn init(&self, setting: LearnerSetting) -> Result<Baseline> {
        let LearnerSetting { network, size, classes, device, .. } = setting;
        let features = network.features(size)?;
        let weight = Initializer::XavierUniform { gain: 1.0 }.init_with(
            [features, classes],
            Some(features),
            Some(classes),
            &device,
        );
        let bias = Initializer::Zeros.init([classes], &device);
        let mean = RunningState::new(Tensor::zeros([features], &device.clone().inner()));
        Ok(Baseline { network, weight, bias, mean, config: self.clone() })
    }
}

impl Baseline {
    /// Logits by a classifier's weight `[features, classes]` and bias `[classes]`.
    fn classify(&self, rows: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
        if self.config.head == BaselineHead::BaselinePlusPlus {
            let weight = unit(weight.transpose()).transpose();
            return unit(rows).matmul(weight) * COSINE_SCALE;
        }
        let [classes] = bias.dims();
        rows.matmul(weight) + bias.reshape([1, classes])
    }

    /// Fits a head to the support by gradient descent, from the class means.
    fn fitted(&self, support: Tensor<2>, query: Tensor<2>, episode: &Episode<1>) -> Tensor<2> {
        let [_, features] = support.dims();
        let ways = episode.ways;
        // Of length 1, so that one rate suits every network.
        let (support, query) = (unit(support), unit(query));
        let start = class_means(support.clone(), ways).transpose();
        let labels = constant_labels(&episode.support.labels);
        let support = constant(support);
        let mut weight = start.reshape([features * ways]);
        let mut bias = Tensor::zeros([ways], &weight.device());
        for _ in 0..self.config.steps {
            let mut both = leaves(&[weight.clone(), bias.clone()]).into_iter();
            let (Some(w), Some(b)) = (both.next(), both.next()) else { break };
            let scores =
                self.classify(support.clone(), w.clone().reshape([features, ways]), b.clone());
            let loss = cross_entropy(scores, &labels)
                + (w.clone() * w.clone()).sum() * (0.5 * self.config.decay);
            let gradients = loss.backward();
            if let Some(gradient) = w.grad(&gradients) {
                weight = weight - gradient * self.config.rate;
            }
            if let Some(gradient) = b.grad(&gradients) {
                bias = bias - gradient * self.config.rate;
            }
        }
        self.classify(query, weight.reshape([features, ways]), bias)
    }
}

fn constant_labels(labels: &Tensor<1, Int>) -> Tensor<1, Int> {
    if labels.is_autodiff() { labels.clone() } else { Tensor::from_inner(labels.clone()) }
}

impl FewShot for Baseline {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = embed_apart(&self.network, episode, self.config.batch_norm);
        match self.config.head {
            BaselineHead::NearestCentroid => {
                Distance::SquaredEuclidean.scores(query, class_means(support, episode.ways))
            }
            BaselineHead::SimpleShot => {
                let mean = plain(self.mean.value_sync());
                let [features] = mean.dims();
                let mean = mean.reshape([1, features]);
                let centred = |rows: Tensor<2>| unit(rows - mean.clone());
                let means = class_means(centred(support), episode.ways);
                Distance::SquaredEuclidean.scores(centred(query), means)
            }
            BaselineHead::LinearProbe | BaselineHead::BaselinePlusPlus => {
                self.fitted(plain(support), plain(query), episode)
            }
        }
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let (support, query) = embed_together(&self.network, episode);
        let [queries, features] = query.dims();
        let rows = Tensor::cat(vec![query, support], 0);
        let now = plain(rows.clone().detach()).mean_dim(0).reshape([features]);
        let before = plain(self.mean.value_sync());
        self.mean.update(before * (1.0 - MOMENTUM) + now * MOMENTUM);
        // Class by class: queries first, then the support.
        let label = |count: usize| {
            let each = count / episode.ways;
            episode.classes.iter().flat_map(move |class| std::iter::repeat_n(*class as i32, each))
        };
        let [count, _] = rows.dims();
        let labels: Vec<i32> = label(queries).chain(label(count - queries)).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [count]), &rows.device());
        let scores = self.classify(rows, self.weight.val(), self.bias.val());
        let loss = cross_entropy(scores.clone(), &labels);
        // The accuracy shown is among the classes of the episode.
        let chosen: Vec<i32> = episode.classes.iter().map(|class| *class as i32).collect();
        let ways = chosen.len();
        let chosen = Tensor::from_data(TensorData::new(chosen, [ways]), &scores.device());
        (loss, scores.narrow(0, 0, queries).select(1, chosen))
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}
