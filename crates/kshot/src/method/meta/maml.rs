//! Model-agnostic meta-learning (Finn, Abbeel and Levine 2017, arXiv 1703.03400), exactly second order:
//! a chain of Hessian-vector products, each by reverse over forward, so that memory does not grow with
//! the inner steps. First-order MAML goes by its own name. Learned rates by layer and step, and the
//! multi-step loss, are MAML++'s (Antoniou et al. 2019, arXiv 1810.09502).
//!
//! Batch normalisation uses the batch's statistics throughout training, as in the paper, and no running
//! averages are kept: at evaluation queries are normalised together (`query`, transductive, the
//! paper's) or by the adapted support's statistics (`support`).

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{EpisodeStep, FewShot, accuracy, cross_entropy};
use crate::data::batch::{Batch, Episode};
use crate::error::{Error, Result};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::meta::classifier::Classifier;
use crate::method::meta::rates;
use crate::method::meta::second_order::{gradient, hessian_product};
use crate::nn::Precision;
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNormMode, Pass};
use crate::nn::weights::{FlatWeights, constant, plain};

/// How MAML is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MamlConfig {
    /// Gradient steps on the support in training.
    #[schemars(range(min = 1, max = 1000))]
    pub steps: usize,
    /// Gradient steps at evaluation; as many as in training if absent.
    #[schemars(range(min = 1, max = 1000))]
    pub test_steps: Option<usize>,
    /// Inner learning rate, or its start where it is learnt.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub rate: f64,
    /// Whether each layer's rate at each step is learnt (MAML++).
    pub learn_rates: bool,
    /// Whether the query loss after every step counts, the last most (MAML++).
    pub multi_step_loss: bool,
    /// Statistics at evaluation: `query` or `support`.
    pub batch_norm: BatchNormMode,
}

impl Default for MamlConfig {
    fn default() -> Self {
        Self {
            steps: 1,
            test_steps: None,
            rate: 0.4,
            learn_rates: false,
            multi_step_loss: false,
            batch_norm: BatchNormMode::Query,
        }
    }
}

/// First-order MAML: as [`MamlConfig`], and second derivatives are taken as zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FirstOrderMamlConfig(pub MamlConfig);

/// What a learnt rate belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rates {
    /// Nothing: the rate is given.
    Fixed,
    /// A layer's parameter and a step.
    PerLayer,
    /// Each single number, at every step (Meta-SGD).
    PerElement,
}

/// An inner loop with its options; MAML, first-order MAML, ANIL and Meta-SGD are its cases.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop {
    /// The options of MAML.
    pub config: MamlConfig,
    /// What learnt rates belong to.
    pub rates: Rates,
    /// Whether only the head is adapted.
    pub head_only: bool,
    /// Whether second derivatives are taken as zero.
    pub first_order: bool,
}

/// The method.
#[derive(Module, Debug)]
pub struct Maml {
    classifier: Classifier,
    /// Learnt rates, one for each parameter: `[steps, 1]` or `[1, elements]`; empty if fixed.
    rates: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    inner: Loop,
}

impl LearnerConfig for MamlConfig {
    type Learner = Maml;
    const NAME: &'static str = "maml";
    const SUMMARY: &'static str = "parameters that a few steps adapt; exactly second order";
    const SOURCE: &'static str = "https://arxiv.org/abs/1703.03400";

    fn init(&self, setting: LearnerSetting) -> Result<Maml> {
        let rates = if self.learn_rates { Rates::PerLayer } else { Rates::Fixed };
        let config = self.clone();
        Maml::new(Loop { config, rates, head_only: false, first_order: false }, setting)
    }
}

impl LearnerConfig for FirstOrderMamlConfig {
    type Learner = Maml;
    const NAME: &'static str = "first-order-maml";
    const SUMMARY: &'static str = "as maml, with second derivatives taken as zero";
    const SOURCE: &'static str = "https://arxiv.org/abs/1703.03400";

    fn init(&self, setting: LearnerSetting) -> Result<Maml> {
        let rates = if self.0.learn_rates { Rates::PerLayer } else { Rates::Fixed };
        let config = self.0.clone();
        Maml::new(Loop { config, rates, head_only: false, first_order: true }, setting)
    }
}

/// The outer gradient of one task.
pub struct OuterGradient {
    /// The loss on the queries after adaptation.
    pub loss: f64,
    /// Share of queries right after adaptation, 0 to 1.
    pub accuracy: f32,
    /// Of each parameter.
    pub weights: Vec<Tensor<1>>,
    /// Of each learnt rate.
    pub rates: Vec<Tensor<2>>,
}

