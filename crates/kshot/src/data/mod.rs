//! Pictures, labels and data sets.

pub mod annotation;
pub mod batch;
pub mod check;
pub mod class_folder;
pub mod classes;
pub mod components;
pub mod convert;
pub mod episode;
pub mod finding;
pub mod image;
pub mod label_folder;
pub mod labels;
pub mod likeness;
pub mod mask;
pub mod pixel_tasks;
pub mod scribble;
pub mod set;
pub mod support;
