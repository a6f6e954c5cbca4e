//! 3x3 convolutions of stride 1 with a quarter of the multiplications: Winograd's F(4x4, 3x3).
//!
//! Tiles of 6x6 pixels and the kernels become 36 points each; at every point the convolution is a
//! matrix product over the channels. Lanes of a vector are channels, so that small pictures and any
//! width are as quick as large ones.
//!
//! The loops have two orders. Where the transformed weight is small, tasks are blocks of tiles and share
//! it. Where it is large or tiles are few, the tiles' points are shared, and tasks are blocks of outputs
//! which transform their own kernels. Both sum in the same order: the bits are the same.

#![expect(clippy::too_many_arguments, reason = "kernels take pointers and extents one by one")]
#![expect(clippy::needless_range_loop, reason = "transposed: the loop's index is the second")]

mod gradient;
mod points;
mod product;
mod tiles;
mod transform;
mod weights;

use rayon::prelude::*;

pub(crate) use gradient::weight_gradient;
use points::{BUFFER, Layout, Source, Target};
use tiles::Tiles;
use transform::POINTS;
use weights::{Direction, VECTORS, Weight};

use crate::Activation;
use crate::geometry::Geometry;
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::{Kernel, Simd, dispatch, lanes, registers};

/// Fewer channels than this are not worth the transforms.
const CHANNELS: usize = 16;
/// Tiles of a task, at least and at most, but for a multiple of those that a product takes together: more
/// of them make up for a larger weight, which each reads.
const TILES: [usize; 2] = [24, 60];
/// With more channels a task has the fewest tiles: its points would not be near any more.
const WIDE: usize = 512;
/// Floats of a transformed weight that tasks share.
const SHARED_WEIGHT: usize = 36 * 256 * 256;
/// Floats of points that tasks share.
const SHARED_POINTS: usize = 3_500_000;

/// Whether this path takes the convolution.
pub(crate) fn fits(geometry: &Geometry) -> bool {
    let (kernel, stride) = (geometry.kernel(), geometry.stride());
    !geometry.precise() && suits(kernel, stride, geometry.groups(), geometry.channels())
}

/// Whether this path takes such convolutions where plain sums are not asked for.
pub(crate) fn suits(
    kernel: [usize; 2],
    stride: [usize; 2],
    groups: usize,
    channels: [usize; 2],
) -> bool {
    kernel == [3, 3]
        && stride == [1, 1]
        && groups == 1
        && channels.iter().all(|channels| *channels >= CHANNELS)
}

/// The convolution, then bias and activation.
pub(crate) fn forward(
    geometry: &Geometry,
    images: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    result: &mut [f32],
) {
    geometry.check(images.len(), weight.len(), result.len());
    assert!(fits(geometry));
    let [inputs, outputs] = geometry.channels();
    let origin = geometry.pads().map(|(before, _)| -(before as isize));
    let convolution = Convolution {
        tiles: places(geometry, geometry.size(), geometry.out(), origin),
        source: Source { values: images, channels: inputs },
        weight: Weight { values: weight, inputs, outputs, direction: Direction::Forward },
        target: Target {
            values: Shared::new(result),
            channels: outputs,
            bias,
            bounds: activation.bounds(),
        },
    };
    convolution.run();
}

/// The gradient with respect to the images: a convolution of the result's gradient.
pub(crate) fn input_gradient(
    geometry: &Geometry,
    gradient: &[f32],
    weight: &[f32],
    result: &mut [f32],
) {
    geometry.check(result.len(), weight.len(), gradient.len());
    assert!(fits(geometry));
    let [outputs, inputs] = geometry.channels();
    let origin = std::array::from_fn(|axis| {
        geometry.pads()[axis].0 as isize - 2 * geometry.dilation()[axis] as isize
    });
    let convolution = Convolution {
        tiles: places(geometry, geometry.out(), geometry.size(), origin),
        source: Source { values: gradient, channels: inputs },
        weight: Weight { values: weight, inputs, outputs, direction: Direction::Backward },
        target: Target {
            values: Shared::new(result),
            channels: outputs,
            bias: None,
            bounds: Activation::Identity.bounds(),
        },
    };
    convolution.run();
}

fn places(geometry: &Geometry, size: [usize; 2], out: [usize; 2], origin: [isize; 2]) -> Tiles {
    Tiles::new(geometry.batch(), size, out, geometry.dilation(), origin)
}

/// A 3x3 convolution of stride 1 on its way.
struct Convolution<'a> {
    tiles: Tiles,
    source: Source<'a>,
    weight: Weight<'a>,
    target: Target<'a>,
}

