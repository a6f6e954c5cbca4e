//! Functions of each value that are no clamps, and their gradients, each in one pass.

use rayon::prelude::*;

use crate::simd::{Kernel, Simd, dispatch};
use crate::softmax::exp;

/// Floats of a task.
const BLOCK: usize = 1 << 14;

/// A function of each value. Unlike those of [`Activation`](crate::Activation) its slope does not follow from
/// its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointwise {
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `x` times its hard sigmoid.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x` times its sigmoid.
    Silu,
}

impl Pointwise {
    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        match self {
            Self::HardSigmoid => hard_sigmoid(x),
            Self::HardSwish => x * hard_sigmoid(x),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
        }
    }

    #[inline(always)]
    fn slope(self, x: f32) -> f32 {
        let clamped = x <= -3.0 || x >= 3.0;
        match self {
            Self::HardSigmoid => {
                if clamped {
                    0.0
                } else {
                    1.0 / 6.0
                }
            }
            Self::HardSwish => hard_sigmoid(x) + if clamped { 0.0 } else { x * (1.0 / 6.0) },
            Self::Sigmoid => {
                let sigmoid = sigmoid(x);
                sigmoid * (1.0 - sigmoid)
            }
            Self::Silu => {
                let sigmoid = sigmoid(x);
                sigmoid + x * sigmoid * (1.0 - sigmoid)
            }
        }
    }
}

#[inline(always)]
fn hard_sigmoid(x: f32) -> f32 {
    let x = x + 3.0;
    // What is no number passes, as everywhere.
    let x = if x < 0.0 { 0.0 } else { x };
    (if x > 6.0 { 6.0 } else { x }) * (1.0 / 6.0)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Replaces each value by the function's.
pub fn pointwise(values: &mut [f32], function: Pointwise) {
    values.par_chunks_mut(BLOCK).for_each(|values| dispatch(Forward { values, function }));
}

/// Multiplies the gradient of the results by the function's slope at each value, which makes it that of the values.
///
/// # Panics
/// If the lengths differ.
pub fn pointwise_gradient(values: &[f32], gradient: &mut [f32], function: Pointwise) {
    assert_eq!(values.len(), gradient.len(), "floats of the gradient");
    let blocks = gradient.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK));
    blocks.for_each(|(gradient, values)| dispatch(Back { values, gradient, function }));
}

struct Forward<'a> {
    values: &'a mut [f32],
    function: Pointwise,
}

/// Runs a loop with the function known to the compiler.
macro_rules! for_each_function {
    ($function:expr, $known:ident => $body:expr) => {
        match $function {
            Pointwise::HardSigmoid => {
                let $known = Pointwise::HardSigmoid;
                $body
            }
            Pointwise::HardSwish => {
                let $known = Pointwise::HardSwish;
                $body
            }
            Pointwise::Sigmoid => {
                let $known = Pointwise::Sigmoid;
                $body
            }
            Pointwise::Silu => {
                let $known = Pointwise::Silu;
                $body
            }
        }
    };
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for_each_function!(self.function, function => {
            for value in self.values.iter_mut() {
                *value = function.value(*value);
            }
        });
    }
}

struct Back<'a> {
    values: &'a [f32],
    gradient: &'a mut [f32],
    function: Pointwise,
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for_each_function!(self.function, function => {
            for (gradient, value) in self.gradient.iter_mut().zip(self.values) {
                *gradient *= function.slope(*value);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value and slope by the formulas, in 64 bits.
    fn exact(function: Pointwise, x: f64) -> [f64; 2] {
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        let slope = sigmoid * (1.0 - sigmoid);
        let hard = ((x + 3.0) / 6.0).clamp(0.0, 1.0);
        let hard_slope = if x.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 };
        match function {
            Pointwise::HardSigmoid => [hard, hard_slope],
            Pointwise::HardSwish => [x * hard, hard + x * hard_slope],
            Pointwise::Sigmoid => [sigmoid, slope],
            Pointwise::Silu => [x * sigmoid, sigmoid + x * slope],
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_the_formulas() {
        // More than one task, with an odd rest.
        let places: Vec<f32> = (0..BLOCK + 37).map(|i| (i as f32 - 8000.0) * 1.25e-2).collect();
        for function in
            [Pointwise::HardSigmoid, Pointwise::HardSwish, Pointwise::Sigmoid, Pointwise::Silu]
        {
            let mut values = places.clone();
            pointwise(&mut values, function);
            let mut slopes = vec![2.0; places.len()];
            pointwise_gradient(&places, &mut slopes, function);
            for ((x, value), slope) in places.iter().zip(values).zip(slopes) {
                let [expected, steep] = exact(function, f64::from(*x));
                let far = (f64::from(value) - expected).abs() / expected.abs().max(1.0);
                assert!(far < 1e-6, "{function:?} of {x}: {value}, expected {expected}");
                let far = (f64::from(slope) - 2.0 * steep).abs();
                assert!(far < 2e-6, "slope of {function:?} at {x}: {slope} / 2, expected {steep}");
            }
            let mut none = [f32::NAN];
            pointwise(&mut none, function);
            assert!(none[0].is_nan(), "{function:?} of no number");
        }
    }
}
