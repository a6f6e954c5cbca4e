//! `dense-correlation`: what every pixel of the query has in common with every labelled pixel, at several stages, read by
//! a small decoder. The idea is HSNet's (Min, Kang and Cho, ICCV 2021, arXiv 2104.01538).
//!
//! HSNet squeezes the four-dimensional correlations of many layers by convolutions over both pictures. Here each query
//! cell keeps, of each stage, its `top` highest cosines with the class's cells and with the others (means of the highest
//! 1, 4 and 16, and of all), which two cores can train: the number of a query's channels does not grow with the support,
//! and any number of labelled pictures adds cells, not parameters. The decoder sees these alone, so that it can't learn
//! what the classes of training look like; `own` channels of a projection of the query's own maps are an option.
//! With `self_support` a second decoder sees besides how like every pixel is to what the first one found in the query, as
//! self-support (Fan et al., ECCV 2022, arXiv 2207.11549) has it. Not transductive.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::sigmoid;

use super::maps::{LabelledMaps, Maps, SPECK, cell_shares};
use super::parts::{Embedding, PixelScores, against_background};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};

/// So many of the highest cosines are averaged.
const TOP: [usize; 3] = [1, 4, 16];
/// What a stage gives: the means of the highest and of all and the cosine with the prototype, of the class and of the
/// others.
pub(super) const FACTS: usize = 2 * (TOP.len() + 2);
/// What a cell that is not a class's at all loses of its cosine, so that it is not among the highest.
const NEVER: f32 = 4.0;

/// How it compares.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DenseCorrelationConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid on which pictures are compared.
    #[schemars(range(min = 2, max = 128))]
    pub grid: usize,
    /// Channels of the decoder.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Channels of a projection of the query's own maps that the decoder sees besides; 0 for none.
    #[schemars(range(min = 0, max = 4096))]
    pub own: usize,
    /// Whether a second decoder also sees what the query says itself: cosines with the means of what the first one took
    /// for the class and for the background.
    pub self_support: bool,
    /// Share of the decoder's hidden maps that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for DenseCorrelationConfig {
    fn default() -> Self {
        Self { size: 416, stages: 3, grid: 26, width: 48, own: 0, self_support: true, dropout: 0.1 }
    }
}

impl EpisodicConfig for DenseCorrelationConfig {
    type Head = DenseCorrelation;
    const NAME: &'static str = "dense-correlation";
    const SUMMARY: &'static str =
        "cosines of every query pixel with every labelled one at several stages, read by a decoder";
    const SOURCE: &'static str = "https://arxiv.org/abs/2104.01538";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> DenseCorrelation {
        let (width, facts) = (self.width, FACTS * channels.len());
        DenseCorrelation {
            embedding: (self.own > 0).then(|| Embedding::new(channels, self.own, device)),
            decoder: PixelScores::new(self.own + facts, width, 1, self.dropout, device),
            second: self.self_support.then(|| {
                let seen = self.own + facts + 1 + 2 * channels.len();
                PixelScores::new(seen, width, 1, self.dropout, device)
            }),
            grid: self.grid,
        }
    }
}

/// The projection of the query's maps and the decoder.
#[derive(Module, Debug)]
pub struct DenseCorrelation {
    embedding: Option<Embedding>,
    decoder: PixelScores,
    second: Option<PixelScores>,
    #[module(skip)]
    grid: usize,
}

/// The labelled cells of one class's pictures.
#[derive(Debug, Clone)]
pub struct LabelledCells {
    /// Of each stage `[cells, channels]`, of unit length.
    cells: Vec<Tensor<2>>,
    /// `[cells, 2]`: how much of a cell is anything else, and the class's; 0 to 1.
    shares: Tensor<2>,
}

/// Maps on one grid, of unit length: `[batch, channels, grid, grid]` each.
pub(super) fn on_grid(maps: &Maps, grid: usize) -> Maps {
    let resized = |map: &Tensor<4>| kshot_kernels::bilinear(map.clone(), [grid; 2], false);
    Maps(maps.0.iter().map(resized).collect()).unit()
}

