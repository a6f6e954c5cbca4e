//! Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167): the only one in this library.
//!
//! One layer with one set of parameters and one running average, used in two ways:
//!
//! | call | by the batch's statistics | by running ones |
//! |---|---|---|
//! | [`BatchNorm::forward`]: encoders, decoders | while it trains: on an autodiff device, unless frozen | else |
//! | [`BatchNorm::forward_dual`]: meta-learning | as the [`Pass`] says | as the [`Pass`] says |
//!
//! In meta-learning the statistics decide whether a method is transductive, so they are told there.
//! [`freeze_norm`] freezes the statistics of any module's layers: they then train as they infer.
//!
//! As in PyTorch, a batch's biased variance normalises and its unbiased one goes into the running
//! average, with a momentum of 0.1.

use burn::module::{Flag, Module, ModuleMapper, Param, RunningState};
use burn::nn::Initializer;
use burn::prelude::*;
use burn::tensor::activation;
use kshot_kernels::{Activation, NormOptions};

use crate::nn::dual::{Dual, NormMoments};
use crate::nn::weights::{Cursor, FlatWeights, plain};

/// Added to the variance, unless [`BatchNorm::with_epsilon`] says otherwise.
const EPSILON: f64 = 1e-5;
/// Share of a batch's statistics that goes into the running averages.
const MOMENTUM: f64 = 0.1;

/// Which statistics normalise a pass.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
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
enum StatisticsSource {
    /// The batch at hand.
    Batch,
    /// The network's running averages.
    Running,
    /// A list, one for each layer in order.
    Given(std::vec::IntoIter<NormMoments>),
}

/// One pass through a network: which statistics it uses, and which it met.
#[derive(Debug)]
pub struct Pass {
    source: StatisticsSource,
    /// Whether the batch's statistics go into the running averages.
    averages: bool,
    /// The statistics of each layer in order, when the batch's own were used.
    pub met: Vec<NormMoments>,
}

impl Pass {
    /// By the statistics of the batch.
    pub fn batch() -> Self {
        Self { source: StatisticsSource::Batch, averages: false, met: Vec::new() }
    }

    /// By the statistics of the batch, which also go into the running averages (a share of 0.1, as
    /// PyTorch does).
    pub fn training() -> Self {
        Self { averages: true, ..Self::batch() }
    }

    /// By the running averages.
    pub fn running() -> Self {
        Self { source: StatisticsSource::Running, ..Self::batch() }
    }

    /// By the statistics that another pass met.
    pub fn given(met: Vec<NormMoments>) -> Self {
        Self { source: StatisticsSource::Given(met.into_iter()), ..Self::batch() }
    }
}

/// Batch normalisation of one layer's channels.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// The factor of each channel, `[channels]`.
    pub gamma: Param<Tensor<1>>,
    /// What is added to each channel, `[channels]`.
    pub beta: Param<Tensor<1>>,
    mean: RunningState<Tensor<1>>,
    variance: RunningState<Tensor<1>>,
    /// Off where the statistics are frozen; Burn's `freeze` and `unfreeze` set it too. Not saved.
    training: Param<Flag>,
    #[module(skip)]
    epsilon: f64,
}

impl BatchNorm {
    /// Of so many channels: gamma 1, beta 0, running mean 0 and variance 1, epsilon 1e-5.
    pub fn new(channels: usize, device: &Device) -> Self {
        let of = |value| Tensor::full([channels], value, &device.clone().inner());
        Self {
            gamma: Initializer::Ones.init([channels], device),
            beta: Initializer::Zeros.init([channels], device),
            mean: RunningState::new(of(0.0)),
            variance: RunningState::new(of(1.0)),
            training: Param::from_bool(true),
            epsilon: EPSILON,
        }
    }

    /// With another number added to the variance.
    #[must_use]
    pub fn with_epsilon(self, epsilon: f64) -> Self {
        Self { epsilon, ..self }
    }

    /// Takes gamma and beta.
    pub fn set(&mut self, gamma: Tensor<1>, beta: Tensor<1>) {
        self.gamma = Param::initialized(self.gamma.id, gamma);
        self.beta = Param::initialized(self.beta.id, beta);
    }

    /// Appends gamma and beta.
    pub fn list(&self, weights: &mut FlatWeights) {
        weights.push(&self.gamma);
        weights.push(&self.beta);
    }

    /// The running mean and variance, without autodiff.
    pub fn running(&self) -> NormMoments {
        // Copies on several devices share them: they may lie on another's.
        let device = self.gamma.val().device().inner();
        let [mean, variance] =
            [&self.mean, &self.variance].map(|state| plain(state.value_sync()).to_device(&device));
        NormMoments { mean, variance }
    }

    /// Whether [`Self::forward`] takes the statistics of these images themselves: they are on an
    /// autodiff device, and the layer is not frozen.
    pub fn trains(&self, images: &Tensor<4>) -> bool {
        images.is_autodiff() && self.training.is_enabled()
    }

