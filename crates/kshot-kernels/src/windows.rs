//! Windows of any size, stride and padding, and maximum pooling over them.

use rayon::prelude::*;

use crate::geometry::{Pads, Refused};
use crate::pool::{beats, larger};
use crate::scratch::{Scratch, fresh};
use crate::simd::{Kernel, Simd, dispatch};

/// Where the windows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: Pads,
    out: [usize; 2],
}

impl Windows {
    /// Windows of `kernel` pixels, `stride` apart, over planes of `size` with `pads` around them.
    /// With `ceil` a last window may reach beyond the padding.
    ///
    /// # Errors
    /// If an extent is zero, padding is as large as the window, or the window larger than the padded
    /// plane (with `ceil`, by a stride or more).
    pub fn new(
        size: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        pads: Pads,
        ceil: bool,
    ) -> Result<Self, Refused> {
        let refuse = |message: String| Err(Refused::new(message));
        if [size, kernel, stride].concat().contains(&0) {
            return refuse(format!(
                "an extent is zero: planes {size:?}, windows {kernel:?}, stride {stride:?}"
            ));
        }
        let mut out = [0; 2];
        for axis in 0..2 {
            let (before, after) = pads[axis];
            if before.max(after) >= kernel[axis] {
                return refuse(format!(
                    "padding {pads:?} is not smaller than windows of {kernel:?}"
                ));
            }
            let more = if ceil { stride[axis] - 1 } else { 0 };
            let padded = size[axis] + before + after + more;
            let Some(room) = padded.checked_sub(kernel[axis]) else {
                return refuse(format!("windows of {kernel:?} are larger than padded {size:?}"));
            };
            out[axis] = room / stride[axis] + 1;
            // The last window starts on the plane or the padding before it.
            if (out[axis] - 1) * stride[axis] >= size[axis] + before {
                out[axis] -= 1;
            }
        }
        Ok(Self { size, kernel, stride, pads, out })
    }

    /// Rows and columns of the planes.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Rows and columns of the result.
    pub fn out(&self) -> [usize; 2] {
        self.out
    }

    /// Pixels of a plane before and after.
    pub(crate) fn areas(&self) -> [usize; 2] {
        [self.size, self.out].map(|[rows, columns]| rows * columns)
    }

    /// The pixels along an axis that window `index` covers.
    pub(crate) fn covers(&self, axis: usize, index: usize) -> std::ops::Range<usize> {
        let start = index * self.stride[axis];
        let (before, size) = (self.pads[axis].0, self.size[axis]);
        start.saturating_sub(before)..(start + self.kernel[axis] - before).min(size)
    }

    /// The place of the first largest pixel under the window at row `y` and column `x`.
    #[inline]
    fn best(&self, image: &[f32], y: usize, x: usize) -> usize {
        let (width, rows, columns) = (self.size[1], self.covers(0, y), self.covers(1, x));
        let mut best = rows.start * width + columns.start;
        for row in rows {
            for at in row * width + columns.start..row * width + columns.end {
                if beats(image[at], image[best]) {
                    best = at;
                }
            }
        }
        best
    }

    /// How many pixels those are, the padding's too if asked for.
    pub(crate) fn counts(&self, axis: usize, index: usize, padding: bool) -> usize {
        if !padding {
            return self.covers(axis, index).len();
        }
        let (before, after) = self.pads[axis];
        let left = self.size[axis] + before + after - index * self.stride[axis];
        self.kernel[axis].min(left)
    }
}

/// Runs over planes, several at a time: from `areas[0]` floats each to `areas[1]`.
pub(crate) fn each_plane(
    images: &[f32],
    [area, pooled]: [usize; 2],
    run: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    assert!(images.len().is_multiple_of(area), "not a whole number of planes");
    fresh(images.len() / area * pooled, |result| {
        let planes = result.par_chunks_exact_mut(pooled).zip(images.par_chunks_exact(area));
        planes.with_min_len(4).for_each(|(result, image)| run(image, result));
    })
}

/// The way back, with the planes that the gradient is of.
pub(crate) fn each_plane_back(
    images: &[f32],
    gradient: &[f32],
    [area, pooled]: [usize; 2],
    run: impl Fn(&[f32], &[f32], &mut [f32]) + Sync,
) -> Vec<f32> {
    assert!(images.len().is_multiple_of(area), "images of another size");
    assert_eq!(gradient.len(), images.len() / area * pooled, "floats of the gradient");
    fresh(images.len(), |result| {
        let planes = images.par_chunks_exact(area).zip(gradient.par_chunks_exact(pooled));
        let planes = result.par_chunks_exact_mut(area).zip(planes);
        planes.with_min_len(4).for_each(|(result, (image, gradient))| run(image, gradient, result));
    })
}

