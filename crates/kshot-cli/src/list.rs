//! `kshot list`.

use clap::Args;

use crate::DONE;

/// Lists what is built in.
#[derive(Args)]
pub struct Arguments {}

/// Runs the command; the exit status is returned.
pub fn run(_arguments: &Arguments) -> anyhow::Result<u8> {
    Ok(DONE)
}
