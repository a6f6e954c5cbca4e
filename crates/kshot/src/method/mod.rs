//! Methods: from features and a few labels to a label for every pixel.

pub mod few_shot;
pub mod kmeans;
pub mod learner;
pub mod meta;
pub mod network;
pub mod noise;
