//! Pictures, labels and data sets.

pub mod check;
pub mod components;
pub mod episode;
pub mod image;
pub mod labels;
pub mod likeness;
pub mod mask;
pub mod scribble;
pub mod set;
pub mod support;
