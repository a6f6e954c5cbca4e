//! Numbers of each object: what stands in `objects.csv`.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::objects::ObjectMap;
use crate::rle;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectRecord {
    /// Its number in the picture, from 1: its value in the PNG of numbers.
    pub id: u32,
    /// Its class's value in the mask, from 1.
    pub class: u8,
    /// Its pixels.
    pub area: u64,
    /// The mean of its pixels' centres, x and y in pixels; the first pixel's centre is at 0.5, 0.5.
    pub centroid: [f32; 2],
    /// The smallest box around it: left, top, width, height in pixels.
    pub bbox: [u32; 4],
    /// The mean of its pixels' red, green and blue, 0 to 255.
    pub colour: [f32; 3],
    /// The mean confidence of its pixels, 0 to 1.
    pub confidence: f32,
    /// Its pixels as COCO's compressed run-length string.
    pub rle: String,
}

/// The objects that one picture holds, as the journal keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectsRecord {
    /// The PNG of numbers relative to OUT, such as `objects/a.png`.
    pub file: String,
    /// Each object, by its number.
    pub found: Vec<ObjectRecord>,
}

impl ObjectsRecord {
    /// How many are of a class.
    pub fn of_class(&self, class: u8) -> usize {
        self.found.iter().filter(|object| object.class == class).count()
    }
}

/// Sums over an object's pixels.
#[derive(Default, Clone)]
struct Sums {
    place: [f64; 2],
    colour: [u64; 3],
    confidence: u64,
}

/// Measures every object. `confidence` has a value a pixel, row by row, 0 to 255 for 0 to 1.
///
/// # Errors
/// If picture, map and confidence differ in size.
pub fn measure(
    map: &ObjectMap,
    picture: &RgbImage,
    confidence: &[u8],
) -> Result<Vec<ObjectRecord>> {
    let same = [picture.width() as usize, picture.height() as usize] == [map.width, map.height];
    if !same || confidence.len() != map.ids.len() {
        return Err(Error::data(format!(
            "objects of {} x {} pixels need a picture and a confidence of that size, not {} x {} and {} values",
            map.width,
            map.height,
            picture.width(),
            picture.height(),
            confidence.len()
        )));
    }
    let mut sums = vec![Sums::default(); map.count() + 1];
    let pixels = map.ids.iter().zip(picture.pixels()).zip(confidence).enumerate();
    for (at, ((&id, pixel), &confidence)) in pixels.filter(|(_, ((id, _), _))| **id > 0) {
        let sum = &mut sums[id as usize];
        sum.place[0] += (at % map.width) as f64 + 0.5;
        sum.place[1] += (at / map.width) as f64 + 0.5;
        sum.colour.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += u64::from(value));
        sum.confidence += u64::from(confidence);
    }
    let runs = rle::runs(&map.ids, map.width, map.height, map.count() as u32);
    let record = |(id, runs): (u32, rle::Runs)| {
        let (sum, area) = (&sums[id as usize], runs.area as f64);
        ObjectRecord {
            id,
            class: map.class(id),
            area: runs.area,
            centroid: sum.place.map(|sum| (sum / area) as f32),
            bbox: runs.bbox(),
            colour: sum.colour.map(|sum| (sum as f64 / area) as f32),
            confidence: (sum.confidence as f64 / 255.0 / area) as f32,
            rle: rle::compress(&runs.counts),
        }
    };
    Ok((1u32..).zip(runs).map(record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::runs;
    use crate::mask::Mask;

    #[test]
    fn counted_by_hand() {
        let map = ObjectMap::new(4, 2, &[0, 1, 1, 0, 2, 1, 1, 2], |id| id as u8).unwrap();
        let picture = RgbImage::from_fn(4, 2, |x, y| image::Rgb([10 * x as u8, 100 * y as u8, 7]));
        let records = measure(&map, &picture, &[0, 255, 255, 0, 51, 0, 0, 51]).unwrap();
        let [first, second] = records.as_slice() else { panic!("two objects") };
        assert_eq!((first.id, first.class, first.area), (1, 1, 4));
        assert_eq!((first.centroid, first.bbox), ([2.0, 1.0], [1, 0, 2, 2]));
        assert_eq!((first.colour, first.confidence), ([15.0, 50.0, 7.0], 0.5));
        assert_eq!((second.area, second.centroid, second.bbox), (2, [2.0, 1.5], [0, 1, 4, 1]));
        assert!((second.confidence - 0.2).abs() < 1e-6);
        let mut mask = Mask::filled(4, 2, 0);
        runs::paint(&mut mask, &runs::decompress(&second.rle).unwrap(), 1);
        assert_eq!(mask.pixels, [0, 0, 0, 0, 1, 0, 0, 1]);
        assert!(measure(&map, &picture, &[0]).is_err());
    }
}
