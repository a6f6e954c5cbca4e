//! Downloading data sets, against a small server on this machine: resumed, held against sums, unpacked inside the folder.
#![allow(clippy::unwrap_used)] // helpers of tests
#![cfg(feature = "hub")]

#[path = "web_support/mod.rs"]
mod web_support;

use std::cell::RefCell;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use kshot::data::download::catalog::{self, Archive, Check, Origin, Published, RemoteFile, Then};
use kshot::data::download::unpack::{Limits, Unpacking, unpack};
use kshot::data::download::{Download, Event, Outcome};
use md5::{Digest, Md5};
use tempfile::TempDir;
use web_support::{Answer, Request, Server};

const UNPACKED: [(&str, &[u8]); 3] =
    [("top/set/images/a.txt", b"one"), ("top/set/b.txt", b"two"), ("top/other/c.txt", b"three")];

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        // By hand, since the library does not write names that lead outside.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn md5(bytes: &[u8]) -> &'static str {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>().leak()
}

/// A data set of one file that the server gives out.
fn published(server: &Server, check: Check, then: Then) -> Published {
    let file = RemoteFile {
        part: "all",
        url: format!("{}/data/set.bin", server.address).leak(),
        name: "set.bin",
        bytes: 5000,
        check,
        then,
    };
    Published {
        name: "small",
        about: "a set",
        dataset: "folder",
        root: "",
        terms: "MIT",
        page: "https://set.example/about",
        origin: Origin::Files(vec![file].leak()),
    }
}

fn unpacked(kind: Archive) -> Then {
    Then::Unpack { kind, strip: "top/set/", into: "", holds: "images" }
}

fn run(published: &Published, out: &Path) -> Result<(Outcome, Vec<String>), String> {
    run_with(published, out, |download| download)
}

fn run_with(
    published: &Published,
    out: &Path,
    change: impl FnOnce(Download<'_>) -> Download<'_>,
) -> Result<(Outcome, Vec<String>), String> {
    let events = RefCell::new(Vec::new());
    let download = Download::new(published, out).with_timeout(Duration::from_millis(200));
    let outcome = change(download).run(&|event: &Event| {
        if !matches!(event, Event::Bytes { .. } | Event::Unpacking { .. }) {
            events.borrow_mut().push(event.to_string());
        }
    });
    outcome.map(|outcome| (outcome, events.into_inner())).map_err(|error| error.to_string())
}

/// Files below, as paths from there.
fn below(folder: &Path) -> Vec<String> {
    let all = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    let files = all.map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            entry.path().strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/")
        })
        .collect()
}

fn serving(bytes: Vec<u8>) -> Server {
    Server::start(move |request| Answer::part(request, &bytes, "\"0123\""))
}

fn starts(server: &Server) -> Vec<(usize, bool)> {
    server.asked.lock().unwrap().iter().map(Request::range).collect()
}

#[test]
fn archives_of_all_kinds_are_checked_unpacked_and_noted() {
    for (kind, bytes) in [
        (Archive::Zip, zip(&UNPACKED)),
        (Archive::Tar, tar(&UNPACKED)),
        (Archive::TarGz, gzip(&tar(&UNPACKED))),
    ] {
        let sum = md5(&bytes);
        let server = serving(bytes);
        let set = published(&server, Check::Md5(sum), unpacked(kind));
        let out = tempfile::tempdir().unwrap();
        let (outcome, events) = run(&set, out.path()).unwrap();
        assert_eq!((outcome.dataset, &*outcome.root), ("folder", out.path()));
        assert!(events[0].starts_with("set.bin: from http") && events[1].contains("MD5 is right"));
        assert_eq!(below(out.path()), [".kshot-download.json", "b.txt", "images/a.txt"]);
        assert_eq!(std::fs::read(out.path().join("images/a.txt")).unwrap(), b"one");
        let asked = server.asked();
        let (_, events) = run(&set, out.path()).unwrap();
        assert_eq!(events, ["set.bin: already there"]);
        assert_eq!(server.asked(), asked, "nothing is asked for");
        let (_, events) = run_with(&set, out.path(), |download| download.force(true)).unwrap();
        assert!(events[1].contains("MD5 is right") && server.asked() > asked, "{events:?}");
    }
}

