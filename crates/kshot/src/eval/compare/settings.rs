//! What two results must have in common.

use super::read::ResultFile;
use super::shown;
use crate::error::{Error, Result};

/// Keys of a protocol without which rows of the same number are others.
fn decisive(protocol: &str) -> &'static [&'static str] {
    match protocol {
        "few-shot-segmentation" => &[
            "/protocol/ways",
            "/protocol/shots",
            "/protocol/folds",
            "/protocol/split",
            "/protocol/counting",
            "/protocol/seed",
        ],
        "few-shot-recognition" => &["/protocol/queries", "/protocol/part", "/protocol/seed"],
        "presence" => &["/protocol/seed"],
        _ => &[],
    }
}

/// Keys that may differ, and then are what is compared as much as the method is.
const COMPARED_TOO: [&str; 5] =
    ["/protocol/labelled", "/protocol/labels", "/protocol/shots", "/data/train", "/data/test"];

/// Refuses results of different protocols or data; what else differs and matters is returned in words.
///
/// # Errors
/// If one of the keys that decide what a row is differs.
pub(super) fn check(first: &ResultFile, second: &ResultFile) -> Result<Vec<String>> {
    let letters = [first.letter, second.letter];
    if first.protocol != second.protocol {
        let differ = [first, second].map(|of| of.protocol.as_str());
        return Err(unlike(second, letters, "protocol.name", differ));
    }
    for pointer in decisive(&first.protocol).iter().chain(&["/data/dataset"]) {
        if let Some([one, other]) = differ(first, second, pointer) {
            return Err(unlike(second, letters, &key(pointer), [&one, &other]));
        }
    }
    let mut warnings: Vec<String> = [first, second]
        .iter()
        .filter(|of| of.smoke)
        .map(|of| format!("{} is of a smoke run: its figures mean nothing", of.letter))
        .collect();
    let recognition = first.protocol == "few-shot-recognition";
    for pointer in COMPARED_TOO {
        // Recognition has ways and shots in its rows.
        if recognition && pointer == "/protocol/shots" {
            continue;
        }
        if let Some([one, other]) = differ(first, second, pointer) {
            let [first, second] = letters;
            warnings.push(format!(
                "{} is {one} in {first} and {other} in {second}: this is compared too, not the methods alone",
                key(pointer)
            ));
        }
    }
    Ok(warnings)
}

/// What a key says in both, where they say different things. What only one says is unknown in the other.
fn differ(first: &ResultFile, second: &ResultFile, pointer: &str) -> Option<[String; 2]> {
    let (one, other) = (first.says(pointer)?, second.says(pointer)?);
    let words =
        |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (one != other).then(|| [words(one), words(other)])
}

/// `/protocol/seed` as it is written in recipes.
fn key(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

fn unlike(
    file: &ResultFile,
    [first, second]: [char; 2],
    key: &str,
    [one, other]: [&str; 2],
) -> Error {
    Error::config(format!(
        "{key} is {one} in {first} and {other} in {second} ({}); only results of the same protocol on the same data can \
         be compared: evaluate both with the same [protocol] and [data]",
        shown(&file.path)
    ))
}
