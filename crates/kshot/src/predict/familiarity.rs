//! Whether this picture's "cat" is like the cats of the support.
//!
//! Each class of each labelled picture has a prototype: the mean of its cells' deepest features. A
//! class predicted in a new picture is unlike the support when its own prototype there is less similar
//! to the nearest of the support than the support's pictures are to each other, by a margin.

use burn::prelude::*;
use rayon::prelude::*;

use crate::contract::pixel_model::PlaneSimilarity;
use crate::features::extract::TileFeatures;
use crate::method::few_shot::Shot;
use crate::nn::cpu_values;

/// What the classes of the support look like.
#[derive(Debug, Clone)]
pub struct Familiarity {
    planes: usize,
    width: usize,
    /// Per plane, the unit prototypes of the support's pictures, `[pictures, width]`.
    prototypes: Vec<Vec<f32>>,
    /// Per plane, the cosine below which it is unlike the support.
    thresholds: Vec<f32>,
}

/// Where the support's pictures of a class are all at least this alike, one that is much less so is
/// unlike the support.
const ALIKE: f32 = 0.55;
/// How far below the support's own least similarity such a class may fall.
const MARGIN: f32 = 0.15;

impl Familiarity {
    /// Learns the support's prototypes.
    pub fn fit(shots: &[Shot], planes: usize) -> Self {
        let mut width = 0;
        let sums = shots.iter().map(|shot| {
            let mut sums = vec![Vec::new(); planes];
            for (tile, labels) in shot.tiles.iter().zip(&shot.labels) {
                let of_cell = |cell: usize| labels.labels[cell].map(usize::from);
                width = accumulate(tile, of_cell, &mut sums);
            }
            sums
        });
        let sums: Vec<Vec<Vec<f32>>> = sums.collect();
        Self::of(sums, width)
    }

    /// The same of pictures that were seen as a whole: their cells `[channels, cells]`, and by plane the share of each.
    pub fn of_cells<'a>(pictures: impl Iterator<Item = (Tensor<2>, &'a [Vec<f32>])>) -> Self {
        let mut width = 0;
        let sums = pictures.map(|(cells, shares)| {
            width = cells.dims()[0];
            let values = cpu_values(cells);
            shares.iter().map(|weights| weighted(&values, weights)).collect()
        });
        let sums: Vec<Vec<Vec<f32>>> = sums.collect();
        Self::of(sums, width)
    }

    /// Of sums by picture and plane.
    fn of(pictures: Vec<Vec<Vec<f32>>>, width: usize) -> Self {
        let planes = pictures.first().map_or(0, Vec::len);
        let mut prototypes = vec![Vec::new(); planes];
        for sums in pictures {
            for (prototypes, mut sum) in prototypes.iter_mut().zip(sums) {
                if unit(&mut sum) {
                    prototypes.extend(sum);
                }
            }
        }
        let thresholds = prototypes.iter().map(|rows| threshold(rows, width)).collect();
        Self { planes, width, prototypes, thresholds }
    }

    /// Starts on a new picture.
    pub fn query(&self) -> Query<'_> {
        Query { of: self, sums: vec![Vec::new(); self.planes] }
    }
}

/// The new picture's side of the comparison.
#[derive(Debug)]
pub struct Query<'a> {
    of: &'a Familiarity,
    sums: Vec<Vec<f32>>,
}

