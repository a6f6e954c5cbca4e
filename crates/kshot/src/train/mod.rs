//! The one loop: whatever is optimised ([`Objective`](crate::contract::Objective)) is trained here, on burn-train.
//!
//! ```text
//! Recipe -> session::{recognition, panet, supervised} -> Session<O>
//! Session<O> -> run::train -> RUN/recipe.toml, metrics.jsonl, checkpoint/, previews/, model.bpk
//! ```

pub mod adapt;
pub mod checkpoint;
pub mod class_weights;
pub mod curve;
pub mod devices;
pub mod input;
pub mod layers;
pub mod load;
pub mod loader;
pub mod pack;
pub mod plan;
pub mod points;
pub mod quiet;
pub mod run;
pub mod session;
pub mod trainee;
pub mod transfer;
