//! Average pooling over windows of any size, stride and padding.

use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, dispatch};
use crate::windows::{Windows, each_plane};

/// The mean of each window; with `padding` its zeros count as pixels, else they do not count.
///
/// # Shapes
/// `[planes, size.rows, size.columns]` to `[planes, out.rows, out.columns]`
///
/// # Panics
/// If `images` is not a whole number of planes.
pub fn avg_pool(windows: &Windows, images: &[f32], padding: bool) -> Vec<f32> {
    let shares = Shares::new(windows, padding);
    each_plane(images, windows.areas(), |image, result| {
        dispatch(Average { shares: &shares, image, result });
    })
}

/// The gradient of [`avg_pool`]: each window's goes to its pixels in equal parts.
///
/// # Panics
/// If `gradient` is not a whole number of pooled planes.
pub fn avg_pool_gradient(windows: &Windows, gradient: &[f32], padding: bool) -> Vec<f32> {
    let shares = Shares::new(windows, padding);
    let [area, pooled] = windows.areas();
    each_plane(gradient, [pooled, area], |gradient, result| {
        dispatch(Spread { shares: &shares, gradient, result });
    })
}

/// Windows, and the part of a pixel in the mean of each: a row's times a column's.
struct Shares<'a> {
    windows: &'a Windows,
    parts: [Vec<f32>; 2],
}

impl<'a> Shares<'a> {
    fn new(windows: &'a Windows, padding: bool) -> Self {
        let part = |axis, index| 1.0 / windows.counts(axis, index, padding) as f32;
        let parts =
            [0, 1].map(|axis| (0..windows.out()[axis]).map(|index| part(axis, index)).collect());
        Self { windows, parts }
    }
}

struct Average<'a> {
    shares: &'a Shares<'a>,
    image: &'a [f32],
    result: &'a mut [f32],
}

impl Kernel for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Shares { windows, parts: [rows, columns] } = self.shares;
        let width = windows.size()[1];
        let results = self.result.chunks_exact_mut(windows.out()[1]);
        for ((y, result), part) in results.enumerate().zip(rows) {
            // The sum of each column under a row of windows.
            let mut sums = Scratch::zeros(width);
            for row in windows.covers(0, y) {
                let row = &self.image[row * width..][..width];
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            for ((x, result), share) in result.iter_mut().enumerate().zip(columns) {
                *result = sums[windows.covers(1, x)].iter().sum::<f32>() * (part * share);
            }
        }
    }
}

struct Spread<'a> {
    shares: &'a Shares<'a>,
    gradient: &'a [f32],
    result: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Shares { windows, parts: [rows, columns] } = self.shares;
        let width = windows.size()[1];
        self.result.fill(0.0);
        let gradients = self.gradient.chunks_exact(windows.out()[1]);
        for ((y, gradient), part) in gradients.enumerate().zip(rows) {
            // What each pixel of a column under a row of windows gets.
            let mut sums = Scratch::zeros(width);
            for ((x, gradient), share) in gradient.iter().enumerate().zip(columns) {
                let each = gradient * (part * share);
                sums[windows.covers(1, x)].iter_mut().for_each(|sum| *sum += each);
            }
            for row in windows.covers(0, y) {
                let row = &mut self.result[row * width..][..width];
                row.iter_mut().zip(&*sums).for_each(|(value, sum)| *value += sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_if_asked_for() {
        let windows = Windows::new([2, 3], [2, 2], [2, 2], [(1, 0), (0, 1)], false).unwrap();
        let images = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(windows.out(), [1, 2]);
        assert_eq!(avg_pool(&windows, &images, true), [0.75, 0.75]);
        assert_eq!(avg_pool(&windows, &images, false), [1.5, 3.0]);
        let back = avg_pool_gradient(&windows, &[4.0, 8.0], true);
        assert_eq!(back, [1.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
        let back = avg_pool_gradient(&windows, &[4.0, 8.0], false);
        assert_eq!(back, [2.0, 2.0, 8.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn one_window_gives_the_mean() {
        let whole = Windows::new([3, 2], [3, 2], [1, 1], [(0, 0); 2], false).unwrap();
        let images: Vec<f32> = (0u8..12).map(f32::from).collect();
        assert_eq!(avg_pool(&whole, &images, true), [2.5, 8.5]);
    }
}
