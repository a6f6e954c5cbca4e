//! `meta-encoder-decoder`: for each task the embedding takes some gradient steps on the labelled pictures, by the sum of a
//! segmentation loss and a metric loss; the decoder behind it stays as it is. Both are meta-learnt, so that these few
//! steps suffice: MAML (Finn, Abbeel and Levine 2017, arXiv 1703.03400) with exact second order, its first order, or
//! Reptile (Nichol, Achiam and Schulman 2018, arXiv 1803.02999).
//!
//! `L = L_seg + meta * L_meta`: `L_seg` is the cross entropy of the decoder's scores, `L_meta` that of cosines with the
//! mean embeddings of class and background. What adapts are two convolutions on the maps of an encoder that stays as it
//! is, not the encoder's own layers: second derivatives are taken by forward-mode duals ([`crate::nn::dual`]), on which
//! published encoders are not written, and two cores can train it. A class's steps do not see other classes, so any
//! number of them can be asked for. Not transductive.

use burn::module::Module;
use burn::nn::Initializer;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::ops::ConvOptions;
use serde::{Deserialize, Serialize};

use super::dense_correlation::on_grid;
use super::maps::{EpisodeMaps, LabelledMaps, Maps, SPECK, against_rest, cell_shares};
use super::parts::against_background;
use super::{EpisodeInput, EpisodicConfig, EpisodicHead, HeadStep};
use crate::error::{Error, Result};
use crate::method::meta::second_order::{gradient, hessian_product};
use crate::nn::dual::Dual;
use crate::nn::weights::{Cursor, FlatWeights, constant, plain};
use crate::nn::{Conv, ConvConfig};

/// The logit of a cosine of 1.
const SCALE: f32 = 10.0;
/// How many parameters adapt: kernels and biases of two convolutions. The decoder's come after them.
const ADAPTED: usize = 4;

/// How the embedding is meta-learnt.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MetaGradient {
    /// MAML, exactly.
    #[default]
    SecondOrder,
    /// MAML with second derivatives taken as zero.
    FirstOrder,
    /// Towards where steps on all of an episode's pictures lead.
    Reptile,
}

/// How it adapts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetaEncoderDecoderConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid on which all is computed.
    #[schemars(range(min = 2, max = 128))]
    pub grid: usize,
    /// Channels of the embedding and of the decoder.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Gradient steps on the labelled pictures in training.
    #[schemars(range(min = 1, max = 1000))]
    pub steps: usize,
    /// The same at test time.
    #[schemars(range(min = 0, max = 1000))]
    pub test_steps: usize,
    /// Learning rate of these steps.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 100.0))]
    pub rate: f64,
    /// What the metric loss counts in them.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub meta: f64,
    /// How the embedding is meta-learnt: second-order, first-order or reptile.
    pub gradient: MetaGradient,
}

impl Default for MetaEncoderDecoderConfig {
    fn default() -> Self {
        Self {
            size: 416,
            stages: 3,
            grid: 26,
            width: 32,
            steps: 3,
            test_steps: 10,
            rate: 0.1,
            meta: 1.0,
            gradient: MetaGradient::SecondOrder,
        }
    }
}

impl EpisodicConfig for MetaEncoderDecoderConfig {
    type Head = MetaEncoderDecoder;
    const NAME: &'static str = "meta-encoder-decoder";
    const SUMMARY: &'static str =
        "an embedding that a few gradient steps adapt to each task, before a decoder that stays";
    const SOURCE: &'static str = "https://arxiv.org/abs/1703.03400";
    const MAY_LEARN_ENCODER: bool = false;

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn check(&self) -> Result<()> {
        let wrong =
            |key: &str, text: &str| Err(Error::config(text).at_key(format!("method.{key}")));
        if self.steps == 0 {
            return wrong("steps", "an inner loop takes at least 1 step");
        }
        if !(self.rate > 0.0 && self.rate.is_finite() && self.meta >= 0.0) {
            return wrong(
                "rate",
                "the inner rate is above 0, what the metric loss counts 0 or more",
            );
        }
        Ok(())
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> MetaEncoderDecoder {
        let width = self.width;
        // By the inputs, of which there are many more than outputs; the last small, so that steps begin at a gentle loss.
        let kaiming =
            Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false };
        let conv = |channels: [usize; 2], kernel: usize| {
            ConvConfig::new(channels, kernel).init_by(&kaiming, true, device)
        };
        let small = Initializer::Normal { mean: 0.0, std: 0.01 };
        MetaEncoderDecoder {
            project: conv([channels.iter().sum(), width], 1),
            embed: conv([width, width], 3),
            decode: conv([width, width], 3),
            score: ConvConfig::new([width, 1], 1).init_by(&small, true, device),
            config: self.clone(),
        }
    }
}