impl Maml {
    /// The method by its options.
    ///
    /// # Errors
    /// If an option is out of range or the network has nothing to adapt.
    pub fn new(inner: Loop, setting: LearnerSetting) -> Result<Self> {
        let MamlConfig { steps, rate, batch_norm, .. } = inner.config;
        let wrong =
            |key: &str, text: &str| Err(Error::config(text).at_key(format!("method.{key}")));
        if steps == 0 || inner.config.test_steps == Some(0) {
            return wrong("steps", "an inner loop takes at least 1 step");
        }
        if !(rate > 0.0 && rate.is_finite()) {
            return wrong("rate", "the inner rate must be above 0");
        }
        if batch_norm == BatchNormMode::Running {
            return wrong(
                "batch_norm",
                "no running averages are kept here; write \"query\" (transductive, as the paper) or \
                 \"support\"",
            );
        }
        if setting.network.weights().0.is_empty() && !inner.head_only {
            return wrong("name", "an encoder cannot be adapted as a whole; use `anil`, or conv4");
        }
        let device = setting.device.clone();
        let classifier = Classifier::new(setting)?;
        let rates = match inner.rates {
            Rates::Fixed => Vec::new(),
            of => {
                let make = |weight: &crate::nn::weights::FlatWeight| {
                    let elements: usize = weight.shape.iter().product();
                    let shape = if of == Rates::PerLayer { [steps, 1] } else { [1, elements] };
                    Param::from_tensor(Tensor::full(shape, rate, &device))
                };
                classifier.weights().0.iter().map(make).collect()
            }
        };
        Ok(Self { classifier, rates, inner })
    }

    /// The parameters that episodes start from.
    pub fn weights(&self) -> FlatWeights {
        self.classifier.weights()
    }

    /// The same with second derivatives taken as zero.
    #[must_use]
    pub fn first_order(mut self) -> Self {
        self.inner.first_order = true;
        self
    }

    /// The outer loss of one episode at given starting parameters.
    pub fn outer_loss(&self, episode: &Episode<1>, start: Vec<Tensor<1>>) -> f64 {
        let support = episode.support.clone().autodiff();
        let (path, _) = self.adapt(&support, start, self.inner.config.steps);
        let batch = Batch {
            images: plain(episode.query.images.clone()),
            labels: plain_labels(&episode.query.labels),
            seed: 0,
        };
        path.iter()
            .enumerate()
            .filter(|(step, _)| *step > 0 && self.share(*step) > 0.0)
            .map(|(step, weights)| {
                let weights: Vec<Dual<1>> = weights.iter().cloned().map(Dual::from).collect();
                let loss: f64 = self.classifier.loss(&batch, &weights).value.into_scalar();
                loss * self.share(step)
            })
            .sum()
    }

    /// Whether parameter `index` of so many is adapted.
    fn adapts(&self, index: usize, count: usize) -> bool {
        !self.inner.head_only || index + 2 >= count
    }

    /// `rate * vector` for parameter `index` at a step; plain tensors.
    fn scaled(&self, index: usize, step: usize, vector: Tensor<1>) -> Tensor<1> {
        rates::scaled(&self.rates, self.inner.config.rate, [index, step], vector)
    }

    /// The parameters along the inner loop, and the gradients that led from each to the next.
    fn adapt(
        &self,
        support: &Batch<1>,
        start: Vec<Tensor<1>>,
        steps: usize,
    ) -> (Vec<Vec<Tensor<1>>>, Vec<Vec<Tensor<1>>>) {
        let (mut path, mut gradients) = (vec![start], Vec::new());
        for step in 0..steps {
            let now = &path[step];
            let along = self.support_gradient(support, now);
            let next = now.iter().zip(&along).enumerate().map(|(index, (value, gradient))| {
                if self.adapts(index, now.len()) {
                    value.clone() - self.scaled(index, step, gradient.clone())
                } else {
                    value.clone()
                }
            });
            let next = next.collect();
            path.push(next);
            gradients.push(along);
        }
        (path, gradients)
    }

    fn support_gradient(&self, support: &Batch<1>, weights: &[Tensor<1>]) -> Vec<Tensor<1>> {
        gradient(&|weights: &[Dual<1>]| self.classifier.loss(support, weights), weights).1
    }

    /// Weight of the query loss after `step` (1 to `steps`) in the outer loss.
    fn share(&self, step: usize) -> f64 {
        let steps = self.inner.config.steps;
        if !self.inner.config.multi_step_loss {
            return f64::from(u8::from(step == steps));
        }
        // Rising evenly, as late in MAML++'s training, and summing to 1.
        2.0 * step as f64 / (steps * (steps + 1)) as f64
    }

