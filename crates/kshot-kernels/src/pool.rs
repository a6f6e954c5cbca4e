//! Maximum pooling over windows of 2x2 pixels, two apart.

use crate::simd::{Kernel, Simd, dispatch};
use crate::windows::{each_plane, each_plane_back};

/// The largest pixel of each window of 2x2; an odd last row or column is left out.
///
/// # Shapes
/// `[planes, height, width]` to `[planes, height / 2, width / 2]`
///
/// # Panics
/// If `images` is not a whole number of planes, or a side is smaller than two pixels.
pub fn max_pool(images: &[f32], size: [usize; 2]) -> Vec<f32> {
    each_plane(images, areas(size), |image, result| {
        dispatch(Pool { image, width: size[1], result });
    })
}

/// The gradient of [`max_pool`]: all of a window's goes to its first largest pixel, or to one of them
/// where a pixel is no number.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn max_pool_gradient(images: &[f32], gradient: &[f32], size: [usize; 2]) -> Vec<f32> {
    each_plane_back(images, gradient, areas(size), |image, gradient, result| {
        dispatch(Spread { image, gradient, width: size[1], result });
    })
}

/// Pixels of a plane before and after.
fn areas(size: [usize; 2]) -> [usize; 2] {
    assert!(size[0] >= 2 && size[1] >= 2, "a side of {size:?} is smaller than the window's two");
    [size[0] * size[1], (size[0] / 2) * (size[1] / 2)]
}

/// Whether `b` takes the place of `a`: it is larger, or no number.
#[inline(always)]
pub(crate) fn beats(b: f32, a: f32) -> bool {
    b > a || b.is_nan()
}

#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if beats(b, a) { b } else { a }
}

struct Pool<'a> {
    image: &'a [f32],
    width: usize,
    result: &'a mut [f32],
}

impl Kernel for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let rows = self.image.chunks_exact(2 * self.width);
        for (result, rows) in self.result.chunks_exact_mut(self.width / 2).zip(rows) {
            let (top, bottom) = rows.split_at(self.width);
            let windows = top.chunks_exact(2).zip(bottom.chunks_exact(2));
            for (result, (top, bottom)) in result.iter_mut().zip(windows) {
                *result = larger(larger(larger(top[0], top[1]), bottom[0]), bottom[1]);
            }
        }
    }
}

struct Spread<'a> {
    image: &'a [f32],
    gradient: &'a [f32],
    width: usize,
    result: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.width;
        let pooled = width / 2;
        let rows = self.image.chunks_exact(2 * width).zip(self.gradient.chunks_exact(pooled));
        let mut results = self.result.chunks_exact_mut(2 * width);
        for ((image, gradient), result) in rows.zip(&mut results) {
            let (top, bottom) = image.split_at(width);
            let (out_top, out_bottom) = result.split_at_mut(width);
            let whole = pooled / S::LANES * S::LANES;
            for at in (0..whole).step_by(S::LANES) {
                // SAFETY: a vector of windows is left in every row.
                unsafe {
                    let [first, second] = simd.split(top.as_ptr().add(2 * at));
                    let [third, fourth] = simd.split(bottom.as_ptr().add(2 * at));
                    let most = simd.max(simd.max(first, second), simd.max(third, fourth));
                    let gradient = simd.load(gradient.as_ptr().add(at));
                    // Each takes what those before it have left.
                    let [first, left] = simd.equal(first, most, gradient);
                    let [second, left] = simd.equal(second, most, left);
                    let [third, fourth] = simd.equal(third, most, left);
                    simd.join(out_top.as_mut_ptr().add(2 * at), [first, second]);
                    simd.join(out_bottom.as_mut_ptr().add(2 * at), [third, fourth]);
                }
            }
            let windows = top.chunks_exact(2).zip(bottom.chunks_exact(2));
            let outs = out_top.chunks_exact_mut(2).zip(out_bottom.chunks_exact_mut(2));
            for ((gradient, (top, bottom)), (out_top, out_bottom)) in
                gradient.iter().zip(windows).zip(outs).skip(whole)
            {
                let second = beats(top[1], top[0]);
                let best = larger(top[0], top[1]);
                let third = beats(bottom[0], best);
                let best = larger(best, bottom[0]);
                let fourth = beats(bottom[1], best);
                let gets = |wins: bool| if wins { *gradient } else { 0.0 };
                out_top[0] = gets(!second && !third && !fourth);
                out_top[1] = gets(second && !third && !fourth);
                out_bottom[0] = gets(third && !fourth);
                out_bottom[1] = gets(fourth);
            }
            if width % 2 == 1 {
                out_top[width - 1] = 0.0;
                out_bottom[width - 1] = 0.0;
            }
        }
        results.into_remainder().fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_largest_pixel_gets_the_gradient() {
        let images = [
            [1.0, 5.0, 2.0, 2.0, 9.0],
            [3.0, 4.0, 2.0, 2.0, 9.0],
            [-1.0, -2.0, 0.0, 1.0, 9.0],
            [-3.0, -0.5, 7.0, f32::NAN, 9.0],
            [9.0, 9.0, 9.0, 9.0, 9.0],
        ]
        .concat();
        let pooled = max_pool(&images, [5, 5]);
        assert_eq!(pooled[..3], [5.0, 2.0, -0.5]);
        assert!(pooled[3].is_nan());
        let gradient = max_pool_gradient(&images, &[1.0, 2.0, 3.0, 4.0], [5, 5]);
        let mut expected = [0.0; 25];
        (expected[1], expected[2], expected[16], expected[18]) = (1.0, 2.0, 3.0, 4.0);
        assert_eq!(gradient, expected);
    }

    #[test]
    fn many_planes_of_any_size() {
        for size in [[2, 2], [7, 6], [28, 29], [3, 40]] {
            let images: Vec<f32> =
                (0..20 * size[0] * size[1]).map(|i| ((i * 7919) % 1013) as f32).collect();
            let pooled = max_pool(&images, size);
            let spread = max_pool_gradient(&images, &pooled, size);
            // With many equal ones, and one window after the other for comparison.
            let few: Vec<f32> = images.iter().map(|value| value % 3.0).collect();
            let factors: Vec<f32> = (0..pooled.len()).map(|i| i as f32 + 1.0).collect();
            let spread_few = max_pool_gradient(&few, &factors, size);
            for (index, factor) in factors.iter().enumerate() {
                let [height, width] = size.map(|side| side / 2);
                let (plane, y, x) =
                    (index / (height * width), index / width % height, index % width);
                let at = |i: usize| (plane * size[0] + 2 * y + i / 2) * size[1] + 2 * x + i % 2;
                let best = (0..4).rev().max_by(|a, b| few[at(*a)].total_cmp(&few[at(*b)]));
                for i in 0..4 {
                    let expected = if Some(i) == best { *factor } else { 0.0 };
                    assert_eq!(spread_few[at(i)], expected);
                }
            }
            let largest: f64 = pooled.iter().map(|value| f64::from(*value)).sum();
            let kept: f64 = spread.iter().map(|value| f64::from(*value)).sum();
            assert_eq!(largest, kept);
            assert!(spread.iter().zip(&images).all(|(a, b)| *a == 0.0 || a == b));
        }
    }
}