/// The largest pixel of each window; padding never is.
///
/// # Shapes
/// `[planes, size.rows, size.columns]` to `[planes, out.rows, out.columns]`
///
/// # Panics
/// If `images` is not a whole number of planes.
pub fn max_pool_windows(windows: &Windows, images: &[f32]) -> Vec<f32> {
    each_plane(images, windows.areas(), |image, result| {
        dispatch(Pool { windows, image, result });
    })
}

/// The gradient of [`max_pool_windows`]: all of a window's goes to its first largest pixel.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn max_pool_windows_gradient(windows: &Windows, images: &[f32], gradient: &[f32]) -> Vec<f32> {
    each_plane_back(images, gradient, windows.areas(), |image, gradient, result| {
        spread(windows, image, gradient, result);
    })
}

/// The value of `planes` at each window's first largest pixel of `images`: the gradient of what
/// [`max_pool_windows_gradient`] does to the gradient it is given, which is unpooling.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn max_pool_windows_picked(windows: &Windows, images: &[f32], planes: &[f32]) -> Vec<f32> {
    let [area, pooled] = windows.areas();
    assert!(images.len().is_multiple_of(area), "images of another size");
    assert_eq!(planes.len(), images.len(), "floats of the planes");
    fresh(images.len() / area * pooled, |result| {
        let pairs = images.par_chunks_exact(area).zip(planes.par_chunks_exact(area));
        let all = result.par_chunks_exact_mut(pooled).zip(pairs);
        all.with_min_len(4).for_each(|(result, (image, plane))| {
            for (y, result) in result.chunks_exact_mut(windows.out[1]).enumerate() {
                for (x, result) in result.iter_mut().enumerate() {
                    *result = plane[windows.best(image, y, x)];
                }
            }
        });
    })
}

struct Pool<'a> {
    windows: &'a Windows,
    image: &'a [f32],
    result: &'a mut [f32],
}

impl Kernel for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { windows, image, result } = self;
        let width = windows.size[1];
        // The largest of each column under a row of windows.
        let mut columns = Scratch::take(width);
        for (y, result) in result.chunks_exact_mut(windows.out[1]).enumerate() {
            let mut rows = windows.covers(0, y).map(|row| &image[row * width..][..width]);
            if let Some(first) = rows.next() {
                columns.copy_from_slice(first);
            }
            for row in rows {
                for (column, value) in columns.iter_mut().zip(row) {
                    *column = larger(*column, *value);
                }
            }
            for (x, result) in result.iter_mut().enumerate() {
                let under = &columns[windows.covers(1, x)];
                *result = under[1..].iter().fold(under[0], |most, value| larger(most, *value));
            }
        }
    }
}

fn spread(windows: &Windows, image: &[f32], gradient: &[f32], result: &mut [f32]) {
    result.fill(0.0);
    for (y, gradient) in gradient.chunks_exact(windows.out[1]).enumerate() {
        for (x, gradient) in gradient.iter().enumerate() {
            result[windows.best(image, y, x)] += gradient;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let new = |size, kernel, stride, pad| {
            Windows::new(size, [kernel; 2], [stride; 2], [(pad, pad); 2], false)
        };
        assert!(new([4, 4], 3, 2, 1).is_ok());
        for (size, kernel, stride, pad) in [
            ([0, 4], 2, 2, 0),
            ([4, 4], 0, 1, 0),
            ([4, 4], 2, 0, 0),
            ([4, 4], 2, 1, 2),
            ([2, 4], 3, 1, 0),
        ] {
            assert!(new(size, kernel, stride, pad).is_err(), "{size:?} {kernel} {stride} {pad}");
        }
    }

    #[test]
    fn a_last_window_may_reach_beyond_the_plane() {
        let windows = Windows::new([3, 3], [2, 2], [2, 2], [(0, 0); 2], true).unwrap();
        let images: Vec<f32> = (1u8..=9).map(f32::from).collect();
        assert_eq!(windows.out(), [2, 2]);
        assert_eq!(max_pool_windows(&windows, &images), [5.0, 6.0, 8.0, 9.0]);
        let back = max_pool_windows_gradient(&windows, &images, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(back, [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0]);
        assert_eq!(max_pool_windows_picked(&windows, &images, &back), [1.0, 2.0, 3.0, 4.0]);
        let one = Windows::new([1, 3], [2, 2], [2, 2], [(0, 0); 2], true).unwrap();
        assert_eq!((one.out(), max_pool_windows(&one, &images[..3])), ([1, 2], vec![2.0, 3.0]));
    }
}
