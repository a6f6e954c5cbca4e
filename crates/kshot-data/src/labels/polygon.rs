//! Polygons to pixels: a pixel belongs to a polygon when its centre does (even-odd rule).

use crate::mask::Mask;

/// From so many crossings of a row on, they are counted by column instead of sorted.
const MANY: usize = 64;

/// An edge from its upper to its lower end, always in this direction: both ways of walking it give the very same
/// crossings.
struct Edge {
    upper: [f64; 2],
    lower: [f64; 2],
}

impl Edge {
    fn new(a: [f64; 2], b: [f64; 2]) -> Self {
        if a[1] <= b[1] { Self { upper: a, lower: b } } else { Self { upper: b, lower: a } }
    }

    /// The first row of a picture whose centre line may cross it.
    fn first(&self, height: usize) -> usize {
        (self.upper[1] - 0.5).ceil().clamp(0.0, height as f64) as usize
    }

    /// The row after the last one whose centre line may cross it.
    fn end(&self, height: usize) -> usize {
        (self.lower[1] + 0.5).ceil().clamp(0.0, height as f64) as usize
    }

    /// Where it crosses a row's centre line; `None` where it does not.
    fn crossing(&self, row: usize) -> Option<f64> {
        let centre = row as f64 + 0.5;
        let ([ax, ay], [bx, by]) = (self.upper, self.lower);
        (ay <= centre && centre < by).then(|| ax + (centre - ay) / (by - ay) * (bx - ax))
    }
}

fn edges(points: &[[f64; 2]]) -> impl Iterator<Item = Edge> + '_ {
    let next = points.iter().cycle().skip(1);
    points.iter().zip(next).map(|(&a, &b)| Edge::new(a, b))
}

/// How many crossings of edges and rows a polygon has at most in a picture of this height: what [`fill`] computes.
pub fn crossings(points: &[[f64; 2]], height: usize) -> u64 {
    edges(points).map(|edge| edge.end(height).saturating_sub(edge.first(height)) as u64).sum()
}

/// Paints `value` wherever a pixel's centre lies inside the closed polygon of `points` (`[x, y]` in
/// pixels, the first pixel's centre at 0.5, 0.5).
///
/// An edge walked there and back leaves no trace, whatever its direction: that is how an outline
/// reaches a hole.
///
/// It takes memory for its corners and for a row, and time for its [`crossings`] and the pixels painted.
pub fn fill(mask: &mut Mask, points: &[[f64; 2]], value: u8) {
    let (width, height) = (mask.width, mask.height);
    // Edges by their first row: those that are crossed now are at hand, row by row.
    let mut waiting: Vec<(usize, Edge)> = edges(points)
        .map(|edge| (edge.first(height), edge))
        .filter(|(first, edge)| *first < height && edge.lower[1] > *first as f64 + 0.5)
        .collect();
    waiting.sort_unstable_by_key(|(first, _)| std::cmp::Reverse(*first));
    let mut crossed: Vec<Edge> = Vec::new();
    let mut columns: Vec<usize> = Vec::new();
    let mut odd = Vec::new();
    let Some(mut row) = waiting.last().map(|(first, _)| *first) else { return };
    while row < height {
        while let Some((_, edge)) = waiting.pop_if(|(first, _)| *first <= row) {
            crossed.push(edge);
        }
        columns.clear();
        crossed.retain(|edge| {
            if let Some(x) = edge.crossing(row) {
                // Centres at or right of it are beyond.
                columns.push(((x - 0.5).ceil().max(0.0) as usize).min(width));
            }
            edge.lower[1] > row as f64 + 1.5
        });
        let pixels = &mut mask.pixels[row * width..][..width];
        if columns.len() < MANY {
            columns.sort_unstable();
            for pair in columns.chunks_exact(2) {
                pixels[pair[0]..pair[1]].fill(value);
            }
        } else {
            between(pixels, &columns, value, &mut odd);
        }
        row += 1;
        if crossed.is_empty() {
            let Some((next, _)) = waiting.last() else { return };
            row = row.max(*next);
        }
    }
}

/// Paints where an odd number of columns is at or left of a pixel.
fn between(pixels: &mut [u8], columns: &[usize], value: u8, odd: &mut Vec<bool>) {
    odd.clear();
    odd.resize(pixels.len() + 1, false);
    for &column in columns {
        odd[column] ^= true;
    }
    let mut inside = false;
    for (pixel, odd) in pixels.iter_mut().zip(odd) {
        inside ^= *odd;
        if inside {
            *pixel = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

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

    /// All crossings of all rows, sorted.
    fn fill_plainly(mask: &mut Mask, points: &[[f64; 2]], value: u8) {
        for row in 0..mask.height {
            let mut crossings: Vec<f64> =
                edges(points).filter_map(|edge| edge.crossing(row)).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let clip = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(mask.width);
                for x in clip(pair[0])..clip(pair[1]) {
                    mask.pixels[row * mask.width + x] = value;
                }
            }
        }
    }

    #[test]
    fn any_polygon_is_filled_as_by_sorting_all_crossings() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        for round in 0..400 {
            let (width, height) = (random.random_range(1..40), random.random_range(1..40));
            let corners = if round % 10 == 0 { 500 } else { random.random_range(0..12) };
            let reach = if round % 3 == 0 { 1e4 } else { 45.0 };
            let mut corner = || {
                let at = random.random_range(-reach..reach);
                // On borders and centres of pixels, too, where the last digit decides.
                if random.random_range(0..3) == 0 { (at * 2.0_f64).round() / 2.0 } else { at }
            };
            let points: Vec<[f64; 2]> = (0..corners).map(|_| [corner(), corner()]).collect();
            let (mut fast, mut plain) =
                (Mask::filled(width, height, 0), Mask::filled(width, height, 0));
            fill(&mut fast, &points, 1);
            fill_plainly(&mut plain, &points, 1);
            assert_eq!(fast, plain, "round {round}: {points:?}");
        }
    }

    #[test]
    fn numbers_beyond_all_are_no_trouble() {
        let odd = [0.5, 3.0, 1e300, -1e300, f64::MAX, f64::MIN, f64::INFINITY, f64::NAN];
        for &a in &odd {
            for &b in &odd {
                let mut mask = Mask::filled(3, 3, 0);
                fill(&mut mask, &[[a, b], [b, a], [0.0, 2.0], [a, a]], 1);
                assert!(crossings(&[[a, b], [b, a], [0.0, 2.0]], 3) <= 9);
            }
        }
    }

    #[test]
    fn what_lies_outside_is_cut() {
        let mut mask = Mask::filled(2, 2, 0);
        fill(&mut mask, &[[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]], 1);
        assert_eq!(mask.pixels, [1; 4]);
    }
}
