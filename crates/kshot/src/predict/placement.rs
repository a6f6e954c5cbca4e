//! Whether a whole picture is like the labelled ones: of the same kind, staining, lighting, texture.
//!
//! A picture is described by the mean of each channel that the method sees. Its distance to the nearest labelled
//! picture, channel by channel in units of the spread among the labelled pictures' cells, is compared with the distances
//! of the labelled pictures among each other.

use burn::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::contract::pixel_model::PicturePlacement;
use crate::features::extract::TileFeatures;
use crate::nn::cpu_values;

/// The least distance that counts as one, in units of the spread within pictures.
const LEAST_REFERENCE: f32 = 0.25;
/// The same where a single picture is labelled: photographs of one class lie 0.5 apart, streets 0.4, retinas 0.2; two
/// stainings of nuclei more than 1.
const LONE_REFERENCE: f32 = 0.5;

/// Numbers of a picture's position: random signs of all channels (Achlioptas, *Database-friendly random projections*,
/// JCSS 2003) keep distances to about a fifth.
const POSITION: usize = 32;

/// What the labelled pictures look like as a whole.
#[derive(Debug, Clone)]
pub struct SupportPlacement {
    /// Means of each channel, by labelled picture.
    pictures: Vec<Vec<f32>>,
    /// One over the spread of each channel's cells.
    inverse: Vec<f32>,
    /// The distance between labelled pictures that is usual.
    reference: f32,
}

/// Sums over the tiles of a picture.
#[derive(Debug, Clone, Default)]
pub struct PictureSums {
    sums: Vec<f64>,
    squares: Vec<f64>,
    area: f64,
}

impl PictureSums {
    /// Of a picture that was seen as a whole, `[channels, cells]`.
    pub fn of_cells(values: &Tensor<2>) -> Self {
        let [channels, _] = values.dims();
        let mut sums = Self::default();
        sums.widen(channels);
        sums.add_channels(0, values, 1.0);
        sums.area = 1.0;
        sums
    }

    /// Adds a tile.
    pub fn add(&mut self, tile: &TileFeatures) {
        self.widen(tile.stages.iter().map(|stage| stage.channels).sum());
        let area = (tile.tile.height * tile.tile.width) as f64;
        let mut channel = 0;
        for stage in &tile.stages {
            self.add_channels(channel, &stage.values, area);
            channel += stage.channels;
        }
        self.area += area;
    }

    fn widen(&mut self, channels: usize) {
        self.sums.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
    }

    /// Adds `[channels, cells]` that cover so large an area.
    fn add_channels(&mut self, first: usize, values: &Tensor<2>, area: f64) {
        let [_, cells] = values.dims();
        let share = area / cells as f64;
        for (channel, values) in cpu_values(values.clone()).chunks_exact(cells).enumerate() {
            let (mut sum, mut squares) = (0.0f32, 0.0f32);
            for value in values {
                sum += value;
                squares += value * value;
            }
            self.sums[first + channel] += f64::from(sum) * share;
            self.squares[first + channel] += f64::from(squares) * share;
        }
    }

    fn means(&self) -> Vec<f32> {
        self.sums.iter().map(|sum| (sum / self.area) as f32).collect()
    }
}

impl SupportPlacement {
    /// Of the labelled pictures' sums.
    pub fn fit(pictures: &[PictureSums]) -> Self {
        let area: f64 = pictures.iter().map(|of| of.area).sum();
        let channels = pictures.first().map_or(0, |of| of.sums.len());
        let inverse = (0..channels).map(|channel| {
            let mean = pictures.iter().map(|of| of.sums[channel]).sum::<f64>() / area;
            let square = pictures.iter().map(|of| of.squares[channel]).sum::<f64>() / area;
            1.0 / ((square - mean * mean).max(0.0).sqrt() as f32).max(1e-4)
        });
        let inverse: Vec<f32> = inverse.collect();
        let means: Vec<Vec<f32>> = pictures.iter().map(PictureSums::means).collect();
        let mut nearest: Vec<f32> = (0..means.len())
            .filter_map(|index| {
                let others = means.iter().enumerate().filter(|(other, _)| *other != index);
                let distances = others.map(|(_, other)| distance(&means[index], other, &inverse));
                distances.min_by(f32::total_cmp)
            })
            .collect();
        nearest.sort_by(f32::total_cmp);
        let median = nearest.get(nearest.len() / 2).map(|median| median.max(LEAST_REFERENCE));
        Self { pictures: means, inverse, reference: median.unwrap_or(LONE_REFERENCE) }
    }

    /// How a picture compares.
    pub fn of(&self, picture: &PictureSums) -> PicturePlacement {
        let means = picture.means();
        let distances = self.pictures.iter().map(|of| distance(of, &means, &self.inverse));
        let distance = distances.min_by(f32::total_cmp).unwrap_or(0.0) / self.reference;
        let mut signs = ChaCha8Rng::seed_from_u64(0);
        let mut position = vec![0.0f32; POSITION];
        for (mean, inverse) in means.iter().zip(&self.inverse) {
            let (value, signs) = (mean * inverse, signs.random::<u32>());
            for (bit, position) in position.iter_mut().enumerate() {
                *position += if signs >> bit & 1 == 1 { value } else { -value };
            }
        }
        let unit = ((POSITION * means.len().max(1)) as f32).sqrt() * self.reference;
        position.iter_mut().for_each(|value| *value /= unit);
        PicturePlacement { distance, position }
    }
}

/// Root mean square over the channels.
fn distance(one: &[f32], other: &[f32], inverse: &[f32]) -> f32 {
    let squares = one.iter().zip(other).zip(inverse).map(|((a, b), i)| ((a - b) * i).powi(2));
    (squares.sum::<f32>() / one.len().max(1) as f32).sqrt()
}
