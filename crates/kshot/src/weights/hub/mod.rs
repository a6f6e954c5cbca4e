//! Weights of Hugging Face repositories, through the cache that its own tools share.
//!
//! Names of files and commits come from the server, so that nothing is written before they are known
//! to be plain ones; sizes, hashes, time-outs and redirects are held against what was announced.

mod cache;
mod facts;
mod names;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kshot_data::lock::Lock;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::cache::{Cache, unwritable};
use self::facts::Announced;
use crate::error::{Error, ErrorKind, Result};
use crate::hash;
use crate::transfer::web::{Advice, Failure, Web, address, escaped};
use crate::transfer::{self, Wanted};
use crate::weights::source::RepositoryFile;

/// The files that hold weights, in the order they are looked for.
const USUAL: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Where repositories are, unless the environment says otherwise.
const ENDPOINT: &str = "https://huggingface.co";

/// A server that sends nothing for that long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// What users are told where a server is odd.
const ADVICE: Advice = Advice {
    check: "check HF_ENDPOINT",
    silence: " (HF_HUB_DOWNLOAD_TIMEOUT sets another limit)",
    unwritable,
};

/// What stays as it is in a part of an address.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A place to fetch from and the cache it fills.
pub struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    silence: Duration,
    on_progress: Option<Box<dyn Fn(u64, u64) + Send + Sync>>,
}

