//! Weights: what is here, what a file holds, and whether it fits.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::device::Device;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::hash;
use crate::weights::apply;
use crate::weights::built_in::BuiltIn;
use crate::weights::catalog::{self, Published};
#[cfg(feature = "hub")]
use crate::weights::source;
use crate::weights::state::StateDict;

/// Weights that are here, or could be.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum WeightsRow {
    /// Inside this binary.
    BuiltIn {
        /// The encoder they are for.
        encoder: &'static str,
        /// True.
        built_in: bool,
        /// Their length.
        bytes: usize,
        /// Their SHA-256, in hexadecimal.
        sha256: String,
    },
    /// Published.
    Published {
        /// The encoder they are for.
        encoder: &'static str,
        /// False.
        built_in: bool,
        /// Where they are: `owner/name`, with a revision and a file.
        repository: &'static str,
        /// Under which licence.
        licence: &'static str,
        /// What they were trained on.
        data: &'static str,
        /// The file in the cache, if they were fetched.
        file: Option<PathBuf>,
        /// Its length.
        bytes: Option<u64>,
    },
}

/// The built-in weights, then the published ones of each encoder.
pub fn list() -> Vec<WeightsRow> {
    let built_in = BuiltIn::all().iter().map(|built_in| WeightsRow::BuiltIn {
        encoder: built_in.encoder,
        built_in: true,
        bytes: built_in.bytes.len(),
        sha256: built_in.sha256(),
    });
    let published = catalog::all().iter().map(|published| {
        let file = fetched(published);
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map(|about| about.len());
        let &Published { encoder, repository, licence, data, .. } = published;
        WeightsRow::Published { encoder, built_in: false, repository, licence, data, file, bytes }
    });
    built_in.chain(published).collect()
}

/// The published weights' file in the cache, if it was fetched.
fn fetched(published: &Published) -> Option<PathBuf> {
    #[cfg(feature = "hub")]
    {
        let file = source::repository(published.repository)?;
        crate::weights::hub::Hub::from_env().ok()?.cached(&file)
    }
    #[cfg(not(feature = "hub"))]
    {
        let _ = published;
        None
    }
}

/// A fetched file.
#[cfg(feature = "hub")]
#[derive(Debug, Clone, Serialize)]
pub struct Pulled {
    /// Where it came from, `owner/name`.
    pub repository: String,
    /// The revision that was asked for.
    pub revision: String,
    /// Where it is now.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Tensors in it.
    pub tensors: usize,
}

/// Fetches the published weights of an encoder, or those of a repository
/// (`owner/name[@revision[/file]]`), into Hugging Face's cache. `on_bytes` is told how many bytes of how
/// many are here.
///
/// # Errors
/// If `name` is neither, the file cannot be fetched or read, or it does not fit the encoder whole.
#[cfg(feature = "hub")]
pub fn pull(name: &str, on_bytes: impl Fn(u64, u64) + Send + Sync + 'static) -> Result<Pulled> {
    let (words, config) = match (name.parse::<EncoderConfig>(), source::repository(name)) {
        (Ok(config), _) => match catalog::of(&config) {
            Some(published) => (published.repository, Some(config)),
            None => {
                return Err(Error::config(format!(
                    "{name} has no published weights; `kshot weights ls` lists those that have"
                )));
            }
        },
        (Err(_), Some(_)) => (name, None),
        (Err(error), None) => {
            return Err(Error::config(format!("{error}; or give a repository as owner/name")));
        }
    };
    let Some(wanted) = source::repository(words) else {
        return Err(Error::config(format!(
            "{words} is no repository; give owner/name, owner/name@revision or \
             owner/name@revision/file"
        )));
    };
    let hub = crate::weights::hub::Hub::from_env()?.with_progress(on_bytes);
    let (file, sha256) = hub.get(&wanted)?;
    let state = StateDict::read(&file)?;
    // Published files change; whether this one fits is known before it is needed.
    if let Some(config) = &config {
        apply::into_encoder(config, &state, &Device::flex())?;
    }
    let about = file.metadata();
    let bytes = about.map_err(|error| Error::io("look at the file", &file, error))?.len();
    let (repository, revision) = (wanted.repository, wanted.revision);
    Ok(Pulled { repository, revision, file, bytes, sha256, tensors: state.tensors.len() })
}

