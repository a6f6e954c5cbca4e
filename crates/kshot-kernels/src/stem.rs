//! Convolutions of few channels, as in a network's first layer.
//!
//! A block of rows of a picture is copied with its zeros ([`Layout`]); there every product of a place is a
//! row of neighbouring floats at a fixed offset, so that no patches are gathered.

use std::ops::{Range, RangeInclusive};

use rayon::prelude::*;

use crate::Activation;
use crate::geometry::Geometry;
use crate::layout::{Layout, reach};
use crate::micro::{Ends, ROWS, VECTORS, tile_of};
use crate::panels::{Left, pack_all, packed_len};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::simd::format::Floats;
use crate::simd::{Kernel, Simd, dispatch, lanes};
use crate::sums::add_parts;

/// Products of a place: with fewer, long rows of patches are written faster than short ones; a panel of more
/// would not stay in the nearest cache.
const DEPTH: RangeInclusive<usize> = 16..=256;
/// Floats of a block's copy, where a row of places sees no more: it stays in the second cache.
const COPY: usize = 16_384;
/// Floats of a weight at most: its gradient is summed in a vector for each, by every task.
const WEIGHT: usize = 1 << 15;
/// Floats of a block's rows of the result at most.
const RESULT: usize = 1 << 19;
/// Tasks that the work is cut into, where there is as much.
const TASKS: usize = 8;
/// Outputs and products that the weight's gradient is made of at once: with their sums they fill the
/// registers.
const OUTPUTS: usize = 4;
const PRODUCTS: usize = 3;

/// Whether this path takes the convolution: one row of places must see few pixels, whatever the image's
/// width and the distances between the kernel's elements.
pub(crate) fn fits(geometry: &Geometry) -> bool {
    let ([channels, outputs], [rows, width]) = (geometry.channels(), geometry.out());
    let (stride, reach, (before, after)) = (geometry.stride(), reach(geometry), geometry.pads()[1]);
    let seen =
        channels.saturating_mul(reach[0] + 1).saturating_mul(before + geometry.size()[1] + after);
    suits(geometry.kernel(), geometry.groups(), geometry.channels())
        && (0..2).all(|axis| stride[axis] <= reach[axis] + 1)
        && seen <= 4 * COPY
        && outputs.saturating_mul(width) <= RESULT
        && geometry.batch() * rows >= TASKS
}

/// Whether it takes such kernels, where the images are no obstacle.
fn suits(kernel: [usize; 2], groups: usize, [channels, outputs]: [usize; 2]) -> bool {
    let products = channels * kernel[0] * kernel[1];
    groups == 1 && kernel != [1, 1] && DEPTH.contains(&products) && products * outputs <= WEIGHT
}

/// How the rows of the results are cut into blocks: by the shapes alone.
struct Blocks<'a> {
    geometry: &'a Geometry,
    /// Rows of a block.
    rows: usize,
    /// Offsets of the products in a channel's copy.
    taps: Vec<usize>,
}

/// Rows of a picture's result.
struct Block {
    picture: usize,
    rows: Range<usize>,
    /// Of one channel's copy.
    layout: Layout,
    /// Rows of the image that are copied.
    source: Range<usize>,
    /// Offsets of all products from a place's own.
    offsets: Vec<usize>,
}

impl<'a> Blocks<'a> {
    fn new(geometry: &'a Geometry) -> Self {
        let (layout, taps) = Layout::of_images(geometry);
        let fit =
            (COPY / (geometry.channels()[0] * layout.row())).saturating_sub(reach(geometry)[0]);
        let ([rows, width], outputs) = (geometry.out(), geometry.channels()[1]);
        // Not so many that there are fewer blocks than tasks.
        let most = rows.div_ceil(TASKS.div_ceil(geometry.batch().max(1)));
        let rows = (fit / geometry.stride()[0]).min(RESULT / (outputs * width)).clamp(1, most);
        Self { geometry, rows, taps }
    }

    fn of_picture(&self) -> usize {
        self.geometry.out()[0].div_ceil(self.rows)
    }

    fn count(&self) -> usize {
        self.geometry.batch() * self.of_picture()
    }

