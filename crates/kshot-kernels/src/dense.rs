//! Convolutions as matrix products over blocks of places, for any kernel, stride, dilation and groups.
//!
//! A block is part of a picture, or several small pictures. Patches are gathered block by block, never
//! as a whole: scratch is bounded by [`FLOATS`] for each thread. How the work is cut depends on the
//! shapes alone, so that results are the same for any number of threads.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::Activation;
use crate::geometry::Geometry;
use crate::patches::{Planes, View};
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Floats of a block's patches and results: they should stay in a core's second-level cache.
const FLOATS: usize = 80_000;
/// Places of a block: at least and at most.
const PLACES: [usize; 2] = [64, 2048];
/// Pictures smaller than this share blocks.
const SMALL: usize = 256;
/// Tasks that the work is cut into at least, where there is as much.
const TASKS: usize = 8;
/// Rows of a task's product are a multiple of this.
const ROWS: usize = 16;
/// Floats of all the partial sums of a weight's gradient together.
const PARTIAL: usize = 4 << 20;

/// A matrix in memory: the floats from row to row and from column to column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) steps: [usize; 2],
}

/// `target = target * keep + left * right`, where `target` is `[rows, columns]` with `line` floats
/// from row to row, and `keep` is zero or one.
pub(crate) fn multiply(
    extents: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: &mut [f32],
    line: usize,
    keep: bool,
) {
    let [rows, _, columns] = extents;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * line + columns <= target.len(), "target is too short");
    // SAFETY: the target's rows lie inside by the assertion, and its borrow is unique.
    unsafe { multiply_into(extents, left, right, target.as_mut_ptr(), line, keep) }
}

/// As [`multiply`], with only the start of the target.
///
/// # Safety
/// `columns` floats of each row of the target may be written, and read where they are kept.
unsafe fn multiply_into(
    [rows, depth, columns]: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: *mut f32,
    line: usize,
    keep: bool,
) {
    let fits = |matrix: &[f32], extents: [usize; 2], steps: [usize; 2]| {
        (extents[0] - 1) * steps[0] + (extents[1] - 1) * steps[1] < matrix.len()
    };
    assert!(rows > 0 && columns > 0 && depth > 0 && (rows == 1 || line >= columns));
    assert!(fits(left.values, [rows, depth], left.steps), "left operand is too short");
    assert!(fits(right.values, [depth, columns], right.steps), "right operand is too short");
    // SAFETY: every element of the two operands lies inside its slice, by the assertions above; the
    // target by the caller's promise, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            target,
            1,
            line as isize,
            keep,
            left.values.as_ptr(),
            left.steps[1] as isize,
            left.steps[0] as isize,
            right.values.as_ptr(),
            right.steps[1] as isize,
            right.steps[0] as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// How the places of a batch are cut into blocks.
#[derive(Clone, Copy)]
struct Blocks {
    /// Places of a picture.
    area: usize,
    batch: usize,
    /// Pictures of a block, or zero where a picture has several blocks.
    pictures: usize,
    /// Places of a block inside a picture.
    places: usize,
}

impl Blocks {
    fn new(batch: usize, area: usize, lines: usize) -> Self {
        let wanted = (FLOATS / lines).clamp(PLACES[0], PLACES[1]);
        if area < SMALL && area < wanted {
            // Not so many that there are fewer blocks than tasks.
            let pictures = (wanted / area).min(batch.div_ceil(TASKS)).max(1);
            return Self { area, batch, pictures, places: 0 };
        }
        let places = area.div_ceil(area.div_ceil(wanted)).next_multiple_of(8).min(area);
        Self { area, batch, pictures: 0, places }
    }

    fn count(&self) -> usize {
        match self.pictures {
            0 => self.batch * self.area.div_ceil(self.places),
            pictures => self.batch.div_ceil(pictures),
        }
    }

    /// First and last picture (excluded), first and last place (excluded) in each.
    fn block(&self, index: usize) -> Block {
        let (pictures, places) = if self.pictures == 0 {
            let each = self.area.div_ceil(self.places);
            let (picture, first) = (index / each, index % each * self.places);
            ([picture, picture + 1], [first, self.area.min(first + self.places)])
        } else {
            let first = index * self.pictures;
            ([first, self.batch.min(first + self.pictures)], [0, self.area])
        };
        Block { pictures, places, area: self.area }
    }
}

#[derive(Clone, Copy)]
struct Block {
    pictures: [usize; 2],
    places: [usize; 2],
    area: usize,
}

impl Block {
    /// Places of one picture.
    fn each(&self) -> usize {
        self.places[1] - self.places[0]
    }

    fn len(&self) -> usize {
        (self.pictures[1] - self.pictures[0]) * self.each()
    }

    fn places(&self) -> std::ops::Range<usize> {
        let first = self.pictures[0] * self.area + self.places[0];
        first..first + self.len()
    }

    fn is_one(&self) -> bool {
        self.pictures[1] - self.pictures[0] == 1
    }
}

/// Where products go: planes of `[batch, all channels, height, width]`, at every `step`-th pixel from
/// `first` on.
struct Target<'a> {
    values: Shared<'a>,
    all: usize,
    size: [usize; 2],
    step: [usize; 2],
    first: [usize; 2],
    grid: [usize; 2],
}

