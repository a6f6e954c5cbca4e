//! Where the tiles of a batch lie: 4x4 results each, which see 6x6 pixels.
//!
//! With a dilation the pixels of equal remainder make up pictures of their own, which are convolved
//! without one: a tile's pixels are then that many apart.

use super::transform::OUT;

/// Places in and out of a 3x3 convolution of stride 1, or of its input gradient.
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    /// Height and width of the planes read and written.
    pub(super) size: [usize; 2],
    pub(super) out: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// The pixel that the first result's first tap sees; negative in the padding.
    pub(super) origin: [isize; 2],
    strips: Vec<Strip>,
    count: usize,
}

/// Neighbouring tiles of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strip {
    pub(super) picture: usize,
    /// First result's row and column.
    pub(super) place: [usize; 2],
    /// Number of the first tile, and how many there are.
    pub(super) first: usize,
    pub(super) tiles: usize,
}

impl Tiles {
    pub(super) fn new(
        batch: usize,
        size: [usize; 2],
        out: [usize; 2],
        dilation: [usize; 2],
        origin: [isize; 2],
    ) -> Self {
        // Tiles along an axis, for the results of one remainder.
        let along =
            |axis: usize, phase: usize| (out[axis] - phase).div_ceil(dilation[axis]).div_ceil(OUT);
        let mut strips = Vec::new();
        let mut count = 0;
        for picture in 0..batch {
            for top in 0..dilation[0].min(out[0]) {
                for left in 0..dilation[1].min(out[1]) {
                    for row in 0..along(0, top) {
                        let place = [top + row * OUT * dilation[0], left];
                        let tiles = along(1, left);
                        strips.push(Strip { picture, place, first: count, tiles });
                        count += tiles;
                    }
                }
            }
        }
        Self { size, out, dilation, origin, strips, count }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The strips of tiles `from..to`, each at most `most` tiles long.
    pub(super) fn strips(
        &self,
        [from, to]: [usize; 2],
        most: usize,
    ) -> impl Iterator<Item = Strip> + '_ {
        let start = self.strips.partition_point(|strip| strip.first + strip.tiles <= from);
        let strips = self.strips[start..].iter().take_while(move |strip| strip.first < to);
        strips.flat_map(move |strip| {
            let inside = [from.max(strip.first), to.min(strip.first + strip.tiles)];
            (inside[0]..inside[1]).step_by(most).map(move |first| {
                let column = strip.place[1] + (first - strip.first) * OUT * self.dilation[1];
                Strip {
                    place: [strip.place[0], column],
                    first,
                    tiles: most.min(inside[1] - first),
                    ..*strip
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_lies_in_one_tile() {
        for (out, dilation) in [([9, 13], [1, 1]), ([7, 3], [2, 3]), ([1, 1], [4, 1])] {
            let tiles = Tiles::new(2, [9, 9], out, dilation, [0, 0]);
            let mut seen = vec![0; 2 * out[0] * out[1]];
            let mut next = 0;
            let cut = tiles.len() / 2;
            for range in [[0, cut], [cut, tiles.len()]] {
                for strip in tiles.strips(range, 2) {
                    assert_eq!(strip.first, next);
                    assert!((1..=2).contains(&strip.tiles));
                    next += strip.tiles;
                    for place in 0..OUT * OUT * strip.tiles {
                        let y = strip.place[0] + place % OUT * dilation[0];
                        let x = strip.place[1] + place / OUT * dilation[1];
                        if y < out[0] && x < out[1] {
                            seen[(strip.picture * out[0] + y) * out[1] + x] += 1;
                        }
                    }
                }
            }
            assert_eq!(next, tiles.len());
            assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
