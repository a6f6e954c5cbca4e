//! A variational autoencoder, conditioned on a class, that makes further support examples for a new
//! task; queries go to the nearest class mean of real and made examples together.
//!
//! After Kingma and Welling 2014 (arXiv 1312.6114) and conditional generation for few shots as in
//! Schonfeld et al. 2019 (arXiv 1812.01784). The condition is the mean embedding of a class's support.
//! `space = "images"` makes pictures, which the network then embeds (small drawings); `space =
//! "features"` makes embeddings (photographs). All is learnt together: the queries' cross entropy, the
//! reconstruction of queries given their class, and the KL of the code.
//!
//! `made = 0` at evaluation (`--set method.made=0`) shows what the made examples are worth.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid};
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::{Error, Result};
use crate::method::few_shot::distance::{Distance, class_means};
use crate::method::few_shot::prototypical_networks::{embed_apart, embed_together};
use crate::method::learner::{LearnerConfig, Setting};
use crate::method::network::Network;
use crate::method::noise::Noise;
use crate::nn::norm::{BatchNormMode, Pass};

/// What is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Pictures with values from 0 to 1.
    #[default]
    Images,
    /// Embeddings.
    Features,
}

/// How the generative method is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerativeConfig {
    /// What is made.
    pub space: Space,
    /// Examples made for each class.
    pub made: usize,
    /// What a made example counts in a class's mean, against 1 of a real one.
    pub weight: f64,
    /// Numbers of the code.
    pub code: usize,
    /// Units of the hidden layers.
    pub hidden: usize,
    /// Weight of reconstruction and KL in the loss.
    pub generation: f64,
    /// Statistics at evaluation; training uses those of support and query together.
    pub batch_norm: BatchNormMode,
}

