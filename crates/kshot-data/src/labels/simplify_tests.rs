//! What simplified borders keep, on blobs of any shape.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};

use super::*;
use crate::annotation::Corner;
use crate::labels::{polygon, trace};

/// Some classes of smooth blobs with noise at their borders, holes and specks.
fn blobs(seed: u64, side: usize, classes: u8) -> Mask {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let waves: Vec<[f64; 4]> = (0..12)
        .map(|_| {
            std::array::from_fn(|at| random.random_range(-1.0..1.0) * [0.35, 0.35, 3.0, 1.0][at])
        })
        .collect();
    let pixels = (0..side * side)
        .map(|at| {
            let (x, y) = ((at % side) as f64, (at / side) as f64);
            let wave = |[a, b, phase, height]: &[f64; 4]| height * (a * x + b * y + phase).sin();
            let level: f64 = waves.iter().map(wave).sum::<f64>() + random.random_range(-0.3..0.3);
            ((level + 1.5) / 3.0 * f64::from(classes + 1)).clamp(0.0, f64::from(classes)) as u8
        })
        .collect();
    Mask::from_pixels(side, side, pixels).unwrap()
}

/// Every piece painted by its outline with its holes.
fn painted(borders: &Borders, mask: &Mask) -> Mask {
    let mut all = Mask::filled(mask.width, mask.height, 0);
    for (value, rings) in borders.pieces() {
        let mut one = Mask::filled(mask.width, mask.height, 0);
        polygon::fill(&mut one, &trace::joined(Vec::new(), rings), 1);
        for (pixel, _) in all.pixels.iter_mut().zip(&one.pixels).filter(|(_, one)| **one == 1) {
            assert_eq!(*pixel, 0, "two pieces cover the same pixel");
            *pixel = value;
        }
    }
    all
}

fn iou(one: &Mask, two: &Mask, value: u8) -> f64 {
    let pairs = || one.pixels.iter().zip(&two.pixels);
    let both = pairs().filter(|(a, b)| **a == value && **b == value).count();
    let any = pairs().filter(|(a, b)| **a == value || **b == value).count();
    if any == 0 { 1.0 } else { both as f64 / any as f64 }
}

