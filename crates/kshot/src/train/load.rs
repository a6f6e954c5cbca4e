//! The weights of a run.

use std::path::{Path, PathBuf};

use burn::module::Module;

use super::checkpoint;
use super::trainee::{Trainee, TrainingTally};
use crate::contract::Objective;
use crate::error::{Error, Result};
use crate::method::learner::Learner;
use crate::nn::Precision;
use crate::recipe::Recipe;

/// The weights that a finished training leaves in its folder.
pub const MODEL: &str = "model.bpk";
/// The folder of checkpoints in a run's folder.
pub const CHECKPOINTS: &str = "checkpoint";
/// The recipe that a run was trained by, in its folder.
pub const RECIPE: &str = "recipe.toml";

/// Where a run's weights are.
enum LearnerWeights {
    /// An objective's own.
    Finished(PathBuf),
    /// Of a training that is not finished.
    Checkpoint(PathBuf),
}

fn weights(from: &Path) -> Result<LearnerWeights> {
    if from.is_file() {
        return Ok(LearnerWeights::Finished(from.to_owned()));
    }
    let finished = from.join(MODEL);
    if finished.is_file() {
        return Ok(LearnerWeights::Finished(finished));
    }
    let folder = from.join(CHECKPOINTS);
    match checkpoint::newest(&folder) {
        Some(number) => Ok(LearnerWeights::Checkpoint(checkpoint::file(&folder, "model", number))),
        None => Err(Error::weights(
            "no weights here: expected model.bpk or checkpoint/model-*.bpk; train first with \
             `kshot train RECIPE --out RUN`",
        )
        .in_file(from)),
    }
}

/// The file that holds the weights of a run, or the file itself.
///
/// # Errors
/// If there is none.
pub fn weights_of(from: &Path) -> Result<PathBuf> {
    Ok(match weights(from)? {
        LearnerWeights::Finished(path) | LearnerWeights::Checkpoint(path) => path,
    })
}

/// An objective with the weights of a run's folder, finished or not, or of a file.
///
/// # Errors
/// If there are none, or they are of another network or method.
pub fn from_run<O: Objective>(objective: O, from: &Path) -> Result<O> {
    let unfit = |path: &Path, error: &dyn std::fmt::Display| {
        Error::weights(format!(
            "these weights do not fit the recipe's network and method: {error}; use the recipe.toml that \
             lies beside them"
        ))
        .in_file(path)
    };
    match weights(from)? {
        LearnerWeights::Finished(path) => {
            objective.try_load_file(&path).map_err(|error| unfit(&path, &error))
        }
        LearnerWeights::Checkpoint(path) => {
            Trainee::new(objective, TrainingTally::default(), Precision::F32)
                .try_load_file(&path)
                .map(|trainee| trainee.objective)
                .map_err(|error| unfit(&path, &error))
        }
    }
}

/// A method that labels whole pictures with the weights of a run's folder or a file; of Relation Networks also
/// with the two published files, `ENCODER,RELATION`.
///
/// # Errors
/// If there are none, or they are of another network or method.
pub fn learner(learner: Learner, from: &Path) -> Result<Learner> {
    let Some((encoder, relation)) = from.to_str().and_then(|text| text.split_once(',')) else {
        return from_run(learner, from);
    };
    let Learner::RelationNetworks(learner) = learner else {
        return Err(Error::config(
            "two files of weights, separated by a comma, are for relation-networks",
        ));
    };
    let learner = learner.with_published(Path::new(encoder), Path::new(relation))?;
    Ok(Learner::RelationNetworks(learner))
}

/// The recipe that a run was trained by: `recipe.toml` in its folder, or beside its file of weights.
///
/// # Errors
/// If there is none, or it is wrong.
pub fn recipe_of(run: &Path) -> Result<Recipe> {
    let folder = if run.is_file() { run.parent().unwrap_or(Path::new("")) } else { run };
    let file = folder.join(RECIPE);
    if !file.is_file() {
        return Err(Error::config(
            "no recipe.toml here; give the folder that `kshot train --out` left",
        )
        .in_file(run));
    }
    Recipe::read(&file, &[])
}

/// The names of the classes that a run's network tells apart: `classes.txt` in its folder.
///
/// # Errors
/// If there is none.
pub fn classes_of(run: &Path) -> Result<Vec<String>> {
    let folder = if run.is_file() { run.parent().unwrap_or(Path::new("")) } else { run };
    let file = folder.join("classes.txt");
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Error::io("read the classes of the run", &file, error))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
