//! The range of values of a folder's 16-bit pictures.
//!
//! What 16 bits mean differs from camera to camera: 12 bits of them are used, or 14, or counts that start at 100. Taken
//! picture by picture, one hot pixel makes all others black, and a bright picture looks like a dim one; so one range
//! is taken for all pictures of a folder.

use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;
use serde::Serialize;

use crate::image::{ReadLimits, undeveloped};

/// Pictures looked at, at most: evenly among those that may be deep.
const PICTURES: usize = 64;
/// Share of all values that may lie below and above the range: hot and dead pixels.
const TAIL: f64 = 0.001;

/// The values of 16-bit pictures that become 0 and 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeepRange {
    /// This and all below become 0.
    pub low: u16,
    /// This and all above become 255.
    pub high: u16,
}

impl DeepRange {
    /// Of the 16-bit pictures among some files; `None` if there is none. Files that cannot be read are passed over:
    /// who reads them says why.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Option<Self> {
        let deep = |file: &&Path| {
            let extension = file.extension().map(|of| of.to_string_lossy().to_lowercase());
            extension.is_some_and(|of| ["png", "tif", "tiff"].contains(&of.as_str()))
        };
        let files: Vec<&Path> = files.into_iter().filter(deep).collect();
        let step = files.len().div_ceil(PICTURES).max(1);
        let counts = files
            .into_par_iter()
            .step_by(step)
            .filter_map(counts)
            .reduce_with(|sum, counts| sum.iter().zip(&counts).map(|(a, b)| a + b).collect())?;
        let total: u64 = counts.iter().sum();
        let at = |share: f64| {
            let mut below = 0;
            let reached = |&count: &u64| {
                below += count;
                below as f64 >= share * total as f64
            };
            counts.iter().position(reached).unwrap_or(counts.len() - 1) as u16
        };
        let (low, high) = (at(TAIL), at(1.0 - TAIL));
        Some(Self { low, high: high.max(low.saturating_add(1)) })
    }

    /// A value as 8 bits' worth, 0 to 255.
    pub fn scaled(self, value: u16) -> f32 {
        let span = f32::from(self.high.saturating_sub(self.low).max(1));
        (f32::from(value.saturating_sub(self.low)) / span * 255.0).min(255.0)
    }
}

/// How often each value occurs in a 16-bit picture, colours alike; `None` for any other file.
fn counts(file: &Path) -> Option<Vec<u64>> {
    let reader = || ImageReader::open(file).ok()?.with_guessed_format().ok();
    let decoder = reader()?.into_decoder().ok()?;
    let is_deep = |kind| {
        matches!(kind, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16)
    };
    if !is_deep(decoder.color_type()) {
        return None;
    }
    let length = std::fs::metadata(file).ok()?.len();
    let picture = undeveloped(reader()?, length, ReadLimits::default()).ok()?.ok()?.0;
    let mut counts = vec![0u64; 1 << 16];
    let mut count = |value: u16| counts[usize::from(value)] += 1;
    match picture {
        DynamicImage::ImageLuma16(gray) => gray.iter().for_each(|value| count(*value)),
        DynamicImage::ImageRgb16(colours) => colours.iter().for_each(|value| count(*value)),
        // Transparency is no value. What is gray and transparent counts as three colours.
        DynamicImage::ImageLumaA16(gray) => {
            gray.pixels().flat_map(|pixel| [pixel.0[0]; 3]).for_each(count);
        }
        DynamicImage::ImageRgba16(colours) => {
            colours.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).for_each(count);
        }
        _ => return None,
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma};

    #[test]
    fn a_hot_pixel_changes_no_picture() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, hot: Option<u16>| {
            let mut picture =
                ImageBuffer::from_fn(64, 64, |x, _| Luma([if x < 32 { 400u16 } else { 3900 }]));
            if let Some(hot) = hot {
                picture.put_pixel(5, 5, Luma([hot]));
            }
            let path = folder.path().join(name);
            picture.save(&path).unwrap();
            path
        };
        let files =
            [write("a.png", None), write("b.png", Some(65_535)), write("c.png", Some(4_300))];
        let range = DeepRange::of(files.iter().map(std::path::PathBuf::as_path)).unwrap();
        assert_eq!(range, DeepRange { low: 400, high: 3900 });
        let read = |index: usize| crate::image::read_deep(&files[index], Some(range)).unwrap();
        let (plain, hot) = (read(0), read(1));
        assert_eq!((plain.get_pixel(40, 9).0, plain.get_pixel(3, 9).0), ([255; 3], [0; 3]));
        assert_eq!(plain.get_pixel(40, 9), hot.get_pixel(40, 9));
        image::RgbImage::new(3, 3).save(folder.path().join("eight.png")).unwrap();
        assert_eq!(DeepRange::of([folder.path().join("eight.png").as_path()]), None);
    }
}
