//! Accuracy of few-shot recognition over episodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::softmax;
use rayon::prelude::*;

use crate::contract::episodic::FewShot;
use crate::data::batch::{Episode, EpisodeSource};
use crate::data::classes::tasks::Shape;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::eval::{Confusion, Evaluation, Progress};
use crate::metric::interval::Estimate;
use crate::metric::recognition::{BINS, bins, grouped_ece};
use crate::recipe::learning::{AnyRecipe, LearningRecipe, PROTOCOL};
use crate::train::experiment::{Experiment, load};

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
        let answers: Vec<(f64, Vec<Answer>, Vec<usize>)> = (0..episodes as u64)
            .into_par_iter()
            .map(|index| {
                let episode = tasks.episode(index, device)?;
                let answers = answers(&learner.predict(&episode), &episode);
                let right = answers.iter().filter(|answer| answer.right()).count();
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                on_progress(Progress { done, total });
                Ok((right as f64 / answers.len() as f64, answers, episode.classes))
            })
            .collect::<Result<_>>()?;
        let accuracy = Estimate::of(&answers.iter().map(|of| of.0).collect::<Vec<f64>>());
        let judged = |of: &(f64, Vec<Answer>, Vec<usize>)| -> Vec<(f32, bool)> {
            of.1.iter().map(|answer| (answer.confidence, answer.right())).collect()
        };
        let judged: Vec<Vec<(f32, bool)>> = answers.iter().map(judged).collect();
        let ece = grouped_ece(&judged, protocol.seed);
        let (ways, shots) = (shape.ways, shape.shots);
        if place == 0 {
            result.metrics.insert("accuracy".to_owned(), accuracy);
            result.metrics.insert("ece".to_owned(), ece);
            result.reliability = bins(&judged.concat(), BINS);
            result.reliability.retain(|bin| bin.count > 0);
            let classes = &experiment.splits.part(protocol.part)?.classes;
            result.confused = confused(answers.iter().map(|of| (&*of.1, &*of.2)), |class| {
                classes[class].name.clone()
            });
        }
        if shapes.len() > 1 {
            result.metrics.insert(format!("accuracy_{ways}way_{shots}shot"), accuracy);
            result.metrics.insert(format!("ece_{ways}way_{shots}shot"), ece);
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

/// What was said of a query.
struct Answer {
    /// Its probability, 0 to 1.
    confidence: f32,
    /// The way said, and the way it is of.
    said: usize,
    is: usize,
}

impl Answer {
    fn right(&self) -> bool {
        self.said == self.is
    }
}

/// The answers to an episode's queries.
fn answers(scores: &Tensor<2>, episode: &Episode<1>) -> Vec<Answer> {
    let [queries, ways] = scores.dims();
    let probabilities: Vec<f32> = softmax(scores.clone(), 1).into_data().iter::<f32>().collect();
    let labels: Vec<i64> = episode.query.labels.to_data().iter::<i64>().collect();
    (0..queries)
        .map(|query| {
            let row = &probabilities[query * ways..][..ways];
            let said = (0..ways).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
            Answer { confidence: row[said], said, is: labels[query] as usize }
        })
        .collect()
}

/// Confusions that are listed.
const CONFUSED: usize = 20;

/// The most frequent confusions, most frequent first, from each episode's answers and classes.
fn confused<'a>(
    episodes: impl Iterator<Item = (&'a [Answer], &'a [usize])>,
    name: impl Fn(usize) -> String,
) -> Vec<Confusion> {
    let mut pairs: BTreeMap<(usize, usize), [usize; 2]> = BTreeMap::new();
    for (answers, classes) in episodes {
        for answer in answers {
            let is = classes[answer.is];
            for (way, &other) in classes.iter().enumerate().filter(|(way, _)| *way != answer.is) {
                let [times, met] = pairs.entry((is, other)).or_default();
                *times += usize::from(way == answer.said);
                *met += 1;
            }
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, [times, _])| *times > 0).collect();
    pairs.sort_by_key(|(_, [times, met])| (std::cmp::Reverse(*times), *met));
    pairs.truncate(CONFUSED);
    pairs
        .into_iter()
        .map(|((is, said), [times, met])| Confusion { is: name(is), said: name(said), times, met })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusions_count_only_episodes_that_held_both() {
        let answer = |is, said| Answer { confidence: 1.0, said, is };
        let first = [answer(0, 1), answer(0, 0), answer(1, 1)];
        let second = [answer(0, 0), answer(1, 0)];
        let episodes = [(&first[..], &[7, 9][..]), (&second[..], &[7, 4][..])];
        let found = confused(episodes.into_iter(), |class| class.to_string());
        let of = |is: &str, said: &str, times, met| Confusion {
            is: is.into(),
            said: said.into(),
            times,
            met,
        };
        assert_eq!(found, [of("4", "7", 1, 1), of("7", "9", 1, 2)]);
    }
}
