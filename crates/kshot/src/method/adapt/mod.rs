//! Adapting to a domain that few or no labels are of: by features that are brought together while a network trains
//! (feature alignment), or by labelled pictures that are weighted by their worth to it (instance weights).

pub mod alignment;
pub mod coral;
pub mod density_ratio;
pub mod logistic;
pub mod mmd;
pub mod tradaboost;

use density_ratio::DensityRatioConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradaboost::TradaboostConfig;

/// How labelled pictures are weighted, with its own keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum InstanceWeights {
    /// [`density_ratio`]
    DensityRatio(DensityRatioConfig),
    /// [`tradaboost`]
    Tradaboost(TradaboostConfig),
}

impl InstanceWeights {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DensityRatio(_) => "density-ratio",
            Self::Tradaboost(_) => "tradaboost",
        }
    }
}
