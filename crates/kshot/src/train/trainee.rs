//! An objective as burn-train trains it: the only place that implements its steps.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::ExecutionError;
use burn::train::metric::ItemLazy;
use burn::train::{InferenceStep, Interrupter, TrainOutput, TrainStep};
use image::RgbImage;

use super::step::StepPlan;
use crate::contract::{AtValidations, Objective};
use crate::error::{Error, Result};
use crate::metric::state::MetricState;
use crate::nn::Precision;
use crate::nn::weights::deep_copy;

/// Steps whose numbers are read from a device together.
const READ_EVERY: usize = 32;
/// Pictures drawn of a validation at most.
const PREVIEWS: usize = 4;

/// What was added up since the last validation, and in it.
#[derive(Debug, Default)]
struct TrainingSums {
    train: PartSums,
    validation: PartSums,
    /// Items validated.
    validated: usize,
    previews: Vec<RgbImage>,
}

/// The sums of a training, shared by every copy of its model.
#[derive(Debug, Clone, Default)]
pub struct TrainingTally(Arc<Mutex<TrainingSums>>);

impl TrainingTally {
    fn with<T>(&self, change: impl FnOnce(&mut TrainingSums) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Training's and validation's metrics by name and the previews, which are forgotten.
    pub(super) fn take(&self) -> (BTreeMap<String, f64>, BTreeMap<String, f64>, Vec<RgbImage>) {
        let sums = self.with(std::mem::take);
        // What is no number has no place in JSON.
        let finite = |state: MetricState| {
            state.values().into_iter().filter(|(_, value)| value.is_finite()).collect()
        };
        (finite(sums.train.whole()), finite(sums.validation.whole()), sums.previews)
    }
}

/// The sums of training's or validation's items.
#[derive(Debug, Default)]
struct PartSums {
    read: MetricState,
    /// Of items whose numbers lie on a device still, and how many these are.
    recent: MetricState,
    waiting: usize,
    /// What was read last of such.
    told: Option<ItemMetrics>,
}

impl PartSums {
    /// Adds an item's metrics; what the dashboard gets to see of it. What lies on a device is read once in
    /// [`READ_EVERY`] items; in between the dashboard sees what was read last.
    fn add(&mut self, metrics: &MetricState, monitor: &str) -> ItemMetrics {
        let told = |state: &MetricState| {
            let of = |name: &str| state.value(name).unwrap_or(f64::NAN);
            ItemMetrics { loss: of("loss"), monitored: of(monitor) }
        };
        if !metrics.is_unread() {
            self.read.merge(metrics);
            return told(metrics);
        }
        self.recent.merge(metrics);
        self.waiting += 1;
        match self.told {
            Some(told) if self.waiting < READ_EVERY => told,
            _ => {
                let mut recent = std::mem::take(&mut self.recent);
                self.waiting = 0;
                recent.read();
                self.read.merge(&recent);
                *self.told.insert(told(&recent))
            }
        }
    }

    /// All of them, read.
    fn whole(mut self) -> MetricState {
        self.read.merge(&self.recent);
        self.read.read();
        self.read
    }
}

/// Told that the steps before a validation are taken, with the objective.
type Reached = dyn Fn(&dyn Any, usize) -> Result<()> + Send + Sync;

/// What changes at validations besides parameters, and what became of it.
#[derive(Clone)]
pub struct Changes {
    /// Of the trainee's objective; a field that a module passes over cannot have the type of one that it does not.
    reached: Option<Arc<Reached>>,
    /// Steps between two validations.
    every: usize,
    interrupter: Interrupter,
    failed: Arc<Mutex<Option<Error>>>,
}

impl Changes {
    /// Of a training with so many steps between two validations, which `interrupter` stops if a change fails.
    pub fn new<O: Objective>(
        of: Option<Arc<dyn AtValidations<O>>>,
        every: usize,
        interrupter: Interrupter,
    ) -> Self {
        let reached = of.map(|of| -> Arc<Reached> {
            Arc::new(move |objective, number| match objective.downcast_ref::<O>() {
                Some(objective) => of.reached(objective, number),
                None => unreachable!("a trainee has one objective"),
            })
        });
        Self { reached, every: every.max(1), interrupter, failed: Arc::default() }
    }

    /// Nothing changes.
    fn none() -> Self {
        let (every, interrupter) = (1, Interrupter::new());
        Self { reached: None, every, interrupter, failed: Arc::default() }
    }

    /// Why a change failed, if one did.
    pub fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// After step `step`, counted from 1.
    fn after(&self, objective: &dyn Any, step: usize) {
        let Some(reached) = self.reached.as_ref().filter(|_| step.is_multiple_of(self.every))
        else {
            return;
        };
        if let Err(error) = reached(objective, step / self.every) {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.interrupter.stop(Some("what changes at validations could not be changed"));
        }
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("every", &self.every).finish_non_exhaustive()
    }
}

/// An objective with the sums of its training.
#[derive(Module, Debug)]
pub struct Trainee<O: Objective> {
    /// What is optimised.
    pub objective: O,
    /// The moving average of its weights, where one is kept.
    average: Option<O>,
    /// What happens around a step.
    #[module(skip)]
    plan: StepPlan,
    /// Steps of the optimiser so far.
    #[module(skip)]
    step: usize,
    #[module(skip)]
    tally: TrainingTally,
    #[module(skip)]
    precision: Precision,
    /// The metric that chooses the checkpoint.
    #[module(skip)]
    monitor: String,
    /// Of so many items of a validation one is drawn, so that those drawn are not neighbours.
    #[module(skip)]
    every: usize,
    /// What changes at validations besides parameters.
    #[module(skip)]
    changes: Changes,
}

impl<O: Objective> Trainee<O> {
    /// Of an objective, whose convolutions sum as `precision` says.
    pub fn new(objective: O, tally: TrainingTally, precision: Precision) -> Self {
        let monitor = objective.monitor().to_owned();
        let (average, plan, step) = (None, StepPlan::default(), 0);
        let changes = Changes::none();
        Self { objective, average, plan, step, tally, precision, monitor, every: 1, changes }
    }

