//! The recipe of a method that learns from episodes.

use std::path::{Path, PathBuf};

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::data::classes::augment::Augment;
use crate::data::classes::folders;
use crate::data::classes::omniglot::{self, OmniglotSplit};
use crate::data::classes::pixels::Scaling;
use crate::data::classes::split::{Part, Splits};
use crate::error::{Error, Result};
use crate::method::learner::Learning;
use crate::method::network::NetworkConfig;
use crate::recipe::input::Input;
use crate::recipe::segmentation::{Recipe, read_as, read_table};

/// The name of the protocol.
pub const PROTOCOL: &str = "few-shot-recognition";

/// A recipe of either kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnyRecipe {
    /// Of segmentation with heads on frozen features.
    Segmentation(Box<Recipe>),
    /// Of recognition learnt from episodes.
    Learning(Box<LearningRecipe>),
}

impl AnyRecipe {
    /// Reads a recipe, with `key.path=value` changes made before it is checked.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or has a key or value that is none.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self> {
        let (table, text) = read_table(path, changes)?;
        let name = table.get("protocol").and_then(|of| of.get("name")).and_then(|of| of.as_str());
        if name == Some(PROTOCOL) {
            let recipe: LearningRecipe = read_as(table, path, &text, changes)?;
            recipe.check()?;
            return Ok(Self::Learning(Box::new(recipe)));
        }
        Ok(Self::Segmentation(Box::new(read_as(table, path, &text, changes)?)))
    }

    /// Holds what it says against what is possible.
    ///
    /// # Errors
    /// If it asks for what cannot be; the key is named.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Segmentation(_) => Ok(()),
            Self::Learning(recipe) => recipe.check(),
        }
    }

    /// Whether convolutions sum product by product, and whether frozen networks multiply in bf16.
    pub fn sums(&mut self) -> (&mut bool, &mut bool) {
        match self {
            Self::Segmentation(recipe) => (&mut recipe.precise, &mut recipe.bf16),
            Self::Learning(recipe) => (&mut recipe.precise, &mut recipe.bf16),
        }
    }
}

/// A recipe as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRecipe {
    /// Whether convolutions sum product by product: three times slower for 3x3 kernels, and about three
    /// times closer to the exact result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub precise: bool,
    /// Whether frozen networks multiply large matrices in bf16, which not every processor can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bf16: bool,
    /// What is measured.
    pub protocol: Episodes,
    /// On what.
    pub data: ClassData,
    /// The embedding network.
    #[serde(default)]
    pub network: NetworkConfig,
    /// The method.
    pub method: Learning,
    /// How it is trained; absent if nothing is.
    #[serde(default)]
    pub train: Option<Training>,
}

/// What is measured: accuracy over episodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episodes {
    /// Always `few-shot-recognition`.
    pub name: String,
    /// Classes an episode; several values are measured one after the other.
    pub ways: OneOrMore,
    /// Support pictures a class; several values are measured one after the other.
    pub shots: OneOrMore,
    /// Query pictures a class.
    pub queries: usize,
    /// Episodes.
    pub episodes: usize,
    /// Seed of the episodes.
    pub seed: u64,
    /// Which classes.
    #[serde(default)]
    pub part: Part,
}

/// A number or a list of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(usize),
    /// Several.
    More(Vec<usize>),
}

impl OneOrMore {
    /// All of them.
    pub fn all(&self) -> &[usize] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }

    /// The first.
    pub fn first(&self) -> usize {
        self.all().first().copied().unwrap_or(0)
    }
}

/// The data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "dataset", rename_all = "kebab-case")]
pub enum ClassData {
    /// Omniglot.
    Omniglot(OmniglotData),
    /// miniImageNet: `train`, `val` and `test` as class folders, or Ravi and Larochelle's lists.
    MiniImagenet(FolderData),
    /// Any folder of class folders.
    ClassFolders(FolderData),
}

