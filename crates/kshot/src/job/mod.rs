//! What the command line, the page and Python call.

pub mod bf16;
pub mod folder;
pub mod tables;
