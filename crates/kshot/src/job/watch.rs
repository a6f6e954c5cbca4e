//! How a job tells what happens, and how it is asked to stop.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::job::event::Event;
use crate::predict::progress::FitStep;

/// Who listens to a job, and what stops it.
///
/// A job that is asked to stop ends after the picture at hand: what is finished stays noted, so that the
/// same job goes on from there another time. While methods are tried, it ends after those at hand.
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use kshot::job::{Event, Watch};
///
/// let stop = AtomicBool::new(false);
/// let tell = |event: &Event<'_>| println!("{event}");
/// let watch = Watch::new(&tell).cancelled_by(&stop);
/// assert!(!watch.is_cancelled());
/// ```
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    on_event: Option<&'a (dyn Fn(&Event<'_>) + Sync)>,
    cancel: Option<&'a AtomicBool>,
}

impl<'a> Watch<'a> {
    /// Nobody listens, and nothing stops the job.
    pub fn silent() -> Self {
        Self::default()
    }

    /// `on_event` is told of everything as it happens, one event at a time, not always from the thread
    /// that runs the job.
    pub fn new(on_event: &'a (dyn Fn(&Event<'_>) + Sync)) -> Self {
        Self { on_event: Some(on_event), cancel: None }
    }

    /// Stops once this is true.
    #[must_use]
    pub fn cancelled_by(self, cancel: &'a AtomicBool) -> Self {
        Self { cancel: Some(cancel), ..self }
    }

    /// Whether the job is asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }

    /// Whether somebody listens: what is only worked out to be told need not be, otherwise.
    pub fn listens(&self) -> bool {
        self.on_event.is_some()
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(on_event) = self.on_event {
            on_event(event);
        }
    }

    pub(super) fn warn(&self, message: &str) {
        self.tell(&Event::Warning { message });
    }

    /// Tells a step of the choice of a method, and says whether to go on.
    pub(super) fn tried(&self, step: &FitStep) -> bool {
        self.tell(&match step {
            FitStep::Tried { .. } => Event::Tried(step),
            _ => Event::AtHand(step),
        });
        !self.is_cancelled()
    }

    /// Tells how far it is, and says whether to go on.
    pub(super) fn progress(&self, done: usize, total: usize) -> bool {
        self.tell(&Event::Progress { done, total });
        !self.is_cancelled()
    }
}
