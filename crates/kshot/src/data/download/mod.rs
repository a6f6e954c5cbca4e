//! Data sets from their own sources: downloaded, held against a sum, unpacked.
//!
//! ```text
//! catalog -> NAME.part  taken up where it stopped
//!         -> NAME       its MD5 or SHA-256 is the published one, or that of the first download
//!         -> unpacked below the folder, and NAME removed; noted in .kshot-download.json
//! ```
//! Nothing is taken that the user did not accept the terms of: [`Download::run`] asks nobody, its caller does.

pub mod catalog;
pub mod record;
pub mod unpack;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kshot_data::atomic::write_error;
use kshot_data::lock::Lock;
use serde::Serialize;

use self::catalog::{Check, Origin, Published, RemoteFile, Then};
use self::record::{Entry, Record, sums};
use self::unpack::{Limits, Unpacking};
use crate::error::{Error, ErrorKind, Result};
use crate::transfer::web::{Advice, Failure, Web};
use crate::transfer::{self, Wanted};

/// A server that sends nothing for that long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// What users are told where a server is odd.
const ADVICE: Advice = Advice {
    check: "try again later",
    silence: "",
    unwritable: |path, error| write_error(path, error),
};

/// Entries of an archive at most; COCO's largest has about 120 000.
const MOST_ENTRIES: u64 = 2_000_000;
/// A file may be so many times as long as the catalog says, and unpacked so many times as long.
const SLACK: [u64; 2] = [2, 30];
/// More bytes than that are always let through.
const FREE: u64 = 256 << 20;

/// A data set to download, and where to.
pub struct Download<'a> {
    published: &'a Published,
    out: PathBuf,
    parts: Vec<String>,
    force: bool,
    silence: Duration,
}

/// What happens.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A file is there already.
    AlreadyThere {
        /// Its name.
        file: String,
        /// Whether kshot downloaded and checked it.
        checked: bool,
    },
    /// A file begins to come.
    Start {
        /// Its name.
        file: String,
        /// Its address.
        url: String,
        /// Its length, if the server says it.
        bytes: Option<u64>,
        /// What is here of it already.
        here: u64,
    },
    /// Some of it came.
    #[serde(skip)]
    Bytes {
        /// Bytes that are here.
        done: u64,
        /// Of how many.
        total: Option<u64>,
    },
    /// A file is as it should be.
    Checked(Fetched),
    /// Entries that are unpacked.
    #[serde(skip)]
    Unpacking {
        /// So many.
        entries: u64,
    },
}

/// A file that was downloaded.
#[derive(Debug, Clone, Serialize)]
pub struct Fetched {
    /// Its name.
    pub file: String,
    /// Its address.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// What it was held against: `md5`, `sha256` or `first-use`.
    pub check: &'static str,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyThere { file, checked: true } => write!(f, "{file}: already there"),
            Self::AlreadyThere { file, .. } => {
                write!(
                    f,
                    "{file}: what it holds is already there; kshot did not download and check it"
                )
            }
            Self::Start { file, url, here: 0, .. } => write!(f, "{file}: from {url}"),
            Self::Start { file, url, here, .. } => {
                write!(f, "{file}: from {url}, on from byte {here}")
            }
            Self::Bytes { done, .. } => write!(f, "{done} bytes"),
            Self::Checked(Fetched { file, sha256, check: "first-use", .. }) => write!(
                f,
                "{file}: nobody publishes a sum of it, so that its source was trusted; its SHA-256 {sha256} is kept \
                 and counts from now on"
            ),
            Self::Checked(Fetched { file, check, .. }) => {
                write!(f, "{file}: its {} is right", check.to_uppercase())
            }
            Self::Unpacking { entries } => write!(f, "{entries} entries unpacked"),
        }
    }
}

/// Where it is now.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The data set of recipes that reads it.
    pub dataset: &'static str,
    /// Its folder: `data.root`.
    pub root: PathBuf,
}

