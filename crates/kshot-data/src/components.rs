//! Connected pieces of a mask.

use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};

/// A 4-connected piece of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its class.
    pub class: u8,
    /// Its pixels.
    pub area: usize,
    /// The pixel edges around it, holes' and the picture's included.
    pub outline: usize,
}

impl Piece {
    /// How thick it is, in pixels: four times the area over the outline's length is a square's side and twice a line's
    /// width, and how much it falls below the side of a square of that area tells which of both it is.
    pub fn thickness(&self) -> f32 {
        let area = self.area as f32;
        let across = 4.0 * area / self.outline as f32;
        across * 0.5 * (1.0 + across / area.sqrt())
    }
}

/// Every 4-connected piece of one class (background, void and unlabelled left out), in reading order of their first
/// pixels.
pub fn measured(mask: &Mask) -> Vec<Piece> {
    let (pieces, count) = pieces(mask, |value| value != BACKGROUND && value <= MAX_CLASSES);
    let mut found = vec![Piece { class: 0, area: 0, outline: 0 }; count];
    for (place, &piece) in pieces.iter().enumerate().filter(|(_, piece)| **piece != usize::MAX) {
        let (x, y) = (place % mask.width, place / mask.width);
        let same = |inside: bool, other: usize| usize::from(inside && pieces[other] == piece);
        let beside = same(x > 0, place.wrapping_sub(1))
            + same(x + 1 < mask.width, place + 1)
            + same(y > 0, place.wrapping_sub(mask.width))
            + same(y + 1 < mask.height, place + mask.width);
        let of = &mut found[piece];
        *of = Piece {
            class: mask.pixels[place],
            area: of.area + 1,
            outline: of.outline + 4 - beside,
        };
    }
    found
}

/// The number of each pixel's 4-connected piece of one value, in reading order of their first pixels,
/// and how many there are; `usize::MAX` where the value is not `wanted`.
pub fn pieces(mask: &Mask, wanted: impl Fn(u8) -> bool) -> (Vec<usize>, usize) {
    let mut pieces = vec![usize::MAX; mask.pixels.len()];
    let mut count = 0;
    let mut stack = Vec::new();
    for start in 0..mask.pixels.len() {
        let value = mask.pixels[start];
        if pieces[start] != usize::MAX || !wanted(value) {
            continue;
        }
        pieces[start] = count;
        stack.push(start);
        while let Some(at) = stack.pop() {
            let x = at % mask.width;
            let mut visit = |next: usize| {
                if mask.pixels[next] == value && pieces[next] == usize::MAX {
                    pieces[next] = count;
                    stack.push(next);
                }
            };
            if x > 0 {
                visit(at - 1);
            }
            if x + 1 < mask.width {
                visit(at + 1);
            }
            if at >= mask.width {
                visit(at - mask.width);
            }
            if at + mask.width < mask.pixels.len() {
                visit(at + mask.width);
            }
        }
        count += 1;
    }
    (pieces, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagonal_neighbours_are_apart_and_rows_do_not_wrap() {
        let mask = Mask::from_pixels(3, 3, vec![1, 0, 1, 0, 1, 0, 2, 2, 255]).expect("size");
        let pieces: Vec<_> =
            measured(&mask).iter().map(|of| (of.class, of.area, of.outline)).collect();
        assert_eq!(pieces, [(1, 1, 4), (1, 1, 4), (1, 1, 4), (2, 2, 6)]);
    }
}
