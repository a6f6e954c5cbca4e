//! Distances between embeddings.

use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::dual::Dual;

/// How far two embeddings are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The square of the Euclidean distance.
    #[default]
    SquaredEuclidean,
    /// One minus the cosine of the angle; scores are the cosine times 10.
    Cosine,
}

/// Cosines are multiplied by it.
const SCALE: f64 = 10.0;

impl Distance {
    /// Scores, higher is nearer, `[rows, others]`, of `[rows, features]` against `[others, features]`.
    pub fn scores(self, rows: Tensor<2>, others: Tensor<2>) -> Tensor<2> {
        match self {
            Self::SquaredEuclidean => -squared(rows, others),
            Self::Cosine => unit(rows).matmul(unit(others).transpose()) * SCALE,
        }
    }
}

/// Squared Euclidean distances, `[rows, others]`.
fn squared(rows: Tensor<2>, others: Tensor<2>) -> Tensor<2> {
    let length = |tensor: &Tensor<2>| (tensor.clone() * tensor.clone()).sum_dim(1);
    let (left, right) = (length(&rows), length(&others).transpose());
    left + right - rows.matmul(others.transpose()) * 2.0
}

/// Rows of length 1.
pub fn unit(rows: Tensor<2>) -> Tensor<2> {
    Dual::from(rows).unit().value
}

/// The mean of each class, `[ways, features]`, of rows that stand class by class.
pub fn class_means(rows: Tensor<2>, ways: usize) -> Tensor<2> {
    let [count, features] = rows.dims();
    rows.reshape([ways, count / ways, features]).mean_dim(1).reshape([ways, features])
}
