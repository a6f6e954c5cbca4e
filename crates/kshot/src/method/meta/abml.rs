//! Amortized Bayesian meta-learning (Ravi and Beatson 2019, openreview rkgpy3C5tX): parameters are
//! Gaussian. A few gradient steps turn the learnt prior into a task's variational posterior; predictions
//! average over samples of it, so that doubt about the parameters becomes doubt about the answer.
//!
//! Inner loss: the expected cross entropy on the support (by reparametrised samples) plus `kl_weight`
//! times KL(posterior || prior) per support picture. Outer loss: the same on the queries with the
//! adapted posterior. The outer gradient is exact, through the inner steps and through the prior inside
//! the inner loss: mixed second derivatives come from the same Hessian products.
//!
//! Deviations: the outer loss is on the queries (the paper: support and queries); no hyperprior; the KL
//! is weighted, as in the authors' experiments; rates can be learnt, as in MAML++.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{EpisodeStep, FewShot, accuracy, cross_entropy, mixture};
use crate::data::batch::{Batch, Episode};
use crate::error::{Error, Result};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::meta::classifier::Classifier;
use crate::method::meta::rates;
use crate::method::meta::second_order::{gradient, hessian_product};
use crate::method::noise::EpisodeNoise;
use crate::nn::Precision;
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNormMode, Pass};
use crate::nn::weights::{constant, plain};

/// How ABML is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AbmlConfig {
    /// Gradient steps on the support in training.
    #[schemars(range(min = 1, max = 1000))]
    pub steps: usize,
    /// Gradient steps at evaluation; as many as in training if absent.
    #[schemars(range(min = 1, max = 1000))]
    pub test_steps: Option<usize>,
    /// Inner learning rate.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub rate: f64,
    /// Whether the rates of each layer's means and standard deviations at each step are learnt, from `rate` on.
    pub learn_rates: bool,
    /// The prior's standard deviation before learning.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0))]
    pub std: f64,
    /// Samples of the parameters in each loss.
    #[schemars(range(min = 1, max = 100))]
    pub samples: usize,
    /// Samples that a prediction averages.
    #[schemars(range(min = 1, max = 1000))]
    pub test_samples: usize,
    /// Weight of the KL divergence, per support picture.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub kl_weight: f64,
    /// Statistics at evaluation: `query` or `support`.
    pub batch_norm: BatchNormMode,
}

impl Default for AbmlConfig {
    fn default() -> Self {
        Self {
            steps: 1,
            test_steps: None,
            rate: 0.4,
            learn_rates: false,
            std: 0.02,
            samples: 1,
            test_samples: 10,
            kl_weight: 1e-5,
            batch_norm: BatchNormMode::Query,
        }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct Abml {
    /// The prior's means.
    means: Classifier,
    /// The logarithm of the prior's standard deviation, one vector for each parameter.
    log_stds: Vec<Param<Tensor<1>>>,
    /// Learnt rates, `[steps, 1]` for each vector of means and of standard deviations; empty if fixed.
    rates: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    config: AbmlConfig,
}

impl LearnerConfig for AbmlConfig {
    type Learner = Abml;
    const NAME: &'static str = "abml";
    const SUMMARY: &'static str = "Gaussian parameters adapted to a task; averaged predictions";
    const SOURCE: &'static str = "https://openreview.net/forum?id=rkgpy3C5tX";

    fn init(&self, setting: LearnerSetting) -> Result<Abml> {
        let wrong =
            |key: &str, text: &str| Err(Error::config(text).at_key(format!("method.{key}")));
        if self.steps == 0 || self.samples == 0 || self.test_samples == 0 {
            return wrong("steps", "steps, samples and test_samples must be at least 1");
        }
        if !(self.std > 0.0 && self.rate > 0.0 && self.kl_weight >= 0.0) {
            return wrong("std", "std and rate must be above 0, kl_weight at least 0");
        }
        if self.batch_norm == BatchNormMode::Running {
            return wrong(
                "batch_norm",
                "no running averages are kept; write \"query\" or \"support\"",
            );
        }
        if setting.network.weights().0.is_empty() {
            return wrong("name", "an encoder cannot be adapted as a whole; use conv4");
        }
        let device = setting.device.clone();
        let means = Classifier::new(setting)?;
        let log_stds: Vec<_> = means
            .weights()
            .0
            .iter()
            .map(|weight| {
                let count: usize = weight.shape.iter().product();
                Param::from_tensor(Tensor::full([count], self.std.ln(), &device))
            })
            .collect();
        let learnt = if self.learn_rates { 2 * log_stds.len() } else { 0 };
        let rate = || Param::from_tensor(Tensor::full([self.steps, 1], self.rate, &device));
        let rates = (0..learnt).map(|_| rate()).collect();
        Ok(Abml { means, log_stds, rates, config: self.clone() })
    }
}

/// A loss over means and standard deviations of the posterior, then of the prior.
struct Bound<'a> {
    method: &'a Abml,
    batch: &'a Batch<1>,
    /// For each sample the noise of each parameter.
    noise: Vec<Vec<Tensor<1>>>,
    kl_weight: f64,
}

impl Bound<'_> {
    fn loss(&self, all: &[Dual<1>]) -> Dual<1> {
        let count = all.len() / 4;
        let part = |index: usize| &all[index * count..][..count];
        let (means, log_stds) = (part(0), part(1));
        let share = 1.0 / self.noise.len() as f64;
        let mut total: Option<Dual<1>> = None;
        for noise in &self.noise {
            let weights = sample(means, log_stds, noise);
            let loss = self.method.means.loss(self.batch, &weights).linear(|loss| loss * share);
            total = Some(match total {
                Some(total) => total.plus(loss),
                None => loss,
            });
        }
        let mut total = match total {
            Some(total) => total,
            None => unreachable!("there is at least one sample"),
        };
        if self.kl_weight > 0.0 {
            for index in 0..count {
                let one = [0, 1, 2, 3].map(|of| part(of)[index].clone());
                total = total.plus(divergence(one).linear(|of| of * self.kl_weight));
            }
        }
        total
    }
}

