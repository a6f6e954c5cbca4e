//! **kshot**: learn to see from a handful of labels.
//!
//! ```text
//!  label folder ┐                                    ┌ recipe.toml, checkpoints, previews
//!  data set     ┴ data ── ItemSource ── train::run ──┤
//!                             │             │        └ model.bpk
//!                         transforms    Objective = encoder + decoder | learner | PANet, with a loss
//!
//!  support ─ predict::fit ────┐
//!  model.bpk ─ predict::trained ┴ Predictor ── scores, calibration, refinement ── masks, report, metrics
//! ```
//! Everything that is optimised implements [`contract::Objective`] and goes through [`train::run::train`]; everything
//! that labels pixels is a [`contract::PixelModel`] inside a [`predict::Predictor`]. What a command does is a function
//! in [`job`], with a callback for progress and a way to stop it. `GUIDE.md` draws the order of the modules: each uses
//! those before it alone.
//!
//! Pictures of a folder, segmented from a few labelled ones:
//!
//! ```no_run
//! use kshot::job::{Event, SegmentOptions, Watch, segment};
//!
//! # fn main() -> kshot::Result<()> {
//! let options = SegmentOptions::new("labelled", "photos", "out");
//! let tell = |event: &Event<'_>| eprintln!("{event}");
//! let outcome = segment(&options, &Watch::new(&tell))?;
//! println!("{} segmented, {} failed", outcome.counts.done, outcome.counts.failed);
//! # Ok(())
//! # }
//! ```
//! More in the crate's `examples/`: `segment_folder`, `train_folder`, `meta_train`, and `own_method`, which is written
//! outside the crate and trained by its loop.

pub use kshot_data::{Error, ErrorKind, Result};
pub use kshot_data::{error, hash, names};

pub mod classify;
pub mod contract;
pub mod data;
pub mod decoder;
pub mod device;
pub mod encoder;
pub mod eval;
pub mod export;
pub mod features;
pub mod job;
pub mod loss;
pub mod method;
pub mod metric;
pub mod nn;
pub mod plan;
pub mod postprocess;
pub mod predict;
pub mod recipe;
pub mod report;
mod schema;
pub mod train;
#[cfg(feature = "hub")]
mod transfer;
pub mod weights;
