//! The traits that methods implement and loops use.

pub mod episodic;
