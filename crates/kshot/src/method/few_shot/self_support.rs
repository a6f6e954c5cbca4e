//! `self-support`: prototypes that follow each query pixel, made from the support and from what the
//! query itself shows for sure. No training.
//!
//! After "Self-Support Few-Shot Semantic Segmentation" (Fan et al., ECCV 2022, arXiv 2207.11549):
//! plain prototypes (PANet) make a first guess; the query's own confident pixels make a second
//! foreground prototype, and a background prototype for each pixel by attention. Deviations, none of
//! which is trained: the support's background is attended to in the same way instead of averaged;
//! features are the three deepest stages at two input sizes, each of unit length, concatenated; the
//! scores are diffused over the query's own feature similarity (a random walk with restart).
//! Not transductive: a query is judged alone.

use burn::prelude::*;
use burn::tensor::TensorData;
use image::RgbImage;
use kshot_data::mask::{BACKGROUND, MAX_CLASSES, Mask};
use kshot_data::resize::resize;

use crate::error::Result;
use crate::features::extract::{Extractor, TileFeatures};
use crate::features::score_map::{BilinearResize, ScoreMap};
pub use crate::method::few_shot::similarity::Bank;
use crate::method::few_shot::similarity::{
    Attended, SimilarityMatrix, TINY, add_scaled, dot, weight,
};
use crate::nn::cpu_values;

/// The constants of the method.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelfSupport {
    /// Square input sizes in pixels, multiples of 32; their features are concatenated.
    #[schemars(length(min = 1, max = 8), inner(range(min = 32, max = 1024)))]
    pub sizes: Vec<usize>,
    /// How many of the deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid on which all is compared.
    #[schemars(range(min = 2, max = 64))]
    pub grid: usize,
    /// Temperature of the attention and of the diffusion's weights.
    #[schemars(range(min = 1e-3, max = 1000.0))]
    pub temperature: f32,
    /// Slope from the difference of cosines to the first guess's probability.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub slope: f32,
    /// Probability from which a pixel of the first guess counts as sure.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sure: f32,
    /// Sure pixels at least, taken from the top where too few pass.
    #[schemars(range(min = 1, max = 4096))]
    pub least: usize,
    /// How far scores spread over like pixels; 0 for none.
    #[schemars(range(min = 0.0, max = 0.999))]
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

/// Its name in Rust, on the command line and in recipes.
pub const NAME: &str = "self-support";

impl super::Fitting for SelfSupport {
    fn fitting(&self) -> super::PixelMethod {
        super::PixelMethod::SelfSupport(self.clone())
    }
}

/// Steps of the diffusion: at a spread of 0.5 the rest is below 1e-5.
const DIFFUSION_STEPS: usize = 16;
/// A shot whose class covers less than this many cells counts no more than its area: specks are noise.
const LEAST_AREA: f32 = 0.3;
/// The logit of a cosine difference of 1, as PANet's.
const SCALE: f32 = 20.0;

