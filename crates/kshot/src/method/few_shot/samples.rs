//! Cells of the support as rows of features with labels.

use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::method::few_shot::Shot;

/// Rows of features with one class each.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Features a row.
    pub width: usize,
    /// The class of each row.
    pub labels: Vec<u8>,
    /// The pictures' rows, and the index of the first of each.
    parts: Vec<(usize, Arc<SampleRows>)>,
}

/// The rows of one picture.
#[derive(Debug)]
struct SampleRows {
    /// `[labels.len(), width]`.
    values: Vec<f32>,
    labels: Vec<u8>,
    /// The sum of each feature, and of its square.
    sums: [Vec<f64>; 2],
}

/// The rows that were drawn from a picture, with the limit and seed they were drawn by: several fits
/// on the same pictures (all folds of a cross-validation, for instance) draw them once.
#[derive(Debug, Clone, Default)]
pub struct Drawn(Arc<Mutex<Option<CachedSample>>>);

/// A limit and a seed.
type SampleKey = (usize, u64);
type CachedSample = (SampleKey, Arc<SampleRows>);

impl Drawn {
    fn get(&self, key: SampleKey, draw: impl FnOnce() -> SampleRows) -> Arc<SampleRows> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, rows)) = drawn.as_ref()
            && *of == key
        {
            return Arc::clone(rows);
        }
        let rows = Arc::new(draw());
        *drawn = Some((key, Arc::clone(&rows)));
        rows
    }
}

/// Draws at most `limit` labelled cells of each picture. Every class of a picture gets an equal
/// part of the limit first, so that a small class is not lost.
///
/// # Errors
/// If no cell holds a label.
pub fn gather(shots: &[&Shot], limit: usize, seed: u64) -> Result<Samples> {
    let mut samples = Samples { width: 0, labels: Vec::new(), parts: Vec::new() };
    for shot in shots {
        let rows = shot.drawn.get((limit, seed), || draw(shot, limit, seed));
        if rows.labels.is_empty() {
            continue;
        }
        samples.width = rows.values.len() / rows.labels.len();
        samples.parts.push((samples.labels.len(), Arc::clone(&rows)));
        samples.labels.extend_from_slice(&rows.labels);
    }
    if samples.labels.is_empty() {
        return Err(Error::data(
            "no pixel of the labelled pictures holds a class or background: \
             everything is unlabelled or void; label at least one stroke of each",
        ));
    }
    Ok(samples)
}

fn draw(shot: &Shot, limit: usize, seed: u64) -> SampleRows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut by_class: Vec<Vec<(usize, usize)>> = vec![Vec::new(); 256];
    for (tile, labels) in shot.labels.iter().enumerate() {
        for (cell, label) in labels.labels.iter().enumerate() {
            if let Some(class) = label {
                by_class[usize::from(*class)].push((tile, cell));
            }
        }
    }
    let mut classes: Vec<(usize, Vec<(usize, usize)>)> =
        by_class.into_iter().enumerate().filter(|(_, cells)| !cells.is_empty()).collect();
    // Smallest class first: what it leaves of its part goes to the larger ones.
    classes.sort_by_key(|(_, cells)| cells.len());
    let mut left = limit;
    let mut chosen: Vec<Vec<(usize, u8)>> = vec![Vec::new(); shot.tiles.len()];
    let count = classes.len();
    for (index, (class, mut cells)) in classes.into_iter().enumerate() {
        let part = (left / (count - index)).min(cells.len());
        let (drawn, _) = cells.partial_shuffle(&mut random, part);
        left -= drawn.len();
        for &mut (tile, cell) in drawn {
            chosen[tile].push((cell, class as u8));
        }
    }
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (tile, mut cells) in shot.tiles.iter().zip(chosen) {
        cells.sort_unstable();
        let places: Vec<usize> = cells.iter().map(|(cell, _)| *cell).collect();
        values.extend(tile.rows(&places));
        labels.extend(cells.iter().map(|(_, class)| *class));
    }
    let width = values.len() / labels.len().max(1);
    let mut sums = [vec![0.0f64; width], vec![0.0f64; width]];
    for row in values.chunks_exact(width.max(1)) {
        let [sum, squares] = &mut sums;
        for ((sum, squares), value) in sum.iter_mut().zip(squares).zip(row) {
            let value = f64::from(*value);
            *sum += value;
            *squares += value * value;
        }
    }
    SampleRows { values, labels, sums }
}

impl Samples {
    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        let part = self.parts.partition_point(|(start, _)| *start <= index) - 1;
        let (start, rows) = &self.parts[part];
        &rows.values[(index - start) * self.width..][..self.width]
    }

    /// Mean and standard deviation (never zero) of each feature.
    pub fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let count = self.labels.len() as f64;
        let total = |which: usize, feature: usize| {
            self.parts.iter().map(|(_, rows)| rows.sums[which][feature]).sum::<f64>() / count
        };
        (0..self.width)
            .map(|feature| {
                let mean = total(0, feature);
                let variance = total(1, feature) - mean * mean;
                (mean as f32, (variance.max(0.0).sqrt() as f32).max(1e-3))
            })
            .unzip()
    }

    /// A weight per plane: frequency to the power of minus `balance`, 0 for absent classes.
    pub fn class_weights(&self, planes: usize, balance: f32) -> Vec<f32> {
        let mut counts = vec![0usize; planes];
        for label in &self.labels {
            counts[usize::from(*label)] += 1;
        }
        let total = self.labels.len() as f32;
        counts
            .iter()
            .map(|&n| if n == 0 { 0.0 } else { (n as f32 / total).powf(-balance) })
            .collect()
    }
}
