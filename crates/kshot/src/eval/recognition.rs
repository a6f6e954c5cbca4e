//! Accuracy of few-shot recognition over episodes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::softmax;
use rayon::prelude::*;

use crate::contract::{FewShot, ItemSource};
use crate::data::batch::Episode;
use crate::data::classes::tasks::EpisodeShape;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::eval::rows::{AnswerRow, RowTable, Rows, rounded};
use crate::eval::{Confused, Evaluation, Progress};
use crate::metric::calibration::{BINS, bins, grouped_ece};
use crate::metric::interval::Estimate;
use crate::recipe::{Protocol, Recipe};
use crate::train::load;
use crate::train::session::RecognitionSession;

/// Evaluates a recipe with all ways and shots that it names; each on the same list of episodes whatever the
/// method.
///
/// # Errors
/// If the data are missing or too small, or there are no weights for a network that needs some.
pub fn run(
    recipe: &Recipe,
    device: &Device,
    model: Option<&Path>,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let Protocol::FewShotRecognition { ways, shots, queries, episodes, seed, part } =
        &recipe.protocol
    else {
        return Err(Error::config("not a recognition recipe").at_key("protocol.name"));
    };
    let (episodes, seed, part) = (*episodes, *seed, *part);
    let experiment = RecognitionSession::new(recipe, device)?;
    let learner = match model {
        Some(from) => load::learner(experiment.learner.clone(), from)?,
        None => experiment.learner.clone(),
    };
    let learner = learner.valid();
    let shapes: Vec<EpisodeShape> = ways
        .all()
        .iter()
        .flat_map(|&ways| shots.all().iter().map(move |&shots| (ways, shots)))
        .map(|(ways, shots)| EpisodeShape { ways, shots, queries: *queries })
        .collect();
    let mut result = Evaluation::new(recipe);
    result.transductive = learner.is_transductive();
    let done = AtomicUsize::new(0);
    let total = episodes * shapes.len();
    let mut rows = Vec::with_capacity(total);
    for (place, shape) in shapes.iter().enumerate() {
        let tasks = experiment.tasks(part, *shape, seed)?;
        let answers: Vec<(f64, Vec<Answer>, Vec<usize>)> = (0..episodes as u64)
            .into_par_iter()
            .map(|index| {
                let episode = tasks.item(index, device)?;
                let scores = recipe.model.precision.run(|| learner.predict(&episode));
                let answers = answers(&scores, &episode);
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
        let ece = grouped_ece(&judged, seed);
        let (ways, shots) = (shape.ways, shape.shots);
        rows.extend(answers.iter().enumerate().map(|(episode, (accuracy, answers, classes))| {
            AnswerRow {
                ways,
                shots,
                episode,
                classes: classes.clone(),
                right: answers.iter().filter(|answer| answer.right()).count(),
                queries: answers.len(),
                accuracy: rounded(*accuracy),
            }
        }));
        if place == 0 {
            result.metrics.insert("accuracy".to_owned(), accuracy);
            result.metrics.insert("ece".to_owned(), ece);
            result.reliability = bins(&judged.concat(), BINS);
            result.reliability.retain(|bin| bin.count > 0);
            let classes = &experiment.splits.part(part)?.classes;
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
    let classes = experiment.splits.part(part)?.classes.iter().map(|class| class.name.clone());
    let table = RowTable::new(classes.collect(), Vec::new(), rows);
    result.rows = Some(Rows::FewShotRecognition(table));
    Ok(result)
}

/// What was predicted of a query.
struct Answer {
    /// Its probability, 0 to 1.
    confidence: f32,
    /// The way that was predicted, and the way it is of.
    predicted: usize,
    actual: usize,
}

impl Answer {
    fn right(&self) -> bool {
        self.predicted == self.actual
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
            let predicted = (0..ways).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
            Answer { confidence: row[predicted], predicted, actual: labels[query] as usize }
        })
        .collect()
}

/// Confusions that are listed.
const CONFUSED: usize = 20;

/// The most frequent confusions, most frequent first, from each episode's answers and classes.
fn confused<'a>(
    episodes: impl Iterator<Item = (&'a [Answer], &'a [usize])>,
    name: impl Fn(usize) -> String,
) -> Vec<Confused> {
    let mut pairs: BTreeMap<(usize, usize), [usize; 2]> = BTreeMap::new();
    for (answers, classes) in episodes {
        for answer in answers {
            let actual = classes[answer.actual];
            for (way, &other) in classes.iter().enumerate().filter(|(way, _)| *way != answer.actual)
            {
                let [count, opportunities] = pairs.entry((actual, other)).or_default();
                *count += usize::from(way == answer.predicted);
                *opportunities += 1;
            }
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, [count, _])| *count > 0).collect();
    pairs.sort_by_key(|(_, [count, of])| (std::cmp::Reverse(*count), *of));
    pairs.truncate(CONFUSED);
    pairs
        .into_iter()
        .map(|((actual, predicted), [count, opportunities])| Confused {
            actual: name(actual),
            predicted: name(predicted),
            count,
            opportunities,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusions_count_only_episodes_that_held_both() {
        let answer = |actual, predicted| Answer { confidence: 1.0, predicted, actual };
        let first = [answer(0, 1), answer(0, 0), answer(1, 1)];
        let second = [answer(0, 0), answer(1, 0)];
        let episodes = [(&first[..], &[7, 9][..]), (&second[..], &[7, 4][..])];
        let found = confused(episodes.into_iter(), |class| class.to_string());
        let of = |actual: &str, predicted: &str, count, opportunities| Confused {
            actual: actual.into(),
            predicted: predicted.into(),
            count,
            opportunities,
        };
        assert_eq!(found, [of("4", "7", 1, 1), of("7", "9", 1, 2)]);
    }
}
