//! Recipes, and training by them.

pub mod checkpoint;
pub mod curve;
pub mod experiment;
pub mod lines;
pub mod loader;
pub mod pixel_experiment;
pub mod run;
