//! A network with a linear head over a fixed number of classes: what inner loops adapt.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::prelude::*;

use crate::data::batch::Batch;
use crate::error::Result;
use crate::method::learner::LearnerSetting;
use crate::method::network::EmbeddingNetwork;
use crate::nn::dual::Dual;
use crate::nn::norm::Pass;
use crate::nn::weights::{Cursor, FlatWeights};

/// The network and its head.
#[derive(Module, Debug)]
pub struct Classifier {
    network: EmbeddingNetwork,
    /// `[features, ways]`
    weight: Param<Tensor<2>>,
    /// `[ways]`
    bias: Param<Tensor<1>>,
}

impl Classifier {
    /// A head with small random weights (Xavier's uniform law) for the classes of an episode.
    ///
    /// # Errors
    /// If pictures are too small for the network.
    pub fn new(setting: LearnerSetting) -> Result<Self> {
        let LearnerSetting { network, size, ways, device, .. } = setting;
        let features = network.features(size)?;
        let weight = Initializer::XavierUniform { gain: 1.0 }.init_with(
            [features, ways],
            Some(features),
            Some(ways),
            &device,
        );
        let bias = Initializer::Zeros.init([ways], &device);
        Ok(Self { network, weight, bias })
    }

    /// Its parameters: the network's, then the head's two.
    pub fn weights(&self) -> FlatWeights {
        let mut weights = self.network.weights();
        weights.push(&self.weight);
        weights.push(&self.bias);
        weights
    }

    /// Classes of the head.
    pub fn ways(&self) -> usize {
        self.bias.dims()[0]
    }

    /// Logits, `[batch, ways]`, by given parameters.
    pub fn logits(&self, images: Tensor<4>, weights: &[Dual<1>], pass: &mut Pass) -> Dual<2> {
        let mut cursor = Cursor::new(weights);
        let rows = self.network.embed(Dual::from(images), &mut cursor, pass);
        let weight = cursor.take(self.weight.dims());
        rows.matmul(weight).plus_row(cursor.take(self.bias.dims()))
    }

    /// The mean cross entropy on a batch, normalised by its own statistics.
    pub fn loss(&self, batch: &Batch<1>, weights: &[Dual<1>]) -> Dual<1> {
        let scores = self.logits(batch.images.clone(), weights, &mut Pass::batch());
        scores.cross_entropy(batch.labels.clone())
    }

    /// # Panics
    /// If an episode has another number of classes than the head.
    pub fn check_ways(&self, ways: usize) {
        assert_eq!(ways, self.ways(), "the head has {} classes, the episode {ways}", self.ways());
    }
}