/// Omniglot's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmniglotData {
    /// Its folder.
    pub root: PathBuf,
    /// Height and width of the pictures.
    #[serde(default = "omniglot_size")]
    pub size: usize,
    /// How characters are cut into training, validation and test.
    pub split: OmniglotSplit,
    /// Mean and deviation of gray values (0 to 1) to normalise by, as published weights expect; by
    /// default ink is 1 and paper 0.
    #[serde(default)]
    pub normalize: Option<[f32; 2]>,
    /// Whether quarter turns count as classes of their own.
    #[serde(default = "yes")]
    pub rotations: bool,
}

fn omniglot_size() -> usize {
    28
}

fn yes() -> bool {
    true
}

/// Settings of class folders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderData {
    /// Their folder.
    pub root: PathBuf,
    /// Height and width of the pictures.
    #[serde(default = "folder_size")]
    pub size: usize,
    /// Gray pictures instead of colours.
    #[serde(default)]
    pub gray: bool,
    /// Shares of the classes for validation and test, where no folders say.
    #[serde(default = "usual_shares")]
    pub shares: [f64; 2],
    /// Seed of that cut.
    #[serde(default)]
    pub split_seed: u64,
}

fn folder_size() -> usize {
    84
}

fn usual_shares() -> [f64; 2] {
    [0.2, 0.2]
}

impl ClassData {
    /// Channels of the pictures.
    pub fn channels(&self) -> usize {
        match self {
            Self::Omniglot(_) => 1,
            Self::MiniImagenet(data) | Self::ClassFolders(data) => {
                if data.gray {
                    1
                } else {
                    3
                }
            }
        }
    }

    /// Height and width of the pictures.
    pub fn size(&self) -> [usize; 2] {
        match self {
            Self::Omniglot(data) => [data.size; 2],
            Self::MiniImagenet(data) | Self::ClassFolders(data) => [data.size; 2],
        }
    }

    /// The data set's name and folder, for reports.
    pub fn title(&self) -> String {
        match self {
            Self::Omniglot(data) => format!("omniglot {}", data.root.display()),
            Self::MiniImagenet(data) => format!("mini-imagenet {}", data.root.display()),
            Self::ClassFolders(data) => format!("class-folders {}", data.root.display()),
        }
    }

    /// How bytes become numbers; `of_network` is what a network's weights expect, if they do.
    pub fn scaling(&self, of_network: Option<Scaling>) -> Scaling {
        match self {
            Self::Omniglot(data) => data.normalize.map_or(Scaling::INK, |[mean, deviation]| {
                Scaling { mean: [mean; 3], deviation: [deviation; 3] }
            }),
            Self::MiniImagenet(_) | Self::ClassFolders(_) => {
                of_network.unwrap_or_else(|| folders::usual(self.channels()))
            }
        }
    }

    /// Reads it, as `input` makes pictures of files.
    ///
    /// # Errors
    /// If it is not there, a picture cannot be read, or drawings were to become vectors.
    pub fn read(&self, input: Input) -> Result<Splits> {
        match self {
            Self::Omniglot(data) => {
                let Input::Pictures { scaling, .. } = input else {
                    return Err(Error::config(
                        "frozen encoders take photographs, Omniglot has drawings; use conv4",
                    )
                    .at_key("network.name"));
                };
                omniglot::read(&data.root, data.size, &data.split, data.rotations, scaling)
            }
            Self::MiniImagenet(data) | Self::ClassFolders(data) => {
                folders::read(&data.root, data.shares, data.split_seed, |files| input.read(files))
            }
        }
    }
}

/// How a method is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Classes an episode.
    pub ways: usize,
    /// Support pictures a class.
    pub shots: usize,
    /// Query pictures a class.
    pub queries: usize,
    /// Episodes a step.
    #[serde(default = "one")]
    pub meta_batch: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps between two validations, each of which leaves a checkpoint.
    pub epoch: usize,
    /// Seed of parameters and episodes.
    pub seed: u64,
    /// Episodes of a validation, of the protocol's first shape.
    #[serde(default = "validation_episodes")]
    pub validation_episodes: usize,
    /// Stops after so many validations without a better accuracy.
    #[serde(default)]
    pub patience: Option<usize>,
    /// Who takes the steps.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The length of a step.
    pub rate: f64,
    /// How it changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Changes to support pictures.
    #[serde(default)]
    pub augment_support: Augment,
    /// Changes to query pictures.
    #[serde(default)]
    pub augment_query: Augment,
}

