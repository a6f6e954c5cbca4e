//! The products of points: all of the multiplications, in registers.

use crate::simd::Simd;

/// Tiles that a product computes together: with two vectors of outputs, their sums and three operands
/// fit into the registers.
pub(super) const fn together(registers: usize) -> usize {
    if registers < 32 { 6 } else { 14 }
}

/// Sums over the inputs, at one point: `[tile, input]` times `[input, R vectors]`.
///
/// # Safety
/// - `tiles` are in `points`, `[block of inputs, line floats]` with a tile's lanes together;
/// - `weights` is `[inputs, R, lane]`;
/// - `sums` may be written, `[R, line floats]`.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const R: usize>(
    simd: S,
    points: *const f32,
    weights: *const f32,
    sums: *mut f32,
    inputs: usize,
    tiles: usize,
    [points_line, sums_line]: [usize; 2],
) {
    let mut tile = 0;
    while tile < tiles {
        // SAFETY: by the caller's promise, for the tiles that are left.
        unsafe {
            let points = points.add(tile * S::LANES);
            let sums = sums.add(tile * S::LANES);
            let lines = [points_line, sums_line];
            // What is left goes in even parts: of six at most, seven are four and three.
            let left = tiles - tile;
            let even = left.div_ceil(left.div_ceil(together(S::REGISTERS)));
            tile += match even {
                1 => some::<S, R, 1>(simd, points, weights, sums, inputs, lines),
                2 => some::<S, R, 2>(simd, points, weights, sums, inputs, lines),
                3 => some::<S, R, 3>(simd, points, weights, sums, inputs, lines),
                4 => some::<S, R, 4>(simd, points, weights, sums, inputs, lines),
                5 => some::<S, R, 5>(simd, points, weights, sums, inputs, lines),
                6 => some::<S, R, 6>(simd, points, weights, sums, inputs, lines),
                _ => more::<S, R>(simd, points, weights, sums, inputs, lines, even),
            };
        }
    }
}

/// More tiles than sixteen registers hold.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn more<S: Simd, const R: usize>(
    simd: S,
    points: *const f32,
    weights: *const f32,
    sums: *mut f32,
    inputs: usize,
    lines: [usize; 2],
    tiles: usize,
) -> usize {
    // Known when compiled: other processors carry none of this.
    if S::REGISTERS < 32 {
        unreachable!("{tiles} tiles in {} registers", S::REGISTERS);
    }
    // SAFETY: by the caller's promise.
    unsafe {
        match tiles {
            7 => some::<S, R, 7>(simd, points, weights, sums, inputs, lines),
            8 => some::<S, R, 8>(simd, points, weights, sums, inputs, lines),
            9 => some::<S, R, 9>(simd, points, weights, sums, inputs, lines),
            10 => some::<S, R, 10>(simd, points, weights, sums, inputs, lines),
            11 => some::<S, R, 11>(simd, points, weights, sums, inputs, lines),
            12 => some::<S, R, 12>(simd, points, weights, sums, inputs, lines),
            13 => some::<S, R, 13>(simd, points, weights, sums, inputs, lines),
            _ => some::<S, R, 14>(simd, points, weights, sums, inputs, lines),
        }
    }
}

/// # Safety
/// As [`multiply`], for `T` tiles.
#[inline(always)]
unsafe fn some<S: Simd, const R: usize, const T: usize>(
    simd: S,
    mut points: *const f32,
    mut weights: *const f32,
    sums: *mut f32,
    inputs: usize,
    [points_line, sums_line]: [usize; 2],
) -> usize {
    let lanes = S::LANES;
    let mut registers = [[simd.zero(); R]; T];
    // SAFETY: by the caller's promise.
    unsafe {
        for _ in 0..inputs / lanes {
            for lane in 0..lanes {
                step(simd, &mut registers, points.add(lane), weights.add(lane * R * lanes));
            }
            points = points.add(points_line);
            weights = weights.add(lanes * R * lanes);
        }
        for lane in 0..inputs % lanes {
            step(simd, &mut registers, points.add(lane), weights.add(lane * R * lanes));
        }
        for (tile, registers) in registers.into_iter().enumerate() {
            for (vector, sum) in registers.into_iter().enumerate() {
                simd.store(sums.add(vector * sums_line + tile * lanes), sum);
            }
        }
    }
    T
}

