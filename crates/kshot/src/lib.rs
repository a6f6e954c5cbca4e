//! **kshot**: learn to see from a handful of labels.

pub mod bf16;
pub mod classify;
pub mod data;
pub mod decoder;
pub mod device;
pub mod encoder;
pub mod error;
pub mod eval;
pub mod hash;
pub mod method;
pub mod metric;
pub mod nn;
pub mod predict;
pub mod registry;
pub mod report;
pub mod train;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