impl<'a> Download<'a> {
    /// A data set into a folder.
    pub fn new(published: &'a Published, out: impl Into<PathBuf>) -> Self {
        Self { published, out: out.into(), parts: Vec::new(), force: false, silence: SILENCE }
    }

    /// These parts alone.
    #[must_use]
    pub fn parts(self, parts: Vec<String>) -> Self {
        Self { parts, ..self }
    }

    /// Downloads again what is there, and lets the new SHA-256 count where nobody publishes a sum.
    #[must_use]
    pub fn force(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Gives up a server that sends nothing for that long (60 seconds unless said).
    #[must_use]
    pub fn with_timeout(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Downloads, checks and unpacks what is not there; the terms are accepted.
    ///
    /// # Errors
    /// If the data set is had by hand alone (the message says how), a part is unknown, a file does not come, is not
    /// what it should be or cannot be unpacked.
    pub fn run(&self, tell: &dyn Fn(&Event)) -> Result<Outcome> {
        let published = self.published;
        if let Origin::ByHand(how) = published.origin {
            return Err(Error::config(format!(
                "{} cannot be downloaded by kshot: {how}\nIts terms: {} ({})",
                published.name, published.terms, published.page
            )));
        }
        let files = published.chosen(&self.parts)?;
        fs::create_dir_all(&self.out).map_err(|error| write_error(&self.out, error))?;
        // Others who download into it wait here, and then find it.
        let _lock = Lock::of_file(&self.out)?;
        let web = Web::new(ADVICE, self.silence, None);
        for file in files {
            self.one(&web, file, tell)?;
        }
        let root = match published.root {
            "" => self.out.clone(),
            below => self.out.join(below),
        };
        Ok(Outcome { dataset: published.dataset, root })
    }

    fn one(&self, web: &Web, file: &RemoteFile, tell: &dyn Fn(&Event)) -> Result<()> {
        let mut record = Record::read(&self.out)?;
        let path = self.out.join(file.name);
        let before = record.files.get(file.name).filter(|entry| entry.url == file.url).cloned();
        let there = match file.then {
            Then::Keep => path.is_file() && before.is_some(),
            Then::Unpack { holds, .. } => self.out.join(holds).exists(),
        };
        // What was begun to be unpacked is no whole data set.
        let begun = before.as_ref().is_some_and(|entry| !entry.in_place);
        if there && !begun && !self.force {
            let checked = before.is_some();
            tell(&Event::AlreadyThere { file: file.name.to_owned(), checked });
            return Ok(());
        }
        if self.force {
            remove(&path);
        }
        // What somebody put there by hand stays theirs.
        let ours = !path.is_file() || begun;
        if !path.is_file() {
            self.fetched(web, file, &path, tell)?;
        }
        let (bytes, sha256, md5) = sums(&path)?;
        let first = before.filter(|_| !self.force).map(|entry| entry.sha256);
        if let Some(what) = mismatch(file.check, &sha256, &md5, first.as_deref()) {
            if ours {
                remove(&path);
            }
            let done =
                if ours { "; it was removed. Try again" } else { ". Move it away and try again" };
            return Err(Error::data(format!(
                "{what}{done}; if that does not help, its source was changed: see {}",
                self.published.page
            ))
            .in_file(&path));
        }
        let check = match file.check {
            Check::Md5(_) => "md5",
            Check::Sha256(_) => "sha256",
            Check::FirstUse if first.is_some() => "sha256",
            Check::FirstUse => "first-use",
        };
        let (url, name) = (file.url.to_owned(), file.name.to_owned());
        tell(&Event::Checked(Fetched {
            file: name.clone(),
            url: url.clone(),
            bytes,
            sha256: sha256.clone(),
            check,
        }));
        let entry = Entry { url, bytes, sha256, md5, in_place: false };
        let keep = |record: &mut Record, in_place| {
            record.files.insert(name.clone(), Entry { in_place, ..entry.clone() });
            record.write(&self.out)
        };
        if let Then::Unpack { kind, strip, into, holds } = file.then {
            keep(&mut record, false)?;
            let bytes = (file.bytes * SLACK[1]).max(FREE);
            let limits = Limits { entries: MOST_ENTRIES, bytes };
            let into = self.out.join(into);
            let of = Unpacking { archive: &path, kind, strip, into: &into, limits };
            unpack::unpack(&of, &|entries| tell(&Event::Unpacking { entries }))?;
            if !self.out.join(holds).exists() {
                return Err(Error::data(format!(
                    "the archive holds no `{holds}`: it is not the one that kshot knows; see {}",
                    self.published.page
                ))
                .in_file(&path));
            }
        }
        keep(&mut record, true)?;
        if ours && matches!(file.then, Then::Unpack { .. }) {
            remove(&path);
        }
        Ok(())
    }

    /// Downloads a file to its path, by way of a partial one.
    fn fetched(
        &self,
        web: &Web,
        file: &RemoteFile,
        path: &Path,
        tell: &dyn Fn(&Event),
    ) -> Result<()> {
        let wrong = |failure| self.failed(file, failure);
        let part = self.out.join(format!("{}.part", file.name));
        let noted = self.out.join(format!("{}.part.etag", file.name));
        let (size, tag) = transfer::ask(web, file.url).map_err(wrong)?;
        // The beginning of another content is of no use.
        if fs::read_to_string(&noted).ok() != tag {
            remove(&part);
        }
        match &tag {
            Some(tag) => kshot_data::atomic::write(&noted, tag.as_bytes())?,
            None => remove(&noted),
        }
        if self.force {
            remove(&part);
        }
        let here = fs::metadata(&part).map_or(0, |about| about.len());
        let (name, url) = (file.name.to_owned(), file.url.to_owned());
        tell(&Event::Start { file: name, url, bytes: size, here });
        let wanted = Wanted {
            url: file.url,
            size,
            most: (file.bytes * SLACK[0]).max(FREE),
            tag: tag.as_deref(),
            tag_of: transfer::etag,
        };
        let on_bytes = |done, total| tell(&Event::Bytes { done, total });
        transfer::fetch(web, &wanted, &part, &on_bytes).map_err(wrong)?;
        fs::rename(&part, path).map_err(|error| write_error(path, error))?;
        remove(&noted);
        Ok(())
    }

    /// A failed download, in words.
    fn failed(&self, file: &RemoteFile, failure: Failure) -> Error {
        let reason = match failure {
            Failure::Here(error) => return error,
            Failure::Refused(status, _) => format!(
                "the server answered {status}; it may have moved, see {}. A file that you have from elsewhere can be \
                 put at {}, and the same command goes on with it",
                self.published.page,
                self.out.join(file.name).display()
            ),
            Failure::Passing(reason) => format!(
                "{reason}; check the network and give the same command again, it goes on where it stopped"
            ),
            Failure::Lasting(reason) => reason,
        };
        Error::new(ErrorKind::Io, format!("could not download {}: {reason}", file.url))
    }
}

/// What is wrong with a file's sums, if anything is; `first` is the SHA-256 of the first download.
fn mismatch(check: Check, sha256: &str, md5: &str, first: Option<&str>) -> Option<String> {
    let other = |kind: &str, found: &str, right: &str| {
        (!found.eq_ignore_ascii_case(right))
            .then(|| format!("damaged, its {kind} is {found} instead of {right}"))
    };
    match (check, first) {
        (Check::Md5(right), _) => other("MD5", md5, right),
        (Check::Sha256(right), _) => other("SHA-256", sha256, right),
        (Check::FirstUse, Some(first)) if !sha256.eq_ignore_ascii_case(first) => Some(format!(
            "another file than the first time, its SHA-256 is {sha256} instead of {first} (--force lets the new one \
             count)"
        )),
        (Check::FirstUse, _) => None,
    }
}

fn remove(path: &Path) {
    // What cannot be removed is found to be wrong again next time.
    let _ = fs::remove_file(path);
}
