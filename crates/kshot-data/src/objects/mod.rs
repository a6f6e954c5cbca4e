//! Things that can be counted: which pixels are one object, how touching ones are split, and how good that is.
//!
//! ```text
//! Mask -> clean (specks, holes) -> distance x probability -> watershed -> ObjectMap -> measure, PNG of numbers
//! instance labels -> ObjectMap -> core (what to learn to split by) · matching (how many were found)
//! ```

pub mod clean;
pub mod core;
pub mod distance;
pub mod map_png;
pub mod matching;
pub mod measure;
pub mod watershed;

use std::collections::HashMap;

use crate::annotation::{Object, ObjectShape, in_order};
use crate::components;
use crate::error::{Error, Result};
use crate::labels::names::Classes;
use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};

/// Which object each pixel belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMap {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Row by row: 0 for none, else the object's number, from 1 without gaps, in reading order of the first pixels.
    pub ids: Vec<u32>,
    /// The class of object `i + 1`, from 1.
    pub classes: Vec<u8>,
}

impl ObjectMap {
    /// From any numbers, row by row, 0 for none: they are given anew. `class` says of a number which class it is of;
    /// 0, 254 and 255 stand for none, and its pixels are then no object's.
    ///
    /// # Errors
    /// If there are not `width * height` numbers.
    pub fn new(
        width: usize,
        height: usize,
        numbers: &[u32],
        class: impl Fn(u32) -> u8,
    ) -> Result<Self> {
        if numbers.len() != width * height {
            return Err(Error::data(format!(
                "objects of {width} x {height} pixels need {} numbers, not {}",
                width * height,
                numbers.len()
            )));
        }
        let mut known: HashMap<u32, u32> = HashMap::new();
        let mut classes = Vec::new();
        let mut new = |number: u32| {
            if number == 0 {
                return 0;
            }
            *known.entry(number).or_insert_with(|| match class(number) {
                class @ 1..=MAX_CLASSES => {
                    classes.push(class);
                    classes.len() as u32
                }
                _ => 0,
            })
        };
        let ids = numbers.iter().map(|&number| new(number)).collect();
        Ok(Self { width, height, ids, classes })
    }

    /// Numbers beside a mask that tells the classes: an object's class is the commonest one below it. One that has no
    /// class below it anywhere is left out.
    ///
    /// # Errors
    /// If there are not as many numbers as pixels.
    pub fn over(mask: &Mask, numbers: &[u32]) -> Result<Self> {
        let mut counts: HashMap<u32, HashMap<u8, usize>> = HashMap::new();
        for (&number, &class) in numbers.iter().zip(&mask.pixels) {
            if number > 0 && (1..=MAX_CLASSES).contains(&class) {
                *counts.entry(number).or_default().entry(class).or_default() += 1;
            }
        }
        let commonest = |number: u32| {
            let counts = counts.get(&number)?;
            // On a tie the lower class, so that the answer does not depend on the map's order.
            let best = counts.iter().max_by_key(|(class, count)| (**count, 255 - **class))?;
            Some(*best.0)
        };
        Self::new(mask.width, mask.height, numbers, |number| {
            commonest(number).unwrap_or(BACKGROUND)
        })
    }

    /// Every 4-connected piece of a class as an object.
    pub fn components(mask: &Mask) -> Self {
        let wanted = |value: u8| (1..=MAX_CLASSES).contains(&value);
        let (pieces, count) = components::pieces(mask, wanted);
        let mut classes = vec![0; count];
        let id = |(&piece, &class): (&usize, &u8)| match classes.get_mut(piece) {
            Some(of) => {
                *of = class;
                piece as u32 + 1
            }
            None => 0,
        };
        let ids = pieces.iter().zip(&mask.pixels).map(id).collect();
        Self { width: mask.width, height: mask.height, ids, classes }
    }

    /// What somebody outlined, each with its own number; shapes of one class with the same number of the tool are one
    /// object, later ones lie on top, crowds and reserved names (background, void) are none. `None` where a shape is a
    /// box: it does not say which pixels are the object's.
    ///
    /// # Errors
    /// If an object's class has no number.
    pub fn outlined(
        objects: &[Object],
        classes: &Classes,
        width: usize,
        height: usize,
    ) -> Result<Option<Self>> {
        if objects.iter().any(|object| matches!(object.shape, ObjectShape::Box(_))) {
            return Ok(None);
        }
        let mut numbers = vec![0u32; width * height];
        let mut of_number: Vec<u8> = Vec::new();
        let mut grouped: HashMap<(u8, i64), u32> = HashMap::new();
        let mut scratch = Mask::filled(width, height, 0);
        for object in in_order(objects) {
            let class = classes.value(&object.class)?;
            let counts = (1..=MAX_CLASSES).contains(&class) && !object.crowd;
            let mut fresh = || {
                of_number.push(class);
                of_number.len() as u32
            };
            let number = match object.id {
                _ if !counts => 0,
                Some(id) => *grouped.entry((class, id)).or_insert_with(fresh),
                None => fresh(),
            };
            let Some(bounds) = object.shape.bounds(height) else { continue };
            object.shape.paint(&mut scratch, 1);
            let [left, top, right, bottom] = within(bounds, width, height);
            for y in top..bottom {
                let row = y * width + left..y * width + right;
                let painted = scratch.pixels[row.clone()].iter_mut();
                for (painted, own) in painted.zip(&mut numbers[row]) {
                    if std::mem::take(painted) == 1 {
                        *own = number;
                    }
                }
            }
        }
        let class = |number: u32| of_number[number as usize - 1];
        Self::new(width, height, &numbers, class).map(Some)
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.classes.len()
    }

