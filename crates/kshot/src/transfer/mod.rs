//! Files from the web: taken up again where they stopped, and held against what was announced.
//!
//! Weights (`weights::hub`) and data sets (`data::download`) come this way.

pub mod web;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Body;
use ureq::http::{HeaderMap, Response};

use self::web::{Failure, Web, escaped, number};

/// A failed transfer is taken up again, where it stopped, that many times.
const RETRIES: u32 = 4;

/// Before the first of them; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(300);

/// After so many bytes since the last failure the retries count anew: large files come in many pieces.
const FAR: u64 = 16 << 20;

/// The content's name in an answer's headers, if they say it; told whether it is a redirect.
pub type TagOf = fn(&HeaderMap, bool) -> Result<Option<String>, Failure>;

/// A file that is fetched, and what the server said of it before it came.
pub struct Wanted<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Its length, if it is known.
    pub size: Option<u64>,
    /// No more bytes than that are taken.
    pub most: u64,
    /// The content's name, if it has one: with another one in the answer it is another content.
    pub tag: Option<&'a str>,
    /// How an answer names it.
    pub tag_of: TagOf,
}

/// Told how many bytes are here, and of how many.
pub type OnBytes<'a> = &'a dyn Fn(u64, Option<u64>);

/// The `ETag` of the answer that holds the content.
///
/// # Errors
/// None; one that cannot be read is none.
pub fn etag(headers: &HeaderMap, redirected: bool) -> Result<Option<String>, Failure> {
    let sent = headers.get("ETag").filter(|_| !redirected).and_then(|sent| sent.to_str().ok());
    // A weak one does not stand for the same bytes.
    Ok(sent.filter(|tag| !tag.starts_with("W/")).map(str::to_owned))
}

/// Asks about a file: its length and its `ETag`, as far as the server says.
///
/// # Errors
/// If it is not there or the server cannot be reached.
pub fn ask(web: &Web, url: &str) -> Result<(Option<u64>, Option<String>), Failure> {
    let mut tag = None;
    let response = web.follow(url, "bytes=0-0", &mut |headers, redirected| {
        tag = etag(headers, redirected)?;
        Ok(false)
    })?;
    Ok((response.as_ref().and_then(length), tag))
}

