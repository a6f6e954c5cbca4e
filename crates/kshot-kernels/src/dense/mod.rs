//! Convolutions as matrix products over blocks of places, for any kernel, stride, dilation and groups.
//!
//! A block is part of a picture, or several small pictures. Patches are gathered block by block, never
//! as a whole: scratch is bounded for each thread. How the work is cut depends on the shapes alone, so
//! that results are the same for any number of threads.

mod blocks;
mod matrix;
mod product;
mod weight;

use blocks::Block;
pub(crate) use matrix::{Matrix, multiply};
use product::{Product, Target, Weight};
pub(crate) use weight::{bias_gradient, weight_gradient};

use crate::Activation;
use crate::geometry::Geometry;
use crate::panels::{Left, Panels};
use crate::patches::View;
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Tasks that the work is cut into at least, where there is as much.
const TASKS: usize = 8;

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
    let matrix = Weight::Plain(Left::Rows(weight));
    convolve(geometry, images, matrix, bias, activation, result);
}

/// [`forward`] with a weight that is packed already.
pub(crate) fn forward_packed(
    geometry: &Geometry,
    images: &[f32],
    panels: Panels,
    bias: Option<&[f32]>,
    activation: Activation,
    result: &mut [f32],
) {
    geometry.check(images.len(), geometry.weight_len(), result.len());
    convolve(geometry, images, Weight::Packed(panels), bias, activation, result);
}

fn convolve(
    geometry: &Geometry,
    images: &[f32],
    matrix: Weight,
    bias: Option<&[f32]>,
    activation: Activation,
    result: &mut [f32],
) {
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
        matrix,
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
        let taps_used: Vec<usize> = used.iter().map(|(tap, _)| *tap).collect();
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
            matrix: Weight::Plain(Left::Turned { values: weight, taps, used: &taps_used }),
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
