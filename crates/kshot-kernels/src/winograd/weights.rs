//! Between kernels and points.

use super::points::apart;
use super::transform::{self, POINTS, SIDE};
use crate::shared::Shared;
use crate::simd::{Simd, WIDEST};

/// Vectors of outputs that a product computes together.
pub(super) const VECTORS: usize = 2;
/// Elements of a kernel.
pub(super) const TAPS: usize = 9;

/// Which way the weight is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// `[output, input, taps]` as it is.
    Forward,
    /// For the input gradient: inputs and outputs change places and the kernel is turned around.
    Backward,
}

/// A weight in memory, `[channels_out, channels_in, 3, 3]`, and how it is used.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub(super) values: &'a [f32],
    /// Summed over, and results, in this direction.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) direction: Direction,
}

/// Transforms the kernels of one block of outputs, `VECTORS` vectors at most, for inputs `range`:
/// `[point, input, vector, lane]`.
///
/// # Safety
/// `points` holds for every point, `point` floats apart, that many floats for all inputs.
#[inline(always)]
pub(super) unsafe fn read<S: Simd>(
    simd: S,
    weight: Weight,
    block: usize,
    range: [usize; 2],
    points: *mut f32,
    point: usize,
) {
    let lanes = S::LANES;
    let vectors = VECTORS.min(weight.outputs.div_ceil(lanes) - block * VECTORS);
    let mut taps = [0.0f32; (TAPS + 7) * WIDEST];
    for input in range[0]..range[1] {
        for vector in 0..vectors {
            let first = (block * VECTORS + vector) * lanes;
            let real = lanes.min(weight.outputs - first);
            taps[..TAPS * lanes].fill(0.0);
            for lane in 0..real {
                let output = first + lane;
                let kernel = match weight.direction {
                    Direction::Forward => output * weight.inputs + input,
                    Direction::Backward => input * weight.outputs + output,
                };
                let kernel = &weight.values[kernel * TAPS..][..TAPS];
                for (tap, value) in kernel.iter().enumerate() {
                    let tap = match weight.direction {
                        Direction::Forward => tap,
                        Direction::Backward => TAPS - 1 - tap,
                    };
                    taps[tap * lanes + lane] = *value;
                }
            }
            // SAFETY: nine vectors of taps; the points are inside by the caller's promise.
            unsafe {
                let load = |tap: usize| simd.load(taps.as_ptr().add(tap * lanes));
                let points = points.add((input * vectors + vector) * lanes);
                let mut columns = [[simd.zero(); SIDE]; 3];
                for (index, column) in columns.iter_mut().enumerate() {
                    *column =
                        transform::weight(simd, std::array::from_fn(|row| load(row * 3 + index)));
                }
                for row in 0..SIDE {
                    let values = transform::weight(simd, std::array::from_fn(|c| columns[c][row]));
                    for (column, value) in values.into_iter().enumerate() {
                        simd.store(points.add((row * SIDE + column) * point), value);
                    }
                }
            }
        }
    }
}

/// Floats from point to point of all transformed kernels of a block of outputs.
pub(super) fn block_apart(inputs: usize, lanes: usize) -> usize {
    apart(inputs * VECTORS * lanes)
}

/// Floats of all points of a block of outputs.
pub(super) fn block_len(inputs: usize, lanes: usize) -> usize {
    block_apart(inputs, lanes) * POINTS
}

/// Sums over tiles on their way to a weight's gradient: `[point, input, output]`.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// Floats from point to point and from input to input.
    pub(super) point: usize,
    pub(super) line: usize,
}

/// Transforms the sums of one vector of outputs and writes them as the gradient of the weight,
/// `[outputs, inputs, 3, 3]`, for inputs `range`.
///
/// # Safety
/// `sums` holds that layout from the vector's first output on; no other task writes these kernels.
#[inline(always)]
pub(super) unsafe fn write<S: Simd>(
    simd: S,
    sums: *const f32,
    layout: Sums,
    [inputs, outputs]: [usize; 2],
    first: usize,
    range: [usize; 2],
    target: &Shared,
) {
    let lanes = S::LANES;
    let real = lanes.min(outputs - first);
    let mut taps = [0.0f32; TAPS * WIDEST];
    for input in range[0]..range[1] {
        // SAFETY: the sums are inside by the caller's promise.
        unsafe {
            let sums = sums.add(input * layout.line);
            let mut columns = [[simd.zero(); 3]; SIDE];
            for (index, column) in columns.iter_mut().enumerate() {
                let at = |row: usize| sums.add((row * SIDE + index) * layout.point);
                *column =
                    transform::weight_gradient(simd, std::array::from_fn(|row| simd.load(at(row))));
            }
            for row in 0..3 {
                let values =
                    transform::weight_gradient(simd, std::array::from_fn(|c| columns[c][row]));
                for (column, value) in values.into_iter().enumerate() {
                    simd.store(taps.as_mut_ptr().add((row * 3 + column) * lanes), value);
                }
            }
        }
        for lane in 0..real {
            let kernel = ((first + lane) * inputs + input) * TAPS;
            // SAFETY: the pointer is checked; these kernels are this task's alone.
            unsafe {
                let to = target.pointer(kernel, TAPS);
                for tap in 0..TAPS {
                    *to.add(tap) = taps[tap * lanes + lane];
                }
            }
        }
    }
}
