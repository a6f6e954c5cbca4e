//! Activations on their own: after a sum, and the gradient of one from its result.

use rayon::prelude::*;

use crate::Activation;
use crate::simd::{Kernel, Simd, dispatch};

/// Floats of a task.
const BLOCK: usize = 1 << 14;

/// What passes back through an activation whose results are given: the gradient where the result lies
/// between its bounds, zero where it was clamped.
///
/// # Panics
/// If the lengths differ.
pub fn activation_gradient(result: &[f32], gradient: &mut [f32], activation: Activation) {
    assert_eq!(result.len(), gradient.len(), "floats of the gradient");
    let blocks = gradient.par_chunks_mut(BLOCK).zip(result.par_chunks(BLOCK));
    blocks.for_each(|(gradient, result)| {
        dispatch(Back { result, gradient, bounds: activation.bounds() });
    });
}

/// Adds `other` to the values, then applies the activation.
///
/// # Panics
/// If the lengths differ.
pub fn add_activated(values: &mut [f32], other: &[f32], activation: Activation) {
    assert_eq!(values.len(), other.len(), "floats of a sum");
    let blocks = values.par_chunks_mut(BLOCK).zip(other.par_chunks(BLOCK));
    blocks.for_each(|(values, other)| {
        dispatch(Add { values, other, bounds: activation.bounds() });
    });
}

struct Add<'a> {
    values: &'a mut [f32],
    other: &'a [f32],
    bounds: (f32, f32),
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (low, high) = self.bounds;
        for (value, other) in self.values.iter_mut().zip(self.other) {
            let sum = *value + other;
            // What is no number passes, as everywhere.
            let sum = if sum < low { low } else { sum };
            *value = if sum > high { high } else { sum };
        }
    }
}

struct Back<'a> {
    result: &'a [f32],
    gradient: &'a mut [f32],
    bounds: (f32, f32),
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (low, high) = self.bounds;
        for (gradient, result) in self.gradient.iter_mut().zip(self.result) {
            let clamped = *result <= low || *result >= high;
            *gradient = if clamped { 0.0 } else { *gradient };
        }
    }
}
