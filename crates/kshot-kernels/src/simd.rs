//! Vectors of floats, chosen at run time.
//!
//! A kernel is written once over [`Simd`]; [`dispatch`] runs it with the widest vectors that this
//! processor has. The values of [`Simd`]'s types are the proof that it has them.

use std::sync::OnceLock;

/// Vectors of [`Simd::LANES`] floats and what kernels do with them.
///
/// Every function is inlined into the caller, which [`dispatch`] compiles for the processor.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Floats of a vector.
    const LANES: usize;
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

    #[inline(always)]
    fn zero(self) -> Self::Vector {
        self.splat(0.0)
    }
}

/// A kernel over any vectors. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with this processor's vectors.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: this level is chosen only where the processor has both features.
        Level::Avx2 => unsafe { x86::with_avx2(kernel) },
        _ => kernel.run(Portable),
    }
}

/// Floats of the vectors that [`dispatch`] uses.
pub(crate) fn lanes() -> usize {
    // Both levels have eight; layouts ask here so that a wider one can follow.
    8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "of x86"))]
    Avx2,
}

/// What this processor has, or less where `KSHOT_KERNELS` says so. Asked once.
fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(std::env::var("KSHOT_KERNELS").ok().as_deref(), widest()))
}

fn widest() -> Level {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return Level::Avx2;
    }
    Level::Portable
}

/// # Panics
/// If the wish is no level's name, or one that the processor lacks: who forces a level wants no other.
fn choose(wish: Option<&str>, widest: Level) -> Level {
    match wish {
        None | Some("" | "auto") => widest,
        Some("portable") => Level::Portable,
        Some("avx2") if widest == Level::Avx2 => Level::Avx2,
        Some("avx2") => {
            panic!("KSHOT_KERNELS=avx2, but this processor lacks AVX2 or FMA; unset it")
        }
        Some(other) => {
            panic!("KSHOT_KERNELS={other}: valid are portable, avx2 and auto, or leave it unset")
        }
    }
}

