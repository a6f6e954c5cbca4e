//! The recipe: what is measured, on what, with which model and method, and how it is trained.
//!
//! ```toml
//! [protocol]  what `kshot eval` measures
//! [data]      dataset, root, parts, transforms
//! [model]     encoder, weights, decoder, freeze, precision
//! [method]    name and its own keys
//! [predict]   how scores become pixels: refinement, scale; tiles and views of trained networks
//! [loss]      terms with weights
//! [train]     steps, batch, optimizer, learning_rate, schedule, validate_every, monitor, seed
//! ```
//! A file is read as TOML, `--set` edits the value, and what results is held against the tree of all keys
//! ([`keys`]) before it is typed: whatever is wrong is told with its line and its key, an unknown key with the nearest
//! valid one, a key of an earlier version with its new name.

mod data;
mod fit;
mod freeze;
pub mod keys;
mod memory;
mod model;
mod named;
pub mod optimizer;
mod predict;
mod protocol;
mod renamed;
pub mod schedule;
mod text;
mod training;

use std::path::Path;

pub use data::{AuxiliaryData, Data};
pub use freeze::{Freeze, FrozenLayers, FrozenPart};
pub use model::{EncoderChoice, Model};
pub use predict::{Predict, TestFlip};
pub use protocol::{Counting, OneOrMore, Protocol, SupportLabels};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use training::{Clip, Training, TrainingEpisodes};

use crate::data::transforms::Transform;
use crate::error::{Error, Result};
use crate::loss::LossConfig;
use crate::method::MethodConfig;
use crate::method::adapt::InstanceWeights;
use crate::method::trained::TrainedConfig;
pub use crate::nn::Precision;
use crate::weights::source::RANDOM;

