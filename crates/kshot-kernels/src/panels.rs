//! Matrix products whose left operand, a weight, lies in panels of a few rows: packed once, it serves
//! every block of pixels. The right operand is read where it lies, or tile by tile from a copy where many panels
//! meet it.

use std::ops::Range;

use rayon::prelude::*;

use crate::Activation;
use crate::micro::{self, Ends, MOST, ROWS, tile_of};
use crate::scratch::Scratch;
use crate::simd::format::{Format, FormatKernel, dispatch_floats, dispatch_pairs};
use crate::simd::{Simd, pair};

/// Products that are summed before the next tile: a tile's part stays in the nearest cache. Where there are 32 registers
/// it is the second, which keeps up with four vectors, and fewer sums are written and read again.
const DEPTH: [usize; 2] = [256, 384];
/// Panels that meet a tile before the next: their parts stay in the second cache.
const PANELS: usize = 32;

/// Panels that are packed together: neighbours share the lines of a turned weight.
const TOGETHER: usize = 8;
/// Products of each panel that are packed before those of the next: they stay in the nearest cache.
const SLICE: usize = 64;
/// Panels that make it worth while to lay a tile out first.
const WORTH: usize = 8;

/// Floats of the panels of so many rows.
pub(crate) fn packed_len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(ROWS) * depth
}

/// Panels of a matrix, or several one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    values: &'a [f32],
    /// Whether they are pairs of bf16 ([`paired`]).
    pairs: bool,
}

impl<'a> Panels<'a> {
    pub(crate) fn floats(values: &'a [f32]) -> Self {
        Self { values, pairs: false }
    }

    /// Of what [`paired`] made.
    pub(crate) fn pairs(values: &'a [f32]) -> Self {
        Self { values, pairs: true }
    }

    /// Steps of so many products.
    fn steps(self, depth: usize) -> usize {
        if self.pairs { depth.div_ceil(2) } else { depth }
    }

    /// Whether there are those of `groups` matrices of so many rows and such a depth, and no more.
    pub(crate) fn are_of(self, groups: usize, [rows, depth]: [usize; 2]) -> bool {
        self.values.len() == groups * packed_len(rows, self.steps(depth))
    }

    /// Those of a matrix from `first` on, which begins a panel.
    pub(crate) fn from(self, matrix: usize, [rows, depth]: [usize; 2], first: usize) -> Self {
        let steps = self.steps(depth);
        let each = packed_len(rows, steps);
        Self { values: &self.values[matrix * each + first * steps..(matrix + 1) * each], ..self }
    }
}

/// Packed floats as pairs of bf16: two neighbouring products of a row in one, the last with zero where it has
/// no neighbour.
pub(crate) fn paired(panels: &[f32], depth: usize) -> Vec<f32> {
    let mut pairs = Vec::with_capacity(panels.len() / depth * depth.div_ceil(2));
    for panel in panels.chunks_exact(depth * ROWS) {
        for step in panel.chunks(2 * ROWS) {
            let (low, high) = step.split_at(ROWS);
            for (row, low) in low.iter().enumerate() {
                pairs.push(pair([*low, high.get(row).copied().unwrap_or(0.0)]));
            }
        }
    }
    pairs
}

/// The left operand where it lies.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// `[rows, depth]`.
    Rows(&'a [f32]),
    /// A weight seen from its results, `[outputs, rows, taps]`, of whose taps some are used: the depth
    /// is outputs times those.
    Turned { values: &'a [f32], taps: usize, used: &'a [usize] },
}

impl<'a> Left<'a> {
    /// One of `groups` equal parts.
    pub(crate) fn group(self, group: usize, groups: usize) -> Self {
        let part = |values: &'a [f32]| {
            let each = values.len() / groups;
            &values[group * each..(group + 1) * each]
        };
        match self {
            Self::Rows(values) => Self::Rows(part(values)),
            Self::Turned { values, taps, used } => {
                Self::Turned { values: part(values), taps, used }
            }
        }
    }
}

/// Packs products `range` of panel `index` of a matrix of so many rows and such a depth; rows that do not
/// exist are zero.
fn pack(
    left: Left,
    [rows, depth]: [usize; 2],
    index: usize,
    range: Range<usize>,
    panel: &mut [f32],
) {
    let first = index * ROWS;
    let count = ROWS.min(rows - first);
    if count < ROWS {
        panel.fill(0.0);
    }
    match left {
        Left::Rows(values) => {
            let lines = values[first * depth..][..count * depth].chunks_exact(depth);
            for (row, line) in lines.enumerate() {
                let to = panel[row..].iter_mut().step_by(ROWS);
                to.zip(&line[range.clone()]).for_each(|(to, value)| *to = *value);
            }
        }
        Left::Turned { values, taps, used } => {
            let outputs = &values[range.start / used.len() * rows * taps..];
            let panels = panel.chunks_exact_mut(ROWS * used.len());
            for (kernels, panel) in outputs.chunks_exact(rows * taps).zip(panels) {
                let kernels = &kernels[first * taps..][..count * taps];
                for (tap, panel) in used.iter().zip(panel.chunks_exact_mut(ROWS)) {
                    for (to, kernel) in panel.iter_mut().zip(kernels.chunks_exact(taps)) {
                        *to = kernel[*tap];
                    }
                }
            }
        }
    }
}

