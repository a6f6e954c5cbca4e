//! What the command line, the page and Python call: a function per job, with options in, [`Event`]s to
//! whoever watches, and an outcome out. A job never prints; it can be stopped ([`Watch`]).
//!
//! | job | options | outcome |
//! |---|---|---|
//! | [`segment`](segment()) | [`SegmentOptions`] | [`SegmentOutcome`] |
//! | [`classify`](classify()) | [`ClassifyOptions`] | [`ClassifyOutcome`] |
//! | [`classify_run`](classify_run()) | [`ClassifyRunOptions`] | [`ClassifyOutcome`] |
//! | [`undo`](undo()) | the list of moved pictures | [`PutBack`](crate::classify::moved::PutBack) |
//! | [`plan`](plan()) | [`PlanOptions`](crate::plan::PlanOptions) | [`Plan`](crate::plan::Plan) |
//! | [`train`](train()) | [`TrainOptions`] | [`Trained`](crate::train::run::Trained) |
//! | [`eval`](eval()) | [`EvalOptions`] | [`Evaluation`](crate::eval::Evaluation) |
//! | [`compare`](compare()) | [`CompareOptions`] | [`Comparison`](crate::eval::compare::Comparison)s |
//! | [`export`](export()) | [`ExportOptions`] | [`Exported`](export::Exported) |
//! | [`model::add_class`], [`model::drop_class`] | | |
//! | [`weights::pull`], [`weights::info`], [`weights::verify`] | | |

pub mod bf16;
pub mod classify;
pub mod classify_run;
pub mod compare;
pub mod eval;
pub mod event;
mod event_text;
pub mod export;
pub mod model;
pub mod plan;
pub mod precision;
mod run_file;
pub mod segment;
pub mod tables;
pub mod train;
mod train_page;
mod train_report;
pub mod watch;
pub mod weights;

pub use classify::{ClassSource, ClassifyOptions, ClassifyOutcome, classify, undo};
pub use classify_run::{ClassifyRunOptions, classify_run};
pub use compare::{CompareOptions, compare};
pub use eval::{EvalOptions, eval};
pub use event::Event;
pub use export::{ExportFormat, ExportOptions, export};
pub use plan::plan;
pub use segment::{SegmentOptions, SegmentOutcome, segment};
pub use train::{TrainOptions, train};
pub use watch::Watch;
