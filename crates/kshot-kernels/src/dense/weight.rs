//! The gradients with respect to weight and bias.

use rayon::prelude::*;

use super::blocks::Blocks;
use super::matrix::{Matrix, multiply};
use super::{TASKS, forward_view};
use crate::geometry::Geometry;
use crate::patches::{Planes, View};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::sums::{add_parts, total};

/// Rows of a task's product are a multiple of this.
const ROWS: usize = 16;
/// Places of a picture from which on its products are taken together.
const IN_PLACE: usize = 64;
/// Floats of all the partial sums of a weight's gradient together.
const PARTIAL: usize = 4 << 20;

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
    let (batch, area) = (geometry.batch(), geometry.area_out());
    // What is read where it lies needs no place in a cache.
    let blocks = if view.is_identity() && area >= IN_PLACE {
        Blocks::whole(batch, area)
    } else {
        Blocks::new(batch, area, depth + outputs)
    };
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
            let count = block.len();
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
    add_parts(&sums, result);
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
