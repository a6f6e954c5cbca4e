//! `dense-relation`: Relation Networks (Sung et al., CVPR 2018, arXiv 1711.06025) for pixels. A learnt relation module
//! sees, at every pixel, the query's embedding beside a class's representative (the mean embedding of its labelled
//! pixels; background is a class) and says how well they go together.
//!
//! Deviations: the scores of all classes go through a softmax and the recipe's losses, where the paper has the mean
//! squared error of sigmoids; no batch normalisation, as an episode holds one query. Not transductive.

use burn::module::Module;
use burn::prelude::*;

use super::maps::{LabelledMaps, Maps, cell_shares};
use super::parts::{Embedding, PixelScores, means};
use super::{EpisodeInput, EpisodicConfig, EpisodicHead};

/// How it compares.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DenseRelationConfig {
    /// Side of the square that pictures are resized to, in pixels.
    #[schemars(range(min = 32, max = 2048))]
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    #[schemars(range(min = 1, max = 16))]
    pub stages: usize,
    /// Length of a pixel's embedding, and channels of the relation module.
    #[schemars(range(min = 1, max = 4096))]
    pub width: usize,
    /// Share of the relation module's hidden maps that training drops.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f64,
}

impl Default for DenseRelationConfig {
    fn default() -> Self {
        Self { size: 416, stages: 3, width: 64, dropout: 0.1 }
    }
}

impl EpisodicConfig for DenseRelationConfig {
    type Head = DenseRelation;
    const NAME: &'static str = "dense-relation";
    const SUMMARY: &'static str =
        "Relation Networks for pixels: a learnt comparison of a pixel with a class's mean";
    const SOURCE: &'static str = "https://arxiv.org/abs/1711.06025";

    fn input(&self) -> EpisodeInput {
        EpisodeInput { size: self.size, stages: self.stages }
    }

    fn init(&self, channels: &[usize], _: usize, device: &Device) -> DenseRelation {
        DenseRelation {
            embedding: Embedding::new(channels, self.width, device),
            relation: PixelScores::new(2 * self.width, self.width, 1, self.dropout, device),
        }
    }
}

/// The embedding and the relation module.
#[derive(Module, Debug)]
pub struct DenseRelation {
    embedding: Embedding,
    relation: PixelScores,
}

impl EpisodicHead for DenseRelation {
    /// Representatives `[ways + 1, width]`, background first.
    type Task = Tensor<2>;

    fn task(&self, support: &LabelledMaps) -> Tensor<2> {
        let embedding = self.embedding.forward(&support.maps);
        let [.., rows, columns] = embedding.dims();
        means(&embedding, &cell_shares(&support.planes(), [rows, columns]))
    }

    fn logits(&self, task: &Tensor<2>, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        let embedding = self.embedding.forward(query);
        let [batch, width, rows, columns] = embedding.dims();
        let [planes, _] = task.dims();
        let scores = (0..planes).map(|plane| {
            let of = task.clone().narrow(0, plane, 1).reshape([1, width, 1, 1]);
            let of = of.expand([batch, width, rows, columns]);
            self.relation.forward(Tensor::cat(vec![embedding.clone(), of], 1))
        });
        kshot_kernels::bilinear(Tensor::cat(scores.collect(), 1), size, false)
    }
}
