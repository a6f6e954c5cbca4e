//! Cosines between the cells of pictures, and means of cells weighted by them.

use std::sync::OnceLock;

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::nn::cpu_values;

/// A vector shorter than this has no direction.
pub(super) const TINY: f32 = 1e-6;

/// A picture on the grid: `[channels, cells]`, each cell of unit length.
#[derive(Debug, Clone)]
pub struct Bank {
    pub(super) values: Tensor<2>,
    /// How many of the channels, the last ones, are the deepest stage's at the largest input size.
    deepest: usize,
    /// Similarities among the picture's own cells, computed when it is first a query.
    similarity: OnceLock<SimilarityMatrix>,
}

/// How like the cells of a picture are to each other.
#[derive(Debug, Clone)]
pub(super) struct SimilarityMatrix {
    /// Cosines, `[cells, cells]`.
    pub(super) cosines: Vec<f32>,
    /// Their exponentials over the temperature, at most 1 (a cell and itself).
    pub(super) weights: Vec<f32>,
}

impl Bank {
    pub(super) fn new(values: Tensor<2>, deepest: usize) -> Self {
        Self { values, deepest, similarity: OnceLock::new() }
    }

    /// Its cells, `[channels, cells]`.
    pub fn cells(&self) -> &Tensor<2> {
        &self.values
    }

    /// Its cells as the deepest stage has them at the largest input size, `[channels, cells]`.
    pub fn deepest(&self) -> Tensor<2> {
        let [channels, _] = self.values.dims();
        self.values.clone().narrow(0, channels - self.deepest, self.deepest)
    }

    /// Bytes held, once it has been a query.
    pub fn bytes(&self) -> usize {
        let [channels, cells] = self.values.dims();
        (channels + 2 * cells) * cells * 4
    }

    pub(super) fn similarity(&self, temperature: f32) -> &SimilarityMatrix {
        self.similarity.get_or_init(|| {
            let cosines = cpu_values(self.values.clone().transpose().matmul(self.values.clone()));
            let weights = cosines.iter().map(|&cosine| weight(cosine, temperature)).collect();
            SimilarityMatrix { cosines, weights }
        })
    }
}

/// The attention that a cosine gets before it is divided by the sum: 1 at the most.
pub(super) fn weight(cosine: f32, temperature: f32) -> f32 {
    ((cosine - 1.0) / temperature).exp()
}

impl SimilarityMatrix {
    /// For each cell the mean of some (sure) cells, weighted by similarity.
    pub(super) fn attend(&self, sure: &[usize]) -> OwnBackground {
        let count = sure.len();
        let cells = self.weights.len().isqrt();
        let mut weights = Vec::with_capacity(cells * count);
        let mut like = Vec::with_capacity(cells);
        for (row, cosines) in self.weights.chunks_exact(cells).zip(self.cosines.chunks_exact(cells))
        {
            let start = weights.len();
            weights.extend(sure.iter().map(|&cell| row[cell]));
            let sum: f32 = weights[start..].iter().sum::<f32>().max(f32::MIN_POSITIVE);
            weights[start..].iter_mut().for_each(|weight| *weight /= sum);
            let own = sure.iter().zip(&weights[start..]);
            like.push(own.map(|(&cell, weight)| cosines[cell] * weight).sum());
        }
        let gathered: Vec<f32> = sure
            .iter()
            .flat_map(|&row| sure.iter().map(move |&cell| self.cosines[row * cells + cell]))
            .collect();
        let device = Device::flex();
        let shape = [cells, count];
        let rows = Tensor::<2>::from_data(TensorData::new(weights.clone(), shape), &device);
        let among = Tensor::<2>::from_data(TensorData::new(gathered, [count, count]), &device);
        let square = (rows.clone().matmul(among) * rows).sum_dim(1);
        let length = cpu_values(square.clamp_min(0.0).sqrt().clamp_min(TINY));
        OwnBackground { weights, like, length }
    }
}

/// For each cell of the query the mean of the support's background, weighted by similarity.
pub(super) struct Attended {
    /// Of the query's cells with the support's, `[cells, keys]`.
    pub(super) cosines: Tensor<2>,
    /// The attention, `[cells, keys]`; rows sum to 1.
    pub(super) weights: Tensor<2>,
    /// Each cell's product with its mean.
    pub(super) like: Vec<f32>,
    /// Each mean's length.
    pub(super) length: Vec<f32>,
}

impl Attended {
    /// The products of each cell's mean with some cells of the query, `[cells, some.len()]`.
    pub(super) fn with(&self, some: &[usize]) -> Vec<f32> {
        let data = TensorData::new(some.iter().map(|&c| c as i64).collect(), [some.len()]);
        let chosen = Tensor::<1, Int>::from_data(data, &self.cosines.device());
        let cosines = self.cosines.clone().select(0, chosen);
        cpu_values(self.weights.clone().matmul(cosines.transpose()))
    }
}

/// For each cell of the query the mean of the query's sure background, weighted by similarity.
pub(super) struct OwnBackground {
    /// The attention, `[cells, sure cells]`; rows sum to 1.
    pub(super) weights: Vec<f32>,
    /// Each cell's product with its mean.
    pub(super) like: Vec<f32>,
    /// Each mean's length.
    pub(super) length: Vec<f32>,
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn add_scaled(sum: &mut [f32], row: &[f32], scale: f32) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += scale * value;
    }
}
