//! Borders of fewer corners, within a tolerance.
//!
//! Corners are taken away one after the other, those first that change areas least, as long as (Visvalingam and Whyatt,
//! The Cartographic Journal 1993, with two conditions of its own):
//!
//! - every corner of the border as it was lies within the tolerance of the straight line that replaced it;
//! - the triangle that goes holds no corner of any border. What lies between borders thus stays between them: nothing
//!   crosses, no hole leaves its piece, and a border keeps at least a triangle's area on each side.
//!
//! Neighbours share their border ([`Borders`]), so that no gap opens between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use crate::components;
use crate::labels::borders::{Border, Borders, Place};
use crate::mask::Mask;

/// Corners that a border without an end keeps.
const FEWEST: usize = 4;
/// Side of the squares by which corners are found, in pixels.
const CELL: i32 = 8;

/// The mask without specks: each 4-connected piece of any value (holes too) with fewer pixels than `tolerance` squared
/// takes the value that most of its border faces; and how many there were.
pub fn without_specks(mask: &Mask, tolerance: f64) -> (Mask, usize) {
    let (labels, count) = components::pieces(mask, |_| true);
    let mut areas = vec![0usize; count];
    labels.iter().for_each(|&label| areas[label] += 1);
    let small = |label: usize| (areas[label] as f64) < tolerance * tolerance;
    let mut facing: Vec<[u32; 256]> = Vec::new();
    let mut place_of = vec![usize::MAX; count];
    for (label, place) in place_of.iter_mut().enumerate().filter(|(label, _)| small(*label)) {
        debug_assert!(areas[label] > 0);
        *place = facing.len();
        facing.push([0; 256]);
    }
    if facing.is_empty() || facing.len() == count {
        return (mask.clone(), 0);
    }
    let (width, height) = (mask.width, mask.height);
    for (at, &label) in labels.iter().enumerate().filter(|(_, label)| small(**label)) {
        let (x, y) = (at % width, at / width);
        let beside = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then(|| at + 1),
            (y > 0).then(|| at - width),
            (y + 1 < height).then(|| at + width),
        ];
        for other in beside.into_iter().flatten().filter(|other| !small(labels[*other])) {
            facing[place_of[label]][usize::from(mask.pixels[other])] += 1;
        }
    }
    // What has only other specks around it stays.
    let new: Vec<Option<u8>> = facing
        .iter()
        .map(|faces| {
            let most = (0..256).max_by_key(|&value| (faces[value], Reverse(value)))?;
            (faces[most] > 0).then_some(most as u8)
        })
        .collect();
    let mut without = mask.clone();
    for (pixel, &label) in without.pixels.iter_mut().zip(&labels).filter(|(_, l)| small(**l)) {
        *pixel = new[place_of[label]].unwrap_or(*pixel);
    }
    (without, new.iter().flatten().count())
}

/// Takes corners away from all borders; `tolerance` in pixels, 0 changes nothing.
pub fn simplify(borders: &mut Borders, tolerance: f64) {
    if tolerance <= 0.0 || borders.borders.is_empty() {
        return;
    }
    let mut corners = Corners::of(&borders.borders, tolerance);
    corners.run();
    for (index, border) in borders.borders.iter_mut().enumerate() {
        border.places = corners.left(index);
    }
}

/// A border's corners among all: `start..end`.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    closed: bool,
    left: usize,
}

/// All corners of all borders.
struct Corners {
    places: Vec<Place>,
    before: Vec<usize>,
    after: Vec<usize>,
    border: Vec<usize>,
    there: Vec<bool>,
    /// How often what is said of a corner has changed.
    changes: Vec<u32>,
    spans: Vec<Span>,
    /// Twice the area swept from the border's first corner.
    swept: Vec<i64>,
    /// Ends of borders that are one straight line.
    straight: HashSet<(Place, Place)>,
    cells: Vec<Vec<usize>>,
    columns: i32,
    tolerance: f64,
}

impl Corners {
    fn of(borders: &[Border], tolerance: f64) -> Self {
        let total = borders.iter().map(|border| border.places.len()).sum();
        let mut of = Self {
            places: Vec::with_capacity(total),
            before: Vec::with_capacity(total),
            after: Vec::with_capacity(total),
            border: Vec::with_capacity(total),
            there: vec![true; total],
            changes: vec![0; total],
            spans: Vec::with_capacity(borders.len()),
            swept: Vec::with_capacity(total),
            straight: HashSet::new(),
            cells: Vec::new(),
            columns: 0,
            tolerance,
        };
        let mut largest = [0, 0];
        for (index, Border { places, closed }) in borders.iter().enumerate() {
            let (start, end) = (of.places.len(), of.places.len() + places.len());
            let mut sum = 0;
            for (at, &place) in (start..end).zip(places) {
                largest = [largest[0].max(place[0]), largest[1].max(place[1])];
                if at > start {
                    sum += cross(of.places[at - 1], place);
                }
                of.swept.push(sum);
                of.places.push(place);
                of.before.push(if at > start { at - 1 } else { end - 1 });
                of.after.push(if at + 1 < end { at + 1 } else { start });
                of.border.push(index);
            }
            of.spans.push(Span { start, end, closed: *closed, left: places.len() });
            if places.len() == 2 {
                of.straight.insert(ends(places[0], places[1]));
            }
        }
        of.columns = largest[0] / CELL + 1;
        of.cells = vec![Vec::new(); (of.columns * (largest[1] / CELL + 1)) as usize];
        for (at, &place) in of.places.iter().enumerate() {
            of.cells[(place[1] / CELL * of.columns + place[0] / CELL) as usize].push(at);
        }
        of
    }

