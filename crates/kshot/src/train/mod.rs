//! Recipes: what a run is made of, written down.

pub mod recipe;