/// The length of the whole file that an answer is, or is a part of.
pub fn length(response: &Response<Body>) -> Option<u64> {
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
///
/// # Errors
/// If it does not come, or is not what was announced.
pub fn fetch(
    web: &Web,
    wanted: &Wanted<'_>,
    part: &Path,
    on_bytes: OnBytes<'_>,
) -> Result<(), Failure> {
    let (mut tries, mut before) = (0, here(part));
    loop {
        match once(web, wanted, part, on_bytes) {
            Err(Failure::Passing(_)) if tries < RETRIES || here(part) >= before + FAR => {
                let now = here(part);
                if now >= before + FAR {
                    tries = 0;
                }
                before = now;
                std::thread::sleep((PAUSE * (1 << tries)).min(web.silence()));
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Bytes of a partial file.
fn here(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |about| about.len())
}

fn once(web: &Web, wanted: &Wanted<'_>, part: &Path, on_bytes: OnBytes<'_>) -> Result<(), Failure> {
    let start = here(part);
    if wanted.size == Some(start) && start > 0 {
        return Ok(());
    }
    // What is too long belongs to something else.
    let start = if start > wanted.size.unwrap_or(wanted.most) { 0 } else { start };
    let mut tag = None;
    let response =
        web.follow(wanted.url, &format!("bytes={start}-"), &mut |headers, redirected| {
            if tag.is_none() {
                tag = (wanted.tag_of)(headers, redirected)?;
            }
            Ok(false)
        })?;
    let Some(response) = response else {
        return Err(Failure::Passing("no answer came".to_owned()));
    };
    if let (Some(sent), Some(tag)) = (&tag, wanted.tag)
        && sent != tag
    {
        return Err(Failure::Lasting("the file changed while it came; try again".to_owned()));
    }
    let size = wanted.size.or_else(|| length(&response));
    if let Some(size) = size
        && size > wanted.most
    {
        return Err(Failure::Lasting(too_large(size, wanted.most)));
    }
    let (start, file) = match response.status().as_u16() {
        206 => (start, going_on(web, part, start, size, response.headers())?),
        // The server knows no ranges, and gives all of it.
        200 => match (length(&response), size) {
            (Some(sent), Some(size)) if sent != size => return Err(mismatch(web, sent, size)),
            _ => (0, opened(web, part, 0)?),
        },
        // Nothing is left from there on, since all of it is here.
        _ if wanted.size.is_none() && start > 0 && size == Some(start) => return Ok(()),
        _ => {
            // What is here is of something else.
            let _ = fs::remove_file(part);
            return Err(Failure::Passing("the server does not go on where it stopped".to_owned()));
        }
    };
    let comes = Coming { part, start, size, most: wanted.most };
    received(web, response.into_body(), file, &comes, on_bytes)
}

fn too_large(size: u64, most: u64) -> String {
    format!("the file has {size} bytes; at most {most} are fetched")
}

/// The file that a part is added to, if the part is the one that was asked for.
fn going_on(
    web: &Web,
    part: &Path,
    start: u64,
    size: Option<u64>,
    headers: &HeaderMap,
) -> Result<File, Failure> {
    let (first, whole) = range(headers);
    if let (Some(whole), Some(size)) = (whole, size)
        && whole != size
    {
        return Err(mismatch(web, whole, size));
    }
    if first != Some(start) {
        let sent = headers.get("Content-Range").map(|sent| sent.as_bytes()).unwrap_or_default();
        return Err(Failure::Lasting(format!(
            "the server was asked for the bytes from {start} on and sent `{}`; {}",
            escaped(sent),
            web.advice.check
        )));
    }
    opened(web, part, start)
}

fn mismatch(web: &Web, sent: u64, size: u64) -> Failure {
    Failure::Lasting(format!(
        "the server announced {size} bytes and sends {sent}; try again, or {}",
        web.advice.check
    ))
}

/// The partial file, to be written from `start` on.
fn opened(web: &Web, part: &Path, start: u64) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    if start > 0 {
        options.append(true)
    } else {
        options.write(true).create(true).truncate(true)
    };
    options.open(part).map_err(|error| (web.advice.unwritable)(part, error).into())
}

/// What is about to come, and where to.
struct Coming<'a> {
    part: &'a Path,
    start: u64,
    size: Option<u64>,
    most: u64,
}

/// Writes what comes, up to the announced size.
fn received(
    web: &Web,
    body: Body,
    mut file: File,
    comes: &Coming<'_>,
    on_bytes: OnBytes<'_>,
) -> Result<(), Failure> {
    let Coming { part, start, size, most } = *comes;
    let mut reader = body.into_reader();
    let mut block = vec![0; 1 << 16];
    let mut done = start;
    let of = size.map_or_else(String::new, |size| format!(" of {size}"));
    loop {
        let count = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Passing(broken(web, done, &of, &error))),
        };
        done += count as u64;
        if done > size.unwrap_or(most) {
            // None of it can be trusted.
            drop(file);
            let _ = fs::remove_file(part);
            return Err(match size {
                Some(size) => mismatch(web, done, size),
                None => Failure::Lasting(too_large(done, most)),
            });
        }
        file.write_all(&block[..count]).map_err(|error| (web.advice.unwritable)(part, error))?;
        on_bytes(done, size);
    }
    if size.is_some_and(|size| done < size) {
        return Err(Failure::Passing(format!("the connection ended after {done}{of} bytes")));
    }
    Ok(())
}

/// A transfer that stopped, in words.
fn broken(web: &Web, done: u64, of: &str, error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>());
    let why = match cause {
        Some(ureq::Error::Timeout(_)) => format!("the server {}", web.silent()),
        _ => format!("the connection broke ({error})"),
    };
    format!("{why}, after {done}{of} bytes")
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
