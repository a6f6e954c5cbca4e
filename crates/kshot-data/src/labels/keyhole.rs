//! A piece with its holes as one simple polygon, for tools that have no holes: a slit leads from the outline to each hole.
//!
//! The slit is a fiftieth of a pixel wide and hides no line: the polygon crosses and touches itself nowhere, which GIS
//! tools and editors ask for.

use std::f64::consts::TAU;

use crate::annotation::Corner;

/// Width of a slit in pixels.
const SLIT: f64 = 0.02;
/// How far corners go apart where a ring touches itself, in pixels.
const APART: f64 = 0.1;
/// Corners of the outline that are looked at for each corner of a hole, the nearest.
const LOOKS: usize = 12;

/// One polygon around rings, the outer one first; each has the piece on its right (rows grow downwards).
pub fn polygon(rings: &[Vec<Corner>]) -> Vec<Corner> {
    let mut rings = rings.iter().map(|ring| apart(ring));
    let Some(mut outline) = rings.next() else { return Vec::new() };
    let mut holes: Vec<Vec<Corner>> = rings.collect();
    while let Some((hole, from, to)) = slit(&outline, &holes) {
        let mut ring = holes.swap_remove(hole);
        ring.rotate_left(to);
        let (first, last) = (ring[0], ring[ring.len() - 1]);
        let (near, next) = (outline[from], outline[(from + 1) % outline.len()]);
        let [dx, dy] = unit([first[0] - near[0], first[1] - near[1]]);
        // The way back lies left of the way there.
        ring.extend([beside(first, last, [-dx, -dy], 1.0), beside(near, next, [dx, dy], -1.0)]);
        outline.splice(from + 1..from + 1, ring);
    }
    outline
}

/// The end of the way back beside an end of the slit: halfway between the slit, as it leaves that end, and the ring's line
/// to the next corner; `turn` is -1 where that is to the slit's left, 1 where it is to its right (rows grow downwards).
fn beside([x, y]: Corner, [u, v]: Corner, slit: Corner, turn: f64) -> Corner {
    let [dx, dy] = [u - x, v - y];
    let start = slit[1].atan2(slit[0]);
    let between = (turn * (dy.atan2(dx) - start)).rem_euclid(TAU);
    let (sin, cos) = (start + turn * between / 2.0).sin_cos();
    let length = SLIT.min(0.5 * dx.hypot(dy));
    [x + length * cos, y + length * sin]
}

fn unit([x, y]: Corner) -> Corner {
    let length = x.hypot(y).max(f64::MIN_POSITIVE);
    [x / length, y / length]
}

/// A ring whose corners are all different: those at the same place go into the piece a little.
fn apart(ring: &[Corner]) -> Vec<Corner> {
    let mut sorted: Vec<Corner> = ring.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let double: Vec<Corner> =
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let count = ring.len();
    let corner = |at: usize| {
        let (before, here, after) =
            (ring[(at + count - 1) % count], ring[at], ring[(at + 1) % count]);
        if !double.contains(&here) {
            return here;
        }
        let way = |[x, y]: Corner| unit([x - here[0], y - here[1]]);
        let (one, two) = (way(before), way(after));
        // Inwards: between both ways where the ring turns right, away from them where it turns left.
        let turn = if side(before, here, after) >= 0.0 { APART } else { -APART };
        [here[0] + turn * (one[0] + two[0]), here[1] + turn * (one[1] + two[1])]
    };
    (0..count).map(corner).collect()
}

