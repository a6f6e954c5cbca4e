//! Batch normalisation with its statistics made explicit: in meta-learning they decide whether a
//! method is transductive.

use burn::module::{Module, Param, RunningState};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::nn::dual::{Dual, Moments};
use crate::nn::weights::{Cursor, Weights, plain};

/// Added to the variance.
const EPSILON: f64 = 1e-5;

/// Which statistics normalise a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormMode {
    /// Running averages gathered in training: each query is judged alone.
    #[default]
    Running,
    /// Those of the support pictures: each query is judged alone.
    Support,
    /// Those of the queries of an episode together: transductive. What the papers of MAML and
    /// Relation Networks do.
    Query,
}

/// Where one pass through a network takes its statistics from.
#[derive(Debug, Clone)]
enum Source {
    /// The batch at hand.
    Batch,
    /// The network's running averages.
    Running,
    /// A list, one for each layer in order.
    Given(std::vec::IntoIter<Moments>),
}

/// One pass through a network: which statistics it uses, and which it met.
#[derive(Debug)]
pub struct Pass {
    source: Source,
    /// Share of the batch's statistics that goes into the running averages.
    momentum: Option<f64>,
    /// The statistics of each layer in order, when the batch's own were used.
    pub met: Vec<Moments>,
}

impl Pass {
    /// By the statistics of the batch.
    pub fn batch() -> Self {
        Self { source: Source::Batch, momentum: None, met: Vec::new() }
    }

    /// By the statistics of the batch, which also go into the running averages (a share of 0.1, as
    /// PyTorch does).
    pub fn training() -> Self {
        Self { momentum: Some(0.1), ..Self::batch() }
    }

    /// By the running averages.
    pub fn running() -> Self {
        Self { source: Source::Running, ..Self::batch() }
    }

    /// By the statistics that another pass met.
    pub fn given(met: Vec<Moments>) -> Self {
        Self { source: Source::Given(met.into_iter()), ..Self::batch() }
    }
}

/// The normalisation of one layer.
#[derive(Module, Debug)]
pub struct Norm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    mean: RunningState<Tensor<1>>,
    variance: RunningState<Tensor<1>>,
}

impl Norm {
    /// Of so many channels: scale 1, shift 0.
    pub fn new(channels: usize, device: &Device) -> Self {
        let of = |value| Tensor::full([channels], value, &device.clone().inner());
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            mean: RunningState::new(of(0.0)),
            variance: RunningState::new(of(1.0)),
        }
    }

    /// Takes scale and shift.
    pub fn set(&mut self, gamma: Tensor<1>, beta: Tensor<1>) {
        self.gamma = Param::initialized(self.gamma.id, gamma);
        self.beta = Param::initialized(self.beta.id, beta);
    }

    /// Appends scale and shift.
    pub fn list(&self, weights: &mut Weights) {
        weights.push(&self.gamma);
        weights.push(&self.beta);
    }

    /// Normalises `[batch, channels, height, width]`, then applies ReLU where asked.
    pub fn forward(
        &self,
        images: Dual<4>,
        weights: &mut Cursor,
        pass: &mut Pass,
        relu: bool,
    ) -> Dual<4> {
        let [_, channels, ..] = images.value.dims();
        let (gamma, beta) = (weights.take([channels]), weights.take([channels]));
        let moments = match &mut pass.source {
            Source::Batch => {
                let [batch, _, height, width] = images.value.dims();
                let (result, moments) = images.batch_norm(gamma, beta, EPSILON, relu);
                if let Some(momentum) = pass.momentum {
                    self.average(&moments, momentum, batch * height * width);
                }
                pass.met.push(moments);
                return result;
            }
            Source::Running => {
                let [mean, variance] = [&self.mean, &self.variance].map(RunningState::value_sync);
                Moments { mean, variance }
            }
            Source::Given(list) => match list.next() {
                Some(moments) => moments,
                None => panic!("fewer statistics than normalisations"),
            },
        };
        // Statistics stand on the side of the images: with autodiff or without.
        let beside = |tensor: Tensor<1>| {
            let tensor = plain(tensor);
            if images.value.is_autodiff() { Tensor::from_inner(tensor) } else { tensor }
        };
        let moments = Moments { mean: beside(moments.mean), variance: beside(moments.variance) };
        let result = images.batch_norm_by(gamma, beta, &moments, EPSILON);
        if relu { result.relu(0.0) } else { result }
    }

    /// Moves the running averages towards a batch of `count` values a channel; the variance is made
    /// unbiased, as PyTorch does.
    fn average(&self, moments: &Moments, momentum: f64, count: usize) {
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        let mix = |state: &RunningState<Tensor<1>>, now: Tensor<1>, scale: f64| {
            let old = plain(state.value_sync());
            state.update(old * (1.0 - momentum) + plain(now) * (momentum * scale));
        };
        mix(&self.mean, moments.mean.clone(), 1.0);
        mix(&self.variance, moments.variance.clone(), unbiased);
    }
}
