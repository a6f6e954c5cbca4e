//! Between pictures and points: tiles are read, transformed and written back.

use super::tiles::Tiles;
use super::transform::{self, OUT, POINTS, SIDE};
use crate::shared::Shared;
use crate::simd::{Simd, WIDEST};

/// Tiles of a strip that are transformed together.
pub(super) const STRIP: usize = 8;
/// Pixels of a row of such tiles, with room for a whole vector after the last.
const COLUMNS: usize = STRIP * OUT + 2 + WIDEST;
/// Floats for pixels on their way, `[row, column, lane]`.
pub(super) const BUFFER: usize = SIDE * COLUMNS * WIDEST;

/// Where points lie in memory: `[point, block of channels, tile, lane]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Floats from point to point: off the powers of two, which would share lines of the cache.
    pub(super) point: usize,
    /// Tiles of a block of channels.
    pub(super) tiles: usize,
}

impl Layout {
    pub(super) fn new(blocks: usize, tiles: usize, lanes: usize) -> Self {
        Self { point: apart(blocks * tiles * lanes), tiles }
    }

    pub(super) fn len(self) -> usize {
        self.point * POINTS
    }
}

/// At least as many floats, such that the starts of neighbours fall on different lines of a cache.
pub(super) fn apart(floats: usize) -> usize {
    floats.next_multiple_of(32) + 16
}

/// Which pixels are read: the planes of a batch.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: &'a [f32],
    pub(super) channels: usize,
}

/// Transforms the pixels that tiles `range` see, for one block of channels.
///
/// # Safety
/// `points` holds `layout`, in which the first of those tiles is number `at`.
#[inline(always)]
pub(super) unsafe fn read_input<S: Simd>(
    simd: S,
    source: Source,
    tiles: &Tiles,
    range: [usize; 2],
    block: usize,
    points: *mut f32,
    layout: Layout,
    at: usize,
    buffer: &mut [f32],
) {
    let lanes = S::LANES;
    assert!(buffer.len() >= BUFFER);
    let origin = |place: usize, axis: usize| place as isize + tiles.origin[axis];
    for strip in tiles.strips(range, STRIP) {
        let start = [origin(strip.place[0], 0), origin(strip.place[1], 1)];
        let columns = strip.tiles * OUT + 2;
        pack(
            simd,
            source,
            strip.picture,
            block,
            tiles.size,
            tiles.dilation,
            start,
            [SIDE, columns],
            buffer,
        );
        let buffer = buffer.as_mut_ptr();
        let first = at + strip.first - range[0];
        // SAFETY: the buffer has six rows of at least these columns; the points are inside by the
        // caller's promise.
        unsafe {
            for column in 0..columns {
                let at = |row: usize| buffer.add((row * COLUMNS + column) * lanes);
                let column = transform::input(simd, std::array::from_fn(|row| simd.load(at(row))));
                for (row, value) in column.into_iter().enumerate() {
                    simd.store(at(row), value);
                }
            }
            for tile in 0..strip.tiles {
                let points = points.add((block * layout.tiles + first + tile) * lanes);
                for row in 0..SIDE {
                    let pixels = buffer.add((row * COLUMNS + tile * OUT) * lanes);
                    let row_points = transform::input(
                        simd,
                        std::array::from_fn(|column| simd.load(pixels.add(column * lanes))),
                    );
                    for (column, value) in row_points.into_iter().enumerate() {
                        simd.store(points.add((row * SIDE + column) * layout.point), value);
                    }
                }
            }
        }
    }
}

/// Transforms the gradients of the results of tiles `range`, for one block of channels.
///
/// # Safety
/// `points` holds `layout`, in which the first of those tiles is number `at`.
#[inline(always)]
pub(super) unsafe fn read_gradient<S: Simd>(
    simd: S,
    source: Source,
    tiles: &Tiles,
    range: [usize; 2],
    block: usize,
    points: *mut f32,
    layout: Layout,
    at: usize,
    buffer: &mut [f32],
) {
    let lanes = S::LANES;
    assert!(buffer.len() >= BUFFER);
    for strip in tiles.strips(range, STRIP) {
        let start = strip.place.map(|place| place as isize);
        let columns = strip.tiles * OUT;
        pack(
            simd,
            source,
            strip.picture,
            block,
            tiles.out,
            tiles.dilation,
            start,
            [OUT, columns],
            buffer,
        );
        let buffer = buffer.as_mut_ptr();
        let first = at + strip.first - range[0];
        // SAFETY: as in `read_input`.
        unsafe {
            for column in 0..columns {
                let at = |row: usize| buffer.add((row * COLUMNS + column) * lanes);
                let column =
                    transform::gradient(simd, std::array::from_fn(|row| simd.load(at(row))));
                for (row, value) in column.into_iter().enumerate() {
                    simd.store(at(row), value);
                }
            }
            for tile in 0..strip.tiles {
                let points = points.add((block * layout.tiles + first + tile) * lanes);
                for row in 0..SIDE {
                    let pixels = buffer.add((row * COLUMNS + tile * OUT) * lanes);
                    let row_points = transform::gradient(
                        simd,
                        std::array::from_fn(|column| simd.load(pixels.add(column * lanes))),
                    );
                    for (column, value) in row_points.into_iter().enumerate() {
                        simd.store(points.add((row * SIDE + column) * layout.point), value);
                    }
                }
            }
        }
    }
}