impl Convolution<'_> {
    /// Blocks of channels in, and of vectors of channels out.
    fn blocks(&self) -> [usize; 2] {
        let vectors = self.weight.outputs.div_ceil(lanes());
        [self.weight.inputs.div_ceil(lanes()), vectors.div_ceil(VECTORS)]
    }

    fn run(&self) {
        let wanted = if self.weight.inputs > WIDE { 0 } else { self.weight.inputs / 4 };
        let each =
            wanted.clamp(TILES[0], TILES[1]).next_multiple_of(product::together(registers()));
        let total = self.tiles.len();
        let outputs = self.blocks()[1];
        let weight = POINTS * self.weight.inputs * self.weight.outputs;
        let few = total < 4 * each && outputs > total.div_ceil(each);
        if weight <= SHARED_WEIGHT && !few {
            self.share_weight(each);
        } else {
            self.share_points(each);
        }
    }

    fn share_weight(&self, each: usize) {
        let (inputs, [_, blocks]) = (self.weight.inputs, self.blocks());
        let (length, point) =
            (weights::block_len(inputs, lanes()), weights::block_apart(inputs, lanes()));
        let mut all = Scratch::take(blocks * length);
        all.par_chunks_exact_mut(length).enumerate().for_each(|(block, points)| {
            dispatch(ReadWeight { weight: self.weight, block, points, point });
        });
        let tasks = self.tiles.len().div_ceil(each);
        (0..tasks).into_par_iter().for_each(|task| {
            let range = [task * each, self.tiles.len().min((task + 1) * each)];
            dispatch(TilesTask { convolution: self, weights: &all, range });
        });
    }

    fn share_points(&self, each: usize) {
        let [blocks_in, blocks_out] = self.blocks();
        let most = (SHARED_POINTS / (POINTS * blocks_in * lanes())).max(each);
        let parts = self.tiles.len().div_ceil(most).max(1);
        let most = self.tiles.len().div_ceil(parts);
        for part in 0..parts {
            let range = [part * most, self.tiles.len().min((part + 1) * most)];
            let layout = Layout::new(blocks_in, range[1].saturating_sub(range[0]), lanes());
            let mut points = Scratch::take(layout.len());
            let (source, tiles) = (self.source, &self.tiles);
            read_points(source, tiles, range, &mut points, layout, false);
            (0..blocks_out).into_par_iter().for_each(|block| {
                let points = &points;
                dispatch(OutputsTask { convolution: self, points, layout, range, each, block });
            });
        }
    }

    /// Multiplies the points of tiles by one block of kernels, and writes the results.
    ///
    /// # Safety
    /// `points` starts at the first of these tiles and is laid out as `layout` says; `weights` holds
    /// the block; no other task writes these results.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        &self,
        simd: S,
        points: *const f32,
        layout: Layout,
        range: [usize; 2],
        weights: *const f32,
        block: usize,
        sums: &mut [f32],
        buffer: &mut [f32],
    ) {
        let inputs = self.weight.inputs;
        let count = range[1] - range[0];
        let vectors = self.weight.outputs.div_ceil(S::LANES) - block * VECTORS;
        let out = Layout::new(VECTORS, count, S::LANES);
        let lines = [layout.tiles * S::LANES, count * S::LANES];
        assert!(sums.len() >= out.len());
        for point in 0..POINTS {
            // SAFETY: points and weights by the caller's promise; the sums by the assertion.
            unsafe {
                let points = points.add(point * layout.point);
                let weights = weights.add(point * weights::block_apart(inputs, S::LANES));
                let sums = sums.as_mut_ptr().add(point * out.point);
                if vectors == 1 {
                    product::multiply::<S, 1>(simd, points, weights, sums, inputs, count, lines);
                } else {
                    product::multiply::<S, VECTORS>(
                        simd, points, weights, sums, inputs, count, lines,
                    );
                }
            }
        }
        for vector in 0..vectors.min(VECTORS) {
            let (first, target) = (block * VECTORS + vector, &self.target);
            // SAFETY: the sums have just been written; the results are this task's, as promised.
            unsafe {
                let sums = sums.as_ptr().add(vector * lines[1]);
                points::write(simd, sums, out, &self.tiles, range, first, target, buffer);
            }
        }
    }
}

/// Transforms the kernels of one block of outputs.
struct ReadWeight<'a> {
    weight: Weight<'a>,
    block: usize,
    points: &'a mut [f32],
    point: usize,
}

impl Kernel for ReadWeight<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let inputs = self.weight.inputs;
        assert!(self.points.len() >= weights::block_len(inputs, S::LANES));
        assert!(self.point >= inputs * VECTORS * S::LANES);
        let points = self.points.as_mut_ptr();
        // SAFETY: the points are as many by the assertions.
        unsafe { weights::read(simd, self.weight, self.block, [0, inputs], points, self.point) };
    }
}

