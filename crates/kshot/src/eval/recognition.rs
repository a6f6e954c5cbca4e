//! Accuracy of few-shot recognition over episodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::softmax;
use rayon::prelude::*;

use super::{Evaluation, Progress};
use crate::data::batch::{Episode, EpisodeSource};
use crate::data::classes::tasks::Shape;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::method::episodic::FewShot;
use crate::metric::calibration::Calibration;
use crate::metric::interval::Estimate;
use crate::train::experiment::{Experiment, load};
use crate::train::learning::{AnyRecipe, LearningRecipe, PROTOCOL};

/// How a recipe is evaluated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// A run's folder or a file of weights.
    pub model: Option<&'a Path>,
    /// At most this many episodes, to see that all is in place.
    pub smoke: Option<usize>,
}

/// Evaluates a recipe on every shape that it names; each on the same list of episodes whatever the
/// method.
///
/// # Errors
/// If the data are missing or too small, or there are no weights for a network that needs some.
pub fn run(
    recipe: &LearningRecipe,
    device: &Device,
    options: Options,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    if options.model.is_none() && recipe.train.is_some() && options.smoke.is_none() {
        return Err(Error::config(
            "this recipe is trained first: run `kshot train RECIPE --out RUN`, then `kshot eval \
             RECIPE --model RUN`",
        ));
    }
    let experiment = Experiment::new(recipe, device)?;
    let learner = match options.model {
        Some(from) => load(experiment.learner.clone(), from)?,
        None => experiment.learner.clone(),
    };
    let learner = learner.valid();
    let protocol = &recipe.protocol;
    let episodes = protocol.episodes.min(options.smoke.unwrap_or(usize::MAX));
    let shapes: Vec<Shape> = protocol
        .ways
        .all()
        .iter()
        .flat_map(|&ways| protocol.shots.all().iter().map(move |&shots| (ways, shots)))
        .map(|(ways, shots)| Shape { ways, shots, queries: protocol.queries })
        .collect();
    let mut result =
        Evaluation::new(PROTOCOL, protocol.seed, AnyRecipe::Learning(Box::new(recipe.clone())));
    result.transductive = learner.is_transductive();
    let done = AtomicUsize::new(0);
    let total = episodes * shapes.len();
    for (place, shape) in shapes.iter().enumerate() {
        let tasks = experiment.tasks(protocol.part, *shape, protocol.seed)?;
        let answers: Vec<(f64, Vec<(f32, bool)>)> = (0..episodes as u64)
            .into_par_iter()
            .map(|index| {
                let episode = tasks.episode(index, device)?;
                let answers = answers(&learner.predict(&episode), &episode);
                let right = answers.iter().filter(|(_, right)| *right).count();
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                on_progress(Progress { done, total });
                Ok((right as f64 / answers.len() as f64, answers))
            })
            .collect::<Result<_>>()?;
        let accuracy = Estimate::of(&answers.iter().map(|of| of.0).collect::<Vec<f64>>());
        let mut calibration = Calibration::default();
        for (confidence, right) in answers.iter().flat_map(|of| &of.1) {
            calibration.add_one(*confidence, *right);
        }
        let ece = Estimate { mean: calibration.ece(), ci95: None, n: episodes };
        let (ways, shots) = (shape.ways, shape.shots);
        if place == 0 {
            result.metrics.insert("accuracy".to_owned(), accuracy);
            result.metrics.insert("ece".to_owned(), ece);
            result.reliability = calibration.curve();
        }
        if shapes.len() > 1 {
            result.metrics.insert(format!("accuracy_{ways}way_{shots}shot"), accuracy);
        }
        result.per_fold.insert(
            format!("{ways}-way {shots}-shot"),
            BTreeMap::from([("accuracy".to_owned(), accuracy.mean), ("ece".to_owned(), ece.mean)]),
        );
    }
    result.smoke = options.smoke.is_some();
    result.seconds = started.elapsed().as_secs_f64();
    Ok(result)
}

/// For each query the probability of the answer given, 0 to 1, and whether it is right.
fn answers(scores: &Tensor<2>, episode: &Episode<1>) -> Vec<(f32, bool)> {
    let [queries, ways] = scores.dims();
    let probabilities: Vec<f32> = softmax(scores.clone(), 1).into_data().iter::<f32>().collect();
    let labels: Vec<i64> = episode.query.labels.to_data().iter::<i64>().collect();
    (0..queries)
        .map(|query| {
            let row = &probabilities[query * ways..][..ways];
            let best = (0..ways).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
            (row[best], best as i64 == labels[query])
        })
        .collect()
}
