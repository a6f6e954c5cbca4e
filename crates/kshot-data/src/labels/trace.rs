//! Pixels to polygons: outlines along the pixels' borders, which fill to the very same pixels.

use std::collections::BTreeMap;

use crate::annotation::Corner;
use crate::components;
use crate::mask::Mask;

/// Right, down, left, up.
const STEPS: [(isize, isize); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];
/// The cell right of the way ahead, from the corner where one stands, by direction.
const AHEAD_RIGHT: [(isize, isize); 4] = [(0, 0), (-1, 0), (-1, -1), (0, -1)];
/// The cell left of the way ahead.
const AHEAD_LEFT: [(isize, isize); 4] = [(0, -1), (0, 0), (-1, 0), (-1, -1)];

/// One outline for each 4-connected piece of the value `value`, in reading order of the pieces.
/// Holes are reached by an edge that is walked there and back.
pub fn pieces(mask: &Mask, value: u8) -> Vec<Vec<Corner>> {
    let (labels, count) = components::pieces(mask, |pixel| pixel == value);
    let mut outlines: Vec<Vec<Corner>> = vec![Vec::new(); count];
    let mut holes: BTreeMap<usize, Vec<Vec<Corner>>> = BTreeMap::new();
    for (piece, ring) in rings(&labels, mask.width, mask.height) {
        // In reading order the first ring of a piece is its outer one: its topmost row is above
        // every hole's.
        if outlines[piece].is_empty() {
            outlines[piece] = ring;
        } else {
            holes.entry(piece).or_default().push(ring);
        }
    }
    for (piece, holes) in holes {
        outlines[piece] = joined(std::mem::take(&mut outlines[piece]), holes);
    }
    outlines
}

/// Distances that [`joined`] measures to find the shortest ways, at most: some tenths of a second.
const MOST_MEASURED: usize = 1 << 25;

/// One outline around several, each reached by an edge that is walked there and back, from its nearest corner; where
/// there are very many, from the one before. It fills to the pixels that are inside an odd number of them.
pub fn joined(first: Vec<Corner>, rest: impl IntoIterator<Item = Vec<Corner>>) -> Vec<Corner> {
    let mut outline = first;
    let mut measured = 0;
    for ring in rest {
        let Some(&[x, y]) = ring.first() else { continue };
        let distance = |&[a, b]: &Corner| (a - x).powi(2) + (b - y).powi(2);
        measured += outline.len();
        let near = if measured < MOST_MEASURED {
            let nearest = outline
                .iter()
                .enumerate()
                .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
            nearest.map(|(index, _)| index)
        } else {
            Some(outline.len().saturating_sub(2))
        };
        let Some(near) = near else {
            outline = ring;
            continue;
        };
        // ... near, ring[0], ring[1], ..., ring[0], near, ...
        let back = [ring[0], outline[near]];
        outline.splice(near + 1..near + 1, ring.into_iter().chain(back));
    }
    outline
}

/// Every closed border with the piece on its right, in reading order of its first top edge.
pub(super) fn rings(labels: &[usize], width: usize, height: usize) -> Vec<(usize, Vec<Corner>)> {
    let label = |x: isize, y: isize| {
        let inside = x >= 0 && y >= 0 && x < width as isize && y < height as isize;
        if inside { labels[y as usize * width + x as usize] } else { usize::MAX }
    };
    let mut walked = vec![false; labels.len()];
    let mut rings = Vec::new();
    for start in 0..labels.len() {
        let (x, y) = ((start % width) as isize, (start / width) as isize);
        let piece = labels[start];
        if piece == usize::MAX || walked[start] || label(x, y - 1) == piece {
            continue;
        }
        let mut ring = Vec::new();
        let (mut corner, mut direction) = ((x, y), 0);
        loop {
            if direction == 0 {
                let cell = corner.1 as usize * width + corner.0 as usize;
                if walked[cell] {
                    break;
                }
                walked[cell] = true;
            }
            let step = STEPS[direction];
            corner = (corner.0 + step.0, corner.1 + step.1);
            let at = |(x, y): (isize, isize)| label(corner.0 + x, corner.1 + y) == piece;
            let turned = if !at(AHEAD_RIGHT[direction]) {
                (direction + 1) % 4
            } else if at(AHEAD_LEFT[direction]) {
                (direction + 3) % 4
            } else {
                direction
            };
            if turned != direction {
                ring.push([corner.0 as f64, corner.1 as f64]);
            }
            direction = turned;
        }
        rings.push((piece, ring));
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::polygon;
    use rand::{Rng, SeedableRng};

    #[test]
    fn a_ring_is_one_outline_with_its_hole() {
        let mask = Mask::from_pixels(3, 3, vec![1, 1, 1, 1, 0, 1, 1, 1, 1]).unwrap();
        let outlines = pieces(&mask, 1);
        assert_eq!(outlines.len(), 1);
        assert_eq!(outlines[0].len(), 4 + 4 + 2);
        let mut back = Mask::filled(3, 3, 0);
        polygon::fill(&mut back, &outlines[0], 1);
        assert_eq!(back, mask);
    }

    #[test]
    fn very_many_holes_are_joined_all_the_same() {
        let (width, height) = (150, 150);
        let pixels = (0..width * height).map(|at| u8::from(at % width % 2 + at / width % 2 < 2));
        let mask = Mask::from_pixels(width, height, pixels.collect()).unwrap();
        let outlines = pieces(&mask, 1);
        assert_eq!(outlines.len(), 1);
        let mut back = Mask::filled(width, height, 0);
        polygon::fill(&mut back, &outlines[0], 1);
        assert_eq!(back, mask);
    }

    #[test]
    fn outlines_of_any_mask_fill_to_the_same_pixels() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for _ in 0..300 {
            let (width, height) = (random.random_range(1..14), random.random_range(1..14));
            let classes = random.random_range(2..4);
            let pixels = (0..width * height).map(|_| random.random_range(0..classes)).collect();
            let mask = Mask::from_pixels(width, height, pixels).unwrap();
            let mut back = Mask::filled(width, height, 0);
            for value in 1..classes {
                for outline in pieces(&mask, value) {
                    polygon::fill(&mut back, &outline, value);
                }
                // All in one outline, too.
                let mut one = Mask::filled(width, height, 0);
                polygon::fill(&mut one, &joined(Vec::new(), pieces(&mask, value)), 1);
                for (&one, &pixel) in one.pixels.iter().zip(&mask.pixels) {
                    assert_eq!(one == 1, pixel == value);
                }
            }
            assert_eq!(back, mask);
        }
    }
}
