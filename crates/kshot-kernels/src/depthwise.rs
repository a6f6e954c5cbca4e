//! Depthwise convolutions along the rows of padded planes.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::{Activation, Conv2d, Pads};

/// Results computed at once.
const LANES: usize = 32;

thread_local! {
    /// A padded plane, kept from call to call.
    static PLANE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// One channel's work.
struct Plane<'a> {
    image: &'a [f32],
    size: [usize; 2],
    pads: Pads,
    weight: &'a [f32],
    bias: f32,
    bounds: (f32, f32),
    /// Columns of the result.
    width: usize,
}

/// `[channels, ...]` to `[channels, ...]` of one picture.
pub(crate) fn forward(
    conv: &Conv2d,
    image: &[f32],
    size: [usize; 2],
    pads: Pads,
    activation: Activation,
    result: &mut [f32],
) {
    let [height, width] = conv.size(size, pads);
    let taps = conv.kernel * conv.kernel;
    let run = runner(conv.kernel, conv.stride);
    result
        .par_chunks_exact_mut(height * width)
        .zip(image.par_chunks_exact(size[0] * size[1]))
        .enumerate()
        .for_each(|(channel, (out, image))| {
            let plane = Plane {
                image,
                size,
                pads,
                weight: &conv.weight[channel * taps..][..taps],
                bias: conv.bias[channel],
                bounds: activation.bounds(),
                width,
            };
            PLANE.with_borrow_mut(|padded| run(&plane, padded, out));
        });
}

type Runner = fn(&Plane, &mut Vec<f32>, &mut [f32]);

/// The fastest version for this processor. `Conv2d::new` lets only these kernels and strides pass.
fn runner(kernel: usize, stride: usize) -> Runner {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return match (kernel, stride) {
            (3, 1) => x86::run::<3, 1>,
            (3, _) => x86::run::<3, 2>,
            (_, 1) => x86::run::<5, 1>,
            _ => x86::run::<5, 2>,
        };
    }
    match (kernel, stride) {
        (3, 1) => run::<3, 1>,
        (3, _) => run::<3, 2>,
        (_, 1) => run::<5, 1>,
        _ => run::<5, 2>,
    }
}

/// Floats of a padded row: the last run may read beyond the result's width, there is room for it.
fn line_length(plane: &Plane, kernel: usize) -> usize {
    plane.width.next_multiple_of(LANES) + kernel
}

/// The plane with its zeros: `rows * S` lines. With stride 2, even and odd columns of a row lie apart,
/// so that neighbours in the result are neighbours in memory.
#[inline(always)]
fn pad<const K: usize, const S: usize>(plane: &Plane, padded: &mut Vec<f32>) {
    let line = line_length(plane, K);
    let [(top, bottom), (left, _)] = plane.pads;
    padded.clear();
    padded.resize((plane.size[0] + top + bottom) * S * line, 0.0);
    for (y, source) in plane.image.chunks_exact(plane.size[1]).enumerate() {
        let target = &mut padded[(y + top) * S * line..][..S * line];
        if S == 1 {
            let count = source.len().min(line - left);
            target[left..left + count].copy_from_slice(&source[..count]);
            continue;
        }
        let (even, odd) = target.split_at_mut(line);
        // The first column lands on the even or the odd half.
        let (first, second) = if left % 2 == 0 { (even, odd) } else { (odd, even) };
        let second = &mut second[left.div_ceil(2)..];
        for (target, value) in first[left / 2..].iter_mut().zip(source.iter().step_by(2)) {
            *target = *value;
        }
        for (target, value) in second.iter_mut().zip(source.iter().skip(1).step_by(2)) {
            *target = *value;
        }
    }
}

/// Where a tap of the kernel's row starts in a padded row.
#[inline(always)]
fn tap<const S: usize>(kx: usize, line: usize) -> usize {
    kx % S * line + kx / S
}

/// The version for any processor.
fn run<const K: usize, const S: usize>(plane: &Plane, padded: &mut Vec<f32>, out: &mut [f32]) {
    pad::<K, S>(plane, padded);
    let line = line_length(plane, K);
    let (low, high) = plane.bounds;
    for (y, out) in out.chunks_exact_mut(plane.width).enumerate() {
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let mut sums = [plane.bias; LANES];
            for ky in 0..K {
                let row = &padded[(y * S + ky) * S * line..][..S * line];
                for kx in 0..K {
                    let weight = plane.weight[ky * K + kx];
                    let values = &row[tap::<S>(kx, line) + index * LANES..][..LANES];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value * weight;
                    }
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum.max(low).min(high);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps,
        _mm256_storeu_ps,
    };

    use super::{LANES, Plane, line_length, pad, tap};

    /// Registers of eight floats summed at once.
    const REGISTERS: usize = LANES / 8;

    pub(super) fn run<const K: usize, const S: usize>(
        plane: &Plane,
        padded: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        // SAFETY: `runner` has asked the processor for both features.
        unsafe { with_avx2::<K, S>(plane, padded, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn with_avx2<const K: usize, const S: usize>(
        plane: &Plane,
        padded: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        pad::<K, S>(plane, padded);
        let line = line_length(plane, K);
        let weight = &plane.weight[..K * K];
        let (low, high) = (_mm256_set1_ps(plane.bounds.0), _mm256_set1_ps(plane.bounds.1));
        for (y, out) in out.chunks_exact_mut(plane.width).enumerate() {
            let rows = &padded[y * S * S * line..][..((K - 1) * S + S) * line];
            for (index, out) in out.chunks_mut(LANES).enumerate() {
                let mut sums = [_mm256_set1_ps(plane.bias); REGISTERS];
                for ky in 0..K {
                    for kx in 0..K {
                        let factor = _mm256_set1_ps(weight[ky * K + kx]);
                        let from = ky * S * line + tap::<S>(kx, line) + index * LANES;
                        let values = &rows[from..from + LANES];
                        for (register, sum) in sums.iter_mut().enumerate() {
                            // SAFETY: `values` holds LANES = 8 * REGISTERS floats.
                            let values =
                                unsafe { _mm256_loadu_ps(values.as_ptr().add(register * 8)) };
                            *sum = _mm256_fmadd_ps(values, factor, *sum);
                        }
                    }
                }
                let mut done = [0.0f32; LANES];
                for (register, sum) in sums.into_iter().enumerate() {
                    let sum = _mm256_min_ps(_mm256_max_ps(sum, low), high);
                    // SAFETY: `done` holds 8 * REGISTERS floats.
                    unsafe { _mm256_storeu_ps(done.as_mut_ptr().add(register * 8), sum) };
                }
                let count = out.len();
                out.copy_from_slice(&done[..count]);
            }
        }
    }
}
