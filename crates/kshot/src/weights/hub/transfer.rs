//! A file from the server to the cache, taken up again where it stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use super::cache::unwritable;
use super::names;
use super::web::{Facts, Failure, Web, number};

/// A failed transfer is taken up again, where it stopped, that many times.
const RETRIES: u32 = 4;

/// Before the first of them; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(300);

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

/// Told how many bytes of how many are here.
pub(super) type OnBytes<'a> = &'a dyn Fn(u64, u64);

/// Asks about a file.
pub(super) fn announced(web: &Web, url: &str) -> Result<Announced, Failure> {
    let all = |facts: &Facts| facts.commit.is_some() && facts.tag.is_some() && facts.size.is_some();
    let (response, facts) = web.follow(url, "bytes=0-0", all)?;
    let size = facts.size.or_else(|| response.as_ref().and_then(length));
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

/// The length of the whole file that an answer is, or is a part of.
fn length(response: &Response<Body>) -> Option<u64> {
    match response.status().as_u16() {
        200 => response.headers().get("Content-Length").and_then(|sent| number(sent.as_bytes())),
        _ => range(response.headers()).1,
    }
}

/// Of a `Content-Range`: the first byte, and the length of the whole.
fn range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let sent = headers.get("Content-Range").and_then(|sent| sent.to_str().ok());
    let Some((part, whole)) =
        sent.and_then(|sent| sent.trim().strip_prefix("bytes ")?.split_once('/'))
    else {
        return (None, None);
    };
    let first = part.split_once('-').and_then(|(first, _)| number(first.as_bytes()));
    (first, number(whole.as_bytes()))
}

/// Fetches the file into `part`, which may hold its beginning already.
pub(super) fn fetch(
    web: &Web,
    url: &str,
    announced: &Announced,
    part: &Path,
    on_bytes: OnBytes<'_>,
) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        match once(web, url, announced, part, on_bytes) {
            Err(Failure::Passing(_)) if tries < RETRIES => {
                std::thread::sleep((PAUSE * (1 << tries)).min(web.silence()));
                tries += 1;
            }
            other => return other,
        }
    }
}

fn once(
    web: &Web,
    url: &str,
    announced: &Announced,
    part: &Path,
    on_bytes: OnBytes<'_>,
) -> Result<(), Failure> {
    let size = announced.size;
    let start = fs::metadata(part).map_or(0, |about| about.len());
    if start == size {
        return Ok(());
    }
    // What is too long belongs to something else.
    let start = if start > size { 0 } else { start };
    let (response, facts) = web.follow(url, &format!("bytes={start}-"), |_| false)?;
    if facts.tag.is_some_and(|tag| tag != announced.tag) {
        return Err(Failure::Lasting("the file changed while it came; try again".to_owned()));
    }
    let Some(response) = response else {
        return Err(Failure::Passing("no answer came".to_owned()));
    };
    let (start, file) = match response.status().as_u16() {
        206 => (start, going_on(part, start, size, response.headers())?),
        // The server knows no ranges, and gives all of it.
        200 => match length(&response) {
            Some(sent) if sent != size => return Err(mismatch(sent, size)),
            _ => (0, opened(part, 0)?),
        },
        _ => {
            // Nothing is left from there on, it says: what is here is of something else.
            let _ = fs::remove_file(part);
            return Err(Failure::Passing("the server does not go on where it stopped".to_owned()));
        }
    };
    received(web, response.into_body(), file, part, start, size, on_bytes)
}

/// The file that a part is added to, if the part is the one that was asked for.
fn going_on(part: &Path, start: u64, size: u64, headers: &HeaderMap) -> Result<File, Failure> {
    let (first, whole) = range(headers);
    if let Some(whole) = whole
        && whole != size
    {
        return Err(mismatch(whole, size));
    }
    if first != Some(start) {
        let sent = headers.get("Content-Range").map(|sent| sent.as_bytes()).unwrap_or_default();
        return Err(Failure::Lasting(format!(
            "the server was asked for the bytes from {start} on and sent `{}`; check HF_ENDPOINT",
            names::escaped(sent)
        )));
    }
    opened(part, start)
}

fn mismatch(sent: u64, size: u64) -> Failure {
    Failure::Lasting(format!(
        "the server announced {size} bytes and sends {sent}; try again, or check HF_ENDPOINT"
    ))
}

/// The partial file, to be written from `start` on.
fn opened(part: &Path, start: u64) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    if start > 0 {
        options.append(true)
    } else {
        options.write(true).create(true).truncate(true)
    };
    options.open(part).map_err(|error| unwritable(part, error).into())
}

/// Writes what comes, up to the announced size.
fn received(
    web: &Web,
    body: Body,
    mut file: File,
    part: &Path,
    start: u64,
    size: u64,
    on_bytes: OnBytes<'_>,
) -> Result<(), Failure> {
    let mut reader = body.into_reader();
    let mut block = vec![0; 1 << 16];
    let mut done = start;
    loop {
        let count = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Passing(broken(web, done, size, &error))),
        };
        done += count as u64;
        if done > size {
            // None of it can be trusted.
            drop(file);
            let _ = fs::remove_file(part);
            return Err(mismatch(done, size));
        }
        file.write_all(&block[..count]).map_err(|error| unwritable(part, error))?;
        on_bytes(done, size);
    }
    if done < size {
        return Err(Failure::Passing(format!("the connection ended after {done} of {size} bytes")));
    }
    Ok(())
}

/// A transfer that stopped, in words.
fn broken(web: &Web, done: u64, size: u64, error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>());
    let why = match cause {
        Some(ureq::Error::Timeout(_)) => format!("the server {}", web.silent()),
        _ => format!("the connection broke ({error})"),
    };
    format!("{why}, after {done} of {size} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Content-Range", text.parse().unwrap());
            range(&headers)
        };
        assert_eq!(of("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(of("bytes 5-9/*"), (Some(5), None));
        assert_eq!(of("bytes */0"), (None, Some(0)));
        for text in ["", "5-9/10", "bytes -1-2/x", "lines 1-2/3"] {
            assert_eq!(of(text), (None, None), "{text}");
        }
    }
}
