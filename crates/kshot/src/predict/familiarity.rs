//! Is this picture's "cat" like the cats of the support at all?
//!
//! Each class of each labelled picture has a prototype: the mean of its cells' deepest features. A
//! class predicted in a new picture is strange when its own prototype there is less like the
//! nearest of the support than the support's pictures are like each other, by a margin.

use rayon::prelude::*;

use crate::method::features::{TileFeatures, cpu_values};
use crate::method::few_shot::Shot;

/// What the classes of the support look like.
#[derive(Debug, Clone)]
pub struct Familiarity {
    planes: usize,
    width: usize,
    /// Per plane, the unit prototypes of the support's pictures, `[pictures, width]`.
    prototypes: Vec<Vec<f32>>,
    /// Per plane, the cosine below which it is strange.
    thresholds: Vec<f32>,
}

/// Cosine that a class has to reach when the support holds a single picture of it, so that nothing
/// is known of its variety.
const LONE: f32 = 0.35;
/// How far below the support's own least likeness a class may fall.
const MARGIN: f32 = 0.15;

impl Familiarity {
    /// Learns the support's prototypes.
    pub fn fit(shots: &[Shot], planes: usize, _seed: u64) -> Self {
        let mut prototypes = vec![Vec::new(); planes];
        let mut width = 0;
        for shot in shots {
            let mut sums = vec![Vec::new(); planes];
            for (tile, labels) in shot.tiles.iter().zip(&shot.labels) {
                let of_cell = |cell: usize| labels.labels[cell].map(usize::from);
                width = accumulate(tile, of_cell, &mut sums);
            }
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

    /// Each plane's cosine to the nearest prototype of the support; 1 where it was not predicted.
    pub fn likeness(mut self) -> Vec<f32> {
        let width = self.of.width;
        self.sums
            .iter_mut()
            .zip(&self.of.prototypes)
            .map(|(sum, prototypes)| {
                if !unit(sum) {
                    return 1.0;
                }
                prototypes
                    .chunks_exact(width.max(1))
                    .map(|prototype| dot(prototype, sum))
                    .fold(-1.0, f32::max)
            })
            .collect()
    }

    /// Which planes are predicted but strange. Background never is.
    pub fn strange_classes(self) -> Vec<bool> {
        let thresholds = &self.of.thresholds;
        let likeness = self.likeness();
        likeness
            .iter()
            .zip(thresholds)
            .enumerate()
            .map(|(plane, (likeness, threshold))| plane > 0 && likeness < threshold)
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

fn threshold(rows: &[f32], width: usize) -> f32 {
    let rows: Vec<&[f32]> = rows.chunks_exact(width.max(1)).collect();
    if rows.len() < 2 {
        return LONE;
    }
    let least = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            let others = rows.iter().enumerate().filter(|(other, _)| *other != index);
            others.map(|(_, other)| dot(row, other)).fold(-1.0, f32::max)
        })
        .fold(1.0, f32::min);
    (least - MARGIN).min(LONE.max(least - 2.0 * MARGIN))
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
