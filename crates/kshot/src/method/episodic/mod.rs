//! Few-shot segmentation that is meta-trained: an encoder and a head that turns labelled pictures and a query into
//! scores of its pixels, trained on episodes as it is used.
//!
//! # Contract
//! A head sees maps of an encoder, never pictures: the deepest `stages`, finest first, each of unit length over its channels
//! at every place. [`EpisodicHead::task`] makes of the labelled pictures what queries are compared with;
//! [`EpisodicHead::logits`] takes any number of queries, each by itself, and any number of classes and of pictures of a
//! class. What it says of one class against the background must not depend on how many others are asked for, unless they
//! compete for the pixel.
//!
//! # Adding one
//! One file with a configuration that implements [`EpisodicConfig`], and one line in the table at the end of this file.
//! Recipes, training, `kshot eval`, `kshot segment --model` and the registry-wide test read the table.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;

pub mod cross_attention;
pub mod dense_correlation;
pub mod dense_prototypes;
pub mod dense_relation;
pub mod maps;
pub mod meta_encoder_decoder;
pub mod panet;
mod parts;
pub mod prior_guided;
pub mod segmenter;
pub mod stage_fusion;
pub mod transductive_refinement;

pub use maps::{EpisodeMaps, LabelledMaps, Maps, Seen, SegmentationEpisode};
pub use segmenter::EpisodicSegmenter;

/// Sides of the square that make sense, in pixels.
const SIZES: std::ops::RangeInclusive<usize> = 32..=2048;

/// What pictures become before a head sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpisodeInput {
    /// Side of the square that they are resized to, in pixels.
    pub size: usize,
    /// How many of the encoder's deepest stages are used.
    pub stages: usize,
}

/// How a method is configured, as recipes write it.
pub trait EpisodicConfig: Default {
    /// What it makes.
    type Head: EpisodicHead;
    /// Its name on the command line and in recipes.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// The address of the paper.
    const SOURCE: &'static str;
    /// Whether the encoder learns where the recipe's `model.freeze` says nothing.
    const LEARNS_ENCODER: bool = false;
    /// Whether the encoder may learn at all.
    const MAY_LEARN_ENCODER: bool = true;

    /// What pictures become.
    fn input(&self) -> EpisodeInput;

    /// Checks what is its own.
    ///
    /// # Errors
    /// If a number is out of bounds; the key is named.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// A head with random parameters, for maps of so many channels, finest first; the main data set of its training has
    /// so many classes.
    fn init(&self, channels: &[usize], classes: usize, device: &Device) -> Self::Head;
}

/// The part of a method behind the encoder.
pub trait EpisodicHead: Module {
    /// What queries are compared with.
    type Task: Clone + std::fmt::Debug + Send + Sync;

    /// What the labelled pictures say.
    fn task(&self, support: &LabelledMaps) -> Self::Task;

    /// Logits of queries, whose softmax is a probability.
    ///
    /// # Shapes
    /// `query` of `batch` pictures to `[batch, ways + 1, size[0], size[1]]`
    fn logits(&self, task: &Self::Task, query: &Maps, size: [usize; 2]) -> Tensor<4>;

    /// As [`Self::logits`], in training: without what is done at test time alone.
    fn train_logits(&self, task: &Self::Task, query: &Maps, size: [usize; 2]) -> Tensor<4> {
        self.logits(task, query, size)
    }

    /// What is added to the loss of the query's logits in training, `[1]`; nothing by default.
    fn more_loss(&self, _episode: &EpisodeMaps, _logits: &Tensor<4>) -> Option<Tensor<1>> {
        None
    }

    /// The loss and the gradient of some episodes, of a head whose gradient is not that of its logits' loss (an inner
    /// loop); none by default. Such heads stand behind encoders that stay as they are.
    fn step(&self, _episodes: &[EpisodeMaps]) -> Option<HeadStep> {
        None
    }

    /// Whether a pixel's label depends on the other pixels of the query by more than the network's field of view: a
    /// query is fitted at test time.
    fn is_transductive(&self) -> bool {
        false
    }
}

/// What a head with a gradient of its own says of some episodes.
pub struct HeadStep {
    /// The mean loss of their queries.
    pub loss: f64,
    /// The gradient of it, by parameter; without autodiff.
    pub gradients: GradientsParams,
}

