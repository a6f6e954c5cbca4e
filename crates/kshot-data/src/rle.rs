//! Run-length masks in COCO's form, and what is measured on the way: area, box, confidence.

use serde::{Deserialize, Serialize};

use crate::mask::Mask;

/// What one picture holds of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// The class's value in the mask, from 1.
    pub class: u8,
    /// Pixels of the class.
    pub area: u64,
    /// `area` by the picture's pixels, 0..1.
    pub fraction: f32,
    /// Mean confidence of the class's pixels, 0..1.
    pub confidence: f32,
    /// The mask as COCO's compressed run-length string.
    pub rle: String,
    /// The smallest box around all pixels of the class: left, top, width, height in pixels.
    pub bbox: [u32; 4],
}

/// The runs of one value while a map is scanned, column by column as COCO does.
#[derive(Default, Clone)]
pub(crate) struct Runs {
    pub(crate) counts: Vec<u32>,
    /// Where the run that is open now began.
    start: usize,
    pub(crate) area: u64,
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
}

impl Runs {
    /// Closes a run of pixels outside the class at `position`.
    fn enter(&mut self, position: usize) {
        self.counts.push((position - self.start) as u32);
        self.start = position;
    }

    /// Closes a run of pixels of the class, just before `position`.
    fn leave(&mut self, position: usize, height: usize) {
        let (first, last) = (self.start, position - 1);
        if self.area == 0 {
            (self.left, self.top, self.bottom) = (first / height, height, 0);
        }
        self.right = last / height;
        // A run over a column's end holds its last row and the first row of the next.
        let whole = first / height != last / height;
        self.top = self.top.min(if whole { 0 } else { first % height });
        self.bottom = self.bottom.max(if whole { height - 1 } else { last % height });
        self.area += (position - first) as u64;
        self.counts.push((position - first) as u32);
        self.start = position;
    }

    /// The smallest box around the pixels inside: left, top, width, height.
    pub(crate) fn bbox(&self) -> [u32; 4] {
        [
            self.left as u32,
            self.top as u32,
            (self.right - self.left + 1) as u32,
            (self.bottom - self.top + 1) as u32,
        ]
    }
}

/// The runs of every value `1..=most` of a map, value `i + 1` at `i`, in one pass; of those without a pixel they are
/// empty.
pub(crate) fn runs<T>(values: &[T], width: usize, height: usize, most: u32) -> Vec<Runs>
where
    T: Copy + Default + PartialEq + Into<u32>,
{
    let total = width * height;
    let mut runs = vec![Runs::default(); most as usize];
    let counted =
        |value: T| (value.into() as usize).checked_sub(1).filter(|at| *at < most as usize);
    let mut previous = T::default();
    let mut position = 0;
    // Columns are gathered a strip at a time: reading single columns would miss the cache at every
    // pixel of a large picture.
    const STRIP: usize = 64;
    let mut strip = vec![T::default(); STRIP * height];
    for left in (0..width).step_by(STRIP) {
        let columns = STRIP.min(width - left);
        for (y, row) in values.chunks_exact(width).enumerate() {
            for (x, &value) in row[left..left + columns].iter().enumerate() {
                strip[x * height + y] = value;
            }
        }
        for &value in &strip[..columns * height] {
            if value != previous {
                if let Some(at) = counted(previous) {
                    runs[at].leave(position, height);
                }
                if let Some(at) = counted(value) {
                    runs[at].enter(position);
                }
                previous = value;
            }
            position += 1;
        }
    }
    if let Some(at) = counted(previous) {
        runs[at].leave(total, height);
    }
    for runs in runs.iter_mut().filter(|runs| runs.area > 0 && runs.start < total) {
        runs.enter(total);
    }
    runs
}

