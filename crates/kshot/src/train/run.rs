//! Training on burn-train: its loop, dashboard and checkpoints; our episodes, gradients and curve.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{ExecutionError, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{
    ExecutionStrategy, InferenceStep, Interrupter, SupervisedTraining, TrainOutput, TrainStep,
};
use kshot_data::atomic;

use crate::contract::episodic::{FewShot, accuracy, cross_entropy, scalar};
use crate::data::batch::{Episode, EpisodeSource};
use crate::error::{Error, Result};
use crate::method::few_shot::panet::{Panet, pixel_cross_entropy_rows};
use crate::method::learner::Learner;
use crate::recipe::learning::Training;
use crate::train::checkpoint::{self, WholeFiles};
use crate::train::curve::{ACCURACY, Curve, LOSS, Point};
use crate::train::experiment::{CHECKPOINTS, MODEL};
use crate::train::lines::Lines;
use crate::train::loader::EpisodeLoader;

/// What people see of a training while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// burn-train's dashboard.
    Dashboard,
    /// A line for each validation.
    Lines,
    /// A JSON line for each validation.
    Json,
    /// Nothing.
    Quiet,
}

/// What a training gave.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trained {
    /// The validation whose parameters were kept.
    pub best: Point,
    /// The last validation.
    pub last: Point,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Loss and accuracy of a step.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    loss: f64,
    accuracy: f64,
    episodes: usize,
}

impl ItemLazy for Outcome {
    fn sync(self) -> std::result::Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// A value and how many episodes it is the mean of.
pub struct MeanInput(f64, usize);

struct LossOf(MeanInput);
struct AccuracyOf(MeanInput);

impl Adaptor<LossOf> for Outcome {
    fn adapt(&self) -> LossOf {
        LossOf(MeanInput(self.loss, self.episodes))
    }
}

impl Adaptor<AccuracyOf> for Outcome {
    fn adapt(&self) -> AccuracyOf {
        AccuracyOf(MeanInput(100.0 * self.accuracy, self.episodes))
    }
}

macro_rules! mean_metric {
    ($metric:ident, $input:ident, $name:expr, $unit:expr, $higher:expr) => {
        #[derive(Clone)]
        struct $metric(MetricName, NumericMetricState);

        impl $metric {
            fn new() -> Self {
                Self(Arc::new($name.to_owned()), NumericMetricState::default())
            }

            fn format(&self) -> FormatOptions {
                FormatOptions::new(self.name()).precision(3)
            }
        }

        impl Metric for $metric {
            type Input = $input;

            fn name(&self) -> MetricName {
                self.0.clone()
            }

            fn attributes(&self) -> MetricAttributes {
                NumericAttributes { unit: $unit, higher_is_better: $higher }.into()
            }

            fn update(
                &mut self,
                item: &$input,
                _: &MetricMetadata,
            ) -> std::result::Result<SerializedEntry, TensorReadError> {
                self.1.update(item.0.0, item.0.1);
                Ok(self.1.compute_update(self.format()))
            }

            fn compute(&mut self) -> std::result::Result<SerializedEntry, TensorReadError> {
                Ok(self.1.compute_final(self.format()))
            }

            fn clear(&mut self) {
                self.1.reset();
            }
        }

        impl Numeric for $metric {
            fn value(&self) -> Option<NumericEntry> {
                Some(self.1.current_value())
            }

            fn running_value(&self) -> Option<NumericEntry> {
                Some(self.1.running_value())
            }

            fn final_value(&self) -> NumericEntry {
                self.1.final_value()
            }
        }
    };
}

mean_metric!(MeanLoss, LossOf, LOSS, None, false);
mean_metric!(MeanAccuracy, AccuracyOf, ACCURACY, Some("%".to_owned()), true);

/// A method that burn-train can train from episodes.
pub trait Trainable<const R: usize>:
    FewShot<R>
    + TrainStep<Input = Vec<Episode<R>>, Output = Outcome>
    + InferenceStep<Input = Vec<Episode<R>>, Output = Outcome>
    + std::fmt::Display
    + 'static
{
}

impl<const R: usize, L> Trainable<R> for L where
    L: FewShot<R>
        + TrainStep<Input = Vec<Episode<R>>, Output = Outcome>
        + InferenceStep<Input = Vec<Episode<R>>, Output = Outcome>
        + std::fmt::Display
        + 'static
{
}

/// A step of any method; the traits are burn-train's, so that they cannot be had by one generic line.
macro_rules! steps {
    ($learner:ty, $rank:literal, $cross_entropy:path) => {
        impl TrainStep for $learner {
            type Input = Vec<Episode<$rank>>;
            type Output = Outcome;

            fn step(&self, episodes: Vec<Episode<$rank>>) -> TrainOutput<Outcome> {
                // Noise that a method draws is the same whether training was interrupted or not.
                if let Some(first) = episodes.first() {
                    let id = first.id;
                    first.query.images.device().seed(id.seed.rotate_left(32) ^ id.index);
                }
                let step = FewShot::step(self, &episodes);
                let accuracy = f64::from(step.accuracy.unwrap_or(f32::NAN));
                let item =
                    Outcome { loss: f64::from(step.loss), accuracy, episodes: episodes.len() };
                TrainOutput { grads: step.gradients, item }
            }
        }

        impl InferenceStep for $learner {
            type Input = Vec<Episode<$rank>>;
            type Output = Outcome;

            fn step(&self, episodes: Vec<Episode<$rank>>) -> Outcome {
                let mut outcome = Outcome { loss: 0.0, accuracy: 0.0, episodes: episodes.len() };
                let share = 1.0 / episodes.len() as f64;
                for episode in &episodes {
                    let scores = self.predict(episode);
                    let labels = &episode.query.labels;
                    outcome.accuracy += share * f64::from(accuracy(&scores, labels));
                    outcome.loss += share * f64::from(scalar(&$cross_entropy(scores, labels)));
                }
                outcome
            }
        }
    };
}

steps!(Learner, 1, cross_entropy);
steps!(Panet, 3, pixel_cross_entropy_rows);

/// What is trained, on what: a recipe made real.
pub struct Session<L, const R: usize> {
    /// Method and data, for people.
    pub title: String,
    /// The recipe as TOML: a folder goes on only with the same.
    pub recipe: String,
    /// How long and by whom.
    pub training: Training,
    /// The method with its parameters, on the autodiff side.
    pub learner: L,
    /// Where training episodes come from.
    pub tasks: Arc<dyn EpisodeSource<R>>,
    /// Where those come from that parameters are chosen on.
    pub chosen_on: Arc<dyn EpisodeSource<R>>,
    /// The names of the classes of each part, written down beside the checkpoints.
    pub classes: serde_json::Value,
    /// How many classes there are to train on, and to choose on.
    pub counts: [usize; 2],
    /// Where it runs; without autodiff.
    pub device: burn::prelude::Device,
}

/// The section of a recipe that says how to train.
///
/// # Errors
/// If it has none.
pub fn training(section: Option<&Training>) -> Result<&Training> {
    section.ok_or_else(|| {
        Error::config(
            "the recipe has no [train] section: there is nothing to train; evaluate it with `kshot \
             eval`",
        )
    })
}

/// How a training is run.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Forgets what is in the folder.
    pub anew: bool,
    /// What people see.
    pub view: View,
    /// Validations of this call; the rest is for another. All by default.
    pub at_most: Option<usize>,
}

