//! `kshot weights`.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
#[cfg(feature = "hub")]
use indicatif::{ProgressBar, ProgressStyle};
use kshot::job::weights::{self, WeightsRow};
use serde::Serialize;
use serde_json::json;

use crate::DONE;
use crate::table::{aligned, parameters, print};

/// Lists, fetches, describes and checks weights.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot weights ls
  kshot weights pull resnet50
  kshot weights pull timm/resnet50.a1_in1k@main/model.safetensors
  kshot weights info resnet.pth
  kshot weights verify lite0.safetensors --encoder efficientnet-lite0

Exit status: 0 fits and is whole, 2 wrong use, or a file that is damaged or does not fit, 4 no room on the disk.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line on standard output, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The built-in weights, and the published ones of each encoder with what was fetched of them.
    Ls,
    /// Fetches weights from Hugging Face into its cache (HF_HOME), from where they are used offline.
    #[cfg(feature = "hub")]
    Pull {
        /// An encoder (its published weights) or a repository: owner/name[@revision[/file]].
        name: String,
        /// No progress.
        #[arg(long, short)]
        quiet: bool,
    },
    /// The tensors of a file and which encoders it fits whole.
    Info {
        /// A .safetensors file, or any file of weights that PyTorch saved.
        file: PathBuf,
    },
    /// Whether a file is whole and fits an encoder: nothing missing, nothing left over.
    Verify {
        /// A .safetensors file, or any file of weights that PyTorch saved.
        file: PathBuf,
        /// The network it is for (`kshot list encoders`).
        #[arg(long, value_name = "NAME")]
        encoder: String,
        /// The SHA-256 the file must have.
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
    },
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let as_json = arguments.json;
    print(&match &arguments.command {
        Command::Ls => list(as_json)?,
        #[cfg(feature = "hub")]
        Command::Pull { name, quiet } => said(pull(name, *quiet || as_json)?, as_json)?,
        Command::Info { file } => info(file, as_json)?,
        Command::Verify { file, encoder, sha256 } => {
            said(weights::verify(file, encoder, sha256.as_deref())?, as_json)?
        }
    })?;
    Ok(DONE)
}

fn said(about: impl Serialize + Display, as_json: bool) -> anyhow::Result<String> {
    Ok(if as_json { line(about)? } else { format!("{about}\n") })
}

fn line(about: impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_value(about)?))
}

fn list(as_json: bool) -> anyhow::Result<String> {
    let all = weights::list();
    if as_json {
        return all.iter().map(line).collect();
    }
    let megabytes = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    let rows: Vec<_> = all
        .into_iter()
        .map(|listed| match listed {
            WeightsRow::BuiltIn { encoder, bytes, .. } => {
                [encoder, "Apache-2.0", "built in", &megabytes(bytes as f64)].map(str::to_owned)
            }
            WeightsRow::Published { encoder, licence, repository, bytes, .. } => {
                let here = bytes.map(|bytes| megabytes(bytes as f64));
                let here = here.unwrap_or_else(|| "not fetched".to_owned());
                [encoder, licence, repository, &here].map(str::to_owned)
            }
        })
        .map(Vec::from)
        .collect();
    let table = aligned(&["encoder", "licence", "from", "here"], &rows);
    Ok(format!("{table}\n`kshot weights pull ENCODER` fetches published weights\n"))
}

#[cfg(feature = "hub")]
fn pull(name: &str, silent: bool) -> anyhow::Result<weights::Pulled> {
    let bar = if silent { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let template = "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template)?);
    let watched = bar.clone();
    let pulled = weights::pull(name, move |done, total| {
        watched.set_length(total);
        watched.set_position(done);
    });
    bar.finish_and_clear();
    Ok(pulled?)
}

fn info(file: &Path, as_json: bool) -> anyhow::Result<String> {
    let weights::FileInfo { tensors, numbers, fits } = weights::info(file)?;
    if as_json {
        let lines = tensors.iter().map(line).collect::<anyhow::Result<String>>()?;
        let count = tensors.len();
        let summary = json!({"file": file, "tensors": count, "numbers": numbers, "fits": fits});
        return Ok(format!("{lines}{summary}\n"));
    }
    let rows: Vec<_> = tensors
        .into_iter()
        .map(|tensor| vec![tensor.tensor, format!("{:?}", tensor.shape), tensor.dtype])
        .collect();
    let table = aligned(&["tensor", "shape", "type"], &rows);
    let fits = if fits.is_empty() {
        "fits no built-in encoder whole; `kshot weights verify FILE --encoder NAME` says what is \
         missing"
            .to_owned()
    } else {
        format!("fits {}", fits.join(", "))
    };
    Ok(format!("{table}\n{} tensors, {} numbers\n{fits}\n", rows.len(), parameters(numbers)))
}
