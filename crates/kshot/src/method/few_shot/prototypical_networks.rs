//! Prototypical Networks (Snell, Swersky and Zemel 2017, arXiv 1703.05175): a query belongs to the
//! class whose mean support embedding is nearest.

use burn::module::Module;
use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::{Error, Result};
use crate::method::few_shot::distance::{Distance, class_means};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::nn::norm::{BatchNormMode, Pass};

/// How Prototypical Networks are set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrototypicalNetworksConfig {
    /// How embeddings are compared.
    pub distance: Distance,
    /// What scores are divided by before the softmax, above 0; the paper's is 1. Squared distances
    /// grow with the numbers of an embedding: with the 1600 of `conv4` at 84 pixels they saturate the
    /// softmax of a network that has not learnt yet (TADAM, Oreshkin et al. 2018, arXiv 1805.10123).
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub temperature: f64,
    /// Statistics at evaluation; training uses those of support and query together.
    pub batch_norm: BatchNormMode,
}

impl Default for PrototypicalNetworksConfig {
    fn default() -> Self {
        let batch_norm = BatchNormMode::default();
        Self { distance: Distance::default(), temperature: 1.0, batch_norm }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct PrototypicalNetworks {
    network: EmbeddingNetwork,
    #[module(skip)]
    config: PrototypicalNetworksConfig,
}

impl LearnerConfig for PrototypicalNetworksConfig {
    type Learner = PrototypicalNetworks;
    const NAME: &'static str = "prototypical-networks";
    const SUMMARY: &'static str = "nearest mean of the support embeddings";
    const SOURCE: &'static str = "https://arxiv.org/abs/1703.05175";

    fn init(&self, setting: LearnerSetting) -> Result<PrototypicalNetworks> {
        setting.network.features(setting.size)?;
        // Scores are divided in 32 bits.
        if !(self.temperature > 0.0 && (self.temperature as f32).is_normal()) {
            return Err(Error::config(format!(
                "the temperature is a number from 1e-37 to 1e38, and {} was given; 1 is the paper's",
                self.temperature
            ))
            .at_key("method.temperature"));
        }
        Ok(PrototypicalNetworks { network: setting.network, config: self.clone() })
    }
}

impl PrototypicalNetworks {
    fn scores(&self, support: Tensor<2>, query: Tensor<2>, ways: usize) -> Tensor<2> {
        let scores = self.config.distance.scores(query, class_means(support, ways));
        scores / self.config.temperature
    }
}

impl FewShot for PrototypicalNetworks {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = embed_apart(&self.network, episode, self.config.batch_norm);
        self.scores(support, query, episode.ways)
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let (support, query) = embed_together(&self.network, episode);
        let scores = self.scores(support, query, episode.ways);
        (cross_entropy(scores.clone(), &episode.query.labels), scores)
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}

/// Embeds support and query in one batch, whose statistics normalise it and move the running averages.
pub fn embed_together(network: &EmbeddingNetwork, episode: &Episode<1>) -> (Tensor<2>, Tensor<2>) {
    let images = vec![episode.support.images.clone(), episode.query.images.clone()];
    let both = network.vectors(Tensor::cat(images, 0), &mut Pass::training());
    let [support, ..] = episode.support.images.dims();
    let [count, _] = both.dims();
    (both.clone().narrow(0, 0, support), both.narrow(0, support, count - support))
}

/// Embeds support and query for evaluation, by the statistics that `mode` names.
pub fn embed_apart(
    network: &EmbeddingNetwork,
    episode: &Episode<1>,
    mode: BatchNormMode,
) -> (Tensor<2>, Tensor<2>) {
    let (support, query) = (episode.support.images.clone(), episode.query.images.clone());
    match mode {
        BatchNormMode::Running => (
            network.vectors(support, &mut Pass::running()),
            network.vectors(query, &mut Pass::running()),
        ),
        BatchNormMode::Support => {
            let mut pass = Pass::batch();
            let support = network.vectors(support, &mut pass);
            (support, network.vectors(query, &mut Pass::given(pass.met)))
        }
        BatchNormMode::Query => (
            network.vectors(support, &mut Pass::batch()),
            network.vectors(query, &mut Pass::batch()),
        ),
    }
}
