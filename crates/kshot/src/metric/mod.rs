//! What predictions are worth: confusion matrices and intervals.

pub mod calibration;
pub mod confusion;
pub mod interval;
pub mod recognition;
