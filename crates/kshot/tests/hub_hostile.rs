//! Fetching weights from servers that err or mean harm: nothing leaves the cache, nothing hangs, the
//! token stays with its own host.
#![allow(clippy::unwrap_used)] // helpers of tests
#![cfg(feature = "hub")]

#[path = "web_support/mod.rs"]
mod web_support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kshot::weights::hub::Hub;
use kshot::weights::source::{RepositoryFile, repository};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use web_support::{Answer, Request, Server};

fn hub_of(server: &Server, cache: &TempDir) -> Hub {
    Hub::new(cache.path().join("hub"), server.address.clone())
        .with_timeout(Duration::from_millis(200))
}

fn content() -> Vec<u8> {
    (0..5_000_u32).map(|i| (i * i % 251) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wanted() -> RepositoryFile {
    repository("lab/net").unwrap()
}

/// Every file and folder below, but for the cache's folder itself.
fn below(folder: &Path) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(folder).min_depth(1).into_iter();
    all.map(|entry| entry.unwrap().into_path()).collect()
}

fn refused(server: &Server, words: &[&str]) {
    let cache = tempfile::tempdir().unwrap();
    let error = hub_of(server, &cache).get(&wanted()).unwrap_err().to_string();
    for word in words.iter().chain(&["lab/net@main"]) {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
    assert!(error.bytes().all(|byte| !byte.is_ascii_control()), "{error}");
    assert!(below(cache.path()).is_empty(), "{:?}", below(cache.path()));
}

#[test]
fn names_that_leave_the_cache_are_refused_before_anything_is_written() {
    for sent in [
        "\"../../../../evil\"",
        "/etc/passwd",
        "..",
        "\"\"",
        "W/\"..\\..\\evil\"",
        "C:evil",
        "a/b",
        "a b",
        &"x".repeat(1000),
    ] {
        let tag = sent.to_owned();
        let server = Server::start(move |request| Answer::part(request, &content(), &tag));
        refused(&server, &["ETag", "nothing was written"]);
        let tag = sent.to_owned();
        let server = Server::start(move |request| {
            Answer::part(request, &content(), "\"0123\"").with("X-Linked-Etag", &tag)
        });
        refused(&server, &["X-Linked-Etag", "nothing was written"]);
        let commit = sent.to_owned();
        let server = Server::start(move |request| {
            let mut answer = Answer::part(request, &content(), "\"0123\"");
            answer.headers.retain(|(name, _)| name != "X-Repo-Commit");
            answer.with("X-Repo-Commit", &commit)
        });
        refused(&server, &["X-Repo-Commit", "nothing was written"]);
    }
}

#[test]
fn names_of_users_that_leave_the_cache_are_not_asked_for() {
    let server = Server::start(|request| Answer::part(request, &content(), "\"0123\""));
    let cache = tempfile::tempdir().unwrap();
    let hub = hub_of(&server, &cache);
    for (repository, revision, file) in [
        ("../../evil", "main", None),
        ("/abs", "main", None),
        ("lab/net", "../../../evil", None),
        ("lab/net", "main", Some("../../../../evil")),
        ("lab/net", "main", Some("/etc/passwd")),
        ("lab/net", "main", Some("C:\\evil")),
        ("lab/net", "main", Some("a//b")),
        ("lab/net", "main", Some("a\r\nHost: evil")),
    ] {
        let wanted = RepositoryFile {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        };
        let error = hub.get(&wanted).unwrap_err().to_string();
        assert!(error.contains("give"), "{error}");
        assert!(hub.cached(&wanted).is_none());
    }
    assert_eq!(server.asked(), 0);
    assert!(below(cache.path()).is_empty());
}

#[test]
fn a_commit_in_the_cache_that_leads_out_of_it_is_not_followed() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("hub/models--lab--net");
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::create_dir_all(folder.join("snapshots")).unwrap();
    std::fs::write(folder.join("refs/main"), "../../..").unwrap();
    std::fs::write(cache.path().join("model.safetensors"), "x").unwrap();
    let hub = Hub::new(cache.path().join("hub"), "http://127.0.0.1:1".to_owned());
    assert!(hub.cached(&wanted()).is_none());
}

/// Large files come from another host, under the hash and size that the hub says; the hub's own tags of
/// the redirect do not count, and the token goes to the hub alone.
#[test]
fn a_large_file_comes_from_elsewhere_without_the_token() {
    let store = Server::start(|request| Answer::part(request, &content(), "\"of-the-store\""));
    let away = store.address.clone();
    let server = Server::start(move |_| {
        Answer::of(302)
            .with("Location", format!("{away}/some/where?signed=1"))
            .with("ETag", "\"of-the-redirect\"")
            .with("X-Linked-Etag", format!("\"{}\"", sha256(&content())))
            .with("X-Linked-Size", content().len())
            .with("X-Repo-Commit", "0123abcd")
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = hub_of(&server, &cache).with_token("hf_secret");
    let (path, digest) = hub.get(&wanted()).unwrap();
    assert_eq!((std::fs::read(&path).unwrap(), &digest), (content(), &sha256(&content())));
    let folder = cache.path().join("hub/models--lab--net");
    assert_eq!(path, folder.join("snapshots/0123abcd/model.safetensors"));
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).unwrap(), "0123abcd");
    assert_eq!(below(&folder.join("blobs")), [folder.join("blobs").join(&digest)]);
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(&digest));
    for (asked, token) in [(&server.asked, Some("Bearer hf_secret")), (&store.asked, None)] {
        let asked = asked.lock().unwrap();
        assert!(!asked.is_empty());
        for request in &*asked {
            assert_eq!(request.headers.get("authorization").map(String::as_str), token);
        }
    }
    assert_eq!(store.asked.lock().unwrap()[0].path, "/some/where?signed=1");
}

