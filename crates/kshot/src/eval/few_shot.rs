//! Few-shot segmentation by PANet's protocol (Wang et al., ICCV 2019, arXiv 1908.06391), by its own
//! counting rule or the data set's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::dataset::{Dataset, pixel_counts};
use crate::data::episode::{ClassFolds, DrawnEpisode, EpisodeSampler, fold_classes};
use crate::error::{Error, Result};
use crate::eval::engine::{Engine, EpisodeMethod};
use crate::eval::rows::{
    Counts, EpisodeRow, PictureNames, RowTable, Rows, class_names, rounded, whole,
};
use crate::eval::tally::{RunCounts, count, episode_iou};
use crate::eval::worst::{Panel, WORST, Worst};
use crate::eval::{EvalContext, Evaluation, Progress, extractor, head};
use crate::method::MethodConfig;
use crate::metric::calibration::Calibration;
use crate::metric::confusion::ClassCounts;
use crate::metric::interval::Estimate;
use crate::predict::trained::episodic_network;
use crate::recipe::{Counting, Protocol, Recipe, SupportLabels};

/// The protocol's keys.
struct FewShotSetting<'a> {
    ways: usize,
    shots: usize,
    evaluate: &'a [usize],
    folds: usize,
    split: ClassFolds,
    episodes: usize,
    runs: usize,
    counting: Counting,
    seed: u64,
    labels: SupportLabels,
}

impl<'a> FewShotSetting<'a> {
    fn of(recipe: &'a Recipe) -> Result<Self> {
        let Protocol::FewShotSegmentation {
            ways,
            shots,
            ref evaluate,
            folds,
            split,
            episodes,
            runs,
            counting,
            seed,
            labels,
        } = recipe.protocol
        else {
            return Err(Error::config("not a few-shot recipe").at_key("protocol.name"));
        };
        let unique = evaluate.iter().collect::<BTreeSet<_>>().len() == evaluate.len();
        let known = !evaluate.is_empty() && evaluate.iter().all(|&fold| fold < folds);
        if episodes == 0 || runs == 0 || !unique || !known {
            return Err(Error::config(format!(
                "{runs} runs of {episodes} episodes on folds {evaluate:?} of {folds}: there must be \
                 at least one of each, and folds count from 0, each named once"
            ))
            .at_key("protocol"));
        }
        Ok(Self { ways, shots, evaluate, folds, split, episodes, runs, counting, seed, labels })
    }
}

/// An episode that was evaluated.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ranked {
    fold: usize,
    run: usize,
    index: usize,
    episode: DrawnEpisode,
    iou: f64,
}

/// What an episode gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct EpisodeRecord {
    episode: DrawnEpisode,
    iou: f64,
    counts: Vec<Counts>,
}

/// One run over one fold. A part that was noted without its episodes is played again.
#[derive(Serialize, Deserialize)]
struct FewShotRun {
    tally: RunCounts,
    worst: Vec<Ranked>,
    episodes: Vec<EpisodeRecord>,
}

