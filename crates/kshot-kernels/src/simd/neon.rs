//! NEON: four floats, thirty-two registers.

use std::arch::aarch64::*;

use super::Simd;
use super::format::{Format, FormatKernel};

/// Proof of NEON, which every processor of this architecture has that Rust's standard library runs on.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// Proof of NEON's products of bf16: made in [`with_pairs`] only.
#[derive(Clone, Copy)]
pub(crate) struct Pairs(());

/// # Safety
/// The processor has the feature `bf16`.
#[target_feature(enable = "neon,bf16")]
pub(super) unsafe fn with_pairs<K: FormatKernel>(kernel: K) -> K::Output {
    kernel.run(Neon, Pairs(()))
}

impl Format<Neon> for Pairs {
    const PRODUCTS: usize = 2;

    #[inline(always)]
    fn add(
        self,
        _: Neon,
        left: float32x4_t,
        right: float32x4_t,
        mut sum: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: `self` proves the feature; the instruction touches these registers alone. (Its intrinsic
        // is not stable yet.)
        unsafe {
            std::arch::asm!(
                ".arch_extension bf16",
                "bfdot {sum:v}.4s, {left:v}.8h, {right:v}.8h",
                sum = inout(vreg) sum,
                left = in(vreg) left,
                right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }
}

// In all of the functions below: SAFETY: the feature is there, as `Neon` says; pointers reach as far as
// the caller promises.
impl Simd for Neon {
    const LANES: usize = 4;
    const REGISTERS: usize = 32;
    type Vector = float32x4_t;

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: see above, here and below.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: float32x4_t) {
        // SAFETY: see above.
        unsafe { vst1q_f32(to, vector) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn fnma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vfmsq_f32(c, a, b) }
    }

    // The second where one is no number, as on other processors: NEON's own would be no number.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: see above.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn inside(
        self,
        x: float32x4_t,
        [low, high]: [float32x4_t; 2],
        value: float32x4_t,
    ) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let outside = vorrq_u32(vcleq_f32(x, low), vcgeq_f32(x, high));
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), outside))
        }
    }

    #[inline(always)]
    fn equal(self, a: float32x4_t, b: float32x4_t, value: float32x4_t) -> [float32x4_t; 2] {
        // SAFETY: see above.
        unsafe {
            let (equal, value) = (vceqq_f32(a, b), vreinterpretq_u32_f32(value));
            [vandq_u32(value, equal), vbicq_u32(value, equal)]
                .map(|part| vreinterpretq_f32_u32(part))
        }
    }

    #[inline(always)]
    fn sum(self, v: float32x4_t) -> f32 {
        // SAFETY: see above.
        unsafe {
            let two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize) {
        // SAFETY: see above.
        unsafe {
            let row = |index: usize| vld1q_f32(from.add(index * from_line));
            let rows = [row(0), row(1), row(2), row(3)];
            // Two rows as pairs: a column's two floats side by side.
            let pair = |a: float32x4_t, b: float32x4_t| {
                [vtrn1q_f32(a, b), vtrn2q_f32(a, b)].map(|pair| vreinterpretq_f64_f32(pair))
            };
            let (top, bottom) = (pair(rows[0], rows[1]), pair(rows[2], rows[3]));
            for column in 0..2 {
                let low = vtrn1q_f64(top[column], bottom[column]);
                let high = vtrn2q_f64(top[column], bottom[column]);
                vst1q_f32(to.add(column * to_line), vreinterpretq_f32_f64(low));
                vst1q_f32(to.add((column + 2) * to_line), vreinterpretq_f32_f64(high));
            }
        }
    }

    #[inline(always)]
    unsafe fn split(self, from: *const f32) -> [float32x4_t; 2] {
        // SAFETY: see above.
        unsafe {
            let (low, high) = (vld1q_f32(from), vld1q_f32(from.add(4)));
            [vuzp1q_f32(low, high), vuzp2q_f32(low, high)]
        }
    }

    #[inline(always)]
    unsafe fn join(self, to: *mut f32, [even, odd]: [float32x4_t; 2]) {
        // SAFETY: see above.
        unsafe {
            vst1q_f32(to, vzip1q_f32(even, odd));
            vst1q_f32(to.add(4), vzip2q_f32(even, odd));
        }
    }

    #[inline(always)]
    fn halve(self, parts: [float32x4_t; 2]) -> float32x4_t {
        // SAFETY: see above.
        unsafe {
            let [low, high] = parts.map(|v| {
                let bits = vreinterpretq_u32_f32(v);
                let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
                let rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
                let quiet = vorrq_u32(bits, vdupq_n_u32(0x40_0000));
                vbslq_u32(vceqq_f32(v, v), rounded, quiet)
            });
            let high = vandq_u32(high, vdupq_n_u32(!0xffff));
            vreinterpretq_f32_u32(vorrq_u32(vshrq_n_u32::<16>(low), high))
        }
    }

    #[inline(always)]
    fn widen(self, pairs: float32x4_t) -> [float32x4_t; 2] {
        // SAFETY: see above.
        unsafe {
            let bits = vreinterpretq_u32_f32(pairs);
            [vshlq_n_u32::<16>(bits), vandq_u32(bits, vdupq_n_u32(!0xffff))]
                .map(|bits| vreinterpretq_f32_u32(bits))
        }
    }
}