impl Hub {
    /// As the environment says: `HF_HUB_CACHE` or `HF_HOME` (the cache), `HF_ENDPOINT` (a mirror),
    /// `HF_TOKEN` (private repositories; else what `hf auth login` left), `HF_HUB_OFFLINE=1`,
    /// `HF_HUB_DOWNLOAD_TIMEOUT` (seconds for which a server may be silent), `HTTPS_PROXY`.
    ///
    /// # Errors
    /// When no cache folder can be told, or the time-out is no number.
    pub fn from_env() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = match (set("HF_HOME"), std::env::home_dir()) {
            (Some(folder), _) => Some(PathBuf::from(folder)),
            (None, home) => home.map(|home| home.join(".cache/huggingface")),
        };
        let cache = match (set("HF_HUB_CACHE"), &home) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(home)) => home.join("hub"),
            (None, None) => {
                return Err(Error::config(
                    "no home folder, so no cache for weights; set HF_HOME to a folder",
                ));
            }
        };
        let mut places = vec![cache.with_file_name("token")];
        places.extend(home.map(|home| home.join("token")));
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let mut hub = Self::new(cache, endpoint);
        hub.token = set("HF_TOKEN").or_else(|| kept_token(&places));
        let no = ["0", "off", "no", "false"];
        hub.offline =
            set("HF_HUB_OFFLINE").is_some_and(|value| !no.contains(&&*value.to_lowercase()));
        if let Some(given) = set("HF_HUB_DOWNLOAD_TIMEOUT") {
            hub.silence = seconds(&given)?;
        }
        Ok(hub)
    }

    /// With a cache and an address of one's own, without a token.
    pub fn new(cache: PathBuf, endpoint: String) -> Self {
        let (cache, silence) = (Cache::new(cache), SILENCE);
        Self { cache, endpoint, token: None, offline: false, silence, on_progress: None }
    }

    /// Calls `on_progress(done, total)`, in bytes, while a file comes.
    #[must_use]
    pub fn with_progress(mut self, on_progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Box::new(on_progress));
        self
    }

    /// Gives up a server that sends nothing for that long (60 seconds unless said).
    #[must_use]
    pub fn with_timeout(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Asks with a token, which the endpoint's own host alone gets to see.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The file's path in the cache if it is there; nothing is fetched.
    pub fn cached(&self, wanted: &RepositoryFile) -> Option<PathBuf> {
        names::check(wanted).ok()?;
        files(wanted).into_iter().find_map(|file| self.cache.find(wanted, file))
    }

    /// The file's path in the cache, where it is first fetched to if need be, and its SHA-256, which is
    /// compared with what the repository said of it.
    ///
    /// # Errors
    /// When the names are not those of a repository and its file, when it does not exist, the network
    /// fails, the server sends what it did not announce, or the file is damaged.
    pub fn get(&self, wanted: &RepositoryFile) -> Result<(PathBuf, String)> {
        names::check(wanted)?;
        if let Some(path) = self.cached(wanted) {
            let blob = path.canonicalize();
            let blob = blob.map_err(|error| Error::io("open the weights", &path, error))?;
            let tag = blob.file_name().map(|name| name.to_string_lossy().into_owned());
            let sha256 = whole(&blob, &tag.unwrap_or_default(), wanted);
            // A damaged one leaves no link behind either.
            return sha256.map(|sha256| (path.clone(), sha256)).inspect_err(|_| remove(&path));
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
        let web = self.web()?;
        let mut refused = (404, None);
        for file in files(wanted) {
            match self.fetched(&web, wanted, file) {
                Ok(found) => return Ok(found),
                Err(Failure::Refused(status, code)) => refused = (status, code),
                Err(failure) => return Err(failed(wanted, failure)),
            }
        }
        Err(self.absent(wanted, refused.0, refused.1.as_deref()))
    }

    /// Fetches one file of a repository.
    fn fetched(
        &self,
        web: &Web,
        wanted: &RepositoryFile,
        file: &str,
    ) -> Result<(PathBuf, String), Failure> {
        let url = self.address(wanted, file);
        let Announced { commit, tag, size } = &facts::announced(web, &url)?;
        let blob = self.cache.blob(wanted, tag)?;
        // Others who fetch the same content wait here, and then find it.
        let _lock = Lock::of_file(&blob)?;
        let sha256 = match fs::metadata(&blob) {
            Ok(about) if about.len() == *size => whole(&blob, tag, wanted)?,
            _ => {
                let part = blob.with_file_name(format!("{tag}.part"));
                let of = Wanted {
                    url: &url,
                    size: Some(*size),
                    most: facts::MOST_BYTES,
                    tag: Some(tag),
                    tag_of: facts::tag,
                };
                transfer::fetch(web, &of, &part, &|done, _| {
                    if let Some(on_progress) = &self.on_progress {
                        on_progress(done, *size);
                    }
                })?;
                let sha256 = whole(&part, tag, wanted)?;
                fs::rename(&part, &blob).map_err(|error| unwritable(&blob, error))?;
                sha256
            }
        };
        Ok((self.cache.link(wanted, file, commit, &blob)?, sha256))
    }

    /// Who is asked, and as whom.
    fn web(&self) -> Result<Web> {
        let Some(endpoint) = address(self.endpoint.trim_end_matches('/')) else {
            return Err(Error::config(format!(
                "`{}` is no address of a hub; set HF_ENDPOINT to one such as \
                 https://huggingface.co, or unset it",
                escaped(self.endpoint.as_bytes())
            )));
        };
        let token = self.token.clone();
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::config(
                "the token for Hugging Face holds characters that no token has; set HF_TOKEN to one \
                 from https://huggingface.co/settings/tokens, or unset it",
            ));
        }
        Ok(Web::new(ADVICE, self.silence, token.map(|token| (endpoint, token))))
    }

    fn address(&self, wanted: &RepositoryFile, file: &str) -> String {
        let encoded = |part: &str| utf8_percent_encode(part, KEPT).to_string();
        // The slashes of a revision are not those of the path.
        let revision = encoded(&wanted.revision);
        let file: Vec<String> = file.split('/').map(encoded).collect();
        let endpoint = self.endpoint.trim_end_matches('/');
        format!("{endpoint}/{}/resolve/{revision}/{}", wanted.repository, file.join("/"))
    }

    /// What to say where the server has nothing for us.
    fn absent(&self, wanted: &RepositoryFile, status: u16, code: Option<&str>) -> Error {
        let page = format!("{}/{}", self.endpoint.trim_end_matches('/'), wanted.repository);
        let (name, files) = (shown(wanted), files(wanted).join(" and "));
        let token = if self.token.is_some() {
            "the token that is set does not open it"
        } else {
            "set HF_TOKEN if it is private"
        };
        Error::weights(match (status, code) {
            (_, Some("GatedRepo")) => format!(
                "{name}: its owners want to be asked; accept their terms at {page} and set HF_TOKEN \
                 to your token"
            ),
            (404, Some("EntryNotFound")) => format!(
                "{name}: it has no file {files}; choose one of {page}/tree/{} and give it as \
                 {name}/FILE",
                wanted.revision
            ),
            (404, Some("RevisionNotFound")) => format!(
                "{name}: the repository has no revision {}; look it up at {page}",
                wanted.revision
            ),
            (401 | 403, _) => format!(
                "{name}: there is no such repository, or not for us (the server answered {status}; \
                 looked for {files}). Check the name at {page}; {token}"
            ),
            _ => format!(
                "{name}: no such repository, revision or file (the server answered {status}; looked \
                 for {files}). Check the name at {page}; {token}"
            ),
        })
    }
}