fn one() -> usize {
    1
}

fn validation_episodes() -> usize {
    200
}

/// Who takes the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerConfig {
    /// Adam (Kingma and Ba 2015, arXiv 1412.6980).
    #[default]
    Adam,
    /// Gradient descent.
    Sgd,
    /// Gradient descent with momentum 0.9 and weight decay 5e-4.
    Momentum,
}

/// How the length of a step changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// Evenly down to 0 at the last step.
    Linear,
    /// By a factor of a half every so many steps.
    Halve(usize),
}

impl Training {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// If a number is out of range; the key is named.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        if self.steps == 0 || self.epoch == 0 || self.meta_batch == 0 {
            return wrong("train.steps", "steps, epoch and meta_batch must be at least 1");
        }
        if self.shots == 0 {
            return wrong("train.shots", "at least 1 support picture a class");
        }
        if self.validation_episodes == 0 {
            return wrong("train.validation_episodes", "at least 1 episode");
        }
        if !(self.rate > 0.0 && self.rate <= 10.0) {
            return wrong("train.rate", "must be above 0 and at most 10");
        }
        Ok(())
    }

    /// Validations in all.
    pub fn epochs(&self) -> usize {
        self.steps.div_ceil(self.epoch).max(1)
    }

    /// The optimiser.
    pub fn optimizer(&self) -> ModuleOptimizer {
        match self.optimizer {
            OptimizerConfig::Adam => AdamConfig::new().with_epsilon(1e-8).init(),
            OptimizerConfig::Sgd => SgdConfig::new().init(),
            OptimizerConfig::Momentum => SgdConfig::new()
                .with_momentum(Some(burn::optim::momentum::MomentumConfig {
                    momentum: 0.9,
                    dampening: 0.0,
                    nesterov: false,
                }))
                .with_weight_decay(Some(burn::optim::decay::WeightDecayConfig { penalty: 5e-4 }))
                .init(),
        }
    }

    /// The lengths of the steps.
    ///
    /// # Errors
    /// If a number is out of range.
    pub fn schedule(&self) -> Result<ModuleLrScheduler> {
        let rate = self.rate;
        let made = match self.schedule {
            Schedule::Constant => Ok(ModuleLrScheduler::new(rate)),
            Schedule::Linear => {
                let last = rate * 1e-6;
                LinearLrSchedulerConfig::new(rate, last, self.steps.max(1)).init()
            }
            Schedule::Halve(every) => {
                StepLrSchedulerConfig::new(rate, every).with_gamma(0.5).init()
            }
        };
        made.map_err(|text| Error::config(text).at_key("train.schedule"))
    }
}

impl LearningRecipe {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// If a number is out of range; the key is named.
    fn check(&self) -> Result<()> {
        let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
        let Episodes { ways, shots, queries, episodes, .. } = &self.protocol;
        if ways.all().is_empty() || shots.all().is_empty() {
            return wrong("protocol.ways", "give at least one number of ways and of shots");
        }
        if shots.all().contains(&0) || *queries == 0 {
            return wrong("protocol.shots", "shots and queries must be at least 1");
        }
        if *episodes == 0 {
            return wrong("protocol.episodes", "at least 1 episode");
        }
        let frozen = matches!(&self.network, NetworkConfig::Encoder(encoder) if encoder.frozen);
        if self.bf16 && !frozen {
            return wrong("bf16", "only frozen encoders multiply in bf16, and this network learns");
        }
        if self.data.size()[0] == 0 {
            return wrong("data.size", "pictures need at least 1 pixel");
        }
        match &self.train {
            Some(train) => train.check(),
            None => Ok(()),
        }
    }
}
