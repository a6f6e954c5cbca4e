//! The weights of a run.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::pack;
use crate::contract::Objective;
use crate::error::{Error, Result};
use crate::method::learner::Learner;
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
        let path = from.to_owned();
        return Ok(match is_in_checkpoints(from) {
            true => LearnerWeights::Checkpoint(path),
            false => LearnerWeights::Finished(path),
        });
    }
    let finished = from.join(MODEL);
    if finished.is_file() {
        return Ok(LearnerWeights::Finished(finished));
    }
    let folder = from.join(CHECKPOINTS);
    let newest = checkpoint::newest(&folder)?;
    let before = newest.epoch.map(|number| checkpoint::file(&folder, "model", number));
    if let Some(damaged) = newest.damaged.iter().find(|damaged| damaged.was_whole) {
        let other = match before {
            Some(before) => format!("give {}, which is whole, in its place, or", before.display()),
            None => "no other is whole;".to_owned(),
        };
        let text = format!("{damaged}; {other} go on with `kshot train`, which makes it again");
        return Err(Error::weights(text).in_file(from));
    }
    before.map(LearnerWeights::Checkpoint).ok_or_else(|| {
        Error::weights(
            "no weights here: expected model.bpk or checkpoint/model-*.bpk; train first with \
             `kshot train RECIPE --out RUN`",
        )
        .in_file(from)
    })
}

/// Whether a file of weights is one of the checkpoints of a run.
fn is_in_checkpoints(file: &Path) -> bool {
    let folder = file.parent().and_then(Path::file_name);
    folder.is_some_and(|name| name == CHECKPOINTS)
}

/// The folder of a run, of which a file of weights may be given.
fn folder_of(run: &Path) -> &Path {
    if !run.is_file() {
        return run;
    }
    let levels = if is_in_checkpoints(run) { 2 } else { 1 };
    run.ancestors().nth(levels).unwrap_or(Path::new(""))
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
/// If there are none, they are damaged or no numbers, or they are of another network or method.
pub fn from_run<O: Objective>(objective: O, from: &Path) -> Result<O> {
    match weights(from)? {
        // Adapters have become part of the weights.
        LearnerWeights::Finished(path) => pack::read(objective.materialize(), &path),
        LearnerWeights::Checkpoint(path) => of_checkpoint(objective, &path),
    }
}

/// An objective with the weights of a checkpoint's file; those of the moving average where one was kept, and with
/// adapters made part of the weights.
///
/// # Errors
/// As [`from_run`].
pub(super) fn of_checkpoint<O: Objective>(objective: O, path: &Path) -> Result<O> {
    if let Some(why) = checkpoint::fault_of_model(path)? {
        return Err(Error::weights(format!("this checkpoint is damaged ({why})")).in_file(path));
    }
    let read = pack::read_part(objective, path, &["average", "objective"])?;
    Ok(read.materialize())
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
    let file = folder_of(run).join(RECIPE);
    if !file.is_file() {
        return Err(Error::config(
            "no recipe.toml here; give the folder that `kshot train --out` left",
        )
        .in_file(run));
    }
    Recipe::read(&file, &[])
}

/// The recipe of a run as its network is set up to be filled with the run's weights: with random ones, and as those
/// want it where networks of one name differ in a layer.
///
/// # Errors
/// If there are no weights, or they cannot be read.
pub fn to_fill(recipe: &Recipe, run: &Path) -> Result<Recipe> {
    let names = pack::names(&weights_of(run)?)?;
    Ok(recipe.to_fill(names.iter().map(String::as_str)))
}

/// The names of the classes that a run's network tells apart: `classes.txt` in its folder.
///
/// # Errors
/// If there is none.
pub fn classes_of(run: &Path) -> Result<Vec<String>> {
    let file = folder_of(run).join("classes.txt");
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Error::io("read the classes of the run", &file, error))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}