/// A support picture: its features and, per plane (background first), the share of each cell.
#[derive(Debug, Clone)]
pub struct SupportExample<'a> {
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
        let mut deepest = 0;
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
                    let resize = BilinearResize::new(from, [self.grid, self.grid]);
                    for (source, target) in source
                        .chunks_exact(stage.height * stage.width)
                        .zip(values[start..].chunks_exact_mut(cells))
                    {
                        resize.add(source, target);
                    }
                    normalise(&mut values[start..], cells);
                    deepest = stage.channels;
                }
            }
        }
        normalise(&mut values, cells);
        let channels = values.len() / cells;
        let data = TensorData::new(values, [channels, cells]);
        Ok(Bank::new(Tensor::from_data(data, &Device::flex()), deepest))
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
    pub fn scores(
        &self,
        examples: &[SupportExample<'_>],
        query: &Bank,
        size: [usize; 2],
    ) -> ScoreMap {
        let planes = examples.first().map_or(1, |example| example.shares.len());
        let cells = self.grid * self.grid;
        let background = prototype(examples, usize::from(BACKGROUND));
        let background = cosines(background, query);
        let attended = self.adapt.then(|| self.attend_support(examples, query)).flatten();
        let mut data = vec![0.0f32; planes * cells];
        for plane in 1..planes {
            let foreground = prototype(examples, plane);
            let known = square_norm(&foreground);
            let foreground = cosines(foreground, query);
            let score = if self.adapt {
                self.adapted(query, (&foreground, known), &background, attended.as_ref())
            } else {
                foreground.iter().zip(&background).map(|(f, b)| f - b).collect()
            };
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

    /// One class against background, with what the query shows itself: the difference of cosines per
    /// cell. Every vector that is compared is a sum of cells of the query and of the support, so that
    /// all cosines come from those between cells; those within the query are kept with it.
    /// `foreground` and `background` are the cosines of each cell with the support's prototypes, and
    /// `known` is the squared length of the foreground's: 1, or 0 where the support holds none.
    fn adapted(
        &self,
        query: &Bank,
        (foreground, known): (&[f32], f32),
        background: &[f32],
        attended: Option<&Attended>,
    ) -> Vec<f32> {
        let own = query.similarity(self.temperature);
        let cells = foreground.len();
        let probability: Vec<f32> = foreground
            .iter()
            .zip(background)
            .map(|(f, b)| 1.0 / (1.0 + (-self.slope * (f - b)).exp()))
            .collect();
        let sure_foreground = self.sure_cells(&probability, |p| p);
        let sure_background = self.sure_cells(&probability, |p| 1.0 - p);

        // The mean of the sure cells, made of unit length, joins the support's prototype.
        let mut mean = vec![0.0f32; cells];
        for &cell in &sure_foreground {
            add_scaled(&mut mean, &own.cosines[cell * cells..][..cells], 1.0);
        }
        let count = sure_foreground.len() as f32;
        mean.iter_mut().for_each(|value| *value /= count);
        let over_sure = |of: &[f32]| sure_foreground.iter().map(|&c| of[c]).sum::<f32>() / count;
        let length = over_sure(&mean).max(0.0).sqrt().max(TINY);
        let both = (known + 1.0 + 2.0 * over_sure(foreground) / length).max(0.0).sqrt().max(TINY);

        let query_side = own.attend(&sure_background);
        let sure = sure_background.len();
        // How like the two backgrounds of each cell are, before their lengths are taken out.
        let shared = attended.map(|attended| attended.with(&sure_background));
        let score: Vec<f32> = (0..cells)
            .map(|cell| {
                let front = (foreground[cell] + mean[cell] / length) / both;
                let weights = &query_side.weights[cell * sure..][..sure];
                let (support_like, support_length, shared) = match (attended, &shared) {
                    (Some(attended), Some(shared)) => {
                        let shared = dot(weights, &shared[cell * sure..][..sure]);
                        (attended.like[cell], attended.length[cell], shared)
                    }
                    _ => {
                        let of_sure = weights.iter().zip(&sure_background);
                        let shared = of_sure.map(|(w, &cell)| w * background[cell]).sum();
                        (background[cell], 1.0, shared)
                    }
                };
                let query_length = query_side.length[cell];
                let sum = 2.0 + 2.0 * shared / (support_length * query_length);
                let back = support_like / support_length + query_side.like[cell] / query_length;
                front - back / sum.max(0.0).sqrt().max(TINY)
            })
            .collect();
        self.diffuse(score, own)
    }

    /// The cells whose probability passes, or the best few.
    fn sure_cells(&self, probability: &[f32], of: impl Fn(f32) -> f32) -> Vec<usize> {
        let passing = probability.iter().filter(|&&p| of(p) > self.sure).count();
        let mut order: Vec<usize> = (0..probability.len()).collect();
        order.sort_by(|&a, &b| of(probability[b]).total_cmp(&of(probability[a])));
        order.truncate(passing.max(self.least));
        order.sort_unstable();
        order
    }

    /// For each query cell, the support's background cells weighted by similarity (every other row
    /// and column of cells: neighbours say the same). `None` where there is none.
    fn attend_support(&self, examples: &[SupportExample<'_>], query: &Bank) -> Option<Attended> {
        let mut parts = Vec::new();
        let mut areas = Vec::new();
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
            areas.extend(cells.iter().map(|&cell| shares[cell as usize]));
            let values = &example.bank.values;
            let data = TensorData::new(cells.clone(), [cells.len()]);
            let chosen = Tensor::<1, Int>::from_data(data, &values.device());
            parts.push(values.clone().select(1, chosen));
        }
        if parts.is_empty() {
            return None;
        }
        let keys = Tensor::cat(parts, 1);
        let query = query.values.clone();
        let cosines = query.clone().transpose().matmul(keys.clone());
        let mut weights = cpu_values(cosines.clone());
        for row in weights.chunks_exact_mut(areas.len()) {
            for (value, area) in row.iter_mut().zip(&areas) {
                *value = weight(*value, self.temperature) * area;
            }
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= sum);
        }
        let data = TensorData::new(weights, cosines.dims());
        let weights = Tensor::<2>::from_data(data, &query.device());
        let mean = keys.matmul(weights.clone().transpose());
        let like = cpu_values((mean.clone() * query).sum_dim(0));
        let length = cpu_values(mean.square().sum_dim(0).sqrt().clamp_min(TINY));
        Some(Attended { cosines, weights, like, length })
    }

    /// A random walk with restart over the query's own similarity.
    fn diffuse(&self, start: Vec<f32>, own: &SimilarityMatrix) -> Vec<f32> {
        if self.diffusion == 0.0 {
            return start;
        }
        let cells = start.len();
        // The weights are symmetric: rows are added where columns would be summed.
        let mut sums = vec![0.0f32; cells];
        own.weights.chunks_exact(cells).for_each(|row| add_scaled(&mut sums, row, 1.0));
        let mut current = start.clone();
        for _ in 0..DIFFUSION_STEPS {
            let mut next = vec![0.0f32; cells];
            for (row, &value) in own.weights.chunks_exact(cells).zip(&current) {
                add_scaled(&mut next, row, value);
            }
            for ((next, sum), start) in next.iter_mut().zip(&sums).zip(&start) {
                *next = *next / sum * self.diffusion + start * (1.0 - self.diffusion);
            }
            current = next;
        }
        current
    }
}

/// The product of a prototype (`[channels, 1]`) with each cell.
fn cosines(prototype: Tensor<2>, bank: &Bank) -> Vec<f32> {
    cpu_values(prototype.transpose().matmul(bank.values.clone()))
}

fn square_norm(prototype: &Tensor<2>) -> f32 {
    cpu_values(prototype.clone()).iter().map(|value| value * value).sum()
}

/// PANet's prototype of a plane: the mean over the shots that hold it of its masked average,
/// `[channels, 1]`, of unit length.
fn prototype(examples: &[SupportExample<'_>], plane: usize) -> Tensor<2> {
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
    let norm = values.clone().square().sum_dim(0).sqrt().clamp_min(TINY);
    values / norm
}

/// Scales each cell of `[channels, cells]` to unit length.
fn normalise(values: &mut [f32], cells: usize) {
    let mut squares = vec![0.0f32; cells];
    for channel in values.chunks_exact(cells) {
        squares.iter_mut().zip(channel).for_each(|(sum, value)| *sum += value * value);
    }
    squares.iter_mut().for_each(|sum| *sum = 1.0 / sum.sqrt().max(TINY));
    for channel in values.chunks_exact_mut(cells) {
        channel.iter_mut().zip(&squares).for_each(|(value, scale)| *value *= scale);
    }
}

#[cfg(test)]
#[path = "self_support_tests.rs"]
mod tests;
