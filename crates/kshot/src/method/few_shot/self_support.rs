//! `self-support`: prototypes that follow each query pixel, made from the support and from what the
//! query itself shows for sure. No training.
//!
//! After "Self-Support Few-Shot Semantic Segmentation" (Fan et al., ECCV 2022, arXiv 2207.11549):
//! plain prototypes (PANet) make a first guess; the query's own confident pixels make a second
//! foreground prototype, and a background prototype for each pixel by attention. Deviations, none of
//! which is trained: the support's background is attended to in the same way instead of averaged;
//! features are the three deepest stages at two input sizes, each of unit length, concatenated; the
//! scores are diffused over the query's own feature likeness (a random walk with restart).
//! Not transductive: a query is judged alone.

use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use image::RgbImage;

use crate::data::mask::{BACKGROUND, MAX_CLASSES, Mask};
use crate::error::Result;
use crate::method::features::{Extractor, TileFeatures, cpu_values, resize};
use crate::method::score::{Resize, ScoreMap};

/// The constants of the method.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfSupport {
    /// Square input sizes in pixels, multiples of 32; their features are concatenated.
    pub sizes: Vec<usize>,
    /// How many of the deepest stages are used.
    pub stages: usize,
    /// Cells a side of the grid on which all is compared.
    pub grid: usize,
    /// Temperature of the attention and of the diffusion's weights.
    pub temperature: f32,
    /// Slope from the difference of cosines to the first guess's probability.
    pub slope: f32,
    /// Probability from which a pixel of the first guess counts as sure.
    pub sure: f32,
    /// Sure pixels at least, taken from the top where too few pass.
    pub least: usize,
    /// How far scores spread over like pixels; 0 for none.
    pub diffusion: f32,
    /// Whether the query's own pixels are used; without, this is PANet's prototype.
    pub adapt: bool,
}

impl Default for SelfSupport {
    fn default() -> Self {
        Self {
            sizes: vec![416, 640],
            stages: 3,
            grid: 26,
            temperature: 0.1,
            slope: 10.0,
            sure: 0.7,
            least: 12,
            diffusion: 0.5,
            adapt: true,
        }
    }
}

/// Steps of the diffusion: at a spread of 0.5 the rest is below 1e-5.
const DIFFUSION_STEPS: usize = 16;
/// A shot whose class covers less than this many cells counts no more than its area: specks are noise.
const LEAST_AREA: f32 = 0.3;
/// The logit of a cosine difference of 1, as PANet's.
const SCALE: f32 = 20.0;

/// A picture on the grid: `[channels, cells]`, each cell of unit length.
#[derive(Debug, Clone)]
pub struct Bank {
    values: Tensor<2>,
}

impl Bank {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let [channels, cells] = self.values.dims();
        channels * cells * 4
    }
}

/// A support picture: its features and, per plane (background first), the share of each cell.
#[derive(Debug, Clone)]
pub struct Example<'a> {
    /// Its features.
    pub bank: &'a Bank,
    /// `[planes][cells]`, each 0 to 1; void and unlabelled pixels are in none.
    pub shares: Vec<Vec<f32>>,
}

