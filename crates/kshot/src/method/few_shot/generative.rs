//! A variational autoencoder, conditioned on a class, that generates further support examples for a new
//! task; queries go to the nearest class mean of real and generated examples together.
//!
//! After Kingma and Welling 2014 (arXiv 1312.6114) and conditional generation for few shots as in
//! Schonfeld et al. 2019 (arXiv 1812.01784). The condition is the mean embedding of a class's support.
//! `space = "images"` generates images, which the network then embeds (small gray ones); `space =
//! "features"` generates embeddings (photographs). All is learnt together: the queries' cross entropy, the
//! reconstruction of queries given their class, and the KL divergence of the latent.
//!
//! `generated = 0` at evaluation (`--set method.generated=0`) shows what the generated examples are worth.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::episodic::{FewShot, cross_entropy};
use crate::data::batch::Episode;
use crate::error::{Error, Result};
use crate::method::few_shot::distance::{Distance, class_means};
use crate::method::few_shot::prototypical_networks::{embed_apart, embed_together};
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::network::EmbeddingNetwork;
use crate::method::noise::EpisodeNoise;
use crate::nn::norm::{BatchNormMode, Pass};

/// What is generated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratedSpace {
    /// Pictures with values from 0 to 1.
    #[default]
    Images,
    /// Embeddings.
    Features,
}

/// How the generative method is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenerativeConfig {
    /// What is generated.
    pub space: GeneratedSpace,
    /// Examples generated for each class.
    #[schemars(range(min = 0, max = 1000))]
    pub generated: usize,
    /// What a generated example counts in a class's mean, against 1 of a real one.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub weight: f64,
    /// Latent dimension.
    #[schemars(range(min = 1, max = 1024))]
    pub latent: usize,
    /// Units of the hidden layers.
    #[schemars(range(min = 1, max = 8192))]
    pub hidden: usize,
    /// Weight of reconstruction and KL in the loss.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub generation: f64,
    /// Statistics at evaluation; training uses those of support and query together.
    pub batch_norm: BatchNormMode,
}

impl Default for GenerativeConfig {
    fn default() -> Self {
        Self {
            space: GeneratedSpace::Images,
            generated: 5,
            weight: 0.1,
            latent: 16,
            hidden: 256,
            generation: 0.1,
            batch_norm: BatchNormMode::Running,
        }
    }
}

/// The method.
#[derive(Module, Debug)]
pub struct Generative {
    network: EmbeddingNetwork,
    /// From example and condition to the latent's mean and log standard deviation.
    encoder: [Linear; 2],
    /// From latent and condition to the example.
    decoder: [Linear; 2],
    #[module(skip)]
    config: GenerativeConfig,
    #[module(skip)]
    picture: [usize; 3],
}

impl LearnerConfig for GenerativeConfig {
    type Learner = Generative;
    const NAME: &'static str = "generative";
    const SUMMARY: &'static str = "a class-conditioned VAE generates further support examples";
    const SOURCE: &'static str = "https://arxiv.org/abs/1312.6114";

    fn init(&self, setting: LearnerSetting) -> Result<Generative> {
        let LearnerSetting { network, channels, size, device, .. } = setting;
        if self.latent == 0 || self.hidden == 0 {
            return Err(
                Error::config("latent and hidden must be at least 1").at_key("method.latent")
            );
        }
        if self.space == GeneratedSpace::Images && channels != 1 {
            return Err(Error::config(
                "images are generated in gray (values 0 to 1) only; write space = \
                 \"features\"",
            )
            .at_key("method.space"));
        }
        let features = network.features(size)?;
        let example = match self.space {
            GeneratedSpace::Images => channels * size[0] * size[1],
            GeneratedSpace::Features => features,
        };
        let layer = |inside, outside| LinearConfig::new(inside, outside).init(&device);
        Ok(Generative {
            network,
            encoder: [layer(example + features, self.hidden), layer(self.hidden, 2 * self.latent)],
            decoder: [layer(self.latent + features, self.hidden), layer(self.hidden, example)],
            config: self.clone(),
            picture: [channels, size[0], size[1]],
        })
    }
}