#[test]
fn a_cut_transfer_goes_on_where_it_stopped() {
    let bytes: Vec<u8> = (0..5000_u32).map(|at| (at * at % 251) as u8).collect();
    let sum = md5(&bytes);
    let sent = bytes.clone();
    let short = Server::start(move |request| {
        let mut answer = Answer::part(request, &sent, "\"0123\"");
        if !request.range().1 {
            let left = answer.body.len();
            answer = answer.with("Content-Length", left);
            answer.body.truncate(100);
        }
        answer
    });
    let out = tempfile::tempdir().unwrap();
    let error = run(&published(&short, Check::Md5(sum), Then::Keep), out.path()).unwrap_err();
    assert!(error.contains("500 of 5000 bytes") && error.contains("goes on"), "{error}");
    assert_eq!(below(out.path()), ["set.bin.part", "set.bin.part.etag"]);
    let whole = serving(bytes.clone());
    let (_, events) = run(&published(&whole, Check::Md5(sum), Then::Keep), out.path()).unwrap();
    assert!(events[0].ends_with("on from byte 500"), "{events:?}");
    assert_eq!(starts(&whole), [(0, true), (500, false)]);
    assert_eq!(std::fs::read(out.path().join("set.bin")).unwrap(), bytes);
    assert_eq!(below(out.path()), [".kshot-download.json", "set.bin"]);
}

#[test]
fn the_beginning_of_another_content_and_servers_without_ranges_start_anew() {
    let bytes = vec![7; 5000];
    let sum = md5(&bytes);
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("set.bin.part"), [1; 700]).unwrap();
    std::fs::write(out.path().join("set.bin.part.etag"), "\"of-old\"").unwrap();
    let server = serving(bytes.clone());
    run(&published(&server, Check::Md5(sum), Then::Keep), out.path()).unwrap();
    assert_eq!(starts(&server), [(0, true), (0, false)]);
    for chunked in [false, true] {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("set.bin.part"), [1; 700]).unwrap();
        let sent = bytes.clone();
        let server =
            Server::start(move |_| Answer { body: sent.clone(), chunked, ..Answer::of(200) });
        run(&published(&server, Check::Md5(sum), Then::Keep), out.path()).unwrap();
        assert_eq!(std::fs::read(out.path().join("set.bin")).unwrap(), bytes);
    }
}

#[test]
fn a_body_of_unknown_length_that_is_cut_is_not_taken_for_whole() {
    let server = Server::start(|_| Answer {
        body: vec![7; 3000],
        chunked: true,
        stalls: true,
        ..Answer::of(200)
    });
    let out = tempfile::tempdir().unwrap();
    let error = run(&published(&server, Check::FirstUse, Then::Keep), out.path()).unwrap_err();
    assert!(error.contains("could not download") && error.contains("same command"), "{error}");
    assert!(!out.path().join("set.bin").exists());
}

#[test]
fn a_wrong_sum_is_refused_and_the_file_removed() {
    let sum = md5(b"another file");
    let server = serving(zip(&UNPACKED));
    let out = tempfile::tempdir().unwrap();
    let set = published(&server, Check::Md5(sum), unpacked(Archive::Zip));
    let error = run(&set, out.path()).unwrap_err();
    assert!(error.contains("damaged, its MD5") && error.contains(sum), "{error}");
    assert!(error.contains("https://set.example/about"), "{error}");
    assert!(below(out.path()).is_empty(), "{:?}", below(out.path()));
    // One that somebody put there stays.
    std::fs::write(out.path().join("set.bin"), "mine").unwrap();
    let error = run(&set, out.path()).unwrap_err();
    assert!(error.contains("Move it away"), "{error}");
    assert_eq!(below(out.path()), ["set.bin"]);
    let set = published(&server, Check::Sha256(sum), Then::Keep);
    assert!(run(&set, out.path()).unwrap_err().contains("its SHA-256 is"));
}

