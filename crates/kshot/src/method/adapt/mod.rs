//! Methods that adapt a network from labelled pictures of one domain to unlabelled ones of another.

pub mod alignment;
pub mod coral;
pub mod mmd;