/// Makes the enums of all methods from the table at the end of this file.
macro_rules! episodic {
    ($($variant:ident($config:path);)+) => {
        /// Which of these methods, with its own keys, as recipes write it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "kebab-case")]
        pub enum Episodic {
            $(#[doc = concat!("[`", stringify!($config), "`]")] $variant($config),)+
        }

        /// Any of the heads, with its parameters.
        // A program holds one or two of them, whose tensors dwarf the enum.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum AnyHead {
            $(#[doc = concat!("Of [`", stringify!($config), "`]")]
            $variant(<$config as EpisodicConfig>::Head),)+
        }

        /// What the labelled pictures said to one of them.
        #[allow(clippy::large_enum_variant)] // as above
        #[derive(Debug, Clone)]
        pub enum AnyTask {
            $(#[doc = concat!("Of [`", stringify!($config), "`]")]
            $variant(<<$config as EpisodicConfig>::Head as EpisodicHead>::Task),)+
        }

        impl Episodic {
            /// Each with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$config>::default()),)+]
            }

            /// All of them as rows.
            pub fn rows() -> Vec<Row> {
                vec![$(Row {
                    name: <$config>::NAME.to_owned(),
                    summary: <$config>::SUMMARY.to_owned(),
                    source: Some(<$config>::SOURCE.to_owned()),
                },)+]
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$config>::NAME,)+ }
            }

            /// What pictures become.
            pub fn input(&self) -> EpisodeInput {
                match self { $(Self::$variant(config) => config.input(),)+ }
            }

            /// Whether the encoder learns where the recipe's `model.freeze` says nothing.
            pub fn learns_encoder(&self) -> bool {
                match self { $(Self::$variant(_) => <$config>::LEARNS_ENCODER,)+ }
            }

            /// Whether the encoder may learn at all.
            pub fn may_learn_encoder(&self) -> bool {
                match self { $(Self::$variant(_) => <$config>::MAY_LEARN_ENCODER,)+ }
            }

            /// Checks the numbers.
            ///
            /// # Errors
            /// If one is out of bounds; the key is named.
            pub fn check(&self) -> Result<()> {
                let EpisodeInput { size, stages } = self.input();
                let wrong = |key: &str, text: String| {
                    Err(Error::config(text).at_key(format!("method.{key}")))
                };
                if !SIZES.contains(&size) {
                    let (least, most) = (SIZES.start(), SIZES.end());
                    return wrong("size", format!("{size} pixels; valid are {least} to {most}"));
                }
                if stages == 0 {
                    let text = "0 stages; at least 1 of the encoder's is used".to_owned();
                    return wrong("stages", text);
                }
                match self { $(Self::$variant(config) => config.check(),)+ }
            }

            /// A head with random parameters, for maps of so many channels, finest first; the main data set of its
            /// training has so many classes.
            pub fn init(&self, channels: &[usize], classes: usize, device: &Device) -> AnyHead {
                match self {
                    $(Self::$variant(config) => {
                        AnyHead::$variant(config.init(channels, classes, device))
                    })+
                }
            }
        }

        impl EpisodicHead for AnyHead {
            type Task = AnyTask;

            fn task(&self, support: &LabelledMaps) -> AnyTask {
                match self { $(Self::$variant(head) => AnyTask::$variant(head.task(support)),)+ }
            }

            fn logits(&self, task: &AnyTask, query: &Maps, size: [usize; 2]) -> Tensor<4> {
                match (self, task) {
                    $((Self::$variant(head), AnyTask::$variant(task)) => head.logits(task, query, size),)+
                    _ => unreachable!("a task is its head's"),
                }
            }

            fn train_logits(&self, task: &AnyTask, query: &Maps, size: [usize; 2]) -> Tensor<4> {
                match (self, task) {
                    $((Self::$variant(head), AnyTask::$variant(task)) => {
                        head.train_logits(task, query, size)
                    })+
                    _ => unreachable!("a task is its head's"),
                }
            }

            fn more_loss(&self, episode: &EpisodeMaps, logits: &Tensor<4>) -> Option<Tensor<1>> {
                match self { $(Self::$variant(head) => head.more_loss(episode, logits),)+ }
            }

            fn step(&self, episodes: &[EpisodeMaps]) -> Option<HeadStep> {
                match self { $(Self::$variant(head) => head.step(episodes),)+ }
            }

            fn is_transductive(&self) -> bool {
                match self { $(Self::$variant(head) => head.is_transductive(),)+ }
            }
        }
    };
}

// The table: one line per method.
episodic! {
    Panet(panet::PanetConfig);
    DensePrototypes(dense_prototypes::DensePrototypesConfig);
    DenseRelation(dense_relation::DenseRelationConfig);
    CrossAttention(cross_attention::CrossAttentionConfig);
    StageFusion(stage_fusion::StageFusionConfig);
    DenseCorrelation(dense_correlation::DenseCorrelationConfig);
    TransductiveRefinement(transductive_refinement::TransductiveRefinementConfig);
    PriorGuided(prior_guided::PriorGuidedConfig);
    MetaEncoderDecoder(meta_encoder_decoder::MetaEncoderDecoderConfig);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_bounds_are_refused_by_name() {
        assert!(Episodic::all().iter().all(|method| method.check().is_ok()));
        let panet = panet::PanetConfig::default;
        for (config, key) in [
            (panet::PanetConfig { size: 9_999_999, ..panet() }, "size"),
            (panet::PanetConfig { stages: 0, ..panet() }, "stages"),
            (panet::PanetConfig { align: -1.0, ..panet() }, "scale"),
            (panet::PanetConfig { scale: f32::NAN, ..panet() }, "scale"),
        ] {
            let error = Episodic::Panet(config).check().unwrap_err().to_string();
            assert!(error.contains(&format!("method.{key}")), "{error}");
        }
    }
}
