//! The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), the exact one: `x` times the share of a
//! standard normal law below `x`.
//!
//! The share is by the error function's approximation 7.1.26 of Abramowitz and Stegun (1964), whose error is below
//! 1.5e-7 everywhere.

use rayon::prelude::*;

use crate::simd::{Kernel, Simd, dispatch};
use crate::softmax::exp;

/// Floats of a task.
const BLOCK: usize = 1 << 13;

/// Replaces each value by its GELU.
pub fn gelu(values: &mut [f32]) {
    values.par_chunks_mut(BLOCK).for_each(|values| dispatch(Forward { values }));
}

/// Multiplies the gradient after a GELU by the derivative at each value before it.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_gradient(values: &[f32], gradient: &mut [f32]) {
    assert_eq!(values.len(), gradient.len(), "floats of the gradient");
    let blocks = gradient.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK));
    blocks.for_each(|(gradient, values)| dispatch(Back { values, gradient }));
}

/// The share of a standard normal law below `x`, and `e^(-x^2 / 2)`.
#[inline(always)]
fn below(x: f32) -> (f32, f32) {
    let size = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let mut sum = 1.061_405_4;
    for factor in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + factor;
    }
    let power = exp(-size * size);
    let tail = 0.5 * sum * t * power;
    (if x < 0.0 { tail } else { 1.0 - tail }, power)
}

struct Forward<'a> {
    values: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for value in self.values.iter_mut() {
            *value *= below(*value).0;
        }
    }
}

struct Back<'a> {
    values: &'a [f32],
    gradient: &'a mut [f32],
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        /// One over the root of two pi: the normal law's density at 0.
        const DENSITY: f32 = 0.398_942_3;
        for (gradient, value) in self.gradient.iter_mut().zip(self.values) {
            let (share, power) = below(*value);
            *gradient *= share + value * (DENSITY * power);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share below `x` by Simpson's rule from 0.
    fn exact(x: f64) -> f64 {
        let (parts, density) =
            (2000, |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt());
        let step = x / f64::from(parts);
        let inner = (1..parts).map(|at| {
            let weight = if at % 2 == 1 { 4.0 } else { 2.0 };
            weight * density(step * f64::from(at))
        });
        0.5 + step / 3.0 * (density(0.0) + inner.sum::<f64>() + density(x))
    }

    #[test]
    fn values_and_gradients_are_those_of_64_bits() {
        let inputs: Vec<f32> = (-160..=160).map(|at| at as f32 / 20.0).collect();
        let mut values = inputs.clone();
        gelu(&mut values);
        let mut gradient = vec![2.0; inputs.len()];
        gelu_gradient(&inputs, &mut gradient);
        for ((input, value), gradient) in inputs.iter().zip(values).zip(gradient) {
            let x = f64::from(*input);
            let share = exact(x);
            assert!((f64::from(value) - x * share).abs() < 1e-6, "gelu({x}) is {value}");
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let expected = 2.0 * (share + x * density);
            assert!((f64::from(gradient) - expected).abs() < 2e-6, "at {x}: {gradient}");
        }
    }

    #[test]
    fn what_is_no_number_passes_and_large_values_are_kept() {
        let mut values = [f32::NAN, 1e30, -1e30, 0.0];
        gelu(&mut values);
        assert!(
            values[0].is_nan() && values[1] == 1e30 && values[2].abs() < 1e-7 && values[3] == 0.0
        );
    }
}
