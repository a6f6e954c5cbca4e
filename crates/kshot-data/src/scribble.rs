//! Scribbles drawn from masks, to measure what a few strokes are worth.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::mask::{MAX_CLASSES, Mask, UNLABELLED};

/// Pixels of a stroke's centre line at most.
const LENGTH: usize = 150;
/// Half the width of a stroke: 1 makes it 3 pixels wide.
const HALF_WIDTH: isize = 1;
/// A stroke's centre keeps this far from the border of its region where there is room, as people do.
const CLEARANCE: isize = 3;

/// Strokes inside the regions of a mask: smooth random walks 3 pixels wide, until `share` (0 to 1) of
/// all labelled pixels is marked; the rest is [`UNLABELLED`]. Every class of the mask, background
/// included, gets at least one stroke, and a part of the share that grows with the square root of its
/// area. The same seed draws the same strokes.
pub fn scribble(mask: &Mask, share: f64, seed: u64) -> Mask {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = Mask::filled(mask.width, mask.height, UNLABELLED);
    let counts = mask.counts();
    let classes = (0..=MAX_CLASSES).filter(|&class| counts[usize::from(class)] > 0);
    let labelled: usize = counts[..=usize::from(MAX_CLASSES)].iter().sum();
    let root = |class: u8| (counts[usize::from(class)] as f64).sqrt();
    let roots: f64 = classes.clone().map(root).sum();
    for class in classes {
        let wanted = share * labelled as f64 * root(class) / roots;
        let wanted = (wanted as usize).clamp(1, counts[usize::from(class)]);
        let starts = starts(mask, class);
        let mut marked = 0;
        // Small regions fill up before they have their part: a stroke then marks nothing new.
        let mut idle = 0;
        while marked < wanted && idle < 20 {
            let Some(&start) = starts.choose(&mut random) else { break };
            let before = marked;
            stroke(mask, &mut drawn, start as usize, wanted, &mut marked, &mut random);
            idle = if marked == before { idle + 1 } else { 0 };
        }
    }
    drawn
}

/// Whether the square around a pixel is all of its class and inside the picture.
fn clear(mask: &Mask, x: isize, y: isize, reach: isize) -> bool {
    let (width, height) = (mask.width as isize, mask.height as isize);
    if x < reach || y < reach || x >= width - reach || y >= height - reach {
        return false;
    }
    let class = mask.at(x as usize, y as usize);
    (y - reach..=y + reach)
        .all(|y| (x - reach..=x + reach).all(|x| mask.at(x as usize, y as usize) == class))
}

/// Where strokes of a class may start: well inside if it has such pixels, else anywhere in it.
fn starts(mask: &Mask, class: u8) -> Vec<u32> {
    let places = (0..).zip(&mask.pixels);
    let all: Vec<u32> =
        places.filter(|(_, value)| **value == class).map(|(place, _)| place).collect();
    for reach in [CLEARANCE, HALF_WIDTH] {
        let at = |index: u32| {
            let index = index as usize;
            ((index % mask.width) as isize, (index / mask.width) as isize)
        };
        let inside: Vec<u32> = all
            .iter()
            .copied()
            .filter(|&index| {
                let (x, y) = at(index);
                clear(mask, x, y, reach)
            })
            .collect();
        if !inside.is_empty() {
            return inside;
        }
    }
    all
}

/// One stroke from `start`: it keeps its direction, more or less, and turns at the region's border.
fn stroke(
    mask: &Mask,
    drawn: &mut Mask,
    start: usize,
    wanted: usize,
    marked: &mut usize,
    random: &mut ChaCha8Rng,
) {
    let class = mask.pixels[start];
    let (mut x, mut y) = ((start % mask.width) as f64, (start / mask.width) as f64);
    let mut angle = random.random_range(0.0..std::f64::consts::TAU);
    for _ in 0..LENGTH {
        mark(mask, drawn, (x as isize, y as isize), class, marked);
        if *marked >= wanted {
            return;
        }
        angle += random.random_range(-0.25..0.25);
        let mut turned = 0;
        loop {
            let (nx, ny) = (x + angle.cos(), y + angle.sin());
            if clear(mask, nx as isize, ny as isize, HALF_WIDTH)
                && mask.at(nx as usize, ny as usize) == class
            {
                (x, y) = (nx, ny);
                break;
            }
            turned += 1;
            if turned > 8 {
                return;
            }
            angle += random.random_range(0.5..2.5);
        }
    }
}

fn mark(mask: &Mask, drawn: &mut Mask, (x, y): (isize, isize), class: u8, marked: &mut usize) {
    for y in (y - HALF_WIDTH).max(0)..(y + HALF_WIDTH + 1).min(mask.height as isize) {
        for x in (x - HALF_WIDTH).max(0)..(x + HALF_WIDTH + 1).min(mask.width as isize) {
            let index = y as usize * mask.width + x as usize;
            if mask.pixels[index] == class && drawn.pixels[index] != class {
                drawn.pixels[index] = class;
                *marked += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::VOID;

    fn disc() -> Mask {
        let pixels = (0..100 * 80)
            .map(|index| {
                let (x, y) = (index % 100, index / 100);
                let distance = (x as f64 - 40.0).hypot(y as f64 - 40.0);
                if distance < 20.0 {
                    1
                } else if distance < 22.0 {
                    VOID
                } else if x == 99 {
                    7 // one pixel wide
                } else {
                    0
                }
            })
            .collect();
        Mask::from_pixels(100, 80, pixels).unwrap()
    }

    #[test]
    fn strokes_stay_in_their_region_and_near_their_share() {
        let mask = disc();
        for seed in 0..5 {
            let drawn = scribble(&mask, 0.05, seed);
            let counts = drawn.counts();
            assert!(counts[0] > 0 && counts[1] > 0 && counts[7] > 0 && counts[255] == 0);
            for (drawn, truth) in drawn.pixels.iter().zip(&mask.pixels) {
                assert!(*drawn == UNLABELLED || drawn == truth);
            }
            let share = (counts[0] + counts[1] + counts[7]) as f64 / mask.pixels.len() as f64;
            assert!((0.03..0.06).contains(&share), "{share}");
        }
        assert_eq!(scribble(&mask, 0.05, 3), scribble(&mask, 0.05, 3));
        assert_ne!(scribble(&mask, 0.05, 3), scribble(&mask, 0.05, 4));
    }
}
