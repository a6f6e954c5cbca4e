//! Specks and holes of a mask, and parts too small to be objects.

use std::collections::HashMap;

use crate::components::pieces;
use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};
use crate::objects::ObjectMap;

/// Makes 4-connected pieces of a class of less than `least` pixels background. Returns the places changed.
pub fn drop_specks(mask: &mut Mask, least: usize) -> Vec<usize> {
    let (pieces, count) = pieces(mask, |value| (1..=MAX_CLASSES).contains(&value));
    let areas = areas(&pieces, count);
    let small = |at: &usize| areas.get(pieces[*at]).is_some_and(|area| *area < least);
    let changed: Vec<usize> = (0..pieces.len()).filter(small).collect();
    changed.iter().for_each(|&at| mask.pixels[at] = BACKGROUND);
    changed
}

/// Fills 4-connected pieces of background of at most `most` pixels that one class surrounds on all sides (the
/// picture's border is no side). Returns the places changed.
pub fn fill_holes(mask: &mut Mask, most: usize) -> Vec<usize> {
    let (pieces, count) = pieces(mask, |value| value == BACKGROUND);
    let areas = areas(&pieces, count);
    /// What surrounds a hole.
    #[derive(Clone, Copy, PartialEq)]
    enum Around {
        Nothing,
        Class(u8),
        Several,
    }
    let mut around = vec![Around::Nothing; count];
    let (width, height) = (mask.width, mask.height);
    for (at, &piece) in pieces.iter().enumerate().filter(|(_, piece)| **piece < count) {
        let (x, y) = (at % width, at / width);
        let neighbours = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then_some(at + 1),
            (y > 0).then(|| at - width),
            (y + 1 < height).then_some(at + width),
        ];
        for neighbour in neighbours {
            let value = neighbour.map(|other| mask.pixels[other]);
            around[piece] = match (around[piece], value) {
                (known, Some(BACKGROUND)) => known,
                (Around::Nothing, Some(class @ 1..=MAX_CLASSES)) => Around::Class(class),
                (Around::Class(known), Some(class)) if known == class => Around::Class(known),
                _ => Around::Several,
            };
        }
    }
    let mut changed = Vec::new();
    for (at, &piece) in pieces.iter().enumerate().filter(|(_, piece)| **piece < count) {
        if let Around::Class(class) = around[piece]
            && areas[piece] <= most
        {
            mask.pixels[at] = class;
            changed.push(at);
        }
    }
    changed
}

fn areas(pieces: &[usize], count: usize) -> Vec<usize> {
    let mut areas = vec![0; count];
    pieces.iter().filter(|piece| **piece < count).for_each(|&piece| areas[piece] += 1);
    areas
}

/// Joins objects of less than `least` pixels to the neighbour of their class with which they share the longest border,
/// smallest first; one without such a neighbour stays.
#[must_use]
pub fn absorb(map: &ObjectMap, least: usize) -> ObjectMap {
    let mut areas = map.areas();
    if areas.iter().all(|area| *area >= least as u64) {
        return map.clone();
    }
    let mut borders: Vec<HashMap<u32, usize>> = vec![HashMap::new(); map.count() + 1];
    let mut meet = |a: u32, b: u32| {
        if a != b && a > 0 && b > 0 && map.class(a) == map.class(b) {
            *borders[a as usize].entry(b).or_default() += 1;
            *borders[b as usize].entry(a).or_default() += 1;
        }
    };
    for at in 0..map.ids.len() {
        if !(at + 1).is_multiple_of(map.width) {
            meet(map.ids[at], map.ids[at + 1]);
        }
        if at + map.width < map.ids.len() {
            meet(map.ids[at], map.ids[at + map.width]);
        }
    }
    let mut target: Vec<u32> = (0..=map.count() as u32).collect();
    let mut order: Vec<u32> = (1..=map.count() as u32).collect();
    order.sort_by_key(|id| areas[*id as usize - 1]);
    for id in order {
        if areas[id as usize - 1] >= least as u64 {
            continue;
        }
        // The longest border; on a tie the lower number.
        let longest = borders[id as usize]
            .iter()
            .max_by_key(|(other, length)| (**length, std::cmp::Reverse(**other)));
        let Some(&into) = longest.map(|(other, _)| other) else { continue };
        target[id as usize] = into;
        areas[into as usize - 1] += areas[id as usize - 1];
        for (other, length) in std::mem::take(&mut borders[id as usize]) {
            borders[other as usize].remove(&id);
            if other != into {
                *borders[other as usize].entry(into).or_default() += length;
                *borders[into as usize].entry(other).or_default() += length;
            }
        }
    }
    let last = |mut id: u32| {
        while target[id as usize] != id {
            id = target[id as usize];
        }
        id
    };
    let numbers: Vec<u32> = map.ids.iter().map(|&id| last(id)).collect();
    ObjectMap::new(map.width, map.height, &numbers, |id| map.class(id))
        .unwrap_or_else(|error| panic!("a map has as many numbers as pixels: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specks_go_and_holes_of_one_class_are_filled() {
        #[rustfmt::skip]
        let pixels = vec![
            1, 1, 1, 0, 2,
            1, 0, 1, 0, 0,
            1, 1, 1, 2, 2,
            0, 0, 1, 0, 2,
        ];
        let mut mask = Mask::from_pixels(5, 4, pixels).unwrap();
        assert_eq!(
            fill_holes(&mut mask, 1),
            [6],
            "the one at the border and that of two classes stay"
        );
        assert_eq!(drop_specks(&mut mask, 2), [4]);
        assert_eq!(mask.counts()[..3], [7, 10, 3]);
        assert!(fill_holes(&mut mask, 0).is_empty());
    }

    #[test]
    fn small_parts_join_their_longest_neighbour() {
        #[rustfmt::skip]
        let numbers = [
            1, 1, 3, 2,
            1, 1, 3, 2,
            1, 1, 0, 2,
            5, 0, 0, 6,
        ];
        let map = ObjectMap::new(4, 4, &numbers, |id| if id == 6 { 2 } else { 1 }).unwrap();
        let joined = absorb(&map, 3);
        #[rustfmt::skip]
        assert_eq!(joined.ids, [
            1, 1, 1, 2,
            1, 1, 1, 2,
            1, 1, 0, 2,
            1, 0, 0, 3,
        ]);
        assert_eq!(joined.classes, [1, 1, 2]);
    }
}
