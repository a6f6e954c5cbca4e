//! The gradient of the weight: at every point, products of images and gradients summed over the tiles.
//!
//! Tiles whose points fit into the cache that cores share are one part. A single part is summed and
//! transformed back by blocks of outputs; of several parts, the sums of all points are kept.

use rayon::prelude::*;

use super::points::{Layout, Source, apart};
use super::product::Lines;
use super::transform::POINTS;
use super::weights::{Sums, VECTORS};
use super::{SHARED_POINTS, TILES, fits, places, product, read_points, weights};
use crate::geometry::Geometry;
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Simd, dispatch, lanes};

/// The gradient with respect to the weight.
pub(crate) fn weight_gradient(
    geometry: &Geometry,
    images: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    geometry.check(images.len(), result.len(), gradient.len());
    assert!(fits(geometry));
    let [inputs, outputs] = geometry.channels();
    let origin = geometry.pads().map(|(before, _)| -(before as isize));
    let tiles = places(geometry, geometry.size(), geometry.out(), origin);
    if tiles.len() == 0 {
        result.fill(0.0);
        return;
    }
    let sources = [
        Source { values: images, channels: inputs },
        Source { values: gradient, channels: outputs },
    ];
    let blocks = [inputs.div_ceil(lanes()), outputs.div_ceil(lanes())];
    let most = (SHARED_POINTS / (POINTS * (blocks[0] + blocks[1]) * lanes())).max(TILES[0]);
    let parts = tiles.len().div_ceil(most);
    let most = tiles.len().div_ceil(parts);
    let target = Shared::new(result);
    let tasks = blocks[1].div_ceil(VECTORS);
    let line = blocks[1] * lanes();
    // One part: each task sums and transforms its own outputs. Several: the sums of all are kept.
    let sums = Sums { point: apart(inputs * line), line };
    let mut kept = Scratch::take(if parts > 1 { sums.point * POINTS } else { 0 });
    for part in 0..parts {
        let range = [part * most, tiles.len().min((part + 1) * most)];
        let count = range[1] - range[0];
        let layouts = blocks.map(|blocks| Layout::new(blocks, count, lanes()));
        let mut points = layouts.map(|layout| Scratch::take(layout.len()));
        for (which, points) in points.iter_mut().enumerate() {
            read_points(sources[which], &tiles, range, points, layouts[which], which == 1);
        }
        let [points, gradients] = &points;
        let correlate = Correlate { points, gradients, layouts, inputs, outputs, count };
        if parts == 1 {
            (0..tasks).into_par_iter().for_each(|task| {
                dispatch(OutputsGradient { correlate, task, target: &target });
            });
            break;
        }
        let shared = Shared::new(&mut kept);
        (0..tasks * POINTS).into_par_iter().for_each(|task| {
            let (point, task) = (task / tasks, task % tasks);
            // SAFETY: each task has outputs of its own at its point.
            let at = shared.pointer(point * sums.point, inputs * line);
            dispatch(PointGradient { correlate, task, point, sums: at, line, keep: part > 0 });
        });
    }
    if parts > 1 {
        let kept = &kept;
        (0..blocks[1] * blocks[0]).into_par_iter().for_each(|task| {
            let (vector, block) = (task / blocks[0], task % blocks[0]);
            let range = [block * lanes(), inputs.min((block + 1) * lanes())];
            let extents = [inputs, outputs];
            dispatch(WriteGradient {
                sums: kept,
                layout: sums,
                extents,
                vector,
                range,
                target: &target,
            });
        });
    }
}

/// The points of images and gradients, for the same tiles.
#[derive(Clone, Copy)]
struct Correlate<'a> {
    points: &'a [f32],
    gradients: &'a [f32],
    layouts: [Layout; 2],
    inputs: usize,
    outputs: usize,
    count: usize,
}

impl Correlate<'_> {
    /// The sums at one point, for one task's vectors of outputs.
    ///
    /// # Safety
    /// Of `sums`, all inputs' rows, `line` floats apart, may be written for the task's vectors.
    #[inline(always)]
    unsafe fn run<S: Simd>(
        &self,
        simd: S,
        task: usize,
        point: usize,
        sums: *mut f32,
        line: usize,
        keep: bool,
    ) {
        let [points, gradients] = self.layouts;
        assert!(self.points.len() >= points.len() && self.gradients.len() >= gradients.len());
        let all = self.outputs.div_ceil(S::LANES);
        let vectors = (all - task * VECTORS).min(VECTORS);
        let tiles = self.count * S::LANES;
        let lines = Lines { points: tiles, gradients: tiles, sums: line };
        // SAFETY: points and gradients hold their layouts; the sums by the caller's promise.
        unsafe {
            let (inputs, count) = (self.inputs, self.count);
            let points = self.points.as_ptr().add(point * points.point);
            let first = point * gradients.point + task * VECTORS * tiles;
            let gradients = self.gradients.as_ptr().add(first);
            if vectors == 1 {
                product::correlate::<S, 1>(
                    simd, points, gradients, sums, inputs, count, lines, keep,
                );
            } else {
                product::correlate::<S, VECTORS>(
                    simd, points, gradients, sums, inputs, count, lines, keep,
                );
            }
        }
    }
}

/// The gradient of the kernels of one task's outputs.
struct OutputsGradient<'a> {
    correlate: Correlate<'a>,
    task: usize,
    target: &'a Shared<'a>,
}

impl Kernel for OutputsGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Correlate { inputs, outputs, .. } = self.correlate;
        let line = VECTORS * S::LANES;
        let layout = Sums { point: apart(inputs * line), line };
        let mut sums = Scratch::take(layout.point * POINTS);
        for point in 0..POINTS {
            let sums = sums[point * layout.point..].as_mut_ptr();
            // SAFETY: all inputs' rows of this task's vectors.
            unsafe { self.correlate.run(simd, self.task, point, sums, line, false) };
        }
        for vector in 0..VECTORS {
            let first = (self.task * VECTORS + vector) * S::LANES;
            if first >= outputs {
                break;
            }
            let (extents, range) = ([inputs, outputs], [0, inputs]);
            let sums = sums[vector * S::LANES..].as_ptr();
            // SAFETY: the sums have been written; each task has outputs of its own.
            unsafe { weights::write(simd, sums, layout, extents, first, range, self.target) };
        }
    }
}

/// The sums of one task's outputs at one point.
struct PointGradient<'a> {
    correlate: Correlate<'a>,
    task: usize,
    point: usize,
    sums: *mut f32,
    line: usize,
    keep: bool,
}

impl Kernel for PointGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let sums = self.sums.wrapping_add(self.task * VECTORS * S::LANES);
        // SAFETY: `weight_gradient`, which alone makes this, gives the start of a point's rows.
        unsafe { self.correlate.run(simd, self.task, self.point, sums, self.line, self.keep) };
    }
}

/// Transforms kept sums of one vector of outputs.
struct WriteGradient<'a> {
    sums: &'a [f32],
    layout: Sums,
    extents: [usize; 2],
    vector: usize,
    range: [usize; 2],
    target: &'a Shared<'a>,
}

impl Kernel for WriteGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        assert!(self.sums.len() >= self.layout.point * POINTS);
        let first = self.vector * S::LANES;
        let sums = self.sums[first..].as_ptr();
        let (layout, extents, range) = (self.layout, self.extents, self.range);
        // SAFETY: the sums hold the layout; each task has outputs and inputs of its own.
        unsafe { weights::write(simd, sums, layout, extents, first, range, self.target) };
    }
}
