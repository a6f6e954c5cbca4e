//! Runs of the real binary: again, after a kill, on a full disk, in bf16, and what it tells of itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{DONE, Place, Ran, SOME_FAILED, WRONG_USE, inside, mask, picture, save};

#[test]
fn a_second_run_skips_what_is_finished() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).faults(DONE, &["2 done"]), [""; 0]);
    assert_eq!(place.segment(&[]).faults(DONE, &["2 already finished"]), [""; 0]);
    save(&place.at("query/new.png"), &picture(6));
    assert_eq!(place.segment(&[]).faults(DONE, &["1 done, 2 skipped"]), [""; 0]);
    assert_eq!(place.segment(&["--force"]).faults(DONE, &["3 done, 0 skipped"]), [""; 0]);
}

#[test]
fn two_runs_in_one_folder_exclude_each_other() {
    let place = Place::new();
    place.write("out/.kshot/lock", b"");
    let held = fs::File::options().write(true).open(place.at("out/.kshot/lock")).unwrap();
    held.try_lock().unwrap();
    let said = ["another kshot is writing into this folder", "another --out"];
    assert_eq!(place.segment(&[]).faults(WRONG_USE, &said), [""; 0]);
    drop(held);
    assert_eq!(place.segment(&[]).faults(DONE, &["2 done"]), [""; 0]);
}

#[test]
fn another_reading_of_masks_makes_pictures_again() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).faults(DONE, &["2 done"]), [""; 0]);
    let again = place.segment(&["--masks", "classes"]);
    assert_eq!(again.faults(DONE, &["2 already finished"]), [""; 0]);
    let other = place.segment(&["--masks", "threshold"]);
    assert_eq!(other.faults(WRONG_USE, &["no label shows a pixel of any class"]), [""; 0]);
}

#[test]
fn a_killed_run_is_taken_up_again() {
    let place = Place::new();
    place.segment(&[]);
    let journal = place.at("out/.kshot/records.jsonl");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(place.segment(&[]).faults(DONE, &["1 done, 1 skipped"]), [""; 0]);
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 2);
}

/// Without what differs from run to run.
fn table(place: &Place) -> String {
    fs::read_to_string(place.at("out/labels.csv")).unwrap()
}

#[test]
fn tables_agree_with_the_masks_after_an_update_that_was_killed() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).status, DONE);
    let files = ["labels.csv", "coco.json", "report.html", "run.toml", ".kshot/tables"];
    let read = || files.map(|name| fs::read(place.at("out").join(name)).unwrap());
    let before = read();
    mask(&place.at("support/masks/a.png"), 32, |x, y| u8::from(x < 16 && y < 30));
    assert_eq!(
        place
            .segment(&[])
            .faults(DONE, &["2 masks of an earlier run with other labels or options are replaced"]),
        [""; 0]
    );
    let after = table(&place);
    assert_ne!(before[0], after.as_bytes());
    // Killed after the last mask, before the first table.
    for (name, bytes) in files.iter().zip(&before) {
        fs::write(place.at("out").join(name), bytes).unwrap();
    }
    assert_eq!(place.segment(&[]).faults(DONE, &["2 already finished"]), [""; 0]);
    assert_eq!(table(&place), after);
    assert_ne!(read()[2], before[2], "the page is the old one");
    // One that is gone or empty is written again.
    place.remove("out/coco.json");
    place.write("out/report.html", b"");
    assert_eq!(place.segment(&[]).status, DONE);
    assert!(read().iter().all(|bytes| !bytes.is_empty()));
    // Nothing is left to do: nothing is written.
    let settled = read();
    assert_eq!(place.segment(&[]).status, DONE);
    assert_eq!(read(), settled);
}

#[test]
fn tables_forget_a_picture_that_left_the_query() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).status, DONE);
    assert!(table(&place).contains("good-b.png"));
    place.remove("query/good-b.png");
    let said = ["1 picture of an earlier run is not in the query any more (good-b)"];
    assert_eq!(place.segment(&[]).faults(DONE, &said), [""; 0]);
    assert!(!table(&place).contains("good-b.png"));
    assert!(!fs::read_to_string(place.at("out/report.html")).unwrap().contains("good-b.png"));
    assert!(place.at("out/masks/good-b.png").is_file());
}

