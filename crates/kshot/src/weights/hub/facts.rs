//! What a hub's server says of a file before it comes: its commit, its content's name and its length.

use ureq::http::HeaderMap;

use super::names;
use crate::transfer;
use crate::transfer::web::{Failure, Web, escaped, number};

/// No file may be larger: the weights of any network here are far below.
pub(super) const MOST_BYTES: u64 = 8 << 30;

/// What the server said of a file before it came.
#[derive(Debug)]
pub(super) struct Announced {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// The content's name.
    pub(super) tag: String,
    /// Its length.
    pub(super) size: u64,
}

/// What a server says about a file, on the way to it.
#[derive(Debug, Default)]
struct Facts {
    /// The commit that the revision stands for.
    commit: Option<String>,
    /// The content's name: of the large file's own store, else of the answer itself.
    tag: Option<String>,
    /// Its length, where the server says it before the content comes.
    size: Option<u64>,
}

/// Asks about a file.
pub(super) fn announced(web: &Web, url: &str) -> Result<Announced, Failure> {
    let mut facts = Facts::default();
    let response = web.follow(url, "bytes=0-0", &mut |headers, redirected| {
        facts.note(headers, redirected)?;
        Ok(facts.commit.is_some() && facts.tag.is_some() && facts.size.is_some())
    })?;
    let size = facts.size.or_else(|| response.as_ref().and_then(transfer::length));
    let (Some(commit), Some(tag)) = (facts.commit, facts.tag) else {
        return Err(Failure::Lasting(
            "the server does not name the commit and the content (headers X-Repo-Commit and ETag), \
             as a Hugging Face hub does; check HF_ENDPOINT"
                .to_owned(),
        ));
    };
    let Some(size) = size else {
        return Err(Failure::Lasting(
            "the server does not say how large the file is; check HF_ENDPOINT".to_owned(),
        ));
    };
    if size > MOST_BYTES {
        return Err(Failure::Lasting(format!(
            "the file has {size} bytes; at most {MOST_BYTES} are fetched. Give another file of it as \
             owner/name@revision/file"
        )));
    }
    if size == 0 {
        return Err(Failure::Lasting(
            "the file is empty; give another file of it as owner/name@revision/file".to_owned(),
        ));
    }
    Ok(Announced { commit, tag, size })
}

/// The content's name in an answer's headers.
pub(super) fn tag(headers: &HeaderMap, redirected: bool) -> Result<Option<String>, Failure> {
    let linked = named(headers, "X-Linked-Etag", names::of_tag)?;
    // The tag of a redirect is its own, not the file's.
    if linked.is_none() && !redirected {
        return named(headers, "ETag", names::of_tag);
    }
    Ok(linked)
}

impl Facts {
    /// Takes in an answer's headers; what was said first counts.
    fn note(&mut self, headers: &HeaderMap, redirected: bool) -> Result<(), Failure> {
        if self.commit.is_none() {
            self.commit = named(headers, "X-Repo-Commit", names::of_commit)?;
        }
        if self.tag.is_none() {
            self.tag = tag(headers, redirected)?;
        }
        if let (None, Some(sent)) = (self.size, headers.get("X-Linked-Size")) {
            self.size = Some(number(sent.as_bytes()).ok_or_else(|| {
                let sent = escaped(sent.as_bytes());
                Failure::Lasting(format!("the server sent the size `{sent}`, which is no number"))
            })?);
        }
        Ok(())
    }
}

/// A name that a header holds, if the header is there.
fn named(
    headers: &HeaderMap,
    header: &str,
    read: impl Fn(&[u8]) -> Option<String>,
) -> Result<Option<String>, Failure> {
    let Some(sent) = headers.get(header) else { return Ok(None) };
    match read(sent.as_bytes()) {
        Some(name) => Ok(Some(name)),
        None => Err(Failure::Lasting(format!(
            "the server sent `{}` as {header}, which cannot name a file in the cache (valid are \
             letters, digits, `-`, `_` and `.`); nothing was written. Check HF_ENDPOINT",
            escaped(sent.as_bytes())
        ))),
    }
}
