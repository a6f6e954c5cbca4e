//! What a training would take, told by a few steps and pictures of it that are not kept.

use std::time::{Duration, Instant};

use burn::data::dataloader::DataLoader;
use burn::module::Module;
use burn::optim::GradientsAccumulator;
use burn::prelude::Device;
use burn::train::{InferenceStep, TrainStep};

use super::layers::Layers;
use super::loader::ItemLoader;
use super::session::Session;
use super::step::StepPlan;
use super::trainee::{Trainee, TrainingTally};
use crate::contract::Objective;
use crate::error::{Error, Result};
use crate::recipe::Training;

/// Steps before any is timed: memory is found, and on a GPU kernels are tuned.
const WARM_UP: usize = 2;
/// Steps that are timed at least.
const LEAST: usize = 3;
/// Steps that are timed at most.
const MOST: usize = 64;
/// Pictures of a validation that are timed at most.
const VALIDATED: usize = 6;

/// What a step costs.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct StepCost {
    /// Trainable parameters.
    pub parameters: usize,
    /// Wall-clock of a step with all that belongs to it: its batch is made ahead on other threads, the optimiser moves
    /// the parameters. The mean of a few in a row.
    pub seconds: f64,
    /// The most memory that the process has held, 0 where the system does not say.
    pub peak_bytes: u64,
}

impl StepCost {
    /// In words, with how long a training would take.
    pub fn told(&self, title: &str, training: &Training) -> String {
        format!(
            "{title}: {} parameters; a step of {} takes {:.3} s, {} steps about {:.0} min; peak memory {:.0} MB",
            self.parameters,
            match training.accumulate {
                1 => format!("a batch of {}", training.batch),
                batches => format!("{batches} batches of {}", training.batch),
            },
            self.seconds,
            training.steps,
            self.seconds * training.steps as f64 / 60.0,
            self.peak_bytes as f64 / 1e6,
        )
    }
}

/// Takes a few steps as a training takes them, for about as long as given, and forgets them.
///
/// # Errors
/// If the data do not fit the recipe.
pub fn of_step<O: Objective>(session: &Session<O>, about: Duration) -> Result<StepCost> {
    let (device, train) = (session.device.clone().autodiff(), &session.training);
    let layers = Layers::of(session.layers, &session.objective)?;
    let mut schedule = layers.schedule(train)?;
    let mut optimizer = train.optimizer.init();
    let mut trainee =
        fresh(session).with_average(train.ema).with_plan(StepPlan::of(train, layers), 0);
    let batches = train.accumulate.max(1);
    let items = (WARM_UP + MOST) * batches;
    let loader = ItemLoader::training(session.source.clone(), items, 0, &device)?;
    let mut items = loader.iter();
    let mut begun = Instant::now();
    let mut timed = 0;
    for step in 0..WARM_UP + MOST {
        if step == WARM_UP {
            waited(&device)?;
            begun = Instant::now();
        }
        let mut sums = GradientsAccumulator::new();
        for item in items.by_ref().take(batches) {
            let item = item.map_err(|error| Error::data(error.to_string()))?;
            sums.accumulate(&trainee, TrainStep::step(&trainee, item).grads);
        }
        trainee = trainee.optimize(&mut optimizer, schedule.step(), sums.grads());
        timed = (step + 1).saturating_sub(WARM_UP);
        if timed >= LEAST && begun.elapsed() >= about {
            break;
        }
    }
    waited(&device)?;
    Ok(StepCost {
        parameters: Module::num_params(&session.objective),
        seconds: begun.elapsed().as_secs_f64() / timed.max(1) as f64,
        peak_bytes: peak_bytes(),
    })
}

/// Seconds of a whole validation, from a few of its pictures.
///
/// # Errors
/// If one cannot be made.
pub fn of_validation<O: Objective>(session: &Session<O>) -> Result<f64> {
    let (device, all) = (&session.device, session.validation_items);
    let trainee = fresh(session).valid();
    let timed = all.min(VALIDATED);
    let loader = ItemLoader::fixed(session.validation.clone(), timed, device)?;
    let begun = Instant::now();
    for item in loader.iter() {
        let item = item.map_err(|error| Error::data(error.to_string()))?;
        InferenceStep::step(&trainee, item);
    }
    waited(device)?;
    Ok(begun.elapsed().as_secs_f64() / timed.max(1) as f64 * all as f64)
}

/// What a session trains, with sums that nobody looks at.
fn fresh<O: Objective>(session: &Session<O>) -> Trainee<O> {
    Trainee::new(session.objective.clone(), TrainingTally::default(), session.precision)
        .with_validation_items(session.validation_items)
}

/// A GPU is told what to do and not waited for.
fn waited(device: &Device) -> Result<()> {
    device.sync().map_err(|error| Error::data(format!("the step failed: {error:?}")))
}

/// Linux tells it in `/proc`; elsewhere 0.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
