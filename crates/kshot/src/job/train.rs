//! A training by a recipe, or on a person's folder of labelled pictures.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use burn::prelude::Device;
use burn::train::Interrupter;

use crate::contract::Objective;
use crate::device;
use crate::error::Result;
use crate::job::event::{Done, Event, Start};
use crate::job::run_file::Clock;
use crate::job::train_page::CurvePage;
use crate::job::train_report;
use crate::job::watch::Watch;
use crate::recipe::Recipe;
use crate::train::cost::{self, StepCost};
use crate::train::curve::CurvePoint;
use crate::train::devices::shared;
use crate::train::run::{self, TrainRunOptions, TrainView, Trained};
use crate::train::session::{AnySession, Session};

/// How often a running training looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long steps are timed that tell what one costs.
const TIMED: Duration = Duration::from_secs(5);

/// What to train, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// The recipe.
    pub recipe: Recipe,
    /// The run's folder.
    pub out: PathBuf,
    /// Starts anew in the folder.
    pub force: bool,
    /// At most so many validations now; the same options go on another time.
    pub at_most: Option<usize>,
    /// Seconds that training may take in all: it ends with the validation after which another would be too late.
    pub seconds: Option<f64>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`, or several with commas between them: each takes an equal
    /// share of every batch.
    pub device: String,
    /// Files to leave beside the recipe: name and text.
    pub notes: Vec<(String, String)>,
    /// Shows burn-train's dashboard on the terminal in place of telling each validation.
    pub dashboard: bool,
}

impl TrainOptions {
    /// The defaults of `kshot train`.
    pub fn new(recipe: Recipe, out: impl Into<PathBuf>) -> Self {
        let (out, device) = (out.into(), "flex".to_owned());
        let notes = Vec::new();
        Self {
            recipe,
            out,
            force: false,
            at_most: None,
            seconds: None,
            device,
            notes,
            dashboard: false,
        }
    }
}

/// Trains by a recipe: goes on from the folder's last checkpoint if there is one, to the very numbers of a training
/// that was not stopped. Leaves `recipe.toml`, `metrics.jsonl`, `curve.html` (the curve drawn, from the first validation
/// on), `checkpoint/`, for pixels `previews/`, and at the end `model.bpk`, the parameters of the best validation, and of
/// supervised segmentation `report.html`, what these do on the validation pictures.
///
/// # Errors
/// If the recipe trains nothing, data, network and method do not go together, or writing fails.
pub fn train(options: &TrainOptions, watch: &Watch<'_>) -> Result<Trained> {
    let clock = Clock::start();
    let devices = device::parse_all(&options.device)?;
    let (trained, page) = match AnySession::new(&options.recipe, &devices[0])? {
        AnySession::Learner(session) => run_session(*session, &devices, options, watch),
        AnySession::Episodic(session) => run_session(*session, &devices, options, watch),
        AnySession::Supervised(session) => run_session(*session, &devices, options, watch),
        AnySession::FeatureAlignment(session) => run_session(*session, &devices, options, watch),
    }?;
    let report = if options.recipe.method.is_segmenter() {
        Some(train_report::write(options, &page, &trained, &devices[0], watch)?)
    } else {
        None
    };
    let done = Done::Train {
        trained: &trained,
        out: &options.out,
        seconds: clock.seconds(),
        report: report.as_ref().map(|report| report.page.as_path()),
        report_seconds: report.as_ref().map(|report| report.seconds),
    };
    watch.tell(&Event::Done(done));
    Ok(trained)
}

/// What a step of a recipe's training costs: a few are taken and forgotten. With it the training's title.
///
/// # Errors
/// As [`train`].
pub fn cost(recipe: &Recipe, device: &str) -> Result<(String, StepCost)> {
    let devices = device::parse_all(device)?;
    Ok(match AnySession::new(recipe, &devices[0])? {
        AnySession::Learner(session) => (session.title.clone(), step_cost(*session, &devices)?),
        AnySession::Episodic(session) => (session.title.clone(), step_cost(*session, &devices)?),
        AnySession::Supervised(session) => (session.title.clone(), step_cost(*session, &devices)?),
        AnySession::FeatureAlignment(session) => {
            (session.title.clone(), step_cost(*session, &devices)?)
        }
    })
}

/// What a step costs where devices share each batch: as much as the first one's share.
fn step_cost<O: Objective>(mut session: Session<O>, devices: &[Device]) -> Result<StepCost> {
    session.source = shared(session.source, devices.len(), session.training.batch)?;
    cost::of_step(&session, TIMED)
}

fn run_session<O: Objective>(
    mut session: Session<O>,
    devices: &[Device],
    options: &TrainOptions,
    watch: &Watch<'_>,
) -> Result<(Trained, CurvePage)> {
    session.notes.extend(options.notes.iter().cloned());
    let (title, about) = (session.title.clone(), session.about.clone());
    let mut page = CurvePage::new(&session, options);
    watch.tell(&Event::Start(Start::Train {
        title: &title,
        about: &about,
        parameters: page.parameters,
        steps: session.training.steps,
        out: &options.out,
    }));
    if !options.force {
        run::damaged(&options.out)?.iter().for_each(|words| watch.warn(words));
    }
    let interrupter = Interrupter::new();
    let (told, points) = channel::<(CurvePoint, usize)>();
    let view = if options.dashboard {
        drop(told);
        TrainView::Dashboard
    } else {
        // Nobody listens any more only where the training is over.
        TrainView::Points(Box::new(move |point, all| drop(told.send((point.clone(), all)))))
    };
    let how = TrainRunOptions {
        force: options.force,
        view,
        at_most: options.at_most,
        seconds: options.seconds,
        interrupter: interrupter.clone(),
    };
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| run::train_on(session, &devices[1..], &options.out, how));
        // The dashboard tells of points itself, and dropped its sender.
        while !running.is_finished() {
            match points.recv_timeout(LOOK) {
                Ok((point, validations)) => {
                    watch.tell(&Event::Validation { point: &point, validations });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
            }
            page.follow();
            if watch.is_cancelled() {
                interrupter.stop(Some("stopped from outside"));
            }
        }
        for (point, validations) in points.try_iter() {
            watch.tell(&Event::Validation { point: &point, validations });
        }
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    page.end(&outcome)?;
    Ok((outcome?, page))
}

/// The folder of a run by default: `runs/NAME`.
pub fn default_out(name: &Path) -> PathBuf {
    PathBuf::from("runs").join(name.file_stem().unwrap_or_default())
}
