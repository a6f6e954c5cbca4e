//! A recipe made real: data read, network and method set up, items to train and validate on.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::*;

use super::adapt;
use super::episodes;
use super::input::InputSpec;
use super::layers::LayerPlan;
use super::load;
use super::segmentation;
use super::transfer::{self, Start};
use crate::contract::{AtValidations, Grouped, ItemSource, Objective};
use crate::data::classes::split::{ClassPart, Splits};
use crate::data::classes::tasks::{EpisodeShape, Tasks};
use crate::decoder::Segmenter;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::features::tile::Tiling;
use crate::method::MethodConfig;
use crate::method::adapt::alignment::FeatureAlignment;
use crate::method::episodic::EpisodicSegmenter;
use crate::method::learner::{Learner, LearnerSetting, Learning};
use crate::method::supervised::Supervised;
use crate::method::trained::TrainedConfig;
use crate::nn::Precision;
use crate::nn::lora::LoraPart;
use crate::recipe::{Protocol, Recipe, Training};
use crate::weights::segmenter::DecoderWeights;
use crate::weights::source::{RANDOM, WeightsSource};

/// What is trained, on what.
pub struct Session<O: Objective> {
    /// Method and data, for people.
    pub title: String,
    /// What there is to train and validate on, for people.
    pub about: String,
    /// The recipe as TOML: a folder goes on only with the same.
    pub recipe: String,
    /// How long and by which optimiser.
    pub training: Training,
    /// What is optimised, on the autodiff side.
    pub objective: O,
    /// The items to train on.
    pub source: Arc<dyn ItemSource<O::Item>>,
    /// The items to validate on.
    pub validation: Arc<dyn ItemSource<O::Item>>,
    /// How many of these.
    pub validation_items: usize,
    /// Files that are left beside the checkpoints: name and text.
    pub notes: Vec<(String, String)>,
    /// How convolutions sum.
    pub precision: Precision,
    /// Layers that are frozen for a time, or learn at other rates.
    pub layers: LayerPlan,
    /// What changes at validations besides parameters, where something does.
    pub changes: Option<Arc<dyn AtValidations<O>>>,
    /// Where it runs; without autodiff.
    pub device: Device,
}

/// A session of any of the methods.
pub enum AnySession {
    /// Methods that label whole pictures.
    Learner(Box<Session<Learner>>),
    /// Methods that label pixels from labelled pictures.
    Episodic(Box<Session<EpisodicSegmenter>>),
    /// An encoder and a decoder.
    Supervised(Box<Session<Supervised>>),
    /// The same, with features of unlabelled pictures brought to the labelled ones'.
    FeatureAlignment(Box<Session<FeatureAlignment>>),
}

impl AnySession {
    /// The session of a recipe.
    ///
    /// # Errors
    /// If the recipe trains nothing, or data, network and method are missing or do not go together.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Self> {
        Ok(match &recipe.method {
            MethodConfig::Learner(_) => {
                Self::Learner(Box::new(RecognitionSession::new(recipe, device)?.session()?))
            }
            MethodConfig::Episodic(method) => {
                Self::Episodic(Box::new(episodes::session(recipe, method, device)?))
            }
            MethodConfig::Trained(TrainedConfig::Supervised(_)) => {
                Self::Supervised(Box::new(segmentation::supervised(recipe, device)?))
            }
            MethodConfig::Trained(TrainedConfig::FeatureAlignment(config)) => {
                Self::FeatureAlignment(Box::new(segmentation::aligned(recipe, *config, device)?))
            }
            MethodConfig::Head(config) => {
                return Err(Error::config(format!(
                    "`{}` is fitted to the labelled pictures in seconds and not trained; run `kshot segment`, or \
                     `kshot eval` with this recipe",
                    config.name()
                ))
                .at_key("method.name"));
            }
        })
    }
}

/// Data and method of few-shot recognition.
pub struct RecognitionSession {
    /// The recipe.
    pub recipe: Recipe,
    /// The classes.
    pub splits: Splits,
    /// The method with its parameters.
    pub learner: Learner,
    /// Where it runs; without autodiff.
    pub device: Device,
}