impl Target<'_> {
    fn is_whole(&self) -> bool {
        self.grid == self.size
    }

    /// Copies one row of a block's product.
    ///
    /// # Safety
    /// No other task writes this channel at these places.
    unsafe fn write(&self, block: &Block, channel: usize, line: &[f32]) {
        let area = self.size[0] * self.size[1];
        for (picture, line) in
            (block.pictures[0]..block.pictures[1]).zip(line.chunks_exact(block.each()))
        {
            let plane = (picture * self.all + channel) * area;
            if self.is_whole() {
                // SAFETY: these places of this channel are this task's, by the caller's promise.
                let out = unsafe { self.values.part(plane + block.places[0], line.len()) };
                out.copy_from_slice(line);
                continue;
            }
            let mut done = 0;
            while done < line.len() {
                let place = block.places[0] + done;
                let (y, x) = (place / self.grid[1], place % self.grid[1]);
                let count = (self.grid[1] - x).min(line.len() - done);
                let row = plane + (y * self.step[0] + self.first[0]) * self.size[1];
                for (index, value) in line[done..done + count].iter().enumerate() {
                    let column = (x + index) * self.step[1] + self.first[1];
                    // SAFETY: as above; one pixel at a time, since those between are other tasks'.
                    unsafe { self.values.part(row + column, 1)[0] = *value };
                }
                done += count;
            }
        }
    }
}

/// One product for every group: `[groups, rows, depth]` times the patches of the group's channels.
struct Product<'a> {
    view: &'a View,
    source: &'a [f32],
    /// Channels of a group in the source.
    inside: usize,
    groups: usize,
    batch: usize,
    matrix: &'a [f32],
    /// Rows of a group.
    rows: usize,
    bias: Option<&'a [f32]>,
    activation: Activation,
}

impl Product<'_> {
    fn run(&self, target: &Target) {
        let depth = self.inside * self.view.taps.len();
        let blocks = Blocks::new(self.batch, self.view.area(), depth + self.rows);
        // Few places, as in deep stages: the rows are shared out as well.
        let parts = TASKS.div_ceil(blocks.count().max(1) * self.groups);
        let rows = self.rows.div_ceil(parts).next_multiple_of(ROWS).min(self.rows);
        let parts = self.rows.div_ceil(rows);
        (0..self.groups * blocks.count() * parts).into_par_iter().for_each(|task| {
            let (group, within) =
                (task / (blocks.count() * parts), task % (blocks.count() * parts));
            let (block, first) = (blocks.block(within / parts), within % parts * rows);
            let rows = rows.min(self.rows - first);
            self.block(target, group, &block, [first, first + rows]);
        });
    }

    fn block(&self, target: &Target, group: usize, block: &Block, rows: [usize; 2]) {
        let depth = self.inside * self.view.taps.len();
        let area = self.view.area();
        let count = block.len();
        let matrix =
            &self.matrix[(group * self.rows + rows[0]) * depth..][..(rows[1] - rows[0]) * depth];
        let left = Matrix { values: matrix, steps: [depth, 1] };
        let extents = [rows[1] - rows[0], depth, count];
        let planes = Planes {
            values: self.source,
            all: self.inside * self.groups,
            first: group * self.inside,
            count: self.inside,
        };
        let mut scratch;
        let right = if self.view.is_identity() && block.is_one() {
            let plane = block.pictures[0] * planes.all + planes.first;
            let values = &self.source[plane * area..][block.places[0]..depth * area];
            Matrix { values, steps: [area, 1] }
        } else {
            scratch = Scratch::take(depth * count);
            self.view.gather(&planes, block.places(), &mut scratch);
            Matrix { values: &scratch, steps: [count, 1] }
        };
        let channel = group * self.rows + rows[0];
        if target.is_whole() && block.is_one() {
            let first = (block.pictures[0] * target.all + channel) * area + block.places[0];
            let start = target.values.pointer(first, (extents[0] - 1) * area + count);
            // SAFETY: these places of these channels are this task's alone, inside as just checked.
            unsafe { multiply_into(extents, left, right, start, area, false) };
            for line in 0..extents[0] {
                // SAFETY: as above, one channel at a time.
                let out = unsafe { target.values.part(first + line * area, count) };
                self.finish(channel + line, out);
            }
            return;
        }
        let mut product = Scratch::take(extents[0] * count);
        multiply(extents, left, right, &mut product, count, false);
        for (line, out) in product.chunks_exact_mut(count).enumerate() {
            self.finish(channel + line, out);
            // SAFETY: tasks differ in group, rows or block.
            unsafe { target.write(block, channel + line, out) };
        }
    }

    /// Adds the bias and clamps.
    fn finish(&self, channel: usize, line: &mut [f32]) {
        let bias = self.bias.map_or(0.0, |bias| bias[channel]);
        let (low, high) = self.activation.bounds();
        match (self.activation, self.bias) {
            (Activation::Identity, None) => {}
            (Activation::Identity, Some(_)) => line.iter_mut().for_each(|value| *value += bias),
            _ => line.iter_mut().for_each(|value| *value = (*value + bias).max(low).min(high)),
        }
    }
}

