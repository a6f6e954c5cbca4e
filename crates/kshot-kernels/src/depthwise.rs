//! Depthwise convolutions along the rows of padded planes.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::{Activation, Conv2d, Pads};

/// Results computed at once: two registers of eight floats.
const LANES: usize = 16;

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
    const FUSED: bool = cfg!(target_arch = "aarch64");
    match (kernel, stride) {
        (3, 1) => run::<3, 1, FUSED>,
        (3, _) => run::<3, 2, FUSED>,
        (_, 1) => run::<5, 1, FUSED>,
        _ => run::<5, 2, FUSED>,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Plane;

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
        super::run::<K, S, true>(plane, padded, out);
    }
}

/// Pads the plane, then sums the taps over runs of `LANES` results. `FUSED`: the processor multiplies
/// and adds in one step.
#[inline(always)]
fn run<const K: usize, const S: usize, const FUSED: bool>(
    plane: &Plane,
    padded: &mut Vec<f32>,
    out: &mut [f32],
) {
    let width = plane.width;
    // With stride 2, even and odd columns lie apart, so that neighbours in the result are neighbours
    // in memory. The last run may read beyond the row: there is room for it.
    let line = width.next_multiple_of(LANES) + K;
    let rows = plane.size[0] + plane.pads[0].0 + plane.pads[0].1;
    padded.clear();
    padded.resize(rows * S * line, 0.0);
    for (y, source) in plane.image.chunks_exact(plane.size[1]).enumerate() {
        let target = &mut padded[(y + plane.pads[0].0) * S * line..][..S * line];
        let left = plane.pads[1].0;
        if S == 1 {
            let count = source.len().min(line - left);
            target[left..left + count].copy_from_slice(&source[..count]);
        } else {
            let (even, odd) = target.split_at_mut(line);
            for (x, &value) in source.iter().enumerate() {
                let x = x + left;
                let half = if x % 2 == 0 { &mut *even } else { &mut *odd };
                if let Some(place) = half.get_mut(x / 2) {
                    *place = value;
                }
            }
        }
    }
    let weight: &[f32] = plane.weight;
    let (low, high) = plane.bounds;
    for (y, out) in out.chunks_exact_mut(width).enumerate() {
        for start in (0..width).step_by(LANES) {
            let mut sums = [plane.bias; LANES];
            for ky in 0..K {
                let row = &padded[(y * S + ky) * S * line..][..S * line];
                for kx in 0..K {
                    let from = kx % S * line + kx / S + start;
                    let weight = weight[ky * K + kx];
                    let values = &row[from..from + LANES];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum =
                            if FUSED { value.mul_add(weight, *sum) } else { *sum + value * weight };
                    }
                }
            }
            for sum in &mut sums {
                *sum = sum.max(low).min(high);
            }
            let count = LANES.min(width - start);
            out[start..start + count].copy_from_slice(&sums[..count]);
        }
    }
}
