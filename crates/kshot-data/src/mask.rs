//! A label for every pixel, with background, void and unlabelled kept apart.

use crate::error::{Error, Result};

/// Pixels known to hold none of the classes.
pub const BACKGROUND: u8 = 0;
/// The largest class index a mask can hold; classes are `1..=MAX_CLASSES`.
pub const MAX_CLASSES: u8 = 250;
/// Pixels nobody has looked at (what a scribble leaves blank). Never trained on; a prediction may fill them.
pub const UNLABELLED: u8 = 254;
/// Pixels somebody looked at and declared not to count (object borders, VOC's 255). Never trained on, never counted.
pub const VOID: u8 = 255;

/// One class index per pixel, row by row: [`BACKGROUND`], `1..=classes`, [`UNLABELLED`] or [`VOID`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Pixels per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// `height * width` values, row by row.
    pub pixels: Vec<u8>,
}

impl Mask {
    /// A mask filled with one value.
    pub fn filled(width: usize, height: usize, value: u8) -> Self {
        Self { width, height, pixels: vec![value; width * height] }
    }

    /// A mask from its pixels, row by row.
    ///
    /// # Errors
    /// If `pixels` does not hold `width * height` values.
    pub fn from_pixels(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        if pixels.len() != width * height {
            return Err(Error::data(format!(
                "a mask of {width} x {height} needs {} pixels, not {}",
                width * height,
                pixels.len()
            )));
        }
        Ok(Self { width, height, pixels })
    }

    /// The value at column `x`, row `y`.
    pub fn at(&self, x: usize, y: usize) -> u8 {
        self.pixels[y * self.width + x]
    }

    /// How many pixels hold each of the 256 values.
    pub fn counts(&self) -> [usize; 256] {
        let mut counts = [0; 256];
        for &pixel in &self.pixels {
            counts[pixel as usize] += 1;
        }
        counts
    }

    /// This mask with left and right exchanged.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mut pixels = self.pixels.clone();
        pixels.chunks_exact_mut(self.width.max(1)).for_each(<[u8]>::reverse);
        Self { pixels, ..*self }
    }

    /// This mask at another size, by nearest neighbour with pixel centres at half-integers.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let source =
            |i: usize, from: usize, to: usize| ((2 * i + 1) * from / (2 * to)).min(from - 1);
        let columns: Vec<usize> = (0..width).map(|x| source(x, self.width, width)).collect();
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = &self.pixels[source(y, self.height, height) * self.width..][..self.width];
            pixels.extend(columns.iter().map(|&x| row[x]));
        }
        Self { width, height, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_resize_takes_pixel_centres() {
        let mask = Mask::from_pixels(4, 1, vec![0, 1, 2, 3]).expect("right size");
        assert_eq!(mask.resized(2, 1).pixels, [1, 3]);
        assert_eq!(mask.resized(8, 1).pixels, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_wrong_size_is_refused() {
        assert!(Mask::from_pixels(3, 3, vec![0; 8]).is_err());
    }
}
