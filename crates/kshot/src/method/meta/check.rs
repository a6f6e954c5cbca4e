//! Outer gradients against central differences: the proof that second order is second order.

use burn::prelude::*;
use burn::tensor::DType;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data::batch::Episode;
use crate::method::meta::maml::Maml;
use crate::nn::weights::plain;

/// How far gradients are from central differences, along random directions.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GradientCheck {
    /// Relative error of the gradient.
    pub error: f64,
    /// Relative error of the first-order gradient.
    pub first_order_error: f64,
    /// Relative error of the gradient in 32 bits, as training uses it.
    pub single_precision_error: f64,
    /// For each direction: the central difference, then the derivative along it by the gradient, by
    /// the first-order gradient and by the gradient in 32 bits.
    pub directions: Vec<[f64; 4]>,
}

impl Maml {
    /// Compares the outer gradient on an episode with central differences of the loss after
    /// adaptation, along random unit directions, all in 64 bits: in 32 bits differences drown in
    /// rounding, or in ReLUs that flip under longer steps.
    pub fn check_gradient(
        &self,
        episode: &Episode<1>,
        directions: usize,
        seed: u64,
    ) -> GradientCheck {
        let start: Vec<Tensor<1>> = self.weights().values().into_iter().map(plain).collect();
        let single = self.outer(episode, start.clone()).weights;
        let start: Vec<Tensor<1>> = start.into_iter().map(|of| of.cast(DType::F64)).collect();
        let mut episode = episode.clone();
        for batch in [&mut episode.support, &mut episode.query] {
            batch.images = batch.images.clone().cast(DType::F64);
        }
        let exact = self.outer(&episode, start.clone()).weights;
        let first = self.clone().first_order().outer(&episode, start.clone()).weights;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut found = Vec::new();
        for _ in 0..directions {
            let along = direction(&start, &exact, &mut random);
            let loss_at = |step: f64| {
                let moved = start.iter().zip(&along);
                let moved = moved.map(|(value, along)| value.clone() + along.clone() * step);
                self.outer_loss(&episode, moved.collect())
            };
            let difference = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
            found.push([
                difference,
                dot(&exact, &along),
                dot(&first, &along),
                dot(&single, &along),
            ]);
        }
        let error = |column: usize| {
            let apart: f64 = found.iter().map(|row| (row[column] - row[0]).powi(2)).sum();
            let size: f64 = found.iter().map(|row| row[0].powi(2)).sum();
            (apart / size.max(1e-30)).sqrt()
        };
        GradientCheck {
            error: error(1),
            first_order_error: error(2),
            single_precision_error: error(3),
            directions: found,
        }
    }
}

/// Length of the steps of central differences, along unit directions.
const STEP: f64 = 1e-6;

/// A unit direction, half along the gradient so that the derivative is not lost in rounding.
fn direction(
    like: &[Tensor<1>],
    gradient: &[Tensor<1>],
    random: &mut ChaCha8Rng,
) -> Vec<Tensor<1>> {
    let noise: Vec<Tensor<1>> = like
        .iter()
        .map(|weight| {
            let [count] = weight.dims();
            let values: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
            let data = burn::tensor::TensorData::new(values, [count]);
            Tensor::<1>::from_data(data, &weight.device()).cast(DType::F64)
        })
        .collect();
    let lengths = [&noise, gradient].map(|of| dot(of, of).sqrt().max(1e-12));
    let mixed: Vec<Tensor<1>> = noise
        .iter()
        .zip(gradient)
        .map(|(noise, along)| {
            noise.clone() * (1.0 / lengths[0]) + along.clone() * (1.0 / lengths[1])
        })
        .collect();
    let length = dot(&mixed, &mixed).sqrt();
    mixed.into_iter().map(|of| of * (1.0 / length)).collect()
}

fn dot(left: &[Tensor<1>], right: &[Tensor<1>]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| {
            let (left, right) = (left.to_data(), right.to_data());
            left.iter::<f64>().zip(right.iter::<f64>()).map(|(a, b)| a * b).sum::<f64>()
        })
        .sum()
}
