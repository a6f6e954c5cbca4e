//! Relation Networks (Sung et al. 2018, arXiv 1711.06025): a small network learns to say how related a
//! query's maps are to a class's.
//!
//! A class's maps are the sum over its shots, as in the paper. It compares relations with 0 or 1 by
//! their squared difference; `loss = "cross-entropy"` is a deviation: the log-odds of a query's
//! relations go through a softmax over the classes, as everywhere else here.

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::encoder::conv4::ConvBlock;
use crate::error::{Error, Result};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::nn::dual::Dual;
use crate::nn::norm::{BatchNormMode, Pass};
use crate::nn::weights::{Cursor, FlatWeights};
use crate::weights::state::StateDict;

/// The training loss of Relation Networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RelationLoss {
    /// The squared difference of each relation with 1 (same class) or 0: the paper's.
    #[default]
    SquaredError,
    /// The cross entropy of the softmax over the log-odds of a query's relations.
    CrossEntropy,
}

/// How Relation Networks are set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RelationNetworksConfig {
    /// Channels of the relation module's convolutions.
    #[schemars(range(min = 1, max = 1024))]
    pub width: usize,
    /// Units of its hidden layer.
    #[schemars(range(min = 1, max = 4096))]
    pub hidden: usize,
    /// Whether its convolutions add a bias (the published weights have one).
    pub bias: bool,
    /// The training loss.
    pub loss: RelationLoss,
    /// Statistics at evaluation; the paper's code takes those of the queries.
    pub batch_norm: BatchNormMode,
}

