//! Connected pieces of a mask.

use super::mask::{BACKGROUND, MAX_CLASSES, Mask};

/// The area in pixels of every 4-connected piece of one class (background, void and unlabelled
/// left out).
pub fn areas(mask: &Mask) -> Vec<usize> {
    let mut areas = Vec::new();
    let mut seen = vec![false; mask.pixels.len()];
    let mut stack = Vec::new();
    for start in 0..mask.pixels.len() {
        let class = mask.pixels[start];
        if seen[start] || class == BACKGROUND || class > MAX_CLASSES {
            continue;
        }
        seen[start] = true;
        stack.push(start);
        let mut area = 0;
        while let Some(at) = stack.pop() {
            area += 1;
            let x = at % mask.width;
            let mut visit = |next: usize| {
                if !seen[next] && mask.pixels[next] == class {
                    seen[next] = true;
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
        areas.push(area);
    }
    areas
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