impl RecognitionSession {
    /// Reads the data and sets up the method, with random parameters by the recipe's seed, on the
    /// autodiff side of a device.
    ///
    /// # Errors
    /// If data, network and method are missing or do not go together.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Self> {
        let input = InputSpec::of(recipe, device)?;
        let splits = input.splits(recipe)?;
        let learner = learner(recipe, input.shape(), splits.train.classes.len(), device)?;
        Ok(Self { recipe: recipe.clone(), splits, learner, device: device.clone() })
    }

    /// Episodes of a shape from a part of the classes.
    ///
    /// # Errors
    /// If the part has too few classes, or a class too few pictures.
    pub fn tasks(&self, part: ClassPart, shape: EpisodeShape, seed: u64) -> Result<Tasks> {
        Tasks::new(Arc::new(self.splits.part(part)?.clone()), shape, seed)
    }

    /// The protocol's first ways, shots and queries.
    pub fn shape(&self) -> EpisodeShape {
        match &self.recipe.protocol {
            Protocol::FewShotRecognition { ways, shots, queries, .. } => {
                EpisodeShape { ways: ways.first(), shots: shots.first(), queries: *queries }
            }
            // `Recipe::check` lets these methods stand with no other protocol.
            _ => EpisodeShape { ways: 0, shots: 0, queries: 0 },
        }
    }

    /// Its training.
    ///
    /// # Errors
    /// If the recipe trains nothing, or the classes do not fit its episodes.
    pub fn session(self) -> Result<Session<Learner>> {
        let recipe = &self.recipe;
        let training = recipe.training()?.clone();
        let episodes = training.episodes()?.clone();
        let shape =
            EpisodeShape { ways: episodes.ways, shots: episodes.shots, queries: episodes.queries };
        let parts = &recipe.data.parts;
        let tasks = self
            .tasks(ClassPart::Train, shape, training.seed)?
            .with_transforms(parts.support_transforms.clone(), parts.transforms.clone());
        // Another seed than the protocol's: the validation set is not what is reported.
        let validation =
            self.tasks(ClassPart::Validation, self.shape(), !recipe.protocol.seed())?;
        let names = serde_json::to_string_pretty(&self.splits.names())
            .map_err(|error| Error::data(format!("the classes cannot be written: {error}")))?;
        Ok(Session {
            title: recipe.title(),
            about: format!(
                "{} classes to train on, {} to validate on",
                self.splits.train.classes.len(),
                self.splits.validation.classes.len()
            ),
            recipe: recipe.to_toml()?,
            source: Arc::new(Grouped::new(tasks, training.batch)),
            validation: Arc::new(Grouped::new(validation, 1)),
            validation_items: episodes.validation,
            notes: vec![("classes.json".to_owned(), names)],
            training,
            objective: self.learner,
            precision: recipe.model.precision,
            layers: LayerPlan::default(),
            changes: None,
            device: self.device,
        })
    }
}

/// The method of a recipe with random parameters, on the autodiff side of a device; `shape` is what
/// [`InputSpec::shape`] says.
///
/// # Errors
/// If the recipe has another kind of method, or network and method do not go together.
pub fn learner(
    recipe: &Recipe,
    [channels, height, width]: [usize; 3],
    classes: usize,
    device: &Device,
) -> Result<Learner> {
    let (Protocol::FewShotRecognition { ways, .. }, learning) =
        (&recipe.protocol, learning(recipe)?)
    else {
        return Err(Error::config("not a recipe of few-shot-recognition").at_key("protocol.name"));
    };
    let seed = recipe.train.as_ref().map_or(recipe.protocol.seed(), |train| train.seed);
    device.seed(seed);
    let device = device.clone().autodiff();
    let network = recipe.model.network().init(channels, &device)?;
    let size = [height, width];
    learning.init(LearnerSetting { network, channels, size, ways: ways.first(), classes, device })
}

/// The method of a recipe that labels whole pictures.
///
/// # Errors
/// If the recipe has another kind of method.
pub fn learning(recipe: &Recipe) -> Result<&Learning> {
    match &recipe.method {
        MethodConfig::Learner(learning) => Ok(learning),
        other => Err(Error::config(format!(
            "`{}` labels pixels; give a recipe of few-shot-recognition",
            other.name()
        ))
        .at_key("method.name")),
    }
}

