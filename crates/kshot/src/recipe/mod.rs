//! The recipe: as written, checked.

pub mod input;
pub mod learning;
pub mod segmentation;
