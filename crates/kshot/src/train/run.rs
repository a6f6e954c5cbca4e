//! Training on burn-train: its loop, dashboard and checkpoints; our items, gradients and curve.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::Device;
use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use burn::train::renderer::MetricsRenderer;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, SupervisedTraining};
use kshot_data::atomic;
use kshot_data::lock::Lock;

use super::checkpoint::{self, Checkpoints, WholeFiles};
use super::curve::{Curve, CurvePoint, EarlyEnd, Rules};
use super::devices;
use super::layers::Layers;
use super::load::{self, CHECKPOINTS, MODEL, RECIPE};
use super::loader::ItemLoader;
use super::pack;
use super::points::{OnPoint, Points};
use super::quiet::NoLog;
use super::session::Session;
use super::step::StepPlan;
use super::trainee::{Changes, ItemMetrics, Trainee, TrainingTally};
use crate::contract::Objective;
use crate::error::{Error, ErrorKind, Result};
use crate::metric;

/// What people see of a training while it runs.
pub enum TrainView {
    /// burn-train's dashboard, on a terminal.
    Dashboard,
    /// This is told of each validation, with how many there are in all.
    Points(OnPoint),
}

/// What a training gave.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trained {
    /// The metric that chose.
    pub monitor: String,
    /// The validation whose parameters were kept.
    pub best: CurvePoint,
    /// The last validation.
    pub last: CurvePoint,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Why it ended by itself before its last step; none where it took all steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_end: Option<EarlyEnd>,
}

struct LossOf(f64);
struct MonitoredOf(f64);

impl Adaptor<LossOf> for ItemMetrics {
    fn adapt(&self) -> LossOf {
        LossOf(self.loss)
    }
}

impl Adaptor<MonitoredOf> for ItemMetrics {
    fn adapt(&self) -> MonitoredOf {
        MonitoredOf(100.0 * self.monitored)
    }
}

/// A mean over items, for the dashboard.
macro_rules! mean_metric {
    ($metric:ident, $input:ident, $unit:expr) => {
        #[derive(Clone)]
        struct $metric(MetricName, bool, NumericMetricState);

        impl $metric {
            fn new(name: &str, higher_is_better: bool) -> Self {
                Self(Arc::new(name.to_owned()), higher_is_better, NumericMetricState::default())
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
                NumericAttributes { unit: $unit, higher_is_better: self.1 }.into()
            }

            fn update(
                &mut self,
                item: &$input,
                _: &MetricMetadata,
            ) -> std::result::Result<SerializedEntry, TensorReadError> {
                self.2.update(item.0, 1);
                Ok(self.2.compute_update(self.format()))
            }

            fn compute(&mut self) -> std::result::Result<SerializedEntry, TensorReadError> {
                Ok(self.2.compute_final(self.format()))
            }

            fn clear(&mut self) {
                self.2.reset();
            }
        }

        impl Numeric for $metric {
            fn value(&self) -> Option<NumericEntry> {
                Some(self.2.current_value())
            }

            fn running_value(&self) -> Option<NumericEntry> {
                Some(self.2.running_value())
            }

            fn final_value(&self) -> NumericEntry {
                self.2.final_value()
            }
        }
    };
}

mean_metric!(MeanLoss, LossOf, None);
mean_metric!(MeanMonitored, MonitoredOf, Some("%".to_owned()));

/// How a training is run.
pub struct TrainRunOptions {
    /// Forgets what is in the folder.
    pub force: bool,
    /// What people see.
    pub view: TrainView,
    /// Validations of this call; the rest is for another. All by default.
    pub at_most: Option<usize>,
    /// Seconds that training may take in all, earlier calls with it: it ends with the validation after which another
    /// would be too late. Unbounded by default.
    pub seconds: Option<f64>,
    /// Stopped from outside: the loop ends after the step at hand.
    pub interrupter: Interrupter,
}

/// Trains in a folder: goes on from its last whole checkpoint if there is one, else (or with `force`) starts. The
/// folder is left with `recipe.toml`, `classes.txt` or `classes.json`, `metrics.jsonl`, `previews/`, `checkpoint/` and,
/// at the end, `model.bpk`: the parameters of the best validation. One training at a time writes into it.
///
/// A checkpoint that was spoilt is passed over for the one before it ([`damaged`] tells), and points of the curve after
/// that go.
///
/// # Errors
/// If another process trains there, the folder is of another recipe, an item cannot be made, the monitored metric is
/// none, or writing fails.
pub fn train<O: Objective>(
    session: Session<O>,
    out: &Path,
    options: TrainRunOptions,
) -> Result<Trained> {
    train_on(session, &[], out, options)
}