    fn block(&self, index: usize) -> Block {
        let geometry = self.geometry;
        let (picture, first) = (index / self.of_picture(), index % self.of_picture() * self.rows);
        let rows = first..geometry.out()[0].min(first + self.rows);
        let ([height, width], stride, reach) =
            (geometry.size(), geometry.stride(), reach(geometry));
        let before = geometry.pads().map(|(before, _)| before);
        // Rows of the padded image.
        let (top, bottom) = (first * stride[0], (rows.end - 1) * stride[0] + reach[0] + 1);
        let start = top.saturating_sub(before[0]).min(height);
        let source = start..bottom.saturating_sub(before[0]).clamp(start, height);
        let above = (before[0] + start).saturating_sub(top).min(bottom - top - source.len());
        let grid = [rows.len(), geometry.out()[1]];
        let layout = Layout::new([source.len(), width], [above, before[1]], grid, stride, reach);
        let offsets = (0..geometry.channels()[0])
            .flat_map(|channel| self.taps.iter().map(move |tap| (channel, tap)))
            .map(|(channel, tap)| channel * layout.len() + tap)
            .collect();
        Block { picture, rows, layout, source, offsets }
    }

    /// The padded copy of a block's channels.
    #[inline(always)]
    fn copy<S: Simd>(&self, simd: S, block: &Block, images: &[f32]) -> Scratch {
        let ([channels, _], [_, width]) = (self.geometry.channels(), self.geometry.size());
        let mut copy = Scratch::zeros(channels * block.layout.len());
        let planes = images.chunks_exact(self.geometry.area_in()).skip(block.picture * channels);
        for (plane, copy) in planes.zip(copy.chunks_exact_mut(block.layout.len())) {
            let rows = block.source.start * width..block.source.end * width;
            block.layout.fill(simd, &plane[rows], copy);
        }
        // All that is read from a block's places lies inside.
        let furthest = block.offsets.iter().max().copied().unwrap_or(0);
        let last = (block.rows.len() - 1) * self.step(block);
        let columns = self.geometry.out()[1].next_multiple_of(S::LANES);
        assert!(last + furthest + columns <= copy.len(), "a block reads beyond its copy");
        copy
    }

    /// Floats from one place's row to the next in a copy.
    fn step(&self, block: &Block) -> usize {
        self.geometry.stride()[0] * block.layout.row()
    }
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
    let extents = [geometry.channels()[1], geometry.channels()[0] * geometry.taps()];
    let mut panels = Scratch::take(packed_len(extents[0], extents[1]));
    pack_all(Left::Rows(weight), 1, extents, &mut panels);
    forward_packed(geometry, images, &panels, bias, activation, result);
}

/// [`forward`] with a weight in panels.
pub(crate) fn forward_packed(
    geometry: &Geometry,
    images: &[f32],
    panels: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    result: &mut [f32],
) {
    geometry.check(images.len(), geometry.weight_len(), result.len());
    let [inside, outputs] = geometry.channels();
    let depth = inside * geometry.taps();
    assert_eq!(panels.len(), packed_len(outputs, depth), "floats of packed weights");
    assert!(bias.is_none_or(|bias| bias.len() == outputs), "floats of the bias");
    let blocks = Blocks::new(geometry);
    let target = Shared::new(result);
    let bounds = (activation != Activation::Identity).then(|| activation.bounds());
    (0..blocks.count()).into_par_iter().for_each(|index| {
        let block = blocks.block(index);
        let (blocks, target) = (&blocks, &target);
        dispatch(Forward { blocks, block, images, panels, bias, bounds, target });
    });
}