/// Eight floats at a time, as the compiler sees fit.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Combines two vectors lane by lane.
#[inline(always)]
fn lanewise(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Simd for Portable {
    const LANES: usize = 8;
    type Vector = [f32; 8];

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; 8] {
        // SAFETY: eight floats by the caller's promise; no alignment is asked for.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: [f32; 8]) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(vector) }
    }

    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        lanewise(lanewise(a, b, |a, b| a * b), c, |a, b| a + b)
    }

    #[inline(always)]
    fn fnma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        lanewise(lanewise(a, b, |a, b| a * b), c, |a, b| b - a)
    }

    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn inside(self, x: [f32; 8], bounds: [[f32; 8]; 2], value: [f32; 8]) -> [f32; 8] {
        let [low, high] = bounds;
        std::array::from_fn(|i| if x[i] <= low[i] || x[i] >= high[i] { 0.0 } else { value[i] })
    }

    #[inline(always)]
    fn equal(self, a: [f32; 8], b: [f32; 8], value: [f32; 8]) -> [[f32; 8]; 2] {
        let here = |equal: bool| {
            std::array::from_fn(|i| if (a[i] == b[i]) == equal { value[i] } else { 0.0 })
        };
        [here(true), here(false)]
    }

    #[inline(always)]
    fn sum(self, v: [f32; 8]) -> f32 {
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: inside both squares, by the caller's promise.
                unsafe { *to.add(column * to_line + row) = *from.add(row * from_line + column) };
            }
        }
    }

    #[inline(always)]
    unsafe fn split(self, from: *const f32) -> [[f32; 8]; 2] {
        // SAFETY: sixteen floats by the caller's promise.
        let all = unsafe { from.cast::<[f32; 16]>().read_unaligned() };
        std::array::from_fn(|part| std::array::from_fn(|lane| all[2 * lane + part]))
    }

    #[inline(always)]
    unsafe fn join(self, to: *mut f32, parts: [[f32; 8]; 2]) {
        let all: [f32; 16] = std::array::from_fn(|index| parts[index % 2][index / 2]);
        // SAFETY: sixteen floats by the caller's promise.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(all) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Kernel, Simd};

    /// Proof of AVX2 and FMA: made in [`with_avx2`] only.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(());

    /// # Safety
    /// The processor has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    impl Simd for Avx2 {
        const LANES: usize = 8;
        type Vector = __m256;

        #[inline(always)]
        fn splat(self, value: f32) -> __m256 {
            // SAFETY: `self` proves the feature, here and below.
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> __m256 {
            // SAFETY: eight floats by the caller's promise.
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, vector: __m256) {
            // SAFETY: eight floats by the caller's promise.
            unsafe { _mm256_storeu_ps(to, vector) }
        }

        #[inline(always)]
        fn add(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_add_ps(a, b) }
        }

        #[inline(always)]
        fn sub(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_sub_ps(a, b) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn fnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_fnmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn max(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_max_ps(a, b) }
        }

        #[inline(always)]
        fn min(self, a: __m256, b: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe { _mm256_min_ps(a, b) }
        }

        #[inline(always)]
        fn inside(self, x: __m256, [low, high]: [__m256; 2], value: __m256) -> __m256 {
            // SAFETY: `self` proves the feature.
            unsafe {
                let above = _mm256_cmp_ps::<_CMP_NLE_UQ>(x, low);
                let below = _mm256_cmp_ps::<_CMP_NGE_UQ>(x, high);
                _mm256_and_ps(value, _mm256_and_ps(above, below))
            }
        }

        #[inline(always)]
        fn equal(self, a: __m256, b: __m256, value: __m256) -> [__m256; 2] {
            // SAFETY: `self` proves the feature.
            unsafe {
                let equal = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
                [_mm256_and_ps(equal, value), _mm256_andnot_ps(equal, value)]
            }
        }

        #[inline(always)]
        fn sum(self, v: __m256) -> f32 {
            // SAFETY: `self` proves the feature.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }

        #[inline(always)]
        unsafe fn transpose(
            self,
            from: *const f32,
            from_line: usize,
            to: *mut f32,
            to_line: usize,
        ) {
            // SAFETY: `self` proves the feature; all rows may be read and written, by the caller's
            // promise.
            unsafe {
                // Halves of rows i and i + 4 side by side: the rest stays inside 128 bits.
                let pair = |row: usize, half: usize| {
                    let low = _mm_loadu_ps(from.add(row * from_line + half));
                    let high = _mm_loadu_ps(from.add((row + 4) * from_line + half));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                };
                for half in [0, 4] {
                    let rows = [pair(0, half), pair(1, half), pair(2, half), pair(3, half)];
                    let a = _mm256_unpacklo_ps(rows[0], rows[1]);
                    let b = _mm256_unpackhi_ps(rows[0], rows[1]);
                    let c = _mm256_unpacklo_ps(rows[2], rows[3]);
                    let d = _mm256_unpackhi_ps(rows[2], rows[3]);
                    let to = to.add(half * to_line);
                    _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(a, c));
                    _mm256_storeu_ps(to.add(to_line), _mm256_shuffle_ps::<0xee>(a, c));
                    _mm256_storeu_ps(to.add(2 * to_line), _mm256_shuffle_ps::<0x44>(b, d));
                    _mm256_storeu_ps(to.add(3 * to_line), _mm256_shuffle_ps::<0xee>(b, d));
                }
            }
        }

        #[inline(always)]
        unsafe fn split(self, from: *const f32) -> [__m256; 2] {
            // SAFETY: `self` proves the feature; sixteen floats by the caller's promise.
            unsafe {
                let (low, high) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
                // Pairs of floats as 64 bits: 0 1 of each half, then put in order.
                let even = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(low, high));
                let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0xdd>(low, high));
                [
                    _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(even)),
                    _mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(odd)),
                ]
            }
        }

        #[inline(always)]
        unsafe fn join(self, to: *mut f32, [even, odd]: [__m256; 2]) {
            // SAFETY: `self` proves the feature; sixteen floats by the caller's promise.
            unsafe {
                let low = _mm256_unpacklo_ps(even, odd);
                let high = _mm256_unpackhi_ps(even, odd);
                _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to.add(8), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }
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
            let from: Vec<f32> = (0..lanes * 11).map(|i| i as f32).collect();
            let mut out = vec![0.0; lanes * 10];
            // SAFETY: lanes rows of lanes floats, 11 and 10 apart (lanes <= 10), and single vectors.
            unsafe {
                simd.transpose(from.as_ptr(), 11, out.as_mut_ptr(), 10);
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
                    simd.equal(a, simd.splat(5.0), b)[0],
                    simd.equal(a, simd.splat(5.0), b)[1],
                    simd.inside(a, [simd.splat(4.0), simd.splat(6.0)], b),
                ] {
                    simd.store(rest.as_mut_ptr(), vector);
                    out.extend_from_slice(&rest);
                }
            }
            out
        }
    }

    #[test]
    fn all_levels_do_the_same() {
        let portable = Check.run(Portable);
        assert_eq!(portable[10..13], [1.0, 12.0, 23.0]);
        assert_eq!(dispatch(Check), portable);
        assert_eq!(lanes(), 8);
    }

    #[test]
    fn a_level_can_be_forced() {
        assert_eq!(choose(None, Level::Avx2), Level::Avx2);
        assert_eq!(choose(Some("portable"), Level::Avx2), Level::Portable);
        assert_eq!(choose(Some("avx2"), Level::Avx2), Level::Avx2);
        assert!(std::panic::catch_unwind(|| choose(Some("avx2"), Level::Portable)).is_err());
        assert!(std::panic::catch_unwind(|| choose(Some("sse"), Level::Avx2)).is_err());
    }
}