impl Default for GenerativeConfig {
    fn default() -> Self {
        Self {
            space: Space::Images,
            made: 5,
            weight: 0.1,
            code: 16,
            hidden: 256,
            generation: 0.1,
            batch_norm: BatchNormMode::Running,
        }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct Generative {
    network: Network,
    /// From example and condition to the code's mean and logarithm of deviation.
    encoder: [Linear; 2],
    /// From code and condition to the example.
    decoder: [Linear; 2],
    #[module(skip)]
    config: GenerativeConfig,
    #[module(skip)]
    picture: [usize; 3],
}

impl LearnerConfig for GenerativeConfig {
    type Learner = Generative;
    const NAME: &'static str = "generative";
    const SUMMARY: &'static str = "a class-conditioned VAE makes further support examples";
    const SOURCE: &'static str = "https://arxiv.org/abs/1312.6114";

    fn init(&self, setting: Setting) -> Result<Generative> {
        let Setting { network, channels, size, device, .. } = setting;
        if self.code == 0 || self.hidden == 0 {
            return Err(Error::config("code and hidden must be at least 1").at_key("method.code"));
        }
        if self.space == Space::Images && channels != 1 {
            return Err(Error::config(
                "pictures are made for gray drawings (values 0 to 1) only; write space = \
                 \"features\"",
            )
            .at_key("method.space"));
        }
        let features = network.features(size)?;
        let example = match self.space {
            Space::Images => channels * size[0] * size[1],
            Space::Features => features,
        };
        let layer = |inside, outside| LinearConfig::new(inside, outside).init(&device);
        Ok(Generative {
            network,
            encoder: [layer(example + features, self.hidden), layer(self.hidden, 2 * self.code)],
            decoder: [layer(self.code + features, self.hidden), layer(self.hidden, example)],
            config: self.clone(),
            picture: [channels, size[0], size[1]],
        })
    }
}

impl Generative {
    /// Logits of pictures, or embeddings, from codes and conditions.
    fn decode(&self, codes: Tensor<2>, conditions: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.decoder[0].forward(Tensor::cat(vec![codes, conditions], 1)));
        self.decoder[1].forward(hidden)
    }

    /// Examples made for each class, class by class, `[ways * made, ...]`, of class means.
    fn make(&self, means: &Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let [ways, features] = means.dims();
        let made = self.config.made;
        let codes = noise.draw(ways * made * self.config.code, &means.device());
        let conditions = means
            .clone()
            .reshape([ways, 1, features])
            .expand([ways, made, features])
            .reshape([ways * made, features]);
        self.decode(codes.reshape([ways * made, self.config.code]), conditions)
    }

    /// Pictures made for each class, `[ways * made, channels, height, width]` with values 0 to 1; `None`
    /// where embeddings are made.
    pub fn pictures(&self, episode: &Episode<1>) -> Option<Tensor<4>> {
        if self.config.space == Space::Features || self.config.made == 0 {
            return None;
        }
        let (support, _) = embed_apart(&self.network, episode, self.config.batch_norm);
        let means = class_means(support, episode.ways);
        let made = sigmoid(self.make(&means, &mut Noise::of(episode.id)));
        let [channels, height, width] = self.picture;
        let [count, _] = made.dims();
        Some(made.reshape([count, channels, height, width]))
    }

    /// Class means of real and made examples. `pass` embeds made pictures.
    fn means(
        &self,
        support: Tensor<2>,
        ways: usize,
        noise: &mut Noise,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let [count, _] = support.dims();
        let real = class_means(support, ways);
        if self.config.made == 0 {
            return real;
        }
        let made = self.make(&real, noise);
        let rows = match self.config.space {
            Space::Features => made,
            Space::Images => {
                let [channels, height, width] = self.picture;
                let [made_count, _] = made.dims();
                let images = sigmoid(made).reshape([made_count, channels, height, width]);
                self.network.vectors(images, pass)
            }
        };
        let made = class_means(rows, ways);
        let weight = self.config.weight * self.config.made as f64;
        let shots = (count / ways) as f64;
        (real * shots + made * weight) * (1.0 / (shots + weight))
    }
}

impl FewShot<1> for Generative {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let mode = self.config.batch_norm;
        let (support, query) = embed_apart(&self.network, episode, mode);
        let mut pass = match mode {
            BatchNormMode::Running => Pass::running(),
            BatchNormMode::Support | BatchNormMode::Query => Pass::batch(),
        };
        let means = self.means(support, episode.ways, &mut Noise::of(episode.id), &mut pass);
        Distance::SquaredEuclidean.scores(query, means)
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let mut noise = Noise::of(episode.id);
        let (support, query) = embed_together(&self.network, episode);
        let [queries, features] = query.dims();
        let ways = episode.ways;
        let condition = class_means(support.clone(), ways)
            .reshape([ways, 1, features])
            .expand([ways, queries / ways, features])
            .reshape([queries, features]);
        // Made pictures go through the network by statistics of their own, which are not averaged.
        let means = self.means(support, ways, &mut noise, &mut Pass::batch());
        let scores = Distance::SquaredEuclidean.scores(query.clone(), means);
        let target = match self.config.space {
            Space::Images => {
                let [channels, height, width] = self.picture;
                episode.query.images.clone().reshape([queries, channels * height * width])
            }
            Space::Features => query.detach(),
        };
        let both = Tensor::cat(vec![target.clone(), condition.clone()], 1);
        let code = self.encoder[1].forward(relu(self.encoder[0].forward(both)));
        let size = self.config.code;
        let (mean, deviation) = (code.clone().narrow(1, 0, size), code.narrow(1, size, size));
        let drawn = noise.draw(queries * size, &mean.device()).reshape([queries, size]);
        let codes = mean.clone() + deviation.clone().exp() * drawn;
        let made = self.decode(codes, condition);
        let apart = match self.config.space {
            // The cross entropy of each pixel with its ink: max(x, 0) - x t + ln(1 + exp(-|x|)).
            Space::Images => {
                relu(made.clone()) - made.clone() * target + ((-made.abs()).exp() + 1.0).log()
            }
            Space::Features => (made - target).powi_scalar(2) * 0.5,
        };
        let divergence =
            (deviation.clone() * 2.0).exp() + mean.powi_scalar(2) - deviation * 2.0 - 1.0;
        let generation = (apart.sum() + divergence.sum() * 0.5) * (1.0 / queries as f64);
        // Per number of the example, so that one weight suits every size.
        let [_, example] = self.decoder[1].weight.dims();
        let weight = self.config.generation * 10.0 / example as f64;
        let loss = cross_entropy(scores.clone(), &episode.query.labels) + generation * weight;
        (loss, scores)
    }

    fn is_transductive(&self) -> bool {
        self.config.batch_norm == BatchNormMode::Query
    }
}
