//! Every method that learns from recognition episodes, by name. Adding one is its file and a line in
//! the table here.

use burn::module::Module;
use burn::prelude::*;

use crate::contract::episodic::{FewShot, Step};
use crate::data::batch::Episode;
use crate::error::Result;
use crate::method::few_shot::{
    baseline, generative, matching_networks, prototypical_networks, relation_networks, ridge_head,
};
use crate::method::meta::{abml, anil, maml, meta_sgd, reptile};
use crate::method::network::Network;
use crate::names::Row;

/// What a method is made for.
#[derive(Debug)]
pub struct Setting {
    /// The embedding network.
    pub network: Network,
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
    type Learner: FewShot<1>;
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
    fn init(&self, setting: Setting) -> Result<Self::Learner>;
}

macro_rules! learners {
    ($($variant:ident($module:ident::$learner:ident, $config:ident);)+) => {
        /// Any of the methods, with its parameters.
        // A program holds one or two of them, whose tensors dwarf the enum.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum Learner {
            $(#[doc = concat!("[`", stringify!($module), "`]")] $variant($module::$learner),)+
        }

        /// Which method, as recipes write it.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum Learning {
            $(#[doc = concat!("[`", stringify!($module), "`]")] $variant($module::$config),)+
        }

        impl Learning {
            /// A method with random parameters of its own.
            ///
            /// # Errors
            /// If it does not go with the network or the size of the pictures.
            pub fn init(&self, setting: Setting) -> Result<Learner> {
                Ok(match self {
                    $(Self::$variant(config) => Learner::$variant(config.init(setting)?),)+
                })
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$module::$config as LearnerConfig>::NAME,)+ }
            }

            /// All of them as rows.
            pub fn rows() -> Vec<Row> {
                vec![$({
                    type Config = $module::$config;
                    Row {
                        name: Config::NAME.to_owned(),
                        summary: Config::SUMMARY.to_owned(),
                        source: Some(Config::SOURCE.to_owned()),
                    }
                },)+]
            }

            /// Each with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant($module::$config::default()),)+]
            }
        }

        impl FewShot<1> for Learner {
            fn predict(&self, episode: &Episode<1>) -> Tensor<2> {
                match self { $(Self::$variant(learner) => learner.predict(episode),)+ }
            }

            fn loss(&self, episode: &Episode<1>) -> (Tensor<1>, Tensor<2>) {
                match self { $(Self::$variant(learner) => learner.loss(episode),)+ }
            }

            fn step(&self, episodes: &[Episode<1>]) -> Step {
                match self { $(Self::$variant(learner) => learner.step(episodes),)+ }
            }

            fn is_transductive(&self) -> bool {
                match self { $(Self::$variant(learner) => learner.is_transductive(),)+ }
            }
        }
    };
}

learners! {
    PrototypicalNetworks(prototypical_networks::PrototypicalNetworks, PrototypicalNetworksConfig);
    MatchingNetworks(matching_networks::MatchingNetworks, MatchingNetworksConfig);
    RelationNetworks(relation_networks::RelationNetworks, RelationNetworksConfig);
    Maml(maml::Maml, MamlConfig);
    FirstOrderMaml(maml::Maml, FirstOrderMamlConfig);
    Anil(anil::Anil, AnilConfig);
    MetaSgd(meta_sgd::MetaSgd, MetaSgdConfig);
    Reptile(reptile::Reptile, ReptileConfig);
    Abml(abml::Abml, AbmlConfig);
    Generative(generative::Generative, GenerativeConfig);
    RidgeHead(ridge_head::RidgeHead, RidgeHeadConfig);
    Baseline(baseline::Baseline, BaselineConfig);
}
