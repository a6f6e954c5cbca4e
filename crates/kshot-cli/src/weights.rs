//! `kshot weights`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
#[cfg(feature = "hub")]
use indicatif::{ProgressBar, ProgressStyle};
use kshot::encoder::EncoderConfig;
use kshot::encoder::keys::Renamed;
use kshot::hash;
use kshot::weights::catalog::Published;
#[cfg(feature = "hub")]
use kshot::weights::hub::Hub;
#[cfg(feature = "hub")]
use kshot::weights::source;
use kshot::weights::state::State;
use kshot::weights::{apply, catalog};
use serde_json::json;

use crate::DONE;
use crate::list::parameters;
use crate::table::{aligned, print};

/// Lists, fetches, describes and checks weights.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot weights ls
  kshot weights pull resnet50
  kshot weights pull timm/resnet50.a1_in1k@main/model.safetensors
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
    match &arguments.command {
        Command::Ls => list(arguments.json),
        #[cfg(feature = "hub")]
        Command::Pull { name, quiet } => pull(name, *quiet, arguments.json),
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

/// The published weights' file in the cache, if it was fetched.
fn fetched(published: &Published) -> Option<PathBuf> {
    #[cfg(feature = "hub")]
    {
        let file = source::repository(published.repository)?;
        kshot::weights::hub::Hub::from_env().ok()?.cached(&file)
    }
    #[cfg(not(feature = "hub"))]
    {
        let _ = published;
        None
    }
}

fn list(as_json: bool) -> anyhow::Result<u8> {
    let mut lines = String::new();
    let mut rows = Vec::new();
    for (name, bytes) in built_in() {
        let sha256 = hash::of_bytes(bytes);
        let line = json!({"encoder": name, "built_in": true, "bytes": bytes.len(),
            "sha256": sha256});
        lines.push_str(&format!("{line}\n"));
        let megabytes = format!("{:.1} MB", bytes.len() as f64 / 1e6);
        rows.push([name, "Apache-2.0", "built in", &megabytes].map(str::to_owned).to_vec());
    }
    for published in catalog::all() {
        let file = fetched(published);
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map(|about| about.len());
        let line = json!({"encoder": published.encoder, "built_in": false,
            "repository": published.repository, "licence": published.licence,
            "data": published.data, "file": file, "bytes": bytes});
        lines.push_str(&format!("{line}\n"));
        let state = bytes.map_or_else(
            || "not fetched".to_owned(),
            |bytes| format!("{:.1} MB", bytes as f64 / 1e6),
        );
        let row = [published.encoder, published.licence, published.repository, &state];
        rows.push(row.map(str::to_owned).to_vec());
    }
    if as_json {
        print(&lines)?;
        return Ok(DONE);
    }
    let mut text = aligned(&["encoder", "licence", "from", "here"], &rows);
    text.push_str("\n`kshot weights pull ENCODER` fetches published weights\n");
    print(&text)?;
    Ok(DONE)
}

#[cfg(feature = "hub")]
fn pull(name: &str, quiet: bool, as_json: bool) -> anyhow::Result<u8> {
    let config = name.parse::<EncoderConfig>();
    let (words, config) = match (config, source::repository(name)) {
        (Ok(config), _) => match catalog::of(&config) {
            Some(published) => (published.repository, Some(config)),
            None => {
                bail!("{name} has no published weights; `kshot weights ls` lists those that have")
            }
        },
        (Err(_), Some(_)) => (name, None),
        (Err(error), None) => bail!("{error}; or give a repository as owner/name"),
    };
    let Some(wanted) = source::repository(words) else {
        bail!(
            "{words} is no repository; give owner/name, owner/name@revision or \
               owner/name@revision/file"
        );
    };
    let bar = if quiet || as_json { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
    )?);
    let watched = bar.clone();
    let hub = Hub::from_env()?.with_progress(move |done, total| {
        watched.set_length(total);
        watched.set_position(done);
    });
    let (path, sha256) = hub.get(&wanted)?;
    bar.finish_and_clear();
    let state = State::read(&path)?;
    // Published files change; whether this one fits is known before it is needed.
    if let Some(config) = &config {
        apply::into_encoder(config, &state, &kshot::device::Device::flex())?;
    }
    let bytes = path.metadata()?.len();
    print(&if as_json {
        let row = json!({"repository": wanted.repository, "revision": wanted.revision,
            "file": path, "bytes": bytes, "sha256": sha256, "tensors": state.tensors.len()});
        format!("{row}\n")
    } else {
        format!(
            "{} ({:.1} MB, {} tensors)\nsha256 {sha256}\n",
            path.display(),
            bytes as f64 / 1e6,
            state.tensors.len()
        )
    })?;
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
    let sha256 = hash::of_file(file)?;
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
        .any(|(name, bytes)| *name == config.name() && hash::of_bytes(bytes) == sha256);
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
