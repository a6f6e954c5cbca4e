//! **kshot**: learn to see from a handful of labels.

pub use kshot_data::{Error, ErrorKind, Result};
pub use kshot_data::{error, hash, names};

pub mod classify;
pub mod contract;
pub mod data;
pub mod decoder;
pub mod device;
pub mod encoder;
pub mod eval;
pub mod features;
pub mod job;
pub mod loss;
pub mod method;
pub mod metric;
pub mod nn;
pub mod postprocess;
pub mod predict;
pub mod recipe;
pub mod report;
pub mod train;
pub mod weights;
