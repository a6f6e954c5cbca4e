//! The traits that methods implement and loops use.
//!
//! ```text
//! ItemSource<T>  item `index` of a training or validation, a function of (seed, index) alone
//! Objective      what is optimised: step (loss, gradients, metrics), evaluate, after_update
//! AtValidations  what changes with a training at its validations besides parameters
//! FewShot        a method that labels queries from a few labelled examples (see `episodic`)
//! PixelModel     class scores of every pixel of a picture
//! ```
//! A type outside this crate that implements [`Objective`] is trained by
//! [`train::run::train`](crate::train::run::train) like those inside.

pub mod episodic;
pub mod pixel_model;

use std::path::Path;

use burn::module::{Module, ModuleDisplay};
use burn::optim::GradientsParams;
pub use episodic::FewShot;
use image::RgbImage;
pub use pixel_model::{PixelModel, Scores};

pub use crate::data::source::{Grouped, ItemSource};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::metric::state::MetricState;

/// What one step gave.
pub struct StepResult {
    /// The training loss, the mean over the item's parts; no number where it lies on a device still and `metrics`
    /// will tell it, since reading it would have the step wait for the device.
    pub loss: f64,
    /// The gradient for the optimiser, by parameter.
    pub gradients: GradientsParams,
    /// What else is told of training: accuracy and the like.
    pub metrics: MetricState,
}

/// What changes with a training at its validations besides parameters, such as weights of its pictures. Items between two
/// validations are made after it changed, and a training that goes on must find it as it was.
pub trait AtValidations<O>: Send + Sync {
    /// The training begins in the run's folder (`number` 0), or goes on after validation `number`, of which `objective` has
    /// the checkpoint's parameters.
    ///
    /// # Errors
    /// If it cannot be brought to where it was at that validation.
    fn begin(&self, objective: &O, folder: &Path, number: usize) -> Result<()>;

    /// The steps before validation `number`, from 1, are taken; the validation and its checkpoint follow.
    ///
    /// # Errors
    /// If it cannot be changed; the training then stops.
    fn reached(&self, objective: &O, number: usize) -> Result<()>;
}

/// What is optimised. Everything that trains is one.
///
/// The loop asks for [`step`](Self::step) on the autodiff side, applies the optimiser to the gradients, then
/// calls [`after_update`](Self::after_update); for validation it asks a copy without autodiff to
/// [`evaluate`](Self::evaluate) items and adds up what these give.
pub trait Objective: Module + ModuleDisplay + std::fmt::Display + 'static {
    /// What a step is taken on.
    type Item: Send + 'static;

    /// Loss, gradients and training metrics of an item.
    fn step(&self, item: Self::Item) -> StepResult;

    /// What validation adds up over items; it must hold a mean named `loss` and what
    /// [`monitor`](Self::monitor) names.
    fn evaluate(&self, item: Self::Item) -> MetricState;

    /// The metric by which the best checkpoint is chosen where the recipe names none.
    fn monitor(&self) -> &'static str;

    /// The encoder inside, whose layers a recipe may freeze or let learn more slowly; none by default.
    fn encoder(&self) -> Option<&Encoder> {
        None
    }

    /// A picture of an item and what is made of it, to look at while it trains; none by default.
    fn preview(&self, _item: &Self::Item) -> Option<RgbImage> {
        None
    }

    /// Called after each update of the parameters: averaged teachers, memory banks.
    #[must_use]
    fn after_update(self) -> Self {
        self
    }
}
