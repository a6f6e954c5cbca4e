//! `kshot export`: the files that a trained run becomes, from the training on.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn kshot(arguments: &[&str]) -> Output {
    Command::new(super::common::binary()).current_dir(root()).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_becomes_files_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = at("run");
    let tiny = ["--set", "model.encoder=resnet-tiny", "--steps", "4", "--quiet"];
    let data = ["train", "--data", "examples/coins/support"];
    let trained =
        kshot(&[&data[..], &tiny, &["--set", "model.weights=none", "--out", &run]].concat());
    assert!(trained.status.success(), "{}", told(&trained));

    for (format, more) in [("onnx", &[][..]), ("onnx", &["--size", "96x64"]), ("safetensors", &[])]
    {
        let file = at(&format!("{}.{format}", more.len()));
        let arguments = ["export", &run, "--format", format, "--out", &file, "--json"];
        let output = kshot(&[&arguments[..], more].concat());
        assert!(output.status.success(), "{format}: {}", told(&output));
        let written: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(written["bytes"], fs::metadata(&file).unwrap().len());
        assert_eq!(written["classes"], serde_json::json!(["background", "coin"]));
        let bytes = fs::read(&file).unwrap();
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
}

#[test]
fn what_cannot_be_exported_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    let output = kshot(&["export", &empty]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("recipe.toml"), "{}", told(&output));
    let output = kshot(&["export", &empty, "--size", "0x5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("480x360"), "{}", told(&output));
}