#[test]
fn empty_and_damaged_results_are_written_again() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).status, DONE);
    let path = place.at("out/masks/good-a.png");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for bytes in [&[][..], &whole[..whole.len() / 2], &flipped] {
        fs::write(&path, bytes).unwrap();
        let said = ["1 picture is segmented again", "good-a.png", "1 done, 1 skipped"];
        assert_eq!(place.segment(&[]).faults(DONE, &said), [""; 0], "{} bytes", bytes.len());
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    place.write("out/overlays/good-b.jpg", b"");
    assert_eq!(place.segment(&[]).faults(DONE, &["good-b.png", "1 done"]), [""; 0]);
    // A digit of the journal that changed.
    let journal = place.at("out/.kshot/records.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"width\":32", "\"width\":33", 1)).unwrap();
    let said = ["records.jsonl: 1 line was cut or damaged"];
    assert_eq!(place.segment(&[]).faults(DONE, &said), [""; 0]);
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn labels_of_one_class_all_over_are_refused() {
    let place = Place::new();
    for name in ["a", "b"] {
        mask(&place.at(&format!("support/masks/{name}.png")), 32, |_, _| 1);
    }
    let said = ["all labelled pixels are of `square`", "label background"];
    assert_eq!(place.segment(&[]).faults(WRONG_USE, &said), [""; 0]);
    mask(&place.at("support/masks/b.png"), 32, |x, y| inside(1, x, y));
    assert_eq!(place.segment(&[]).faults(DONE, &["2 done"]), [""; 0]);
}

#[test]
fn a_pixel_size_gives_areas() {
    let place = Place::new();
    assert_eq!(place.segment(&[]).status, DONE);
    let area = |head: &str| {
        let text = table(&place);
        let at = text.lines().next().unwrap().split(',').position(|column| column == head);
        at.map(|at| {
            text.lines().nth(1).unwrap().split(',').nth(at).unwrap().parse::<f64>().unwrap()
        })
    };
    assert_eq!(area("area_um2"), None);
    let pixels = area("area_px").unwrap();
    assert_eq!(place.segment(&["--pixel-size", "0.5um"]).faults(DONE, &["2 already"]), [""; 0]);
    assert_eq!(area("area_um2"), Some(pixels / 4.0));
    let wrong = place.segment(&["--pixel-size", "0.5"]);
    assert_eq!(wrong.faults(WRONG_USE, &["has no unit", "0.5um"]), [""; 0]);
}

#[test]
fn json_lines_are_json() {
    let place = Place::new();
    place.write("query/bad.png", b"");
    let ran = place.segment(&["--json"]);
    assert_eq!(ran.status, SOME_FAILED);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("picture"), count("failed"), count("done")), (2, 1, 1));
}

#[test]
fn data_check_tells_errors_by_its_exit_status() {
    let place = Place::new();
    let ran = place.kshot(&["data", "check", "support", "--json"]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    mask(&place.at("support/masks/a.png"), 16, |_, _| 1);
    let ran = place.kshot(&["data", "check", "support"]);
    assert_eq!(ran.faults(WRONG_USE, &[]), [""; 0]);
    assert!(ran.stdout.contains("16 x 16") && ran.stdout.contains("a.png"), "{}", ran.stdout);
}

#[test]
fn what_is_built_in_is_listed() {
    let place = Place::new();
    for (arguments, part) in [
        (&["list"][..], "prototype"),
        (&["list", "encoders"], "efficientnet-lite0"),
        (&["list", "devices", "--json"], "\"flex\""),
        (&["list", "formats"], "boxes.csv"),
    ] {
        let ran = place.kshot(arguments);
        assert_eq!(ran.faults(DONE, &[]), [""; 0], "{arguments:?}");
        assert!(ran.stdout.contains(part), "{arguments:?}: {}", ran.stdout);
    }
    assert_eq!(place.kshot(&["list", "colours"]).status, WRONG_USE);
}

#[test]
fn weights_are_described_and_checked() {
    let place = Place::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/efficientnet-lite0.safetensors");
    let ran = place.kshot(&["weights", "info", file]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    assert!(ran.stdout.contains("fits efficientnet-lite0\n"), "{}", ran.stdout);
    let verify =
        |file: &str, encoder: &str| place.kshot(&["weights", "verify", file, "--encoder", encoder]);
    assert_eq!(verify(file, "efficientnet-lite0").faults(DONE, &[]), [""; 0]);
    let ran = verify(file, "efficientnet-lite-tiny");
    assert_eq!(ran.faults(WRONG_USE, &["does not fit", "has, unused,"]), [""; 0]);
    place.write("cut.safetensors", &fs::read(file).unwrap()[..1000]);
    let ran = verify("cut.safetensors", "efficientnet-lite0");
    assert_eq!(ran.faults(WRONG_USE, &["cut.safetensors", "fetch it again"]), [""; 0]);
}

/// A full disk as a test can have it: no file may grow beyond a few kilobytes.
#[cfg(unix)]
#[test]
fn where_nothing_fits_whole_files_stay_and_a_second_run_goes_on() {
    let place = Place::new();
    let limited = "trap '' XFSZ; ulimit -f 2; exec \"$0\" segment --support support --query query \
                   --out out --method prototype --scale 1";
    let output = Command::new("sh")
        .current_dir(place.folder.path())
        .args(["-c", limited])
        .arg(super::common::binary())
        .output()
        .unwrap();
    let ran = Ran::new(&output);
    assert_ne!(ran.status, DONE, "{}", ran.stderr);
    assert!(ran.stderr.contains("may not grow that large"), "{}", ran.stderr);
    for file in walk(&place.at("out")) {
        assert_ne!(file.extension().unwrap_or_default(), "part", "{}", file.display());
        if file.extension().is_some_and(|extension| extension == "png" || extension == "jpg") {
            kshot_data::image::read(&file).unwrap();
        }
    }
    assert_eq!(place.segment(&[]).status, DONE);
    assert!(place.at("out/report.html").is_file());
    assert!(place.at("out/overlays/good-b.jpg").is_file());
}

#[cfg(unix)]
fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path) } else { vec![path] }
        })
        .collect()
}

