//! Weights of Hugging Face repositories, through the cache that its own tools share.

use std::path::{Path, PathBuf};

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, ErrorKind, Result};
use crate::hash;
use crate::weights::source::RepositoryFile;

/// The files that hold weights, in the order they are looked for.
const USUAL: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// A failed transfer is taken up again, where it stopped, that many times.
const RETRIES: usize = 4;

/// A place to fetch from and the cache it fills.
pub struct Hub {
    cache: Cache,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
    on_progress: Option<Box<dyn Fn(u64, u64) + Send + Sync>>,
}

impl Hub {
    /// As the environment says: `HF_HUB_CACHE` or `HF_HOME` (the cache), `HF_ENDPOINT` (a mirror),
    /// `HF_TOKEN` (private repositories; else what `hf auth login` left), `HF_HUB_OFFLINE=1`.
    ///
    /// # Errors
    /// When no cache folder can be told.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match (set("HF_HUB_CACHE"), set("HF_HOME"), std::env::home_dir()) {
            (Some(folder), _, _) => Cache::new(PathBuf::from(folder)),
            (_, None, None) => {
                return Err(Error::config(
                    "no home folder, so no cache for weights; set HF_HOME to a folder",
                ));
            }
            _ => Cache::from_env(),
        };
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| value != "0");
        Ok(Self {
            cache,
            endpoint: set("HF_ENDPOINT"),
            token: set("HF_TOKEN"),
            offline,
            on_progress: None,
        })
    }

    /// With a cache and an address of one's own.
    pub fn new(cache: PathBuf, endpoint: String) -> Self {
        let (cache, endpoint) = (Cache::new(cache), Some(endpoint));
        Self { cache, endpoint, token: None, offline: false, on_progress: None }
    }

    /// Calls `on_progress(done, total)`, in bytes, while a file comes.
    #[must_use]
    pub fn with_progress(mut self, on_progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// The file's path in the cache if it is there; nothing is fetched.
    pub fn cached(&self, wanted: &RepositoryFile) -> Option<PathBuf> {
        let cache = self.cache.repo(repo(wanted));
        let found = names(wanted).into_iter().find_map(|name| cache.get(name));
        // A revision given as a commit has no entry among the cache's names of branches.
        found.or_else(|| {
            let folder = cache.pointer_path(&wanted.revision);
            names(wanted).into_iter().map(|name| folder.join(name)).find(|path| path.exists())
        })
    }

    /// The file's path in the cache, where it is first fetched to if need be, and its SHA-256, which is
    /// compared with what the repository said of it.
    ///
    /// # Errors
    /// When the repository or file does not exist, the network fails, or the file is damaged.
    pub fn get(&self, wanted: &RepositoryFile) -> Result<(PathBuf, String)> {
        if let Some(path) = self.cached(wanted) {
            return whole(path, wanted);
        }
        if self.offline {
            return Err(Error::new(
                ErrorKind::Io,
                format!(
                    "{} is not in the cache and HF_HUB_OFFLINE is set; pull it once while online",
                    shown(wanted)
                ),
            ));
        }
        let mut builder =
            ApiBuilder::from_cache(self.cache.clone()).with_retries(RETRIES).with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if let Some(token) = &self.token {
            builder = builder.with_token(Some(token.clone()));
        }
        let api = builder.build().map_err(|error| failed(wanted, &error))?;
        let api = api.repo(repo(wanted));
        let mut absent = None;
        for name in names(wanted) {
            let watch =
                DownloadProgress { on_progress: self.on_progress.as_deref(), total: 0, done: 0 };
            match api.download_with_progress(name, watch) {
                Ok(path) => return whole(path, wanted),
                Err(error) if is_absent(&error) => absent = Some(error),
                Err(error) => return Err(failed(wanted, &error)),
            }
        }
        let reason = absent.map_or_else(String::new, |error| format!(" ({error})"));
        Err(Error::weights(format!(
            "{}: no such repository, revision or file{reason}; looked for {}. Check the name at \
             https://huggingface.co/{}, or set HF_TOKEN for a private one",
            shown(wanted),
            names(wanted).join(" and "),
            wanted.repository
        )))
    }
}

struct DownloadProgress<'a> {
    on_progress: Option<&'a (dyn Fn(u64, u64) + Send + Sync)>,
    total: u64,
    done: u64,
}

impl Progress for DownloadProgress<'_> {
    fn init(&mut self, size: usize, _filename: &str) {
        (self.total, self.done) = (size as u64, 0);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        if let Some(on_progress) = self.on_progress {
            on_progress(self.done, self.total);
        }
    }

    fn finish(&mut self) {}
}

fn repo(wanted: &RepositoryFile) -> Repo {
    Repo::with_revision(wanted.repository.clone(), RepoType::Model, wanted.revision.clone())
}

fn names(wanted: &RepositoryFile) -> Vec<&str> {
    wanted.file.as_deref().map_or_else(|| USUAL.to_vec(), |file| vec![file])
}

fn shown(wanted: &RepositoryFile) -> String {
    format!("{}@{}", wanted.repository, wanted.revision)
}

fn is_absent(error: &ApiError) -> bool {
    let text = error.to_string();
    ["401", "403", "404"].iter().any(|status| text.contains(status))
}

fn failed(wanted: &RepositoryFile, error: &ApiError) -> Error {
    Error::new(
        ErrorKind::Io,
        format!(
            "could not fetch {}: {error}; check the network and try again, it goes on where it \
             stopped. Or give a weights file",
            shown(wanted)
        ),
    )
}

/// The path and SHA-256, if the file is what the repository said: large files are named by it.
fn whole(path: PathBuf, wanted: &RepositoryFile) -> Result<(PathBuf, String)> {
    let blob = path.canonicalize().map_err(|error| Error::io("open the weights", &path, error))?;
    let named =
        blob.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_sha256 = named.len() == 64 && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = hash::of_file(&blob)?;
    if !is_sha256 || found == named {
        return Ok((path, found));
    }
    remove(&path);
    remove(&blob);
    Err(Error::weights(format!(
        "{}: damaged, its SHA-256 is {found} instead of {named}; it was taken out of the cache, try \
         again",
        shown(wanted)
    ))
    .in_file(&path))
}

fn remove(path: &Path) {
    // What cannot be removed is found to be damaged again next time.
    let _ = std::fs::remove_file(path);
}
