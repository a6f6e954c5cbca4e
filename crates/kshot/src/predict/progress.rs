//! How far the choice of a method is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// What happens while methods are tried.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FitStep {
    /// The labelled pictures are seen through the encoder.
    Seeing {
        /// Labelled pictures.
        pictures: usize,
    },
    /// A method begins to be tried. Several are tried side by side.
    Trying {
        /// Its name.
        method: &'static str,
        /// How many have begun, this one included.
        candidate: usize,
        /// How many there are.
        candidates: usize,
    },
    /// A method was tried on held-out labels.
    Tried {
        /// Its name.
        method: &'static str,
        /// Working pixels per picture pixel.
        scale: f32,
        /// Mean IoU at held-out pixels, 0 to 1.
        mean_iou: f64,
        /// How many were tried, this one included.
        tried: usize,
        /// How many there are.
        candidates: usize,
    },
    /// The chosen methods are fitted to all labels.
    Fitting {
        /// How many they are.
        methods: usize,
    },
}

/// Told of each step; whether to go on. Not always from the same thread, but one step at a time.
pub type OnStep<'a> = dyn Fn(&FitStep) -> bool + Sync + 'a;

/// Counts candidates and asks whether to go on.
pub(super) struct Steps<'a> {
    on_step: &'a OnStep<'a>,
    one_at_a_time: Mutex<()>,
    begun: AtomicUsize,
    done: AtomicUsize,
    candidates: usize,
}

impl<'a> Steps<'a> {
    pub(super) fn new(on_step: &'a OnStep<'a>) -> Self {
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { on_step, one_at_a_time: Mutex::new(()), begun, done, candidates: 0 }
    }

    pub(super) fn of(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }

    /// # Errors
    /// Of kind [`ErrorKind::Cancelled`] if it is not to go on.
    pub(super) fn tell(&self, step: &FitStep) -> Result<()> {
        let _one = self.one_at_a_time.lock();
        if (self.on_step)(step) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Cancelled,
            "stopped while methods were tried; nothing was chosen",
        ))
    }

    pub(super) fn trying(&self, method: &'static str) -> Result<()> {
        let candidate = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        self.tell(&FitStep::Trying { method, candidate, candidates: self.candidates })
    }

    pub(super) fn tried(&self, method: &'static str, scale: f32, mean_iou: f64) -> Result<()> {
        let tried = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let candidates = self.candidates;
        self.tell(&FitStep::Tried { method, scale, mean_iou, tried, candidates })
    }
}
