//! The input gradient where a group has few channels, as in a first layer: products for every tap, which
//! are then added to the pixels that the tap sees. Each channel of a picture is one task.

use rayon::prelude::*;

use crate::dense::{Matrix, multiply};
use crate::geometry::Geometry;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, dispatch};

/// Channels of a group below which a product by channels would be too flat.
const CHANNELS: usize = 8;
/// Floats of a block's products.
const FLOATS: usize = 50_000;

/// Whether this is the quicker way.
pub(crate) fn fits(geometry: &Geometry) -> bool {
    geometry.group_channels()[0] < CHANNELS && geometry.taps() > 1
}

/// The gradient with respect to the images.
pub(crate) fn input_gradient(
    geometry: &Geometry,
    gradient: &[f32],
    weight: &[f32],
    result: &mut [f32],
) {
    geometry.check(result.len(), weight.len(), gradient.len());
    let ([inside, outputs], taps) = (geometry.group_channels(), geometry.taps());
    let area = geometry.area_out();
    // Whole rows, so that a block is a grid of places as well.
    let rows = (FLOATS / (taps * geometry.out()[1])).clamp(1, geometry.out()[0]);
    result.par_chunks_exact_mut(geometry.area_in()).enumerate().for_each(|(plane, out)| {
        let [all, _] = geometry.channels();
        let (picture, group, input) = (plane / all, plane % all / inside, plane % inside);
        out.fill(0.0);
        let kernels = &weight[(group * outputs * inside + input) * taps..];
        let left = Matrix { values: kernels, steps: [1, inside * taps] };
        let places = (picture * geometry.channels()[1] + group * outputs) * area;
        let mut product = Scratch::take(taps * rows * geometry.out()[1]);
        for first in (0..geometry.out()[0]).step_by(rows) {
            let count = rows.min(geometry.out()[0] - first) * geometry.out()[1];
            let values = &gradient[places..places + outputs * area][first * geometry.out()[1]..];
            let right = Matrix { values, steps: [area, 1] };
            let product = &mut product[..taps * count];
            multiply([taps, outputs, count], left, right, product, count, false);
            dispatch(Add { geometry, product, first, out });
        }
    });
}

/// Adds the products of rows from `first` on to one plane.
struct Add<'a> {
    geometry: &'a Geometry,
    /// `[taps, rows, columns]`
    product: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (geometry, [_, columns]) = (self.geometry, self.geometry.out());
        let ([height, width], stride) = (geometry.size(), geometry.stride());
        let count = self.product.len() / geometry.taps();
        for (tap, lines) in self.product.chunks_exact(count).enumerate() {
            let tap = [tap / geometry.kernel()[1], tap % geometry.kernel()[1]];
            let away: [isize; 2] = std::array::from_fn(|axis| {
                (tap[axis] * geometry.dilation()[axis]) as isize - geometry.pads()[axis].0 as isize
            });
            // Places from which on a tap lies inside, and beyond the plane.
            let step = stride[1] as isize;
            let from = |pixel: usize| {
                let place = (pixel as isize - away[1] + step - 1).div_euclid(step);
                place.clamp(0, columns as isize) as usize
            };
            let (start, end) = (from(0), from(width));
            for (y, line) in lines.chunks_exact(columns).enumerate() {
                let row = ((self.first + y) * stride[0]) as isize + away[0];
                if !(0..height as isize).contains(&row) || start >= end {
                    continue;
                }
                let column = (start as isize * step + away[1]) as usize;
                let out = &mut self.out[row as usize * width..][..width][column..];
                let line = &line[start..end];
                let mut done = 0;
                if step == 1 {
                    let out = &mut out[..line.len()];
                    while done + S::LANES <= line.len() {
                        // SAFETY: a vector of both is left.
                        unsafe {
                            let to = out.as_mut_ptr().add(done);
                            let sum = simd.add(simd.load(to), simd.load(line.as_ptr().add(done)));
                            simd.store(to, sum);
                        }
                        done += S::LANES;
                    }
                }
                let pixels = out.iter_mut().step_by(stride[1]).zip(line);
                pixels.skip(done).for_each(|(pixel, value)| *pixel += value);
            }
        }
    }
}