/// `[batch, channels, rows, columns]` as a row a cell.
pub(super) fn rows_of(map: Tensor<4>) -> Tensor<2> {
    let [batch, channels, rows, columns] = map.dims();
    map.permute([0, 2, 3, 1]).reshape([batch * rows * columns, channels])
}

impl LabelledCells {
    /// Of one class.
    pub(super) fn of(support: &LabelledMaps, way: usize, grid: usize) -> Self {
        let (maps, masks) = support.way(way);
        let maps = on_grid(&maps, grid);
        let cells = maps.0.into_iter().map(rows_of).collect();
        Self { cells, shares: rows_of(cell_shares(&masks, [grid; 2])) }
    }

    /// What the cosines with a stage of a query (`[batch, channels, rows, columns]`, of unit length) say: `[batch, FACTS,
    /// rows, columns]`.
    pub(super) fn facts(&self, stage: usize, query: Tensor<4>) -> Tensor<4> {
        let [batch, _, rows, columns] = query.dims();
        let cosines = rows_of(query).matmul(self.cells[stage].clone().transpose());
        let [_, count] = cosines.dims();
        let mut facts = Vec::with_capacity(FACTS);
        for plane in [1, 0] {
            let share = self.shares.clone().narrow(1, plane, 1).transpose();
            let total = share.clone().sum_dim(1) + SPECK;
            let mean = (cosines.clone() * share.clone()).sum_dim(1) / total.clone();
            // A cell of which half is the class's counts less than a whole one.
            let held = cosines.clone() - (share.clone().neg() + 1.0) * NEVER;
            let most = TOP[TOP.len() - 1].min(count);
            let highest = held.topk(most, 1);
            for top in TOP {
                let top = top.min(most);
                facts.push(highest.clone().narrow(1, 0, top).mean_dim(1).clamp_min(-1.0));
            }
            facts.push(mean.clone());
            // The mean of cosines is the product with the mean, whose length makes it the cosine with the prototype.
            let prototype = share.matmul(self.cells[stage].clone()) / total;
            let length = (prototype.square().sum_dim(1) + SPECK).sqrt();
            facts.push(mean / length);
        }
        let facts = Tensor::cat(facts, 1).reshape([batch, rows, columns, FACTS]);
        facts.permute([0, 3, 1, 2])
    }
}

/// Cosines `[batch, 2, rows, columns]` of a map of unit length with the means of what was found (probabilities `[batch, 1,
/// rows, columns]`) and of the rest.
fn self_cosines(map: &Tensor<4>, found: &Tensor<4>) -> Tensor<4> {
    let [batch, channels, rows, columns] = map.dims();
    let cells = map.clone().reshape([batch, channels, rows * columns]);
    let both = Tensor::cat(vec![found.clone(), found.clone().neg() + 1.0], 1);
    let weights = both.reshape([batch, 2, rows * columns]);
    let means = weights.matmul(cells.clone().swap_dims(1, 2));
    let length = (means.clone().square().sum_dim(2) + SPECK).sqrt();
    (means / length).matmul(cells).reshape([batch, 2, rows, columns])
}

impl EpisodicHead for DenseCorrelation {
    type Task = Vec<LabelledCells>;

    fn task(&self, support: &LabelledMaps) -> Vec<LabelledCells> {
        (0..support.ways()).map(|way| LabelledCells::of(support, way, self.grid)).collect()
    }

    fn logits(&self, task: &Vec<LabelledCells>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let seen = on_grid(query, self.grid);
        let own = self.embedding.as_ref().map(|embedding| {
            let own = embedding.forward(query);
            kshot_kernels::bilinear(own, [self.grid; 2], false)
        });
        let of_way = |cells: &LabelledCells| {
            let stages = seen.0.iter().enumerate();
            let facts = stages.map(|(stage, map)| cells.facts(stage, map.clone()));
            let facts = Tensor::cat(facts.chain(own.clone()).collect(), 1);
            let first = self.decoder.forward(facts.clone());
            let Some(second) = &self.second else { return first };
            let found = sigmoid(first.clone());
            let own = seen.0.iter().map(|map| self_cosines(map, &found));
            let seen = [facts, found.clone()].into_iter().chain(own).collect();
            first + second.forward(Tensor::cat(seen, 1))
        };
        against_background(task.iter().map(of_way).collect(), size)
    }
}
