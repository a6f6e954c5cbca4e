//! Results of `kshot eval` compared with each other.

use std::path::PathBuf;

use crate::error::Result;
use crate::eval::compare::{self, Comparison};

/// What to compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompareOptions {
    /// Two results or more, the first of which the others are compared with: files of `kshot eval --json`, or folders
    /// of its `--out`.
    pub results: Vec<PathBuf>,
    /// Only this metric.
    pub metric: Option<String>,
    /// Seed of the draws.
    pub seed: u64,
}

/// Compares each result with the first, pair by pair of their [`rows`](crate::eval::rows); what is drawn and tested is
/// told in [`eval::compare`](crate::eval::compare).
///
/// # Errors
/// If a result cannot be read or keeps no rows, two are not of the same protocol on the same data, or there is no such
/// metric.
pub fn compare(options: &CompareOptions) -> Result<Vec<Comparison>> {
    compare::run(&options.results, options.metric.as_deref(), options.seed)
}
