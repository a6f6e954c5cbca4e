//! The `kshot` command: exit status, words, and what is written.
//!
//! By `KSHOT_TEST_BINARY` the tests run another build of the command: an optimised one, say.
#![allow(clippy::unwrap_used)] // helpers of tests
#![allow(dead_code)] // some helpers belong to tests of one system or feature

#[cfg(feature = "embedded-weights")]
mod class_weights;
mod classes;
mod classify;
mod classify_folders;
mod cli;
mod common;
mod compare;
mod correct;
#[cfg(feature = "embedded-weights")]
mod curve;
#[cfg(feature = "hub")]
mod download;
mod effort;
mod eval;
mod export;
#[cfg(unix)]
mod faults_process;
#[cfg(unix)]
mod interrupt;
mod objects;
#[cfg(all(unix, feature = "embedded-weights"))]
mod recipe_extremes;
#[cfg(feature = "remote")]
mod remote;
mod runs;
mod trained;
