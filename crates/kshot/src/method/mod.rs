//! Methods: from features and a few labels to a label for every pixel.

pub mod bank;
pub mod dense_crf;
pub mod episodic;
pub mod features;
pub mod few_shot;
pub mod intensity;
pub mod kmeans;
pub mod lattice;
pub mod learner;
pub mod local;
pub mod meta;
pub mod noise;
pub mod refine;
pub mod score;
pub mod tile;
