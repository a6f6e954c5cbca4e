//! Vectors of floats, chosen at run time.
//!
//! A kernel is written once over [`Simd`]; [`dispatch`] runs it with the widest vectors that this
//! processor has. The values of [`Simd`]'s types are the proof that it has them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod format;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::OnceLock;

use portable::Portable;
pub(crate) use portable::pair;

/// Vectors of [`Simd::LANES`] floats and what kernels do with them.
///
/// Every function is inlined into the caller, which [`dispatch`] compiles for the processor.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Floats of a vector.
    const LANES: usize;
    /// Vectors that fit into registers: 16 or 32.
    const REGISTERS: usize;
    type Vector: Copy;

    fn splat(self, value: f32) -> Self::Vector;
    /// # Safety
    /// `from` points to `LANES` floats.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// `to` points to `LANES` floats that may be written.
    unsafe fn store(self, to: *mut f32, vector: Self::Vector);
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once where the processor can.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `c - a * b`.
    fn fnma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger; `b` where one is no number, as with [`Simd::min`].
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `value` where `low < x < high` or `x` is no number, zero elsewhere.
    fn inside(
        self,
        x: Self::Vector,
        bounds: [Self::Vector; 2],
        value: Self::Vector,
    ) -> Self::Vector;
    /// `value` where `a` equals `b`, and `value` where it does not; zero elsewhere.
    fn equal(self, a: Self::Vector, b: Self::Vector, value: Self::Vector) -> [Self::Vector; 2];
    /// The sum of a vector's floats, in a fixed order.
    fn sum(self, vector: Self::Vector) -> f32;
    /// Row `i` of a square of `LANES` rows, `from_line` floats apart, becomes column `i` of rows which
    /// are `to_line` floats apart.
    ///
    /// # Safety
    /// All of those floats may be read and written; the squares do not overlap.
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize);

    /// The even and the odd of `2 * LANES` floats.
    ///
    /// # Safety
    /// `from` points to that many.
    unsafe fn split(self, from: *const f32) -> [Self::Vector; 2];
    /// The reverse of [`Simd::split`].
    ///
    /// # Safety
    /// `to` points to `2 * LANES` floats that may be written.
    unsafe fn join(self, to: *mut f32, parts: [Self::Vector; 2]);

    /// Two vectors rounded to bf16, to the nearest and to even between two; what is no number stays so. Their
    /// lanes lie side by side as bits: the first's in the lower halves.
    fn halve(self, parts: [Self::Vector; 2]) -> Self::Vector;
    /// The reverse of [`Simd::halve`], without its rounding.
    fn widen(self, pairs: Self::Vector) -> [Self::Vector; 2];

    /// `x` inside the bounds; what is no number stays so, since `max` and `min` then give their second
    /// operand.
    #[inline(always)]
    fn clamp(self, x: Self::Vector, [low, high]: [Self::Vector; 2]) -> Self::Vector {
        self.min(high, self.max(low, x))
    }

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }
}

/// Floats of the widest vector: buffers are made for it.
pub(crate) const WIDEST: usize = 16;

/// A kernel over any vectors. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with this processor's vectors.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    level().run(kernel)
}

/// Floats of the vectors that [`dispatch`] uses.
pub(crate) fn lanes() -> usize {
    level().extents()[0]
}

/// [`Simd::REGISTERS`] of the vectors that [`dispatch`] uses.
pub(crate) fn registers() -> usize {
    level().extents()[1]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    /// Portable code in the layout of NEON and of AVX-512: so that any processor can test them.
    Portable4,
    Portable16,
    Avx2,
    Avx512,
    Neon,
}

impl Level {
    /// Runs a kernel with this level's vectors: levels are made by [`choose`], from what is [`here`].
    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level is there only where the processor has the features.
            Self::Avx512 => unsafe { avx512::with_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { avx2::with_avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run(neon::Neon),
            Self::Portable4 => kernel.run(Portable::<4, 32>),
            Self::Portable16 => kernel.run(Portable::<16, 32>),
            _ => kernel.run(Portable::<8, 16>),
        }
    }

    const ALL: [(&'static str, Self); 6] = [
        ("portable", Self::Portable),
        ("portable4", Self::Portable4),
        ("portable16", Self::Portable16),
        ("avx2", Self::Avx2),
        ("avx512", Self::Avx512),
        ("neon", Self::Neon),
    ];

    /// Lanes and registers.
    fn extents(self) -> [usize; 2] {
        match self {
            Self::Portable | Self::Avx2 => [8, 16],
            Self::Portable4 | Self::Neon => [4, 32],
            Self::Portable16 | Self::Avx512 => [16, 32],
        }
    }
}

/// What this processor has, or less where `KSHOT_KERNELS` says so. Asked once.
fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(std::env::var("KSHOT_KERNELS").ok().as_deref(), &here()))
}