    /// The class of a number; 0 for none.
    pub fn class(&self, id: u32) -> u8 {
        (id as usize).checked_sub(1).and_then(|at| self.classes.get(at)).map_or(0, |class| *class)
    }

    /// Pixels of each object, object `i + 1` at `i`.
    pub fn areas(&self) -> Vec<u64> {
        let mut areas = vec![0; self.count()];
        for &id in self.ids.iter().filter(|id| **id > 0) {
            areas[id as usize - 1] += 1;
        }
        areas
    }

    /// Objects of each class `1..=classes`, class `i + 1` at `i`.
    pub fn counts(&self, classes: usize) -> Vec<u64> {
        let mut counts = vec![0; classes];
        for &class in &self.classes {
            if let Some(count) = counts.get_mut(usize::from(class) - 1) {
                *count += 1;
            }
        }
        counts
    }

    /// The numbers at another size, by nearest neighbour with pixel centres at half-integers, row by row.
    pub fn resized(&self, width: usize, height: usize) -> Vec<u32> {
        if (width, height) == (self.width, self.height) {
            return self.ids.clone();
        }
        let source =
            |i: usize, from: usize, to: usize| ((2 * i + 1) * from / (2 * to)).min(from - 1);
        let columns: Vec<usize> = (0..width).map(|x| source(x, self.width, width)).collect();
        let row = |y: usize| &self.ids[source(y, self.height, height) * self.width..][..self.width];
        (0..height).flat_map(|y| columns.iter().map(move |&x| row(y)[x])).collect()
    }
}

/// A box in whole pixels of the picture: left, top, right, bottom, where the last two are outside.
fn within([left, top, right, bottom]: [f64; 4], width: usize, height: usize) -> [usize; 4] {
    let low = |side: f64| (side - 1.0).floor().max(0.0) as usize;
    let high = |side: f64, most: usize| ((side + 1.0).ceil().max(0.0) as usize).min(most);
    [low(left).min(width), low(top).min(height), high(right, width), high(bottom, height)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::rectangle;

    #[test]
    fn numbers_are_given_anew_in_reading_order() {
        let map = ObjectMap::new(3, 2, &[0, 9, 9, 4, 0, 7], |of| if of == 4 { 0 } else { 2 });
        let map = map.unwrap();
        assert_eq!(
            (map.ids.as_slice(), map.classes.as_slice()),
            (&[0, 1, 1, 0, 0, 2][..], &[2, 2][..])
        );
        assert_eq!(map.areas(), [2, 1]);
        assert_eq!(map.counts(3), [0, 2, 0]);
        assert!(ObjectMap::new(3, 2, &[0; 5], |_| 1).is_err());
    }

    #[test]
    fn a_mask_tells_the_classes_of_numbers() {
        let mask = Mask::from_pixels(6, 1, vec![1, 2, 2, 0, 255, 1]).unwrap();
        let map = ObjectMap::over(&mask, &[5, 5, 5, 6, 6, 8]).unwrap();
        assert_eq!(
            (map.ids.as_slice(), map.classes.as_slice()),
            (&[1, 1, 1, 0, 0, 2][..], &[2, 1][..])
        );
    }

    #[test]
    fn pieces_of_a_class_are_objects() {
        let mask = Mask::from_pixels(3, 2, vec![1, 2, 1, 0, 2, 255]).unwrap();
        let map = ObjectMap::components(&mask);
        assert_eq!(
            (map.ids.as_slice(), map.classes.as_slice()),
            (&[1, 2, 3, 0, 2, 0][..], &[1, 2, 1][..])
        );
    }

    #[test]
    fn outlines_keep_their_groups_and_later_ones_lie_on_top() {
        let square = |left: f64, right: f64, id: Option<i64>| Object {
            id,
            ..Object::new("cell", ObjectShape::Polygons(vec![rectangle([left, 0.0, right, 1.0])]))
        };
        let classes = Classes::new(vec!["cell".into()]);
        let objects =
            [square(0.0, 1.0, Some(3)), square(1.0, 4.0, None), square(3.0, 5.0, Some(3))];
        let map = ObjectMap::outlined(&objects, &classes, 6, 1).unwrap().unwrap();
        assert_eq!(map.ids, [1, 2, 2, 1, 1, 0]);
        let boxed = [Object::new("cell", ObjectShape::Box([0.0, 0.0, 2.0, 1.0]))];
        assert_eq!(ObjectMap::outlined(&boxed, &classes, 6, 1).unwrap(), None);
    }
}
