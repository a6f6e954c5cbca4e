//! Ctrl-C while a folder is segmented: what is finished is kept, and the same command goes on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const PICTURES: u64 = 100;

#[test]
fn an_interrupted_run_ends_in_order_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let coins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/coins");
    fs::create_dir(folder.path().join("query")).unwrap();
    for index in 0..PICTURES {
        let to = folder.path().join(format!("query/{index:03}.png"));
        fs::copy(coins.join("query/coins-2.png"), to).unwrap();
    }
    let mut command = Command::new(super::common::binary());
    command.current_dir(folder.path()).arg("segment").arg("--support").arg(coins.join("support"));
    command.args(["--query", "query", "--out", "out", "--method", "prototype", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"event\":\"picture\"")));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{last}");
    let done: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!((done["event"].as_str(), done["cancelled"].as_bool()), (Some("done"), Some(true)));
    let count = done["done"].as_u64().unwrap();
    assert!((1..PICTURES).contains(&count), "{count}");

    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let done: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (done["done"].as_u64(), done["skipped"].as_u64()),
        (Some(PICTURES - count), Some(count))
    );
    assert_eq!(fs::read_dir(folder.path().join("out/masks")).unwrap().count() as u64, PICTURES);
}