#[test]
fn without_a_published_sum_the_first_download_counts() {
    let turn = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&turn);
    let server = Server::start(move |request| {
        let byte = now.load(Ordering::SeqCst) as u8;
        Answer::part(request, &vec![byte; 5000], "\"0123\"")
    });
    let set = published(&server, Check::FirstUse, Then::Keep);
    let out = tempfile::tempdir().unwrap();
    let (_, events) = run(&set, out.path()).unwrap();
    assert!(events[1].contains("source was trusted"), "{events:?}");
    let file = out.path().join("set.bin");
    std::fs::remove_file(&file).unwrap();
    let (_, events) = run(&set, out.path()).unwrap();
    assert!(events[1].contains("SHA256 is right"), "{events:?}");
    std::fs::remove_file(&file).unwrap();
    turn.store(1, Ordering::SeqCst);
    let error = run(&set, out.path()).unwrap_err();
    assert!(error.contains("another file than the first time"), "{error}");
    assert!(error.contains("--force") && !file.exists(), "{error}");
    run_with(&set, out.path(), |download| download.force(true)).unwrap();
    std::fs::remove_file(&file).unwrap();
    run(&set, out.path()).unwrap();
}

#[test]
fn nothing_is_unpacked_outside_the_folder() {
    let escapes =
        ["../evil.txt", "top/set/../../../evil.txt", "/tmp/kshot-evil.txt", "top\\..\\evil"];
    for name in escapes {
        let entries = [("top/set/images/a.txt", &b"one"[..]), (name, b"evil")];
        for (kind, bytes) in [(Archive::Zip, zip(&entries)), (Archive::TarGz, gzip(&tar(&entries)))]
        {
            let server = serving(bytes);
            let set = published(&server, Check::FirstUse, unpacked(kind));
            let place = tempfile::tempdir().unwrap();
            let out = place.path().join("a/b");
            let error = run(&set, &out).unwrap_err();
            assert!(error.contains("would lie outside the folder"), "{name}: {error}");
            let evil = |file: &String| file.contains("evil");
            assert!(!below(place.path()).iter().any(evil), "{:?}", below(place.path()));
            assert!(!Path::new("/tmp/kshot-evil.txt").exists());
            // What was begun is not taken for whole.
            assert!(run(&set, &out).is_err());
        }
    }
}

#[test]
fn links_in_archives_are_refused() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "top/set/images", "/etc").unwrap();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.add_symlink("top/set/images", "/etc", options).unwrap();
    for (kind, bytes) in [
        (Archive::Tar, tar.into_inner().unwrap()),
        (Archive::Zip, zip.finish().unwrap().into_inner()),
    ] {
        let server = serving(bytes);
        let set = published(&server, Check::FirstUse, unpacked(kind));
        let out = tempfile::tempdir().unwrap();
        let error = run(&set, out.path()).unwrap_err();
        assert!(error.contains("is a link or a device"), "{error}");
        assert!(!out.path().join("images").exists());
    }
}

#[test]
fn no_more_is_unpacked_than_the_limits() {
    let place = tempfile::tempdir().unwrap();
    let (archive, into) = (place.path().join("a.tgz"), place.path().join("out"));
    // A bomb: 64 MiB of zeros in some kilobytes.
    std::fs::write(&archive, gzip(&tar(&[("a", &vec![0; 64 << 20]), ("b", b"b")]))).unwrap();
    for (entries, bytes, says) in [
        (10, 1 << 20, "more than 1048576 bytes when unpacked"),
        (1, 1 << 30, "more than 1 entries"),
        (10, 1 << 30, ""),
    ] {
        let limits = Limits { entries, bytes };
        let (archive, into) = (&archive, &into);
        let of = Unpacking { archive, kind: Archive::TarGz, strip: "", into, limits };
        match unpack(&of, &|_| {}) {
            Ok(files) => assert!(files == 2 && says.is_empty()),
            Err(error) => {
                assert!(!says.is_empty() && error.to_string().contains(says), "{error}");
                let length = std::fs::metadata(into.join("a")).unwrap().len();
                assert!(length <= bytes + 1 || entries == 1, "{length}");
            }
        }
    }
}

