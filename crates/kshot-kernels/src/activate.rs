//! The gradient of an activation, from its result.

use rayon::prelude::*;

use crate::Activation;
use crate::scratch::fresh;
use crate::simd::{Kernel, Simd, dispatch};

/// Floats of a task.
const BLOCK: usize = 1 << 14;

/// What passes back through an activation whose results are given: the gradient where the result lies
/// between its bounds, zero where it was clamped.
///
/// # Panics
/// If the lengths differ.
pub fn activation_gradient(result: &[f32], gradient: &[f32], activation: Activation) -> Vec<f32> {
    assert_eq!(result.len(), gradient.len(), "floats of the gradient");
    fresh(result.len(), |out| {
        out.par_chunks_mut(BLOCK)
            .zip(result.par_chunks(BLOCK).zip(gradient.par_chunks(BLOCK)))
            .for_each(|(out, (result, gradient))| {
                dispatch(Back { result, gradient, bounds: activation.bounds(), out });
            });
    })
}

struct Back<'a> {
    result: &'a [f32],
    gradient: &'a [f32],
    bounds: (f32, f32),
    out: &'a mut [f32],
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (low, high) = self.bounds;
        for ((out, result), gradient) in self.out.iter_mut().zip(self.result).zip(self.gradient) {
            let clamped = *result <= low || *result >= high;
            *out = if clamped { 0.0 } else { *gradient };
        }
    }
}
