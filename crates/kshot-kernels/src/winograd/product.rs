//! The products of points: all of the multiplications, in registers.

use crate::simd::Simd;

/// Tiles that a product computes together: with two vectors of outputs, twelve sums and three operands
/// fit into sixteen registers.
pub(super) const TILES: usize = 6;
/// Inputs of a weight gradient's product, with as many sums. They lie in two blocks of lanes.
const INPUTS: usize = 6;

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
            // What is left goes in even parts: seven are four and three.
            tile += match tiles - tile {
                1 => some::<S, R, 1>(simd, points, weights, sums, inputs, lines),
                2 => some::<S, R, 2>(simd, points, weights, sums, inputs, lines),
                3 => some::<S, R, 3>(simd, points, weights, sums, inputs, lines),
                4 | 7 | 8 => some::<S, R, 4>(simd, points, weights, sums, inputs, lines),
                5 | 9 | 10 => some::<S, R, 5>(simd, points, weights, sums, inputs, lines),
                _ => some::<S, R, TILES>(simd, points, weights, sums, inputs, lines),
            };
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
    for first in (0..inputs).step_by(INPUTS) {
        let (block, count) = (first / lanes, INPUTS.min(inputs - first));
        // SAFETY: by the caller's promise; a second block of inputs is there where the first is not the
        // last, and is not needed otherwise.
        unsafe {
            let points = points.add(block * lines.points);
            let next = if (block + 1) * lanes < inputs { points.add(lines.points) } else { points };
            let sums = sums.add(first * lines.sums);
            let points = [points, next];
            // Six inputs start at an even lane. Wider vectors need more of these.
            const { assert!(S::LANES == 8) };
            match first % lanes {
                0 => few::<S, R, 0>(simd, points, gradients, sums, count, tiles, lines, keep),
                2 => few::<S, R, 2>(simd, points, gradients, sums, count, tiles, lines, keep),
                4 => few::<S, R, 4>(simd, points, gradients, sums, count, tiles, lines, keep),
                _ => few::<S, R, 6>(simd, points, gradients, sums, count, tiles, lines, keep),
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

/// `INPUTS` inputs, of which `count` are real, from lane `FIRST` of the first block on.
///
/// # Safety
/// As [`correlate`].
#[inline(always)]
unsafe fn few<S: Simd, const R: usize, const FIRST: usize>(
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
    let mut registers = [[simd.zero(); R]; INPUTS];
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