impl Default for RelationNetworksConfig {
    fn default() -> Self {
        Self {
            width: 64,
            hidden: 8,
            bias: false,
            loss: RelationLoss::default(),
            batch_norm: BatchNormMode::Running,
        }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct RelationNetworks {
    network: EmbeddingNetwork,
    blocks: Vec<ConvBlock>,
    hidden: Linear,
    output: Linear,
    #[module(skip)]
    loss: RelationLoss,
    #[module(skip)]
    batch_norm: BatchNormMode,
}

impl LearnerConfig for RelationNetworksConfig {
    type Learner = RelationNetworks;
    const NAME: &'static str = "relation-networks";
    const SUMMARY: &'static str = "a learnt comparison of a query's maps with each class's";
    const SOURCE: &'static str = "https://arxiv.org/abs/1711.06025";

    fn init(&self, setting: LearnerSetting) -> Result<RelationNetworks> {
        let LearnerSetting { network, size, device, .. } = setting;
        let [channels, height, width] = network.map_shape(size)?;
        if let EmbeddingNetwork::Frozen(_) = network {
            return Err(Error::config(
                "relation-networks compares maps, and a frozen encoder gives a vector; write \
                 [model] freeze = \"norm\", or use conv4",
            )
            .at_key("model.freeze"));
        }
        if height < 4 || width < 4 {
            return Err(Error::config(format!(
                "relation-networks pools the maps twice, and these are {width} x {height}; use \
                 [model] encoder = {{ name = \"conv4\", reduction = \"relation\" }}, or larger pictures"
            ))
            .at_key("model.encoder"));
        }
        let blocks = vec![
            ConvBlock::new([2 * channels, self.width], self.bias, &device),
            ConvBlock::new([self.width; 2], self.bias, &device),
        ];
        let features = self.width * (height / 4) * (width / 4);
        Ok(RelationNetworks {
            network,
            blocks,
            hidden: LinearConfig::new(features, self.hidden).init(&device),
            output: LinearConfig::new(self.hidden, 1).init(&device),
            loss: self.loss,
            batch_norm: self.batch_norm,
        })
    }
}

impl RelationNetworks {
    /// Takes the weights that the authors published: LearningToCompare_FSL's feature encoder and
    /// relation network (their batch normalisations keep no useful averages: evaluate with
    /// `batch_norm = "query"` or `"support"`).
    ///
    /// # Errors
    /// If the method is not of their form (`conv4` with `reduction = "relation"` and `bias`, relation
    /// convolutions with `bias`), a file cannot be read, or it holds other tensors.
    pub fn with_published(mut self, encoder: &Path, relation: &Path) -> Result<Self> {
        let EmbeddingNetwork::Conv4(network) = &mut self.network else {
            return Err(Error::config("the published weights are of conv4").at_key("model.encoder"));
        };
        let mut state = StateDict::read(encoder)?;
        for (index, block) in network.blocks_mut().iter_mut().enumerate() {
            fill(block, &mut state, index + 1)?;
        }
        state.finish()?;
        let mut state = StateDict::read(relation)?;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            fill(block, &mut state, index + 1)?;
        }
        for (layer, name) in [(&mut self.hidden, "fc1"), (&mut self.output, "fc2")] {
            let device = layer.weight.val().device();
            let [inside, outside] = layer.weight.dims();
            let weight = state.take(&format!("{name}.weight"), &[outside, inside])?;
            let weight = Tensor::<2>::from_data(weight, &device).transpose();
            layer.weight = Param::initialized(layer.weight.id, weight);
            let bias = Tensor::from_data(state.take(&format!("{name}.bias"), &[outside])?, &device);
            if let Some(parameter) = &mut layer.bias {
                *parameter = Param::initialized(parameter.id, bias);
            }
        }
        state.finish()?;
        Ok(self)
    }

    /// Maps of pictures.
    fn maps(&self, images: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let weights = self.network.weights().duals();
        self.network.maps(Dual::from(images), &mut Cursor::new(&weights), pass).value
    }

    /// The log-odds of relations, `[queries, ways]`, of support maps that stand class by class.
    fn log_odds(
        &self,
        support: Tensor<4>,
        query: Tensor<4>,
        ways: usize,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let [count, channels, height, width] = support.dims();
        let [queries, ..] = query.dims();
        let classes = support
            .reshape([ways, count / ways, channels, height * width])
            .sum_dim(1)
            .reshape([1, ways, channels, height, width])
            .expand([queries, ways, channels, height, width]);
        let query = query
            .reshape([queries, 1, channels, height, width])
            .expand([queries, ways, channels, height, width]);
        let pairs = Tensor::cat(vec![classes, query], 2).reshape([
            queries * ways,
            2 * channels,
            height,
            width,
        ]);
        let mut weights = FlatWeights::default();
        for block in &self.blocks {
            block.list(&mut weights);
        }
        let weights = weights.duals();
        let mut cursor = Cursor::new(&weights);
        let maps = self.blocks.iter().fold(Dual::from(pairs), |maps, block| {
            block.forward(maps, 1, 1, &mut cursor, pass).max_pool(2)
        });
        let hidden = relu(self.hidden.forward(maps.flatten().value));
        self.output.forward(hidden).reshape([queries, ways])
    }
}

fn fill(block: &mut ConvBlock, state: &mut StateDict, number: usize) -> Result<()> {
    let layer = format!("layer{number}");
    block.fill(|name, shape| state.take(&format!("{layer}.{name}"), shape))?;
    for statistic in ["running_mean", "running_var", "num_batches_tracked"] {
        state.tensors.remove(&format!("{layer}.1.{statistic}"));
    }
    Ok(())
}

impl FewShot for RelationNetworks {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = (episode.support.images.clone(), episode.query.images.clone());
        match self.batch_norm {
            BatchNormMode::Running => {
                let support = self.maps(support, &mut Pass::running());
                let query = self.maps(query, &mut Pass::running());
                self.log_odds(support, query, episode.ways, &mut Pass::running())
            }
            BatchNormMode::Query => {
                let support = self.maps(support, &mut Pass::batch());
                let query = self.maps(query, &mut Pass::batch());
                self.log_odds(support, query, episode.ways, &mut Pass::batch())
            }
            BatchNormMode::Support => {
                let mut pass = Pass::batch();
                let support = self.maps(support, &mut pass);
                let query = self.maps(query, &mut Pass::given(pass.met));
                // Relations among the support give the comparison's statistics.
                let mut pass = Pass::batch();
                self.log_odds(support.clone(), support.clone(), episode.ways, &mut pass);
                self.log_odds(support, query, episode.ways, &mut Pass::given(pass.met))
            }
        }
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let images = vec![episode.support.images.clone(), episode.query.images.clone()];
        let maps = self.maps(Tensor::cat(images, 0), &mut Pass::training());
        let ([support, ..], [count, ..]) = (episode.support.images.dims(), maps.dims());
        let query = maps.clone().narrow(0, support, count - support);
        let support = maps.narrow(0, 0, support);
        let scores = self.log_odds(support, query, episode.ways, &mut Pass::training());
        let loss = match self.loss {
            RelationLoss::CrossEntropy => cross_entropy(scores.clone(), &episode.query.labels),
            RelationLoss::SquaredError => {
                let wanted: Tensor<2> = episode.query.labels.clone().one_hot(episode.ways).float();
                (sigmoid(scores.clone()) - wanted).square().mean()
            }
        };
        (loss, scores)
    }

    fn is_transductive(&self) -> bool {
        self.batch_norm == BatchNormMode::Query
    }
}