/// The hole to reach next, and the corners of outline and hole between which its slit leads: the shortest way that meets
/// no other line; the shortest of all, if none is found.
fn slit(outline: &[Corner], holes: &[Vec<Corner>]) -> Option<(usize, usize, usize)> {
    let distance = |a: Corner, b: Corner| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    let mut ways: Vec<(f64, (usize, usize, usize))> = Vec::new();
    for (index, hole) in holes.iter().enumerate() {
        for (to, &corner) in hole.iter().enumerate() {
            let mut near: Vec<(f64, usize)> = outline
                .iter()
                .enumerate()
                .map(|(from, &of)| (distance(of, corner), from))
                .collect();
            // The nearest may lie behind a line.
            let few = LOOKS.min(near.len());
            if few < near.len() {
                near.select_nth_unstable_by(few, |a, b| a.0.total_cmp(&b.0));
            }
            ways.extend(near[..few].iter().map(|&(length, from)| (length, (index, from, to))));
        }
    }
    ways.sort_by(|a, b| a.0.total_cmp(&b.0));
    let free = |&&(_, (hole, from, to)): &&(f64, (usize, usize, usize))| {
        let way = [outline[from], holes[hole][to]];
        std::iter::once(outline)
            .chain(holes.iter().map(Vec::as_slice))
            .all(|ring| sides(ring).all(|side| !meets(way, side)))
    };
    let way = ways.iter().find(free).or(ways.first());
    way.map(|(_, way)| *way)
}

fn sides(ring: &[Corner]) -> impl Iterator<Item = [Corner; 2]> + '_ {
    (0..ring.len()).map(|at| [ring[at], ring[(at + 1) % ring.len()]])
}

/// On which side of the line `a` to `b` a corner is: above 0 on the right.
fn side(a: Corner, b: Corner, corner: Corner) -> f64 {
    (b[0] - a[0]) * (corner[1] - a[1]) - (b[1] - a[1]) * (corner[0] - a[0])
}

/// Whether two lines share a place other than an end of the first.
fn meets([a, b]: [Corner; 2], [c, d]: [Corner; 2]) -> bool {
    let on = |corner: Corner| {
        side(a, b, corner) == 0.0
            && corner != a
            && corner != b
            && (0..2)
                .all(|axis| (a[axis].min(b[axis])..=a[axis].max(b[axis])).contains(&corner[axis]))
    };
    let crosses = side(a, b, c) * side(a, b, d) < 0.0 && side(c, d, a) * side(c, d, b) < 0.0;
    crosses || on(c) || on(d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::borders::Borders;
    use crate::labels::polygon::fill;
    use crate::labels::simplify::simplify;
    use crate::mask::Mask;
    use rand::{Rng, SeedableRng};

    /// Whether no two sides of a polygon share a place but for the corner between neighbours.
    fn is_simple(polygon: &[Corner]) -> bool {
        let all: Vec<[Corner; 2]> = sides(polygon).collect();
        let count = all.len();
        (0..count).all(|one| {
            (one + 1..count).all(|two| {
                let neighbours = two == one + 1 || (one == 0 && two == count - 1);
                let touch = || all[one].iter().any(|corner| all[two].contains(corner));
                !meets(all[one], all[two]) && !meets(all[two], all[one]) && (neighbours || !touch())
            })
        })
    }

    #[test]
    fn a_hole_is_reached_by_a_slit() {
        let mask = Mask::from_pixels(3, 3, vec![1, 1, 1, 1, 0, 1, 1, 1, 1]).unwrap();
        let pieces = Borders::of(&mask).pieces();
        let outline = polygon(&pieces[0].1);
        assert_eq!(outline.len(), 4 + 4 + 2);
        assert!(is_simple(&outline), "{outline:?}");
        let mut back = Mask::filled(3, 3, 0);
        fill(&mut back, &outline, 1);
        assert_eq!(back, mask);
    }

    #[test]
    fn pieces_of_noise_are_simple_polygons() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for round in 0..400 {
            let (width, height) = (random.random_range(2..40), random.random_range(2..30));
            let most = random.random_range(1..4);
            let pixels = (0..width * height).map(|_| {
                if random.random_range(0..10) < 6 { 1 } else { random.random_range(0..=most) }
            });
            let mask = Mask::from_pixels(width, height, pixels.collect()).unwrap();
            let mut borders = Borders::of(&mask);
            if round % 4 > 0 {
                simplify(&mut borders, f64::from(round % 4));
            }
            for (_, rings) in borders.pieces() {
                let outline = polygon(&rings);
                assert!(is_simple(&outline), "round {round}: {outline:?} of {rings:?}");
            }
        }
    }
}
