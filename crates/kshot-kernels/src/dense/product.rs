//! Products of a weight with the patches of a batch, block by block.

use rayon::prelude::*;

use super::TASKS;
use super::blocks::{Block, Blocks};
use crate::Activation;
use crate::micro;
use crate::panels::{self, Left, Panels, pack_all, packed_len};
use crate::patches::{Planes, View};
use crate::scratch::Scratch;
use crate::shared::Shared;

/// Rows of a task's product are a multiple of this: whole panels.
const ROWS: usize = 2 * micro::ROWS;
/// Channels this many floats apart, or a multiple of it, fall on the same lines of the cache: they are
/// copied together first.
const CLASH: usize = 256;

/// Where products go: planes of `[batch, all channels, height, width]`, at every `step`-th pixel from
/// `first` on.
pub(super) struct Target<'a> {
    pub(super) values: Shared<'a>,
    pub(super) all: usize,
    pub(super) size: [usize; 2],
    pub(super) step: [usize; 2],
    pub(super) first: [usize; 2],
    pub(super) grid: [usize; 2],
}

impl Target<'_> {
    fn is_whole(&self) -> bool {
        self.grid == self.size
    }

    /// Copies one row of a block's product.
    ///
    /// # Safety
    /// No other task writes this channel at these places.
    pub(super) unsafe fn write(&self, block: &Block, channel: usize, line: &[f32]) {
        let area = self.size[0] * self.size[1];
        for (picture, line) in
            (block.pictures[0]..block.pictures[1]).zip(line.chunks_exact(block.each()))
        {
            let plane = (picture * self.all + channel) * area;
            if self.is_whole() {
                // SAFETY: these places of this channel are this task's, by the caller's promise.
                let out = unsafe { self.values.part(plane + block.places[0], line.len()) };
                out.copy_from_slice(line);
                continue;
            }
            let mut done = 0;
            while done < line.len() {
                let place = block.places[0] + done;
                let (y, x) = (place / self.grid[1], place % self.grid[1]);
                let count = (self.grid[1] - x).min(line.len() - done);
                let row = plane + (y * self.step[0] + self.first[0]) * self.size[1];
                for (index, value) in line[done..done + count].iter().enumerate() {
                    let column = (x + index) * self.step[1] + self.first[1];
                    // SAFETY: as above; one pixel at a time, since those between are other tasks'.
                    unsafe { self.values.part(row + column, 1)[0] = *value };
                }
                done += count;
            }
        }
    }
}

/// The left operand of a product.
#[derive(Clone, Copy)]
pub(super) enum Weight<'a> {
    Plain(Left<'a>),
    /// All groups' panels.
    Packed(Panels<'a>),
}

/// One product for every group: `[groups, rows, depth]` times the patches of the group's channels.
pub(super) struct Product<'a> {
    pub(super) view: &'a View,
    pub(super) source: &'a [f32],
    /// Channels of a group in the source.
    pub(super) inside: usize,
    pub(super) groups: usize,
    pub(super) batch: usize,
    pub(super) matrix: Weight<'a>,
    /// Rows of a group.
    pub(super) rows: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) activation: Activation,
}

impl Product<'_> {
    pub(super) fn run(&self, target: &Target) {
        let depth = self.inside * self.view.taps.len();
        let blocks = Blocks::new(self.batch, self.view.area(), depth + self.rows);
        // Few places, as in deep stages: the rows are shared out as well.
        let parts = TASKS.div_ceil(blocks.count().max(1) * self.groups);
        let rows = self.rows.div_ceil(parts).next_multiple_of(ROWS).min(self.rows);
        let parts = self.rows.div_ceil(rows);
        let packed;
        let panels = match self.matrix {
            Weight::Packed(panels) => panels,
            Weight::Plain(left) => {
                let mut panels = Scratch::take(self.groups * packed_len(self.rows, depth));
                pack_all(left, self.groups, [self.rows, depth], &mut panels);
                packed = panels;
                Panels::floats(&packed)
            }
        };
        assert!(panels.are_of(self.groups, [self.rows, depth]), "other packed weights");
        (0..self.groups * blocks.count() * parts).into_par_iter().for_each(|task| {
            let (group, within) =
                (task / (blocks.count() * parts), task % (blocks.count() * parts));
            let (block, first) = (blocks.block(within / parts), within % parts * rows);
            let rows = rows.min(self.rows - first);
            let panels = panels.from(group, [self.rows, depth], first);
            self.block(target, panels, group, &block, [first, rows]);
        });
    }

    /// Rows `first..first + rows` of a group at a block's places.
    fn block(
        &self,
        target: &Target,
        panels: Panels,
        group: usize,
        block: &Block,
        [first, rows]: [usize; 2],
    ) {
        let depth = self.inside * self.view.taps.len();
        let area = self.view.area();
        let count = block.len();
        let planes = Planes {
            values: self.source,
            all: self.inside * self.groups,
            first: group * self.inside,
            count: self.inside,
        };
        let scratch;
        let in_place = self.view.is_identity() && block.is_one() && !area.is_multiple_of(CLASH);
        let (right, line) = if in_place {
            let plane = block.pictures[0] * planes.all + planes.first;
            (&self.source[plane * area..][block.places[0]..depth * area], area)
        } else {
            let mut patches = Scratch::take(depth * count);
            self.view.gather(&planes, block.places(), &mut patches);
            scratch = patches;
            (&scratch[..], count)
        };
        let channel = group * self.rows + first;
        let product = panels::Product {
            panels,
            rows,
            depth,
            right,
            line,
            columns: count,
            bias: self.bias.map(|bias| &bias[channel..]),
            activation: self.activation,
        };
        if target.is_whole() && block.is_one() {
            let first = (block.pictures[0] * target.all + channel) * area + block.places[0];
            let start = target.values.pointer(first, (rows - 1) * area + count);
            // SAFETY: these places of these channels are this task's alone, inside as just checked.
            unsafe { product.run(start, area) };
            return;
        }
        let mut results = Scratch::take(rows * count);
        // SAFETY: there are as many results.
        unsafe { product.run(results.as_mut_ptr(), count) };
        for (line, out) in results.chunks_exact(count).enumerate() {
            // SAFETY: tasks differ in group, rows or block.
            unsafe { target.write(block, channel + line, out) };
        }
    }
}