    fn run(&mut self) {
        let mut heap: BinaryHeap<Reverse<(i64, usize, u32)>> = BinaryHeap::new();
        for at in 0..self.places.len() {
            heap.extend(self.candidate(at));
        }
        while let Some(Reverse((_, at, change))) = heap.pop() {
            if !self.there[at] || self.changes[at] != change || !self.may_go(at) {
                continue;
            }
            let (before, after) = (self.before[at], self.after[at]);
            self.there[at] = false;
            self.after[before] = after;
            self.before[after] = before;
            let span = &mut self.spans[self.border[at]];
            span.left -= 1;
            if !span.closed && span.left == 2 {
                self.straight.insert(ends(self.places[before], self.places[after]));
            }
            for beside in [before, after] {
                self.changes[beside] += 1;
                heap.extend(self.candidate(beside));
            }
        }
    }

    fn candidate(&self, at: usize) -> Option<Reverse<(i64, usize, u32)>> {
        let Span { start, end, closed, .. } = self.spans[self.border[at]];
        (closed || (at != start && at + 1 != end))
            .then(|| Reverse((self.area(self.before[at], self.after[at]), at, self.changes[at])))
    }

    /// Twice the area between a border as it was and a straight line, what lies right of it against what lies left.
    fn area(&self, from: usize, to: usize) -> i64 {
        let Span { start, end, .. } = self.spans[self.border[from]];
        let swept = if from < to {
            self.swept[to] - self.swept[from]
        } else {
            let round = cross(self.places[end - 1], self.places[start]);
            self.swept[end - 1] - self.swept[from] + round + self.swept[to]
        };
        (swept + cross(self.places[to], self.places[from])).abs()
    }

    fn may_go(&self, at: usize) -> bool {
        let span = self.spans[self.border[at]];
        let [a, c] = [self.before[at], self.after[at]].map(|beside| self.places[beside]);
        let enough = if span.closed {
            span.left > FEWEST
        } else if self.places[span.start] == self.places[span.end - 1] {
            // It comes back to where it began, which is there twice.
            span.left > FEWEST + 1
        } else {
            // Two borders between the same ends must not become the same line.
            span.left > 3 || !self.straight.contains(&ends(a, c))
        };
        enough && self.is_near(self.before[at], self.after[at]) && self.is_free(at, a, c)
    }

    /// Whether every corner between is within the tolerance of the straight line.
    fn is_near(&self, from: usize, to: usize) -> bool {
        let Span { start, end, .. } = self.spans[self.border[from]];
        let [[ax, ay], [bx, by]] = [from, to].map(|at| self.places[at].map(f64::from));
        let (dx, dy) = (bx - ax, by - ay);
        let length = dx * dx + dy * dy;
        let limit = self.tolerance * self.tolerance + 1e-9;
        let mut at = if from + 1 < end { from + 1 } else { start };
        while at != to {
            let [x, y] = self.places[at].map(f64::from);
            let along = if length > 0.0 { ((x - ax) * dx + (y - ay) * dy) / length } else { 0.0 };
            let along = along.clamp(0.0, 1.0);
            if (x - ax - along * dx).powi(2) + (y - ay - along * dy).powi(2) > limit {
                return false;
            }
            at = if at + 1 < end { at + 1 } else { start };
        }
        true
    }

    /// Whether the triangle at a corner, its sides included, holds no other corner.
    fn is_free(&self, at: usize, a: Place, c: Place) -> bool {
        let b = self.places[at];
        let low: Place = std::array::from_fn(|axis| a[axis].min(b[axis]).min(c[axis]));
        let high: Place = std::array::from_fn(|axis| a[axis].max(b[axis]).max(c[axis]));
        for row in low[1] / CELL..=high[1] / CELL {
            for column in low[0] / CELL..=high[0] / CELL {
                for &other in &self.cells[(row * self.columns + column) as usize] {
                    let place = self.places[other];
                    let boxed = (0..2).all(|axis| (low[axis]..=high[axis]).contains(&place[axis]));
                    if boxed
                        && self.there[other]
                        && other != at
                        && place != a
                        && place != c
                        && in_triangle(place, [a, b, c])
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn left(&self, border: usize) -> Vec<Place> {
        let Span { start, end, .. } = self.spans[border];
        (start..end).filter(|&at| self.there[at]).map(|at| self.places[at]).collect()
    }
}

fn ends(a: Place, b: Place) -> (Place, Place) {
    (a.min(b), a.max(b))
}

fn cross([x, y]: Place, [u, v]: Place) -> i64 {
    i64::from(x) * i64::from(v) - i64::from(u) * i64::from(y)
}

/// Which side of the line `a` to `b` a place is on: above 0, below 0, or on it.
fn side(a: Place, b: Place, place: Place) -> i64 {
    cross([b[0] - a[0], b[1] - a[1]], [place[0] - a[0], place[1] - a[1]])
}

fn in_triangle(place: Place, [a, b, c]: [Place; 3]) -> bool {
    let sides = [side(a, b, place), side(b, c, place), side(c, a, place)];
    !(sides.iter().any(|&side| side < 0) && sides.iter().any(|&side| side > 0))
}

#[cfg(test)]
#[path = "simplify_tests.rs"]
mod tests;