impl Generative {
    /// Logits of pictures, or embeddings, from latents and conditions.
    fn decode(&self, latents: Tensor<2>, conditions: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.decoder[0].forward(Tensor::cat(vec![latents, conditions], 1)));
        self.decoder[1].forward(hidden)
    }

    /// Examples generated for each class, class by class, `[ways * generated, ...]`, of class means.
    fn generate(&self, means: &Tensor<2>, noise: &mut EpisodeNoise) -> Tensor<2> {
        let [ways, features] = means.dims();
        let generated = self.config.generated;
        let latents = noise.draw(ways * generated * self.config.latent, &means.device());
        let conditions = means
            .clone()
            .reshape([ways, 1, features])
            .expand([ways, generated, features])
            .reshape([ways * generated, features]);
        self.decode(latents.reshape([ways * generated, self.config.latent]), conditions)
    }

    /// Images generated for each class, `[ways * generated, channels, height, width]` with values 0 to 1; `None`
    /// where embeddings are generated.
    pub fn pictures(&self, episode: &Episode<1>) -> Option<Tensor<4>> {
        if self.config.space == GeneratedSpace::Features || self.config.generated == 0 {
            return None;
        }
        let (support, _) = embed_apart(&self.network, episode, self.config.batch_norm);
        let means = class_means(support, episode.ways);
        let generated = sigmoid(self.generate(&means, &mut EpisodeNoise::of(episode.id)));
        let [channels, height, width] = self.picture;
        let [count, _] = generated.dims();
        Some(generated.reshape([count, channels, height, width]))
    }

    /// Class means of real and generated examples. `pass` embeds generated images.
    fn means(
        &self,
        support: Tensor<2>,
        ways: usize,
        noise: &mut EpisodeNoise,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let [count, _] = support.dims();
        let real = class_means(support, ways);
        if self.config.generated == 0 {
            return real;
        }
        let generated = self.generate(&real, noise);
        let rows = match self.config.space {
            GeneratedSpace::Features => generated,
            GeneratedSpace::Images => {
                let [channels, height, width] = self.picture;
                let [generated_count, _] = generated.dims();
                let images = sigmoid(generated).reshape([generated_count, channels, height, width]);
                self.network.vectors(images, pass)
            }
        };
        let generated = class_means(rows, ways);
        let weight = self.config.weight * self.config.generated as f64;
        let shots = (count / ways) as f64;
        (real * shots + generated * weight) * (1.0 / (shots + weight))
    }
}

impl FewShot for Generative {
    fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
        let mode = self.config.batch_norm;
        let (support, query) = embed_apart(&self.network, episode, mode);
        let mut pass = match mode {
            BatchNormMode::Running => Pass::running(),
            BatchNormMode::Support | BatchNormMode::Query => Pass::batch(),
        };
        let means = self.means(support, episode.ways, &mut EpisodeNoise::of(episode.id), &mut pass);
        Distance::SquaredEuclidean.scores(query, means)
    }

    fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
        let mut noise = EpisodeNoise::of(episode.id);
        let (support, query) = embed_together(&self.network, episode);
        let [queries, features] = query.dims();
        let ways = episode.ways;
        let condition = class_means(support.clone(), ways)
            .reshape([ways, 1, features])
            .expand([ways, queries / ways, features])
            .reshape([queries, features]);
        // Generated images go through the network by statistics of their own, which are not averaged.
        let means = self.means(support, ways, &mut noise, &mut Pass::batch());
        let scores = Distance::SquaredEuclidean.scores(query.clone(), means);
        let target = match self.config.space {
            GeneratedSpace::Images => {
                let [channels, height, width] = self.picture;
                episode.query.images.clone().reshape([queries, channels * height * width])
            }
            GeneratedSpace::Features => query.detach(),
        };
        let both = Tensor::cat(vec![target.clone(), condition.clone()], 1);
        let latent = self.encoder[1].forward(relu(self.encoder[0].forward(both)));
        let size = self.config.latent;
        let (mean, log_std) = (latent.clone().narrow(1, 0, size), latent.narrow(1, size, size));
        let drawn = noise.draw(queries * size, &mean.device()).reshape([queries, size]);
        let latents = mean.clone() + log_std.clone().exp() * drawn;
        let generated = self.decode(latents, condition);
        let apart = match self.config.space {
            // The cross entropy of each pixel with its ink: max(x, 0) - x t + ln(1 + exp(-|x|)).
            GeneratedSpace::Images => {
                relu(generated.clone()) - generated.clone() * target
                    + ((-generated.abs()).exp() + 1.0).log()
            }
            GeneratedSpace::Features => (generated - target).powi_scalar(2) * 0.5,
        };
        let divergence = (log_std.clone() * 2.0).exp() + mean.powi_scalar(2) - log_std * 2.0 - 1.0;
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