#[test]
fn bf16_tells_what_it_costs() {
    let place = Place::new();
    let segment = |flags: &[&str]| {
        let all = ["segment", "--support", "support", "--query", "query", "--out", "out"];
        let all: Vec<&str> =
            all.into_iter().chain(["--method", "prototype"]).chain(flags.iter().copied()).collect();
        place.kshot_where(&[("KSHOT_BF16", "emulate")], &all)
    };
    let quick = segment(&["--bf16"]);
    let words = ["bf16: ", "of the pixels of the first 2 pictures get the same label", "2 done"];
    assert_eq!(quick.faults(DONE, &words), [""; 0]);
    let run = fs::read_to_string(place.at("out/run.toml")).unwrap();
    let (_, cost) = run.split_once("[options.bf16.cost]").unwrap();
    let value = |key: &str| -> f64 {
        let line = cost.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap().parse().unwrap()
    };
    assert!(value("pictures") == 2.0 && value("agreement") > 0.9, "{cost}");
    assert!(value("confidence_difference") > 0.0, "not in bf16 at all: {cost}");
    let report = fs::read_to_string(place.at("out/report.html")).unwrap();
    assert!(report.contains("get the same label as in 32 bits"));
    // What is finished in bf16 is not finished in 32 bits.
    assert_eq!(segment(&[]).faults(DONE, &["2 done, 0 skipped"]), [""; 0]);
    assert_eq!(segment(&["--bf16", "--precise"]).faults(WRONG_USE, &["--precise"]), [""; 0]);
    let emulated = [("KSHOT_BF16", "emulate")];
    let apart = ["--precise", "list", "encoders", "--bf16"];
    assert_eq!(place.kshot_where(&emulated, &apart).status, WRONG_USE);
    let list = place.kshot_where(&emulated, &["list", "encoders", "--bf16"]);
    assert_eq!(list.faults(WRONG_USE, &["it goes with segment"]), [""; 0]);
}

#[test]
fn bf16_in_quiet_mode_measures_nothing_and_notes_that_it_was_used() {
    let place = Place::new();
    let arguments = ["segment", "--support", "support", "--query", "query", "--out", "out"];
    let flags = ["--method", "prototype", "--scale", "1", "--bf16", "--quiet"];
    let all: Vec<&str> = arguments.into_iter().chain(flags).collect();
    let ran = place.kshot_where(&[("KSHOT_BF16", "emulate")], &all);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    assert!(ran.stdout.is_empty() && ran.stderr.is_empty(), "{}", ran.stderr);
    let run = fs::read_to_string(place.at("out/run.toml")).unwrap();
    let (_, options) = run.split_once("[options.bf16]").unwrap();
    assert!(options.trim_start().starts_with("used = true"), "{options}");
    assert!(!run.contains("[options.bf16.cost]"), "{run}");
}
