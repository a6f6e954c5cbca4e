//! Cells of the support as rows of features with labels.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Shot;
use crate::error::{Error, Result};

/// Rows of features with one class each.
#[derive(Debug, Clone)]
pub struct Samples {
    /// Features a row.
    pub width: usize,
    /// `[labels.len(), width]`.
    pub rows: Vec<f32>,
    /// The class of each row.
    pub labels: Vec<u8>,
}

/// Draws at most `limit` labelled cells of each picture. Every class of a picture gets an equal
/// part of the limit first, so that a small class is not lost.
///
/// # Errors
/// If no cell holds a label.
pub fn gather(shots: &[&Shot], limit: usize, seed: u64) -> Result<Samples> {
    let mut samples = Samples { width: 0, rows: Vec::new(), labels: Vec::new() };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for shot in shots {
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
            cells.shuffle(&mut random);
            cells.truncate(left / (count - index));
            left -= cells.len();
            for (tile, cell) in cells {
                chosen[tile].push((cell, class as u8));
            }
        }
        for (tile, mut cells) in shot.tiles.iter().zip(chosen) {
            cells.sort_unstable();
            let places: Vec<usize> = cells.iter().map(|(cell, _)| *cell).collect();
            samples.rows.extend(tile.rows(&places));
            samples.labels.extend(cells.iter().map(|(_, class)| *class));
            samples.width = tile.stages.iter().map(|stage| stage.channels).sum();
        }
    }
    if samples.labels.is_empty() {
        return Err(Error::data(
            "no pixel of the labelled pictures holds a class or background: \
             everything is unlabelled or void; label at least one stroke of each",
        ));
    }
    Ok(samples)
}

impl Samples {
    /// Mean and standard deviation (never zero) of each feature.
    pub fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let mut sum = vec![0.0f64; self.width];
        let mut squares = vec![0.0f64; self.width];
        for row in self.rows.chunks_exact(self.width) {
            for ((sum, squares), value) in sum.iter_mut().zip(&mut squares).zip(row) {
                let value = f64::from(*value);
                *sum += value;
                *squares += value * value;
            }
        }
        let count = self.labels.len() as f64;
        let mean: Vec<f32> = sum.iter().map(|sum| (sum / count) as f32).collect();
        let deviation = squares
            .iter()
            .zip(&sum)
            .map(|(squares, sum)| {
                let variance = squares / count - (sum / count).powi(2);
                (variance.max(0.0).sqrt() as f32).max(1e-3)
            })
            .collect();
        (mean, deviation)
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
