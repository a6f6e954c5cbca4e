//! Padded copies of planes, in which a tap of a kernel is a row of neighbouring floats.
//!
//! A plane is copied with its zeros, its columns sorted by their remainder to the stride: what a tap sees
//! from a row of places lies together, at a fixed offset.

use crate::geometry::Geometry;
use crate::patches::copy_row;
use crate::simd::{Simd, lanes};

/// The furthest pixels, downwards and to the right, that a place sees.
pub(crate) fn reach(geometry: &Geometry) -> [usize; 2] {
    std::array::from_fn(|axis| (geometry.kernel()[axis] - 1) * geometry.dilation()[axis])
}

/// Where a plane's pixels lie in its padded copy.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Height and width of the plane.
    size: [usize; 2],
    /// Zeros above and to the left.
    before: [usize; 2],
    /// Rows of the copy.
    rows: usize,
    /// Remainders that columns are sorted by.
    phases: usize,
    /// Floats of one remainder's part of a row, room for the last vector included.
    line: usize,
}

impl Layout {
    /// A copy of which places on a `grid`, `steps` pixels apart, are read up to `reach` pixels away.
    pub(crate) fn new(
        size: [usize; 2],
        before: [usize; 2],
        grid: [usize; 2],
        steps: [usize; 2],
        reach: [usize; 2],
    ) -> Self {
        let rows = (before[0] + size[0]).max((grid[0] - 1) * steps[0] + reach[0] + 1);
        let line = (before[1] + size[1]).div_ceil(steps[1]);
        let line = line.max(grid[1].next_multiple_of(lanes()) + reach[1] / steps[1]);
        Self { size, before, rows, phases: steps[1], line }
    }

    /// For the images of a convolution; and its taps' offsets, from a place's own.
    pub(crate) fn of_images(geometry: &Geometry) -> (Self, Vec<usize>) {
        let before = geometry.pads().map(|(before, _)| before);
        let layout =
            Self::new(geometry.size(), before, geometry.out(), geometry.stride(), reach(geometry));
        let offsets = layout.offsets(geometry);
        (layout, offsets)
    }

    /// The taps' offsets from a place's own.
    pub(crate) fn offsets(&self, geometry: &Geometry) -> Vec<usize> {
        let ([_, width], dilation) = (geometry.kernel(), geometry.dilation());
        let offset = |tap: usize| self.at(tap / width * dilation[0], tap % width * dilation[1]);
        (0..geometry.taps()).map(offset).collect()
    }

    /// Floats of one remainder's part of a row.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Floats from one row of the copy to the next.
    pub(crate) fn row(&self) -> usize {
        self.phases * self.line
    }

    /// Floats of the copy.
    pub(crate) fn len(&self) -> usize {
        self.rows * self.phases * self.line
    }

    /// Offset of a pixel of the padded plane.
    pub(crate) fn at(&self, row: usize, column: usize) -> usize {
        (row * self.phases + column % self.phases) * self.line + column / self.phases
    }

    /// Copies a plane into the middle; the zeros around it are there already.
    #[inline(always)]
    pub(crate) fn fill<S: Simd>(&self, simd: S, plane: &[f32], copy: &mut [f32]) {
        for (y, source) in plane.chunks_exact(self.size[1]).enumerate() {
            let start = |phase: usize| self.at(y + self.before[0], self.before[1] + phase);
            let mut done = 0;
            if self.phases == 1 {
                copy_row(simd, source, &mut copy[start(0)..start(0) + source.len()]);
                continue;
            }
            if self.phases == 2 {
                let (even, odd) = (start(0), start(1));
                while done + 2 * S::LANES <= source.len() {
                    let at = done / 2;
                    assert!(even.max(odd) + at + S::LANES <= copy.len());
                    // SAFETY: two vectors of the source and one of each half, by the conditions.
                    unsafe {
                        let parts = simd.split(source.as_ptr().add(done));
                        simd.store(copy.as_mut_ptr().add(even + at), parts[0]);
                        simd.store(copy.as_mut_ptr().add(odd + at), parts[1]);
                    }
                    done += 2 * S::LANES;
                }
            }
            for (index, pixel) in source.iter().enumerate().skip(done) {
                copy[start(index % self.phases) + index / self.phases] = *pixel;
            }
        }
    }
}