#[test]
fn damaged_truncated_and_other_archives_are_told() {
    for kind in [Archive::Zip, Archive::Tar, Archive::TarGz] {
        let whole = match kind {
            Archive::Zip => zip(&UNPACKED),
            Archive::Tar => tar(&UNPACKED),
            Archive::TarGz => gzip(&tar(&UNPACKED)),
        };
        // Within the second header.
        let half = whole[..whole.len().min(1400) * 4 / 5].to_vec();
        for bytes in [half, b"<html>not found</html>".repeat(100)] {
            let server = serving(bytes);
            let out = tempfile::tempdir().unwrap();
            let set = published(&server, Check::FirstUse, unpacked(kind));
            let error = run(&set, out.path()).unwrap_err();
            assert!(error.contains("not a whole archive"), "{kind:?}: {error}");
        }
    }
    let server = serving(zip(&[("top/set/b.txt", b"two")]));
    let out = tempfile::tempdir().unwrap();
    let set = published(&server, Check::FirstUse, unpacked(Archive::Zip));
    let error = run(&set, out.path()).unwrap_err();
    assert!(error.contains("holds no `images`"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    for (status, words) in [
        (404, "may have moved, see https://set.example/about"),
        (403, "the server answered 403"),
        (503, "goes on where it stopped"),
        (418, "neither yes nor no"),
    ] {
        let server = Server::start(move |_| Answer::of(status));
        let out = tempfile::tempdir().unwrap();
        let error = run(&published(&server, Check::FirstUse, Then::Keep), out.path()).unwrap_err();
        assert!(error.contains(words) && error.contains("/data/set.bin"), "{error}");
        assert!(below(out.path()).is_empty());
    }
    let large = Server::start(|request| {
        let answer = Answer::part(request, &[7; 5000], "\"0123\"");
        let headers = answer.headers.into_iter().filter(|(name, _)| name != "Content-Range");
        let answer = Answer { headers: headers.collect(), ..answer };
        answer.with("Content-Range", "bytes 0-0/99999999999")
    });
    let out = tempfile::tempdir().unwrap();
    let error = run(&published(&large, Check::FirstUse, Then::Keep), out.path()).unwrap_err();
    assert!(error.contains("at most"), "{error}");
}

#[test]
fn what_is_had_by_hand_says_how() {
    let out = tempfile::tempdir().unwrap();
    for (name, words) in [
        ("cityscapes", ["https://www.cityscapes-dataset.com/register/", "gtFine"]),
        ("mini-imagenet", ["nobody publishes it officially", "train.csv"]),
    ] {
        let error = run(catalog::find(name).unwrap(), out.path()).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let coco = catalog::find("coco-2017").unwrap();
    let error = run_with(coco, out.path(), |download| download.parts(vec!["vall".to_owned()]));
    let error = error.unwrap_err();
    assert!(error.contains("did you mean `val`?"), "{error}");
    assert!(below(out.path()).is_empty());
}

/// Threads stand for processes: the lock is the operating system's.
#[test]
fn two_at_once_download_it_once() {
    let server = serving(zip(&UNPACKED));
    let set = published(&server, Check::FirstUse, unpacked(Archive::Zip));
    let out: TempDir = tempfile::tempdir().unwrap();
    let folder: PathBuf = out.path().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run(&set, &folder).unwrap());
        }
    });
    assert_eq!(starts(&server).iter().filter(|(_, probe)| !probe).count(), 1);
}
