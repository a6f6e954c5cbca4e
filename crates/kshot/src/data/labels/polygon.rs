//! Polygons to pixels: a pixel belongs to a polygon when its centre does (even-odd rule).

use crate::data::mask::Mask;

/// Paints `value` wherever a pixel's centre lies inside the closed polygon of `points` (`[x, y]` in
/// pixels, the first pixel's centre at 0.5, 0.5).
pub fn fill(mask: &mut Mask, points: &[[f64; 2]], value: u8) {
    let mut crossings = Vec::new();
    for y in 0..mask.height {
        let centre = y as f64 + 0.5;
        crossings.clear();
        for (index, &[ax, ay]) in points.iter().enumerate() {
            let [bx, by] = points[(index + 1) % points.len()];
            if (ay <= centre) != (by <= centre) {
                crossings.push(ax + (centre - ay) / (by - ay) * (bx - ax));
            }
        }
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // Centres at or right of the left crossing and left of the right one.
            let clip = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(mask.width);
            let (left, right) = (clip(pair[0]), clip(pair[1]));
            if left < right {
                mask.pixels[y * mask.width..][left..right].fill(value);
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
