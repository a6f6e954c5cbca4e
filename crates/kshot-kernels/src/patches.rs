//! The pixels that a kernel sees, gathered for one block of places at a time.

use std::ops::Range;

use crate::simd::{Kernel, Simd, dispatch};

/// Places on a grid, each of which sees the same taps around it.
///
/// A convolution is one such view of its images. Its input gradient is one of the result's gradient
/// for every phase of the stride: of the pixels whose place leaves the same remainder.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Height and width of the planes read.
    pub(crate) size: [usize; 2],
    /// Rows and columns of places.
    pub(crate) grid: [usize; 2],
    /// Pixels from place to place.
    pub(crate) step: [usize; 2],
    /// Where the taps lie, from the first place. What is outside the plane is zero.
    pub(crate) taps: Vec<[isize; 2]>,
}

/// Channels of a batch in memory: `[batch, all channels, height, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a> {
    pub(crate) values: &'a [f32],
    /// Channels of a picture.
    pub(crate) all: usize,
    /// Those which are read.
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// Neighbouring places of one row which see neighbouring pixels, for one tap.
struct Run {
    /// In the block.
    place: usize,
    /// Places that look left of the plane, then those inside, then those to the right.
    extents: [usize; 3],
    /// Offset of the first pixel from the channel's plane in the first picture.
    pixel: usize,
}

impl View {
    /// Places of one picture.
    pub(crate) fn area(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Whether the patches are the planes themselves.
    pub(crate) fn is_identity(&self) -> bool {
        self.grid == self.size && self.step == [1, 1] && self.taps == [[0, 0]]
    }

    /// Writes `[channels * taps, places]` for those places of a batch, picture after picture.
    pub(crate) fn gather(&self, planes: &Planes, places: Range<usize>, patches: &mut [f32]) {
        dispatch(Gather { view: self, planes, places, patches });
    }

    #[inline(always)]
    fn gather_with<S: Simd>(
        &self,
        simd: S,
        planes: &Planes,
        places: Range<usize>,
        patches: &mut [f32],
    ) {
        let count = places.len();
        let area = self.size[0] * self.size[1];
        assert_eq!(patches.len(), planes.count * self.taps.len() * count);
        let mut runs = Vec::with_capacity(count / self.grid[1] + 2);
        for (index, tap) in self.taps.iter().enumerate() {
            self.runs(planes, &places, *tap, &mut runs);
            for channel in 0..planes.count {
                let line = (channel * self.taps.len() + index) * count;
                let line = &mut patches[line..line + count];
                let plane = &planes.values[(planes.first + channel) * area..];
                for run in &runs {
                    let [left, inside, right] = run.extents;
                    let out = &mut line[run.place..run.place + left + inside + right];
                    out[..left].fill(0.0);
                    out[left + inside..].fill(0.0);
                    let out = &mut out[left..left + inside];
                    if inside == 0 {
                        continue;
                    }
                    let pixels = &plane[run.pixel..];
                    match self.step[1] {
                        1 => copy_row(simd, &pixels[..inside], out),
                        2 => copy_every_second(simd, pixels, out),
                        step => {
                            let pixels = pixels.iter().step_by(step);
                            out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = *pixel);
                        }
                    }
                }
            }
        }
    }

    fn runs(&self, planes: &Planes, places: &Range<usize>, tap: [isize; 2], runs: &mut Vec<Run>) {
        let [height, width] = self.size;
        let columns = self.grid[1];
        let step = self.step[1] as isize;
        runs.clear();
        let mut place = places.start;
        while place < places.end {
            let (picture, within) = (place / self.area(), place % self.area());
            let (y, x) = (within / columns, within % columns);
            let length = (columns - x).min(places.end - place);
            let row = (y * self.step[0]) as isize + tap[0];
            let mut run = Run { place: place - places.start, extents: [length, 0, 0], pixel: 0 };
            if (0..height as isize).contains(&row) {
                // Columns from which on a place lies inside, and beyond the plane.
                let from =
                    |pixel: isize| (pixel - tap[1] + step - 1).div_euclid(step).max(0) as usize;
                let start = from(0).clamp(x, x + length);
                let end = from(width as isize).clamp(start, x + length);
                run.extents = [start - x, end - start, x + length - end];
                let column = start as isize * step + tap[1];
                if end > start {
                    let plane = picture * planes.all * height * width;
                    run.pixel = plane + row as usize * width + column as usize;
                }
            }
            runs.push(run);
            place += length;
        }
    }
}

struct Gather<'a> {
    view: &'a View,
    planes: &'a Planes<'a>,
    places: Range<usize>,
    patches: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.view.gather_with(simd, self.planes, self.places, self.patches);
    }
}

/// Copies a row, short ones without a call.
#[inline(always)]
pub(crate) fn copy_row<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let count = to.len();
    assert!(from.len() == count);
    if count < S::LANES {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        return;
    }
    for vector in 0..count.div_ceil(S::LANES) {
        // The last vector ends with the row and may repeat some floats.
        let at = (vector * S::LANES).min(count - S::LANES);
        // SAFETY: a whole vector from `at` on lies inside both.
        unsafe { simd.store(to.as_mut_ptr().add(at), simd.load(from.as_ptr().add(at))) };
    }
}

/// Copies pixels 0, 2, 4 and so on.
#[inline(always)]
fn copy_every_second<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let mut done = 0;
    while done + S::LANES <= to.len() && 2 * (done + S::LANES) <= from.len() {
        // SAFETY: two vectors of the one and one of the other are left, by the conditions.
        unsafe {
            let [even, _] = simd.split(from.as_ptr().add(2 * done));
            simd.store(to.as_mut_ptr().add(done), even);
        }
        done += S::LANES;
    }
    for (index, to) in to.iter_mut().enumerate().skip(done) {
        *to = from[2 * index];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_what_the_taps_see() {
        let (batch, all, size) = (3, 4, [5, 4]);
        let values: Vec<f32> = (0..batch * all * 20).map(|i| i as f32 + 1.0).collect();
        let planes = Planes { values: &values, all, first: 1, count: 2 };
        for (grid, step) in [([3, 2], [2, 3]), ([6, 7], [1, 1]), ([1, 1], [1, 2])] {
            let view = View { size, grid, step, taps: vec![[0, 0], [-1, 2], [7, -1], [1, -9]] };
            let total = batch * view.area();
            for places in [0..total, total / 3..total - 1, 1..2] {
                let places = places.start.min(places.end)..places.end;
                let mut patches = vec![f32::NAN; 8 * places.len()];
                view.gather(&planes, places.clone(), &mut patches);
                for (line, patch) in patches.chunks_exact(places.len().max(1)).enumerate() {
                    for (place, value) in places.clone().zip(patch) {
                        let (picture, within) = (place / view.area(), place % view.area());
                        let y = (within / grid[1] * step[0]) as isize + view.taps[line % 4][0];
                        let x = (within % grid[1] * step[1]) as isize + view.taps[line % 4][1];
                        let inside = (0..5).contains(&y) && (0..4).contains(&x);
                        let plane = (picture * all + 1 + line / 4) * 20;
                        let expected =
                            if inside { values[plane + (y * 4 + x) as usize] } else { 0.0 };
                        assert_eq!(*value, expected);
                    }
                }
            }
        }
    }
}
