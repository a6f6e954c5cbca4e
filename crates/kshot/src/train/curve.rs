//! The curve of a training: a line for every validation, kept in `metrics.jsonl`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::train::EarlyStoppingStrategy;
use burn::train::checkpoint::{CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::{Aggregate, EventStoreClient, Split};
use kshot_data::atomic;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The metrics' names on the dashboard.
pub const LOSS: &str = "Loss";
/// See [`LOSS`]; 0 to 100.
pub const ACCURACY: &str = "Accuracy";

/// One validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Which, from 1.
    pub epoch: usize,
    /// Steps taken so far.
    pub step: usize,
    /// Mean loss of training since the validation before.
    pub train_loss: f64,
    /// Accuracy of training since then, 0 to 1.
    pub train_accuracy: f64,
    /// Loss on validation episodes.
    pub validation_loss: f64,
    /// Accuracy on validation episodes, 0 to 1.
    pub validation_accuracy: f64,
    /// Wall-clock of training so far, without breaks.
    pub seconds: f64,
}

/// All validations so far; burn-train asks it which checkpoints to keep and when to stop, so that a
/// resumed training answers as an uninterrupted one.
#[derive(Debug, Clone)]
pub struct Curve(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: PathBuf,
    points: Vec<Point>,
    /// Steps an epoch.
    epoch: usize,
    patience: Option<usize>,
    /// Seconds of earlier runs.
    before: f64,
    started: std::time::Instant,
    failed: Option<Error>,
}

impl Curve {
    /// The curve of a run's folder, up to an epoch.
    ///
    /// # Errors
    /// If its file is damaged.
    pub fn open(
        folder: &Path,
        up_to: usize,
        epoch: usize,
        patience: Option<usize>,
    ) -> Result<Self> {
        let file = folder.join("metrics.jsonl");
        let mut points = if file.is_file() { read(&file)? } else { Vec::new() };
        points.retain(|point| point.epoch <= up_to);
        let before = points.last().map_or(0.0, |point| point.seconds);
        let started = std::time::Instant::now();
        let state = State { file, points, epoch, patience, before, started, failed: None };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// The validations.
    pub fn points(&self) -> Vec<Point> {
        self.lock().points.clone()
    }

    /// The epoch of the best validation accuracy, the first of equals.
    pub fn best(&self) -> Option<Point> {
        best(&self.lock().points).cloned()
    }

    /// What went wrong while the curve was written.
    pub fn failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    /// Whether training should stop after the last validation.
    pub fn is_stale(&self) -> bool {
        let state = self.lock();
        let (Some(best), Some(last)) = (best(&state.points), state.points.last()) else {
            return false;
        };
        state.patience.is_some_and(|patience| last.epoch - best.epoch >= patience)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn best(points: &[Point]) -> Option<&Point> {
    points.iter().reduce(|best, point| {
        if point.validation_accuracy > best.validation_accuracy { point } else { best }
    })
}

/// The points of a file.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn read(file: &Path) -> Result<Vec<Point>> {
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
    fn checkpointing(
        &mut self,
        epoch: usize,
        store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        let mut state = self.lock();
        let of = |name: &str, split: &Split| {
            store.find_metric(name, epoch, Aggregate::Mean, split).unwrap_or(f64::NAN)
        };
        let before = best(&state.points).map(|point| point.epoch);
        let last = state.points.last().map(|point| point.epoch);
        let point = Point {
            epoch,
            step: epoch * state.epoch,
            train_loss: of(LOSS, &Split::Train),
            train_accuracy: of(ACCURACY, &Split::Train) / 100.0,
            validation_loss: of(LOSS, &Split::Valid),
            validation_accuracy: of(ACCURACY, &Split::Valid) / 100.0,
            seconds: state.before + state.started.elapsed().as_secs_f64(),
        };
        state.points.push(point);
        let lines: std::result::Result<Vec<String>, _> =
            state.points.iter().map(serde_json::to_string).collect();
        let written = lines
            .map_err(|error| Error::data(format!("the curve cannot be written: {error}")))
            .and_then(|lines| atomic::write(&state.file, (lines.join("\n") + "\n").as_bytes()));
        if let Err(error) = written {
            state.failed = Some(error);
        }
        // Kept are the last and the best; the one before the last is spared until this one is saved.
        let now = best(&state.points).map(|point| point.epoch);
        let mut actions = vec![CheckpointingAction::Save];
        if let (Some(before), true) = (before, now != before)
            && Some(before) != last
        {
            actions.push(CheckpointingAction::Delete(before));
        }
        if let Some(old) = epoch.checked_sub(2).filter(|old| *old > 0)
            && Some(old) != now
        {
            actions.push(CheckpointingAction::Delete(old));
        }
        actions
    }
}

impl EarlyStoppingStrategy for Curve {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        self.is_stale()
    }
}
