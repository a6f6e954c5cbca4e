//! What predictions are worth: confusion matrices and intervals.

pub mod confusion;
pub mod interval;