/// Runs the protocol.
///
/// # Errors
/// If the data cannot be read, a fold has too few pictures, or the method is unknown.
pub fn run(recipe: &Recipe, context: &mut EvalContext) -> Result<Evaluation> {
    let setting = FewShotSetting::of(recipe)?;
    let set = recipe.data.dataset.open_part(recipe.data.test()?)?;
    let pixel_counts = pixel_counts(set.as_ref())?;
    let engine = engine(recipe, context, Arc::clone(&set), setting.labels)?;
    let total = setting.evaluate.len() * setting.runs * setting.episodes;
    let mut done = 0;
    let mut tallies: Vec<Vec<RunCounts>> = Vec::new();
    let mut worst: Vec<Ranked> = Vec::new();
    let mut names = PictureNames::new(set.as_ref(), recipe.data.dataset.root());
    let mut rows = Vec::with_capacity(total);
    for &fold in setting.evaluate {
        let classes = fold_classes(setting.split, set.classes().len(), fold, setting.folds);
        let shape = (setting.ways, setting.shots);
        let source =
            EpisodeSampler::new(&pixel_counts, &classes, set.classes(), shape, setting.seed)?;
        let played = PlayedEpisodes::default();
        let mut of_runs = Vec::with_capacity(setting.runs);
        for run in 0..setting.runs {
            let name = format!("fold {fold}, run {run}");
            let part = match context.finished.get::<FewShotRun>(&name) {
                Some(part) => part,
                None => {
                    let steps = AtomicUsize::new(done);
                    let on_step = || {
                        let done = steps.fetch_add(1, Ordering::Relaxed) + 1;
                        (context.on_progress)(Progress { done, total });
                    };
                    let part = play(&engine, &source, &setting, (fold, run), &played, &on_step)?;
                    context.finished.put(&name, &part)?;
                    part
                }
            };
            done += setting.episodes;
            let of_part = part.episodes.into_iter().enumerate();
            rows.extend(of_part.map(|(index, of)| row(fold, run, index, of, &mut names)));
            of_runs.push(part.tally);
            worst.extend(part.worst);
        }
        tallies.push(of_runs);
    }
    least(&mut worst);
    if !context.draw {
        worst.clear();
    }
    let worst = worst
        .iter()
        .map(|ranked| show(&engine, set.as_ref(), ranked, setting.seed))
        .collect::<Result<_>>()?;
    let mut result = summary(recipe, set.as_ref(), &setting, &tallies);
    result.transductive = engine.is_transductive();
    result.worst = worst;
    let table = RowTable::new(class_names(set.as_ref()), names.names(), rows);
    result.rows = Some(Rows::FewShotSegmentation(table));
    Ok(result)
}

/// An episode's row.
fn row(
    fold: usize,
    run: usize,
    episode: usize,
    of: EpisodeRecord,
    names: &mut PictureNames,
) -> EpisodeRow {
    let DrawnEpisode { classes, support, query } = of.episode;
    EpisodeRow {
        fold,
        run,
        episode,
        classes: classes.into_iter().map(usize::from).collect(),
        support: support.into_iter().map(|picture| names.place(picture)).collect(),
        query: names.place(query),
        iou: rounded(of.iou),
        counts: of.counts,
    }
}

/// The recipe's method.
fn engine(
    recipe: &Recipe,
    context: &EvalContext,
    set: Arc<dyn Dataset>,
    labels: SupportLabels,
) -> Result<Engine> {
    let device = context.device;
    let kind = match &recipe.method {
        MethodConfig::Episodic(_) => {
            EpisodeMethod::Episodic(Box::new(episodic_network(recipe, context.model, device)?))
        }
        _ => EpisodeMethod::of(head(recipe)?, extractor(&recipe.model, device)?),
    };
    Ok(Engine::new(kind, &recipe.predict, set, labels))
}

/// Keeps the worst. The sort is stable: of equals the earlier stays, for any number of threads.
fn least(ranked: &mut Vec<Ranked>) {
    ranked.sort_by(|a, b| a.iou.total_cmp(&b.iou));
    ranked.truncate(WORST);
}

/// What an episode added to the counts.
#[derive(Clone)]
struct Counted {
    counts: Vec<ClassCounts>,
    present: [usize; 256],
    calibration: Calibration,
}

/// The episodes of a fold that were played: where pictures are few the same one is drawn again and
/// again, and its result is the same.
#[derive(Default)]
struct PlayedEpisodes(Mutex<HashMap<EpisodeKey, Arc<Counted>>>);

/// An episode's classes, support and query.
type EpisodeKey = (Vec<u8>, Vec<usize>, usize);

impl PlayedEpisodes {
    fn get(
        &self,
        episode: &DrawnEpisode,
        play: impl FnOnce() -> Result<Counted>,
    ) -> Result<Arc<Counted>> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (episode.classes.clone(), episode.support.clone(), episode.query);
        if let Some(counted) = known().get(&key) {
            return Ok(Arc::clone(counted));
        }
        let counted = Arc::new(play()?);
        known().insert(key, Arc::clone(&counted));
        Ok(counted)
    }
}

