//! `kshot weights`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use kshot::encoder::EncoderConfig;
use kshot::predict::folder;
use kshot::weights::state::State;
use kshot::weights::{apply, keys::Renamed};
use serde_json::json;

use crate::DONE;
use crate::list::parameters;
use crate::table::{aligned, print};

/// Lists, describes and checks weights.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot weights ls
  kshot weights info resnet.pth
  kshot weights verify lite0.safetensors --encoder efficientnet-lite0

Exit status: 0 fits and is whole, 2 wrong use, or a file that is damaged or does not fit.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line on standard output, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The built-in weights, their size and SHA-256.
    Ls,
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
    match &arguments.command {
        Command::Ls => list(arguments.json),
        Command::Info { file } => info(file, arguments.json),
        Command::Verify { file, encoder, sha256 } => {
            verify(file, encoder, sha256.as_deref(), arguments.json)
        }
    }
}

/// Name and bytes of every file of weights inside this binary.
fn built_in() -> Vec<(&'static str, &'static [u8])> {
    #[cfg(feature = "embedded-weights")]
    return vec![(kshot::weights::EMBEDDED, kshot::weights::embedded_bytes())];
    #[cfg(not(feature = "embedded-weights"))]
    Vec::new()
}

fn list(as_json: bool) -> anyhow::Result<u8> {
    let all = built_in();
    if as_json {
        let lines: String = all
            .iter()
            .map(|(name, bytes)| {
                let row =
                    json!({"encoder": name, "bytes": bytes.len(), "sha256": folder::digest(bytes)});
                format!("{row}\n")
            })
            .collect();
        print(&lines)?;
        return Ok(DONE);
    }
    if all.is_empty() {
        print(
            "no weights are built in (feature `embedded-weights`); give a file with \
             `kshot segment --weights FILE`\n",
        )?;
        return Ok(DONE);
    }
    let rows: Vec<_> = all
        .iter()
        .map(|(name, bytes)| {
            let megabytes = bytes.len() as f64 / 1e6;
            vec![(*name).to_owned(), format!("{megabytes:.1} MB"), folder::digest(bytes)]
        })
        .collect();
    print(&aligned(&["encoder", "size", "sha256"], &rows))?;
    Ok(DONE)
}

/// The encoders whose every tensor the file holds, and nothing else beside a classifier's head.
fn fitting(state: &State) -> Vec<&'static str> {
    let device = kshot::device::Device::flex();
    EncoderConfig::all()
        .iter()
        // Names alone rule most out, without making a network.
        .filter(|config| !state.tensors.keys().any(|name| config.rename(name) == Renamed::Unknown))
        .filter(|config| apply::into_encoder(config, state, &device).is_ok())
        .map(EncoderConfig::name)
        .collect()
}

fn info(file: &Path, as_json: bool) -> anyhow::Result<u8> {
    let state = State::read(file)?;
    let total: usize = state.tensors.values().map(|data| data.num_elements()).sum();
    let fits = fitting(&state);
    let tensors = state.tensors.iter().map(|(name, data)| {
        (name, data.shape().to_vec(), format!("{:?}", data.dtype()).to_lowercase())
    });
    if as_json {
        let mut lines: String = tensors
            .map(|(name, shape, dtype)| {
                format!("{}\n", json!({"tensor": name, "shape": shape, "dtype": dtype}))
            })
            .collect();
        let summary =
            json!({"file": file, "tensors": state.tensors.len(), "numbers": total, "fits": fits});
        lines.push_str(&format!("{summary}\n"));
        print(&lines)?;
        return Ok(DONE);
    }
    let rows: Vec<_> = tensors
        .map(|(name, shape, dtype)| vec![name.clone(), format!("{shape:?}"), dtype])
        .collect();
    let mut text = aligned(&["tensor", "shape", "type"], &rows);
    text.push_str(&format!("\n{} tensors, {} numbers\n", rows.len(), parameters(total)));
    text.push_str(&if fits.is_empty() {
        "fits no built-in encoder whole; `kshot weights verify FILE --encoder NAME` says what is \
         missing\n"
            .to_owned()
    } else {
        format!("fits {}\n", fits.join(", "))
    });
    print(&text)?;
    Ok(DONE)
}

fn verify(file: &Path, encoder: &str, expected: Option<&str>, as_json: bool) -> anyhow::Result<u8> {
    let config: EncoderConfig = encoder.parse()?;
    let sha256 = folder::sha256(file)?;
    if let Some(expected) = expected
        && !expected.trim().eq_ignore_ascii_case(&sha256)
    {
        bail!(
            "{}: its SHA-256 is {sha256}, not {expected}; it is damaged or another file: fetch it \
             again",
            file.display()
        );
    }
    let state = State::read(file)?;
    apply::into_encoder(&config, &state, &kshot::device::Device::flex())?;
    for (name, data) in &state.tensors {
        let wrong = data.iter::<f32>().filter(|value| !value.is_finite()).count();
        if wrong > 0 {
            bail!(
                "{}: tensor `{name}` holds {wrong} numbers that are not finite (NaN or infinite); \
                 take weights of an earlier step of the training",
                file.display()
            );
        }
    }
    let same = built_in()
        .iter()
        .any(|(name, bytes)| *name == config.name() && folder::digest(bytes) == sha256);
    print(&if as_json {
        let row = json!({"file": file, "encoder": config.name(), "sha256": sha256,
            "tensors": state.tensors.len(), "fits": true, "built_in": same});
        format!("{row}\n")
    } else {
        let known = if same { ", the same file as the built-in one" } else { "" };
        format!(
            "{}: fits {} whole ({} tensors{known})\nsha256 {sha256}\n",
            file.display(),
            config.name(),
            state.tensors.len()
        )
    })?;
    Ok(DONE)
}