    /// The outer gradient of one episode, at given starting parameters.
    pub fn outer(&self, episode: &Episode<1>, start: Vec<Tensor<1>>) -> OuterGradient {
        self.classifier.check_ways(episode.ways);
        let steps = self.inner.config.steps;
        let support = episode.support.clone().autodiff();
        let query = episode.query.clone().autodiff();
        let on_support = |weights: &[Dual<1>]| self.classifier.loss(&support, weights);
        let on_query = |weights: &[Dual<1>]| self.classifier.loss(&query, weights);
        let (path, gradients) = self.adapt(&support, start, steps);
        let count = path[0].len();
        let last: Vec<Dual<1>> = path[steps].iter().cloned().map(Dual::from).collect();
        let scores =
            self.classifier.logits(plain(query.images.clone()), &last, &mut Pass::batch()).value;
        let accuracy = accuracy(&scores, &query.labels);
        let mut loss = 0.0;
        let mut rates = rates::zeros(&self.rates);
        let mut outer: Vec<Tensor<1>> = path[0].iter().map(Tensor::zeros_like).collect();
        for step in (0..=steps).rev() {
            let share = self.share(step);
            if step > 0 && share > 0.0 {
                let (value, along) = gradient(&on_query, &path[step]);
                loss += value * share;
                for (outer, along) in outer.iter_mut().zip(along) {
                    *outer = outer.clone() + along * share;
                }
            }
            // From the parameters after this step to those before it.
            let Some(before) = step.checked_sub(1) else { break };
            for (index, rate) in rates.iter_mut().enumerate() {
                if self.adapts(index, count) {
                    rates::learn(rate, before, &gradients[before][index], &outer[index]);
                }
            }
            if self.inner.first_order {
                continue;
            }
            let direction: Vec<Option<Tensor<1>>> = outer
                .iter()
                .enumerate()
                .map(|(index, vector)| {
                    let adapted = self.adapts(index, count);
                    adapted.then(|| self.scaled(index, before, vector.clone()))
                })
                .collect();
            let products = hessian_product(&on_support, &path[before], &direction);
            for (outer, product) in outer.iter_mut().zip(products) {
                *outer = outer.clone() - product;
            }
        }
        OuterGradient { loss, accuracy, weights: outer, rates }
    }
}

fn plain_labels(labels: &Tensor<1, Int>) -> Tensor<1, Int> {
    if labels.is_autodiff() { labels.clone().inner() } else { labels.clone() }
}

impl FewShot for Maml {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        self.classifier.check_ways(episode.ways);
        let steps = self.inner.config.test_steps.unwrap_or(self.inner.config.steps);
        let start = self.weights().values().into_iter().map(plain).collect();
        let support = episode.support.clone().autodiff();
        let (mut path, _) = self.adapt(&support, start, steps);
        let last: Vec<Dual<1>> =
            path.pop().unwrap_or_default().into_iter().map(Dual::from).collect();
        let mut pass = match self.inner.config.batch_norm {
            BatchNormMode::Query | BatchNormMode::Running => Pass::batch(),
            BatchNormMode::Support => {
                let mut pass = Pass::batch();
                self.classifier.logits(plain(support.images), &last, &mut pass);
                Pass::given(pass.met)
            }
        };
        self.classifier.logits(plain(episode.query.images.clone()), &last, &mut pass).value
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let scores = constant(self.predict(episode));
        (cross_entropy(scores.clone(), &episode.query.clone().autodiff().labels), scores)
    }

    fn step(&self, episodes: &[Episode<1>]) -> EpisodeStep {
        let weights = self.weights();
        let start: Vec<Tensor<1>> = weights.values().into_iter().map(plain).collect();
        // Tasks are independent; their gradients are added in order, so that threads change nothing.
        let precision = Precision::current();
        let outers: Vec<OuterGradient> = episodes
            .par_iter()
            .map(|episode| precision.run(|| self.outer(episode, start.clone())))
            .collect();
        let share = 1.0 / episodes.len() as f32;
        let mut result = EpisodeStep {
            loss: 0.0,
            accuracy: Some(0.0),
            gradients: GradientsParams::new(),
            unread: None,
        };
        let mut total: Option<(Vec<Tensor<1>>, Vec<Tensor<2>>)> = None;
        for outer in outers {
            result.loss += outer.loss as f32 * share;
            result.accuracy = result.accuracy.map(|sum| sum + outer.accuracy * share);
            total = Some(match total {
                None => (outer.weights, outer.rates),
                Some((weights, rates)) => (
                    weights.into_iter().zip(outer.weights).map(|(sum, of)| sum + of).collect(),
                    rates.into_iter().zip(outer.rates).map(|(sum, of)| sum + of).collect(),
                ),
            });
        }
        if let Some((sums, rates)) = total {
            let mean = sums.into_iter().map(|sum| sum * share).collect();
            result.gradients = weights.gradients(mean);
            for (rate, sum) in self.rates.iter().zip(rates) {
                result.gradients.register(rate.id, sum * share);
            }
        }
        result
    }

    fn is_transductive(&self) -> bool {
        self.inner.config.batch_norm == BatchNormMode::Query
    }
}