/// Copies pixels of one block of channels into lanes: zero outside the plane. Lanes of channels that
/// do not exist hold any values.
#[inline(always)]
fn pack<S: Simd>(
    simd: S,
    source: Source,
    picture: usize,
    block: usize,
    size: [usize; 2],
    step: [usize; 2],
    start: [isize; 2],
    [rows, columns]: [usize; 2],
    buffer: &mut [f32],
) {
    let lanes = S::LANES;
    let area = size[0] * size[1];
    let first = block * lanes;
    let real = lanes.min(source.channels - first);
    let plane = (picture * source.channels + first) * area;
    // Columns inside the plane: `from..to`.
    let distance = step[1] as isize;
    let reach = |pixel: isize| {
        let column = (pixel - start[1] + distance - 1).div_euclid(distance);
        column.clamp(0, columns as isize) as usize
    };
    let (from, to) = (reach(0), reach(size[1] as isize));
    for row in 0..rows {
        let line = &mut buffer[row * COLUMNS * lanes..][..COLUMNS * lanes];
        let y = start[0] + (row * step[0]) as isize;
        if !(0..size[0] as isize).contains(&y) || from >= to {
            line[..columns * lanes].fill(0.0);
            continue;
        }
        let x = (start[1] + (from * step[1]) as isize) as usize;
        let pixels = plane + y as usize * size[1] + x;
        let mut column = from;
        while column < to {
            let pixels = pixels + (column - from) * step[1];
            if step[1] == 1 && pixels + (lanes - 1) * area + lanes <= source.values.len() {
                // SAFETY: `lanes` pixels of `lanes` channels inside the values, by the condition; what
                // is written past the last column has room and is overwritten below or not used.
                unsafe {
                    let from = source.values.as_ptr().add(pixels);
                    simd.transpose(from, area, line.as_mut_ptr().add(column * lanes), lanes);
                }
                column += lanes;
            } else {
                let line = &mut line[column * lanes..][..real];
                for (lane, value) in line.iter_mut().enumerate() {
                    *value = source.values[pixels + lane * area];
                }
                column += 1;
            }
        }
        line[..from * lanes].fill(0.0);
        line[to * lanes..columns.max(to) * lanes].fill(0.0);
    }
}

/// Where results go, and what is done to them.
pub(super) struct Target<'a> {
    pub(super) values: Shared<'a>,
    pub(super) channels: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) bounds: (f32, f32),
}

/// Transforms points back and writes the results of tiles `range`, for one block of channels.
///
/// # Safety
/// `points` holds `layout` for a single block of channels, in which the first of those tiles is the
/// first; no other task writes these results.
#[inline(always)]
pub(super) unsafe fn write<S: Simd>(
    simd: S,
    points: *const f32,
    layout: Layout,
    tiles: &Tiles,
    range: [usize; 2],
    block: usize,
    target: &Target,
    buffer: &mut [f32],
) {
    let lanes = S::LANES;
    let first = block * lanes;
    let real = lanes.min(target.channels - first);
    let area = tiles.out[0] * tiles.out[1];
    let mut bias = [0.0; WIDEST];
    if let Some(all) = target.bias {
        bias[..real].copy_from_slice(&all[first..first + real]);
    }
    assert!(buffer.len() >= BUFFER);
    let mut square = [0.0f32; WIDEST * WIDEST];
    let buffer = buffer.as_mut_ptr();
    for strip in tiles.strips(range, STRIP) {
        // SAFETY: the points are inside by the caller's promise; the buffer has four rows of as many
        // columns.
        unsafe {
            let bias = simd.load(bias.as_ptr());
            let (low, high) = (simd.splat(target.bounds.0), simd.splat(target.bounds.1));
            for tile in 0..strip.tiles {
                let points = points.add((strip.first - range[0] + tile) * lanes);
                let mut rows = [[simd.zero(); OUT]; SIDE];
                for (index, row) in rows.iter_mut().enumerate() {
                    let at = |column: usize| points.add((index * SIDE + column) * layout.point);
                    *row = transform::output(simd, std::array::from_fn(|c| simd.load(at(c))));
                }
                for column in 0..OUT {
                    let results =
                        transform::output(simd, std::array::from_fn(|row| rows[row][column]));
                    for (row, result) in results.into_iter().enumerate() {
                        let result = simd.clamp(simd.add(result, bias), [low, high]);
                        simd.store(
                            buffer.add((row * COLUMNS + tile * OUT + column) * lanes),
                            result,
                        );
                    }
                }
            }
        }
        let plane = (strip.picture * target.channels + first) * area;
        let left = (tiles.out[1] - strip.place[1]).div_ceil(tiles.dilation[1]);
        let columns = (strip.tiles * OUT).min(left);
        for row in 0..OUT {
            let y = strip.place[0] + row * tiles.dilation[0];
            if y >= tiles.out[0] {
                break;
            }
            for column in (0..columns).step_by(lanes) {
                let count = lanes.min(columns - column);
                let x = strip.place[1] + column * tiles.dilation[1];
                let from = plane + y * tiles.out[1] + x;
                // SAFETY: the buffer's row has room for a whole vector after the last column; the
                // target's pointer is checked, and these places are this task's alone.
                unsafe {
                    let results = buffer.add((row * COLUMNS + column) * lanes);
                    if tiles.dilation[1] == 1 && count == lanes && real == lanes {
                        let to = target.values.pointer(from, (lanes - 1) * area + lanes);
                        simd.transpose(results, lanes, to, area);
                        continue;
                    }
                    simd.transpose(results, lanes, square.as_mut_ptr(), lanes);
                    for lane in 0..real {
                        let step = tiles.dilation[1];
                        let to = target.values.pointer(from + lane * area, (count - 1) * step + 1);
                        for column in 0..count {
                            *to.add(column * step) = square[lane * lanes + column];
                        }
                    }
                }
            }
        }
    }
}