/// One input of `T` tiles, times its weights.
///
/// # Safety
/// As [`multiply`], for this input.
#[inline(always)]
unsafe fn step<S: Simd, const R: usize, const T: usize>(
    simd: S,
    registers: &mut [[S::Vector; R]; T],
    points: *const f32,
    weights: *const f32,
) {
    let mut vectors = [simd.zero(); R];
    for (vector, to) in vectors.iter_mut().enumerate() {
        // SAFETY: by the caller's promise.
        *to = unsafe { simd.load(weights.add(vector * S::LANES)) };
    }
    for (tile, sums) in registers.iter_mut().enumerate() {
        // SAFETY: by the caller's promise.
        let point = simd.splat(unsafe { *points.add(tile * S::LANES) });
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = simd.fma(point, vector, *sum);
        }
    }
}

/// Sums over the tiles, at one point: `[input, R vectors of outputs]`.
///
/// # Safety
/// - `points` is `[block of inputs, points_line floats]` with a tile's lanes together;
/// - `gradients` is `[R, gradients_line floats]` with a tile's lanes together;
/// - `sums` may be written, for `inputs` rows of `R` vectors, `sums_line` floats apart.
#[inline(always)]
pub(super) unsafe fn correlate<S: Simd, const R: usize>(
    simd: S,
    points: *const f32,
    gradients: *const f32,
    sums: *mut f32,
    inputs: usize,
    tiles: usize,
    lines: Lines,
    keep: bool,
) {
    let lanes = S::LANES;
    // As many inputs have their sums in registers.
    let each = if S::REGISTERS < 32 { 6 } else { 8 };
    for first in (0..inputs).step_by(each) {
        let (block, count) = (first / lanes, each.min(inputs - first));
        // SAFETY: by the caller's promise; a second block of inputs is there where the first is not the
        // last, and is not needed otherwise.
        unsafe {
            let points = points.add(block * lines.points);
            let next = if (block + 1) * lanes < inputs { points.add(lines.points) } else { points };
            let sums = sums.add(first * lines.sums);
            let points = [points, next];
            // Eight start a block, or the second half of sixteen lanes; six start at an even lane of eight.
            // The conditions are known when compiled.
            const { assert!(S::REGISTERS >= 32 || S::LANES == 8) };
            const { assert!(S::LANES >= 4 && S::LANES <= 16) };
            if S::REGISTERS >= 32 {
                if first % lanes == 0 {
                    few::<S, R, 8, 0>(simd, points, gradients, sums, count, tiles, lines, keep);
                } else {
                    few::<S, R, 8, 8>(simd, points, gradients, sums, count, tiles, lines, keep);
                }
                continue;
            }
            match first % lanes {
                0 => few::<S, R, 6, 0>(simd, points, gradients, sums, count, tiles, lines, keep),
                2 => few::<S, R, 6, 2>(simd, points, gradients, sums, count, tiles, lines, keep),
                4 => few::<S, R, 6, 4>(simd, points, gradients, sums, count, tiles, lines, keep),
                _ => few::<S, R, 6, 6>(simd, points, gradients, sums, count, tiles, lines, keep),
            }
        }
    }
}

/// Floats from row to row of a weight gradient's product.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub(super) points: usize,
    pub(super) gradients: usize,
    pub(super) sums: usize,
}

/// `N` inputs, of which `count` are real, from lane `FIRST` of the first block on.
///
/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn few<S: Simd, const R: usize, const N: usize, const FIRST: usize>(
    simd: S,
    points: [*const f32; 2],
    gradients: *const f32,
    sums: *mut f32,
    count: usize,
    tiles: usize,
    lines: Lines,
    keep: bool,
) {
    let lanes = S::LANES;
    let mut registers = [[simd.zero(); R]; N];
    // SAFETY: by the caller's promise; lanes past the last input are read, but not written.
    unsafe {
        for tile in 0..tiles {
            let gradients: [S::Vector; R] = std::array::from_fn(|vector| {
                simd.load(gradients.add(vector * lines.gradients + tile * lanes))
            });
            for (input, sums) in registers.iter_mut().enumerate() {
                let lane = FIRST + input;
                let point = simd.splat(*points[lane / lanes].add(tile * lanes + lane % lanes));
                for (sum, gradient) in sums.iter_mut().zip(gradients) {
                    *sum = simd.fma(point, gradient, *sum);
                }
            }
        }
        // Counted to the constant: otherwise the sums would not stay in registers.
        for (input, registers) in registers.into_iter().enumerate() {
            for (vector, sum) in registers.into_iter().enumerate() {
                if input >= count {
                    break;
                }
                let to = sums.add(input * lines.sums + vector * lanes);
                let sum = if keep { simd.add(simd.load(to), sum) } else { sum };
                simd.store(to, sum);
            }
        }
    }
}
