//! Networks that label pixels and are trained by steps: the table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adapt::alignment::{self, FeatureAlignmentConfig};
use super::supervised::{self, SupervisedConfig};
use crate::names::Row;

/// Which, with its own keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum TrainedConfig {
    /// [`alignment`]
    FeatureAlignment(FeatureAlignmentConfig),
    /// [`supervised`]
    Supervised(SupervisedConfig),
}

impl TrainedConfig {
    /// All of them as rows.
    pub fn rows() -> Vec<Row> {
        [
            (alignment::NAME, alignment::SUMMARY, alignment::SOURCE),
            (supervised::NAME, supervised::SUMMARY, supervised::SOURCE),
        ]
        .map(|(name, summary, source)| Row {
            name: name.to_owned(),
            summary: summary.to_owned(),
            source: (!source.is_empty()).then(|| source.to_owned()),
        })
        .to_vec()
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FeatureAlignment(_) => alignment::NAME,
            Self::Supervised(_) => supervised::NAME,
        }
    }
}
