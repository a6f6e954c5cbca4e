//! `pixel-decoder`: a small convolutional decoder trained on the labelled pictures, at their own resolution.
//!
//! From the coarsest of the encoder's frozen stages down to single pixels: each level is projected to a few channels,
//! added to the level below brought up bilinearly, and convolved once (feature pyramids, Lin et al., CVPR 2017, arXiv
//! 1612.03144; here with batch normalisation and residual convolutions). The pixels are the
//! finest level, so that structures narrower than a cell of the encoder can be told: vessels, membranes, cracks.
//!
//! Trained by AdamW on crops around pixels of a class that is drawn evenly, with class-weighted cross entropy. Only the
//! decoder is trained; the encoder stays as it is.

use burn::module::{Module, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::prelude::*;
use burn::tensor::{TensorData, activation};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::features::extract::TileFeatures;
use crate::features::look::Look;
use crate::features::tile::GRAIN;
use crate::loss::Criterion;
use crate::loss::cross_entropy::CrossEntropy;
use crate::method::few_shot::{CellLabels, SegmentationHead, SegmentationMethod, Shot};
use crate::nn::{Activation, BatchNorm, Conv, ConvConfig, ConvNormAct, cpu_values};

/// How the decoder is made and trained.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PixelDecoderConfig {
    /// Channels at the pixels; a level that is half as fine has half as many more, up to three times as many.
    #[schemars(range(min = 1, max = 256))]
    pub width: usize,
    /// Steps of AdamW.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: usize,
    /// Crops a step.
    #[schemars(range(min = 1, max = 256))]
    pub batch: usize,
    /// Side of a crop, in working pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub crop: usize,
    /// The learning rate; it falls to zero along a cosine.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub learning_rate: f64,
    /// Decoupled weight decay (AdamW, arXiv 1711.05101).
    #[schemars(range(min = 0.0, max = 100.0))]
    pub weight_decay: f32,
    /// Probability that a channel of the encoder is dropped in training.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// How strongly rare classes are raised: weights are frequency to the power of minus this.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub balance: f32,
}

impl Default for PixelDecoderConfig {
    fn default() -> Self {
        Self {
            width: 16,
            steps: 240,
            batch: 2,
            crop: 160,
            learning_rate: 3e-3,
            weight_decay: 1e-2,
            dropout: 0.2,
            balance: 0.5,
        }
    }
}

/// Added to variances.
const EPSILON: f64 = 1e-5;
/// Places of each class that are kept of a tile to draw crops around.
const PLACES: usize = 2_000;
/// The label of cells that do not count.
const IGNORED: i64 = 255;
/// Standard deviation of the random gain and offset of a crop's pixels.
const EXPOSURE: f32 = 0.1;

impl SegmentationMethod for PixelDecoderConfig {
    fn name(&self) -> &'static str {
        "pixel-decoder"
    }

    fn boxed(&self) -> Box<dyn SegmentationMethod> {
        Box::new(self.clone())
    }

    fn look(&self) -> Look {
        Look::PIXELS
    }

    /// Not much shorter: it would be judged by what it has not learnt yet.
    fn for_judging(&self) -> Option<Box<dyn SegmentationMethod>> {
        Some(Box::new(Self { steps: self.steps * 7 / 12, ..self.clone() }))
    }

    fn most_folds(&self) -> usize {
        3
    }

    fn for_best(&self) -> Option<Box<dyn SegmentationMethod>> {
        Some(Box::new(Self { steps: self.steps * 2, ..self.clone() }))
    }

    fn needs_masks(&self) -> bool {
        true
    }

    /// # Errors
    /// If no cell of the support holds a label.
    fn fit(&self, shots: &[&Shot], planes: usize, seed: u64) -> Result<Box<dyn SegmentationHead>> {
        let mut tiles: Vec<LabelledTile> = shots
            .iter()
            .flat_map(|shot| shot.tiles.iter().zip(&shot.labels))
            .map(|(tile, labels)| LabelledTile::new(tile, labels, planes, seed))
            .filter(|tile| tile.places.iter().any(|places| !places.is_empty()))
            .collect();
        if tiles.is_empty() {
            return Err(Error::data(
                "no pixel of the labelled pictures holds a class or background: everything is unlabelled or void; \
                 label at least one stroke of each",
            ));
        }
        let moments = moments(&tiles);
        for tile in &mut tiles {
            tile.levels = standardised(std::mem::take(&mut tile.levels), &moments);
        }
        let network = self.train(&tiles, planes, seed);
        Ok(Box::new(PixelDecoderHead { network, moments }))
    }
}