/// Measures every class `1..=classes` that the mask holds, in one pass; classes without a pixel are
/// left out, as are background, void and unlabelled.
///
/// `confidence` has one value per pixel, row by row: 0 is none, 255 is certain. Without it (or with
/// one of another size) the confidence is 1.
pub fn measure(mask: &Mask, confidence: Option<&[u8]>, classes: u8) -> Vec<ClassRecord> {
    let (width, height) = (mask.width, mask.height);
    let total = width * height;
    if total == 0 {
        return Vec::new();
    }
    let mut certain = vec![0u64; 256];
    let confidence = confidence.filter(|confidence| confidence.len() == total);
    for (&value, &confidence) in mask.pixels.iter().zip(confidence.unwrap_or_default()) {
        certain[usize::from(value)] += u64::from(confidence);
    }
    let mut records = Vec::new();
    for (class, runs) in (1..=classes).zip(runs(&mask.pixels, width, height, u32::from(classes))) {
        if runs.area == 0 {
            continue;
        }
        let mean = certain[usize::from(class)] as f64 / (255.0 * runs.area as f64);
        records.push(ClassRecord {
            class,
            area: runs.area,
            fraction: (runs.area as f64 / total as f64) as f32,
            confidence: if confidence.is_some() { mean as f32 } else { 1.0 },
            rle: compress(&runs.counts),
            bbox: runs.bbox(),
        });
    }
    records
}

/// COCO's compressed form of run lengths (outside, inside, outside, ...): from the fourth on, each
/// is the difference to the one two before; five bits a character, lowest first, 32 = more follow.
pub fn compress(counts: &[u32]) -> String {
    let mut text = String::with_capacity(counts.len() * 2);
    for (index, &count) in counts.iter().enumerate() {
        let mut value = i64::from(count);
        if index > 2 {
            value -= i64::from(counts[index - 2]);
        }
        loop {
            let bits = (value & 31) as u8;
            value >>= 5;
            // The fifth bit is the sign: stop once the rest is nothing but sign.
            let more = if bits & 16 != 0 { value != -1 } else { value != 0 };
            text.push(char::from(48 + bits + if more { 32 } else { 0 }));
            if !more {
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        width: usize,
        height: usize,
        pixels: Vec<u8>,
        classes: Vec<GoldenClass>,
    }
    #[derive(Deserialize)]
    struct GoldenClass {
        class: u8,
        area: u64,
        bbox: [u32; 4],
        counts: String,
    }

    /// golden/make_rle.py: pycocotools' own encoding, area and box of seeded masks.
    #[test]
    fn equal_to_pycocotools() {
        let cases: Vec<Golden> =
            serde_json::from_str(include_str!("../../../golden/rle.json")).unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            let mask = Mask::from_pixels(case.width, case.height, case.pixels).unwrap();
            let records = measure(&mask, None, 250);
            assert_eq!(records.len(), case.classes.len());
            for (record, golden) in records.iter().zip(&case.classes) {
                assert_eq!(record.class, golden.class);
                assert_eq!(record.area, golden.area);
                assert_eq!(record.bbox, golden.bbox);
                assert_eq!(record.rle, golden.counts);
            }
        }
    }

    #[test]
    fn confidence_is_the_mean_over_the_class() {
        let mask = Mask::from_pixels(2, 2, vec![1, 0, 1, 2]).unwrap();
        let records = measure(&mask, Some(&[255, 7, 0, 51]), 2);
        assert_eq!(records[0].confidence, 0.5);
        assert_eq!(records[1].confidence, 0.2);
        assert_eq!(records[1].fraction, 0.25);
        assert_eq!(records[1].bbox, [1, 1, 1, 1]);
    }

    #[test]
    fn void_unlabelled_and_unknown_classes_are_left_out() {
        let mask = Mask::from_pixels(4, 1, vec![255, 254, 3, 0]).unwrap();
        assert!(measure(&mask, None, 2).is_empty());
        assert!(measure(&Mask::filled(0, 0, 0), None, 2).is_empty());
    }
}
