//! The curve of a training: a line for every validation, kept in `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::train::EarlyStoppingStrategy;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use image::RgbImage;
use kshot_data::{atomic, overlay};
use serde::{Deserialize, Serialize};

use super::trainee::TrainingTally;
use crate::error::{Error, Result};
use crate::metric;
use crate::recipe::Training;

/// Pixels between the pictures of a sheet.
const GAP: u32 = 6;

/// One validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Which validation, from 1; the checkpoint has the same number.
    pub number: usize,
    /// Steps taken so far.
    pub step: usize,
    /// Metrics of training since the validation before, by name; rates are 0 to 1.
    pub train: BTreeMap<String, f64>,
    /// Metrics on the validation set, by name; rates are 0 to 1.
    pub validation: BTreeMap<String, f64>,
    /// Wall-clock of training so far, without breaks.
    pub seconds: f64,
}

impl CurvePoint {
    /// A metric on the validation set; the worst there is where it is missing or no number.
    pub fn monitored(&self, name: &str) -> f64 {
        let worst = if metric::higher_is_better(name) { f64::NEG_INFINITY } else { f64::INFINITY };
        self.validation.get(name).copied().unwrap_or(worst)
    }
}

/// All validations so far; burn-train asks it which checkpoints to keep and when to stop, so that a
/// resumed training answers as an uninterrupted one.
#[derive(Debug, Clone)]
pub struct Curve(Arc<Mutex<CurveState>>);

#[derive(Debug)]
struct CurveState {
    file: PathBuf,
    points: Vec<CurvePoint>,
    /// Steps between two validations.
    every: usize,
    steps: usize,
    patience: Option<usize>,
    /// Seconds that training may take in all.
    seconds: Option<f64>,
    /// The metric that decides which is best.
    monitor: String,
    tally: TrainingTally,
    /// Seconds of earlier runs.
    before: f64,
    started: std::time::Instant,
    failed: Option<Error>,
}

impl Curve {
    /// The curve of a run's folder, up to a validation.
    ///
    /// # Errors
    /// If its file is damaged.
    pub fn open(folder: &Path, up_to: usize, training: &Training, rules: Rules) -> Result<Self> {
        let file = folder.join("metrics.jsonl");
        let mut points = if file.is_file() { read(&file)? } else { Vec::new() };
        points.retain(|point| point.number <= up_to);
        let before = points.last().map_or(0.0, |point| point.seconds);
        let (every, steps, patience) = (training.validate_every, training.steps, training.patience);
        let Rules { monitor, tally, seconds } = rules;
        let started = std::time::Instant::now();
        let failed = None;
        let state = CurveState {
            file,
            points,
            every,
            steps,
            patience,
            seconds,
            monitor,
            tally,
            before,
            started,
            failed,
        };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// The validations.
    pub fn points(&self) -> Vec<CurvePoint> {
        self.lock().points.clone()
    }

    /// The best validation by the monitored metric, the first of equals.
    pub fn best(&self) -> Option<CurvePoint> {
        self.lock().best().cloned()
    }

    /// What went wrong while the curve was written.
    pub fn failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    /// Why training ends with the last validation, where steps are left.
    pub fn early_end(&self) -> Option<EarlyEnd> {
        let state = self.lock();
        let (best, last) = (state.best()?, state.points.last()?);
        if last.step >= state.steps {
            return None;
        }
        if state.patience.is_some_and(|patience| last.number - best.number >= patience) {
            return Some(EarlyEnd::Patience);
        }
        let before = state.points.iter().rev().nth(1).map_or(0.0, |point| point.seconds);
        let next = last.seconds + (last.seconds - before);
        state.seconds.is_some_and(|seconds| next > seconds).then_some(EarlyEnd::Time)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CurveState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CurveState {
    fn best(&self) -> Option<&CurvePoint> {
        best(&self.points, &self.monitor)
    }
}

/// The best validation by a metric, the first of equals; where nothing was validated, the last.
pub fn best<'a>(points: &'a [CurvePoint], monitor: &str) -> Option<&'a CurvePoint> {
    let higher = metric::higher_is_better(monitor);
    points.iter().reduce(|best, point| {
        let (now, before) = (point.monitored(monitor), best.monitored(monitor));
        let is_better = if higher { now > before } else { now < before };
        let unknown = [best, point].iter().all(|of| of.validation.is_empty());
        if is_better || unknown { point } else { best }
    })
}

/// What a curve goes by.
pub struct Rules {
    /// The metric that decides which validation is best.
    pub monitor: String,
    /// Where the sums are.
    pub tally: TrainingTally,
    /// Seconds that training may take in all: it ends with the validation after which another would be too late.
    pub seconds: Option<f64>,
}

/// Why a training ended before its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyEnd {
    /// As many validations as `train.patience` says were no better than the best.
    Patience,
    /// The next validation would have been later than the time that was given.
    Time,
}

