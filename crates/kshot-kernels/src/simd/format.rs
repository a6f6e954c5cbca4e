//! What the operands of a product are made of: floats, or pairs of bf16.
//!
//! Pairs lie as bits in floats, the first product's in the lower half: floats are copied, never computed
//! with, so that their bits stay.

use std::sync::OnceLock;

use super::{Kernel, Level, Simd, dispatch, level};

/// Products that one step adds.
pub(crate) trait Format<S: Simd>: Copy {
    /// Products of a step: rows of the right operand that lie in one.
    const PRODUCTS: usize;

    /// `sum` and the products of each lane.
    fn add(self, simd: S, left: S::Vector, right: S::Vector, sum: S::Vector) -> S::Vector;
}

/// One float.
#[derive(Clone, Copy)]
pub(crate) struct Floats;

impl<S: Simd> Format<S> for Floats {
    const PRODUCTS: usize = 1;

    #[inline(always)]
    fn add(self, simd: S, left: S::Vector, right: S::Vector, sum: S::Vector) -> S::Vector {
        simd.fma(left, right, sum)
    }
}

/// Pairs of bf16 on a processor without products of them.
#[derive(Clone, Copy)]
pub(crate) struct Emulated;

impl<S: Simd> Format<S> for Emulated {
    const PRODUCTS: usize = 2;

    #[inline(always)]
    fn add(self, simd: S, left: S::Vector, right: S::Vector, sum: S::Vector) -> S::Vector {
        let ([a, b], [c, d]) = (simd.widen(left), simd.widen(right));
        simd.fma(b, d, simd.fma(a, c, sum))
    }
}

/// A kernel over any vectors and formats. `run` must be `#[inline(always)]`.
pub(crate) trait FormatKernel {
    type Output;
    fn run<S: Simd, F: Format<S>>(self, simd: S, format: F) -> Self::Output;
}

/// A kernel with a format for any vectors.
struct Run<K, F> {
    kernel: K,
    format: F,
}

impl<K: FormatKernel> Kernel for Run<K, Floats> {
    type Output = K::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> K::Output {
        self.kernel.run(simd, self.format)
    }
}

impl<K: FormatKernel> Kernel for Run<K, Emulated> {
    type Output = K::Output;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> K::Output {
        self.kernel.run(simd, self.format)
    }
}

/// Runs a kernel over floats with this processor's vectors.
pub(crate) fn dispatch_floats<K: FormatKernel>(kernel: K) -> K::Output {
    dispatch(Run { kernel, format: Floats })
}

/// Runs a kernel over pairs: by this processor's own products of bf16, or emulated ones.
pub(crate) fn dispatch_pairs<K: FormatKernel>(kernel: K) -> K::Output {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the features of the level, and those of pairs.
        Level::Avx512 if multiplies_pairs() => unsafe { super::avx512::with_pairs(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Level::Neon if multiplies_pairs() => unsafe { super::neon::with_pairs(kernel) },
        _ => dispatch(Run { kernel, format: Emulated }),
    }
}

/// Whether this processor has products of pairs with the vectors that [`dispatch`] uses. Asked once.
fn multiplies_pairs() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => is_x86_feature_detected!("avx512bf16"),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => std::arch::is_aarch64_feature_detected!("bf16"),
        _ => false,
    })
}

/// Whether products of bf16 may be asked for: the processor's own, or emulated ones where the environment says
/// `KSHOT_BF16=emulate`. Asked once: what was possible stays so.
pub(crate) fn can_multiply_pairs() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE
        .get_or_init(|| possible(multiplies_pairs(), std::env::var("KSHOT_BF16").ok().as_deref()))
}

fn possible(native: bool, wish: Option<&str>) -> bool {
    native || wish == Some("emulate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_emulated_only_where_the_environment_says_so() {
        assert!(possible(true, None) && possible(false, Some("emulate")));
        assert!(!possible(false, None) && !possible(false, Some("yes")));
    }
}
