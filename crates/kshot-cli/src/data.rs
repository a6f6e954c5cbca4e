//! `kshot data`.

use clap::Args;

use crate::DONE;

/// Checks labels and converts between formats.
#[derive(Args)]
pub struct Arguments {}

/// Runs the command; the exit status is returned.
pub fn run(_arguments: &Arguments) -> anyhow::Result<u8> {
    Ok(DONE)
}
