//! Where weights come from: built in, a file, or a Hugging Face repository.

use std::path::{Path, PathBuf};

use burn::prelude::Device;

use crate::decoder::{DecoderConfig, Segmenter};
use crate::encoder::{Encoder, EncoderConfig};
use crate::error::{Error, Result};
use crate::hash;
use crate::weights::built_in::BuiltIn;
use crate::weights::segmenter::{DecoderWeights, into_segmenter};
use crate::weights::state::StateDict;
use crate::weights::{apply, catalog};

/// A file of a Hugging Face repository: `owner/name`, `owner/name@revision` or
/// `owner/name@revision/path/in/it.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFile {
    /// `owner/name`.
    pub repository: String,
    /// A branch, tag or commit, or `refs/pr/1` and the like.
    pub revision: String,
    /// The file; the usual names of weights are tried if absent.
    pub file: Option<String>,
}

/// What users write for random weights.
pub const RANDOM: &str = "none";

/// What a user's words for weights mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsSource {
    /// None: random ones from the device's seed, to train from scratch.
    Random,
    /// Inside this binary.
    BuiltIn(&'static BuiltIn),
    /// A file.
    File(PathBuf),
    /// A file of a repository, in the cache or to be fetched.
    Repository(RepositoryFile),
}

impl WeightsSource {
    /// What `weights` means for an encoder: `none` for random ones, a file that exists, or a repository
    /// (`owner/name`). Without `weights`, the built-in ones, else the published ones of `catalog` if they were pulled before.
    ///
    /// # Errors
    /// When there is no such file and the words are no repository either, or when no weights are given
    /// for an encoder that has none at hand.
    pub fn of(config: &EncoderConfig, weights: Option<&Path>) -> Result<Self> {
        let Some(weights) = weights else { return Self::default_of(config) };
        if weights == Path::new(RANDOM) {
            return Ok(Self::Random);
        }
        if weights.is_dir() {
            return Err(Error::weights(
                "a folder where a file of weights is expected; a run's folder is what trainings of supervised and \
                 panet start from, or what `--model` takes",
            )
            .in_file(weights));
        }
        if weights.exists() {
            return Ok(Self::File(weights.to_owned()));
        }
        let words = weights.to_string_lossy();
        if let Some(found) = repository(&words) {
            return Ok(Self::Repository(found));
        }
        Err(Error::weights(
            "no such file, and no repository either; give a .safetensors or .pth file, or a Hugging \
             Face repository as owner/name, owner/name@revision or owner/name@revision/file",
        )
        .in_file(weights))
    }

    /// Whether weights for an encoder are built in or published.
    pub fn is_known(config: &EncoderConfig) -> bool {
        BuiltIn::find(config.name()).is_some() || catalog::of(config).is_some()
    }

    fn default_of(config: &EncoderConfig) -> Result<Self> {
        let name = config.name();
        if let Some(built_in) = BuiltIn::find(name) {
            return Ok(Self::BuiltIn(built_in));
        }
        let Some(published) = catalog::of(config) else {
            return Err(Error::weights(format!(
                "{name} has no built-in weights and none are published; give a weights file, or `none` (model.weights \
                 = \"none\") to train it from scratch"
            )));
        };
        let wanted = RepositoryFile {
            repository: published.repository.to_owned(),
            revision: "main".to_owned(),
            file: None,
        };
        if cached(&wanted).is_some() {
            return Ok(Self::Repository(wanted));
        }
        Err(Error::weights(format!(
            "{name} has no built-in weights; run `kshot weights pull {name}` once (from {}, {}), or \
             give a weights file",
            published.repository, published.licence
        )))
    }

    /// The encoder with these weights, and the SHA-256 of their file (64 hexadecimal digits; empty for random
    /// ones).
    ///
    /// # Errors
    /// When the file cannot be fetched or read, is damaged, or does not fit the encoder whole.
    pub fn load(&self, config: &EncoderConfig, device: &Device) -> Result<(Encoder, String)> {
        let Some((state, sha256)) = self.state()? else {
            return Ok((config.init(device), String::new()));
        };
        Ok((apply::into_encoder(config, &state, device)?, sha256))
    }

    /// An encoder with these weights and a decoder with those of the same file, where it holds a fitting one (see
    /// [`into_segmenter`]), else with random ones (of the device's seed).
    ///
    /// # Errors
    /// As [`Self::load`], and if encoder and decoder do not go together.
    pub fn load_segmenter(
        &self,
        config: &EncoderConfig,
        decoder: &DecoderConfig,
        classes: usize,
        device: &Device,
    ) -> Result<(Segmenter, DecoderWeights)> {
        let Some((state, _)) = self.state()? else {
            let segmenter = Segmenter::new(config.init(device), decoder, classes, device)?;
            return Ok((segmenter, DecoderWeights::Random("no file was given".to_owned())));
        };
        into_segmenter(config, decoder, classes, &state, device)
    }