/// What `hf auth login` left in one of these places.
fn kept_token(places: &[PathBuf]) -> Option<String> {
    let read = |path: &PathBuf| fs::read_to_string(path).ok();
    places.iter().filter_map(read).map(|text| text.trim().to_owned()).find(|text| !text.is_empty())
}

/// A time-out of the environment.
fn seconds(given: &str) -> Result<Duration> {
    match given.trim().parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::config(format!(
            "HF_HUB_DOWNLOAD_TIMEOUT is `{}`; give whole seconds from 1 to 86400, or unset it",
            escaped(given.as_bytes())
        ))),
    }
}

fn files(wanted: &RepositoryFile) -> Vec<&str> {
    wanted.file.as_deref().map_or_else(|| USUAL.to_vec(), |file| vec![file])
}

fn shown(wanted: &RepositoryFile) -> String {
    format!("{}@{}", wanted.repository, wanted.revision)
}

fn failed(wanted: &RepositoryFile, failure: Failure) -> Error {
    let reason = match failure {
        Failure::Here(error) => return error,
        Failure::Refused(status, _) => format!("the server answered {status}"),
        Failure::Passing(reason) => format!(
            "{reason}; check the network and try again, it goes on where it stopped. Or give a \
             weights file"
        ),
        Failure::Lasting(reason) => reason,
    };
    Error::new(ErrorKind::Io, format!("could not fetch {}: {reason}", shown(wanted)))
}

/// The content's SHA-256, if it is what the repository said: large files are named by it.
fn whole(path: &Path, tag: &str, wanted: &RepositoryFile) -> Result<String> {
    let found = hash::of_file(path)?;
    if !names::is_sha256(tag) || found.eq_ignore_ascii_case(tag) {
        return Ok(found);
    }
    remove(path);
    Err(Error::weights(format!(
        "{}: damaged, its SHA-256 is {found} instead of {tag}; it was taken out of the cache, try \
         again",
        shown(wanted)
    ))
    .in_file(path))
}

fn remove(path: &Path) {
    // What cannot be removed is found to be damaged again next time.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_of_the_environment() {
        assert_eq!(seconds(" 90 ").unwrap(), Duration::from_secs(90));
        for given in ["", "0", "-1", "1.5", "soon", "99999999"] {
            let error = seconds(given).unwrap_err().to_string();
            assert!(error.contains("whole seconds from 1 to 86400"), "{given}: {error}");
        }
    }

    #[test]
    fn the_first_token_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [absent, empty, token] = ["a", "b", "c"].map(|name| folder.path().join(name));
        fs::write(&empty, " \n").unwrap();
        fs::write(&token, "hf_x\n").unwrap();
        assert_eq!(kept_token(&[absent.clone(), empty.clone(), token]).as_deref(), Some("hf_x"));
        assert_eq!(kept_token(&[absent, empty]), None);
    }

    #[test]
    fn addresses_are_encoded() {
        let hub = Hub::new(PathBuf::new(), "https://hub.example/".to_owned());
        let wanted = RepositoryFile {
            repository: "a/b".to_owned(),
            revision: "refs/pr/1".to_owned(),
            file: None,
        };
        assert_eq!(
            hub.address(&wanted, "sub/x y?#%.pth"),
            "https://hub.example/a/b/resolve/refs%2Fpr%2F1/sub/x%20y%3F%23%25.pth"
        );
    }
}
