//! Requests to a server, with nothing taken on trust: each redirect is looked at, and a token goes to
//! its own host alone.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body, Timeout};

use crate::error::Error;

/// A server that cannot be reached within that time is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// Files are one or two redirects away.
const MOST_REDIRECTS: usize = 10;

/// At most that much of what a server sent is repeated in a message.
const SHOWN: usize = 80;

/// Why nothing came.
#[derive(Debug)]
pub enum Failure {
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

/// What users are told where something is odd.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    /// What to do about a server that behaves oddly, such as `check HF_ENDPOINT`.
    pub check: &'static str,
    /// What to do about one that is silent, in brackets after a blank; may be empty.
    pub silence: &'static str,
    /// A failed write, in words.
    pub unwritable: fn(&Path, std::io::Error) -> Error,
}

/// Looks at an answer's headers, and whether it is a redirect; true where that is enough.
pub type Look<'a> = &'a mut dyn FnMut(&HeaderMap, bool) -> Result<bool, Failure>;

/// Who is asked, and as whom.
pub struct Web {
    agent: Agent,
    token: Option<(Uri, String)>,
    silence: Duration,
    /// What users are told.
    pub advice: Advice,
}

impl Web {
    /// Servers may be silent for as long as `silence`; the token goes to its address's own host.
    pub fn new(advice: Advice, silence: Duration, token: Option<(Uri, String)>) -> Self {
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
        Self { agent: config.into(), token, silence, advice }
    }

    /// How long a server may be silent.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// Asks for the bytes `range` of what is at `url`, through all redirects. If `look` saw enough
    /// on the way, there is no answer.
    pub fn follow(
        &self,
        url: &str,
        range: &str,
        look: Look<'_>,
    ) -> Result<Option<Response<Body>>, Failure> {
        let mut at = Uri::from_str(url)
            .map_err(|error| Failure::Lasting(format!("{url} is no address: {error}")))?;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(&at, range)?;
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let enough = look(response.headers(), redirected)?;
            if !redirected {
                return self.accepted(&response).map(|()| Some(response));
            }
            if enough {
                return Ok(None);
            }
            at = self.redirect(&at, response.headers())?;
        }
        Err(Failure::Lasting(format!(
            "the server sends us around in a circle (more than {MOST_REDIRECTS} redirects); {}, or try \
             again later",
            self.advice.check
        )))
    }

    fn send(&self, at: &Uri, range: &str) -> Result<Response<Body>, Failure> {
        let host = at.host().unwrap_or_default();
        let mut request = self.agent.get(at).header("Range", range);
        // Sizes and hashes are of the file as it is.
        request = request.header("Accept-Encoding", "identity");
        if let Some((endpoint, token)) = &self.token
            && origin(at) == origin(endpoint)
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
        let host = escaped(host.as_bytes());
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
    pub fn silent(&self) -> String {
        format!("sent nothing for {} s{}", self.silence.as_secs_f64(), self.advice.silence)
    }

    /// Whether an answer is one with content, or says that there is none in that range.
    fn accepted(&self, response: &Response<Body>) -> Result<(), Failure> {
        if let Some(coding) = response.headers().get("Content-Encoding")
            && coding != "identity"
        {
            return Err(Failure::Lasting(format!(
                "the server sent the file as `{}` although it was asked for as it is; {}",
                escaped(coding.as_bytes()),
                self.advice.check
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
                "the server answered {status}, which says neither yes nor no; {}",
                self.advice.check
            ))),
        }
    }

    /// Where a redirect leads.
    fn redirect(&self, at: &Uri, headers: &HeaderMap) -> Result<Uri, Failure> {
        let sent = headers.get("Location").map(|sent| sent.as_bytes()).unwrap_or_default();
        let refused = |why: &str| {
            let (sent, check) = (escaped(sent), self.advice.check);
            Failure::Lasting(format!("the server redirects to `{sent}`, {why}; {check}"))
        };
        let text = std::str::from_utf8(sent).map_err(|_| refused("which is no address"))?;
        let next =
            Uri::from_str(&absolute(at, text)).map_err(|_| refused("which is no address"))?;
        if !is_web(&next) || next.host().is_none_or(str::is_empty) {
            return Err(refused("which is no address of the web"));
        }
        if at.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
            return Err(refused("which is not encrypted, from an address that is"));
        }
        Ok(next)
    }
}

/// A whole number in a header.
pub fn number(sent: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(sent).ok()?.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Anything, in printable characters and not at length.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text: String = bytes.escape_ascii().map(char::from).take(SHOWN + 1).collect();
    if text.len() > SHOWN {
        text.truncate(SHOWN);
        text.push_str("...");
    }
    text
}

/// An address of the web with a host.
pub fn address(text: &str) -> Option<Uri> {
    let has_host = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty());
    Uri::from_str(text).ok().filter(|uri| is_web(uri) && has_host(uri))
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
        let advice = Advice { check: "", silence: "", unwritable: |_, _| Error::config("") };
        let web = Web::new(advice, CONNECT, None);
        let to = |at: &str, location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("Location", location.parse().unwrap());
            web.redirect(&uri(at), &headers).map(|next| next.to_string())
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
    fn what_is_shown_is_printable_and_short() {
        assert_eq!(escaped(b"a\x1b[2J\n\xff"), "a\\x1b[2J\\n\\xff");
        assert_eq!(escaped(&[b'x'; 500]).len(), SHOWN + 3);
    }

    #[test]
    fn numbers_have_digits_only() {
        assert_eq!(number(b" 12 "), Some(12));
        for sent in ["", "+1", "-1", "1e3", "99999999999999999999999"] {
            assert_eq!(number(sent.as_bytes()), None, "{sent}");
        }
    }
}