#[test]
fn a_file_of_a_request_for_changes_has_its_own_branch() {
    let server = Server::start(|request| Answer::part(request, &content(), "\"0123\""));
    let cache = tempfile::tempdir().unwrap();
    let wanted = repository("lab/net@refs/pr/1/sub/x.safetensors").unwrap();
    let (path, _) = hub_of(&server, &cache).get(&wanted).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked[0].path, "/lab/net/resolve/refs%2Fpr%2F1/sub/x.safetensors");
    assert!(cache.path().join("hub/models--lab--net/refs/refs/pr/1").is_file());
    let offline = Hub::new(cache.path().join("hub"), "http://127.0.0.1:1".to_owned());
    assert_eq!(offline.get(&wanted).unwrap().0, path);
}

#[test]
fn redirects_end() {
    let server = Server::start(|_| Answer::of(302).with("Location", "/again"));
    refused(&server, &["circle", "10 redirects"]);
    assert_eq!(server.asked(), 11);
    for location in ["file:///etc/passwd", "ftp://host/x", "https://", "http:///x"] {
        let server = Server::start(move |_| Answer::of(302).with("Location", location));
        refused(&server, &["redirects to", location, "no address"]);
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let server =
        Server::start(|_| Answer { stalls: true, ..Answer::of(200) }.with("Content-Length", 9));
    // The size is known, but nothing of it comes, however often it is tried.
    let tagged = |answer: Answer| answer.with("ETag", "\"0123\"").with("X-Repo-Commit", "0123abcd");
    let half = Server::start(move |request| {
        let mut answer = Answer::part(request, &content(), "\"0123\"");
        if !request.range().1 {
            let left = answer.body.len();
            answer = answer.with("Content-Length", left);
            answer.body.truncate(10);
            answer.stalls = true;
        }
        answer
    });
    let error =
        hub_of(&server, &tempfile::tempdir().unwrap()).get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("headers X-Repo-Commit and ETag"), "{error}");
    let cache = tempfile::tempdir().unwrap();
    let error = hub_of(&half, &cache).get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("sent nothing for 0.2 s") && error.contains("try again"), "{error}");
    // Asked once about the file, then tried five times, ten bytes further each time.
    let starts: Vec<usize> =
        half.asked.lock().unwrap().iter().skip(1).map(|request| request.range().0).collect();
    assert_eq!(starts, [0, 10, 20, 30, 40]);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", mute.local_addr().unwrap());
    let hub = Hub::new(cache.path().to_owned(), address).with_timeout(Duration::from_millis(200));
    let error = hub.get(&repository("lab/other").unwrap()).unwrap_err().to_string();
    assert!(error.contains("lab/other@main") && error.contains("sent nothing"), "{error}");
    // A server without ranges and with a size is fetched whole.
    let plain = Server::start(move |_| tagged(Answer { body: content(), ..Answer::of(200) }));
    let (path, _) = hub_of(&plain, &tempfile::tempdir().unwrap()).get(&wanted()).unwrap();
    assert_eq!(path.file_name().unwrap(), "model.safetensors");
}

#[test]
fn a_transfer_that_never_ends_well_goes_on_next_time() {
    let short = |request: &Request| {
        let mut answer = Answer::part(request, &content(), "\"0123\"");
        if !request.range().1 {
            let left = answer.body.len();
            answer = answer.with("Content-Length", left);
            answer.body.truncate(100);
        }
        answer
    };
    let cache = tempfile::tempdir().unwrap();
    let error = hub_of(&Server::start(short), &cache).get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("500 of 5000 bytes") && error.contains("goes on"), "{error}");
    let whole = Server::start(|request| Answer::part(request, &content(), "\"0123\""));
    let (path, _) = hub_of(&whole, &cache).get(&wanted()).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
    let starts: Vec<_> = whole.asked.lock().unwrap().iter().map(Request::range).collect();
    assert_eq!(starts, [(0, true), (500, false)]);
}