fn distance([x, y]: Place, [ax, ay]: Place, [bx, by]: Place) -> f64 {
    let [x, y, ax, ay, bx, by] = [x, y, ax, ay, bx, by].map(f64::from);
    let (dx, dy) = (bx - ax, by - ay);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((x - ax) * dx + (y - ay) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (x - ax - along * dx).hypot(y - ay - along * dy)
}

/// Whether two lines cross at a place inside both.
fn crossing([a, b]: [Corner; 2], [c, d]: [Corner; 2]) -> bool {
    let side = |p: Corner, q: Corner, r: Corner| {
        (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    };
    side(a, b, c) * side(a, b, d) < 0.0 && side(c, d, a) * side(c, d, b) < 0.0
}

fn lines(ring: &[Corner]) -> Vec<[Corner; 2]> {
    (0..ring.len()).map(|at| [ring[at], ring[(at + 1) % ring.len()]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn simplified_outlines_stay_close_valid_and_without_gaps(
        seed in 0u64..10_000, side in 8usize..48, classes in 1u8..4, tolerance in 0.5f64..3.0,
    ) {
        let mask = blobs(seed, side, classes);
        let before = Borders::of(&mask);
        let mut after = before.clone();
        simplify(&mut after, tolerance);
        // Every place within the tolerance of what replaced it.
        for (old, new) in before.borders.iter().zip(&after.borders) {
            let lines = new.places.windows(2).map(|pair| [pair[0], pair[1]]);
            let round = new.closed.then(|| [new.places[new.places.len() - 1], new.places[0]]);
            let lines: Vec<[Place; 2]> = lines.chain(round).collect();
            for &place in &old.places {
                let nearest = lines.iter().map(|[a, b]| distance(place, *a, *b));
                prop_assert!(nearest.fold(f64::INFINITY, f64::min) <= tolerance + 1e-6);
            }
        }
        // The same pieces with the same holes, each a polygon, none crossing another.
        let (old, new) = (before.pieces(), after.pieces());
        prop_assert_eq!(old.len(), new.len());
        let mut all = Vec::new();
        for ((_, old), (_, new)) in old.iter().zip(&new) {
            prop_assert_eq!(old.len(), new.len());
            for ring in new {
                prop_assert!(ring.len() >= 3);
                all.extend(lines(ring));
            }
        }
        for (index, one) in all.iter().enumerate() {
            prop_assert!(!all[..index].iter().any(|other| crossing(*one, *other)));
        }
        // No pixel is in two pieces; pixels are wrong at borders only.
        let back = painted(&after, &mask);
        let wrong = |at: &usize| back.pixels[*at] != mask.pixels[*at];
        for at in (0..mask.pixels.len()).filter(wrong) {
            let (x, y) = ((at % side) as i64, (at / side) as i64);
            let reach = tolerance.ceil() as i64 + 1;
            let near = (-reach..=reach).any(|dy| (-reach..=reach).any(|dx| {
                let (u, v) = (x + dx, y + dy);
                (0..side as i64).contains(&u) && (0..side as i64).contains(&v)
                    && mask.at(u as usize, v as usize) == back.pixels[at]
            }));
            prop_assert!(near);
        }
    }
}

#[test]
fn discs_keep_their_area_with_a_tenth_of_the_corners() {
    for radius in [8.0f64, 20.0, 60.0] {
        let side = 2 * radius as usize + 10;
        let inside = |at: usize| {
            let middle = side as f64 / 2.0;
            let (x, y) = ((at % side) as f64 + 0.5, (at / side) as f64 + 0.5);
            u8::from((x - middle).hypot(y - middle) < radius)
        };
        let mask = Mask::from_pixels(side, side, (0..side * side).map(inside).collect()).unwrap();
        for (tolerance, least) in [(0.5, 0.97), (1.0, 0.94), (1.5, 0.91)] {
            let mut borders = Borders::of(&mask);
            let before = borders.borders[0].places.len();
            simplify(&mut borders, tolerance);
            let after = borders.borders[0].places.len();
            let iou = iou(&painted(&borders, &mask), &mask, 1);
            println!(
                "radius {radius}, tolerance {tolerance}: {before} -> {after} corners, IoU {iou:.3}"
            );
            assert!(iou > least, "radius {radius}, tolerance {tolerance}: IoU {iou}");
            assert!(tolerance < 1.0 || 4 * after < before, "{before} -> {after}");
        }
    }
}

#[test]
fn blobs_keep_nearly_all_pixels() {
    let (mut sum, mut count) = (0.0, 0);
    for seed in 0..40 {
        let mask = blobs(seed, 120, 2);
        let mut borders = Borders::of(&mask);
        simplify(&mut borders, 1.5);
        let back = painted(&borders, &mask);
        let right = back.pixels.iter().zip(&mask.pixels).filter(|(a, b)| a == b).count();
        (sum, count) = (sum + right as f64 / mask.pixels.len() as f64, count + 1);
    }
    assert!(sum / f64::from(count) > 0.9, "{}", sum / f64::from(count));
}

#[test]
fn specks_go_and_what_is_larger_stays() {
    let mut mask = Mask::filled(9, 5, 0);
    mask.pixels[9 + 1] = 1;
    for at in [13, 14, 22, 23, 31, 32] {
        mask.pixels[at] = 2;
    }
    let (without, gone) = without_specks(&mask, 1.5);
    assert_eq!(gone, 1);
    assert_eq!((without.counts()[1], without.counts()[2]), (0, 6));
    assert_eq!(without_specks(&mask, 1.0), (mask, 0));
}
