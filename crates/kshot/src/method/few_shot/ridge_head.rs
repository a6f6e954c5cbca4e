//! Ridge regression as the head, solved in closed form and learnt through: R2-D2 (Bertinetto et al.
//! 2019, arXiv 1805.08136).
//!
//! With support embeddings X `[n, f]` and one-hot labels Y, W = X' (X X' + lambda I)^-1 Y; a query x
//! scores a (x W) + b, where lambda, a and b are learnt. The inverse B of A = X X' + lambda I is
//! computed in 64 bits outside the tape; 2 B - B A B has the same value and, differentiated with B held,
//! the inverse's exact derivative, -B dA B.

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::TensorData;
use nalgebra::DMatrix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::Result;
use crate::method::few_shot::prototypical_networks::{embed_apart, embed_together};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::nn::norm::BatchNormMode;

/// How the ridge head is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RidgeHeadConfig {
    /// Lambda before learning.
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub lambda: f32,
    /// Statistics at evaluation; training uses those of support and query together.
    pub batch_norm: BatchNormMode,
}

impl Default for RidgeHeadConfig {
    fn default() -> Self {
        Self { lambda: 1.0, batch_norm: BatchNormMode::Running }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct RidgeHead {
    network: EmbeddingNetwork,
    /// The logarithm of lambda, the scale's, and the shift.
    head: Param<Tensor<1>>,
    #[module(skip)]
    batch_norm: BatchNormMode,
}

impl LearnerConfig for RidgeHeadConfig {
    type Learner = RidgeHead;
    const NAME: &'static str = "ridge-head";
    const SUMMARY: &'static str =
        "ridge regression on the support, solved and learnt through (R2-D2)";
    const SOURCE: &'static str = "https://arxiv.org/abs/1805.08136";

    fn init(&self, setting: LearnerSetting) -> Result<RidgeHead> {
        setting.network.features(setting.size)?;
        let head =
            Param::from_data([self.lambda.max(1e-6).ln(), 10.0f32.ln(), 0.0], &setting.device);
        Ok(RidgeHead { network: setting.network, head, batch_norm: self.batch_norm })
    }
}

impl RidgeHead {
    fn scores(&self, support: Tensor<2>, query: Tensor<2>, episode: &Episode<1>) -> Tensor<2> {
        let [count, features] = support.dims();
        let head = self.head.val();
        let part = |index| head.clone().narrow(0, index, 1);
        let (lambda, scale, shift) = (part(0).exp(), part(1).exp(), part(2));
        // Embeddings of length about one, whatever the network: lambda means the same then.
        let even = (features as f64).sqrt().recip();
        let (support, query) = (support * even, query * even);
        let identity = Tensor::<2>::eye(count, &support.device());
        let gram = support.clone().matmul(support.clone().transpose());
        let inverse = inverse(gram + identity * lambda.reshape([1, 1]));
        let labels: Tensor<2> = episode.support.labels.clone().one_hot(episode.ways).float();
        let weights = support.transpose().matmul(inverse.matmul(labels));
        query.matmul(weights) * scale.reshape([1, 1]) + shift.reshape([1, 1])
    }
}

/// The inverse of a symmetric positive definite matrix, differentiable.
fn inverse(matrix: Tensor<2>) -> Tensor<2> {
    let [count, _] = matrix.dims();
    let data = matrix.clone().detach().into_data();
    let values: Vec<f64> = data.iter::<f64>().collect();
    let known = DMatrix::from_row_slice(count, count, &values);
    // Lambda is above zero, so the matrix can be inverted; only values that are not finite cannot.
    let found = known.cholesky().map(|factor| factor.inverse());
    let inverse: Vec<f32> = match found {
        Some(inverse) => inverse.iter().map(|value| *value as f32).collect(),
        None => vec![f32::NAN; count * count],
    };
    let inverse =
        Tensor::<2>::from_data(TensorData::new(inverse, [count, count]), &matrix.device());
    inverse.clone() * 2.0 - inverse.clone().matmul(matrix).matmul(inverse)
}

impl FewShot for RidgeHead {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = embed_apart(&self.network, episode, self.batch_norm);
        self.scores(support, query, episode)
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let (support, query) = embed_together(&self.network, episode);
        let scores = self.scores(support, query, episode);
        (cross_entropy(scores.clone(), &episode.query.labels), scores)
    }

    fn is_transductive(&self) -> bool {
        self.batch_norm == BatchNormMode::Query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_has_the_exact_derivative() {
        let device = Device::flex().autodiff();
        let base = [[2.0, 0.3], [0.3, 1.5]];
        let matrix = Tensor::<2>::from_data(base, &device).require_grad();
        let weigh = |matrix: Tensor<2>| {
            let weights = Tensor::<2>::from_data([[1.0, -2.0], [0.5, 3.0]], &matrix.device());
            (inverse(matrix) * weights).sum()
        };
        let gradient = matrix.grad(&weigh(matrix.clone()).backward()).unwrap();
        let gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
        let step = 1e-2f32;
        for place in 0..4 {
            let at = |sign: f32| {
                let mut moved = base.map(|row| row.map(|value| value as f32));
                moved[place / 2][place % 2] += sign * step;
                // Off the symmetric matrices: by the formula of 2 x 2 inverses.
                let [[a, b], [c, d]] = moved;
                (d - -2.0 * b - 0.5 * c + 3.0 * a) / (a * d - b * c)
            };
            let expected = f64::from((at(1.0) - at(-1.0)) / (2.0 * step));
            assert!((gradient[place] - expected).abs() < 2e-3 * expected.abs().max(1.0));
        }
    }
}