/// The points of a file.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read(file: &Path) -> Result<Vec<CurvePoint>> {
    let text =
        std::fs::read_to_string(file).map_err(|error| Error::io("read the curve", file, error))?;
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                Error::data(format!("not a line of a curve: {error}")).at_line(file, index + 1)
            })
        })
        .collect()
}

impl CheckpointingStrategy for Curve {
    fn checkpointing(&mut self, number: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        let mut state = self.lock();
        let before = state.best().map(|point| point.number);
        let last = state.points.last().map(|point| point.number);
        let (train, validation, previews) = state.tally.take();
        let seconds = state.before + state.started.elapsed().as_secs_f64();
        let step = (number * state.every).min(state.steps);
        state.points.push(CurvePoint { number, step, train, validation, seconds });
        if let Err(error) = draw(&state.file.with_file_name("previews"), step, &previews) {
            state.failed = Some(error);
        }
        let lines: std::result::Result<Vec<String>, _> =
            state.points.iter().map(serde_json::to_string).collect();
        let written = lines
            .map_err(|error| Error::data(format!("the curve cannot be written: {error}")))
            .and_then(|lines| atomic::write(&state.file, (lines.join("\n") + "\n").as_bytes()));
        if let Err(error) = written {
            state.failed = Some(error);
        }
        // Kept are the last and the best; the one before the last is spared until this one is saved.
        let now = state.best().map(|point| point.number);
        let mut actions = vec![CheckpointingAction::Save];
        if let (Some(before), true) = (before, now != before)
            && Some(before) != last
        {
            actions.push(CheckpointingAction::Delete(before));
        }
        if let Some(old) = number.checked_sub(2).filter(|old| *old > 0)
            && Some(old) != now
        {
            actions.push(CheckpointingAction::Delete(old));
        }
        actions
    }
}

/// Writes the previews of a validation one below the other.
fn draw(folder: &Path, step: usize, previews: &[RgbImage]) -> Result<()> {
    let Some(width) = previews.iter().map(RgbImage::width).max() else { return Ok(()) };
    let height = previews.iter().map(|preview| preview.height() + GAP).sum::<u32>() - GAP;
    let mut sheet = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    let mut top = 0;
    for preview in previews {
        image::imageops::replace(&mut sheet, preview, 0, top);
        top += i64::from(preview.height() + GAP);
    }
    overlay::write(&folder.join(format!("step-{step:06}.jpg")), &sheet)
}

impl EarlyStoppingStrategy for Curve {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        self.early_end().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_best_counts_and_the_last_where_nothing_was_validated() {
        let points = |values: &[f64]| -> Vec<CurvePoint> {
            let point = |(index, value): (usize, &f64)| CurvePoint {
                number: index + 1,
                step: index + 1,
                train: BTreeMap::new(),
                validation: match value.is_nan() {
                    true => BTreeMap::new(),
                    false => BTreeMap::from([("mean_iou".into(), *value), ("loss".into(), *value)]),
                },
                seconds: 0.0,
            };
            values.iter().enumerate().map(point).collect()
        };
        let of = |values: &[f64], monitor| best(&points(values), monitor).map(|best| best.number);
        assert_eq!(of(&[0.1, 0.3, 0.3, 0.2], "mean_iou"), Some(2));
        assert_eq!(of(&[0.1, 0.3, 0.1], "loss"), Some(1));
        assert_eq!(of(&[f64::NAN; 3], "mean_iou"), Some(3));
        assert_eq!(of(&[], "mean_iou"), None);
    }
}
