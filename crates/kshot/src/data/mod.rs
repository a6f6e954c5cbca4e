//! Data sets and what is drawn from them: batches and episodes as tensors, from (seed, index) alone.

pub mod batch;
pub mod classes;
pub mod episode;
pub mod pixel_tasks;
pub mod set;
pub mod transforms;
