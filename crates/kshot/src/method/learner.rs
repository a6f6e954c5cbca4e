//! Every method that learns from recognition episodes, by name. Adding one is its file and a line in
//! the table here.

use burn::module::Module;
use burn::prelude::*;

use crate::contract::episodic::{self, EpisodeStep, FewShot, accuracy, cross_entropy, scalar};
use crate::contract::{Objective, StepResult};
use crate::data::batch::Episode;
use crate::error::Result;
use crate::method::network::EmbeddingNetwork;
use crate::method::{few_shot, meta};
use crate::metric::state::MetricState;
use crate::names::Row;

/// What a method is made for.
#[derive(Debug)]
pub struct LearnerSetting {
    /// The embedding network.
    pub network: EmbeddingNetwork,
    /// Channels of the pictures.
    pub channels: usize,
    /// Their height and width.
    pub size: [usize; 2],
    /// Classes of an episode that it will be used on.
    pub ways: usize,
    /// Classes there are to train on.
    pub classes: usize,
    /// Where its parameters live.
    pub device: Device,
}

/// How a method is configured, as recipes write it.
pub trait LearnerConfig {
    /// What it makes.
    type Learner: FewShot;
    /// Its name on the command line and in recipes.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// The address of the paper.
    const SOURCE: &'static str;

    /// A method with random parameters of its own.
    ///
    /// # Errors
    /// If it does not go with the network or the size of the pictures.
    fn init(&self, setting: LearnerSetting) -> Result<Self::Learner>;
}

macro_rules! learners {
    ($($variant:ident($group:ident::$module:ident::$learner:ident, $config:ident);)+) => {
        /// Any of the methods, with its parameters.
        // A program holds one or two of them, whose tensors dwarf the enum.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum Learner {
            $(#[doc = concat!("[`", stringify!($module), "`](crate::method::", stringify!($group), "::", stringify!($module), ")")] $variant($group::$module::$learner),)+
        }

        /// Which method, as recipes write it.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum Learning {
            $(#[doc = concat!("[`", stringify!($module), "`](crate::method::", stringify!($group), "::", stringify!($module), ")")] $variant($group::$module::$config),)+
        }

        impl Learning {
            /// A method with random parameters of its own.
            ///
            /// # Errors
            /// If it does not go with the network or the size of the pictures.
            pub fn init(&self, setting: LearnerSetting) -> Result<Learner> {
                Ok(match self {
                    $(Self::$variant(config) => Learner::$variant(config.init(setting)?),)+
                })
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$group::$module::$config as LearnerConfig>::NAME,)+ }
            }

            /// All of them as rows.
            pub fn rows() -> Vec<Row> {
                vec![$({
                    type Config = $group::$module::$config;
                    Row {
                        name: Config::NAME.to_owned(),
                        summary: Config::SUMMARY.to_owned(),
                        source: Some(Config::SOURCE.to_owned()),
                    }
                },)+]
            }

            /// Each with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant($group::$module::$config::default()),)+]
            }
        }

        impl FewShot for Learner {
            fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
                match self { $(Self::$variant(learner) => learner.predict(episode),)+ }
            }

            fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
                match self { $(Self::$variant(learner) => learner.loss(episode),)+ }
            }

            fn step(&self, episodes: &[Episode<1>]) -> EpisodeStep {
                match self { $(Self::$variant(learner) => learner.step(episodes),)+ }
            }

            fn is_transductive(&self) -> bool {
                match self { $(Self::$variant(learner) => learner.is_transductive(),)+ }
            }
        }
    };
}

impl Objective for Learner {
    type Item = Vec<Episode<1>>;

    fn step(&self, episodes: Vec<Episode<1>>) -> StepResult {
        episodic::step(self, &episodes)
    }

    fn evaluate(&self, episodes: Vec<Episode<1>>) -> MetricState {
        let mut state = MetricState::default();
        for episode in &episodes {
            let scores = self.predict(episode);
            let right = accuracy(&scores, &episode.query.labels);
            let loss = scalar(&cross_entropy(scores, &episode.query.labels));
            state.merge(&MetricState::default().with_mean("loss", f64::from(loss), 1.0).with_mean(
                "accuracy",
                f64::from(right),
                1.0,
            ));
        }
        state
    }

    fn monitor(&self) -> &'static str {
        "accuracy"
    }
}

learners! {
    PrototypicalNetworks(few_shot::prototypical_networks::PrototypicalNetworks, PrototypicalNetworksConfig);
    MatchingNetworks(few_shot::matching_networks::MatchingNetworks, MatchingNetworksConfig);
    RelationNetworks(few_shot::relation_networks::RelationNetworks, RelationNetworksConfig);
    Maml(meta::maml::Maml, MamlConfig);
    FirstOrderMaml(meta::maml::Maml, FirstOrderMamlConfig);
    Anil(meta::anil::Anil, AnilConfig);
    MetaSgd(meta::meta_sgd::MetaSgd, MetaSgdConfig);
    Reptile(meta::reptile::Reptile, ReptileConfig);
    Abml(meta::abml::Abml, AbmlConfig);
    Generative(few_shot::generative::Generative, GenerativeConfig);
    RidgeHead(few_shot::ridge_head::RidgeHead, RidgeHeadConfig);
    Baseline(few_shot::baseline::Baseline, BaselineConfig);
}
