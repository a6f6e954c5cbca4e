//! Meta-SGD (Li et al. 2017, arXiv 1707.09835): MAML that learns a rate for every single parameter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::meta::maml::{Loop, Maml, MamlConfig, Rates};

/// How Meta-SGD is set up: as MAML; `rate` is where the learnt rates start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MetaSgdConfig(pub MamlConfig);

/// The method.
pub type MetaSgd = Maml;

impl LearnerConfig for MetaSgdConfig {
    type Learner = MetaSgd;
    const NAME: &'static str = "meta-sgd";
    const SUMMARY: &'static str = "maml with a learnt rate for every parameter";
    const SOURCE: &'static str = "https://arxiv.org/abs/1707.09835";

    fn init(&self, setting: LearnerSetting) -> Result<MetaSgd> {
        let config = self.0.clone();
        Maml::new(
            Loop { config, rates: Rates::PerElement, head_only: false, first_order: false },
            setting,
        )
    }
}
