//! **kshot**: learn to see from a handful of labels.

pub mod data;
pub mod encoder;
pub mod error;
pub mod method;
pub mod metric;
pub mod predict;
pub mod report;
pub mod train;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
