//! AVX2 with FMA: eight floats, sixteen registers.

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

/// The bits of floats whose upper halves are rounded to bf16.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn rounded(v: __m256) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_castsi256_ps(_mm256_add_epi32(bits, half));
        let quiet = _mm256_or_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(0x40_0000)));
        let no_number = _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v);
        _mm256_castps_si256(_mm256_blendv_ps(rounded, quiet, no_number))
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
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
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize) {
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

    #[inline(always)]
    fn halve(self, [low, high]: [__m256; 2]) -> __m256 {
        // SAFETY: `self` proves the feature.
        unsafe {
            let (low, high) = (rounded(low), rounded(high));
            let high = _mm256_and_si256(high, _mm256_set1_epi32(!0xffff));
            _mm256_castsi256_ps(_mm256_or_si256(_mm256_srli_epi32::<16>(low), high))
        }
    }

    #[inline(always)]
    fn widen(self, pairs: __m256) -> [__m256; 2] {
        // SAFETY: `self` proves the feature.
        unsafe {
            let bits = _mm256_castps_si256(pairs);
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)),
                _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(!0xffff))),
            ]
        }
    }
}
