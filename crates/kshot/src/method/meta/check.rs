//! Outer gradients against central differences: the proof that second order is second order.

use burn::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::maml::Maml;
use crate::data::batch::Episode;
use crate::nn::weights::plain;

/// How far gradients are from central differences, along random directions.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GradientCheck {
    /// Relative error of the gradient.
    pub error: f64,
    /// Relative error of the first-order gradient.
    pub first_order_error: f64,
    /// For each direction: the central difference, the gradient's and the first-order gradient's
    /// derivative along it.
    pub directions: Vec<[f64; 3]>,
}

impl Maml {
    /// Compares the outer gradient on an episode with central differences of the loss after
    /// adaptation, along random unit directions. Differences are extrapolated from two step lengths
    /// (Richardson), and sums are in 64 bits.
    pub fn check_gradient(&self, episode: &Episode<1>, directions: usize, seed: u64) -> GradientCheck {
        let start: Vec<Tensor<1>> = self.weights().values().into_iter().map(plain).collect();
        let exact = self.outer(episode, start.clone()).weights;
        let first = self.clone().first_order().outer(episode, start.clone()).weights;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut found = Vec::new();
        for _ in 0..directions {
            let along = direction(&start, &exact, &mut random);
            let loss_at = |step: f64| {
                let moved = start.iter().zip(&along).map(|(value, along)| value.clone() + along.clone() * step);
                f64::from(self.outer_loss(episode, moved.collect()))
            };
            let central = |step: f64| (loss_at(step) - loss_at(-step)) / (2.0 * step);
            // The best of a few step lengths: where halving changes least.
            let steps = [4e-2, 2e-2, 1e-2, 5e-3];
            let values = steps.map(central);
            let best = (0..steps.len() - 1)
                .min_by(|a, b| {
                    let change = |i: usize| (values[i] - values[i + 1]).abs();
                    change(*a).total_cmp(&change(*b))
                })
                .unwrap_or(0);
            let difference = (4.0 * values[best + 1] - values[best]) / 3.0;
            found.push([difference, dot(&exact, &along), dot(&first, &along)]);
        }
        let error = |column: usize| {
            let apart: f64 = found.iter().map(|row| (row[column] - row[0]).powi(2)).sum();
            let size: f64 = found.iter().map(|row| row[0].powi(2)).sum();
            (apart / size.max(1e-30)).sqrt()
        };
        GradientCheck { error: error(1), first_order_error: error(2), directions: found }
    }
}

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
            Tensor::from_data(burn::tensor::TensorData::new(values, [count]), &weight.device())
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