/// The levels that this processor has, the best one last.
fn here() -> Vec<Level> {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(unused_mut, reason = "of other processors")
    )]
    let mut levels = vec![Level::Portable4, Level::Portable16, Level::Portable];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        levels.push(Level::Avx2);
        if is_x86_feature_detected!("avx512f") {
            levels.push(Level::Avx512);
        }
    }
    #[cfg(target_arch = "aarch64")]
    levels.push(Level::Neon);
    levels
}

/// # Panics
/// If the wish is no level's name, or one that the processor lacks: who forces a level wants no other.
fn choose(wish: Option<&str>, here: &[Level]) -> Level {
    let wish = match wish {
        None | Some("" | "auto") => return *here.last().expect("code that any processor runs"),
        Some(wish) => wish,
    };
    let found = Level::ALL.iter().find(|(name, level)| *name == wish && here.contains(level));
    found.map(|(_, level)| *level).unwrap_or_else(|| {
        let valid = Level::ALL.iter().filter(|(_, level)| here.contains(level));
        let valid: Vec<_> = valid.map(|(name, _)| *name).collect();
        panic!(
            "KSHOT_KERNELS={wish}: this processor has {} (or auto, or leave it unset)",
            valid.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check;

    impl Kernel for Check {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> Vec<f32> {
            let lanes = S::LANES;
            let lines = [lanes + 3, lanes + 2];
            let from: Vec<f32> = (0..lanes * lines[0]).map(|i| i as f32).collect();
            let mut out = vec![0.0; lanes * lines[1]];
            // SAFETY: squares of lanes rows in these lines, and single vectors.
            unsafe {
                simd.transpose(from.as_ptr(), lines[0], out.as_mut_ptr(), lines[1]);
                let (a, b) = (simd.load(from.as_ptr().add(3)), simd.splat(2.0));
                let mut rest = vec![0.0; lanes];
                let [even, odd] = simd.split(from.as_ptr().add(1));
                let mut joined = vec![0.0; 2 * lanes];
                simd.join(joined.as_mut_ptr(), [even, odd]);
                assert_eq!(joined, from[1..1 + 2 * lanes]);
                for vector in [
                    simd.fma(a, b, b),
                    simd.fnma(a, b, b),
                    simd.sub(simd.mul(a, a), simd.add(a, b)),
                    simd.max(a, simd.splat(5.0)),
                    simd.min(a, simd.splat(5.0)),
                    simd.splat(simd.sum(a)),
                    even,
                    odd,
                    simd.max(a, simd.splat(f32::NAN)),
                    simd.min(simd.splat(f32::NAN), a),
                    simd.clamp(simd.splat(f32::NAN), [b, a]),
                    simd.clamp(a, [simd.splat(4.0), simd.splat(6.0)]),
                    simd.inside(simd.splat(f32::NAN), [b, a], a),
                    simd.equal(a, simd.splat(5.0), b)[0],
                    simd.equal(a, simd.splat(5.0), b)[1],
                    simd.inside(a, [simd.splat(4.0), simd.splat(6.0)], b),
                    simd.halve([simd.mul(a, simd.splat(1.1)), simd.mul(a, simd.splat(-7e-3))]),
                    simd.halve([simd.splat(f32::from_bits(u32::MAX)), a]),
                    simd.widen(simd.mul(a, simd.splat(1.1)))[0],
                    simd.widen(simd.mul(a, simd.splat(1.1)))[1],
                ] {
                    simd.store(rest.as_mut_ptr(), vector);
                    out.extend_from_slice(&rest);
                }
            }
            out
        }
    }

    struct Extents;

    impl Kernel for Extents {
        type Output = [usize; 2];

        #[inline(always)]
        fn run<S: Simd>(self, _: S) -> [usize; 2] {
            const { assert!(S::LANES <= WIDEST && S::LANES.is_power_of_two()) };
            [S::LANES, S::REGISTERS]
        }
    }

    #[test]
    fn all_levels_do_the_same() {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        for level in here() {
            // Layouts are made for the extents that the level's name says.
            assert_eq!(level.run(Extents), level.extents());
            let portable = match level.extents()[0] {
                4 => Level::Portable4,
                8 => Level::Portable,
                _ => Level::Portable16,
            };
            assert_eq!(bits(level.run(Check)), bits(portable.run(Check)), "{level:?}");
        }
        assert_eq!(Level::Portable.run(Check)[10..13], [1.0, 12.0, 23.0]);
    }

    #[test]
    fn a_level_can_be_forced() {
        let here = [Level::Portable, Level::Avx2];
        assert_eq!(choose(None, &here), Level::Avx2);
        assert_eq!(choose(Some("auto"), &here), Level::Avx2);
        assert_eq!(choose(Some("portable"), &here), Level::Portable);
        assert_eq!(choose(Some("avx2"), &here), Level::Avx2);
        for wrong in ["avx512", "sse"] {
            assert!(std::panic::catch_unwind(|| choose(Some(wrong), &here)).is_err());
        }
    }
}