/// As [`train`] on the session's device and others besides: each takes an equal share of every batch, and a step goes
/// by the mean of their gradients ([`devices`]).
///
/// # Errors
/// As [`train`], or if a batch cannot be cut into as many shares.
pub fn train_on<O: Objective>(
    mut session: Session<O>,
    others: &[Device],
    out: &Path,
    options: TrainRunOptions,
) -> Result<Trained> {
    let shares = 1 + others.len();
    session.source = devices::shared(session.source, shares, session.training.batch)?;
    let training = &session.training;
    let monitor =
        training.monitor.clone().unwrap_or_else(|| session.objective.monitor().to_owned());
    metric::check_name(&monitor)?;
    let folder = out.join(CHECKPOINTS);
    let (_lock, from) = prepare(&session.recipe, &session.notes, out, &folder, options.force)?;
    let tally = TrainingTally::default();
    let rules = Rules { monitor: monitor.clone(), tally: tally.clone(), seconds: options.seconds };
    let start = from.unwrap_or(0);
    let curve = Curve::open(out, start, training, rules)?;
    if curve.points().last().map_or(0, |point| point.number) != start {
        return Err(Error::data(format!(
            "it does not reach checkpoint {start}, from which training would go on; --force starts anew"
        ))
        .in_file(out.join("metrics.jsonl")));
    }
    let all = training.validations();
    let validations = options.at_most.map_or(all, |most| all.min(start + most));
    let goes_on = start < validations && curve.early_end().is_none();
    let (template, mut interrupted) = if goes_on {
        let parts = TrainingParts {
            folder: &folder,
            from,
            validations,
            monitor: &monitor,
            curve: &curve,
            tally,
            others,
        };
        parts.launch(session, out, options)?
    } else {
        (session.objective, false)
    };
    interrupted |= validations < all && curve.early_end().is_none();
    if let Some(error) = curve.failure() {
        return Err(error);
    }
    finish(template, &curve, out, &folder, monitor, interrupted)
}

/// What burn-train's loop is given beside the session.
struct TrainingParts<'a> {
    folder: &'a Path,
    from: Option<usize>,
    /// The last validation of this call.
    validations: usize,
    monitor: &'a str,
    curve: &'a Curve,
    tally: TrainingTally,
    /// Devices besides the session's.
    others: &'a [Device],
}

impl TrainingParts<'_> {
    /// Runs the loop. The objective comes back, and whether it was stopped.
    fn launch<O: Objective>(
        self,
        session: Session<O>,
        out: &Path,
        options: TrainRunOptions,
    ) -> Result<(O, bool)> {
        let Self { folder, from, validations, monitor, curve, tally, others } = self;
        let TrainRunOptions { view, interrupter, seconds, .. } = options;
        let (train, start) = (&session.training, from.unwrap_or(0));
        let trainee = Trainee::new(session.objective, tally, session.precision)
            .with_monitor(monitor)
            .with_validation_items(session.validation_items)
            .with_average(train.ema);
        // burn-train panics over parameters that do not fit.
        let trainee = match from {
            Some(from) => pack::read_to_go_on(trainee, &checkpoint::file(folder, "model", from))?,
            None => trainee,
        };
        // Parameters have the names now that the checkpoint's have.
        let layers = Layers::of(session.layers, &trainee.objective)?;
        let schedule = layers.schedule(train)?;
        let shares = 1 + others.len();
        let plan = StepPlan::of(train, layers).with_shares(shares);
        let trainee = trainee.with_plan(plan, start * train.validate_every);
        if let Some(changes) = &session.changes {
            changes.begin(&trainee.objective, out, start)?;
        }
        let changes = Changes::new(session.changes, train.validate_every, interrupter.clone());
        let trainee = trainee.with_changes(changes.clone());
        let best = curve.best().map(|point| point.number);
        let checkpoints = Checkpoints::open(folder, start, best)?;
        let [model, optim, scheduler] = checkpoints.writers();
        let device = session.device.clone().autodiff();
        let [items, all] = [train.validate_every.min(train.steps), train.steps]
            .map(|steps| steps * train.accumulate * shares);
        let items = ItemLoader::training(session.source, items, start, &device)?;
        let items = items.among(shares).until(all);
        let judged =
            ItemLoader::fixed(session.validation, session.validation_items, &session.device)?;
        let monitored = || MeanMonitored::new(monitor, metric::higher_is_better(monitor));
        let mut supervised =
            SupervisedTraining::<Trainee<O>>::new(out, Arc::new(items), Arc::new(judged))
                .with_training_strategy(devices::strategy(device, others).into())
                .with_application_logger(None)
                .with_metric_logger(NoLog)
                .with_interrupter(interrupter.clone())
                .with_custom_checkpointers::<WholeFiles, WholeFiles, WholeFiles>(
                    model, optim, scheduler,
                )
                .with_checkpointing_strategy(curve.clone())
                .metric_train_numeric(MeanLoss::new("loss", false))
                .metric_valid_numeric(MeanLoss::new("loss", false))
                .metric_train_numeric(monitored())
                .metric_valid_numeric(monitored())
                .num_epochs(validations)
                .renderer(renderer(view, curve, &interrupter, from, train.validations()));
        if train.patience.is_some() || seconds.is_some() {
            supervised = supervised.early_stopping(curve.clone());
        }
        if train.accumulate > 1 {
            supervised = supervised.grads_accumulation(train.accumulate);
        }
        if let Some(number) = from {
            supervised = supervised.checkpoint(number);
        }
        let learner = burn::train::Learner::new(trainee, train.optimizer.init(), schedule);
        let result = supervised.launch(learner);
        if let Some(error) = checkpoints.failure().or_else(|| changes.failure()) {
            return Err(error);
        }
        if let Some(error) = result.error {
            return Err(Error::data(format!("training failed: {error}")));
        }
        Ok((result.model.objective, result.interrupted.is_some()))
    }
}

