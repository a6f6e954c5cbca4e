//! ANIL, almost no inner loop (Raghu et al. 2020, arXiv 1909.09157): MAML whose inner loop adapts the
//! head alone. The outer gradient is exact: the network's part holds the mixed second derivatives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::method::learner::{LearnerConfig, LearnerSetting};
use crate::method::meta::maml::{Loop, Maml, MamlConfig, Rates};

/// How ANIL is set up: as MAML.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnilConfig(pub MamlConfig);

/// The method.
pub type Anil = Maml;

impl LearnerConfig for AnilConfig {
    type Learner = Anil;
    const NAME: &'static str = "anil";
    const SUMMARY: &'static str = "maml whose inner loop adapts the head alone";
    const SOURCE: &'static str = "https://arxiv.org/abs/1909.09157";

    fn init(&self, setting: LearnerSetting) -> Result<Anil> {
        let rates = if self.0.learn_rates { Rates::PerLayer } else { Rates::Fixed };
        let config = self.0.clone();
        Maml::new(Loop { config, rates, head_only: true, first_order: false }, setting)
    }
}
