//! Matching Networks (Vinyals et al. 2016, arXiv 1606.04080): a query's label is an average of the
//! support labels, weighted by a softmax over similarities.
//!
//! With full context embeddings, support embeddings are read by a bidirectional LSTM and the query's
//! by an LSTM that attends to them. The order of the support matters then; here it is class by class.
//! Similarities of cosines are multiplied by 10 before the softmax (the paper: by 1, which re-runs
//! found to train badly).

use burn::module::Module;
use burn::nn::{BiLstm, BiLstmConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{sigmoid, softmax};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::Result;
use crate::method::few_shot::distance::Distance;
use crate::method::few_shot::prototypical_networks::{embed_apart, embed_together};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::nn::norm::BatchNormMode;

/// How Matching Networks are set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchingNetworksConfig {
    /// How embeddings are compared.
    pub distance: Distance,
    /// Full context embeddings.
    pub full_context: bool,
    /// Steps of the LSTM that reads the support for each query.
    #[schemars(range(min = 1, max = 1000))]
    pub steps: usize,
    /// Statistics at evaluation; training uses those of support and query together.
    pub batch_norm: BatchNormMode,
}

impl Default for MatchingNetworksConfig {
    fn default() -> Self {
        let batch_norm = BatchNormMode::default();
        Self { distance: Distance::Cosine, full_context: false, steps: 5, batch_norm }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct MatchingNetworks {
    network: EmbeddingNetwork,
    context: Option<FullContext>,
    #[module(skip)]
    config: MatchingNetworksConfig,
}

/// The readers of full context embeddings.
#[derive(Module, Debug)]
struct FullContext {
    support: BiLstm,
    /// From the query, the support read and the state before to the LSTM's four gates.
    gates: Linear,
}

impl LearnerConfig for MatchingNetworksConfig {
    type Learner = MatchingNetworks;
    const NAME: &'static str = "matching-networks";
    const SUMMARY: &'static str = "support labels weighted by similarity, with or without context";
    const SOURCE: &'static str = "https://arxiv.org/abs/1606.04080";

    fn init(&self, setting: LearnerSetting) -> Result<MatchingNetworks> {
        let features = setting.network.features(setting.size)?;
        let context = self.full_context.then(|| FullContext {
            support: BiLstmConfig::new(features, features, true).init(&setting.device),
            gates: LinearConfig::new(3 * features, 4 * features).init(&setting.device),
        });
        Ok(MatchingNetworks { network: setting.network, context, config: self.clone() })
    }
}

impl MatchingNetworks {
    /// Log-probabilities, `[queries, ways]`.
    fn scores(&self, support: Tensor<2>, query: Tensor<2>, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = match &self.context {
            Some(context) => context.read(support, query, self.config.steps),
            None => (support, query),
        };
        let attention = softmax(self.config.distance.scores(query, support), 1);
        let labels: Tensor<2> = episode.support.labels.clone().one_hot(episode.ways).float();
        (attention.matmul(labels) + 1e-6).log()
    }
}

impl FullContext {
    fn read(&self, support: Tensor<2>, query: Tensor<2>, steps: usize) -> (Tensor<2>, Tensor<2>) {
        let [count, features] = support.dims();
        let [queries, _] = query.dims();
        let (read, _) = self.support.forward(support.clone().unsqueeze::<3>(), None);
        let read = read.reshape([count, 2 * features]);
        let both = read.clone().narrow(1, 0, features) + read.narrow(1, features, features);
        let support = support + both;
        let mut hidden = query.clone();
        let mut cell = query.zeros_like();
        for _ in 0..steps {
            let attention = softmax(hidden.clone().matmul(support.clone().transpose()), 1);
            let seen = attention.matmul(support.clone());
            let gates = self.gates.forward(Tensor::cat(vec![query.clone(), seen, hidden], 1));
            let gates = gates.reshape([queries, 4, features]);
            let gate = |index| gates.clone().narrow(1, index, 1).reshape([queries, features]);
            let kept = sigmoid(gate(0)) * cell;
            cell = kept + sigmoid(gate(1)) * gate(2).tanh();
            hidden = sigmoid(gate(3)) * cell.clone().tanh() + query.clone();
        }
        (support, hidden)
    }
}

impl FewShot for MatchingNetworks {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let (support, query) = embed_apart(&self.network, episode, self.config.batch_norm);
        self.scores(support, query, episode)
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let (support, query) = embed_together(&self.network, episode);
        let scores = self.scores(support, query, episode);
        (cross_entropy(scores.clone(), &episode.query.labels), scores)
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}
