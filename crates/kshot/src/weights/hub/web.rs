//! Requests to a repository's server, with nothing taken on trust: each redirect is looked at, and the
//! token goes to the endpoint's own host alone.

use std::str::FromStr;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, Timeout};

use super::names;
use crate::error::Error;

/// A server that cannot be reached within that time is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// A repository's files are one or two redirects away.
const MOST_REDIRECTS: usize = 10;

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server does not have it, or does not give it to us (401, 403 or 404), and its word for why.
    Refused(u16, Option<String>),
    /// It may be otherwise next time.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// This machine's own fault, such as a full disk.
    Here(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

/// What a server says about a file, on the way to it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The commit that the revision stands for.
    pub(super) commit: Option<String>,
    /// The content's name: of the large file's own store, else of the answer itself.
    pub(super) tag: Option<String>,
    /// Its length, where the server says it before the content comes.
    pub(super) size: Option<u64>,
}

/// Who is asked, and as whom.
pub(super) struct Web {
    agent: Agent,
    endpoint: Uri,
    token: Option<String>,
    silence: Duration,
}

impl Web {
    /// `endpoint` is the address of a hub; a server may be silent for as long as `silence`.
    pub(super) fn new(
        endpoint: &str,
        token: Option<String>,
        silence: Duration,
    ) -> Result<Self, Error> {
        let address =
            Uri::from_str(endpoint).ok().filter(|uri| is_web(uri) && uri.host().is_some());
        let Some(address) = address else {
            return Err(Error::config(format!(
                "`{}` is no address of a hub; set HF_ENDPOINT to one such as \
                 https://huggingface.co, or unset it",
                names::escaped(endpoint.as_bytes())
            )));
        };
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Error::config(
                "the token for Hugging Face holds characters that no token has; set HF_TOKEN to one \
                 from https://huggingface.co/settings/tokens, or unset it",
            ));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Each is looked at below.
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .timeout_recv_response(Some(silence))
            .user_agent(concat!("kshot/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.into(), endpoint: address, token, silence })
    }

    /// How long a server may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// Asks for the bytes `range` of what is at `url`, through all redirects. If `enough` was learnt
    /// on the way, there is no answer.
    pub(super) fn follow(
        &self,
        url: &str,
        range: &str,
        enough: impl Fn(&Facts) -> bool,
    ) -> Result<(Option<Response<Body>>, Facts), Failure> {
        let mut at = Uri::from_str(url)
            .map_err(|error| Failure::Lasting(format!("{url} is no address: {error}")))?;
        let mut facts = Facts::default();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(&at, range)?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            facts.note(response.headers(), redirected)?;
            if !redirected {
                return accepted(&response).map(|()| (Some(response), facts));
            }
            if enough(&facts) {
                return Ok((None, facts));
            }
            at = redirect(&at, response.headers())?;
        }
        Err(Failure::Lasting(format!(
            "the server sends us around in a circle (more than {MOST_REDIRECTS} redirects); check \
             HF_ENDPOINT, or try again later"
        )))
    }

    fn send(&self, at: &Uri, range: &str) -> Result<Response<Body>, Failure> {
        let host = at.host().unwrap_or_default();
        let mut request = self.agent.get(at).header("Range", range);
        // Sizes and hashes are of the file as it is.
        request = request.header("Accept-Encoding", "identity");
        if let Some(token) = &self.token
            && origin(at) == origin(&self.endpoint)
        {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        // No proxy stands between this machine and itself.
        if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
            request = request.config().proxy(None).build();
        }
        request.call().map_err(|error| self.explained(host, &error))
    }

    /// A failed request, in words.
    fn explained(&self, host: &str, error: &ureq::Error) -> Failure {
        use ureq::Error as Cause;
        let host = names::escaped(host.as_bytes());
        let passing = |text: String| Failure::Passing(text);
        match error {
            Cause::Timeout(Timeout::Resolve | Timeout::Connect) => {
                passing(format!("no connection to {host} within {} s", CONNECT.as_secs()))
            }
            Cause::Timeout(_) => passing(format!("{host} {}", self.silent())),
            Cause::HostNotFound => passing(format!("no host {host} is known here")),
            Cause::Io(error) => passing(format!("no connection to {host} ({error})")),
            Cause::ConnectionFailed => passing(format!("no connection to {host}")),
            Cause::ConnectProxyFailed(_) | Cause::InvalidProxyUrl => Failure::Lasting(format!(
                "the proxy does not let us through to {host} ({error}); check HTTPS_PROXY"
            )),
            other => Failure::Lasting(format!("{host} cannot be understood ({other})")),
        }
    }

    /// What is said of a server that is.
    pub(super) fn silent(&self) -> String {
        format!(
            "sent nothing for {} s (HF_HUB_DOWNLOAD_TIMEOUT sets another limit)",
            self.silence.as_secs_f64()
        )
    }
}

