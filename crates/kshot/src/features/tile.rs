//! How a picture is cut into tiles, and how tile scores are blended again.

use crate::decoder::Segmenter;
use crate::features::score_map::ScoreMap;

/// A rectangle of the working picture; its size is a multiple of [`GRAIN`], so it may reach beyond
/// the picture on the right and below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Tile {
    /// `[top, left, height, width]`.
    pub fn area(self) -> [usize; 4] {
        [self.top, self.left, self.height, self.width]
    }
}

/// Tiles start at multiples of this many working pixels and have sizes that are multiples of it:
/// the coarsest stride of the encoders.
pub const GRAIN: usize = 32;
/// Working pixels per cell of the grid that scores are made on.
pub const CELL: usize = 4;

/// The tiles of a working picture of `size` (`[height, width]`): at most `side` pixels a side, each
/// overlapping the next by at least `overlap`. A picture that fits is one tile.
pub fn plan(size: [usize; 2], side: usize, overlap: usize) -> Vec<Tile> {
    let spans = size.map(|length| spans(length, side, overlap));
    let mut tiles = Vec::with_capacity(spans[0].len() * spans[1].len());
    for &(top, height) in &spans[0] {
        for &(left, width) in &spans[1] {
            tiles.push(Tile { top, left, height, width });
        }
    }
    tiles
}

/// How large tiles are, and how much of one its neighbours share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Side in pixels, a multiple of [`GRAIN`].
    side: usize,
    /// Pixels that neighbours share at least.
    overlap: usize,
}

impl Tiling {
    /// Tiles of `side` pixels, brought up to a multiple of [`GRAIN`], that share so much of it with the next.
    pub fn new(side: usize, share: f32) -> Self {
        let side = side.max(GRAIN).next_multiple_of(GRAIN);
        let overlap = (side as f64 * f64::from(share)) as usize;
        Self { side, overlap: overlap.min(side - GRAIN) }
    }

    /// The tiles of a picture of `size` (`[height, width]`), as far as they are inside it; one where it fits.
    pub fn tiles(self, size: [usize; 2]) -> Vec<Tile> {
        let mut tiles = plan(size, self.side, self.overlap);
        for tile in &mut tiles {
            tile.height = tile.height.min(size[0] - tile.top);
            tile.width = tile.width.min(size[1] - tile.left);
        }
        tiles
    }
}

/// Tiles in groups that a network may see at once: of one size each, at most `most` tiles, and as many as a power of two,
/// so that batches are of few sizes.
pub fn batches(mut tiles: Vec<Tile>, most: usize) -> Vec<Vec<Tile>> {
    let size = |tile: &Tile| (tile.height, tile.width);
    // Tiles at the borders may be smaller; the order of the others stays.
    tiles.sort_by_key(|tile| std::cmp::Reverse(size(tile)));
    let mut groups = Vec::new();
    for alike in tiles.chunk_by(|a, b| size(a) == size(b)) {
        let mut left = alike;
        while !left.is_empty() {
            let power = |bound: usize| 1 << bound.max(1).ilog2();
            let (group, rest) = left.split_at(power(left.len().min(most)));
            groups.push(group.to_vec());
            left = rest;
        }
    }
    groups
}

/// What the rows or columns of a tile count where tiles are averaged: a Gaussian whose standard deviation is an eighth of
/// the side, as nnU-Net has it (Isensee et al. 2021, arXiv 1904.08128).
fn gaussian(side: usize) -> Vec<f32> {
    let (middle, deviation) = (side as f32 / 2.0, side as f32 / 8.0);
    (0..side).map(|at| (-0.5 * ((at as f32 + 0.5 - middle) / deviation).powi(2)).exp()).collect()
}

/// The mean of what tiles say of each pixel, in which a tile's middle counts more than its border.
#[derive(Debug)]
pub struct TileMean {
    planes: usize,
    size: [usize; 2],
    sums: Vec<f32>,
    weights: Vec<f32>,
}

