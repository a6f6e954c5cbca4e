//! Polygons to pixels: a pixel belongs to a polygon when its centre does (even-odd rule).

use crate::mask::Mask;

/// Paints `value` wherever a pixel's centre lies inside the closed polygon of `points` (`[x, y]` in
/// pixels, the first pixel's centre at 0.5, 0.5).
///
/// An edge walked there and back leaves no trace, whatever its direction: that is how an outline
/// reaches a hole.
pub fn fill(mask: &mut Mask, points: &[[f64; 2]], value: u8) {
    let height = mask.height as f64;
    let (mut top, mut bottom) = (f64::INFINITY, f64::NEG_INFINITY);
    for &[_, y] in points {
        (top, bottom) = (top.min(y), bottom.max(y));
    }
    if top >= bottom {
        return;
    }
    let first = (top - 0.5).ceil().clamp(0.0, height) as usize;
    let last = (bottom + 0.5).ceil().clamp(0.0, height) as usize;
    // The crossings of each row's centre line, gathered edge by edge: an outline of many corners
    // costs its length, not its corners times its rows.
    let mut crossings: Vec<Vec<f64>> = vec![Vec::new(); last.saturating_sub(first)];
    for (index, &a) in points.iter().enumerate() {
        let b = points[(index + 1) % points.len()];
        // Always from the upper end, so that both directions of an edge give the very same number.
        let ([ax, ay], [bx, by]) = if a[1] <= b[1] { (a, b) } else { (b, a) };
        let from = ((ay - 0.5).ceil().clamp(0.0, height) as usize).max(first);
        for (row, crossings) in crossings.iter_mut().enumerate().skip(from - first) {
            let centre = (row + first) as f64 + 0.5;
            if by <= centre {
                break;
            }
            if ay <= centre {
                crossings.push(ax + (centre - ay) / (by - ay) * (bx - ax));
            }
        }
    }
    for (row, mut crossings) in crossings.into_iter().enumerate() {
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // Centres at or right of the left crossing and left of the right one.
            let clip = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(mask.width);
            let (left, right) = (clip(pair[0]), clip(pair[1]));
            if left < right {
                mask.pixels[(row + first) * mask.width..][left..right].fill(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_on_pixel_borders_fills_its_pixels() {
        let mut mask = Mask::filled(4, 3, 0);
        fill(&mut mask, &[[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]], 7);
        assert_eq!(mask.pixels, [0, 0, 0, 0, 0, 7, 7, 0, 0, 7, 7, 0]);
    }

    #[test]
    fn neighbours_share_no_pixel_and_leave_none() {
        let mut mask = Mask::filled(5, 5, 0);
        fill(&mut mask, &[[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]], 1);
        let first = mask.counts()[1];
        fill(&mut mask, &[[5.0, 0.0], [5.0, 5.0], [0.0, 5.0]], 2);
        assert_eq!(mask.counts()[1], first);
        assert_eq!(mask.counts()[0], 0);
    }

    #[test]
    fn what_lies_outside_is_cut() {
        let mut mask = Mask::filled(2, 2, 0);
        fill(&mut mask, &[[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]], 1);
        assert_eq!(mask.pixels, [1; 4]);
    }
}
