//! Gradients, and exact products of the Hessian with a vector, of a loss over a list of parameters.
//!
//! Reverse over forward: tangents are pushed through the loss, then one `backward` is taken of the
//! loss's tangent. Its graph is the only one alive, so that a chain of such products (the outer
//! gradient of MAML) takes as much memory as one.

use burn::prelude::*;

use crate::nn::dual::Dual;
use crate::nn::weights::leaves;

/// A loss as a function of parameters.
pub trait TaskLoss {
    /// The loss, `[1]`, of parameters on the autodiff side.
    fn loss(&self, weights: &[Dual<1>]) -> Dual<1>;
}

impl<F: Fn(&[Dual<1>]) -> Dual<1>> TaskLoss for F {
    fn loss(&self, weights: &[Dual<1>]) -> Dual<1> {
        self(weights)
    }
}

/// The loss and its gradient (plain tensors, zero where the loss does not depend).
pub fn gradient(objective: &dyn TaskLoss, weights: &[Tensor<1>]) -> (f64, Vec<Tensor<1>>) {
    let leaves = leaves(weights);
    let duals: Vec<Dual<1>> = leaves.iter().cloned().map(Dual::from).collect();
    let loss = objective.loss(&duals).value;
    let value: f64 = loss.clone().into_scalar();
    (value, backward(&loss, &leaves, weights))
}

/// The Hessian at `weights` times `direction` (`None` is zero), in every parameter: also in those that
/// the direction leaves out, where it is the mixed derivative.
pub fn hessian_product(
    objective: &dyn TaskLoss,
    weights: &[Tensor<1>],
    direction: &[Option<Tensor<1>>],
) -> Vec<Tensor<1>> {
    let leaves = leaves(weights);
    let duals: Vec<Dual<1>> = leaves
        .iter()
        .zip(direction)
        .map(|(leaf, along)| Dual {
            value: leaf.clone(),
            tangent: along.clone().map(Tensor::from_inner),
        })
        .collect();
    match objective.loss(&duals).tangent {
        Some(tangent) => backward(&tangent, &leaves, weights),
        None => weights.iter().map(Tensor::zeros_like).collect(),
    }
}

fn backward(of: &Tensor<1>, leaves: &[Tensor<1>], like: &[Tensor<1>]) -> Vec<Tensor<1>> {
    let gradients = of.backward();
    leaves
        .iter()
        .zip(like)
        .map(|(leaf, like)| leaf.grad(&gradients).unwrap_or_else(|| like.zeros_like()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x^2 y + exp(y), with x and y in two vectors of one element.
    fn loss(weights: &[Dual<1>]) -> Dual<1> {
        let (x, y) = (weights[0].clone(), weights[1].clone());
        x.clone().times(x).times(y.clone()).plus(y.exp()).total()
    }

    #[test]
    fn products_are_those_of_the_exact_hessian() {
        let device = Device::flex();
        let at = |value: f32| Tensor::<1>::from_data([value], &device);
        let weights = [at(1.5), at(-0.5)];
        let (value, gradient) = gradient(&loss, &weights);
        assert!((value - (-1.125 + (-0.5f64).exp())).abs() < 1e-6);
        let number = |tensor: &Tensor<1>| -> f32 { tensor.clone().into_scalar() };
        assert!((number(&gradient[0]) - -1.5).abs() < 1e-6);
        // Hessian: [[2y, 2x], [2x, exp(y)]].
        let product = hessian_product(&loss, &weights, &[Some(at(1.0)), Some(at(2.0))]);
        assert!((number(&product[0]) - (-1.0 + 6.0)).abs() < 1e-5);
        assert!((number(&product[1]) - (3.0 + 2.0 * (-0.5f32).exp())).abs() < 1e-5);
        // A direction along x alone still has a mixed derivative in y.
        let product = hessian_product(&loss, &weights, &[Some(at(1.0)), None]);
        assert!((number(&product[1]) - 3.0).abs() < 1e-5);
    }
}
