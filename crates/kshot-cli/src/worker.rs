//! `kshot worker`.

use clap::Args;
use kshot::device::remote::Worker;

use crate::DONE;
use crate::table::say;

/// Lends this machine's devices to others: `--device ws://HOST:PORT` there computes here.
///
/// Tensors and operations go over the wire unencrypted, so only a network that one trusts will do. At an address that
/// others can reach a token is needed: set KSHOT_WORKER_TOKEN to the same secret here and there.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot worker                                            for this machine alone, at 127.0.0.1:7700
  KSHOT_WORKER_TOKEN=secret kshot worker --listen 0.0.0.0:7700 --device cuda:0,cuda:1
  KSHOT_WORKER_TOKEN=secret kshot train recipe.toml --devices ws://gpubox:7700,ws://gpubox:7700#1

Ctrl-C ends it. Exit status: 0 ended, 2 wrong use.")]
pub struct Arguments {
    /// Address and port to listen at; port 0 for any that is free.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700")]
    listen: String,
    /// What is lent: flex (CPU), cuda:0, vulkan, ...; several GPUs with commas between them.
    #[arg(long, visible_alias = "devices", default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.threads.map_or(Ok(()), crate::set_threads)?;
    let worker = Worker::bind(&arguments.listen, &arguments.device)?;
    say(&format!("lending {} at ws://{}", arguments.device, worker.address()));
    worker.serve()?;
    Ok(DONE)
}