impl TileMean {
    /// Of no tile yet, for a picture of `size` (`[height, width]`).
    pub fn new(planes: usize, size: [usize; 2]) -> Self {
        let area = size[0] * size[1];
        Self { planes, size, sums: vec![0.0; planes * area], weights: vec![0.0; area] }
    }

    /// Adds the values of a tile inside the picture, `[planes, tile.height, tile.width]`.
    pub fn add(&mut self, tile: Tile, values: &[f32]) {
        let area = self.size[0] * self.size[1];
        let (down, across) = (gaussian(tile.height), gaussian(tile.width));
        for (y, down) in down.iter().enumerate() {
            let to = (tile.top + y) * self.size[1] + tile.left;
            for (sum, across) in self.weights[to..][..tile.width].iter_mut().zip(&across) {
                *sum += down * across;
            }
            for plane in 0..self.planes {
                let from = (plane * tile.height + y) * tile.width;
                let sums = self.sums[plane * area + to..][..tile.width].iter_mut();
                for ((sum, value), across) in sums.zip(&values[from..]).zip(&across) {
                    *sum += down * across * value;
                }
            }
        }
    }

    /// `[planes, height, width]`
    pub fn finish(mut self) -> Vec<f32> {
        let area = (self.size[0] * self.size[1]).max(1);
        for plane in self.sums.chunks_exact_mut(area) {
            plane.iter_mut().zip(&self.weights).for_each(|(sum, weight)| *sum /= weight);
        }
        self.sums
    }
}

/// The sides that networks see on a GPU, where every shape is tuned for once and pictures of a folder have many: two an
/// octave, `2^n` and `3 * 2^n`, the next from a length up. A multiple of [`GRAIN`].
pub fn common_side(length: usize) -> usize {
    let whole = length.max(GRAIN).next_power_of_two();
    let between = whole / 4 * 3;
    if between >= length && between.is_multiple_of(GRAIN) { between } else { whole }
}

/// The size at which a network is shown a picture or a part of one (`[height, width]`): [`Segmenter::shown_size`], and
/// with `few_shapes`, as on a GPU, one of few sizes that hold it, as far as that changes nothing inside.
pub fn shown_size(network: &Segmenter, size: [usize; 2], few_shapes: bool) -> [usize; 2] {
    let size = network.shown_size(size);
    if few_shapes && network.is_local() { size.map(common_side) } else { size }
}

/// `(start, length)` of each tile along one axis.
fn spans(length: usize, side: usize, overlap: usize) -> Vec<(usize, usize)> {
    let padded = length.next_multiple_of(GRAIN);
    if padded <= side {
        return vec![(0, padded)];
    }
    let count = (padded - overlap).div_ceil(side - overlap);
    // Spread evenly: the last tile ends where the padded picture does.
    (0..count)
        .map(|index| {
            let start = (padded - side) * index / (count - 1);
            (start / GRAIN * GRAIN, side)
        })
        .collect()
}

/// Sums tile scores into one map, each weighted by a ramp that falls to nothing at the tile's edge.
#[derive(Debug)]
pub struct Blend {
    map: ScoreMap,
    weights: Vec<f32>,
    cell: usize,
}

impl Blend {
    /// An empty map over a working picture of `work` (`[height, width]`), made from a picture of
    /// `picture` (`[height, width]`), with cells of `cell` working pixels.
    pub fn new(planes: usize, work: [usize; 2], picture: [usize; 2], cell: usize) -> Self {
        let [height, width] = work.map(|length| length.next_multiple_of(GRAIN) / cell);
        let scale = [0, 1].map(|axis| work[axis] as f32 / picture[axis] as f32 / cell as f32);
        let data = vec![0.0; planes * height * width];
        Self {
            map: ScoreMap { planes, height, width, data, scale },
            weights: vec![0.0; height * width],
            cell,
        }
    }

