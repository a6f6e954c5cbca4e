//! Where the pixels of each class are in a picture, so that parts can be cut out around them: nnU-Net's oversampling of
//! foreground (Isensee et al. 2021, arXiv 1904.08128), which shows a third of the patches around a pixel of a class that
//! is drawn evenly among the picture's.
//!
//! Deviation: of each class some hundred pixels are kept, spread over all of its pixels, where the authors keep ten
//! thousand; and the share is exact over all patches, where the authors round it in each batch.

use kshot_data::mask::{BACKGROUND, MAX_CLASSES, Mask};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Pixels of a class that are kept of a picture.
const KEPT: usize = 256;

/// Some pixels of each class of a picture but background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPixels {
    width: usize,
    /// By class that is there: places in the mask, at most [`KEPT`].
    places: Vec<Vec<u32>>,
}

impl ClassPixels {
    /// Of a mask: one pixel of each of 256 equal parts of a class's pixels, or all of them.
    pub fn of(mask: &Mask) -> Self {
        let counts = mask.counts();
        let parts = counts.map(|count| count.min(KEPT));
        let mut seen = [0usize; 256];
        let mut places: Vec<Vec<u32>> =
            parts.iter().map(|parts| Vec::with_capacity(*parts)).collect();
        for (at, &class) in mask.pixels.iter().enumerate() {
            let class = usize::from(class);
            if class == usize::from(BACKGROUND) || class > usize::from(MAX_CLASSES) {
                continue;
            }
            let part = places[class].len();
            if part < parts[class] && seen[class] == chosen(part, parts[class], counts[class]) {
                places[class].push(at as u32);
            }
            seen[class] += 1;
        }
        places.retain(|of| !of.is_empty());
        Self { width: mask.width, places }
    }

    /// The middle of a pixel, `[x, y]`, of a class drawn evenly among those that are there; `None` where none is.
    pub fn draw(&self, random: &mut ChaCha8Rng) -> Option<[f64; 2]> {
        if self.places.is_empty() {
            return None;
        }
        let of = &self.places[random.random_range(0..self.places.len())];
        let at = of[random.random_range(0..of.len())] as usize;
        Some([(at % self.width) as f64 + 0.5, (at / self.width) as f64 + 0.5])
    }
}

/// Which of a class's `count` pixels stands for a part of them: not always the first, so that no column is preferred.
fn chosen(part: usize, parts: usize, count: usize) -> usize {
    let (start, end) = (part * count / parts, (part + 1) * count / parts);
    let mixed = (part as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    start + mixed as usize % (end - start)
}

/// Whether patch `number` of an endless list is one of a share of them, spread evenly.
pub fn is_chosen(number: u64, share: f64) -> bool {
    let before = |number: u64| (number as f64 * share).floor();
    before(number + 1) > before(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn classes_are_drawn_evenly_whatever_their_size() {
        let mut mask = Mask::filled(64, 64, 0);
        mask.pixels[2000..4000].fill(1);
        mask.pixels[10] = 7;
        mask.pixels[20..30].fill(255);
        mask.pixels[40..50].fill(254);
        let pixels = ClassPixels::of(&mask);
        assert_eq!(pixels.places.iter().map(Vec::len).collect::<Vec<_>>(), [KEPT, 1]);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut rare = 0;
        let mut columns = [false; 64];
        for _ in 0..2000 {
            let [x, y] = pixels.draw(&mut random).unwrap();
            match mask.at(x as usize, y as usize) {
                7 => rare += 1,
                1 => columns[x as usize] = true,
                other => panic!("a pixel of {other}"),
            }
        }
        assert!((850..1150).contains(&rare), "{rare}");
        assert!(columns.iter().filter(|seen| **seen).count() > 50);
        assert_eq!(ClassPixels::of(&Mask::filled(9, 9, 0)).draw(&mut random), None);
    }

    #[test]
    fn shares_are_exact() {
        for share in [0.0, 0.33, 0.5, 1.0] {
            let count = (0..3000).filter(|number| is_chosen(*number, share)).count();
            assert!((count as f64 - 3000.0 * share).abs() <= 1.0, "{share}: {count}");
        }
    }
}
