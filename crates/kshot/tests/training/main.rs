//! Trainings: their loop, checkpoints and moving averages, layers that learn apart, several devices, adaptation to a
//! domain, and the page at the end.
#![allow(clippy::unwrap_used)] // helpers of tests

mod adaptation;
mod checkpoints;
mod devices;
mod ema;
mod page;
mod strokes;
mod support;
mod transfer;
