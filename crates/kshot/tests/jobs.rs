//! Jobs as a program calls them: what they tell, and how they are stopped and go on.
#![allow(clippy::unwrap_used)] // helpers of tests
#![cfg(feature = "embedded-weights")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kshot::features::embed::InputViews;
use kshot::job::{
    ClassSource, ClassifyOptions, Event, SegmentOptions, SegmentOutcome, Watch, classify, segment,
};

fn examples(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

fn coins(out: &Path) -> SegmentOptions {
    let method = "prototype".to_owned();
    SegmentOptions {
        method,
        ..SegmentOptions::new(examples("coins/support"), examples("coins/query"), out)
    }
}

fn drawings(out: &Path) -> ClassifyOptions {
    let source = ClassSource::Support {
        path: examples("drawings/support"),
        shots: None,
        encoder: kshot::weights::DEFAULT.to_owned(),
        input_views: InputViews { size: 64, views: 1 },
    };
    ClassifyOptions::new(source, examples("drawings/query"), out)
}

/// Runs `job`, which is stopped at the first event that `stop_at` accepts, and gives what it told.
fn watched<T>(
    stop_at: impl Fn(&Event<'_>) -> bool + Sync,
    job: impl FnOnce(&Watch<'_>) -> T,
) -> (T, Vec<serde_json::Value>) {
    let (stop, told) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let tell = |event: &Event<'_>| {
        told.lock().unwrap().push(serde_json::to_value(event).unwrap());
        if stop_at(event) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let outcome = job(&Watch::new(&tell).cancelled_by(&stop));
    (outcome, told.into_inner().unwrap())
}

fn names(told: &[serde_json::Value]) -> Vec<&str> {
    told.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// Done, skipped, failed.
fn counts(outcome: &SegmentOutcome) -> [usize; 3] {
    [outcome.counts.done, outcome.counts.skipped, outcome.counts.failed]
}

#[test]
fn segmenting_tells_every_step_once() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, told) = watched(|_| false, |watch| segment(&coins(folder.path()), watch));
    assert_eq!(counts(&outcome.unwrap()), [4, 0, 0]);
    let trial = ["at-hand", "at-hand", "tried", "at-hand"];
    let mut expected = [&["start"][..], &trial[..], &["fitted", "progress"][..]].concat();
    expected.extend(["picture", "progress"].repeat(4));
    expected.push("done");
    assert_eq!(names(&told), expected);
    assert_eq!(told[0]["pictures"], 4);
    assert_eq!(told[6], serde_json::json!({"event": "progress", "done": 0, "total": 4}));
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&told[3]), ["event", "method", "scale", "mean_iou", "tried", "candidates"]);
    assert_eq!(keys(&told[7]), ["event", "file", "mask", "confidence", "flags", "seconds"]);
    let done = ["event", "done", "skipped", "failed", "seconds", "report"];
    assert_eq!(keys(told.last().unwrap()), done);
}

#[test]
fn a_stopped_segmentation_keeps_the_picture_at_hand_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = coins(&folder.path().join("stopped"));
    let first = |event: &Event<'_>| matches!(event, Event::Picture(_));
    let (outcome, told) = watched(first, |watch| segment(&options, watch).unwrap());
    assert!(outcome.cancelled);
    assert_eq!(counts(&outcome), [1, 0, 0]);
    assert_eq!(told.last().unwrap()["cancelled"], true);
    assert_eq!(names(&told).iter().filter(|name| **name == "picture").count(), 1);
    let journal = fs::read_to_string(options.out.join(".kshot/records.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), 1);
    let table = fs::read_to_string(options.out.join("labels.csv")).unwrap();
    assert!(table.contains("cat.png") && !table.contains("coins-2.png"), "{table}");
    assert!(outcome.report.unwrap().is_file());

    let outcome = segment(&options, &Watch::silent()).unwrap();
    assert!(!outcome.cancelled);
    assert_eq!(counts(&outcome), [3, 1, 0]);
    let whole = coins(&folder.path().join("whole"));
    segment(&whole, &Watch::silent()).unwrap();
    for file in ["labels.csv", "masks/cat.png", "masks/coins-6.png"] {
        let read = |out: &Path| fs::read(out.join(file)).unwrap();
        assert!(read(&options.out) == read(&whole.out), "{file} is not as without a stop");
    }
    let outcome = segment(&options, &Watch::silent()).unwrap();
    assert_eq!(counts(&outcome), [0, 4, 0]);
}

#[test]
fn a_job_that_is_stopped_before_it_is_fitted_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let start = |event: &Event<'_>| matches!(event, Event::Start(_));
    let (outcome, told) = watched(start, |watch| segment(&coins(folder.path()), watch).unwrap());
    assert!(outcome.cancelled && outcome.report.is_none());
    assert_eq!(names(&told), ["start", "done"]);
    assert!(!folder.path().join("masks").exists());
    // While methods are tried.
    let trial = |event: &Event<'_>| matches!(event, Event::AtHand(_));
    let (outcome, told) = watched(trial, |watch| segment(&coins(folder.path()), watch).unwrap());
    assert!(outcome.cancelled && outcome.report.is_none());
    assert_eq!(names(&told), ["start", "at-hand", "done"]);
    assert!(!folder.path().join("masks").exists());
    // While the labelled pictures are looked at.
    let first = |event: &Event<'_>| matches!(event, Event::Progress { done: 1, total: 8 });
    let (outcome, told) =
        watched(first, |watch| classify(&drawings(folder.path()), watch).unwrap());
    assert!(outcome.cancelled && outcome.labels.is_none());
    assert_eq!(names(&told), ["progress", "progress", "done"]);
    assert!(!folder.path().join("labels.csv").exists());
}

#[test]
fn a_stopped_classification_keeps_its_features_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = drawings(folder.path());
    let first = |event: &Event<'_>| matches!(event, Event::Picture(_));
    let (outcome, told) = watched(first, |watch| classify(&options, watch).unwrap());
    assert!(outcome.cancelled && outcome.labels.is_none());
    assert_eq!((outcome.counts.done, told.last().unwrap()["cancelled"].as_bool()), (1, Some(true)));
    assert!(!folder.path().join("labels.csv").exists());

    let (outcome, told) = watched(|_| false, |watch| classify(&options, watch).unwrap());
    assert_eq!((outcome.counts.done, outcome.counts.skipped), (31, 1));
    assert_eq!(outcome.accepted + outcome.none_of_these, 32);
    let names = names(&told);
    let count = |name: &str| names.iter().filter(|other| **other == name).count();
    // Eight labelled pictures and 31 others, each part with a beginning.
    assert_eq!((count("progress"), count("picture"), count("judged")), (9 + 32, 31, 1));
    assert_eq!(fs::read_to_string(outcome.labels.unwrap()).unwrap().lines().count(), 33);
}

#[test]
fn wrong_options_are_errors_that_say_what_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let says = |options: SegmentOptions, part: &str| {
        let error = segment(&options, &Watch::silent()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    for scale in [0.0, -1.0, 4.5, f32::NAN] {
        says(SegmentOptions { scale: Some(scale), ..coins(folder.path()) }, "at most 4");
    }
    says(SegmentOptions { device: "abacus".into(), ..coins(folder.path()) }, "valid are flex");
    let error =
        classify(&ClassifyOptions { top_k: 0, ..drawings(folder.path()) }, &Watch::silent());
    assert!(error.unwrap_err().to_string().contains("at least 1"));
}