/// Packs `groups` matrices of so many rows and such a depth, one after the other.
pub(crate) fn pack_all(left: Left, groups: usize, extents: [usize; 2], panels: &mut [f32]) {
    let [rows, depth] = extents;
    let each = rows.div_ceil(ROWS);
    // A turned weight has whole outputs.
    let unit = if let Left::Turned { used, .. } = left { used.len() } else { 1 };
    let slice = SLICE.next_multiple_of(unit);
    let tasks = panels.par_chunks_mut(TOGETHER * ROWS * depth).enumerate();
    tasks.for_each(|(task, panels)| {
        for start in (0..depth).step_by(slice) {
            let range = start..depth.min(start + slice);
            for (index, panel) in panels.chunks_exact_mut(ROWS * depth).enumerate() {
                let index = task * TOGETHER + index;
                let left = left.group(index / each, groups);
                let part = &mut panel[range.start * ROWS..range.end * ROWS];
                pack(left, extents, index % each, range.clone(), part);
            }
        }
    });
}

/// A product, then bias and activation.
pub(crate) struct Product<'a> {
    /// Panels of `rows` rows, or more.
    pub(crate) panels: Panels<'a>,
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    /// `depth` rows of `columns` floats, `line` floats from row to row.
    pub(crate) right: &'a [f32],
    pub(crate) line: usize,
    pub(crate) columns: usize,
    /// For each row.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Activation,
}

impl Product<'_> {
    /// Writes `rows` rows of `columns` floats, `line` floats from row to row.
    ///
    /// # Safety
    /// They may be written and read, by nobody else meanwhile.
    pub(crate) unsafe fn run(&self, target: *mut f32, line: usize) {
        let Self { panels, rows, depth, right, columns, bias, .. } = self;
        assert!(*rows > 0 && *columns > 0 && *depth > 0 && (*rows == 1 || line >= *columns));
        let steps = panels.steps(*depth);
        assert!(panels.values.len() >= packed_len(*rows, steps), "panels are missing");
        assert!(right.len() >= (depth - 1) * self.line + columns, "the right operand is too short");
        assert!(bias.is_none_or(|bias| bias.len() >= *rows), "biases are missing");
        let run = Run { product: self, target, line };
        if panels.pairs { dispatch_pairs(run) } else { dispatch_floats(run) }
    }
}

struct Run<'a> {
    product: &'a Product<'a>,
    target: *mut f32,
    line: usize,
}