    /// The same with what changes at validations besides parameters.
    #[must_use]
    pub fn with_changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }

    /// The same with a moving average of its weights, where there is a decay.
    #[must_use]
    pub fn with_average(self, decay: Option<f64>) -> Self {
        let average = decay.map(|_| deep_copy(&self.objective).no_grad());
        Self { average, ..self }
    }

    /// The same with what happens around each step, from a step on.
    #[must_use]
    pub fn with_plan(self, plan: StepPlan, step: usize) -> Self {
        let objective = plan.layers.at_step(self.objective, step);
        Self { objective, plan, step, ..self }
    }

    /// What validations judge and what is kept: the average, where there is one.
    fn judged(&self) -> &O {
        self.average.as_ref().unwrap_or(&self.objective)
    }

    /// The same with another metric that chooses the checkpoint.
    #[must_use]
    pub fn with_monitor(self, monitor: &str) -> Self {
        Self { monitor: monitor.to_owned(), ..self }
    }

    /// The same, for validations of so many items.
    #[must_use]
    pub fn with_validation_items(self, items: usize) -> Self {
        Self { every: (items / PREVIEWS).max(1), ..self }
    }
}

/// Loss and the monitored metric of an item, for the dashboard.
#[derive(Debug, Clone, Copy)]
pub struct ItemMetrics {
    /// The loss.
    pub loss: f64,
    /// The metric that chooses the checkpoint, where the item has one.
    pub monitored: f64,
}

impl ItemLazy for ItemMetrics {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl<O: Objective> TrainStep for Trainee<O> {
    type Input = O::Item;
    type Output = ItemMetrics;

    fn step(&self, item: O::Item) -> TrainOutput<ItemMetrics> {
        let step = self.precision.run(|| self.objective.step(item));
        let mut item = self.tally.with(|sums| sums.train.add(&step.metrics, &self.monitor));
        if !step.metrics.is_unread() {
            item.loss = step.loss;
        }
        TrainOutput { grads: step.gradients, item }
    }

    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradients: GradientsParams,
    ) -> Self {
        let Self { objective, average, plan, step, .. } = self;
        let gradients = plan.prepared(&objective, gradients);
        let objective = optim.step(rate, objective, gradients).after_update();
        let objective = plan.layers.after_step(objective, step);
        let average = plan.averaged(average, &objective, step);
        let step = step + 1;
        self.changes.after(&objective, step);
        let (tally, precision, monitor, every, changes) =
            (self.tally, self.precision, self.monitor, self.every, self.changes);
        Self { objective, average, plan, step, tally, precision, monitor, every, changes }
    }
}

impl<O: Objective> InferenceStep for Trainee<O> {
    type Input = O::Item;
    type Output = ItemMetrics;

    fn step(&self, item: O::Item) -> ItemMetrics {
        let drawn = self.tally.with(|sums| {
            sums.validated += 1;
            (sums.validated - 1).is_multiple_of(self.every) && sums.previews.len() < PREVIEWS
        });
        if drawn && let Some(preview) = self.judged().preview(&item) {
            self.tally.with(|sums| sums.previews.push(preview));
        }
        let state = self.precision.run(|| self.judged().evaluate(item));
        self.tally.with(|sums| sums.validation.add(&state, &self.monitor))
    }
}

#[cfg(test)]
mod tests {
    use burn::prelude::*;

    use super::*;

    #[test]
    fn what_lies_on_a_device_is_read_once_in_many_items_and_counts_in_full() {
        let loss = |value: f32| {
            let value = Tensor::<1>::from_floats([value], &Device::flex());
            MetricState::default().with_unread_mean("loss", value, 1.0)
        };
        let mut sums = PartSums::default();
        let told: Vec<f64> = (0..2 * READ_EVERY + 2)
            .map(|item| sums.add(&loss(item as f32), "accuracy").loss)
            .collect();
        // The first is read, so that there is something to see; then the mean of so many.
        let mean = (1..=READ_EVERY).sum::<usize>() as f64 / READ_EVERY as f64;
        assert_eq!((told[0], told[READ_EVERY - 1]), (0.0, 0.0));
        assert_eq!((told[READ_EVERY], told[2 * READ_EVERY - 1]), (mean, mean));
        let mut distinct = told.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), 3, "{told:?}");
        let whole = sums.whole();
        assert_eq!(whole.mean("loss"), Some((2 * READ_EVERY + 1) as f64 / 2.0));
        assert!(!whole.is_unread());
    }
}