/// Trains in a folder: goes on from its last checkpoint if there is one, else (or with
/// `anew`) starts. The folder is left with `recipe.toml`, `classes.json`, `metrics.jsonl`,
/// `checkpoint/` and, at the end, `model.bpk`: the parameters of the best validation.
///
/// # Errors
/// If the folder is of another recipe, an episode cannot be made, or writing fails.
pub fn train<const R: usize, L: Trainable<R>>(
    session: Session<L, R>,
    out: &Path,
    how: How,
) -> Result<Trained> {
    let How { anew, view, at_most } = how;
    let train = &session.training;
    let folder = out.join(CHECKPOINTS);
    prepare(&session.recipe, &session.classes, out, &folder, anew)?;
    let from = checkpoint::newest(&folder);
    let curve = Curve::open(out, from.unwrap_or(0), train.epoch, train.patience)?;
    let start = from.unwrap_or(0);
    let all = train.epochs();
    let epochs = at_most.map_or(all, |most| all.min(start + most));
    let device = session.device.clone().autodiff();
    let mut interrupted = false;
    if start < epochs && !curve.is_stale() {
        let items = [train.meta_batch, train.epoch];
        let loader = EpisodeLoader::training(session.tasks, items, start, &device);
        let judge = (session.chosen_on, train.validation_episodes);
        let judge = EpisodeLoader::fixed(judge.0, judge.1, &session.device);
        let interrupter = Interrupter::new();
        let [model, optim, scheduler] =
            checkpoint::PARTS.map(|part| WholeFiles::new(&folder, part));
        let mut supervised = SupervisedTraining::<L>::new(out, Arc::new(loader), Arc::new(judge))
            .with_training_strategy(ExecutionStrategy::single(device).into())
            .with_application_logger(None)
            .with_interrupter(interrupter.clone())
            .with_custom_checkpointers::<WholeFiles, WholeFiles, WholeFiles>(
                model, optim, scheduler,
            )
            .with_checkpointing_strategy(curve.clone())
            .metric_train_numeric(MeanLoss::new())
            .metric_valid_numeric(MeanLoss::new())
            .metric_train_numeric(MeanAccuracy::new())
            .metric_valid_numeric(MeanAccuracy::new())
            .num_epochs(epochs)
            .renderer(renderer(view, &curve, &interrupter, from));
        if train.patience.is_some() {
            supervised = supervised.early_stopping(curve.clone());
        }
        if let Some(epoch) = from {
            supervised = supervised.checkpoint(epoch);
        }
        let learner =
            burn::train::Learner::new(session.learner, train.optimizer(), train.schedule()?);
        let result = supervised.launch(learner);
        if let Some(error) = result.error {
            return Err(Error::data(format!("training failed: {error}")));
        }
        interrupted = result.interrupted.is_some();
    }
    interrupted |= epochs < all && !curve.is_stale();
    if let Some(error) = curve.failure() {
        return Err(error);
    }
    finish(&curve, out, &folder, interrupted)
}