    /// Adds the scores of one tile, `[planes, tile.height / cell, tile.width / cell]`.
    pub fn add(&mut self, tile: Tile, scores: &[f32]) {
        let [top, left, height, width] =
            [tile.top, tile.left, tile.height, tile.width].map(|length| length / self.cell);
        let ramp = |index: usize, length: usize| (index.min(length - 1 - index) + 1) as f32;
        let cells = self.map.height * self.map.width;
        for y in 0..height {
            let row = (top + y) * self.map.width + left;
            for x in 0..width {
                let weight = ramp(y, height).min(ramp(x, width));
                self.weights[row + x] += weight;
                for plane in 0..self.map.planes {
                    self.map.data[plane * cells + row + x] +=
                        weight * scores[(plane * height + y) * width + x];
                }
            }
        }
    }

    /// The weighted mean.
    pub fn finish(mut self) -> ScoreMap {
        let cells = self.map.height * self.map.width;
        for plane in self.map.data.chunks_exact_mut(cells) {
            for (value, weight) in plane.iter_mut().zip(&self.weights) {
                *value /= weight;
            }
        }
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything_and_overlap() {
        for length in [1, 31, 32, 33, 512, 513, 700, 1500, 4001] {
            let spans = spans(length, 512, 96);
            assert_eq!(spans[0].0, 0);
            let (start, size) = spans[spans.len() - 1];
            assert_eq!(start + size, length.next_multiple_of(GRAIN), "{length}");
            for pair in spans.windows(2) {
                assert!(pair[1].0 + 64 <= pair[0].0 + pair[0].1, "{length}: {pair:?}");
                assert_eq!(pair[1].0 % GRAIN, 0);
            }
        }
    }

    #[test]
    fn tiles_that_a_network_sees_at_once_are_alike_and_of_few_numbers() {
        let tiles = Tiling::new(64, 0.25).tiles([200, 330]);
        assert!(tiles.iter().all(|tile| tile.top + tile.height <= 200));
        let groups = batches(tiles.clone(), 8);
        for group in &groups {
            assert!(group.len().is_power_of_two() && group.len() <= 8);
            let size = |tile: &Tile| [tile.height, tile.width];
            assert!(group.iter().all(|tile| size(tile) == size(&group[0])));
        }
        let mut seen: Vec<[usize; 4]> = groups.concat().into_iter().map(Tile::area).collect();
        let mut all: Vec<[usize; 4]> = tiles.into_iter().map(Tile::area).collect();
        seen.sort_unstable();
        all.sort_unstable();
        assert_eq!(seen, all);
        assert!(groups.len() < all.len() / 2, "{} groups of {}", groups.len(), all.len());
    }

    #[test]
    fn common_sides_are_few_and_not_much_longer() {
        let sides: Vec<usize> = (1..=1024).map(common_side).collect();
        for (length, side) in (1..=1024).zip(&sides) {
            assert!(*side >= length && side.is_multiple_of(GRAIN), "{length} {side}");
            assert!(length < 96 || *side <= length * 3 / 2, "{length} {side}");
            assert_eq!(common_side(*side), *side);
        }
        let mut distinct = sides;
        distinct.dedup();
        assert_eq!(distinct, [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024]);
    }

    #[test]
    fn blending_equal_tiles_changes_nothing() {
        let mut blend = Blend::new(2, [600, 200], [600, 200], CELL);
        for tile in plan([600, 200], 256, 96) {
            let cells = tile.height / CELL * (tile.width / CELL);
            let scores: Vec<f32> =
                (0..2 * cells).map(|i| if i < cells { 3.0 } else { 5.0 }).collect();
            blend.add(tile, &scores);
        }
        let map = blend.finish();
        assert!(map.plane(0).iter().all(|value| (value - 3.0).abs() < 1e-5));
        assert!(map.plane(1).iter().all(|value| (value - 5.0).abs() < 1e-5));
    }
}
