//! AVX-512F: sixteen floats, thirty-two registers.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::format::{Format, FormatKernel};
use super::{Kernel, Simd};

/// Proof of AVX-512F: made in [`with_avx512`] and [`with_pairs`] only.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// # Safety
/// The processor has AVX-512F, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// Proof of AVX512_BF16: made in [`with_pairs`] only.
#[derive(Clone, Copy)]
pub(crate) struct Pairs(());

/// # Safety
/// The processor has AVX512_BF16, AVX-512F, AVX2 and FMA.
#[target_feature(enable = "avx512bf16,avx512f,avx2,fma")]
pub(super) unsafe fn with_pairs<K: FormatKernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()), Pairs(()))
}

impl Format<Avx512> for Pairs {
    const PRODUCTS: usize = 2;

    #[inline(always)]
    fn add(self, _: Avx512, left: __m512, right: __m512, sum: __m512) -> __m512 {
        // SAFETY: `self` proves the feature; all of these are 64 bytes of any bits.
        unsafe {
            let left = transmute::<__m512, __m512bh>(left);
            _mm512_dpbf16_ps(sum, left, transmute::<__m512, __m512bh>(right))
        }
    }
}

/// The bits of floats whose upper halves are rounded to bf16.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn rounded(v: __m512) -> __m512i {
    // SAFETY: by the caller's promise.
    unsafe {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
        let no_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        _mm512_mask_mov_epi32(_mm512_add_epi32(bits, half), no_number, quiet)
    }
}

/// Four floats of this row and of the fourth, eighth and twelfth after it side by side: what follows stays
/// inside 128 bits. No closure, which might be compiled without the vectors.
///
/// # Safety
/// The processor has AVX-512F; all of those floats may be read.
#[inline(always)]
unsafe fn quarters(from: *const f32, line: usize) -> __m512 {
    // SAFETY: by the caller's promise.
    unsafe {
        let all = _mm512_castps128_ps512(_mm_loadu_ps(from));
        let all = _mm512_insertf32x4::<1>(all, _mm_loadu_ps(from.add(4 * line)));
        let all = _mm512_insertf32x4::<2>(all, _mm_loadu_ps(from.add(8 * line)));
        _mm512_insertf32x4::<3>(all, _mm_loadu_ps(from.add(12 * line)))
    }
}

// In all of the functions below: SAFETY: `self` proves the feature; pointers reach as far as the caller
// promises.
impl Simd for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type Vector = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: see above, here and below.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, vector) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn fnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn inside(self, x: __m512, [low, high]: [__m512; 2], value: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, low);
            let below = _mm512_cmp_ps_mask::<_CMP_NGE_UQ>(x, high);
            _mm512_maskz_mov_ps(above & below, value)
        }
    }

    #[inline(always)]
    fn equal(self, a: __m512, b: __m512, value: __m512) -> [__m512; 2] {
        // SAFETY: see above.
        unsafe {
            let equal = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
            [_mm512_maskz_mov_ps(equal, value), _mm512_maskz_mov_ps(!equal, value)]
        }
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: see above.
        unsafe {
            // Halves on halves, as the portable code adds them.
            let eight = _mm512_add_ps(v, _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v));
            let four = _mm512_add_ps(eight, _mm512_shuffle_f32x4::<0b10_11_00_01>(eight, eight));
            let four = _mm512_castps512_ps128(four);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize) {
        // SAFETY: see above.
        unsafe {
            for column in [0, 4, 8, 12] {
                let rows = [
                    quarters(from.add(column), from_line),
                    quarters(from.add(from_line + column), from_line),
                    quarters(from.add(2 * from_line + column), from_line),
                    quarters(from.add(3 * from_line + column), from_line),
                ];
                let a = _mm512_unpacklo_ps(rows[0], rows[1]);
                let b = _mm512_unpackhi_ps(rows[0], rows[1]);
                let c = _mm512_unpacklo_ps(rows[2], rows[3]);
                let d = _mm512_unpackhi_ps(rows[2], rows[3]);
                let to = to.add(column * to_line);
                _mm512_storeu_ps(to, _mm512_shuffle_ps::<0x44>(a, c));
                _mm512_storeu_ps(to.add(to_line), _mm512_shuffle_ps::<0xee>(a, c));
                _mm512_storeu_ps(to.add(2 * to_line), _mm512_shuffle_ps::<0x44>(b, d));
                _mm512_storeu_ps(to.add(3 * to_line), _mm512_shuffle_ps::<0xee>(b, d));
            }
        }
    }

    #[inline(always)]
    unsafe fn split(self, from: *const f32) -> [__m512; 2] {
        // SAFETY: see above.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            [_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)]
        }
    }

    #[inline(always)]
    unsafe fn join(self, to: *mut f32, [even, odd]: [__m512; 2]) {
        // SAFETY: see above.
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
            _mm512_storeu_ps(to, _mm512_permutex2var_ps(even, low, odd));
            _mm512_storeu_ps(to.add(16), _mm512_permutex2var_ps(even, high, odd));
        }
    }

    #[inline(always)]
    fn halve(self, [low, high]: [__m512; 2]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let (low, high) = (rounded(low), rounded(high));
            let high = _mm512_and_si512(high, _mm512_set1_epi32(!0xffff));
            _mm512_castsi512_ps(_mm512_or_si512(_mm512_srli_epi32::<16>(low), high))
        }
    }

    #[inline(always)]
    fn widen(self, pairs: __m512) -> [__m512; 2] {
        // SAFETY: see above.
        unsafe {
            let bits = _mm512_castps_si512(pairs);
            [
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)),
                _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(!0xffff))),
            ]
        }
    }
}