/// A block's rows of the result.
struct Forward<'a> {
    blocks: &'a Blocks<'a>,
    block: Block,
    images: &'a [f32],
    panels: &'a [f32],
    bias: Option<&'a [f32]>,
    bounds: Option<(f32, f32)>,
    target: &'a Shared<'a>,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { blocks, block, bias, bounds, .. } = self;
        let copy = blocks.copy(simd, &block, self.images);
        let geometry = blocks.geometry;
        let ([_, outputs], [_, width]) = (geometry.channels(), geometry.out());
        let (area, depth) = (geometry.area_out(), block.offsets.len());
        let (offsets, how) = (block.offsets.as_ptr(), (simd, Floats));
        for (y, row) in block.rows.clone().enumerate() {
            let from = copy[y * blocks.step(&block)..].as_ptr();
            let first = block.picture * outputs * area + row * width;
            let to = self.target.pointer(first, (outputs - 1) * area + width);
            for (panel, left) in self.panels.chunks_exact(ROWS * depth).enumerate() {
                let rows = ROWS.min(outputs - panel * ROWS);
                let bias = bias.map(|bias| &bias[panel * ROWS..]);
                let ends = Ends { rows, first: true, bias, bounds };
                let wide = VECTORS * S::LANES;
                for x in (0..width).step_by(wide) {
                    // The last tile ends with the row, and may compute some places again.
                    let vectors = (width - x).div_ceil(S::LANES).min(VECTORS);
                    let x = x.min(width.saturating_sub(vectors * S::LANES));
                    let count = (width - x).min(vectors * S::LANES);
                    let (left, to) = (left.as_ptr(), to.wrapping_add(panel * ROWS * area + x));
                    // SAFETY: there are `depth` offsets, and what lies there is inside the copy, by
                    // its assertion. These rows of the result are this block's alone.
                    unsafe {
                        let right = |at: usize| from.add(*offsets.add(at) + x);
                        if vectors == VECTORS {
                            let to = (to, area);
                            tile_of::<S, _, VECTORS>(how, left, right, depth, to, count, &ends);
                        } else {
                            tile_of::<S, _, 1>(how, left, right, depth, (to, area), count, &ends);
                        }
                    }
                }
            }
        }
    }
}

/// The gradient with respect to the weight.
pub(crate) fn weight_gradient(
    geometry: &Geometry,
    images: &[f32],
    gradient: &[f32],
    result: &mut [f32],
) {
    geometry.check(images.len(), result.len(), gradient.len());
    let blocks = Blocks::new(geometry);
    if blocks.count() == 0 {
        result.fill(0.0);
        return;
    }
    // Each part of the blocks has sums of its own, added up at the end in a fixed order.
    let parts = TASKS.min(blocks.count());
    let mut sums = Scratch::take(parts * result.len());
    sums.par_chunks_exact_mut(result.len()).enumerate().for_each(|(part, sums)| {
        let range = part * blocks.count() / parts..(part + 1) * blocks.count() / parts;
        dispatch(Weights { blocks: &blocks, range, images, gradient, sums });
    });
    add_parts(&sums, result);
}

/// The weight's gradient over some blocks.
struct Weights<'a> {
    blocks: &'a Blocks<'a>,
    range: Range<usize>,
    images: &'a [f32],
    gradient: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let geometry = self.blocks.geometry;
        let outputs = geometry.channels()[1];
        let depth = geometry.channels()[0] * geometry.taps();
        let tiles = [outputs.div_ceil(OUTPUTS), depth.div_ceil(PRODUCTS)];
        // A vector of sums for each output and product, tile by tile.
        let mut vectors = Scratch::zeros(tiles[0] * tiles[1] * OUTPUTS * PRODUCTS * S::LANES);
        for index in self.range.clone() {
            let block = self.blocks.block(index);
            let copy = self.blocks.copy(simd, &block, self.images);
            let lines = self.lines(&block, tiles[0] * OUTPUTS);
            let each = OUTPUTS * PRODUCTS * S::LANES;
            for (tile, vectors) in vectors.chunks_exact_mut(each).enumerate() {
                // Products that do not exist repeat the last one, and nobody reads their sums.
                let offsets: [usize; PRODUCTS] = std::array::from_fn(|index| {
                    block.offsets[(tile % tiles[1] * PRODUCTS + index).min(depth - 1)]
                });
                let step = self.blocks.step(&block);
                // SAFETY: what lies at the offsets is inside the copy, by its assertion; the lines of
                // these outputs are there, and vectors as many as their chunk holds.
                unsafe { correlate(simd, &copy, offsets, step, &lines, tile / tiles[1], vectors) };
            }
        }
        for (index, sum) in self.sums.iter_mut().enumerate() {
            let (output, product) = (index / depth, index % depth);
            let tile = output / OUTPUTS * tiles[1] + product / PRODUCTS;
            let within = output % OUTPUTS * PRODUCTS + product % PRODUCTS;
            let at = (tile * OUTPUTS * PRODUCTS + within) * S::LANES;
            // SAFETY: a whole vector by the slice.
            *sum = simd.sum(unsafe { simd.load(vectors[at..at + S::LANES].as_ptr()) });
        }
    }
}

