//! Methods: how a few labels become a label for every picture or pixel.
//!
//! Four tables, of which a recipe's `[method]` names one row:
//! - [`learner::Learning`]: methods that label whole pictures and learn from episodes;
//! - [`few_shot::HeadConfig`]: methods that label pixels and are fitted to the labelled pictures in seconds;
//! - [`episodic::Episodic`]: methods that label pixels from labelled pictures and are meta-trained on episodes;
//! - [`trained::TrainedConfig`]: networks that label pixels and are trained by steps.

pub mod adapt;
pub mod episodic;
pub mod few_shot;
pub mod kmeans;
pub mod learner;
pub mod meta;
pub mod network;
pub mod noise;
pub mod supervised;
pub mod trained;

use episodic::Episodic;
use few_shot::HeadConfig;
use learner::Learning;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use trained::TrainedConfig;

use crate::names::{self, Row};

/// Any method, with its own keys.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum MethodConfig {
    /// Labels whole pictures; learns from episodes.
    Learner(Learning),
    /// Labels pixels; fitted to the labelled pictures.
    Head(HeadConfig),
    /// Labels pixels from labelled pictures; learns from episodes.
    Episodic(Episodic),
    /// Labels pixels; trained by steps.
    Trained(TrainedConfig),
}

impl MethodConfig {
    /// All methods as rows.
    pub fn rows() -> Vec<Row> {
        [Learning::rows(), HeadConfig::rows(), Episodic::rows(), TrainedConfig::rows()].concat()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Learner(config) => config.name(),
            Self::Head(config) => config.name(),
            Self::Episodic(config) => config.name(),
            Self::Trained(config) => config.name(),
        }
    }

    /// Whether it trains an encoder with a decoder that knows its classes: `supervised` and what is built on it.
    pub fn is_segmenter(&self) -> bool {
        matches!(
            self,
            Self::Trained(TrainedConfig::Supervised(_) | TrainedConfig::FeatureAlignment(_))
        )
    }

    /// Whether steps of an optimiser train it.
    pub fn is_trained(&self) -> bool {
        !matches!(self, Self::Head(_))
    }
}

impl<'de> Deserialize<'de> for MethodConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let Some(name) = table.get("name").and_then(|name| name.as_str()).map(str::to_owned) else {
            return Err(D::Error::missing_field("name"));
        };
        let within = |rows: Vec<Row>| rows.iter().any(|row| row.name == name);
        let value = toml::Value::Table(table);
        let said = |error: toml::de::Error| D::Error::custom(error.message());
        if within(Learning::rows()) {
            return Ok(Self::Learner(value.try_into().map_err(said)?));
        }
        if within(HeadConfig::rows()) {
            return Ok(Self::Head(value.try_into().map_err(said)?));
        }
        if within(Episodic::rows()) {
            return Ok(Self::Episodic(value.try_into().map_err(said)?));
        }
        if within(TrainedConfig::rows()) {
            return Ok(Self::Trained(value.try_into().map_err(said)?));
        }
        let rows = Self::rows();
        let valid: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        Err(D::Error::custom(names::unknown("method", &name, &valid)))
    }
}