fn play(
    engine: &Engine,
    source: &EpisodeSampler,
    setting: &FewShotSetting,
    (fold, run): (usize, usize),
    known: &PlayedEpisodes,
    on_step: &(dyn Fn() + Sync),
) -> Result<FewShotRun> {
    let planes = setting.ways + 1;
    let counted = (0..setting.episodes)
        .into_par_iter()
        .map(|index| {
            let episode = source.get(run, index);
            let counted = known.get(&episode, || {
                let played = engine.play(&episode, setting.seed)?;
                let mut calibration = Calibration::default();
                let predicted = &played.predicted;
                calibration.add(&played.truth, &predicted.mask, &predicted.confidence);
                let counts = count(&played.truth, &predicted.mask, planes)?;
                Ok(Counted { counts, present: played.truth.counts(), calibration })
            })?;
            on_step();
            Ok((episode, counted))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut tally = RunCounts::new(engine.classes());
    let mut worst = Vec::with_capacity(counted.len());
    let mut episodes = Vec::with_capacity(counted.len());
    for (index, (episode, counted)) in counted.into_iter().enumerate() {
        let Counted { counts, present, calibration } = counted.as_ref();
        tally.add(&episode, counts, present, setting.counting);
        tally.calibration.merge(calibration);
        let iou = episode_iou(counts, present);
        let counts = counts.iter().map(whole).collect();
        episodes.push(EpisodeRecord { episode: episode.clone(), iou, counts });
        worst.push(Ranked { fold, run, index, episode, iou });
    }
    least(&mut worst);
    Ok(FewShotRun { tally, worst, episodes })
}

/// An episode again, with its pictures.
fn show(engine: &Engine, set: &dyn Dataset, ranked: &Ranked, seed: u64) -> Result<Worst> {
    let episode = &ranked.episode;
    let played = engine.play(episode, seed)?;
    let mut panels = Vec::with_capacity(episode.support.len() + 3);
    for (place, &picture) in episode.support.iter().enumerate() {
        let prepared = engine.prepare(picture)?;
        let mask = engine.labels(&prepared, episode, place, seed);
        panels.push(Panel::new("support", &prepared.image, Some(&mask))?);
    }
    let query = engine.prepare(episode.query)?;
    panels.push(Panel::new("query", &query.image, None)?);
    panels.push(Panel::new("truth", &query.image, Some(&played.truth))?);
    panels.push(Panel::new("prediction", &query.image, Some(&played.predicted.mask))?);
    let names: Vec<&str> = episode
        .classes
        .iter()
        .map(|&class| set.classes()[usize::from(class) - 1].as_str())
        .collect();
    let title = format!(
        "fold {}, run {}, episode {}: {}",
        ranked.fold,
        ranked.run,
        ranked.index,
        names.join(", ")
    );
    Ok(Worst { title, iou: ranked.iou, panels })
}

fn summary(
    recipe: &Recipe,
    set: &dyn Dataset,
    setting: &FewShotSetting,
    tallies: &[Vec<RunCounts>],
) -> Evaluation {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let over_runs = |of: &dyn Fn(&RunCounts) -> f64| {
        let values: Vec<f64> = (0..setting.runs)
            .map(|run| mean(tallies.iter().map(|fold| of(&fold[run])).collect()))
            .collect();
        Estimate::of(&values)
    };
    let mut result = Evaluation::new(recipe);
    result.metrics = BTreeMap::from([
        ("mean_iou".to_owned(), over_runs(&RunCounts::mean_iou)),
        ("binary_iou".to_owned(), over_runs(&RunCounts::binary_iou)),
        ("ece".to_owned(), over_runs(&|tally| tally.calibration.ece())),
    ]);
    for (&fold, of_runs) in setting.evaluate.iter().zip(tallies) {
        for class in fold_classes(setting.split, set.classes().len(), fold, setting.folds) {
            let mut counts = ClassCounts::default();
            of_runs.iter().for_each(|tally| counts.merge(&tally.classes[usize::from(class)]));
            if let Some(iou) = counts.iou() {
                result.per_class.insert(set.classes()[usize::from(class) - 1].clone(), iou);
            }
        }
        let of = |of: &dyn Fn(&RunCounts) -> f64| mean(of_runs.iter().map(of).collect());
        result.per_fold.insert(
            fold.to_string(),
            BTreeMap::from([
                ("mean_iou".to_owned(), of(&RunCounts::mean_iou)),
                ("binary_iou".to_owned(), of(&RunCounts::binary_iou)),
            ]),
        );
    }
    result
}