/// The results of a block of tiles.
struct TilesTask<'a> {
    convolution: &'a Convolution<'a>,
    weights: &'a [f32],
    range: [usize; 2],
}

impl Kernel for TilesTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let convolution = self.convolution;
        let count = self.range[1] - self.range[0];
        let [blocks_in, blocks_out] = convolution.blocks();
        let layout = Layout::new(blocks_in, count, S::LANES);
        let mut points = Scratch::take(layout.len());
        let mut sums = Scratch::take(Layout::new(VECTORS, count, S::LANES).len());
        let mut buffer = Scratch::take(BUFFER);
        let length = weights::block_len(convolution.weight.inputs, S::LANES);
        assert!(self.weights.len() >= blocks_out * length);
        // SAFETY: the points are as many as the layout says; the weights by the assertion; each task
        // has tiles of its own.
        unsafe {
            for block in 0..blocks_in {
                let (source, tiles) = (convolution.source, &convolution.tiles);
                let points = points.as_mut_ptr();
                points::read_input(
                    simd,
                    source,
                    tiles,
                    self.range,
                    block,
                    points,
                    layout,
                    0,
                    &mut buffer,
                );
            }
            for block in 0..blocks_out {
                let weights = self.weights[block * length..].as_ptr();
                let points = points.as_ptr();
                convolution.multiply(
                    simd,
                    points,
                    layout,
                    self.range,
                    weights,
                    block,
                    &mut sums,
                    &mut buffer,
                );
            }
        }
    }
}

/// The results of a block of outputs, from points that are there already.
struct OutputsTask<'a> {
    convolution: &'a Convolution<'a>,
    points: &'a [f32],
    layout: Layout,
    range: [usize; 2],
    each: usize,
    block: usize,
}

impl Kernel for OutputsTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (convolution, block) = (self.convolution, self.block);
        let weight = convolution.weight;
        let mut weights = Scratch::take(weights::block_len(weight.inputs, S::LANES));
        let point = weights::block_apart(weight.inputs, S::LANES);
        let mut sums = Scratch::take(Layout::new(VECTORS, self.each, S::LANES).len());
        let mut buffer = Scratch::take(BUFFER);
        assert!(self.points.len() >= self.layout.len());
        // SAFETY: weights and points are as many as their layouts say; each task has outputs of its own.
        unsafe {
            let all = [0, weight.inputs];
            weights::read(simd, weight, block, all, weights.as_mut_ptr(), point);
            for first in (self.range[0]..self.range[1]).step_by(self.each) {
                let range = [first, self.range[1].min(first + self.each)];
                let points = self.points.as_ptr().add((first - self.range[0]) * S::LANES);
                let (layout, weights) = (self.layout, weights.as_ptr());
                convolution.multiply(
                    simd,
                    points,
                    layout,
                    range,
                    weights,
                    block,
                    &mut sums,
                    &mut buffer,
                );
            }
        }
    }
}

/// Transforms tiles `range` of all channels, in parallel.
fn read_points(
    source: Source,
    tiles: &Tiles,
    range: [usize; 2],
    points: &mut [f32],
    layout: Layout,
    gradient: bool,
) {
    let count = range[1].saturating_sub(range[0]);
    let blocks = source.channels.div_ceil(lanes());
    assert!(points.len() >= layout.len() && layout.point >= blocks * count * lanes());
    assert!(layout.tiles == count);
    let shared = Shared::new(points);
    let each = 64;
    let parts = count.div_ceil(each);
    (0..blocks * parts).into_par_iter().for_each(|task| {
        let (block, first) = (task / parts, task % parts * each);
        let part = [range[0] + first, range[1].min(range[0] + first + each)];
        let points = shared.pointer(0, layout.len());
        dispatch(ReadPoints { source, tiles, part, block, points, layout, first, gradient });
    });
}

struct ReadPoints<'a> {
    source: Source<'a>,
    tiles: &'a Tiles,
    part: [usize; 2],
    block: usize,
    points: *mut f32,
    layout: Layout,
    first: usize,
    gradient: bool,
}

impl Kernel for ReadPoints<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { source, tiles, part, block, points, layout, first, gradient } = self;
        let mut buffer = Scratch::take(BUFFER);
        // SAFETY: `read_points`, which alone makes this, has checked that the points hold the layout;
        // each task has tiles or a block of its own.
        unsafe {
            if gradient {
                points::read_gradient(
                    simd,
                    source,
                    tiles,
                    part,
                    block,
                    points,
                    layout,
                    first,
                    &mut buffer,
                );
            } else {
                points::read_input(
                    simd,
                    source,
                    tiles,
                    part,
                    block,
                    points,
                    layout,
                    first,
                    &mut buffer,
                );
            }
        }
    }
}