impl FormatKernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, F: Format<S>>(self, simd: S, format: F) {
        let Product { panels: Panels { values: panels, .. }, rows, depth, right, line, .. } =
            *self.product;
        let columns = self.product.columns;
        let (wide, steps) = (micro::vectors::<S>() * S::LANES, depth.div_ceil(F::PRODUCTS));
        let whole = columns / wide * wide;
        let together = DEPTH[usize::from(S::REGISTERS >= 32)];
        let mut tile = Scratch::take(steps.min(together) * wide);
        for start in (0..steps).step_by(together) {
            let count = together.min(steps - start);
            let (first, last) = (start == 0, start + count == steps);
            let bounds = (last && self.product.activation != Activation::Identity)
                .then(|| self.product.activation.bounds());
            let products = start * F::PRODUCTS..depth.min((start + count) * F::PRODUCTS);
            let all = rows.div_ceil(ROWS);
            for some in (0..all).step_by(PANELS) {
                let some = some..all.min(some + PANELS);
                for column in (0..columns).step_by(wide) {
                    let width = wide.min(columns - column);
                    let right = &right[products.start * line + column..];
                    let vectors = width.div_ceil(S::LANES);
                    let in_place = F::PRODUCTS == 1 && column < whole && some.len() < WORTH;
                    let (right, line) = if in_place {
                        (right.as_ptr(), line)
                    } else {
                        let wide = vectors * S::LANES;
                        let tile = &mut tile[..count * wide];
                        lay::<S, F>(simd, (right, line), products.len(), [width, wide], tile);
                        (tile.as_ptr(), wide)
                    };
                    for panel in some.clone() {
                        let left = panels[(panel * steps + start) * ROWS..].as_ptr();
                        let bias = self.product.bias.filter(|_| last);
                        let ends = Ends {
                            rows: ROWS.min(rows - panel * ROWS),
                            first,
                            bias: bias.map(|bias| &bias[panel * ROWS..]),
                            bounds,
                        };
                        let target = self.target.wrapping_add(panel * ROWS * self.line + column);
                        let (how, target) = ((simd, format), (target, self.line));
                        let row = |at: usize| right.wrapping_add(at * line);
                        // SAFETY: panels, right operand and tile reach as far as the caller has checked
                        // and the tile was made; the target by `Product::run`'s caller.
                        unsafe {
                            if vectors == 1 {
                                tile_of::<S, F, 1>(how, left, row, count, target, width, &ends);
                            } else if S::REGISTERS < 32 || vectors == 2 {
                                tile_of::<S, F, 2>(how, left, row, count, target, width, &ends);
                            } else if vectors == 3 {
                                tile_of::<S, F, 3>(how, left, row, count, target, width, &ends);
                            } else {
                                tile_of::<S, F, MOST>(how, left, row, count, target, width, &ends);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Lays `width` columns of `depth` rows out as a tile of a format's steps, `wide` floats each: rows that lie far apart fall on
/// the same few lines of the nearest cache, and in the last tile nothing may be read past the end.
#[inline(always)]
fn lay<S: Simd, F: Format<S>>(
    simd: S,
    (right, line): (&[f32], usize),
    depth: usize,
    [width, wide]: [usize; 2],
    tile: &mut [f32],
) {
    const { assert!(F::PRODUCTS == 1 || F::PRODUCTS == 2) }
    assert!(tile.len() == depth.div_ceil(F::PRODUCTS) * wide);
    assert!(right.len() >= (depth - 1) * line + width && width <= wide);
    assert!(wide.is_multiple_of(S::LANES));
    for (step, to) in tile.chunks_exact_mut(wide).enumerate() {
        let row = |index: usize| &right[(step * F::PRODUCTS + index) * line..][..width];
        let alone = step * F::PRODUCTS + 1 == depth;
        if width < wide || (F::PRODUCTS == 2 && alone) {
            let (values, rest) = to.split_at_mut(width);
            rest.fill(0.0);
            match (F::PRODUCTS, alone) {
                (1, _) => values.copy_from_slice(row(0)),
                (_, true) => {
                    values.iter_mut().zip(row(0)).for_each(|(to, a)| *to = pair([*a, 0.0]))
                }
                _ => {
                    let both = row(0).iter().zip(row(1));
                    values.iter_mut().zip(both).for_each(|(to, (a, b))| *to = pair([*a, *b]));
                }
            }
            continue;
        }
        let from = right.as_ptr().wrapping_add(step * F::PRODUCTS * line);
        for vector in 0..wide / S::LANES {
            let from = from.wrapping_add(vector * S::LANES);
            // SAFETY: a whole tile of columns is left in each of the step's rows, by the assertion.
            unsafe {
                let mut laid = simd.load(from);
                if F::PRODUCTS == 2 {
                    laid = simd.halve([laid, simd.load(from.wrapping_add(line))]);
                }
                simd.store(to.as_mut_ptr().add(vector * S::LANES), laid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn products_are_those_of_64_bits(
            rows in 1usize..27,
            depth in 1usize..900,
            columns in 1usize..50,
            more in 0usize..9,
            biased in any::<bool>(),
            in_pairs in any::<bool>(),
        ) {
            // Eight bits hold these exactly: rounded to bf16 they stay what they are.
            let values = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 7919 + seed) % 257) as f32 / 128.0 - 1.0).collect()
            };
            let (left, bias) = (values(rows * depth, 1), values(rows, 2));
            let line = columns + more;
            let right = values(depth * line, 3);
            let mut panels = vec![f32::NAN; packed_len(rows, depth)];
            pack_all(Left::Rows(&left), 1, [rows, depth], &mut panels);
            let pairs = paired(&panels, depth);
            let product = Product {
                panels: if in_pairs { Panels::pairs(&pairs) } else { Panels::floats(&panels) },
                rows,
                depth,
                right: &right,
                line,
                columns,
                bias: biased.then_some(&bias[..]),
                activation: if biased { Activation::Relu } else { Activation::Identity },
            };
            let mut result = vec![7.0f32; rows * line];
            // SAFETY: the result has that many rows of that length.
            unsafe { product.run(result.as_mut_ptr(), line) };
            for row in 0..rows {
                for column in 0..line {
                    let found = f64::from(result[row * line + column]);
                    if column >= columns {
                        prop_assert_eq!(found, 7.0);
                        continue;
                    }
                    let sum: f64 = (0..depth)
                        .map(|k| f64::from(left[row * depth + k]) * f64::from(right[k * line + column]))
                        .sum();
                    let expected =
                        if biased { (sum + f64::from(bias[row])).max(0.0) } else { sum };
                    prop_assert!((found - expected).abs() < 1e-4, "{} is not {}", found, expected);
                }
            }
        }
    }
}