/// The levels of a tile, finest first: all maps of one size as `[1, channels, height, width]`.
fn levels(tile: &TileFeatures) -> Vec<Tensor<4>> {
    let mut sizes: Vec<[usize; 2]> = Vec::new();
    for stage in &tile.stages {
        let size = [stage.height, stage.width];
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    sizes.sort_by_key(|[height, width]| std::cmp::Reverse(height * width));
    let level = |[height, width]: [usize; 2]| {
        let of_size = tile.stages.iter().filter(|of| [of.height, of.width] == [height, width]);
        let maps: Vec<Tensor<2>> = of_size.map(|stage| stage.values.clone()).collect();
        let map = Tensor::cat(maps, 0);
        let [channels, _] = map.dims();
        map.reshape([1, channels, height, width])
    };
    sizes.into_iter().map(level).collect()
}

/// A tile to train on.
struct LabelledTile {
    levels: Vec<Tensor<4>>,
    /// Row by row; 255 where nothing is labelled.
    labels: Vec<i64>,
    size: [usize; 2],
    /// By class, some of its places.
    places: Vec<Vec<usize>>,
    /// By class, how many cells it has.
    counts: Vec<usize>,
}

impl LabelledTile {
    fn new(tile: &TileFeatures, labels: &CellLabels, planes: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<i64> =
            labels.labels.iter().map(|label| label.map_or(IGNORED, i64::from)).collect();
        let mut places = vec![Vec::new(); planes];
        for (place, label) in labels.iter().enumerate() {
            if let Some(places) =
                usize::try_from(*label).ok().and_then(|class| places.get_mut(class))
            {
                places.push(place);
            }
        }
        let counts = places.iter().map(Vec::len).collect();
        for places in &mut places {
            let (kept, _) = places.partial_shuffle(&mut random, PLACES);
            *places = kept.to_vec();
        }
        Self { levels: levels(tile), labels, size: tile.grid(), places, counts }
    }

    /// The levels and labels of a crop.
    fn crop(
        &self,
        [top, left]: [usize; 2],
        [height, width]: [usize; 2],
    ) -> (Vec<Tensor<4>>, Vec<i64>) {
        let levels = self.levels.iter().map(|level| {
            let [_, _, rows, columns] = level.dims();
            let down = |length: usize| length * rows / self.size[0];
            let across = |length: usize| length * columns / self.size[1];
            level.clone().narrow(2, down(top), down(height)).narrow(3, across(left), across(width))
        });
        let rows =
            (top..top + height).flat_map(|row| &self.labels[row * self.size[1] + left..][..width]);
        (levels.collect(), rows.copied().collect())
    }
}

/// The network, by level, finest first, and what makes logits.
#[derive(Module, Debug)]
struct DecoderNetwork {
    levels: Vec<DecoderLevel>,
    head: Conv,
}

/// `y = relu(norm(project(level) + up(below)))`, then `y + relu(norm(mix(y)))`.
#[derive(Module, Debug)]
struct DecoderLevel {
    project: Conv,
    /// From the level below, which is coarser; the coarsest has none.
    up: Option<Conv>,
    /// `None` once it is folded into the two convolutions before it.
    norm: Option<BatchNorm>,
    mix: ConvNormAct,
}

impl DecoderLevel {
    /// For inference: normalisations are folded into the convolutions before them.
    fn compile(self) -> Self {
        let Some(norm) = self.norm else { return self };
        let (scale, shift) = norm.affine();
        let [channels] = scale.dims();
        let scaled = |mut conv: Conv, shift: Option<Tensor<1>>| {
            let weight = conv.weight.val() * scale.clone().reshape([channels, 1, 1, 1]);
            conv.weight = Param::from_tensor(weight);
            let bias = conv.bias.as_ref().map(|bias| bias.val() * scale.clone());
            let bias = match (bias, shift) {
                (Some(bias), Some(shift)) => Some(bias + shift),
                (bias, shift) => bias.or(shift),
            };
            conv.bias = bias.map(Param::from_tensor);
            conv.compile()
        };
        Self {
            project: scaled(self.project, Some(shift)),
            up: self.up.map(|up| scaled(up, None)),
            norm: None,
            mix: self.mix.fold(),
        }
    }

    fn forward(&self, input: Tensor<4>, below: Option<Tensor<4>>) -> Tensor<4> {
        let [_, _, height, width] = input.dims();
        let mut map = self.project.forward(input);
        if let (Some(below), Some(up)) = (below, &self.up) {
            map = map + kshot_kernels::bilinear(up.forward(below), [height, width], false);
        }
        let map = match &self.norm {
            Some(norm) => norm.forward(map, Activation::Relu),
            None => activation::relu(map),
        };
        map.clone() + self.mix.forward(map)
    }
}

impl DecoderNetwork {
    /// For levels of so many channels, finest first.
    fn new(channels: &[usize], width: usize, planes: usize, random: &mut ChaCha8Rng) -> Self {
        let device = Device::flex().autodiff();
        let wide = |level: usize| (width + width * level / 2).min(3 * width);
        let levels = channels.iter().enumerate().map(|(level, &count)| {
            let wide_here = wide(level);
            let up = level + 1 < channels.len();
            let mix = ConvConfig::new([wide_here, wide_here], 3);
            let mut mix = ConvNormAct::new(&mix, EPSILON, Activation::Relu, &device);
            seeded(&mut mix.conv, random);
            DecoderLevel {
                project: layer([count, wide_here], if level == 0 { 3 } else { 1 }, random),
                up: up.then(|| layer([wide(level + 1), wide_here], 1, random)),
                norm: Some(BatchNorm::new(wide_here, &device)),
                mix,
            }
        });
        Self { levels: levels.collect(), head: layer([width, planes], 1, random) }
    }

    /// Logits at the size of the finest level.
    fn forward(&self, inputs: Vec<Tensor<4>>) -> Tensor<4> {
        let levels = self.levels.iter().zip(inputs).rev();
        let map = levels.fold(None, |below, (level, input)| Some(level.forward(input, below)));
        self.head.forward(map.unwrap_or_else(|| panic!("there is at least one level")))
    }

    /// For inference.
    fn compile(self) -> Self {
        let levels = self.levels.into_iter().map(DecoderLevel::compile).collect();
        Self { levels, head: self.head.compile() }
    }
}

/// A convolution with random weights.
fn layer(channels: [usize; 2], kernel: usize, random: &mut ChaCha8Rng) -> Conv {
    let mut conv = ConvConfig::new(channels, kernel).init(true, &Device::flex().autodiff());
    seeded(&mut conv, random);
    conv
}

/// Weights from the seed, whatever else draws random numbers at the same time: Kaiming's uniform bound for ReLU.
fn seeded(conv: &mut Conv, random: &mut ChaCha8Rng) {
    let shape = conv.weight.dims();
    let bound = (6.0 / (shape[1] * shape[2] * shape[3]) as f32).sqrt();
    let values = (0..shape.iter().product()).map(|_| random.random_range(-bound..bound));
    let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
    conv.weight = Param::from_tensor(Tensor::from_data(data, &Device::flex().autodiff()));
}

/// Mean and inverse standard deviation of each channel of a level, `[1, channels, 1, 1]`.
type LevelMoments = (Tensor<4>, Tensor<4>);

/// Over all tiles.
fn moments(tiles: &[LabelledTile]) -> Vec<LevelMoments> {
    let of_level = |level: usize| {
        let [_, channels, ..] = tiles[0].levels[level].dims();
        let (mut sums, mut squares, mut count) =
            (vec![0.0f64; channels], vec![0.0f64; channels], 0.0);
        for tile in tiles {
            let values = cpu_values(tile.levels[level].clone());
            let area = values.len() / channels;
            count += area as f64;
            for (channel, values) in values.chunks_exact(area).enumerate() {
                sums[channel] += values.iter().map(|value| f64::from(*value)).sum::<f64>();
                squares[channel] +=
                    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
            }
        }
        let means: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let inverse = squares.iter().zip(&sums).map(|(square, sum)| {
            let variance = square / count - (sum / count).powi(2);
            1.0 / (variance.max(0.0).sqrt() as f32).max(1e-3)
        });
        let tensor = |values: Vec<f32>| {
            Tensor::<4>::from_data(TensorData::new(values, [1, channels, 1, 1]), &Device::flex())
        };
        (tensor(means), tensor(inverse.collect()))
    };
    (0..tiles[0].levels.len()).map(of_level).collect()
}

fn standardised(levels: Vec<Tensor<4>>, moments: &[LevelMoments]) -> Vec<Tensor<4>> {
    let levels = levels.into_iter().zip(moments);
    levels.map(|(level, (mean, inverse))| (level - mean.clone()) * inverse.clone()).collect()
}

impl PixelDecoderConfig {
    fn train(&self, tiles: &[LabelledTile], planes: usize, seed: u64) -> DecoderNetwork {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let device = Device::flex().autodiff();
        let channels: Vec<usize> = tiles[0].levels.iter().map(|level| level.dims()[1]).collect();
        let mut network = DecoderNetwork::new(&channels, self.width, planes, &mut random);
        let mut optimizer = AdamWConfig::new().with_weight_decay(self.weight_decay).init();
        let loss =
            CrossEntropy { weights: self.weights(tiles, planes).into(), label_smoothing: 0.0 };
        let classes: Vec<usize> = (0..planes)
            .filter(|class| tiles.iter().any(|tile| !tile.places[*class].is_empty()))
            .collect();
        let side = |axis: usize| {
            tiles.iter().map(|tile| tile.size[axis]).fold(self.crop / GRAIN * GRAIN, usize::min)
        };
        let size = [side(0), side(1)];
        for step in 0..self.steps {
            let mut inputs: Vec<Vec<Tensor<4>>> = vec![Vec::new(); channels.len()];
            let mut labels = Vec::with_capacity(self.batch * size[0] * size[1]);
            for _ in 0..self.batch {
                let class = classes[random.random_range(0..classes.len())];
                let holding: Vec<&LabelledTile> =
                    tiles.iter().filter(|tile| !tile.places[class].is_empty()).collect();
                let tile = holding[random.random_range(0..holding.len())];
                let places = &tile.places[class];
                let place = places[random.random_range(0..places.len())];
                let [row, column] = [place / tile.size[1], place % tile.size[1]];
                let mut start = |at: usize, axis: usize| {
                    let shift = random.random_range(size[axis] / 4..=3 * size[axis] / 4);
                    (at.saturating_sub(shift) / GRAIN * GRAIN).min(tile.size[axis] - size[axis])
                };
                let (levels, own) = tile.crop([start(row, 0), start(column, 1)], size);
                let levels = self.altered(levels, &mut random);
                inputs.iter_mut().zip(levels).for_each(|(all, level)| all.push(level));
                labels.extend(own);
            }
            let inputs: Vec<Tensor<4>> = inputs
                .into_iter()
                .map(|level| Tensor::from_data(Tensor::cat(level, 0).into_data(), &device))
                .collect();
            let shape = [self.batch, size[0], size[1]];
            let targets = Tensor::<3, Int>::from_data(TensorData::new(labels, shape), &device);
            let error = loss.forward(network.forward(inputs), targets);
            let gradients = GradientsParams::from_grads(error.backward(), &network);
            let warm = ((step + 1) as f64 / 10.0).min(1.0);
            let fall = 1.0 + (std::f64::consts::PI * step as f64 / self.steps as f64).cos();
            network = optimizer.step(self.learning_rate * warm * 0.5 * fall, network, gradients);
        }
        network.valid().compile()
    }

    /// Another exposure of the pixels, and some of the encoder's channels dropped.
    fn altered(&self, levels: Vec<Tensor<4>>, random: &mut ChaCha8Rng) -> Vec<Tensor<4>> {
        let mut spread = || random.random_range(-1.7..1.7) * EXPOSURE;
        let (gain, offset) = (spread().exp(), spread());
        let alter = |(index, level): (usize, Tensor<4>)| {
            if index == 0 {
                return level * gain + offset;
            }
            let [_, channels, ..] = level.dims();
            let kept = 1.0 / (1.0 - self.dropout);
            let factors: Vec<f32> = (0..channels)
                .map(|_| if random.random::<f32>() < self.dropout { 0.0 } else { kept })
                .collect();
            let data = TensorData::new(factors, [1, channels, 1, 1]);
            level.clone() * Tensor::from_data(data, &level.device())
        };
        levels.into_iter().enumerate().map(alter).collect()
    }

    /// A weight a class, their mean over the cells being 1.
    fn weights(&self, tiles: &[LabelledTile], planes: usize) -> Vec<f64> {
        let count =
            |class: usize| tiles.iter().map(|tile| tile.counts[class]).sum::<usize>() as f64;
        let total: f64 = (0..planes).map(count).sum();
        let weight = |class: usize| match count(class) {
            0.0 => 0.0,
            count => (count / total).powf(-f64::from(self.balance)),
        };
        (0..planes).map(weight).collect()
    }
}

/// A trained decoder.
struct PixelDecoderHead {
    network: DecoderNetwork,
    moments: Vec<LevelMoments>,
}

impl SegmentationHead for PixelDecoderHead {
    fn scores(&self, tile: &TileFeatures) -> Vec<f32> {
        cpu_values(self.network.forward(standardised(levels(tile), &self.moments)))
    }
}