/// The folder of a run, made or checked.
fn prepare(
    written: &str,
    classes: &serde_json::Value,
    out: &Path,
    folder: &Path,
    anew: bool,
) -> Result<()> {
    if anew && folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(|error| Error::io("remove the old checkpoints", folder, error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| Error::io("make the folder", folder, error))?;
    let file = out.join("recipe.toml");
    if checkpoint::newest(folder).is_some() {
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        if before != written {
            return Err(Error::config(
                "this folder holds a training by another recipe; give another --out, or --force to \
                 start anew",
            )
            .in_file(out));
        }
    }
    atomic::write(&file, written.as_bytes())?;
    let names = serde_json::to_vec_pretty(classes)
        .map_err(|error| Error::data(format!("the classes cannot be written: {error}")))?;
    atomic::write(out.join("classes.json"), &names)
}

fn renderer(
    view: View,
    curve: &Curve,
    interrupter: &Interrupter,
    from: Option<usize>,
) -> Box<dyn MetricsRenderer> {
    match view {
        View::Dashboard => Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), from)),
        View::Lines | View::Json | View::Quiet => Box::new(Lines::new(curve.clone(), view)),
    }
}

/// Keeps the best parameters under their final name.
fn finish(curve: &Curve, out: &Path, folder: &Path, interrupted: bool) -> Result<Trained> {
    let (Some(best), Some(last)) = (curve.best(), curve.points().pop()) else {
        return Err(Error::data(
            "training was stopped before its first checkpoint; nothing is kept (a smaller \
             train.epoch leaves checkpoints sooner)",
        )
        .in_file(out));
    };
    if !interrupted {
        let kept = checkpoint::file(folder, "model", best.epoch);
        let bytes = std::fs::read(&kept)
            .map_err(|error| Error::io("read the best checkpoint", &kept, error))?;
        atomic::write(out.join(MODEL), &bytes)?;
    }
    Ok(Trained { best, last, interrupted })
}

/// What a step costs.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Cost {
    /// Numbers that are learnt.
    pub parameters: usize,
    /// Wall-clock of a step, the median of a few.
    pub seconds: f64,
    /// The most memory that the process has held, 0 where the system does not say.
    pub peak_bytes: u64,
}

/// Takes a few steps without keeping them.
///
/// # Errors
/// If the data do not fit the recipe.
pub fn try_steps<const R: usize, L: Trainable<R>>(session: &Session<L, R>) -> Result<Cost> {
    let device = session.device.clone().autodiff();
    let batch = session.training.meta_batch as u64;
    let mut seconds = Vec::new();
    for step in 0..4 {
        let episodes: Vec<Episode<R>> = (step * batch..(step + 1) * batch)
            .map(|index| session.tasks.episode(index, &device))
            .collect::<Result<_>>()?;
        let started = std::time::Instant::now();
        let result = FewShot::step(&session.learner, &episodes);
        drop(result);
        seconds.push(started.elapsed().as_secs_f64());
    }
    // The first one warms up.
    let mut rest = seconds.split_off(1);
    rest.sort_by(f64::total_cmp);
    let parameters = session.learner.num_params();
    Ok(Cost { parameters, seconds: rest[rest.len() / 2], peak_bytes: peak_bytes() })
}

/// Linux tells it in `/proc`; elsewhere 0.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
