//! The one loop: whatever is optimised ([`Objective`](crate::contract::Objective)) is trained here, on burn-train.
//!
//! ```text
//! Recipe -> session::recognition, episodes::session, segmentation::{supervised, aligned} -> Session<O>
//! Session<O> -> run::train -> RUN/recipe.toml, metrics.jsonl, checkpoint/, previews/, model.bpk
//! ```

pub mod adapt;
pub mod checkpoint;
pub mod class_weights;
pub mod cost;
pub mod curve;
pub mod devices;
pub mod episodes;
pub mod input;
pub mod instance_weights;
pub mod layers;
pub mod load;
pub mod loader;
pub mod pack;
pub mod points;
pub mod quiet;
pub mod run;
pub mod segmentation;
pub mod session;
pub mod step;
pub mod trainee;
pub mod transfer;
