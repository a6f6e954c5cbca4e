//! Sums over many floats in the lanes of vectors: quick, and their rounding does not grow with the length.

use crate::simd::{Kernel, Simd, dispatch};

/// Vectors that are summed side by side: none waits for another.
const VECTORS: usize = 4;

/// The sum.
pub(crate) fn total(values: &[f32]) -> f32 {
    dispatch(Sum { a: values, b: None })
}

/// The sum of products.
///
/// # Panics
/// If there are not as many of both.
pub(crate) fn product(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "floats to multiply");
    dispatch(Sum { a, b: Some(b) })
}

/// Adds up the parts of a result, one after the other and as long as it, in their order.
pub(crate) fn add_parts(parts: &[f32], result: &mut [f32]) {
    let (first, others) = parts.split_at(result.len());
    result.copy_from_slice(first);
    for part in others.chunks_exact(result.len()) {
        result.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

/// The sum of `a`, each times its `b` where there are any.
struct Sum<'a> {
    a: &'a [f32],
    b: Option<&'a [f32]>,
}

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let count = self.a.len();
        let mut sums = [simd.zero(); VECTORS];
        let whole = count / S::LANES;
        for first in (0..whole).step_by(VECTORS) {
            for (vector, sum) in sums.iter_mut().enumerate() {
                if first + vector >= whole {
                    break;
                }
                let at = (first + vector) * S::LANES;
                // SAFETY: a whole vector is left in `a`, and in `b`, which is as long.
                unsafe {
                    let a = simd.load(self.a.as_ptr().add(at));
                    *sum = match self.b {
                        Some(b) => simd.fma(a, simd.load(b.as_ptr().add(at)), *sum),
                        None => simd.add(a, *sum),
                    };
                }
            }
        }
        let rest = whole * S::LANES..count;
        let rest: f32 = match self.b {
            Some(b) => self.a[rest.clone()].iter().zip(&b[rest]).map(|(a, b)| a * b).sum(),
            None => self.a[rest].iter().sum(),
        };
        let [first, second, third, fourth] = sums;
        simd.sum(simd.add(simd.add(first, second), simd.add(third, fourth))) + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_any_length_are_those_of_64_bits() {
        for count in (0..70).chain([1000, 4099]) {
            let values = |seed: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 7919 + seed) % 257) as f32 / 128.0 - 1.0).collect()
            };
            let (a, b) = (values(1), values(2));
            let expected: f64 = a.iter().map(|a| f64::from(*a)).sum();
            assert!((f64::from(total(&a)) - expected).abs() < 1e-4, "{count}");
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(product(&a, &b)) - expected).abs() < 1e-4, "{count}");
        }
    }
}
