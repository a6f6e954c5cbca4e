//! Recipes, and training by them.

pub mod checkpoint;
pub mod curve;
pub mod experiment;
pub mod input;
pub mod learning;
pub mod lines;
pub mod loader;
pub mod pixel_experiment;
pub mod recipe;
pub mod run;
