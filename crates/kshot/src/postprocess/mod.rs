//! From coarse probabilities to pixels, along the picture's own edges.

pub mod dense_crf;
pub mod lattice;
pub mod local;
pub mod refine;