#[test]
fn what_was_not_announced_is_refused() {
    let large = Server::start(|request| {
        Answer::part(request, &content(), "\"0123\"").with("X-Linked-Size", 9_u64 << 30)
    });
    refused(&large, &["9663676416 bytes", "at most"]);
    let odd = Server::start(|request| {
        Answer::part(request, &content(), "\"0123\"").with("X-Linked-Size", "-1")
    });
    refused(&odd, &["the size `-1`"]);
    let empty = Server::start(|_| {
        let answer = Answer::of(416).with("Content-Range", "bytes */0");
        answer.with("ETag", "\"0123\"").with("X-Repo-Commit", "0123abcd")
    });
    refused(&empty, &["empty"]);
    for (changed, words) in [
        (("Content-Range", "bytes 0-4999/6000"), "announced 5000 bytes and sends 6000"),
        (("Content-Range", "bytes 7-4999/5000"), "`bytes 7-4999/5000`"),
        (("ETag", "\"4567\""), "changed while it came"),
        (("Content-Encoding", "gzip"), "`gzip`"),
    ] {
        let server = Server::start(move |request| {
            let mut answer = Answer::part(request, &content(), "\"0123\"");
            if !request.range().1 {
                answer.headers.retain(|(name, _)| *name != changed.0);
                answer = answer.with(changed.0, changed.1);
            }
            answer
        });
        let cache = tempfile::tempdir().unwrap();
        let error = hub_of(&server, &cache).get(&wanted()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(below(cache.path()).iter().all(|path| !path.is_file()));
    }
}

#[test]
fn another_hash_than_announced_is_refused() {
    let tag = sha256(b"something else");
    let sent = tag.clone();
    let server =
        Server::start(move |request| Answer::part(request, &content(), &format!("\"{sent}\"")));
    let cache = tempfile::tempdir().unwrap();
    let error = hub_of(&server, &cache).get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&tag), "{error}");
    assert!(below(cache.path()).iter().all(|path| !path.is_file()));
}

#[test]
fn refusals_say_what_to_do() {
    for (status, code, words) in [
        (404, "EntryNotFound", vec!["it has no file model.safetensors and pytorch_model.bin"]),
        (404, "RevisionNotFound", vec!["no revision main"]),
        (403, "GatedRepo", vec!["accept their terms", "HF_TOKEN"]),
        (401, "RepoNotFound", vec!["no such repository, or not for us", "401", "HF_TOKEN"]),
        (404, "", vec!["no such repository, revision or file", "model.safetensors"]),
        (503, "", vec!["the server answered 503", "try again"]),
        (418, "", vec!["the server answered 418", "HF_ENDPOINT"]),
    ] {
        let server = Server::start(move |_| Answer::of(status).with("X-Error-Code", code));
        refused(&server, &words);
    }
    let cache = tempfile::tempdir().unwrap();
    for endpoint in ["", "hub.example", "ftp://hub.example", "http://"] {
        let hub = Hub::new(cache.path().to_owned(), endpoint.to_owned());
        let error = hub.get(&wanted()).unwrap_err().to_string();
        assert!(error.contains("HF_ENDPOINT"), "{endpoint}: {error}");
    }
    let hub = Hub::new(cache.path().to_owned(), "http://127.0.0.1:1".to_owned());
    let error = hub.with_token("a\r\nb").get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN") && !error.contains("a\r"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_cache_in_the_way_is_said_in_words() {
    let server = Server::start(|request| Answer::part(request, &content(), "\"0123\""));
    let cache = tempfile::tempdir().unwrap();
    std::fs::write(cache.path().join("hub"), "a file").unwrap();
    let error = hub_of(&server, &cache).get(&wanted()).unwrap_err().to_string();
    assert!(error.contains("set HF_HOME"), "{error}");
}

/// Threads stand for processes: each has its own hub, and the lock is the operating system's.
#[test]
fn two_at_once_fetch_it_once() {
    let server = Server::start(|request| Answer::part(request, &content(), "\"0123\""));
    let cache = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let hub = hub_of(&server, &cache).with_timeout(Duration::from_secs(20));
                assert_eq!(std::fs::read(hub.get(&wanted()).unwrap().0).unwrap(), content());
            });
        }
    });
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|request| !request.range().1).count(), 1);
}

/// The layout of the Python tools: what they fetched is found, links that lead nowhere are not.
#[cfg(unix)]
#[test]
fn what_others_fetched_is_found() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("hub/models--lab--net");
    for name in ["blobs", "refs", "snapshots/0123abcd"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("refs/main"), "0123abcd").unwrap();
    let link = folder.join("snapshots/0123abcd/model.safetensors");
    std::os::unix::fs::symlink("../../blobs/beef", &link).unwrap();
    let server = Server::start(|request| Answer::part(request, &content(), "\"beef\""));
    assert!(hub_of(&server, &cache).cached(&wanted()).is_none());
    assert_eq!(
        std::fs::read(hub_of(&server, &cache).get(&wanted()).unwrap().0).unwrap(),
        content()
    );
    let asked = server.asked();
    assert_eq!(hub_of(&server, &cache).get(&wanted()).unwrap().0, link);
    assert_eq!(server.asked(), asked);
}
