//! The borders between the pieces of a mask, each held once: neighbours share what lies between them, so that whatever
//! is done to a border leaves no gap and no overlap.

use std::collections::HashMap;

use crate::annotation::Corner;
use crate::components;
use crate::labels::trace;
use crate::mask::{BACKGROUND, Mask};

/// A corner of a pixel: column and row, both from 0 to the mask's width and height.
pub type Place = [i32; 2];

/// Outside of the picture; background is `usize::MAX`.
const OUTSIDE: usize = usize::MAX - 1;

/// A border between two pieces, from a place where three or more meet to the next; or all around, where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Border {
    /// Where it turns; both ends are there unless it is closed.
    pub places: Vec<Place>,
    /// Whether the last place leads to the first.
    pub closed: bool,
}

/// A border as a ring walks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Walked {
    border: usize,
    forward: bool,
}

/// A 4-connected piece of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BorderedPiece {
    value: u8,
    /// The outer ring first, then the holes'.
    rings: Vec<Vec<Walked>>,
}

/// All borders of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Borders {
    /// The borders.
    pub borders: Vec<Border>,
    pieces: Vec<BorderedPiece>,
}

/// What tells a border: where it begins and which way it goes, or its first place where it is closed.
type Key = (Place, Place);

impl Borders {
    /// Of every piece of a value other than background.
    pub fn of(mask: &Mask) -> Self {
        let (labels, count) = components::pieces(mask, |value| value != BACKGROUND);
        let meets =
            Meeting { labels: &labels, width: mask.width as i32, height: mask.height as i32 };
        let mut of = Self {
            borders: Vec::new(),
            pieces: vec![BorderedPiece { value: BACKGROUND, rings: Vec::new() }; count],
        };
        for (&label, &value) in labels.iter().zip(&mask.pixels) {
            if label != usize::MAX {
                of.pieces[label].value = value;
            }
        }
        let mut known: HashMap<Key, usize> = HashMap::new();
        for (piece, ring) in trace::rings(&labels, mask.width, mask.height) {
            let ring: Vec<Place> = ring.iter().map(|&[x, y]| [x as i32, y as i32]).collect();
            let walked = parts(&ring, &meets)
                .into_iter()
                .map(|(key, border, forward)| {
                    let border = *known.entry(key).or_insert_with(|| {
                        of.borders.push(border);
                        of.borders.len() - 1
                    });
                    Walked { border, forward }
                })
                .collect();
            of.pieces[piece].rings.push(walked);
        }
        of
    }

    /// Every piece's value with its rings, the outer one first, in the order of values and then of reading.
    pub fn pieces(&self) -> Vec<(u8, Vec<Vec<Corner>>)> {
        let mut pieces: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| (piece.value, piece.rings.iter().map(|ring| self.ring(ring)).collect()))
            .collect();
        pieces.sort_by_key(|(value, _)| *value);
        pieces
    }

    fn ring(&self, walked: &[Walked]) -> Vec<Corner> {
        let mut ring = Vec::new();
        for &Walked { border, forward } in walked {
            let Border { places, closed } = &self.borders[border];
            // The last place of an open one is the first of the next.
            let some = places.len() - usize::from(!closed);
            let corner = |&[x, y]: &Place| [f64::from(x), f64::from(y)];
            if forward {
                ring.extend(places[..some].iter().map(corner));
            } else {
                ring.extend(places.iter().rev().take(some).map(corner));
            }
        }
        ring
    }
}

/// Where more than two pieces meet.
struct Meeting<'a> {
    labels: &'a [usize],
    width: i32,
    height: i32,
}

impl Meeting<'_> {
    fn label(&self, x: i32, y: i32) -> usize {
        let inside = x >= 0 && y >= 0 && x < self.width && y < self.height;
        if inside { self.labels[(y * self.width + x) as usize] } else { OUTSIDE }
    }

    /// Whether a place stays where it is: more than two borders end there, or it is a corner of the picture.
    fn at(&self, [x, y]: Place) -> bool {
        let frame = |at: i32, end: i32| at == 0 || at == end;
        if frame(x, self.width) && frame(y, self.height) {
            return true;
        }
        let around =
            [(x - 1, y - 1), (x, y - 1), (x, y), (x - 1, y)].map(|(x, y)| self.label(x, y));
        (0..4).filter(|&side| around[side] != around[(side + 1) % 4]).count() > 2
    }
}