/// Means plus standard deviations times noise.
fn sample(means: &[Dual<1>], log_stds: &[Dual<1>], noise: &[Tensor<1>]) -> Vec<Dual<1>> {
    means
        .iter()
        .zip(log_stds)
        .zip(noise)
        .map(|((mean, log_std), noise)| {
            // The check of gradients runs in 64 bits.
            let noise = noise.clone().cast(mean.value.dtype());
            mean.clone().plus(log_std.clone().exp().times(Dual::from(noise)))
        })
        .collect()
}

/// KL of one Gaussian from another, summed over elements: posterior mean and log standard deviation,
/// then the prior's.
fn divergence([mean, log_std, prior, width]: [Dual<1>; 4]) -> Dual<1> {
    let minus = |dual: Dual<1>| dual.linear(|tensor| -tensor);
    let apart = mean.plus(minus(prior));
    let square = |dual: Dual<1>| dual.clone().times(dual);
    let scale = width.clone().linear(|tensor| tensor * -2.0).exp();
    let spread = log_std.clone().linear(|tensor| tensor * 2.0).exp().plus(square(apart));
    let half = spread.times(scale).linear(|tensor| tensor * 0.5);
    // The constant -1/2 has no gradient but makes the value a divergence.
    width.plus(minus(log_std)).plus(half).plus_constant(-0.5).total()
}

/// The outer gradient of one episode.
struct PriorGradient {
    loss: f64,
    accuracy: f32,
    /// Gradients of means, then of log standard deviations.
    prior: Vec<Tensor<1>>,
    /// Gradients of learnt rates.
    rates: Vec<Tensor<2>>,
}

impl Abml {
    /// Prior means, then the logarithms of prior standard deviations.
    fn prior(&self) -> Vec<Tensor<1>> {
        let log_stds = self.log_stds.iter().map(|log_std| plain(log_std.val()));
        self.means.weights().values().into_iter().map(plain).chain(log_stds).collect()
    }

    fn noise(
        &self,
        source: &mut EpisodeNoise,
        samples: usize,
        tracked: bool,
    ) -> Vec<Vec<Tensor<1>>> {
        (0..samples)
            .map(|_| {
                let of = |log_std: &Param<Tensor<1>>| {
                    let log_std = plain(log_std.val());
                    let noise = source.draw(log_std.dims()[0], &log_std.device());
                    if tracked { Tensor::from_inner(noise) } else { noise }
                };
                self.log_stds.iter().map(of).collect()
            })
            .collect()
    }

