//! Fetching weights, against a small server on this machine that answers as a repository does.
#![allow(clippy::unwrap_used)] // helpers of tests
#![cfg(feature = "hub")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kshot::weights::hub::Hub;
use kshot::weights::source::{RepositoryFile, repository};
use sha2::{Digest, Sha256};

/// What the server has and did.
#[derive(Default)]
struct Shelf {
    /// By path below the repository's revision: the content and the SHA-256 it is given out with.
    files: Mutex<HashMap<String, (Vec<u8>, String)>>,
    /// Where each transfer started, in bytes.
    starts: Mutex<Vec<usize>>,
    /// Breaks off the next transfers, each after 1000 bytes.
    breaks: AtomicUsize,
    closed: AtomicBool,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Shelf {
    fn put(&self, path: &str, bytes: &[u8]) {
        let entry = (bytes.to_vec(), sha256(bytes));
        self.files.lock().unwrap().insert(path.to_owned(), entry);
    }

    /// Serves until the test ends; the address is returned.
    fn serve(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A broken connection is what some of these tests are about.
                let _ = shelf.answer(stream);
            }
        });
        address
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut start, mut end) = (0, usize::MAX);
        loop {
            line.clear();
            if reader.read_line(&mut line)? < 3 {
                break;
            }
            if let Some(range) = line.to_lowercase().trim().strip_prefix("range: bytes=") {
                let (first, last) = range.split_once('-').unwrap();
                start = first.parse().unwrap();
                end = last.parse().unwrap_or(usize::MAX);
            }
        }
        let found = self.files.lock().unwrap().get(&path).cloned();
        let Some((bytes, etag)) = found.filter(|_| !self.closed.load(Ordering::SeqCst)) else {
            return stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        };
        let last = end.min(bytes.len() - 1);
        let body = &bytes[start.min(bytes.len())..=last];
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{last}/{}\r\n\
             ETag: \"{etag}\"\r\nX-Repo-Commit: 0123abcd\r\nConnection: close\r\n\r\n",
            body.len(),
            bytes.len()
        )?;
        if end == usize::MAX {
            self.starts.lock().unwrap().push(start);
            let left = self.breaks.load(Ordering::SeqCst);
            if left > 0 {
                self.breaks.store(left - 1, Ordering::SeqCst);
                return stream.write_all(&body[..1000]);
            }
        }
        stream.write_all(body)
    }
}

fn shelf(files: &[(&str, &[u8])]) -> (Arc<Shelf>, String) {
    let shelf = Arc::new(Shelf::default());
    for (path, bytes) in files {
        shelf.put(path, bytes);
    }
    let address = shelf.serve();
    (shelf, address)
}

fn wanted(words: &str) -> RepositoryFile {
    repository(words).unwrap()
}

const PATH: &str = "/lab/net/resolve/main/model.safetensors";

fn content() -> Vec<u8> {
    (0..50_000_u32).map(|i| (i * i % 251) as u8).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_fetched_file_is_used_offline() {
    let (shelf, address) = shelf(&[(PATH, &content())]);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(cache.path().to_owned(), address);
    assert!(hub.cached(&wanted("lab/net")).is_none());
    let (path, digest) = hub.get(&wanted("lab/net")).unwrap();
    assert_eq!((read(&path), digest), (content(), sha256(&content())));
    shelf.closed.store(true, Ordering::SeqCst);
    assert_eq!(hub.get(&wanted("lab/net")).unwrap().0, path);
    assert_eq!(hub.get(&wanted("lab/net@0123abcd")).unwrap().0, path);
    assert_eq!(shelf.starts.lock().unwrap().len(), 1);
}

#[test]
fn an_interrupted_transfer_goes_on_where_it_stopped() {
    let (shelf, address) = shelf(&[(PATH, &content())]);
    shelf.breaks.store(2, Ordering::SeqCst);
    let cache = tempfile::tempdir().unwrap();
    let (path, _) = Hub::new(cache.path().to_owned(), address).get(&wanted("lab/net")).unwrap();
    assert_eq!(read(&path), content());
    assert_eq!(*shelf.starts.lock().unwrap(), [0, 1000, 2000]);
}

#[test]
fn a_damaged_file_is_refused_and_fetched_again() {
    let (shelf, address) = shelf(&[(PATH, &content())]);
    let good = shelf.files.lock().unwrap()[PATH].clone();
    let mut bad = good.clone();
    bad.0[77] ^= 1;
    shelf.files.lock().unwrap().insert(PATH.to_owned(), bad);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(cache.path().to_owned(), address);
    let error = hub.get(&wanted("lab/net")).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&good.1), "{error}");
    shelf.files.lock().unwrap().insert(PATH.to_owned(), good);
    assert_eq!(read(&hub.get(&wanted("lab/net")).unwrap().0), content());
}

#[test]
fn other_names_and_files_are_found_and_missing_ones_named() {
    let files: [(&str, &[u8]); 2] = [
        ("/lab/old/resolve/main/pytorch_model.bin", &[1; 2000]),
        ("/lab/old/resolve/v2/sub/x.pth", &[2; 2000]),
    ];
    let (_shelf, address) = shelf(&files);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(cache.path().to_owned(), address);
    assert_eq!(read(&hub.get(&wanted("lab/old")).unwrap().0), [1; 2000]);
    assert_eq!(read(&hub.get(&wanted("lab/old@v2/sub/x.pth")).unwrap().0), [2; 2000]);
    let error = hub.get(&wanted("lab/nothing")).unwrap_err().to_string();
    assert!(error.contains("lab/nothing@main") && error.contains("model.safetensors"), "{error}");
}

#[test]
fn without_a_network_the_error_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(cache.path().to_owned(), "http://127.0.0.1:1".to_owned());
    let error = hub.get(&wanted("lab/net")).unwrap_err().to_string();
    assert!(error.contains("could not fetch lab/net@main"), "{error}");
}
