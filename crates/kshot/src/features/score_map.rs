//! Class scores on a coarse grid over a picture, and how the grid lies on the picture.

use rayon::prelude::*;

/// Scores of every class on a grid that is coarser than the picture.
///
/// A picture's pixel centre `(x + 0.5, y + 0.5)` lies at `((x + 0.5) * scale[1], (y + 0.5) * scale[0])`
/// in cell units (the `align_corners = false` convention), whatever the grid's own size: a grid
/// made from a padded picture may reach beyond the picture.
#[derive(Debug, Clone)]
pub struct ScoreMap {
    /// Number of score planes; plane 0 is background.
    pub planes: usize,
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
    /// `[planes, height, width]`, row by row.
    pub data: Vec<f32>,
    /// Cells per picture pixel, vertically and horizontally.
    pub scale: [f32; 2],
}

impl ScoreMap {
    /// One plane.
    pub fn plane(&self, index: usize) -> &[f32] {
        &self.data[index * self.height * self.width..][..self.height * self.width]
    }

    /// Turns logits into probabilities by a softmax over the planes, after dividing by `temperature`.
    pub fn softmax(&mut self, temperature: f32) {
        let cells = self.height * self.width;
        let inverse = 1.0 / temperature;
        let mut column = vec![0.0f32; self.planes];
        for cell in 0..cells {
            let mut largest = f32::NEG_INFINITY;
            for (plane, value) in column.iter_mut().enumerate() {
                *value = self.data[plane * cells + cell] * inverse;
                largest = largest.max(*value);
            }
            let mut sum = 0.0;
            for value in &mut column {
                *value = (*value - largest).exp();
                sum += *value;
            }
            for (plane, value) in column.iter().enumerate() {
                self.data[plane * cells + cell] = value / sum;
            }
        }
    }
}

impl ScoreMap {
    /// Multiplies each plane's probabilities by its ratio (new prior by old), then makes every cell's
    /// sum 1 again.
    pub fn reweigh(&mut self, ratios: &[f32]) {
        let cells = self.height * self.width;
        for cell in 0..cells {
            let mut sum = 0.0;
            for (plane, ratio) in ratios.iter().enumerate() {
                let value = &mut self.data[plane * cells + cell];
                *value *= ratio;
                sum += *value;
            }
            for plane in 0..self.planes {
                self.data[plane * cells + cell] /= sum.max(f32::MIN_POSITIVE);
            }
        }
    }
}

impl ScoreMap {
    /// The same over a picture of `picture` `[rows, columns]` on a grid of `size`, bilinearly.
    pub fn resampled(&self, size: [usize; 2], picture: [usize; 2]) -> Self {
        let scale: [f32; 2] = std::array::from_fn(|axis| size[axis] as f32 / picture[axis] as f32);
        let [height, width] = size;
        let rows = taps(height, self.height, self.scale[0] / scale[0]);
        let columns = taps(width, self.width, self.scale[1] / scale[1]);
        let mut data = vec![0.0f32; self.planes * height * width];
        data.par_chunks_exact_mut(height * width).enumerate().for_each(|(plane, out)| {
            let source = self.plane(plane);
            for (&row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
                for (&column, out) in columns.iter().zip(out) {
                    *out = bilinear(source, self.width, [row, column]);
                }
            }
        });
        Self { planes: self.planes, height, width, data, scale }
    }
}

impl ScoreMap {
    /// The plane of the highest value of each cell, the first of equal ones.
    pub fn labels(&self) -> Vec<u8> {
        let cells = self.height * self.width;
        let mut labels = vec![0u8; cells];
        let mut highest = self.plane(0).to_vec();
        for plane in 1..self.planes {
            let values = labels.iter_mut().zip(&mut highest).zip(self.plane(plane));
            for ((label, highest), &value) in values {
                if value > *highest {
                    (*label, *highest) = (plane as u8, value);
                }
            }
        }
        labels
    }
}

/// Where a coordinate falls between two neighbouring cells.
#[derive(Debug, Clone, Copy)]
pub struct InterpolationTap {
    /// The lower cell.
    pub low: usize,
    /// The upper cell; equal to `low` at the borders.
    pub high: usize,
    /// The upper cell's weight, 0 to 1.
    pub weight: f32,
}

impl InterpolationTap {
    /// Where a position in cells (0 is the first cell's centre) falls among `cells` of them; beyond the borders these
    /// repeat.
    pub fn at(position: f32, cells: usize) -> Self {
        let position = position.clamp(0.0, (cells - 1) as f32);
        let low = position as usize;
        Self { low, high: (low + 1).min(cells - 1), weight: position - low as f32 }
    }
}

/// The bilinear value of a plane of `width` columns.
pub fn bilinear(plane: &[f32], width: usize, [row, column]: [InterpolationTap; 2]) -> f32 {
    let line = |row: usize| {
        let line = &plane[row * width..][..width];
        line[column.low] + (line[column.high] - line[column.low]) * column.weight
    };
    let (low, high) = (line(row.low), line(row.high));
    low + (high - low) * row.weight
}