/// The patches of the images under each place of the result.
fn forward_view(geometry: &Geometry) -> View {
    let ([_, width], pads) = (geometry.kernel(), geometry.pads());
    let offset = |axis: usize, tap: usize| {
        (tap * geometry.dilation()[axis]) as isize - pads[axis].0 as isize
    };
    let taps = (0..geometry.taps()).map(|tap| [offset(0, tap / width), offset(1, tap % width)]);
    let (size, grid, step) = (geometry.size(), geometry.out(), geometry.stride());
    View { size, grid, step, taps: taps.collect() }
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
    let view = forward_view(geometry);
    let [inside, rows] = geometry.group_channels();
    let target = Target {
        values: Shared::new(result),
        all: geometry.channels()[1],
        size: geometry.out(),
        step: [1, 1],
        first: [0, 0],
        grid: geometry.out(),
    };
    let (groups, batch) = (geometry.groups(), geometry.batch());
    let product = Product {
        view: &view,
        source: images,
        inside,
        groups,
        batch,
        matrix: weight,
        rows,
        bias,
        activation,
    };
    product.run(&target);
}

/// The gradient with respect to the images.
pub(crate) fn input_gradient(
    geometry: &Geometry,
    gradient: &[f32],
    weight: &[f32],
    result: &mut [f32],
) {
    geometry.check(result.len(), weight.len(), gradient.len());
    let [inside, outputs] = geometry.group_channels();
    let (size, stride, taps) = (geometry.size(), geometry.stride(), geometry.taps());
    // Along one axis: the taps that reach the pixels of a phase, and how far their place is away.
    let reaching = |axis: usize, phase: usize| -> Vec<(usize, isize)> {
        let taps = (0..geometry.kernel()[axis]).filter_map(|tap| {
            let (pad, dilation) = (geometry.pads()[axis].0, geometry.dilation()[axis]);
            let away = (phase + pad) as isize - (tap * dilation) as isize;
            (away % stride[axis] as isize == 0).then_some((tap, away / stride[axis] as isize))
        });
        taps.collect()
    };
    for phase in 0..stride[0] * stride[1] {
        let first = [phase / stride[1], phase % stride[1]];
        if first[0] >= size[0] || first[1] >= size[1] {
            continue;
        }
        let grid = std::array::from_fn(|axis| (size[axis] - first[axis]).div_ceil(stride[axis]));
        let axes = [reaching(0, first[0]), reaching(1, first[1])];
        let used: Vec<(usize, [isize; 2])> = axes[0]
            .iter()
            .flat_map(|(y, dy)| {
                axes[1].iter().map(move |(x, dx)| (y * geometry.kernel()[1] + x, [*dy, *dx]))
            })
            .collect();
        let target = Target {
            values: Shared::new(result),
            all: geometry.channels()[0],
            size,
            step: stride,
            first,
            grid,
        };
        if used.is_empty() {
            clear(geometry, &target);
            continue;
        }
        // The weight transposed, with the taps of this phase: [groups, inside, outputs, taps].
        let mut matrix = Scratch::take(geometry.channels()[0] * outputs * used.len());
        for (row, line) in matrix.chunks_exact_mut(outputs * used.len()).enumerate() {
            let (group, input) = (row / inside, row % inside);
            for (output, line) in line.chunks_exact_mut(used.len()).enumerate() {
                let from = ((group * outputs + output) * inside + input) * taps;
                for (value, (tap, _)) in line.iter_mut().zip(&used) {
                    *value = weight[from + tap];
                }
            }
        }
        let view = View {
            size: geometry.out(),
            grid,
            step: [1, 1],
            taps: used.iter().map(|(_, away)| *away).collect(),
        };
        let (groups, batch) = (geometry.groups(), geometry.batch());
        let product = Product {
            view: &view,
            source: gradient,
            inside: outputs,
            groups,
            batch,
            matrix: &matrix,
            rows: inside,
            bias: None,
            activation: Activation::Identity,
        };
        product.run(&target);
    }
}