impl Query<'_> {
    /// Adds a tile with its scores `[planes, grid]`.
    pub fn add(&mut self, tile: &TileFeatures, scores: &[f32]) {
        let [height, width] = tile.grid();
        let cells = height * width;
        let best: Vec<usize> = (0..cells)
            .into_par_iter()
            .map(|cell| {
                (0..self.of.planes)
                    .max_by(|&a, &b| scores[a * cells + cell].total_cmp(&scores[b * cells + cell]))
                    .unwrap_or(0)
            })
            .collect();
        accumulate(tile, |cell| Some(best[cell]), &mut self.sums);
    }

    /// Adds a picture that was seen as a whole: its cells `[channels, cells]` with the plane of each.
    pub fn add_cells(&mut self, cells: Tensor<2>, planes: &[u8]) {
        let values = cpu_values(cells);
        for (plane, sum) in self.sums.iter_mut().enumerate() {
            let is = |of: &u8| f32::from(u8::from(usize::from(*of) == plane));
            let weights: Vec<f32> = planes.iter().map(is).collect();
            *sum = weighted(&values, &weights);
        }
    }

    /// How each plane compares with the labelled pictures; `None` where nothing was taken for it.
    pub fn similarity(self) -> Vec<Option<PlaneSimilarity>> {
        let of = self.of;
        let planes = self.sums.into_iter().zip(&of.prototypes).zip(&of.thresholds);
        planes
            .map(|((mut sum, prototypes), threshold)| {
                if !unit(&mut sum) {
                    return None;
                }
                let cosines: Vec<f32> = prototypes
                    .chunks_exact(of.width.max(1))
                    .map(|prototype| dot(prototype, &sum))
                    .collect();
                let nearest = cosines.iter().copied().fold(-1.0, f32::max);
                let mean = cosines.iter().sum::<f32>() / cosines.len().max(1) as f32;
                Some(PlaneSimilarity { mean, unlike: nearest < *threshold })
            })
            .collect()
    }
}

/// Adds the deepest features of each plane's cells to `sums`; returns their width.
fn accumulate(
    tile: &TileFeatures,
    plane_of: impl Fn(usize) -> Option<usize>,
    sums: &mut [Vec<f32>],
) -> usize {
    let Some(stage) = tile.stages.last() else { return 0 };
    let [height, width] = tile.grid();
    // How often each plane falls on each pixel of the stage.
    let pixels = stage.height * stage.width;
    let mut counts = vec![0.0f32; sums.len() * pixels];
    for y in 0..height {
        for x in 0..width {
            if let Some(plane) = plane_of(y * width + x) {
                let pixel = y * stage.height / height * stage.width + x * stage.width / width;
                counts[plane * pixels + pixel] += 1.0;
            }
        }
    }
    let values = cpu_values(stage.values.clone());
    for (sum, counts) in sums.iter_mut().zip(counts.chunks_exact(pixels)) {
        if counts.iter().all(|&count| count == 0.0) {
            continue;
        }
        sum.resize(stage.channels, 0.0);
        for (sum, channel) in sum.iter_mut().zip(values.chunks_exact(pixels)) {
            *sum += dot(channel, counts);
        }
    }
    stage.channels
}

/// The weighted sum of cells, `[channels]`; nothing where no weight is above zero.
fn weighted(values: &[f32], weights: &[f32]) -> Vec<f32> {
    if weights.iter().all(|&weight| weight == 0.0) {
        return Vec::new();
    }
    values.chunks_exact(weights.len()).map(|channel| dot(channel, weights)).collect()
}

/// The cosine below which a class is unlike the support; -1 where its pictures are few or unlike each other, so that
/// little is known of its variety.
fn threshold(rows: &[f32], width: usize) -> f32 {
    let rows: Vec<&[f32]> = rows.chunks_exact(width.max(1)).collect();
    let nearest = |index: usize, row: &[f32]| {
        let others = rows.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| dot(row, other)).fold(-1.0, f32::max)
    };
    let least = rows.iter().enumerate().map(|(index, row)| nearest(index, row)).fold(1.0, f32::min);
    if rows.len() > 1 && least >= ALIKE { least - 2.0 * MARGIN } else { -1.0 }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Scales to unit length; false where there is nothing to scale.
fn unit(row: &mut [f32]) -> bool {
    let norm = dot(row, row).sqrt();
    if norm < 1e-12 {
        return false;
    }
    row.iter_mut().for_each(|value| *value /= norm);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_alike_pictures_set_a_threshold() {
        assert_eq!(threshold(&[1.0, 0.0], 2), -1.0);
        assert_eq!(threshold(&[1.0, 0.0, 0.0, 1.0], 2), -1.0);
        let alike = threshold(&[1.0, 0.0, 0.8, 0.6], 2);
        assert!((alike - 0.5).abs() < 1e-6, "{alike}");
    }
}
