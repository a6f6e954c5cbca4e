//! The recipe: as written, checked.

pub mod input;
pub mod learning;
mod named;
pub mod optimizer;
pub mod schedule;
pub mod segmentation;
