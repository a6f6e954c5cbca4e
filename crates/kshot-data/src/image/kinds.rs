//! Kinds of pictures by their first bytes and endings, those that are not read among them.

use std::collections::BTreeMap;
use std::path::Path;

/// Bytes that tell a kind.
pub const START: usize = 132;

/// Endings of pictures that are not read, with what they are.
const UNREAD: [(&str, &str); 24] = [
    ("heic", "HEIC"),
    ("heif", "HEIC"),
    ("avif", "AVIF"),
    ("jp2", "JPEG 2000"),
    ("j2k", "JPEG 2000"),
    ("jpx", "JPEG 2000"),
    ("nii", "NIfTI"),
    ("nrrd", "NRRD"),
    ("mha", "MetaImage"),
    ("cr2", "raw camera file"),
    ("cr3", "raw camera file"),
    ("nef", "raw camera file"),
    ("arw", "raw camera file"),
    ("dng", "raw camera file"),
    ("raf", "raw camera file"),
    ("orf", "raw camera file"),
    ("rw2", "raw camera file"),
    ("psd", "Photoshop"),
    ("svg", "SVG"),
    ("pdf", "PDF"),
    ("czi", "Zeiss CZI"),
    ("nd2", "Nikon ND2"),
    ("lif", "Leica LIF"),
    ("svs", "Aperio SVS"),
];

/// What a file is that is no picture kshot reads, by its first bytes.
pub fn named(start: &[u8]) -> Option<&'static str> {
    let at =
        |place: usize, bytes: &[u8]| start.get(place..).is_some_and(|of| of.starts_with(bytes));
    let brand = |brands: &[&[u8]]| at(4, b"ftyp") && brands.iter().any(|brand| at(8, brand));
    Some(match start {
        _ if brand(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"]) => {
            "HEIC, as iPhones save photographs"
        }
        _ if brand(&[b"avif", b"avis"]) => "AVIF",
        _ if at(4, b"jP  ") || at(0, b"\xff\x4f\xff\x51") => "JPEG 2000",
        _ if at(0, b"%PDF") => "PDF",
        _ if at(0, b"8BPS") => "Photoshop",
        _ if at(0, b"PK\x03\x04") => "a ZIP archive",
        _ if at(0, b"<!DOC") || at(0, b"<html") || at(0, b"<HTML") => {
            "a web page: the download failed"
        }
        _ if at(0, b"<?xml") || at(0, b"<svg") => "XML or SVG",
        _ if at(0, b"version https://git-lfs") => {
            "a Git LFS pointer: `git lfs pull` fetches the picture"
        }
        _ => return None,
    })
}

/// Pictures of a folder and those below it that are not read, by kind: `3 HEIC, 1 DICOM`; `None` where there is none.
pub fn unread(folder: &Path) -> Option<String> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true).into_iter().filter_map(Result::ok)
    {
        let Some(end) = entry.path().extension().filter(|_| entry.file_type().is_file()) else {
            continue;
        };
        if let Some((_, kind)) = UNREAD.iter().find(|(known, _)| end.eq_ignore_ascii_case(known)) {
            *found.entry(kind).or_default() += 1;
        }
    }
    let words: Vec<String> = found.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named() {
        for (start, kind) in [
            (&b"\0\0\0\x18ftypheic\0\0"[..], Some("HEIC, as iPhones save photographs")),
            (b"\0\0\0\x1cftypavif", Some("AVIF")),
            (b"<!DOCTYPE html>", Some("a web page: the download failed")),
            (b"\x89PNG", None),
            (b"", None),
        ] {
            assert_eq!(named(start), kind);
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.HEIC", "b.heic", "c.nii", "d.png", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(unread(folder.path()).as_deref(), Some("2 HEIC, 1 NIfTI"));
    }
}