/// The embedding and the decoder.
#[derive(Module, Debug)]
pub struct MetaEncoderDecoder {
    project: Conv,
    embed: Conv,
    decode: Conv,
    score: Conv,
    #[module(skip)]
    config: MetaEncoderDecoderConfig,
}

/// One class's pictures on the grid.
struct WayCells {
    /// `[pictures, channels, grid, grid]`
    maps: Tensor<4>,
    /// `[pictures * cells, 2]`: how much of a cell is anything else, and the class's.
    shares: Tensor<2>,
}

impl WayCells {
    fn of(maps: &Maps, masks: &Tensor<4>, grid: usize) -> Self {
        let shares = cell_shares(masks, [grid; 2]).permute([0, 2, 3, 1]);
        let [pictures, rows, columns, _] = shares.dims();
        Self { maps: joined(maps, grid), shares: shares.reshape([pictures * rows * columns, 2]) }
    }

    /// On the autodiff side, as constants.
    fn autodiff(self) -> Self {
        Self { maps: constant(self.maps), shares: constant(self.shares) }
    }

    fn and(self, other: Self) -> Self {
        Self {
            maps: Tensor::cat(vec![self.maps, other.maps], 0),
            shares: Tensor::cat(vec![self.shares, other.shares], 0),
        }
    }
}

/// All stages on a grid: `[pictures, channels, grid, grid]`, each scaled so that its numbers are about 1.
fn joined(maps: &Maps, grid: usize) -> Tensor<4> {
    let scaled = on_grid(maps, grid).0.into_iter().map(|map| {
        let channels = map.dims()[1] as f32;
        map * channels.sqrt()
    });
    Tensor::cat(scaled.collect(), 1)
}

/// The mean over the counted cells of minus the logarithm of the softmax of logits `[cells, 2]`, by their shares.
fn cross_entropy(logits: Dual<2>, shares: &Tensor<2>) -> Dual<1> {
    let counted = (shares.clone().sum() + SPECK).reshape([1, 1]);
    let weights = shares.clone() / counted;
    logits.log_softmax().linear(|tensor| (tensor * weights.clone()).sum().neg())
}

impl MetaEncoderDecoder {
    /// What adapts, then the decoder.
    fn weights(&self) -> FlatWeights {
        let mut weights = FlatWeights::default();
        for conv in [&self.project, &self.embed, &self.decode, &self.score] {
            weights.push(&conv.weight);
            conv.bias.iter().for_each(|bias| weights.push(bias));
        }
        weights
    }

    /// The embedding `[pictures, width, grid, grid]` and scores `[pictures, 1, grid, grid]` by given weights.
    fn forward(&self, maps: Tensor<4>, weights: &[Dual<1>]) -> (Dual<4>, Dual<4>) {
        let mut cursor = Cursor::new(weights);
        let mut conv = |input: Dual<4>, conv: &Conv| {
            let shape: [usize; 4] = conv.weight.dims();
            let weight: Dual<4> = cursor.take(shape);
            let bias: Dual<1> = cursor.take([shape[0]]);
            let padding = [shape[2] / 2, shape[3] / 2];
            let options = ConvOptions::new([1, 1], padding, [1, 1], 1);
            Dual::<4>::conv2d(input, weight, Some(bias), options)
        };
        let embedding = conv(Dual::from(maps), &self.project).relu(0.0);
        let embedding = conv(embedding, &self.embed);
        let hidden = conv(embedding.clone().relu(0.0), &self.decode).relu(0.0);
        let scores = conv(hidden, &self.score);
        (embedding, scores)
    }

    /// `L_seg` of some pictures.
    fn segmentation(&self, cells: &WayCells, weights: &[Dual<1>]) -> Dual<1> {
        let (_, scores) = self.forward(cells.maps.clone(), weights);
        Self::of_scores(scores, cells)
    }

    fn of_scores(scores: Dual<4>, cells: &WayCells) -> Dual<1> {
        let [count, _] = cells.shares.dims();
        // Background has a score of 0.
        let logits = scores.reshape([count, 1]);
        let logits = logits.linear(|tensor| Tensor::cat(vec![tensor.zeros_like(), tensor], 1));
        cross_entropy(logits, &cells.shares)
    }

