//! Classical filters of a picture's own brightness and colour at four scales: what a network's stages
//! blur away, and what pixels beside a stroke are best told apart by.
//!
//! Per scale the smoothed gray and colours, the gradient's length, the two eigenvalues of the Hessian
//! and the local standard deviation, as pixel classifiers have them (ilastik, Berg et al., Nature Methods 2019).
//! Scales are levels of a pyramid (means of 2 x 2), each smoothed by a Gaussian of one pixel.

use rayon::prelude::*;

/// Weights of a Gaussian of standard deviation 1, centre first.
const GAUSSIAN: [f32; 4] = [0.399_05, 0.242_04, 0.054_01, 0.004_43];
/// Channels of a level: gray, gradient, two eigenvalues, standard deviation, three colours.
pub const CHANNELS: usize = 8;
/// Pixel values are divided by this.
const UNIT: f32 = 64.0;

/// The colours of one level of the pyramid.
#[derive(Debug, Clone)]
pub struct PyramidLevel {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[3, height, width]`, a quarter of a pixel's 0..255 range being 1.
    pub colours: Vec<f32>,
}

impl PyramidLevel {
    /// The finest level, of `height * width` RGB pixels row by row.
    pub fn new(pixels: &[u8], height: usize, width: usize) -> Self {
        let mut colours = Vec::with_capacity(3 * height * width);
        for channel in 0..3 {
            colours.extend(pixels[channel..].iter().step_by(3).map(|&v| f32::from(v) / UNIT));
        }
        Self { height, width, colours }
    }

    /// The next level: means of 2 x 2; an odd last row or column counts twice.
    #[must_use]
    pub fn halved(&self) -> Self {
        let [height, width] = [self.height, self.width].map(|length| length.div_ceil(2));
        let colours = halve(&self.colours, [self.height, self.width]);
        Self { height, width, colours }
    }

    /// The filters, `[CHANNELS, height, width]`.
    pub fn filters(&self) -> Vec<f32> {
        let (height, width) = (self.height, self.width);
        let area = height * width;
        let [red, green, blue] = [0, 1, 2].map(|channel| &self.colours[channel * area..][..area]);
        let gray: Vec<f32> =
            red.iter().zip(green).zip(blue).map(|((r, g), b)| (r + g + b) / 3.0).collect();
        let mut planes = gray.clone();
        planes.extend(gray.iter().map(|value| value * value));
        planes.extend_from_slice(&self.colours);
        smooth(&mut planes, height, width);
        let (smoothed, rest) = planes.split_at(area);
        let (squares, colours) = rest.split_at(area);
        let mut filters = vec![0.0f32; CHANNELS * area];
        let (derived, last) = filters.split_at_mut(5 * area);
        last.copy_from_slice(colours);
        derived[..area].copy_from_slice(smoothed);
        let [across, down] = gradient(smoothed, height, width);
        let ([xx, xy], [_, yy]) =
            (gradient(&across, height, width), gradient(&down, height, width));
        for at in 0..area {
            let half = f32::midpoint(xx[at], yy[at]);
            let apart = ((xx[at] - yy[at]).powi(2) / 4.0 + xy[at] * xy[at]).sqrt();
            derived[area + at] = across[at].hypot(down[at]);
            derived[2 * area + at] = half + apart;
            derived[3 * area + at] = half - apart;
            let variance = squares[at] - smoothed[at] * smoothed[at];
            derived[4 * area + at] = variance.max(0.0).sqrt();
        }
        filters
    }
}

/// Planes at half the size: means of 2 x 2; an odd last row or column counts twice.
pub fn halve(planes: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = [height, width].map(|length| length.div_ceil(2));
    let mut halved = vec![0.0f32; planes.len() / (height * width) * rows * columns];
    halved
        .par_chunks_exact_mut(rows * columns)
        .zip(planes.par_chunks_exact(height * width))
        .for_each(|(halved, plane)| {
            for (y, line) in halved.chunks_exact_mut(columns).enumerate() {
                let low = &plane[2 * y * width..][..width];
                let high = &plane[(2 * y + 1).min(height - 1) * width..][..width];
                for (x, out) in line.iter_mut().enumerate() {
                    let right = (2 * x + 1).min(width - 1);
                    *out = (low[2 * x] + low[right] + high[2 * x] + high[right]) / 4.0;
                }
            }
        });
    halved
}

/// A Gaussian of standard deviation 1 on each plane; borders are repeated.
fn smooth(planes: &mut [f32], height: usize, width: usize) {
    let reach = GAUSSIAN.len() - 1;
    planes.par_chunks_exact_mut(height * width).for_each(|plane| {
        let mut rows = vec![0.0f32; height * width];
        let mut wide = vec![0.0f32; width + 2 * reach];
        for (line, out) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
            wide[..reach].fill(line[0]);
            wide[reach..reach + width].copy_from_slice(line);
            wide[reach + width..].fill(line[width - 1]);
            for (x, out) in out.iter_mut().enumerate() {
                let window = &wide[x..x + 2 * reach + 1];
                *out = GAUSSIAN[0] * window[3]
                    + GAUSSIAN[1] * (window[2] + window[4])
                    + GAUSSIAN[2] * (window[1] + window[5])
                    + GAUSSIAN[3] * (window[0] + window[6]);
            }
        }
        for (y, out) in plane.chunks_exact_mut(width).enumerate() {
            out.fill(0.0);
            for (offset, weight) in GAUSSIAN.iter().enumerate() {
                let sides = [y.saturating_sub(offset), (y + offset).min(height - 1)];
                for &side in &sides[usize::from(offset == 0)..] {
                    let line = &rows[side * width..][..width];
                    out.iter_mut().zip(line).for_each(|(out, value)| *out += weight * value);
                }
            }
        }
    });
}

/// Sobel's derivatives across and down, per pixel.
fn gradient(plane: &[f32], height: usize, width: usize) -> [Vec<f32>; 2] {
    let mut across = vec![0.0f32; height * width];
    let mut down = vec![0.0f32; height * width];
    for y in 0..height {
        let line = |y: usize| &plane[y * width..][..width];
        let (above, here, below) =
            (line(y.saturating_sub(1)), line(y), line((y + 1).min(height - 1)));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let step = |line: &[f32]| line[right] - line[left];
            let slope = |x: usize| below[x] - above[x];
            across[y * width + x] = (step(above) + 2.0 * step(here) + step(below)) / 8.0;
            down[y * width + x] = (slope(left) + 2.0 * slope(x) + slope(right)) / 8.0;
        }
    }
    [across, down]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(height: usize, width: usize, of: impl Fn(usize, usize) -> f32) -> PyramidLevel {
        let plane: Vec<f32> = (0..height * width).map(|at| of(at / width, at % width)).collect();
        PyramidLevel { height, width, colours: plane.repeat(3) }
    }

    #[test]
    fn a_slope_has_its_gradient_and_no_curvature() {
        let (height, width) = (16, 20);
        let filters = level(height, width, |y, x| 0.3 * x as f32 + 0.4 * y as f32).filters();
        let at = |channel: usize| filters[(channel * height + 8) * width + 10];
        assert!((at(0) - 6.2).abs() < 1e-2, "{}", at(0));
        assert!((at(1) - 0.5).abs() < 1e-3, "{}", at(1));
        assert!(at(2).abs() < 1e-3 && at(3).abs() < 1e-3);
        assert!((at(4) - 0.5).abs() < 1e-2, "{}", at(4)); // slope times the window's standard deviation
        assert!((at(7) - at(0)).abs() < 1e-4);
    }

    #[test]
    fn a_flat_picture_has_nothing_at_any_size() {
        for (height, width) in [(1, 1), (3, 5), (7, 2)] {
            let flat = level(height, width, |_, _| 2.0);
            let filters = flat.filters();
            let area = height * width;
            assert!(filters[area..5 * area].iter().all(|value| value.abs() < 2e-2), "{filters:?}");
            let half = flat.halved();
            assert_eq!((half.height, half.width), (height.div_ceil(2), width.div_ceil(2)));
            assert!(half.colours.iter().all(|value| (value - 2.0).abs() < 1e-6));
        }
    }
}