/// The taps of bilinear sampling of `cells` cells at `pixels` pixel centres, `scale` cells a pixel.
pub fn taps(pixels: usize, cells: usize, scale: f32) -> Vec<InterpolationTap> {
    (0..pixels)
        .map(|pixel| InterpolationTap::at((pixel as f32 + 0.5) * scale - 0.5, cells))
        .collect()
}

/// Bilinear resizing between two grids over the same area, prepared once for many planes.
pub struct BilinearResize {
    from: [usize; 2],
    to: [usize; 2],
    rows: Vec<InterpolationTap>,
    columns: Vec<InterpolationTap>,
}

impl BilinearResize {
    /// From `[rows, columns]` to `[rows, columns]`.
    pub fn new(from: [usize; 2], to: [usize; 2]) -> Self {
        let taps = |axis: usize| taps(to[axis], from[axis], from[axis] as f32 / to[axis] as f32);
        Self { from, to, rows: taps(0), columns: taps(1) }
    }

    /// Adds a resized plane to `target`.
    pub fn add(&self, source: &[f32], target: &mut [f32]) {
        if self.from == self.to {
            for (target, source) in target.iter_mut().zip(source) {
                *target += source;
            }
            return;
        }
        let width = self.from[1];
        let mut line = vec![0.0f32; width];
        for (tap, target) in self.rows.iter().zip(target.chunks_exact_mut(self.to[1])) {
            let low = &source[tap.low * width..][..width];
            let high = &source[tap.high * width..][..width];
            for ((line, low), high) in line.iter_mut().zip(low).zip(high) {
                *line = low + (high - low) * tap.weight;
            }
            for (target, tap) in target.iter_mut().zip(&self.columns) {
                *target += line[tap.low] + (line[tap.high] - line[tap.low]) * tap.weight;
            }
        }
    }
}

/// Mean over a square window of `2 * radius + 1` cells, cut at the borders, of each plane in place.
pub fn box_mean(data: &mut [f32], height: usize, width: usize, radius: usize) {
    data.par_chunks_exact_mut(height * width).for_each_init(
        || (vec![0.0f32; height * width], vec![0.0f32; width]),
        |(rows, sums), plane| {
            for (line, out) in plane.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
                window_mean(line, out, radius);
            }
            // Down the columns, a whole line of running sums at a time.
            sums.fill(0.0);
            let mut count = 0;
            let add = |sums: &mut [f32], line: &[f32], sign: f32| {
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum += sign * value;
                }
            };
            for y in 0..radius.min(height) {
                add(sums, &rows[y * width..][..width], 1.0);
                count += 1;
            }
            for y in 0..height {
                if y + radius < height {
                    add(sums, &rows[(y + radius) * width..][..width], 1.0);
                    count += 1;
                }
                if y > radius {
                    add(sums, &rows[(y - radius - 1) * width..][..width], -1.0);
                    count -= 1;
                }
                let inverse = 1.0 / count as f32;
                for (out, sum) in plane[y * width..][..width].iter_mut().zip(sums.iter()) {
                    *out = sum * inverse;
                }
            }
        },
    );
}

fn window_mean(line: &[f32], out: &mut [f32], radius: usize) {
    let width = line.len();
    let mut sum: f32 = line[..radius.min(width)].iter().sum();
    let mut count = radius.min(width);
    for x in 0..width {
        if x + radius < width {
            sum += line[x + radius];
            count += 1;
        }
        if x > radius {
            sum -= line[x - radius - 1];
            count -= 1;
        }
        out[x] = sum / count as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_mean_equals_brute_force() {
        let (height, width, radius) = (5, 7, 2);
        let source: Vec<f32> = (0..height * width).map(|i| ((i * 37) % 11) as f32).collect();
        let mut fast = source.clone();
        box_mean(&mut fast, height, width, radius);
        for y in 0..height {
            for x in 0..width {
                let (mut sum, mut count) = (0.0, 0.0);
                for v in y.saturating_sub(radius)..(y + radius + 1).min(height) {
                    for u in x.saturating_sub(radius)..(x + radius + 1).min(width) {
                        sum += source[v * width + u];
                        count += 1.0;
                    }
                }
                assert!((fast[y * width + x] - sum / count).abs() < 1e-4, "at {x}, {y}");
            }
        }
    }

    #[test]
    fn upsampling_by_two_takes_quarters() {
        let mut target = vec![0.0; 4];
        BilinearResize::new([1, 2], [1, 4]).add(&[0.0, 1.0], &mut target);
        assert_eq!(target, [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn softmax_sums_to_one() {
        let mut map = ScoreMap {
            planes: 3,
            height: 1,
            width: 2,
            data: vec![1.0, 200.0, 2.0, -200.0, 3.0, 0.0],
            scale: [1.0, 1.0],
        };
        map.softmax(1.0);
        for cell in 0..2 {
            let sum: f32 = (0..3).map(|plane| map.data[plane * 2 + cell]).sum();
            assert!((sum - 1.0).abs() < 1e-6);
        }
        assert!((map.data[1] - 1.0).abs() < 1e-6);
    }
}