    /// `L_seg + meta * L_meta` of labelled pictures.
    fn inner_loss(&self, cells: &WayCells, weights: &[Dual<1>]) -> Dual<1> {
        let (embedding, scores) = self.forward(cells.maps.clone(), weights);
        let loss = Self::of_scores(scores, cells);
        if self.config.meta == 0.0 {
            return loss;
        }
        let [pictures, width, rows, columns] = embedding.value.dims();
        let count = pictures * rows * columns;
        let points = embedding.linear(|map| map.permute([0, 2, 3, 1]).reshape([count, width]));
        let points = points.unit();
        let shares = cells.shares.clone().transpose();
        let shares = shares.clone() / (shares.sum_dim(1) + SPECK);
        let prototypes = Dual::from(shares).matmul(points.clone()).unit();
        let cosines = points.matmul(prototypes.linear(|tensor| tensor.transpose()));
        let metric = cross_entropy(cosines.linear(|tensor| tensor * SCALE), &cells.shares);
        loss.plus(metric.linear(|tensor| tensor * self.config.meta))
    }

    /// Where steps begin; without autodiff.
    fn start(&self) -> Vec<Tensor<1>> {
        self.weights().values().into_iter().map(plain).collect()
    }

    /// The weights before each of some steps on labelled pictures, and after the last; without autodiff.
    fn path(&self, start: Vec<Tensor<1>>, cells: &WayCells, steps: usize) -> Vec<Vec<Tensor<1>>> {
        let mut path = vec![start];
        let loss = |weights: &[Dual<1>]| self.inner_loss(cells, weights);
        for step in 0..steps {
            let now = &path[step];
            let (_, along) = gradient(&loss, now);
            let next = now.iter().zip(along).enumerate().map(|(index, (weight, gradient))| {
                if index < ADAPTED {
                    weight.clone() - gradient * self.config.rate
                } else {
                    weight.clone()
                }
            });
            let next = next.collect();
            path.push(next);
        }
        path
    }

    /// The loss of queries after adaptation and its gradient in all weights.
    fn outer(
        &self,
        start: Vec<Tensor<1>>,
        support: WayCells,
        query: WayCells,
    ) -> (f64, Vec<Tensor<1>>) {
        let (support, query) = (support.autodiff(), query.autodiff());
        let steps = self.config.steps;
        let on_query = |weights: &[Dual<1>]| self.segmentation(&query, weights);
        if self.config.gradient == MetaGradient::Reptile {
            let both = WayCells { maps: support.maps.clone(), shares: support.shares.clone() };
            let both =
                both.and(WayCells { maps: query.maps.clone(), shares: query.shares.clone() });
            let path = self.path(start, &both, steps);
            let (loss, mut outer) = gradient(&on_query, &path[steps]);
            let scale = 1.0 / (self.config.rate * steps as f64);
            for (index, outer) in outer.iter_mut().enumerate().take(ADAPTED) {
                *outer = (path[0][index].clone() - path[steps][index].clone()) * scale;
            }
            return (loss, outer);
        }
        let path = self.path(start, &support, steps);
        let (loss, mut outer) = gradient(&on_query, &path[steps]);
        if self.config.gradient == MetaGradient::FirstOrder {
            return (loss, outer);
        }
        let on_support = |weights: &[Dual<1>]| self.inner_loss(&support, weights);
        for before in path[..steps].iter().rev() {
            let along = |(index, vector): (usize, &Tensor<1>)| {
                (index < ADAPTED).then(|| vector.clone() * self.config.rate)
            };
            let direction: Vec<Option<Tensor<1>>> = outer.iter().enumerate().map(along).collect();
            for (outer, product) in
                outer.iter_mut().zip(hessian_product(&on_support, before, &direction))
            {
                *outer = outer.clone() - product;
            }
        }
        (loss, outer)
    }

    /// The weights after the steps of test time, for a class.
    fn adapted(&self, support: &LabelledMaps, way: usize) -> Vec<Tensor<1>> {
        let (maps, masks) = support.way(way);
        let cells = WayCells::of(&maps, &masks, self.config.grid).autodiff();
        self.path(self.start(), &cells, self.config.test_steps).pop().unwrap_or_default()
    }
}

impl EpisodicHead for MetaEncoderDecoder {
    /// For each class the weights after its steps.
    type Task = Vec<Vec<Tensor<1>>>;

    fn task(&self, support: &LabelledMaps) -> Self::Task {
        (0..support.ways()).map(|way| self.adapted(support, way)).collect()
    }

    fn logits(&self, task: &Self::Task, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let maps = joined(query, self.config.grid);
        let of_way = |weights: &Vec<Tensor<1>>| {
            let weights: Vec<Dual<1>> = weights.iter().cloned().map(Dual::from).collect();
            self.forward(plain(maps.clone()), &weights).1.value
        };
        against_background(task.iter().map(of_way).collect(), size)
    }