impl SelfSupport {
    /// The features of a picture.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn prepare(&self, extractor: &Extractor, picture: &RgbImage) -> Result<Bank> {
        let cells = self.grid * self.grid;
        let mut values: Vec<f32> = Vec::new();
        for &size in &self.sizes {
            let square = resize(picture, size as u32, size as u32)?;
            let working = extractor.prepare(&square, 1.0)?;
            for &tile in &working.tiles {
                let features: TileFeatures = extractor.features(&working, tile);
                let skipped = features.stages.len().saturating_sub(self.stages);
                for stage in &features.stages[skipped..] {
                    let start = values.len();
                    values.resize(start + stage.channels * cells, 0.0);
                    let source = cpu_values(stage.values.clone());
                    let from = [stage.height, stage.width];
                    let resize = Resize::new(from, [self.grid, self.grid]);
                    for (source, target) in source
                        .chunks_exact(stage.height * stage.width)
                        .zip(values[start..].chunks_exact_mut(cells))
                    {
                        resize.add(source, target);
                    }
                    normalise(&mut values[start..], cells);
                }
            }
        }
        normalise(&mut values, cells);
        let channels = values.len() / cells;
        let data = TensorData::new(values, [channels, cells]);
        Ok(Bank { values: Tensor::from_data(data, &Device::flex()) })
    }

    /// What share of each cell each plane has in a mask of any size.
    pub fn shares(&self, mask: &Mask, planes: usize) -> Vec<Vec<f32>> {
        let cells = self.grid * self.grid;
        let mut shares = vec![vec![0.0f32; cells]; planes];
        let mut areas = vec![0.0f32; cells];
        for (y, line) in mask.pixels.chunks_exact(mask.width).enumerate() {
            let row = y * self.grid / mask.height * self.grid;
            for (x, &class) in line.iter().enumerate() {
                let cell = row + x * self.grid / mask.width;
                areas[cell] += 1.0;
                if class <= MAX_CLASSES {
                    shares[usize::from(class)][cell] += 1.0;
                }
            }
        }
        for plane in &mut shares {
            plane.iter_mut().zip(&areas).for_each(|(share, area)| *share /= area.max(1.0));
        }
        shares
    }

    /// The logits of background and every class on the grid, for a picture of `size`
    /// (`[height, width]`).
    pub fn scores(&self, examples: &[Example<'_>], query: &Bank, size: [usize; 2]) -> ScoreMap {
        let planes = examples.first().map_or(1, |example| example.shares.len());
        let cells = self.grid * self.grid;
        let query = query.values.clone();
        let background = prototype(examples, usize::from(BACKGROUND));
        let mut data = vec![0.0f32; planes * cells];
        for plane in 1..planes {
            let foreground = prototype(examples, plane);
            let score = self.one_class(examples, &query, foreground, background.clone());
            for (out, score) in data[plane * cells..][..cells].iter_mut().zip(score) {
                *out = score * SCALE;
            }
        }
        ScoreMap {
            planes,
            height: self.grid,
            width: self.grid,
            data,
            scale: size.map(|length| self.grid as f32 / length as f32),
        }
    }

    /// One class against background: the difference of cosines per cell.
    fn one_class(
        &self,
        examples: &[Example<'_>],
        query: &Tensor<2>,
        foreground: Tensor<2>,
        background: Tensor<2>,
    ) -> Vec<f32> {
        let first =
            cpu_values(((foreground.clone() - background.clone()) * query.clone()).sum_dim(0));
        if !self.adapt {
            return first;
        }
        let probability: Vec<f32> =
            first.iter().map(|score| 1.0 / (1.0 + (-self.slope * score).exp())).collect();
        let sure_foreground = self.sure_cells(&probability, |p| p);
        let sure_background = self.sure_cells(&probability, |p| 1.0 - p);
        let own = |cells: &[i64]| {
            let chosen = Tensor::<1, Int>::from_data(
                TensorData::new(cells.to_vec(), [cells.len()]),
                &query.device(),
            );
            query.clone().select(1, chosen)
        };
        let foreground = unit(foreground + unit(own(&sure_foreground).mean_dim(1)));
        let support_background = self.attended_background(examples, query).unwrap_or(background);
        let query_background = self.attend(query, own(&sure_background), None);
        let background = unit(support_background + query_background);
        let score = ((foreground - background) * query.clone()).sum_dim(0);
        cpu_values(self.diffuse(score, query))
    }

    /// The cells whose probability passes, or the best few.
    fn sure_cells(&self, probability: &[f32], of: impl Fn(f32) -> f32) -> Vec<i64> {
        let passing = probability.iter().filter(|&&p| of(p) > self.sure).count();
        let mut order: Vec<usize> = (0..probability.len()).collect();
        order.sort_by(|&a, &b| of(probability[b]).total_cmp(&of(probability[a])));
        let mut cells: Vec<i64> =
            order[..passing.max(self.least).min(order.len())].iter().map(|&c| c as i64).collect();
        cells.sort_unstable();
        cells
    }

    /// For each query cell, the support's background cells weighted by likeness (every other row
    /// and column of cells: neighbours say the same).
    fn attended_background(
        &self,
        examples: &[Example<'_>],
        query: &Tensor<2>,
    ) -> Option<Tensor<2>> {
        let mut parts = Vec::new();
        let mut weights = Vec::new();
        for example in examples {
            let shares = &example.shares[usize::from(BACKGROUND)];
            let cells: Vec<i64> = (0..shares.len())
                .filter(|cell| {
                    (cell / self.grid).is_multiple_of(2) && (cell % self.grid).is_multiple_of(2)
                })
                .filter(|&cell| shares[cell] > 0.0)
                .map(|cell| cell as i64)
                .collect();
            if cells.is_empty() {
                continue;
            }
            weights.extend(cells.iter().map(|&cell| shares[cell as usize].ln()));
            let count = cells.len();
            let chosen =
                Tensor::<1, Int>::from_data(TensorData::new(cells, [count]), &query.device());
            parts.push(example.bank.values.clone().select(1, chosen));
        }
        (!parts.is_empty()).then(|| self.attend(query, Tensor::cat(parts, 1), Some(weights)))
    }

    /// For each query cell the mean of `keys` (`[channels, n]`) weighted by likeness.
    fn attend(&self, query: &Tensor<2>, keys: Tensor<2>, weights: Option<Vec<f32>>) -> Tensor<2> {
        let mut likeness = query.clone().transpose().matmul(keys.clone()) / self.temperature;
        if let Some(weights) = weights {
            let count = weights.len();
            likeness = likeness
                + Tensor::<2>::from_data(TensorData::new(weights, [1, count]), &query.device());
        }
        let attention = activation::softmax(likeness, 1);
        unit(keys.matmul(attention.transpose()))
    }

    /// A random walk with restart over the query's own likeness.
    fn diffuse(&self, score: Tensor<2>, query: &Tensor<2>) -> Tensor<2> {
        if self.diffusion == 0.0 {
            return score;
        }
        let likeness = query.clone().transpose().matmul(query.clone()) / self.temperature;
        let weights = activation::softmax(likeness, 1);
        let start = score.transpose();
        let mut current = start.clone();
        for _ in 0..DIFFUSION_STEPS {
            current = weights.clone().matmul(current) * self.diffusion
                + start.clone() * (1.0 - self.diffusion);
        }
        current.transpose()
    }
}

/// PANet's prototype of a plane: the mean over the shots that hold it of its masked average,
/// `[channels, 1]`, of unit length.
fn prototype(examples: &[Example<'_>], plane: usize) -> Tensor<2> {
    let mut sum: Option<Tensor<2>> = None;
    for example in examples {
        let shares = &example.shares[plane];
        let total: f32 = shares.iter().sum();
        if total == 0.0 {
            continue;
        }
        let weights: Vec<f32> = shares.iter().map(|share| share / total.max(LEAST_AREA)).collect();
        let cells = weights.len();
        let values = example.bank.values.clone();
        let weights =
            Tensor::<2>::from_data(TensorData::new(weights, [cells, 1]), &values.device());
        let mean = values.matmul(weights);
        sum = Some(match sum {
            Some(sum) => sum + mean,
            None => mean,
        });
    }
    match sum {
        Some(sum) => unit(sum),
        // A class without a pixel is like nothing.
        None => {
            let [channels, _] = examples[0].bank.values.dims();
            Tensor::zeros([channels, 1], &Device::flex())
        }
    }
}

/// Columns of unit length.
fn unit(values: Tensor<2>) -> Tensor<2> {
    let norm = values.clone().square().sum_dim(0).sqrt().clamp_min(1e-6);
    values / norm
}

/// Scales each cell of `[channels, cells]` to unit length.
fn normalise(values: &mut [f32], cells: usize) {
    let mut squares = vec![0.0f32; cells];
    for channel in values.chunks_exact(cells) {
        squares.iter_mut().zip(channel).for_each(|(sum, value)| *sum += value * value);
    }
    squares.iter_mut().for_each(|sum| *sum = 1.0 / sum.sqrt().max(1e-6));
    for channel in values.chunks_exact_mut(cells) {
        channel.iter_mut().zip(&squares).for_each(|(value, scale)| *value *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of two kinds of cells, foreground on the left of `edge`.
    fn bank(grid: usize, edge: usize, shift: f32) -> Bank {
        let mut values = vec![0.0f32; 3 * grid * grid];
        for cell in 0..grid * grid {
            let foreground = cell % grid < edge;
            values[cell] = if foreground { 1.0 } else { shift };
            values[grid * grid + cell] = if foreground { shift } else { 1.0 };
            values[2 * grid * grid + cell] = 0.3;
        }
        normalise(&mut values, grid * grid);
        let data = TensorData::new(values, [3, grid * grid]);
        Bank { values: Tensor::from_data(data, &Device::flex()) }
    }

    #[test]
    fn finds_the_class_and_void_does_not_matter() {
        let method = SelfSupport { grid: 8, least: 2, ..SelfSupport::default() };
        let support = bank(8, 4, 0.1);
        let mut mask = Mask::filled(16, 16, 0);
        for (index, pixel) in mask.pixels.iter_mut().enumerate() {
            *pixel = match index % 16 {
                0..8 => 1,
                8 | 9 => 255,
                _ => 0,
            };
        }
        for adapt in [false, true] {
            let method = SelfSupport { adapt, ..method.clone() };
            let examples = [Example { bank: &support, shares: method.shares(&mask, 2) }];
            let map = method.scores(&examples, &bank(8, 3, 0.2), [80, 80]);
            for (cell, score) in map.plane(1).iter().enumerate() {
                assert_eq!(*score > 0.0, cell % 8 < 3, "adapt {adapt}, cell {cell}: {score}");
            }
        }
    }

    #[test]
    fn the_same_shot_twice_changes_nothing() {
        let method = SelfSupport { grid: 8, least: 2, ..SelfSupport::default() };
        let (support, query) = (bank(8, 4, 0.1), bank(8, 5, 0.3));
        let mut mask = Mask::filled(8, 8, 0);
        mask.pixels.chunks_exact_mut(8).for_each(|line| line[..4].fill(1));
        let example = Example { bank: &support, shares: method.shares(&mask, 2) };
        let once = method.scores(std::slice::from_ref(&example), &query, [8, 8]);
        let twice = method.scores(&[example.clone(), example], &query, [8, 8]);
        for (a, b) in once.data.iter().zip(&twice.data) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }
}