fn way([x, y]: Place, [u, v]: Place) -> Place {
    [(u - x).signum(), (v - y).signum()]
}

/// A ring cut where more than two pieces meet: each part with what tells it, in the direction that both its sides agree
/// on, and whether the ring walks it that way.
fn parts(ring: &[Place], meets: &Meeting<'_>) -> Vec<(Key, Border, bool)> {
    // Its turns, and the places between them where others meet.
    let mut places: Vec<(Place, bool)> = Vec::with_capacity(ring.len());
    for (index, &from) in ring.iter().enumerate() {
        let to = ring[(index + 1) % ring.len()];
        places.push((from, meets.at(from)));
        let [dx, dy] = way(from, to);
        let mut at = [from[0] + dx, from[1] + dy];
        while at != to {
            if meets.at(at) {
                places.push((at, true));
            }
            at = [at[0] + dx, at[1] + dy];
        }
    }
    let Some(first) = places.iter().position(|(_, meet)| *meet) else {
        return vec![closed(ring)];
    };
    places.rotate_left(first);
    places.push(places[0]);
    let mut parts = Vec::new();
    let mut part: Vec<Place> = Vec::new();
    for (place, meet) in places {
        part.push(place);
        if meet && part.len() > 1 {
            parts.push(open(std::mem::replace(&mut part, vec![place])));
        }
    }
    parts
}

fn open(mut places: Vec<Place>) -> (Key, Border, bool) {
    let last = places.len() - 1;
    let there = (places[0], way(places[0], places[1]));
    let back = (places[last], way(places[last], places[last - 1]));
    let forward = there <= back;
    if !forward {
        places.reverse();
    }
    (there.min(back), Border { places, closed: false }, forward)
}

fn closed(ring: &[Place]) -> (Key, Border, bool) {
    let first = (0..ring.len()).min_by_key(|&at| [ring[at][1], ring[at][0]]).unwrap_or(0);
    let mut places = ring.to_vec();
    places.rotate_left(first);
    // From its topmost place, the leftmost of these, to the right.
    let forward = places[1][1] == places[0][1];
    if !forward {
        places[1..].reverse();
    }
    ((places[0], [0, 0]), Border { places, closed: true }, forward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::polygon;
    use rand::{Rng, SeedableRng};

    #[test]
    fn neighbours_share_their_border() {
        let mask = Mask::from_pixels(4, 2, vec![1, 1, 2, 2, 1, 1, 2, 2]).unwrap();
        let borders = Borders::of(&mask);
        // Around the left, around the right, and the one between.
        assert_eq!(borders.borders.len(), 7, "{:?}", borders.borders);
        let between = [[2, 0], [2, 2]];
        assert_eq!(borders.borders.iter().filter(|of| of.places == between).count(), 1);
    }

    #[test]
    fn rings_fill_to_the_mask() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for _ in 0..300 {
            let (width, height) = (random.random_range(1..14), random.random_range(1..14));
            let classes = random.random_range(2..4);
            let pixels = (0..width * height).map(|_| random.random_range(0..classes)).collect();
            let mask = Mask::from_pixels(width, height, pixels).unwrap();
            let mut back = Mask::filled(width, height, 0);
            for (value, rings) in Borders::of(&mask).pieces() {
                let mut one = Mask::filled(width, height, 0);
                polygon::fill(&mut one, &trace::joined(Vec::new(), rings), 1);
                let inside = one.pixels.iter().zip(&mut back.pixels).filter(|(one, _)| **one == 1);
                inside.for_each(|(_, pixel)| *pixel = value);
            }
            assert_eq!(back, mask);
        }
    }
}