    fn step(&self, episodes: &[EpisodeMaps]) -> Option<HeadStep> {
        let weights = self.weights();
        let zeros = |weight: Tensor<1>| plain(weight).zeros_like();
        let mut total: Vec<Tensor<1>> = weights.values().into_iter().map(zeros).collect();
        let (mut loss, mut count) = (0.0, 0);
        for episode in episodes {
            let ways = episode.support.ways();
            for way in 0..ways {
                let (maps, masks) = episode.support.way(way);
                let support = WayCells::of(&maps, &masks, self.config.grid);
                let masks = against_rest(&episode.labels, way, ways);
                let query = WayCells::of(&episode.query, &masks, self.config.grid);
                let (value, outer) = self.outer(self.start(), support, query);
                loss += value;
                count += 1;
                for (total, outer) in total.iter_mut().zip(outer) {
                    *total = total.clone() + outer;
                }
            }
        }
        let share = 1.0 / f64::from(count.max(1));
        let mean = total.into_iter().map(|gradient| gradient * share).collect();
        let gradients: GradientsParams = weights.gradients(mean);
        Some(HeadStep { loss: loss * share, gradients })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, TensorData};

    use super::*;

    /// Values along a direction, summed.
    fn along(gradient: &[Tensor<1>], direction: &[Tensor<1>]) -> f64 {
        let parts = gradient.iter().zip(direction);
        let parts = parts.map(|(one, other)| (one.clone() * other.clone()).sum());
        parts.map(|part| f64::from(part.into_scalar::<f32>())).sum()
    }

    /// The outer gradient along a random direction is the slope of the loss after the steps.
    #[test]
    fn the_outer_gradient_is_exact() {
        let device = Device::flex();
        device.seed(7);
        let maps = |side: usize| {
            let of = |channels: usize, side: usize| {
                Tensor::<4>::random([1, channels, side, side], Distribution::Default, &device)
            };
            Maps(vec![of(3, side), of(4, side / 2)])
        };
        let masks = |shift: usize| {
            let own = (0..64).map(|pixel| f32::from(u8::from((pixel + shift) % 7 < 3)));
            let own: Vec<f32> = own.collect();
            let both: Vec<f32> = own.iter().map(|own| 1.0 - own).chain(own.clone()).collect();
            Tensor::<4>::from_data(TensorData::new(both, [1, 2, 8, 8]), &device)
        };
        let (asked, labelled) = (maps(8), maps(8));
        let support = || WayCells::of(&labelled, &masks(0), 4);
        let query = || WayCells::of(&asked, &masks(2), 4);
        let head = |steps: usize, rate: f64, gradient: MetaGradient| {
            let config = MetaEncoderDecoderConfig::default();
            let config =
                MetaEncoderDecoderConfig { grid: 4, width: 5, steps, rate, gradient, ..config };
            config.init(&[3, 4], 0, &device)
        };
        let start: Vec<Tensor<1>> = head(1, 0.1, MetaGradient::SecondOrder)
            .start()
            .iter()
            .map(|weight| weight.random_like(Distribution::Normal(0.1, 0.4)))
            .collect();
        let direction: Vec<Tensor<1>> =
            start.iter().map(|of| of.random_like(Distribution::Normal(0.0, 1.0))).collect();
        for (steps, rate) in [(1, 1e-4), (1, 0.1), (2, 0.1)] {
            let exact = head(steps, rate, MetaGradient::SecondOrder);
            let loss = |by: f32| -> f64 {
                let moved = start.iter().zip(&direction);
                let moved = moved.map(|(at, along)| at.clone() + along.clone() * by).collect();
                let path = exact.path(moved, &support().autodiff(), steps);
                let last: Vec<Dual<1>> = path[steps].iter().cloned().map(Dual::from).collect();
                exact.segmentation(&query(), &last).value.into_scalar::<f32>().into()
            };
            // Small enough that few units pass their kink, large enough for single precision.
            let numeric = (loss(1e-4) - loss(-1e-4)) / 2e-4;
            let slope = along(&exact.outer(start.clone(), support(), query()).1, &direction);
            let first = head(steps, rate, MetaGradient::FirstOrder);
            let first = along(&first.outer(start.clone(), support(), query()).1, &direction);
            println!("{steps} steps of {rate}: {slope} {numeric}, first order {first}");
            let apart = (slope - numeric).abs();
            assert!(apart < 0.03 * numeric.abs().max(0.1), "{slope} {numeric}");
            if rate > 0.01 {
                assert!((first - numeric).abs() > 3.0 * apart, "{first} {slope} {numeric}");
            }
        }
    }
}