    /// Normalises, then activates; while it trains, in one kernel on the CPU, and the running
    /// statistics move.
    ///
    /// A batch of a single value a channel has no variance: its result is beta.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    ///
    /// # Panics
    /// If there are other than `channels` channels.
    pub fn forward(&self, images: Tensor<4>, activation: Activation) -> Tensor<4> {
        let [batch, _, height, width] = images.dims();
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        if self.trains(&images) {
            let options = NormOptions { epsilon: self.epsilon, activation, leak: 0.0 };
            let (result, mean, variance) = kshot_kernels::batch_norm(images, gamma, beta, options);
            self.average(&NormMoments { mean, variance }, batch * height * width);
            return result;
        }
        let NormMoments { mean, variance } = self.running().beside(images.is_autodiff());
        let epsilon = self.epsilon;
        let result = burn::tensor::module::batch_norm(images, gamma, beta, mean, variance, epsilon);
        match activation {
            Activation::Identity => result,
            Activation::Relu => activation::relu(result),
            Activation::Relu6 => result.clamp(0.0, 6.0),
        }
    }

    /// The factor and the shift of each channel that normalise by running statistics, `[channels]`.
    pub(crate) fn affine(&self) -> (Tensor<1>, Tensor<1>) {
        let gamma = self.gamma.val();
        let NormMoments { mean, variance } = self.running().beside(gamma.is_autodiff());
        let scale = gamma / (variance + self.epsilon).sqrt();
        let shift = self.beta.val() - mean * scale.clone();
        (scale, shift)
    }

    /// Normalises by the statistics that the pass tells (a frozen layer too) with gamma and beta from
    /// the list, then applies ReLU where asked.
    ///
    /// # Shapes
    /// `[batch, channels, height, width]` to the same
    ///
    /// # Panics
    /// If the list or the pass's given statistics end.
    pub fn forward_dual(
        &self,
        images: Dual<4>,
        weights: &mut Cursor,
        pass: &mut Pass,
        relu: bool,
    ) -> Dual<4> {
        let [batch, channels, height, width] = images.value.dims();
        let (gamma, beta) = (weights.take([channels]), weights.take([channels]));
        let moments = match &mut pass.source {
            StatisticsSource::Batch => {
                let (result, moments) = images.batch_norm(gamma, beta, self.epsilon, relu);
                if pass.averages {
                    self.average(&moments, batch * height * width);
                }
                pass.met.push(moments);
                return result;
            }
            StatisticsSource::Running => self.running(),
            StatisticsSource::Given(list) => match list.next() {
                Some(moments) => moments,
                None => panic!("fewer statistics than normalisations"),
            },
        };
        let moments = moments.beside(images.value.is_autodiff());
        let result = images.batch_norm_by(gamma, beta, &moments, self.epsilon);
        if relu { result.relu(0.0) } else { result }
    }

    /// Moves the running averages towards the biased moments of `count` values a channel.
    fn average(&self, moments: &NormMoments, count: usize) {
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        let mix = |state: &RunningState<Tensor<1>>, now: Tensor<1>, scale: f64| {
            let now = plain(now);
            let old = plain(state.value_sync()).to_device(&now.device());
            state.update(old * (1.0 - MOMENTUM) + now * (MOMENTUM * scale));
        };
        mix(&self.mean, moments.mean.clone(), 1.0);
        mix(&self.variance, moments.variance.clone(), unbiased);
    }
}

/// The module with the statistics of all its [`BatchNorm`]s frozen: [`BatchNorm::forward`] takes the
/// running ones while it trains too, and leaves them as they are. Gamma and beta still learn.
#[must_use]
pub fn freeze_norm<M: Module>(module: M) -> M {
    struct FreezeStatistics;
    impl ModuleMapper for FreezeStatistics {
        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            flag.with_value(false)
        }
    }
    module.map(&mut FreezeStatistics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::weights::deep_copy;
    use burn::tensor::Distribution;

    fn values(moments: &NormMoments) -> Vec<f32> {
        let both = Tensor::cat(vec![moments.mean.clone(), moments.variance.clone()], 0);
        both.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn statistics_move_in_training_only_and_in_no_copy() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm::new(2, &device);
        let copy = deep_copy(&norm);
        // Mean 3 and variance 2 (8/3 unbiased) in the first channel, nothing but 1 in the second.
        let values_of = [[[[1.0f32, 3.0]], [[1.0, 1.0]]], [[[3.0, 5.0]], [[1.0, 1.0]]]];
        let images = Tensor::<4>::from_data(values_of, &device);
        let result = norm.forward(images.clone(), Activation::Relu).inner();
        assert_eq!(result.clone().min().into_scalar::<f32>(), 0.0);
        assert!((result.max().into_scalar::<f32>() - 2f32.sqrt()).abs() < 1e-4);
        let expected = [0.3, 0.1, 0.9 + 0.1 * 8.0 / 3.0, 0.9];
        for (ours, expected) in values(&norm.running()).iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-6, "{ours} instead of {expected}");
        }
        assert_eq!(values(&copy.running()), [0.0, 0.0, 1.0, 1.0]);
        let before = values(&norm.running());
        norm.valid().forward(images.inner(), Activation::Identity);
        assert_eq!(values(&norm.running()), before);
    }

    #[test]
    fn frozen_layers_train_as_they_infer() {
        let device = Device::flex().autodiff();
        let images = Tensor::<4>::random([2, 3, 4, 5], Distribution::Default, &device);
        let norm = BatchNorm::new(3, &device);
        norm.forward(images.clone(), Activation::Identity);
        // Frozen it stays, on either side and back.
        let frozen = freeze_norm(norm).valid().train();
        let before = values(&frozen.running());
        let trained = frozen.forward(images.clone(), Activation::Relu6).inner();
        let inferred = frozen.valid().forward(images.inner(), Activation::Relu6);
        assert_eq!(trained.into_data(), inferred.into_data());
        assert_eq!(values(&frozen.running()), before);
    }
}