impl Facts {
    /// Takes in an answer's headers; what was said first counts.
    fn note(&mut self, headers: &HeaderMap, redirected: bool) -> Result<(), Failure> {
        self.commit = match self.commit.take() {
            None => named(headers, "X-Repo-Commit", names::of_commit)?,
            known => known,
        };
        if self.tag.is_none() {
            self.tag = named(headers, "X-Linked-Etag", names::of_tag)?;
        }
        // The tag of a redirect is its own, not the file's.
        if self.tag.is_none() && !redirected {
            self.tag = named(headers, "ETag", names::of_tag)?;
        }
        self.size = match (self.size, headers.get("X-Linked-Size")) {
            (None, Some(sent)) => Some(number(sent.as_bytes()).ok_or_else(|| {
                let sent = names::escaped(sent.as_bytes());
                Failure::Lasting(format!("the server sent the size `{sent}`, which is no number"))
            })?),
            (known, _) => known,
        };
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
            names::escaped(sent.as_bytes())
        ))),
    }
}

/// A whole number in a header.
pub(super) fn number(sent: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(sent).ok()?.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Whether an answer is one with content, or says that there is none in that range.
fn accepted(response: &Response<Body>) -> Result<(), Failure> {
    if let Some(coding) = response.headers().get("Content-Encoding")
        && coding != "identity"
    {
        return Err(Failure::Lasting(format!(
            "the server sent the file as `{}` although it was asked for as it is; check HF_ENDPOINT",
            names::escaped(coding.as_bytes())
        )));
    }
    let status = response.status().as_u16();
    match status {
        200 | 206 | 416 => Ok(()),
        401 | 403 | 404 => {
            let code = response.headers().get("X-Error-Code");
            let code = code.and_then(|code| code.to_str().ok()).map(str::to_owned);
            Err(Failure::Refused(status, code))
        }
        408 | 429 | 500.. => Err(Failure::Passing(format!("the server answered {status}"))),
        _ => Err(Failure::Lasting(format!(
            "the server answered {status}, which says neither yes nor no; check HF_ENDPOINT"
        ))),
    }
}

/// Where a redirect leads.
fn redirect(at: &Uri, headers: &HeaderMap) -> Result<Uri, Failure> {
    let sent = headers.get("Location").map(|sent| sent.as_bytes()).unwrap_or_default();
    let refused = |why: &str| {
        let sent = names::escaped(sent);
        Failure::Lasting(format!("the server redirects to `{sent}`, {why}; check HF_ENDPOINT"))
    };
    let text = std::str::from_utf8(sent).map_err(|_| refused("which is no address"))?;
    let next = Uri::from_str(&absolute(at, text)).map_err(|_| refused("which is no address"))?;
    if !is_web(&next) || next.host().is_none_or(str::is_empty) {
        return Err(refused("which is no address of the web"));
    }
    if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(refused("which is not encrypted, from an address that is"));
    }
    Ok(next)
}

/// An address that may be relative to another one, in full.
fn absolute(at: &Uri, text: &str) -> String {
    let (scheme, host) = (at.scheme_str().unwrap_or_default(), at.authority());
    let host = host.map(|host| host.as_str()).unwrap_or_default();
    // A colon behind a slash or a question mark belongs to a path.
    let start = text.split(['/', '?', '#']).next().unwrap_or_default();
    if start.contains(':') {
        text.to_owned()
    } else if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{host}{text}")
    } else {
        let folder = at.path().rsplit_once('/').map(|(folder, _)| folder).unwrap_or_default();
        format!("{scheme}://{host}{folder}/{text}")
    }
}

fn is_web(address: &Uri) -> bool {
    matches!(address.scheme_str(), Some("http" | "https"))
}

/// Scheme, host and port: whom one talks to.
fn origin(address: &Uri) -> (Option<&str>, Option<String>, u16) {
    let scheme = address.scheme_str();
    let usual = if scheme == Some("http") { 80 } else { 443 };
    (scheme, address.host().map(str::to_lowercase), address.port_u16().unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn redirects_stay_on_the_web() {
        let to = |at: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Location", location.parse().unwrap());
            redirect(&uri(at), &headers).map(|next| next.to_string())
        };
        let at = "https://hub.example:8080/a/b?x=1";
        for (location, next) in [
            ("/c", "https://hub.example:8080/c"),
            ("c?d", "https://hub.example:8080/a/c?d"),
            ("//cdn.example/c", "https://cdn.example/c"),
            ("https://cdn.example/c:d", "https://cdn.example/c:d"),
        ] {
            assert_eq!(to(at, location).unwrap(), next);
        }
        for location in
            ["http://hub.example/c", "file:///etc/passwd", "ftp://a/b", "javascript:alert(1)", ""]
        {
            // An empty one leads to the folder, which is on the same host.
            assert_eq!(to(at, location).is_err(), !location.is_empty(), "{location}");
        }
        assert!(to("http://a/b", "https://a/b").is_ok());
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let same = |a: &str, b: &str| origin(&uri(a)) == origin(&uri(b));
        assert!(same("https://a/x", "https://A:443/y"));
        for (a, b) in [
            ("https://a", "http://a"),
            ("https://a", "https://a.b"),
            ("http://a:1", "http://a:2"),
            ("https://a", "https://a@b"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(number(b" 12 "), Some(12));
        for sent in ["", "+1", "-1", "1e3", "99999999999999999999999"] {
            assert_eq!(number(sent.as_bytes()), None, "{sent}");
        }
    }
}