    /// The inner loss of each step on a support set; each with its own noise.
    fn bounds<'a>(
        &'a self,
        batch: &'a Batch<1>,
        noise: &mut EpisodeNoise,
        steps: usize,
    ) -> Vec<Bound<'a>> {
        let [count, ..] = batch.images.dims();
        (0..steps)
            .map(|_| Bound {
                method: self,
                batch,
                noise: self.noise(noise, self.config.samples, true),
                kl_weight: self.config.kl_weight / count as f64,
            })
            .collect()
    }

    /// The posterior (means, then standard deviations) after inner step `step`, and the gradient that led there.
    fn adapt(
        &self,
        step: usize,
        bound: &Bound,
        posterior: &[Tensor<1>],
        prior: &[Tensor<1>],
    ) -> (Vec<Tensor<1>>, Vec<Tensor<1>>) {
        let all: Vec<Tensor<1>> = posterior.iter().chain(prior).cloned().collect();
        let (_, mut along) = gradient(&|all: &[Dual<1>]| bound.loss(all), &all);
        along.truncate(prior.len());
        let next = posterior.iter().zip(&along).enumerate();
        let next = next
            .map(|(index, (value, along))| value.clone() - self.scaled(index, step, along.clone()));
        (next.collect(), along)
    }

    /// `rate * vector` for vector `index` of means and standard deviations at a step.
    fn scaled(&self, index: usize, step: usize, vector: Tensor<1>) -> Tensor<1> {
        rates::scaled(&self.rates, self.config.rate, [index, step], vector)
    }

    /// The outer gradient of an episode in prior means and standard deviations and in rates, with loss and
    /// accuracy.
    fn outer(&self, episode: &Episode<1>, prior: &[Tensor<1>]) -> PriorGradient {
        self.means.check_ways(episode.ways);
        let (support, query) =
            (episode.support.clone().autodiff(), episode.query.clone().autodiff());
        let mut noise = EpisodeNoise::of(episode.id);
        let steps = self.config.steps;
        let bounds = self.bounds(&support, &mut noise, steps);
        // The first posterior is the prior itself.
        let (mut path, mut gradients) = (vec![prior.to_vec()], Vec::new());
        for (step, bound) in bounds.iter().enumerate() {
            let (next, along) = self.adapt(step, bound, &path[step], prior);
            path.push(next);
            gradients.push(along);
        }
        let mut last = self.bounds(&query, &mut noise, 1);
        let Some(last) = last.pop() else { unreachable!("one was asked for") };
        let all = |posterior: &[Tensor<1>]| -> Vec<Tensor<1>> {
            posterior.iter().chain(prior).cloned().collect()
        };
        let (loss, mut outer) = gradient(&|all: &[Dual<1>]| last.loss(all), &all(&path[steps]));
        let count = prior.len();
        let mut through_prior = outer.split_off(count);
        let mut of_rates = rates::zeros(&self.rates);
        for step in (0..steps).rev() {
            for (index, sum) in of_rates.iter_mut().enumerate() {
                rates::learn(sum, step, &gradients[step][index], &outer[index]);
            }
            let direction: Vec<Option<Tensor<1>>> = outer
                .iter()
                .enumerate()
                .map(|(index, vector)| Some(self.scaled(index, step, vector.clone())))
                .chain(std::iter::repeat_n(None, count))
                .collect();
            let mut products = hessian_product(
                &|all: &[Dual<1>]| bounds[step].loss(all),
                &all(&path[step]),
                &direction,
            );
            let mixed = products.split_off(count);
            let take = |sums: &mut Vec<Tensor<1>>, products: Vec<Tensor<1>>| {
                for (sum, product) in sums.iter_mut().zip(products) {
                    *sum = sum.clone() - product;
                }
            };
            take(&mut outer, products);
            take(&mut through_prior, mixed);
        }
        let total: Vec<_> = outer.into_iter().zip(through_prior).map(|(a, b)| a + b).collect();
        let means: Vec<Dual<1>> =
            path[steps][..count / 2].iter().cloned().map(Dual::from).collect();
        let images = plain(query.images.clone());
        let scores = self.means.logits(images, &means, &mut Pass::batch()).value;
        PriorGradient {
            loss,
            accuracy: accuracy(&scores, &query.labels),
            prior: total,
            rates: of_rates,
        }
    }
}