/// Zeros at the pixels that no place sees.
fn clear(geometry: &Geometry, target: &Target) {
    let area = target.grid[0] * target.grid[1];
    let zeros = Scratch::zeros(area);
    for picture in 0..geometry.batch() {
        let block = Block { pictures: [picture, picture + 1], places: [0, area], area };
        for channel in 0..target.all {
            // SAFETY: no other task is running.
            unsafe { target.write(&block, channel, &zeros) };
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
    let view = forward_view(geometry);
    let [inside, outputs] = geometry.group_channels();
    let groups = geometry.groups();
    let depth = inside * geometry.taps();
    let blocks = Blocks::new(geometry.batch(), geometry.area_out(), depth + outputs);
    if blocks.count() == 0 {
        result.fill(0.0);
        return;
    }
    // Each part of the blocks has sums of its own, added up at the end in a fixed order.
    let parts = (PARTIAL / result.len()).clamp(1, TASKS.div_ceil(groups)).min(blocks.count());
    let rows = outputs.div_ceil(TASKS.div_ceil(parts * groups)).next_multiple_of(ROWS).min(outputs);
    let slices = outputs.div_ceil(rows);
    let each = blocks.count().div_ceil(parts);
    let length = result.len();
    let mut sums = Scratch::take(parts * length);
    let shared = Shared::new(&mut sums);
    (0..parts * groups * slices).into_par_iter().for_each(|task| {
        let (part, within) = (task / (groups * slices), task % (groups * slices));
        let (group, first) = (within / slices, within % slices * rows);
        let rows = rows.min(outputs - first);
        let channel = group * outputs + first;
        // SAFETY: these rows of this part's sums are this task's alone.
        let sums = unsafe { shared.part(part * length + channel * depth, rows * depth) };
        let range = part * each..blocks.count().min((part + 1) * each);
        if range.is_empty() {
            sums.fill(0.0);
        }
        for index in range.clone() {
            let block = blocks.block(index);
            let (count, area) = (block.len(), geometry.area_out());
            let patches;
            let planes = Planes {
                values: images,
                all: geometry.channels()[0],
                first: group * inside,
                count: inside,
            };
            let right = if view.is_identity() && block.is_one() {
                let plane = block.pictures[0] * planes.all + planes.first;
                let values = &images[plane * area..][block.places[0]..depth * area];
                Matrix { values, steps: [1, area] }
            } else {
                let mut scratch = Scratch::take(depth * count);
                view.gather(&planes, block.places(), &mut scratch);
                patches = scratch;
                Matrix { values: &patches, steps: [1, count] }
            };
            let lines;
            let left = if block.is_one() {
                let plane = block.pictures[0] * geometry.channels()[1] + channel;
                let values = &gradient[plane * area..][block.places[0]..rows * area];
                Matrix { values, steps: [area, 1] }
            } else {
                let mut scratch = Scratch::take(rows * count);
                let grid = geometry.out();
                let whole = View { size: grid, grid, step: [1, 1], taps: vec![[0, 0]] };
                let all = geometry.channels()[1];
                let planes = Planes { values: gradient, all, first: channel, count: rows };
                whole.gather(&planes, block.places(), &mut scratch);
                lines = scratch;
                Matrix { values: &lines, steps: [count, 1] }
            };
            multiply([rows, count, depth], left, right, sums, depth, index > range.start);
        }
    });
    result.copy_from_slice(&sums[..length]);
    for part in sums[length..].chunks_exact(length) {
        result.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}

/// The gradient with respect to the bias: sums over pictures and places.
pub(crate) fn bias_gradient(geometry: &Geometry, gradient: &[f32], result: &mut [f32]) {
    let (outputs, area) = (geometry.channels()[1], geometry.area_out());
    assert_eq!(gradient.len(), geometry.result_len(), "floats of the result of {geometry:?}");
    assert_eq!(result.len(), outputs, "floats of the bias of {geometry:?}");
    result.par_iter_mut().enumerate().with_min_len(8).for_each(|(channel, sum)| {
        let planes = gradient.chunks_exact(area).skip(channel).step_by(outputs);
        *sum = planes.map(total).sum();
    });
}

/// A sum in eight lanes, so that it is quick and its rounding does not grow with the length.
fn total(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum::<f32>() + rest
}
