//! Weak labels made from masks, to measure what they are worth: strokes ([`crate::scribble`]) and boxes.

use crate::components::pieces;
use crate::mask::{BACKGROUND, MAX_CLASSES, Mask, UNLABELLED};

/// What of a class a box says, as PANet (Wang et al. 2019, arXiv 1908.06391) weakens masks: of each class the box of its
/// largest piece is the class, what is outside all boxes of all pieces is background, and inside the other boxes nothing
/// is said ([`UNLABELLED`]). Where boxes of two classes overlap nothing is said either; pixels outside all boxes keep a
/// label that is no class's (void, unlabelled).
pub fn boxes(mask: &Mask) -> Mask {
    let is_class = |value: u8| value != BACKGROUND && value <= MAX_CLASSES;
    let (piece_of, count) = pieces(mask, is_class);
    let mut found =
        vec![
            PieceBox { class: 0, area: 0, left: usize::MAX, top: usize::MAX, right: 0, bottom: 0 };
            count
        ];
    for (place, &piece) in piece_of.iter().enumerate().filter(|(_, piece)| **piece != usize::MAX) {
        found[piece].add(place % mask.width, place / mask.width, mask.pixels[place]);
    }
    // The largest of each class come last, so that they are drawn over the others of their class.
    found.sort_by_key(|of| of.area);
    let largest = |class: u8| found.iter().rev().find(|of| of.class == class);
    let mut drawn = mask.clone();
    for of in &found {
        of.fill(&mut drawn, |_| UNLABELLED);
    }
    let mut classes: Vec<u8> = found.iter().map(|of| of.class).collect();
    classes.sort_unstable();
    classes.dedup();
    for of in classes.into_iter().filter_map(largest) {
        let class = of.class;
        of.fill(
            &mut drawn,
            |there| if is_class(there) && there != class { UNLABELLED } else { class },
        );
    }
    drawn
}

/// A piece's box; all bounds are within it.
#[derive(Clone, Copy)]
struct PieceBox {
    class: u8,
    area: usize,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl PieceBox {
    fn add(&mut self, x: usize, y: usize, class: u8) {
        self.class = class;
        self.area += 1;
        (self.left, self.right) = (self.left.min(x), self.right.max(x));
        (self.top, self.bottom) = (self.top.min(y), self.bottom.max(y));
    }

    fn fill(&self, mask: &mut Mask, value: impl Fn(u8) -> u8) {
        for y in self.top..=self.bottom {
            for x in self.left..=self.right {
                let place = y * mask.width + x;
                mask.pixels[place] = value(mask.pixels[place]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::VOID;

    fn mask(rows: &[&str]) -> Mask {
        let value = |letter: char| match letter {
            '.' => BACKGROUND,
            'v' => VOID,
            '?' => UNLABELLED,
            digit => digit.to_digit(10).unwrap() as u8,
        };
        let pixels = rows.iter().flat_map(|row| row.chars().map(value)).collect();
        Mask { width: rows[0].len(), height: rows.len(), pixels }
    }

    #[test]
    fn the_largest_piece_is_a_box_and_of_the_others_nothing_is_said() {
        let given = mask(&["11...1", ".11..1", "v...2."]);
        assert_eq!(boxes(&given), mask(&["111..?", "111..?", "v...2."]));
    }

    #[test]
    fn where_boxes_of_two_classes_overlap_nothing_is_said() {
        let given = mask(&["1.2..", "1122.", "....."]);
        // The box of 1 is 2 x 2, that of 2 is 2 x 2 beside it.
        assert_eq!(boxes(&given), mask(&["1122.", "1122.", "....."]));
        let given = mask(&["1..", "112", ".22"]);
        assert_eq!(boxes(&given), mask(&["11.", "1?2", ".22"]));
    }

    #[test]
    fn a_mask_without_classes_stays_as_it_is() {
        let given = mask(&["..v", "?.."]);
        assert_eq!(boxes(&given), given);
    }
}
