//! `kshot export`: the files that a trained run becomes, from the training on.

use std::fs;

use super::common::{DONE, Place, WRONG_USE};

#[test]
fn a_run_becomes_files_for_other_programs() {
    let place = Place::new();
    let tiny = ["--set", "model.encoder=resnet-tiny", "--set", "model.weights=none"];
    let train = ["train", "--data", "support", "--out", "run", "--steps", "4", "--quiet"];
    let trained = place.kshot(&[&train[..], &tiny].concat());
    assert_eq!(trained.status, DONE, "{}", trained.stderr);

    for (format, more) in [("onnx", &[][..]), ("onnx", &["--size", "96x64"]), ("safetensors", &[])]
    {
        let file = format!("{}.{format}", more.len());
        let arguments = ["export", "run", "--format", format, "--out", &file, "--json"];
        let ran = place.kshot(&[&arguments[..], more].concat());
        assert_eq!(ran.status, DONE, "{format}: {}", ran.stderr);
        let written: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let bytes = fs::read(place.at(&file)).unwrap();
        assert_eq!(written["bytes"], bytes.len());
        assert_eq!(written["classes"], serde_json::json!(["background", "square"]));
        // A file for one size needs no multiple of sides.
        for (word, is_there) in [
            ("kshot.classes", true),
            ("kshot.mean", true),
            ("kshot.size_multiple", more.is_empty()),
        ] {
            let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            assert_eq!(found, is_there, "{format} {more:?}: {word}");
        }
    }

    // kshot's own file is weights to start from.
    let start = ["--set", "model.weights=0.safetensors", "--steps", "4"];
    let again = ["train", "--data", "support", "--out", "again"];
    let ran = place.kshot(&[&again[..], &tiny[..2], &start].concat());
    assert_eq!(ran.status, DONE, "{}", ran.stderr);
    assert!(ran.stderr.contains("the decoder's weights are the file's"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_exported_is_told() {
    let place = Place::new();
    let ran = place.kshot(&["export", "support"]);
    assert_eq!(ran.status, WRONG_USE, "{}", ran.stderr);
    assert!(ran.stderr.contains("recipe.toml"), "{}", ran.stderr);
    let ran = place.kshot(&["export", "support", "--size", "0x5"]);
    assert_eq!(ran.status, WRONG_USE);
    assert!(ran.stderr.contains("480x360"), "{}", ran.stderr);
}