/// The recipe's encoder with weights of its own.
pub(super) fn published(recipe: &Recipe, device: &Device) -> Result<Encoder> {
    let encoder = recipe.model.encoder()?;
    let source = WeightsSource::of(encoder, recipe.model.weights.as_deref())?;
    Ok(source.load(encoder, device)?.0)
}

/// The network of a supervised recipe, its encoder with published weights, its decoder with those of the same file
/// where it holds a fitting one, else with random ones.
///
/// # Errors
/// If the encoder has no weights, or encoder and decoder do not go together.
pub fn supervised(
    recipe: &Recipe,
    classes: usize,
    background: bool,
    device: &Device,
) -> Result<Supervised> {
    Ok(published_start(recipe, classes, background, device)?.0)
}

/// As [`supervised`], with where the decoder's weights are from.
fn published_start(
    recipe: &Recipe,
    classes: usize,
    background: bool,
    device: &Device,
) -> Result<(Supervised, DecoderWeights)> {
    let encoder = recipe.model.encoder()?;
    encoder.check_rgb()?;
    let source = WeightsSource::of(encoder, recipe.model.weights.as_deref())?;
    device.seed(seed_of(recipe));
    let (segmenter, weights) =
        source.load_segmenter(encoder, &recipe.model.decoder, classes + 1, device)?;
    Ok((around(recipe, segmenter, classes, background)?, weights))
}

/// The network that a run kept, whatever else its method trains; on the autodiff side where it was. Classes are counted
/// without background.
///
/// # Errors
/// If the run has no weights, or they are of another network.
pub fn trained(
    recipe: &Recipe,
    run: &Path,
    (classes, background): (usize, bool),
    device: &Device,
) -> Result<Supervised> {
    let empty = supervised(&load::to_fill(recipe, run)?, classes, background, device)?;
    match &recipe.method {
        MethodConfig::Trained(TrainedConfig::FeatureAlignment(config)) => {
            Ok(load::from_run(FeatureAlignment::new(empty, *config), run)?.supervised)
        }
        _ => load::from_run(empty, run),
    }
}

/// The seed of a recipe's random weights.
fn seed_of(recipe: &Recipe) -> u64 {
    recipe.train.as_ref().map_or(recipe.protocol.seed(), |train| train.seed)
}

/// As [`supervised`], or with the weights of the run that the recipe starts from, and what was taken of that.
///
/// # Errors
/// As [`supervised`], or if the run is none or does not fit.
pub fn started(
    recipe: &Recipe,
    classes: &[String],
    background: bool,
    device: &Device,
) -> Result<(Supervised, Option<String>)> {
    let Some(run) = transfer::run_of(recipe) else {
        let (network, decoder) = published_start(recipe, classes.len(), background, device)?;
        let adapts_all = recipe.model.lora.is_some_and(|lora| lora.on == LoraPart::All);
        if adapts_all && matches!(decoder, DecoderWeights::Random(_)) {
            return Err(Error::config(
                "a decoder of random weights has nothing to adapt: start from a run (model.weights), or write on = \
                 \"encoder\"",
            )
            .at_key("model.lora.on"));
        }
        // That a decoder starts at random is usual, and told only where somebody may expect otherwise.
        let given = recipe.model.weights.as_deref().is_some_and(|of| of != Path::new(RANDOM));
        return Ok((network, given.then(|| decoder.to_string())));
    };
    let start = Start::of(run, device)?;
    let encoder = start.encoder(recipe.model.encoder()?, device)?;
    device.seed(seed_of(recipe));
    let segmenter = Segmenter::new(encoder, &recipe.model.decoder, classes.len() + 1, device)?;
    let (segmenter, told) = start.decoder(segmenter, recipe, (classes, background))?;
    Ok((around(recipe, segmenter, classes.len(), background)?, Some(told)))
}

/// A network as it trains.
fn around(
    recipe: &Recipe,
    segmenter: Segmenter,
    classes: usize,
    background: bool,
) -> Result<Supervised> {
    let segmenter = adapt::segmenter(&recipe.model, segmenter, classes + 1)?;
    let normalization = recipe.model.encoder()?.normalization();
    let tiling = Tiling::new(recipe.predict.tile, recipe.predict.overlap);
    let network = Supervised::new(segmenter, recipe.loss.clone(), background, normalization);
    Ok(network.with_tiling(tiling))
}
