//! Code that any processor runs, in the layout of any.

use super::Simd;

/// `LANES` floats at a time, a power of two, as the compiler sees fit, in kernels made for so many
/// registers.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const LANES: usize, const REGISTERS: usize>;

/// Combines two vectors lane by lane.
#[inline(always)]
fn lanewise<const N: usize>(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl<const N: usize, const REGISTERS: usize> Simd for Portable<N, REGISTERS> {
    const LANES: usize = N;
    const REGISTERS: usize = REGISTERS;
    type Vector = [f32; N];

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; N] {
        [value; N]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; N] {
        // SAFETY: as many floats by the caller's promise; no alignment is asked for.
        unsafe { from.cast::<[f32; N]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, vector: [f32; N]) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; N]>().write_unaligned(vector) }
    }

    #[inline(always)]
    fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanewise(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanewise(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanewise(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn fma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        lanewise(lanewise(a, b, |a, b| a * b), c, |a, b| a + b)
    }

    #[inline(always)]
    fn fnma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        lanewise(lanewise(a, b, |a, b| a * b), c, |a, b| b - a)
    }

    #[inline(always)]
    fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanewise(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        lanewise(a, b, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn inside(self, x: [f32; N], bounds: [[f32; N]; 2], value: [f32; N]) -> [f32; N] {
        let [low, high] = bounds;
        std::array::from_fn(|i| if x[i] <= low[i] || x[i] >= high[i] { 0.0 } else { value[i] })
    }

    #[inline(always)]
    fn equal(self, a: [f32; N], b: [f32; N], value: [f32; N]) -> [[f32; N]; 2] {
        let here = |equal: bool| {
            std::array::from_fn(|i| if (a[i] == b[i]) == equal { value[i] } else { 0.0 })
        };
        [here(true), here(false)]
    }

    #[inline(always)]
    fn sum(self, mut v: [f32; N]) -> f32 {
        let mut half = N / 2;
        while half > 0 {
            for lane in 0..half {
                v[lane] += v[lane + half];
            }
            half /= 2;
        }
        v[0]
    }

    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_line: usize, to: *mut f32, to_line: usize) {
        for row in 0..N {
            for column in 0..N {
                // SAFETY: inside both squares, by the caller's promise.
                unsafe { *to.add(column * to_line + row) = *from.add(row * from_line + column) };
            }
        }
    }

    #[inline(always)]
    unsafe fn split(self, from: *const f32) -> [[f32; N]; 2] {
        // SAFETY: twice as many floats by the caller's promise.
        let at = |part: usize, lane: usize| unsafe { *from.add(2 * lane + part) };
        std::array::from_fn(|part| std::array::from_fn(|lane| at(part, lane)))
    }

    #[inline(always)]
    unsafe fn join(self, to: *mut f32, parts: [[f32; N]; 2]) {
        for (part, values) in parts.into_iter().enumerate() {
            for (lane, value) in values.into_iter().enumerate() {
                // SAFETY: twice as many floats by the caller's promise.
                unsafe { *to.add(2 * lane + part) = value };
            }
        }
    }

    #[inline(always)]
    fn halve(self, [low, high]: [[f32; N]; 2]) -> [f32; N] {
        std::array::from_fn(|lane| pair([low[lane], high[lane]]))
    }

    #[inline(always)]
    fn widen(self, pairs: [f32; N]) -> [[f32; N]; 2] {
        let bits = pairs.map(f32::to_bits);
        [
            bits.map(|bits| f32::from_bits(bits << 16)),
            bits.map(|bits| f32::from_bits(bits & !0xffff)),
        ]
    }
}

/// One lane of [`Simd::halve`].
#[inline(always)]
pub(crate) fn pair(parts: [f32; 2]) -> f32 {
    let [low, high] = parts.map(|value| {
        let bits = value.to_bits();
        if value.is_nan() { bits | 0x40_0000 } else { bits + 0x7fff + (bits >> 16 & 1) }
    });
    f32::from_bits(low >> 16 | high & !0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_to_the_nearest_and_ties_to_even() {
        // One unit in the last of eight places of numbers from 1 on is 1/128.
        for (value, expected) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0),
            (1.0 + 1.01 / 256.0, 1.0 + 1.0 / 128.0),
            (-3.139_7, -3.140_625),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (-0.0, -0.0),
        ] {
            let simd = Portable::<1, 16>;
            let [low, high] = simd.widen(simd.halve([[value], [1.5]]));
            assert_eq!((low[0].to_bits(), high), (f32::to_bits(expected), [1.5]), "{value}");
            let [low, high] = simd.widen(simd.halve([[f32::from_bits(0xffff_ffff)], [value]]));
            assert!(low[0].is_nan());
            assert_eq!(high[0].to_bits(), f32::to_bits(expected), "{value}");
        }
    }
}
