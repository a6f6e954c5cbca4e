//! Connected pieces of a mask.

use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};

/// The area in pixels of every 4-connected piece of one class (background, void and unlabelled
/// left out).
pub fn areas(mask: &Mask) -> Vec<usize> {
    let (pieces, count) = pieces(mask, |value| value != BACKGROUND && value <= MAX_CLASSES);
    let mut areas = vec![0; count];
    pieces.iter().filter(|piece| **piece != usize::MAX).for_each(|&piece| areas[piece] += 1);
    areas
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
        let mut areas = areas(&mask);
        areas.sort_unstable();
        assert_eq!(areas, [1, 1, 1, 2]);
    }
}