#[cfg(feature = "hub")]
impl fmt::Display for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        writeln!(f, "{} ({megabytes:.1} MB, {} tensors)", self.file.display(), self.tensors)?;
        write!(f, "sha256 {}", self.sha256)
    }
}

/// A tensor of a file.
#[derive(Debug, Clone, Serialize)]
pub struct TensorInfo {
    /// Its name in the file.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its numbers, such as `f32`.
    pub dtype: String,
}

/// What a file of weights holds.
#[derive(Debug, Clone)]
pub struct FileInfo {
    /// Its tensors, by name.
    pub tensors: Vec<TensorInfo>,
    /// Numbers in all of them.
    pub numbers: usize,
    /// The encoders whose every tensor it holds, and nothing else beside a classifier's head or a segmenter's other parts.
    pub fits: Vec<&'static str>,
}

/// Describes a `.safetensors` file, or any file of weights that PyTorch saved.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn info(file: &Path) -> Result<FileInfo> {
    let state = StateDict::read(file)?;
    let tensors = state.tensors.iter().map(|(name, data)| TensorInfo {
        tensor: name.clone(),
        shape: data.shape().to_vec(),
        dtype: format!("{:?}", data.dtype()).to_lowercase(),
    });
    Ok(FileInfo {
        tensors: tensors.collect(),
        numbers: state.tensors.values().map(|data| data.num_elements()).sum(),
        fits: fitting(&state),
    })
}

fn fitting(state: &StateDict) -> Vec<&'static str> {
    let device = Device::flex();
    EncoderConfig::all()
        .iter()
        // Names alone rule most out, without making a network.
        .filter(|config| apply::knows_names(config, state))
        .filter(|config| apply::into_encoder(config, state, &device).is_ok())
        .map(EncoderConfig::name)
        .collect()
}

/// A file that is whole and fits.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    /// The file.
    pub file: PathBuf,
    /// The encoder it fits.
    pub encoder: &'static str,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Tensors in it.
    pub tensors: usize,
    /// True: a file that does not fit is an error.
    pub fits: bool,
    /// Whether it is the file inside this binary.
    pub built_in: bool,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = if self.built_in { ", the same file as the built-in one" } else { "" };
        let Self { encoder, tensors, .. } = self;
        writeln!(f, "{}: fits {encoder} whole ({tensors} tensors{known})", self.file.display())?;
        write!(f, "sha256 {}", self.sha256)
    }
}

/// Whether a file is whole and fits an encoder: nothing missing, nothing left over, every number finite.
///
/// # Errors
/// If it does not, has another SHA-256 than `expected`, or cannot be read.
pub fn verify(file: &Path, encoder: &str, expected: Option<&str>) -> Result<Verified> {
    let config: EncoderConfig = encoder.parse()?;
    let sha256 = hash::of_file(file)?;
    if let Some(expected) = expected
        && !expected.trim().eq_ignore_ascii_case(&sha256)
    {
        return Err(Error::weights(format!(
            "its SHA-256 is {sha256}, not {expected}; it is damaged or another file: fetch it again"
        ))
        .in_file(file));
    }
    let state = StateDict::read(file)?;
    apply::into_encoder(&config, &state, &Device::flex())?;
    for (name, data) in &state.tensors {
        let wrong = data.iter::<f32>().filter(|value| !value.is_finite()).count();
        if wrong > 0 {
            return Err(Error::weights(format!(
                "tensor `{name}` holds {wrong} numbers that are not finite (NaN or infinite); take \
                 weights of an earlier step of the training"
            ))
            .in_file(file));
        }
    }
    let built_in = BuiltIn::find(config.name()).is_some_and(|built_in| built_in.sha256() == sha256);
    Ok(Verified {
        file: file.to_owned(),
        encoder: config.name(),
        sha256,
        tensors: state.tensors.len(),
        fits: true,
        built_in,
    })
}