impl FewShot for Abml {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        self.means.check_ways(episode.ways);
        let support = episode.support.clone().autodiff();
        let mut noise = EpisodeNoise::of(episode.id);
        let prior = self.prior();
        let steps = self.config.test_steps.unwrap_or(self.config.steps);
        let bounds = self.bounds(&support, &mut noise, steps);
        let posterior =
            bounds.iter().enumerate().fold(prior.clone(), |posterior, (step, bound)| {
                self.adapt(step, bound, &posterior, &prior).0
            });
        let posterior: Vec<Dual<1>> = posterior.into_iter().map(Dual::from).collect();
        let (means, log_stds) = posterior.split_at(posterior.len() / 2);
        let samples = self.config.test_samples;
        let query = plain(episode.query.images.clone());
        mixture(self.noise(&mut noise, samples, false).into_iter().map(|noise| {
            let weights = sample(means, log_stds, &noise);
            let mut pass = Pass::batch();
            if self.config.batch_norm == BatchNormMode::Support {
                let images = plain(episode.support.images.clone());
                self.means.logits(images, &weights, &mut pass);
                pass = Pass::given(pass.met);
            }
            self.means.logits(query.clone(), &weights, &mut pass).value
        }))
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let scores = constant(self.predict(episode));
        (cross_entropy(scores.clone(), &episode.query.clone().autodiff().labels), scores)
    }

    fn step(&self, episodes: &[Episode<1>]) -> EpisodeStep {
        let prior = self.prior();
        let precision = Precision::current();
        let outers: Vec<PriorGradient> = episodes
            .par_iter()
            .map(|episode| precision.run(|| self.outer(episode, &prior)))
            .collect();
        let share = 1.0 / episodes.len() as f32;
        let mut result = EpisodeStep {
            loss: 0.0,
            accuracy: None,
            gradients: GradientsParams::new(),
            unread: None,
        };
        let mut sums: Vec<Tensor<1>> = prior.iter().map(Tensor::zeros_like).collect();
        let mut rates = rates::zeros(&self.rates);
        let mut right = 0.0;
        for outer in outers {
            result.loss += outer.loss as f32 * share;
            right += outer.accuracy * share;
            for (sum, gradient) in sums.iter_mut().zip(outer.prior) {
                *sum = sum.clone() + gradient * share;
            }
            for (sum, gradient) in rates.iter_mut().zip(outer.rates) {
                *sum = sum.clone() + gradient * share;
            }
        }
        result.accuracy = Some(right);
        let log_stds = sums.split_off(sums.len() / 2);
        result.gradients = self.means.weights().gradients(sums);
        for (parameter, gradient) in self.log_stds.iter().zip(log_stds) {
            result.gradients.register(parameter.id, gradient);
        }
        for (parameter, gradient) in self.rates.iter().zip(rates) {
            result.gradients.register(parameter.id, gradient);
        }
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
    use burn::tensor::DType;

    #[test]
    fn the_outer_gradient_is_exact_through_the_prior_too() {
        let device = Device::flex();
        device.seed(9);
        let config = AbmlConfig {
            steps: 2,
            rate: 0.3,
            learn_rates: true,
            std: 0.2,
            samples: 2,
            kl_weight: 0.05,
            ..AbmlConfig::default()
        };
        let mut method = config.init(tiny::setting(&device)).unwrap();
        let mut episode = tiny::episode(&device);
        for batch in [&mut episode.support, &mut episode.query] {
            batch.images = batch.images.clone().cast(DType::F64);
        }
        let prior: Vec<Tensor<1>> =
            method.prior().into_iter().map(|of| of.cast(DType::F64)).collect();
        let outer = method.outer(&episode, &prior);
        let gradient = &outer.prior;
        // One element of every vector, means and standard deviations.
        for (index, gradient) in gradient.iter().enumerate() {
            let gradient: Vec<f64> = gradient.to_data().iter::<f64>().collect();
            let place = gradient.len() / 2;
            let at = |step: f64| {
                let mut moved = prior.clone();
                let mut change = vec![0.0f64; gradient.len()];
                change[place] = step;
                let change = burn::tensor::TensorData::new(change, [gradient.len()]);
                let change = Tensor::<1>::from_data(change, (&device, DType::F64));
                moved[index] = moved[index].clone() + change;
                method.outer(&episode, &moved).loss
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            let apart = (gradient[place] - expected).abs();
            assert!(
                apart < 1e-5 + 1e-3 * expected.abs(),
                "{index}: {} {expected}",
                gradient[place]
            );
        }
        // A rate of the first step and one of the last.
        for (index, step) in [(0, 0), (prior.len() - 1, 1)] {
            let rate = method.rates[index].clone();
            let mut at = |change: f32| {
                let mut held: Vec<f32> = plain(rate.val()).to_data().iter::<f32>().collect();
                held[step] += change;
                let data = burn::tensor::TensorData::new(held, [2, 1]);
                method.rates[index] = Param::from_tensor(Tensor::from_data(data, &device));
                let loss = method.outer(&episode, &prior).loss;
                method.rates[index] = rate.clone();
                loss
            };
            let expected = (at(1.0 / 1024.0) - at(-1.0 / 1024.0)) * 512.0;
            let found: Vec<f64> = outer.rates[index].to_data().iter::<f64>().collect();
            let apart = (found[step] - expected).abs();
            assert!(apart < 1e-6 + 1e-3 * expected.abs(), "rate {index}: {found:?} {expected}");
        }
    }
}
