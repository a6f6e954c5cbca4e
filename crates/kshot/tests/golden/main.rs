//! Our networks and layers against outside implementations. The scripts in `golden/` made the numbers; one program, as
//! each would hold the whole engine.

#![allow(clippy::unwrap_used)] // helpers of tests

mod decoders;
mod hrnet;
mod mobilenet;
mod nnunet;
mod support;
mod torchvision;
mod vit;
