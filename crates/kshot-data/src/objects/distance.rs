//! How far pixels lie inside their object: exact Euclidean distances in linear time (Felzenszwalb and Huttenlocher,
//! "Distance Transforms of Sampled Functions", Theory of Computing 2012).

use crate::mask::{MAX_CLASSES, Mask};
use crate::objects::ObjectMap;

/// Added up where nothing outside is in reach.
const FAR: f64 = 1e12;

/// The distance of each pixel's centre to that of the nearest pixel that is not `inside`, row by row, in pixels; 0
/// where it is not inside itself. Beyond the picture's border nothing is known, so that it is no edge; where all is
/// inside, the picture's diagonal is given.
pub fn transform(width: usize, height: usize, inside: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut squares = vec![FAR; width * height];
    // Along the columns, all of them at once: the squared distance to the nearest outside above or below.
    let mut sweep = |rows: &mut dyn Iterator<Item = usize>| {
        let mut steps = vec![f64::INFINITY; width];
        for y in rows {
            for (x, steps) in steps.iter_mut().enumerate() {
                let at = y * width + x;
                *steps = if inside(at) { *steps + 1.0 } else { 0.0 };
                squares[at] = squares[at].min(*steps * *steps);
            }
        }
    };
    sweep(&mut (0..height));
    sweep(&mut (0..height).rev());
    let most = (width as f64).hypot(height as f64);
    let mut envelope = Envelope::with_capacity(width);
    let mut distances = Vec::with_capacity(width * height);
    for row in squares.chunks_exact(width.max(1)) {
        envelope.of(row);
        distances.extend((0..width).map(|x| envelope.at(row, x).sqrt().min(most) as f32));
    }
    distances
}

/// The lower envelope of parabolas that stand on a row's values.
struct Envelope {
    /// The parabolas that are lowest somewhere, from left to right.
    places: Vec<usize>,
    /// Where each begins to be the lowest.
    starts: Vec<f64>,
    /// The one that was asked for last.
    last: usize,
}

impl Envelope {
    fn with_capacity(width: usize) -> Self {
        Self { places: Vec::with_capacity(width), starts: Vec::with_capacity(width), last: 0 }
    }

    fn of(&mut self, row: &[f64]) {
        self.places.clear();
        self.starts.clear();
        self.last = 0;
        for (place, &value) in row.iter().enumerate() {
            let start = loop {
                let Some(&before) = self.places.last() else { break f64::NEG_INFINITY };
                let height = |at: usize, value: f64| value + (at * at) as f64;
                let apart = 2.0 * (place - before) as f64;
                let meet = (height(place, value) - height(before, row[before])) / apart;
                if self.starts.last().is_some_and(|start| meet > *start) {
                    break meet;
                }
                self.places.pop();
                self.starts.pop();
            };
            self.places.push(place);
            self.starts.push(start);
        }
    }

    /// The envelope at a place; places must come from left to right.
    fn at(&mut self, row: &[f64], x: usize) -> f64 {
        while self.starts.get(self.last + 1).is_some_and(|start| *start < x as f64) {
            self.last += 1;
        }
        let place = self.places[self.last];
        let apart = x.abs_diff(place) as f64;
        apart * apart + row[place]
    }
}

/// How far each pixel lies inside its class: to the nearest pixel of another value.
pub fn of_classes(mask: &Mask) -> Vec<f32> {
    let counts = mask.counts();
    let mut distances = vec![0.0f32; mask.pixels.len()];
    for class in (1..=MAX_CLASSES).filter(|class| counts[usize::from(*class)] > 0) {
        let own = transform(mask.width, mask.height, |at| mask.pixels[at] == class);
        distances.iter_mut().zip(own).for_each(|(all, own)| *all = all.max(own));
    }
    distances
}

/// How far each pixel lies inside its object: to the nearest pixel of another one or of none.
pub fn of_objects(map: &ObjectMap) -> Vec<f32> {
    let mut distances = vec![0.0f32; map.ids.len()];
    for (id, [left, top, right, bottom]) in (1u32..).zip(boxes(map)) {
        // One pixel around it, where the picture goes on, is enough to see its edge.
        let (left, top) = (left.saturating_sub(1), top.saturating_sub(1));
        let (right, bottom) = ((right + 1).min(map.width), (bottom + 1).min(map.height));
        let (width, height) = (right - left, bottom - top);
        let place = |at: usize| (top + at / width) * map.width + left + at % width;
        let own = transform(width, height, |at| map.ids[place(at)] == id);
        for (at, own) in own.into_iter().enumerate().filter(|(_, own)| *own > 0.0) {
            distances[place(at)] = own;
        }
    }
    distances
}

/// The box of each object: left, top, right, bottom, where the last two are outside.
pub fn boxes(map: &ObjectMap) -> Vec<[usize; 4]> {
    let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0]; map.count()];
    for (at, &id) in map.ids.iter().enumerate().filter(|(_, id)| **id > 0) {
        let (x, y) = (at % map.width, at / map.width);
        let [left, top, right, bottom] = &mut boxes[id as usize - 1];
        (*left, *top) = ((*left).min(x), (*top).min(y));
        (*right, *bottom) = ((*right).max(x + 1), (*bottom).max(y + 1));
    }
    boxes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equal_to_looking_everywhere(width in 1usize..14, height in 1usize..14, bits in proptest::collection::vec(0u8..5, 196)) {
            let inside = |at: usize| bits[at] > 0;
            let found = transform(width, height, inside);
            for (at, found) in found.into_iter().enumerate() {
                let nearest = (0..width * height).filter(|to| !inside(*to)).map(|to| {
                    let (dx, dy) = ((at % width).abs_diff(to % width), (at / width).abs_diff(to / width));
                    ((dx * dx + dy * dy) as f32).sqrt()
                });
                let nearest = nearest.fold((width as f32).hypot(height as f32), f32::min);
                prop_assert!((found - nearest).abs() < 1e-4, "{found} not {nearest} at {at}");
            }
        }
    }

    #[test]
    fn touching_objects_have_an_edge_between_them() {
        let map = ObjectMap::new(6, 1, &[1, 1, 1, 2, 2, 0], |_| 1).unwrap();
        assert_eq!(of_objects(&map), [3.0, 2.0, 1.0, 1.0, 1.0, 0.0]);
        let mask = Mask::from_pixels(6, 1, vec![1, 1, 1, 2, 2, 0]).unwrap();
        assert_eq!(of_classes(&mask), [3.0, 2.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
