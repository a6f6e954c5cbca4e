//! Changes of levels by tables: what brightness, contrast and gamma share.

use image::RgbImage;

/// How many pixels have each level, by channel.
pub(super) fn histograms(image: &RgbImage) -> [[u32; 256]; 3] {
    let mut counts = [[0u32; 256]; 3];
    for pixel in image.as_raw().chunks_exact(3) {
        for (counts, level) in counts.iter_mut().zip(pixel) {
            counts[usize::from(*level)] += 1;
        }
    }
    counts
}

/// Mean and standard deviation of levels that a table makes of a histogram's.
pub(super) fn moments(counts: &[u32; 256], level: impl Fn(usize) -> f64) -> (f64, f64) {
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    let mean_of = |of: &dyn Fn(usize) -> f64| {
        let sum: f64 =
            counts.iter().enumerate().map(|(at, count)| f64::from(*count) * of(at)).sum();
        sum / total.max(1.0)
    };
    let mean = mean_of(&level);
    (mean, mean_of(&|at| (level(at) - mean).powi(2)).sqrt())
}

/// The least and the greatest level of a histogram.
pub(super) fn range(counts: &[u32; 256]) -> [f64; 2] {
    let there = |count: &u32| *count > 0;
    let least = counts.iter().position(there).unwrap_or(0);
    [least as f64, counts.iter().rposition(there).unwrap_or(least) as f64]
}

/// A table of whole levels.
pub(super) fn table(level: impl Fn(f64) -> f64) -> [u8; 256] {
    std::array::from_fn(|at| level(at as f64).round().clamp(0.0, 255.0) as u8)
}

/// Puts each channel's table in the place of its levels.
pub(super) fn replace(image: &mut RgbImage, tables: &[[u8; 256]; 3]) {
    for pixel in image.chunks_exact_mut(3) {
        for (level, table) in pixel.iter_mut().zip(tables) {
            *level = table[usize::from(*level)];
        }
    }
}
