//! `[data]`: the data set, its parts, and what is done to pictures that are trained on.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::data::DatasetConfig;
use crate::data::classes::omniglot::OmniglotConfig;
use crate::data::part::Part;
use crate::data::transforms::{Transform, check_all};
use crate::data::unlabelled::UnlabelledConfig;
use crate::error::{Error, Result};
use crate::method::adapt::InstanceWeights;

/// The least standard deviation that gray values of 0 to 1 are divided by.
const LEAST_STD: f32 = 1e-3;

/// The data set.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Data {
    /// Which and where, with its own keys.
    #[serde(flatten)]
    pub dataset: DatasetConfig,
    /// The parts and transforms, which all data sets have.
    #[serde(flatten)]
    pub parts: Parts,
}

/// What all data sets have besides their own keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parts {
    /// The part that is learnt from, such as a list's name, or a list with a filter of the pictures' names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Part>,
    /// The part by which the best checkpoint is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Part>,
    /// The part that is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Part>,
    /// Pictures that a training sees beside the labelled ones, as many a step, for methods that learn from both
    /// (feature-alignment), or that say what the labelled ones are worth (density-ratio). Their labels are not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<UnlabelledConfig>,
    /// What the labelled pictures are worth: how often each is drawn in training (supervised segmentation).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_weights: Option<InstanceWeights>,
    /// Data sets whose classes are trained on beside the main one's, in methods that are meta-trained on episodes of masks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub auxiliary: Vec<AuxiliaryData>,
    /// Pictures whose longer side has more pixels are shrunk to so many, in training and prediction alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 32, max = 16384))]
    pub longest_side: Option<u32>,
    /// What is done at random to pictures that are trained on (to the queries of episodes).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub transforms: Vec<Transform>,
    /// What is done at random to the support of training episodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub support_transforms: Vec<Transform>,
}

/// A data set beside the main one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuxiliaryData {
    /// Which and where, with its own keys.
    #[serde(flatten)]
    pub dataset: DatasetConfig,
    /// Its pictures, such as a list's name.
    pub part: Part,
    /// How many episodes are of it for each one of the main data set.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1e6))]
    pub weight: f64,
    /// Classes, by name, that are not trained on, with all pictures that hold one: those that are evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub without: Vec<String>,
}

fn one() -> f64 {
    1.0
}

/// The keys of [`Parts`].
const PARTS: [&str; 9] = [
    "train",
    "validation",
    "test",
    "unlabelled",
    "instance_weights",
    "auxiliary",
    "longest_side",
    "transforms",
    "support_transforms",
];

/// What serde says of an unknown key of one half of the table, with the keys of the other half.
fn with_parts(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((unknown, own)) if unknown.starts_with("unknown field") => {
            let parts = PARTS.map(|key| format!("`{key}`")).join(", ");
            format!("{unknown}, expected one of {}, {parts}", own.trim_start_matches("one of "))
        }
        _ => message.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut own = toml::Table::deserialize(deserializer)?;
        let mut parts = toml::Table::new();
        for key in PARTS {
            if let Some(value) = own.remove(key) {
                parts.insert(key.to_owned(), value);
            }
        }
        let said = |error: toml::de::Error| D::Error::custom(with_parts(error.message()));
        let dataset = toml::Value::Table(own).try_into().map_err(said)?;
        Ok(Self { dataset, parts: toml::Value::Table(parts).try_into().map_err(said)? })
    }
}

impl Data {
    /// The part that is measured.
    ///
    /// # Errors
    /// If none is named.
    pub fn test(&self) -> Result<&Part> {
        named(self.parts.test.as_ref(), "test", "the part that is measured, such as test = \"val\"")
    }

    /// The part that is learnt from.
    ///
    /// # Errors
    /// If none is named.
    pub fn train(&self) -> Result<&Part> {
        named(
            self.parts.train.as_ref(),
            "train",
            "the part that labelled pictures are taken from, such as train = \"train\"",
        )
    }

    /// The part by which the best checkpoint is chosen.
    ///
    /// # Errors
    /// If none is named.
    pub fn validation(&self) -> Result<&Part> {
        named(
            self.parts.validation.as_ref(),
            "validation",
            "the part by which the best checkpoint is chosen, such as validation = \"val\"; it is not the \
             one that is reported",
        )
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// If a number is out of range; the key is named.
    pub(super) fn check(&self) -> Result<()> {
        if let DatasetConfig::Omniglot(OmniglotConfig { normalize: Some([_, std]), .. }) =
            &self.dataset
            && *std < LEAST_STD
        {
            let text = format!(
                "a standard deviation of {std}; values are divided by it, so give {LEAST_STD} or more"
            );
            return Err(Error::config(text).at_key("data.normalize"));
        }
        check_all(&self.parts.transforms)?;
        check_all(&self.parts.support_transforms)
    }
}

fn named<'a>(part: Option<&'a Part>, key: &str, what: &str) -> Result<&'a Part> {
    part.ok_or_else(|| Error::config(format!("missing: {what}")).at_key(format!("data.{key}")))
}