/// A block's rows of the gradient: whole vectors, and whole tiles of outputs.
struct Lines<'a> {
    values: Values<'a>,
    rows: usize,
    /// Floats of a row, from row to row, and from output to output.
    width: usize,
    plane: usize,
}

/// Floats where they lie, or a copy of them.
enum Values<'a> {
    There(&'a [f32]),
    Copied(Scratch),
}

impl Lines<'_> {
    fn values(&self) -> &[f32] {
        match &self.values {
            Values::There(values) => values,
            Values::Copied(values) => values,
        }
    }
}

impl Weights<'_> {
    /// With zeros for columns and outputs that are not there.
    fn lines(&self, block: &Block, outputs: usize) -> Lines<'_> {
        let geometry = self.blocks.geometry;
        let ([_, channels], [_, width]) = (geometry.channels(), geometry.out());
        let (area, rows) = (geometry.area_out(), block.rows.len());
        let line = width.next_multiple_of(lanes());
        let picture = &self.gradient[block.picture * channels * area..][..channels * area];
        if line == width && outputs == channels {
            let values = Values::There(&picture[block.rows.start * width..]);
            return Lines { values, rows, width, plane: area };
        }
        let mut copy = Scratch::zeros(outputs * rows * line);
        for (plane, lines) in picture.chunks_exact(area).zip(copy.chunks_exact_mut(rows * line)) {
            let rows = plane.chunks_exact(width).skip(block.rows.start);
            for (row, line) in rows.zip(lines.chunks_exact_mut(line)) {
                line[..width].copy_from_slice(row);
            }
        }
        Lines { values: Values::Copied(copy), rows, width: line, plane: rows * line }
    }
}

/// Adds the products of a tile of outputs with the rows under some taps.
///
/// # Safety
/// - The lines hold that tile, and are whole vectors.
/// - From each offset, as many such lines, `step` floats apart, lie inside the copy.
/// - There are [`OUTPUTS`] times [`PRODUCTS`] vectors.
#[inline(always)]
unsafe fn correlate<S: Simd>(
    simd: S,
    copy: &[f32],
    offsets: [usize; PRODUCTS],
    step: usize,
    lines: &Lines,
    tile: usize,
    vectors: &mut [f32],
) {
    let Lines { rows, width, plane, .. } = *lines;
    let lines = lines.values()[tile * OUTPUTS * plane..].as_ptr();
    // SAFETY: by the caller's promise.
    unsafe {
        let at = |output: usize, product: usize| (output * PRODUCTS + product) * S::LANES;
        let mut sums: [[S::Vector; PRODUCTS]; OUTPUTS] = std::array::from_fn(|output| {
            std::array::from_fn(|product| simd.load(vectors.as_ptr().add(at(output, product))))
        });
        for row in 0..rows {
            let left = lines.add(row * width);
            let right = copy.as_ptr().add(row * step);
            for x in (0..width).step_by(S::LANES) {
                let values = offsets.map(|offset| simd.load(right.add(offset + x)));
                for (output, sums) in sums.iter_mut().enumerate() {
                    let gradient = simd.load(left.add(output * plane + x));
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum = simd.fma(gradient, value, *sum);
                    }
                }
            }
        }
        for (output, sums) in sums.into_iter().enumerate() {
            for (product, sum) in sums.into_iter().enumerate() {
                simd.store(vectors.as_mut_ptr().add(at(output, product)), sum);
            }
        }
    }
}
