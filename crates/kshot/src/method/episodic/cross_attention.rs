//! `cross-attention`: every pixel of the query attends to the labelled pixels, and takes from them how much they are the
//! class's. Of several heads; masked: what is not labelled is not attended to.
//!
//! After DCAMA (Shi et al., ECCV 2022, arXiv 2207.08549), whose values are the support's mask, and CyCTR (Zhang et al.,
//! NeurIPS 2021, arXiv 2106.02320), whose values are its features: here both, the mask over all labelled pixels, the
//! features over the class's alone. Deviations: one attention over the projected sum of the stages, and two 3x3
//! convolutions behind it, which two cores can train. Not transductive.

use burn::module::Module;
use burn::prelude::*;

use super::maps::{LabelledMaps, Maps, SPECK, cell_shares};
use super::parts::{Embedding, PixelScores, against_background};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};
use crate::error::{Error, Result};
use crate::nn::attention::scaled_dot_product_attention;
use crate::nn::{Conv, ConvConfig};

/// How it attends.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossAttentionConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Cells a side of the grid of labelled pictures that is attended to, and of the query that attends.
    #[schemars(range(min = 2, max = 128))]
    pub grid: usize,
    /// Channels, of all heads together.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Heads, a divisor of the width.
    #[schemars(range(min = 1, max = 64))]
    pub heads: usize,
    /// Share of the decoder's hidden maps that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for CrossAttentionConfig {
    fn default() -> Self {
        Self { size: 416, stages: 3, grid: 26, width: 64, heads: 4, dropout: 0.1 }
    }
}

impl EpisodicConfig for CrossAttentionConfig {
    type Head = CrossAttention;
    const NAME: &'static str = "cross-attention";
    const SUMMARY: &'static str =
        "query pixels attend to labelled pixels, and take their mask and features";
    const SOURCE: &'static str = "https://arxiv.org/abs/2207.08549";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn check(&self) -> Result<()> {
        if self.heads > 0 && self.width.is_multiple_of(self.heads) {
            return Ok(());
        }
        let text = format!(
            "{} heads of {} channels; heads share the channels evenly, such as 4 of 64",
            self.heads, self.width
        );
        Err(Error::config(text).at_key("method.heads"))
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> CrossAttention {
        let width = self.width;
        let project = || ConvConfig::new([width, width], 1).init(true, device);
        CrossAttention {
            embedding: Embedding::new(channels, width, device),
            queries: project(),
            keys: project(),
            values: project(),
            decoder: PixelScores::new(2 * width + self.heads, width, 1, self.dropout, device),
            grid: self.grid,
            heads: self.heads,
        }
    }
}

/// The projections and the decoder.
#[derive(Module, Debug)]
pub struct CrossAttention {
    embedding: Embedding,
    queries: Conv,
    keys: Conv,
    values: Conv,
    decoder: PixelScores,
    #[module(skip)]
    grid: usize,
    #[module(skip)]
    heads: usize,
}

/// What of one class's labelled pictures is attended to.
#[derive(Debug, Clone)]
pub struct Attended {
    /// `[1, heads, channels, cells]`
    keys: Tensor<4>,
    /// `[1, heads, 2 + channels, cells]`: how much is labelled, how much of that is the class's, and features times the
    /// latter.
    values: Tensor<4>,
}

impl CrossAttention {
    /// `[batch, width, grid, grid]` of maps.
    fn tokens(&self, maps: &Maps) -> (Tensor<4>, Tensor<4>) {
        let own = self.embedding.forward(maps);
        (kshot_kernels::bilinear(own.clone(), [self.grid; 2], false), own)
    }

    /// All cells of all pictures as one sequence: `[1, heads, channels, cells]`.
    fn sequence(&self, map: Tensor<4>) -> Tensor<4> {
        let [batch, width, rows, columns] = map.dims();
        let cells = map.reshape([batch, width, rows * columns]).swap_dims(0, 1);
        cells.reshape([1, self.heads, width / self.heads, batch * rows * columns])
    }
}

impl EpisodicHead for CrossAttention {
    type Task = Vec<Attended>;

    fn task(&self, support: &LabelledMaps) -> Vec<Attended> {
        let of_way = |way: usize| {
            let (maps, masks) = support.way(way);
            let (tokens, _) = self.tokens(&maps);
            let shares = cell_shares(&masks, [self.grid; 2]);
            let pictures = shares.dims()[0];
            let cells = pictures * self.grid * self.grid;
            let share = |shares: Tensor<4>| {
                shares.swap_dims(0, 1).reshape([1, 1, 1, cells]).repeat_dim(1, self.heads)
            };
            let own = share(shares.clone().narrow(1, 1, 1));
            let labelled = share(shares.sum_dim(1));
            let features = self.sequence(self.values.forward(tokens.clone())) * own.clone();
            Attended {
                keys: self.sequence(self.keys.forward(tokens)),
                values: Tensor::cat(vec![labelled, own, features], 2),
            }
        };
        (0..support.ways()).map(of_way).collect()
    }

    fn logits(&self, task: &Vec<Attended>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let (tokens, own) = self.tokens(query);
        let [batch, width, rows, columns] = own.dims();
        let channels = width / self.heads;
        let queries = self.sequence(self.queries.forward(tokens));
        let scale = 1.0 / (channels as f64).sqrt();
        // Back from a sequence to maps.
        let maps = |sequence: Tensor<4>| {
            let [_, heads, channels, _] = sequence.dims();
            let cells = self.grid * self.grid;
            let maps = sequence.reshape([heads * channels, batch, cells]).swap_dims(0, 1);
            let maps = maps.reshape([batch, heads * channels, self.grid, self.grid]);
            kshot_kernels::bilinear(maps, [rows, columns], false)
        };
        let of_way = |task: &Attended| {
            let found = scaled_dot_product_attention(
                queries.clone(),
                task.keys.clone(),
                task.values.clone(),
                scale,
            );
            let labelled = found.clone().narrow(2, 0, 1) + SPECK;
            let held = found.clone().narrow(2, 1, 1);
            let features = found.narrow(2, 2, channels) / (held.clone() + SPECK);
            let seen = [own.clone(), maps(held / labelled), maps(features)];
            self.decoder.forward(Tensor::cat(seen.to_vec(), 1))
        };
        against_background(task.iter().map(of_way).collect(), size)
    }
}
