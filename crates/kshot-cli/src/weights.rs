//! `kshot weights`.

use clap::Args;

use crate::DONE;

/// Lists, fetches, checks and describes weights.
#[derive(Args)]
pub struct Arguments {}

/// Runs the command; the exit status is returned.
pub fn run(_arguments: &Arguments) -> anyhow::Result<u8> {
    Ok(DONE)
}
