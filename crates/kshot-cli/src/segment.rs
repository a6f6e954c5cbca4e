//! `kshot segment`.

use clap::Args;

use crate::DONE;

/// Segments a folder of pictures from a few labelled ones.
#[derive(Args)]
pub struct Arguments {}

/// Runs the command; the exit status is returned.
pub fn run(_arguments: &Arguments) -> anyhow::Result<u8> {
    Ok(DONE)
}