/// A line on each of the last checkpoints of a run's folder that is not whole, with where a training goes on.
///
/// # Errors
/// If one is there and may not be read.
pub fn damaged(out: &Path) -> Result<Vec<String>> {
    Ok(checkpoint::newest(&out.join(CHECKPOINTS))?.told())
}

/// The folder of a run, made or checked, and the checkpoint to go on from. Nobody else may write into it until the
/// lock is dropped.
fn prepare(
    written: &str,
    notes: &[(String, String)],
    out: &Path,
    folder: &Path,
    force: bool,
) -> Result<(Lock, Option<usize>)> {
    let lock = Lock::of_folder(out)?;
    if force && folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(|error| Error::io("remove the old checkpoints", folder, error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| atomic::write_error(folder, error))?;
    let file = out.join(RECIPE);
    let from = checkpoint::newest(folder)?.epoch;
    if from.is_some() {
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        if before != written {
            return Err(Error::config(
                "this folder holds a training by another recipe; give another --out, or --force to \
                 start anew",
            )
            .in_file(out));
        }
    }
    atomic::write_durable(&file, written.as_bytes())?;
    for (name, text) in notes {
        atomic::write_durable(out.join(name), text.as_bytes())?;
    }
    Ok((lock, from))
}

fn renderer(
    view: TrainView,
    curve: &Curve,
    interrupter: &Interrupter,
    from: Option<usize>,
    validations: usize,
) -> Box<dyn MetricsRenderer> {
    match view {
        TrainView::Dashboard => Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), from)),
        TrainView::Points(on_point) => Box::new(Points::new(curve.clone(), validations, on_point)),
    }
}

/// Keeps the best parameters under their final name.
fn finish<O: Objective>(
    template: O,
    curve: &Curve,
    out: &Path,
    folder: &Path,
    monitor: String,
    interrupted: bool,
) -> Result<Trained> {
    let (Some(best), Some(last)) = (curve.best(), curve.points().pop()) else {
        return Err(Error::new(
            ErrorKind::Cancelled,
            "training was stopped before its first checkpoint; nothing is kept (a smaller \
             train.validate_every leaves checkpoints sooner)",
        )
        .in_file(out));
    };
    if !interrupted {
        if let Some(damaged) = checkpoint::fault(folder, best.number)? {
            let others = checkpoint::file(folder, "model", last.number);
            return Err(Error::weights(format!(
                "{damaged}, and it is the best, of which model.bpk would be made; --force trains anew, or give \
                 --model {} to use the last one",
                others.display()
            ))
            .in_file(folder));
        }
        let kept = load::of_checkpoint(template, &checkpoint::file(folder, "model", best.number))?;
        pack::write(&out.join(MODEL), kept.into_record())?;
    }
    let early_end = curve.early_end().filter(|_| !interrupted);
    Ok(Trained { monitor, best, last, interrupted, early_end })
}