/// A recipe, typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is measured.
    pub protocol: Protocol,
    /// The data set, its parts, and what is done to its pictures.
    pub data: Data,
    /// The network.
    #[serde(default)]
    pub model: Model,
    /// The method.
    pub method: MethodConfig,
    /// How scores become pixels.
    #[serde(default, skip_serializing_if = "Predict::is_default")]
    #[schemars(!skip_serializing_if)]
    pub predict: Predict,
    /// The training loss of supervised segmentation.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(!skip_serializing_if)]
    pub loss: LossConfig,
    /// How it is trained; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Training>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Recipe {
    /// Reads a recipe, with `key.path=value` changes made before it is typed.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, has a key or value that is none, or asks for what cannot be.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self> {
        Self::parse(&text::read(path)?, path, changes)
    }

    /// As [`Self::read`], of a text; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str, path: &Path, changes: &[String]) -> Result<Self> {
        let table = text::table(text, path, changes)?;
        renamed::refuse(&table, path, text)?;
        let recipe: Self = text::typed(table, path, text, changes)?;
        recipe.check().map_err(|error| text::placed(error, path, text, changes))?;
        Ok(recipe)
    }

    /// The same for a network that is to be filled with tensors of these names: with random weights, and as those want it
    /// where published networks of one name differ in a layer.
    #[must_use]
    pub fn to_fill<'a>(&self, tensors: impl Iterator<Item = &'a str>) -> Self {
        let encoder = match &self.model.encoder {
            EncoderChoice::Encoder(config) => EncoderChoice::Encoder(config.matching(tensors)),
            other => other.clone(),
        };
        let model = Model { weights: Some(RANDOM.into()), encoder, ..self.model.clone() };
        Self { model, ..self.clone() }
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// If a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| {
            Error::config(format!("the recipe cannot be written as TOML: {error}"))
        })
    }

    /// Holds what it says against what is possible.
    ///
    /// # Errors
    /// If it asks for what cannot be; the key is named.
    pub fn check(&self) -> Result<()> {
        let written = toml::Table::try_from(self).map_err(|error| {
            Error::config(format!("the recipe cannot be written as TOML: {error}"))
        })?;
        fit::check(&written)
            .map_err(|fault| Error::config(fault.text).at_key(fit::dotted(&fault.path)))?;
        self.protocol.check()?;
        self.data.check()?;
        self.model.check(&self.method)?;
        if let Some(train) = &self.train {
            train.check()?;
        }
        let wrong = |key: &str, text: String| Err(Error::config(text).at_key(key));
        let (method, protocol) = (self.method.name(), self.protocol.name());
        match (&self.method, &self.protocol) {
            (MethodConfig::Learner(_), Protocol::FewShotRecognition { .. }) => {
                self.data.dataset.classes()?;
            }
            (MethodConfig::Learner(_), _) | (_, Protocol::FewShotRecognition { .. }) => {
                return wrong(
                    "method.name",
                    format!(
                        "`{method}` does not go with the protocol `{protocol}`: methods that label whole \
                         pictures are measured by few-shot-recognition, those that label pixels by the others"
                    ),
                );
            }
            (MethodConfig::Episodic(_), Protocol::FewShotSegmentation { .. })
            | (MethodConfig::Head(_), _) => {}
            (method, Protocol::Segmentation { .. }) if method.is_segmenter() => {}
            (MethodConfig::Trained(_) | MethodConfig::Episodic(_), _) => {
                return wrong(
                    "protocol.name",
                    format!(
                        "`{method}` is not measured by `{protocol}`: methods that are meta-trained on episodes are by \
                         few-shot-segmentation, supervised and feature-alignment by segmentation"
                    ),
                );
            }
        }
        let queries = self.train.as_ref().and_then(|train| Some(train.episodes.as_ref()?.queries));
        if queries == Some(0) && method != "reptile" {
            return wrong(
                "train.episodes.queries",
                format!("`{method}` learns from queries: give at least 1 a class"),
            );
        }
        if self.train.is_some() && !self.method.is_trained() {
            return wrong(
                "train",
                format!("`{method}` is not trained by steps; leave [train] out"),
            );
        }
        self.check_supervised()?;
        self.check_adaptation()?;
        memory::check(self)
    }

    /// Holds keys that are supervised segmentation's against the method.
    fn check_supervised(&self) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        let supervised = self.method.is_segmenter();
        if !supervised && let Some(key) = self.predict.of_networks() {
            let text =
                "only networks of supervised segmentation label pictures that way; leave it out";
            return wrong(&format!("predict.{key}"), text);
        }
        if self.train.as_ref().is_none_or(|train| train.balanced == 0.0) {
            return Ok(());
        }
        if !supervised {
            return wrong(
                "train.balanced",
                "crops are those of supervised segmentation; leave it out",
            );
        }
        let cuts = |of: &Transform| matches!(of, Transform::Crop(_) | Transform::Affine(_));
        if !self.data.parts.transforms.iter().any(cuts) {
            return wrong(
                "train.balanced",
                "parts are cut out around pixels by a transform: put a `crop` or `affine` into data.transforms, such as \
                 { name = \"crop\", size = 256 }",
            );
        }
        Ok(())
    }

    /// Holds what is said of unlabelled pictures and of the labelled ones' worth against the method.
    fn check_adaptation(&self) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        let parts = &self.data.parts;
        let aligns =
            matches!(self.method, MethodConfig::Trained(TrainedConfig::FeatureAlignment(_)));
        let by_ratio = matches!(parts.instance_weights, Some(InstanceWeights::DensityRatio(_)));
        let trains = self.method.is_segmenter() && self.train.is_some();
        if parts.instance_weights.is_some() && !trains {
            return wrong(
                "data.instance_weights",
                "only trainings of supervised segmentation draw pictures by weights; leave it out",
            );
        }
        match (&parts.unlabelled, aligns || by_ratio) {
            (None, true) => wrong(
                "data.unlabelled",
                "missing: the pictures of the target, such as unlabelled = { part = { list = \"train\", include = \
                 [\"0001TP_*\"] } } or unlabelled = { folder = \"photos\" }; their labels are not read",
            ),
            (Some(_), false) => wrong(
                "data.unlabelled",
                "nothing here learns from unlabelled pictures: write method.name = \"feature-alignment\", or \
                 data.instance_weights = { name = \"density-ratio\" }, or leave it out",
            ),
            _ => Ok(()),
        }
    }

    /// Whether the method is trained before it is measured.
    pub fn is_trained(&self) -> bool {
        self.train.is_some()
    }

    /// The section that says how to train.
    ///
    /// # Errors
    /// If there is none.
    pub fn training(&self) -> Result<&Training> {
        self.train.as_ref().ok_or_else(|| {
            Error::config(
                "the recipe has no [train] section: there is nothing to train; evaluate it with `kshot eval`",
            )
        })
    }

    /// Method and data, for people.
    pub fn title(&self) -> String {
        format!(
            "{} on {} {}",
            self.method.name(),
            self.data.dataset.name(),
            self.data.dataset.root().display()
        )
    }
}

#[cfg(test)]
mod extremes;
#[cfg(test)]
mod tests;
