//! How convolutions sum: the choice of whoever runs a network, for as long as it runs.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::simd::format::can_multiply_pairs;

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// How convolutions sum.
///
/// A network that has one runs inside [`run`](Self::run); convolutions ask for it once, when they begin, and
/// gradients follow the choice of their forward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// In 32 bits, by the fastest algorithm.
    #[default]
    F32,
    /// In 32 bits, product by product: three times slower for 3x3 kernels, and about three times closer to the
    /// exact result. See [`Geometry::with_precise`](crate::Geometry::with_precise).
    Precise,
    /// [`Conv2d`](crate::Conv2d) multiplies in bf16 (8 bits of precision, sums in 32 bits) where its convolution is a
    /// product of matrices: kernels of one pixel, strides, groups of many channels (most of EfficientNet-Lite and
    /// of ResNets of bottlenecks, nothing of VGG). Twice the products an instruction, half the weights to read; the
    /// weights in 32 bits are kept beside. Layers that learn and [`conv2d`](crate::conv2d) multiply in 32 bits. On a
    /// GPU all convolutions multiply in bf16, and add up in 32 bits.
    Bf16,
    /// On a GPU all convolutions multiply in f16 (11 bits of precision, numbers up to 65504), and add up in 32 bits; the
    /// CPU knows it not.
    F16,
}

/// The processor has no products of bf16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoBf16;

impl std::fmt::Display for NoBf16 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this processor has no products of bf16 with the vectors in use (AVX512_BF16, or NEON with \
             BF16); with KSHOT_BF16=emulate in the environment they are computed without, slower than 32 \
             bits, to see what they cost in accuracy",
        )
    }
}

impl std::error::Error for NoBf16 {}

impl Precision {
    /// Whether this processor has it. NEON's instruction and emulated products are tested; AVX512_BF16's only
    /// where a processor has it.
    ///
    /// # Errors
    /// Of bf16 if the processor has no such products, and the environment does not say `KSHOT_BF16=emulate`.
    pub fn check(self) -> Result<(), NoBf16> {
        if self == Self::Bf16 && !can_multiply_pairs() { Err(NoBf16) } else { Ok(()) }
    }

    /// That of what is fitted or learns: never in half precision.
    #[must_use]
    pub fn in_32_bits(self) -> Self {
        if self.is_half() { Self::F32 } else { self }
    }

    /// Whether products are of 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, Self::Bf16 | Self::F16)
    }

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Precise => "precise",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Does some work with it on this thread; what was chosen before is again afterwards.
    ///
    /// ```
    /// use kshot_kernels::Precision;
    /// let inside = Precision::Precise.run(Precision::current);
    /// assert_eq!((inside, Precision::current()), (Precision::Precise, Precision::F32));
    /// ```
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        struct Again(Precision);
        impl Drop for Again {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _again = Again(CURRENT.replace(self));
        work()
    }

    /// That of the work at hand on this thread; [`F32`](Self::F32) outside any.
    pub fn current() -> Self {
        CURRENT.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_comes_back_after_a_panic_and_is_of_one_thread() {
        let panicked = std::panic::catch_unwind(|| Precision::Bf16.run(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(Precision::current(), Precision::F32);
        let elsewhere =
            Precision::Precise.run(|| std::thread::spawn(Precision::current).join().unwrap());
        assert_eq!(elsewhere, Precision::F32);
    }
}
