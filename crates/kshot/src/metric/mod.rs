//! Metrics: what predictions are worth.
//!
//! Everything that is measured adds up in a [`MetricState`]: means (the loss), a confusion matrix, a
//! calibration. States of parts merge into the state of the whole, so that a metric is of all pixels and
//! not a mean of batches. A row of the table at the end of this file is a function of the state.
//!
//! # Adding one
//! One line in the table. If it needs more than the state holds, a file here and a field there.

use crate::error::{Error, Result};
use crate::names::Row;

pub mod boundary;
pub mod calibration;
pub mod confusion;
pub mod interval;
pub mod paired;
pub mod recognition;
pub mod state;
pub mod unread;

pub use state::MetricState;

/// A row of the table: a number that is read off a [`MetricState`].
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name in recipes and reports.
    pub name: &'static str,
    /// One line on what it is.
    pub summary: &'static str,
    /// The address of the definition.
    pub source: &'static str,
    /// Whether more is better; what `train.monitor` goes by.
    pub higher_is_better: bool,
    value: fn(&MetricState) -> Option<f64>,
}

impl Metric {
    /// Its value, mostly 0 to 1; `None` if the state does not hold what it takes.
    pub fn of(&self, state: &MetricState) -> Option<f64> {
        (self.value)(state)
    }
}

/// Makes the table.
macro_rules! metrics {
    ($($name:ident, $better:ident, $summary:literal, $source:expr, $value:expr;)+) => {
        /// All metrics.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: stringify!($name),
            summary: $summary,
            source: $source,
            higher_is_better: metrics!(@ $better),
            value: $value,
        },)+];
    };
    (@ higher) => { true };
    (@ lower) => { false };
}

/// The metric of a name.
///
/// # Errors
/// If there is none; the nearest name is offered.
pub fn by_name(name: &str) -> Result<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name).ok_or_else(|| {
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        Error::config(crate::names::unknown("metric", name, &names))
    })
}

/// Whether more of it is better: a metric of the table by its row; a mean such as the loss, not.
pub fn higher_is_better(name: &str) -> bool {
    METRICS.iter().find(|metric| metric.name == name).is_some_and(|metric| metric.higher_is_better)
}

/// Refuses what is neither a metric of the table nor the loss.
///
/// # Errors
/// If it is neither; the nearest name is offered.
pub fn check_name(name: &str) -> Result<()> {
    if name == "loss" {
        Ok(())
    } else {
        by_name(name).map(|_| ()).map_err(|error| error.at_key("train.monitor"))
    }
}

/// The table, for people.
pub fn rows() -> Vec<Row> {
    METRICS
        .iter()
        .map(|metric| Row {
            name: metric.name.to_owned(),
            summary: metric.summary.to_owned(),
            source: Some(metric.source.to_owned()),
        })
        .collect()
}

/// Long et al., *Fully Convolutional Networks for Semantic Segmentation*, CVPR 2015, section 5.
const FCN: &str = "https://arxiv.org/abs/1411.4038";

/// Precision and recall of one class, and their means over classes (`average="macro"`).
const SCIKIT_PRECISION: &str = "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.precision_recall_fscore_support.html";

// The table: one line per metric.
metrics! {
    pixel_accuracy, higher, "share of right pixels", FCN,
        |state| Some(state.counted()?.pixel_accuracy());
    mean_pixel_accuracy, higher, "share of right pixels of a class, mean over the classes", FCN,
        |state| Some(state.counted()?.mean_pixel_accuracy());
    mean_iou, higher, "intersection over union, mean over the classes without background", FCN,
        |state| state.counted().map(|counts| counts.mean_iou(counts.averaged()));
    fw_iou, higher, "intersection over union, weighted by the classes' frequency", FCN,
        |state| Some(state.counted()?.fw_iou());
    dice, higher, "Dice coefficient (F1), mean over the classes without background",
        "https://doi.org/10.2307/1932409",
        |state| state.counted().map(|counts| counts.mean_dice(counts.averaged()));
    precision, higher, "share of what is predicted as a class that is of it, mean over the classes without background",
        SCIKIT_PRECISION, |state| state.counted().map(|counts| counts.mean_precision(counts.averaged()));
    recall, higher, "share of a class that is predicted as it, mean over the classes without background",
        SCIKIT_PRECISION, |state| state.counted().map(|counts| counts.mean_recall(counts.averaged()));
    boundary_f, higher, "F-score of the classes' boundaries within 0.75 % of the diagonal, mean over classes and pictures",
        "https://doi.org/10.5244/C.27.32", |state| state.mean("boundary_f");
    binary_iou, higher, "mean IoU of background and of all classes pooled",
        "https://arxiv.org/abs/1908.06391",
        |state| state.counted()?.binary_iou();
    accuracy, higher, "share of right pictures",
        "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.accuracy_score.html",
        |state| state.mean("accuracy");
    ece, lower, "expected calibration error, 15 bins", "https://arxiv.org/abs/1706.04599",
        |state| Some(state.calibrated()?.ece());
}
