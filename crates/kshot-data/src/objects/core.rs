//! What to learn to split by: the core of each labelled object, and the rim around it.
//!
//! Cores of objects that touch do not touch, so that a network that tells cores from rims tells how many objects there
//! are (borders as a class of their own: Caicedo et al., Cytometry A 2019; here the rim lies inside the object and is
//! as wide as a share of its radius, so that small objects keep a core).

use crate::mask::{BACKGROUND, MAX_CLASSES, Mask};
use crate::objects::{ObjectMap, distance};

/// The value of cores in such a mask.
pub const CORE: u8 = 1;
/// The value of rims.
pub const RIM: u8 = 2;

/// Cores and rims of objects: a pixel is its object's core where it lies deeper than `rim` (a share, 0 to 1) of the
/// object's largest depth, and its rim elsewhere. Pixels of no object are background where `mask` says a class or
/// background, and as `mask` has them (void, unlabelled) elsewhere.
///
/// # Panics
/// If the mask and the map differ in size.
pub fn cores(map: &ObjectMap, mask: &Mask, rim: f32) -> Mask {
    assert_eq!((map.width, map.height), (mask.width, mask.height), "a label a pixel");
    let depths = distance::of_objects(map);
    let mut deepest = vec![0.0f32; map.count() + 1];
    for (&id, &depth) in map.ids.iter().zip(&depths) {
        deepest[id as usize] = deepest[id as usize].max(depth);
    }
    let value = |((&id, &depth), &label): ((&u32, &f32), &u8)| match id {
        0 if label <= MAX_CLASSES => BACKGROUND,
        0 => label,
        id if depth > rim * deepest[id as usize] => CORE,
        _ => RIM,
    };
    let pixels = map.ids.iter().zip(&depths).zip(&mask.pixels).map(value).collect();
    Mask { width: map.width, height: map.height, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::{UNLABELLED, VOID};

    #[test]
    fn cores_do_not_touch_and_void_stays() {
        let numbers = [1, 1, 1, 1, 2, 2, 2, 0, 0, 0];
        let mask =
            Mask::from_pixels(10, 1, vec![1, 1, 1, 1, 1, 1, 1, 0, VOID, UNLABELLED]).unwrap();
        let map = ObjectMap::new(10, 1, &numbers, |_| 1).unwrap();
        let cores = cores(&map, &mask, 0.5);
        // The first goes on beyond the picture, so that it is deepest at its border.
        assert_eq!(cores.pixels, [CORE, CORE, RIM, RIM, RIM, CORE, RIM, 0, VOID, UNLABELLED]);
    }
}
