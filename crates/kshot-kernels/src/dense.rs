//! Dense convolutions as matrix products over blocks of pixels.

use std::cell::RefCell;

use gemm::Parallelism;
use rayon::prelude::*;

use crate::{Activation, Conv2d, Pads};

/// Floats of a block's patches and results that should stay in a core's second-level cache.
const CACHED: usize = 80_000;
/// Pixels of a block: at least and at most.
const PIXELS: [usize; 2] = [64, 2048];
/// Blocks that a picture is cut into at least, where there are as many.
const TASKS: usize = 8;
/// Output channels of a block are a multiple of this.
const ROWS: usize = 16;

thread_local! {
    /// Gathered patches, kept from call to call: fresh pages cost more than the product.
    static PATCHES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The result's start, shared by tasks that write disjoint blocks.
struct Target(*mut f32);

// SAFETY: each task writes its own rows and columns of the result only.
unsafe impl Sync for Target {}

/// How an input is read.
struct Source<'a> {
    image: &'a [f32],
    size: [usize; 2],
    pads: Pads,
    /// Columns of the result.
    width: usize,
}

/// `[channels_in, ...]` to `[channels_out, ...]` of one picture.
pub(crate) fn forward(
    conv: &Conv2d,
    image: &[f32],
    size: [usize; 2],
    pads: Pads,
    activation: Activation,
    result: &mut [f32],
) {
    let [_, outputs] = conv.channels;
    let [height, width] = conv.size(size, pads);
    let pixels = height * width;
    let depth = conv.weight.len() / outputs;
    assert_eq!(result.len(), outputs * pixels);
    let direct = conv.kernel == 1 && conv.stride == 1 && pads == [(0, 0); 2];
    let source = Source { image, size, pads, width };
    let target = Target(result.as_mut_ptr());
    let block = (CACHED / (outputs + depth)).clamp(PIXELS[0], PIXELS[1]).min(pixels);
    let columns = pixels.div_ceil(block);
    // Few pixels, as in deep stages: the outputs are shared out as well.
    // The number of threads has no say: sums would be rounded otherwise.
    let parts = TASKS.div_ceil(columns);
    let rows = outputs.div_ceil(parts).next_multiple_of(ROWS).min(outputs);
    let parts = outputs.div_ceil(rows);
    (0..columns * parts).into_par_iter().for_each(|task| {
        let first = task / parts * block;
        let count = block.min(pixels - first);
        let row = task % parts * rows;
        let rows = rows.min(outputs - row);
        let target = &target;
        let product = |patches: *const f32, step: usize| {
            let weight = &conv.weight[row * depth..(row + rows) * depth];
            // SAFETY: the weight is [rows, depth]; the patches are [depth, count] with `step` floats
            // from row to row (the callers below hold that many); the target's block of rows and
            // columns lies inside [outputs, pixels] and belongs to this task alone.
            unsafe {
                let target = target.0.add(row * pixels + first);
                gemm::gemm(
                    rows,
                    count,
                    depth,
                    target,
                    1,
                    pixels as isize,
                    false,
                    weight.as_ptr(),
                    1,
                    depth as isize,
                    patches,
                    1,
                    step as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        };
        if direct {
            let end = &source.image[first..];
            assert!(end.len() >= (depth - 1) * pixels + count);
            product(end.as_ptr(), pixels);
        } else {
            PATCHES.with_borrow_mut(|patches| {
                patches.resize((depth * count).max(patches.len()), 0.0);
                let patches = &mut patches[..depth * count];
                gather(conv, &source, first, count, patches);
                product(patches.as_ptr(), count);
            });
        }
        for row in row..row + rows {
            // SAFETY: the same block as above, one row at a time.
            let line = unsafe {
                std::slice::from_raw_parts_mut(target.0.add(row * pixels + first), count)
            };
            finish(line, conv.bias[row], activation);
        }
    });
}

/// Adds the bias and clamps.
fn finish(line: &mut [f32], bias: f32, activation: Activation) {
    let (low, high) = activation.bounds();
    match activation {
        Activation::Identity => line.iter_mut().for_each(|value| *value += bias),
        _ => line.iter_mut().for_each(|value| *value = (*value + bias).max(low).min(high)),
    }
}

/// The patches under the result's pixels `first..first + count`, `[channels * kernel * kernel, count]`.
fn gather(conv: &Conv2d, source: &Source, first: usize, count: usize, patches: &mut [f32]) {
    let [height, width] = source.size;
    let (kernel, stride, dilation) = (conv.kernel, conv.stride, conv.dilation);
    let area = height * width;
    for (line, patch) in patches.chunks_exact_mut(count).enumerate() {
        let (channel, tap) = (line / (kernel * kernel), line % (kernel * kernel));
        let plane = &source.image[channel * area..][..area];
        let (dy, dx) = (tap / kernel * dilation, tap % kernel * dilation);
        let mut done = 0;
        while done < count {
            let (y, x) = ((first + done) / source.width, (first + done) % source.width);
            let run = (source.width - x).min(count - done);
            let out = &mut patch[done..done + run];
            done += run;
            let Some(sy) = (y * stride + dy).checked_sub(source.pads[0].0).filter(|y| *y < height)
            else {
                out.fill(0.0);
                continue;
            };
            let row = &plane[sy * width..][..width];
            let left = source.pads[1].0;
            // Results before `start` look left of the picture, those from `end` on right of it.
            let start = left.saturating_sub(dx).div_ceil(stride).clamp(x, x + run);
            let end = (width + left).saturating_sub(dx).div_ceil(stride).clamp(start, x + run);
            out[..start - x].fill(0.0);
            out[end - x..].fill(0.0);
            if start == end {
                continue;
            }
            let from = start * stride + dx - left;
            let inside = &mut out[start - x..end - x];
            if stride == 1 {
                let length = inside.len();
                inside.copy_from_slice(&row[from..from + length]);
            } else {
                for (out, value) in inside.iter_mut().zip(row[from..].iter().step_by(stride)) {
                    *out = *value;
                }
            }
        }
    }
}
