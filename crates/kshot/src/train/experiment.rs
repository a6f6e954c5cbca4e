//! A recipe made real: data read, network and method set up, weights loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;

use crate::data::classes::split::{Part, Splits};
use crate::data::classes::tasks::{Shape, Tasks};
use crate::error::{Error, Result};
use crate::method::learner::{Learner, Setting};
use crate::recipe::input::Input;
use crate::recipe::learning::LearningRecipe;
use crate::train::checkpoint;
use crate::train::run::{Session, training};

/// The weights that a finished training leaves in its folder.
pub const MODEL: &str = "model.bpk";
/// The folder of checkpoints in a run's folder.
pub const CHECKPOINTS: &str = "checkpoint";

/// Data and model of a recipe.
pub struct Experiment {
    /// The recipe.
    pub recipe: LearningRecipe,
    /// The classes.
    pub splits: Splits,
    /// The method with its parameters.
    pub learner: Learner,
    /// Where it runs; without autodiff.
    pub device: Device,
}

impl Experiment {
    /// Reads the data and sets up the method, with random parameters by the recipe's seed, on the
    /// autodiff side of a device.
    ///
    /// # Errors
    /// If data, network and method are missing or do not go together.
    pub fn new(recipe: &LearningRecipe, device: &Device) -> Result<Self> {
        let input = Input::of(recipe, device)?;
        let shape = input.shape();
        let splits = recipe.data.read(input)?;
        let learner = learner(recipe, shape, splits.train.classes.len(), device)?;
        Ok(Self { recipe: recipe.clone(), splits, learner, device: device.clone() })
    }

    /// Episodes of a shape from a part of the classes.
    ///
    /// # Errors
    /// If the part has too few classes, or a class too few pictures.
    pub fn tasks(&self, part: Part, shape: Shape, seed: u64) -> Result<Tasks> {
        Tasks::new(Arc::new(self.splits.part(part)?.clone()), shape, seed)
    }

    /// Its training.
    ///
    /// # Errors
    /// If the recipe trains nothing, or the classes do not fit its episodes.
    pub fn session(self) -> Result<Session<Learner, 1>> {
        let recipe = &self.recipe;
        let training = training(recipe.train.as_ref())?.clone();
        let shape = Shape { ways: training.ways, shots: training.shots, queries: training.queries };
        let tasks = self
            .tasks(Part::Train, shape, training.seed)?
            .with_augmentation(training.augment_support, training.augment_query);
        // Another seed than the protocol's: what is chosen on is not what is reported.
        let chosen_on = self.tasks(Part::Validation, self.shape(), !recipe.protocol.seed)?;
        Ok(Session {
            title: format!("{} on {}", recipe.method.name(), recipe.data.title()),
            recipe: as_toml(recipe)?,
            training,
            tasks: Arc::new(tasks),
            chosen_on: Arc::new(chosen_on),
            classes: serde_json::to_value(self.splits.names())
                .map_err(|error| Error::data(format!("the classes cannot be written: {error}")))?,
            counts: [self.splits.train.classes.len(), self.splits.validation.classes.len()],
            learner: self.learner,
            device: self.device,
        })
    }

    /// The protocol's first shape.
    pub fn shape(&self) -> Shape {
        let protocol = &self.recipe.protocol;
        Shape {
            ways: protocol.ways.first(),
            shots: protocol.shots.first(),
            queries: protocol.queries,
        }
    }
}

/// A recipe as it is written down.
pub(super) fn as_toml(recipe: &impl serde::Serialize) -> Result<String> {
    toml::to_string(recipe)
        .map_err(|error| Error::config(format!("the recipe cannot be written as TOML: {error}")))
}

/// The method of a recipe with random parameters, on the autodiff side of a device; `shape` is what
/// [`Input::shape`] says.
///
/// # Errors
/// If network and method do not go together.
pub fn learner(
    recipe: &LearningRecipe,
    [channels, height, width]: [usize; 3],
    classes: usize,
    device: &Device,
) -> Result<Learner> {
    let seed = recipe.train.as_ref().map_or(recipe.protocol.seed, |train| train.seed);
    device.seed(seed);
    let device = device.clone().autodiff();
    let network = recipe.network.init(channels, &device)?;
    let size = [height, width];
    let ways = recipe.protocol.ways.first();
    recipe.method.init(Setting { network, channels, size, ways, classes, device })
}

/// Loads weights: of a run's folder, finished or not, or of a file; of Relation Networks also the two
/// published files, `ENCODER,RELATION`.
///
/// # Errors
/// If there are none, or they are of another network or method.
pub fn load(learner: Learner, from: &Path) -> Result<Learner> {
    // Two files, of Relation Networks as published.
    if let Some((encoder, relation)) = from.to_str().and_then(|text| text.split_once(',')) {
        let Learner::RelationNetworks(learner) = learner else {
            return Err(Error::config(
                "two files of weights, separated by a comma, are for relation-networks",
            ));
        };
        let learner = learner.with_published(Path::new(encoder), Path::new(relation))?;
        return Ok(Learner::RelationNetworks(learner));
    }
    from_run(learner, from)
}

/// Loads the weights of a run's folder, finished or not, or of a file.
///
/// # Errors
/// If there are none, or they are of another network or method.
pub fn from_run<L: Module>(learner: L, from: &Path) -> Result<L> {
    let path = weights_of(from)?;
    learner.try_load_file(&path).map_err(|error| {
        Error::weights(format!(
            "these weights do not fit the recipe's network and method: {error}; evaluate with the \
             recipe.toml that lies beside them"
        ))
        .in_file(path)
    })
}

/// The file that holds the weights of a run, or the file itself.
///
/// # Errors
/// If there is none.
pub fn weights_of(from: &Path) -> Result<PathBuf> {
    if from.is_file() {
        return Ok(from.to_owned());
    }
    let finished = from.join(MODEL);
    if finished.is_file() {
        return Ok(finished);
    }
    let folder = from.join(CHECKPOINTS);
    match checkpoint::newest(&folder) {
        Some(epoch) => Ok(checkpoint::file(&folder, "model", epoch)),
        None => Err(Error::weights(
            "no weights here: expected model.bpk or checkpoint/model-*.bpk; train first with \
             `kshot train RECIPE --out RUN`",
        )
        .in_file(from)),
    }
}
