//! A recipe made real: data read, network and method set up, weights loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;

use super::checkpoint;
use super::learning::LearningRecipe;
use crate::data::classes::split::{Part, Splits};
use crate::data::classes::tasks::{Shape, Tasks};
use crate::error::{Error, Result};
use crate::method::learner::{Learner, Setting};

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
        let splits = recipe.data.read(recipe.network.scaling()?)?;
        let learner = learner(recipe, splits.train.classes.len(), device)?;
        Ok(Self { recipe: recipe.clone(), splits, learner, device: device.clone() })
    }

    /// Episodes of a shape from a part of the classes.
    ///
    /// # Errors
    /// If the part has too few classes, or a class too few pictures.
    pub fn tasks(&self, part: Part, shape: Shape, seed: u64) -> Result<Tasks> {
        Tasks::new(Arc::new(self.splits.part(part)?.clone()), shape, seed)
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

/// The method of a recipe with random parameters, on the autodiff side of a device.
///
/// # Errors
/// If network and method do not go together.
pub fn learner(recipe: &LearningRecipe, classes: usize, device: &Device) -> Result<Learner> {
    let seed = recipe.train.as_ref().map_or(recipe.protocol.seed, |train| train.seed);
    device.seed(seed);
    let device = device.clone().autodiff();
    let channels = recipe.data.channels();
    let network = recipe.network.init(channels, &device)?;
    let size = recipe.data.size();
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