    /// As [`Self::load`], with the layer before the classifier (see [`apply::into_embedding`]).
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_embedding(
        &self,
        config: &EncoderConfig,
        device: &Device,
    ) -> Result<(Encoder, String)> {
        let Some((state, sha256)) = self.state()? else {
            return Ok((config.init_embedding(device), String::new()));
        };
        Ok((apply::into_embedding(config, &state, device)?, sha256))
    }

    /// The tensors, and the SHA-256 of their file; nothing of random ones.
    fn state(&self) -> Result<Option<(StateDict, String)>> {
        Ok(Some(match self {
            Self::Random => return Ok(None),
            Self::BuiltIn(built_in) => (built_in.state()?, built_in.sha256()),
            Self::File(path) => (StateDict::read(path)?, hash::of_file(path)?),
            Self::Repository(file) => {
                let (path, sha256) = fetch(file)?;
                (StateDict::read(&path)?, sha256)
            }
        }))
    }
}

#[cfg(feature = "hub")]
fn fetch(file: &RepositoryFile) -> Result<(PathBuf, String)> {
    super::hub::Hub::from_env()?.get(file)
}

#[cfg(feature = "hub")]
fn cached(file: &RepositoryFile) -> Option<PathBuf> {
    super::hub::Hub::from_env().ok()?.cached(file)
}

#[cfg(not(feature = "hub"))]
fn fetch(file: &RepositoryFile) -> Result<(PathBuf, String)> {
    Err(Error::weights(format!(
        "this build cannot fetch {} (feature `hub`); fetch its file yourself and give its path",
        file.repository
    )))
}

#[cfg(not(feature = "hub"))]
fn cached(_: &RepositoryFile) -> Option<PathBuf> {
    None
}

/// The repository and file that the words name, if they have that form.
pub fn repository(words: &str) -> Option<RepositoryFile> {
    let (repository, rest) = match words.split_once('@') {
        Some((repository, rest)) => (repository, Some(rest)),
        None => (words, None),
    };
    let (owner, name) = repository.split_once('/')?;
    let legal = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.chars().all(allowed) && !part.starts_with('.')
    };
    // A mistyped path of a file is not taken for a repository.
    let file = [".safetensors", ".pth", ".pt", ".bin"].iter().any(|end| name.ends_with(end));
    if !legal(owner) || !legal(name) || file {
        return None;
    }
    let (revision, file) = match rest {
        None | Some("") => ("main", None),
        Some(rest) => {
            // `refs/pr/1` and the like have slashes of their own.
            let parts = if rest.starts_with("refs/") { 3 } else { 1 };
            match rest.match_indices('/').nth(parts - 1) {
                Some((end, _)) => (&rest[..end], Some(rest[end + 1..].to_owned())),
                None => (rest, None),
            }
        }
    };
    revision.split('/').all(legal).then(|| RepositoryFile {
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_repositories() {
        let found = repository("timm/resnet18.tv_in1k").unwrap();
        assert_eq!((&*found.repository, &*found.revision), ("timm/resnet18.tv_in1k", "main"));
        let found = repository("a/b@v1/sub/model.safetensors").unwrap();
        assert_eq!(
            (&*found.revision, found.file.as_deref()),
            ("v1", Some("sub/model.safetensors"))
        );
        let found = repository("a/b@refs/pr/7").unwrap();
        assert_eq!((&*found.revision, found.file), ("refs/pr/7", None));
        let found = repository("a/b@refs/pr/7/sub/x.pth").unwrap();
        assert_eq!((&*found.revision, found.file.as_deref()), ("refs/pr/7", Some("sub/x.pth")));
        for words in ["resnet.pth", "a/b.pth", "/abs/b", "../b", "a/b/c", "a b/c", "a/", "/"] {
            assert!(repository(words).is_none(), "{words}");
        }
    }

    #[test]
    fn a_missing_file_is_not_taken_for_a_repository() {
        let config: EncoderConfig = "resnet18".parse().unwrap();
        let error = WeightsSource::of(&config, Some(Path::new("some/resnet.pth"))).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
        let tiny: EncoderConfig = "resnet-tiny".parse().unwrap();
        assert!(
            WeightsSource::of(&tiny, None).unwrap_err().to_string().contains("give a weights file")
        );
    }
}
