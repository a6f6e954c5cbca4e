//! What may happen to a process: it is killed, stopped, hung up, the disk is full, nobody reads its output, and names
//! that are codes for a terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::{DONE, Place, Ran, WRONG_USE, mask, picture, save};

const NO_ROOM: i32 = 4;
const PICTURES: u32 = 12;
/// Twelve pictures are too few to be in the middle of.
const MORE: u32 = 150;

/// A support of two and a query of twelve pictures.
fn place() -> Place {
    let place = Place::new();
    for index in 0..PICTURES - 2 {
        save(&place.at(&format!("query/{index:02}.png")), &picture(index));
    }
    place
}

fn kshot(place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::new(super::common::binary());
    command.current_dir(place.folder.path()).args(arguments).stdin(Stdio::null());
    command
}

fn segment(place: &Place, out: &str) -> Command {
    let common = ["segment", "--support", "support", "--query", "query", "--method", "prototype"];
    kshot(place, &[&common[..], &["--scale", "1", "--json", "--out", out]].concat())
}

fn ran(mut command: Command) -> Ran {
    Ran::new(&command.output().unwrap())
}

/// Numbers that look random, the same in every run of the test.
struct Random(u64);

impl Random {
    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What a run leaves that is to be the same: masks and the tables, in which no times stand.
fn results(place: &Place, out: &str) -> BTreeMap<String, Vec<u8>> {
    let masks = place.at(&format!("{out}/masks"));
    let mut results: BTreeMap<String, Vec<u8>> = fs::read_dir(masks)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "png"))
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    let read = |name: &str| fs::read(place.at(&format!("{out}/{name}"))).unwrap();
    let mut coco: serde_json::Value = serde_json::from_slice(&read("coco.json")).unwrap();
    coco["info"]["date_created"] = serde_json::Value::Null;
    results.insert("coco.json".to_owned(), coco.to_string().into_bytes());
    results.insert("labels.csv".to_owned(), read("labels.csv"));
    results
}

#[test]
fn a_segmentation_killed_at_any_moment_goes_on_to_the_same_result() {
    let place = place();
    let started = Instant::now();
    assert_eq!(ran(segment(&place, "whole")).faults(DONE, &[]), [""; 0]);
    let whole = started.elapsed();
    let wanted = results(&place, "whole");
    assert_eq!(wanted.len() as u32, PICTURES + 2);
    let mut random = Random(11);
    for round in 0..10 {
        let out = format!("killed-{round}");
        let mut child = segment(&place, &out).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.share()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ran(segment(&place, &out)).faults(DONE, &[]), [""; 0], "round {round}");
        assert!(results(&place, &out) == wanted, "round {round}");
    }
}

#[test]
fn an_update_killed_at_any_moment_leaves_nothing_of_before() {
    let place = place();
    assert_eq!(ran(segment(&place, "before")).faults(DONE, &[]), [""; 0]);
    mask(&place.at("support/masks/a.png"), 32, |x, y| u8::from(x < 20 && y < 25));
    let started = Instant::now();
    assert_eq!(ran(segment(&place, "after")).faults(DONE, &[]), [""; 0]);
    let whole = started.elapsed();
    let wanted = results(&place, "after");
    assert!(wanted != results(&place, "before"));
    let mut random = Random(16);
    for round in 0..10 {
        let out = format!("updated-{round}");
        let copied =
            Command::new("cp").arg("-r").args([place.at("before"), place.at(&out)]).status();
        assert!(copied.unwrap().success());
        let mut child = segment(&place, &out).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.share()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ran(segment(&place, &out)).faults(DONE, &[]), [""; 0], "round {round}");
        assert!(results(&place, &out) == wanted, "round {round}");
    }
}

#[test]
fn a_mask_whose_record_was_to_follow_is_no_change_of_the_user() {
    let place = place();
    assert_eq!(ran(segment(&place, "out")).faults(DONE, &[]), [""; 0]);
    let journal = fs::read(place.at("out/.kshot/records.jsonl")).unwrap();
    mask(&place.at("support/masks/a.png"), 32, |x, y| u8::from(x < 20 && y < 25));
    assert_eq!(ran(segment(&place, "after")).faults(DONE, &[]), [""; 0]);
    let wanted = results(&place, "after");
    // As if it had been killed after the first mask, before its line in the journal.
    assert_eq!(ran(segment(&place, "out")).faults(DONE, &[]), [""; 0]);
    let begun = fs::read_to_string(place.at("out/.kshot/begun.json")).unwrap();
    let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
    let lines: Vec<u8> = fs::read(place.at("out/.kshot/records.jsonl")).unwrap();
    let name = format!("\"name\":{}", begun["name"]);
    let kept = lines.split_inclusive(|&byte| byte == b'\n').enumerate().filter(|(index, line)| {
        let line = String::from_utf8_lossy(line);
        *index < journal.split_inclusive(|&byte| byte == b'\n').count() || !line.contains(&name)
    });
    let kept: Vec<u8> = kept.flat_map(|(_, line)| line.to_vec()).collect();
    assert!(kept.len() < lines.len());
    fs::write(place.at("out/.kshot/records.jsonl"), kept).unwrap();
    assert_eq!(ran(segment(&place, "out")).faults(DONE, &[]), [""; 0]);
    assert!(results(&place, "out") == wanted);
}

/// Drawings of ten classes, and a recipe of eight short validations.
fn training() -> Place {
    let place = Place::new();
    for class in 0..10_u32 {
        for drawing in 0..6_u32 {
            let ink = |x: u32, y: u32| {
                (x + drawing % 2) / (1 + class % 5) % 2 == u32::from(class > 4 && y > 7)
            };
            let file = place.at(&format!("data/class{class}/{drawing}.png"));
            mask(&file, 16, |x, y| if ink(x, y) { 0 } else { 255 - 5 * drawing as u8 });
        }
    }
    let recipe = r#"
        [protocol]
        name = "few-shot-recognition"
        ways = 2
        shots = 1
        queries = 2
        episodes = 5
        seed = 1
        [data]
        dataset = "class-folders"
        root = "data"
        size = 16
        gray = true
        [model]
        encoder = { name = "conv4", width = 4 }
        [method]
        name = "prototypical-networks"
        [train]
        steps = 160
        validate_every = 20
        seed = 5
        learning_rate = 0.01
        episodes = { ways = 3, shots = 1, queries = 2, validation = 4 }
    "#;
    place.write("recipe.toml", recipe);
    place
}

fn train(place: &Place, out: &str) -> Command {
    kshot(place, &["train", "recipe.toml", "--json", "--out", out])
}

/// The curve without times, and the checksum that the model holds: of names, shapes and numbers.
fn trained(place: &Place, out: &str) -> (Vec<serde_json::Value>, String) {
    let text = fs::read_to_string(place.at(&format!("{out}/metrics.jsonl"))).unwrap();
    let points = text.lines().map(|line| {
        let mut point: serde_json::Value = serde_json::from_str(line).unwrap();
        point.as_object_mut().unwrap().remove("seconds");
        point
    });
    let model = fs::read(place.at(&format!("{out}/model.bpk"))).unwrap();
    let at = model.windows(6).position(|part| part == b"sha256").unwrap();
    // The name, two bytes that say how long the text is, the text.
    let sum = String::from_utf8(model[at + 8..at + 72].to_vec()).unwrap();
    assert!(sum.chars().all(|letter| letter.is_ascii_hexdigit()), "{sum}");
    (points.collect(), sum)
}

/// Starts a command, and waits until it said so many lines with a word.
fn until(command: &mut Command, word: &str, count: usize) -> std::process::Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.filter(|line| line.contains(word)).take(count).count(), count);
    child
}

#[test]
fn a_training_killed_twice_goes_on_to_the_same_numbers() {
    let place = training();
    assert_eq!(ran(train(&place, "whole")).faults(DONE, &[]), [""; 0]);
    let wanted = trained(&place, "whole");
    assert_eq!(wanted.0.len(), 8);
    let mut random = Random(3);
    for round in 0..2 {
        let mut child = until(&mut train(&place, "parts"), "\"event\":\"validation\"", 1);
        std::thread::sleep(Duration::from_secs_f64(0.05 * random.share()));
        // It may be done by then, which is no fault.
        let _ = child.kill();
        child.wait().unwrap();
        assert!(place.at("parts/metrics.jsonl").is_file(), "round {round}");
    }
    assert_eq!(ran(train(&place, "parts")).faults(DONE, &[]), [""; 0]);
    assert_eq!(trained(&place, "parts"), wanted);
}

fn signal(name: &str, child: &std::process::Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

/// So many that a signal comes in the middle of them.
fn long_place() -> Place {
    let place = place();
    for index in 0..MORE {
        save(&place.at(&format!("query/more-{index:03}.png")), &picture(index));
    }
    place
}

/// Whether this test, and so what it starts, was told to outlive its terminal (`nohup`), which only Linux says.
fn outlives_its_terminal() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 == 1)
}

#[test]
fn a_signal_ends_a_run_in_order_with_its_own_status() {
    let place = long_place();
    let pictures = u64::from(PICTURES + MORE);
    for (name, status) in [("-TERM", 143), ("-HUP", 129)] {
        if name == "-HUP" && outlives_its_terminal() {
            continue;
        }
        let out = format!("out{name}");
        let mut command = segment(&place, &out);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("\"event\":\"picture\"")));
        signal(name, &child);
        let last = lines.last().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{name}: {last}");
        let done: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(done["cancelled"], true, "{last}");
        let count = done["done"].as_u64().unwrap();
        assert!((1..pictures).contains(&count), "{count}");
        let again = ran(command);
        let done: serde_json::Value =
            serde_json::from_str(again.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((again.status, done["skipped"].as_u64()), (DONE, Some(count)), "{done}");
    }
}

#[test]
fn a_training_ends_in_order_at_a_signal_and_goes_on() {
    let place = training();
    let text = fs::read_to_string(place.at("recipe.toml")).unwrap();
    place.write("recipe.toml", text.replace("steps = 160", "steps = 4000"));
    let mut child = until(&mut train(&place, "out"), "\"event\":\"validation\"", 1);
    signal("-TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let before = fs::read_to_string(place.at("out/metrics.jsonl")).unwrap().lines().count();
    assert!((1..200).contains(&before), "{before}");
    let one = ran(kshot(&place, &["train", "recipe.toml", "--out", "out", "--validations", "1"]));
    assert_eq!(one.faults(DONE, &["the same command goes on"]), [""; 0]);
    let after = fs::read_to_string(place.at("out/metrics.jsonl")).unwrap().lines().count();
    assert_eq!(after, before + 1);
}

#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let place = long_place();
    let text = "trap '' HUP; exec \"$0\" segment --support support --query query --method prototype --scale 1 \
                --out out --json";
    let mut command = Command::new("sh");
    command.current_dir(place.folder.path()).args(["-c", text]).arg(super::common::binary());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"event\":\"picture\"")));
    signal("-HUP", &child);
    let last = lines.last().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(DONE), "{last}");
}

/// With files of at most so many blocks of 512 bytes (1024 in some shells).
fn limited(place: &Place, blocks: usize, arguments: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    let text = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
    command.current_dir(place.folder.path()).args(["-c", &text]).arg(super::common::binary());
    command.args(arguments);
    ran(command)
}

#[test]
fn a_full_disk_has_a_status_of_its_own_and_keeps_what_is_finished() {
    let place = place();
    assert_eq!(ran(segment(&place, "whole")).faults(DONE, &[]), [""; 0]);
    let common = ["segment", "--support", "support", "--query", "query", "--method", "prototype"];
    let arguments = [&common[..], &["--scale", "1", "--out", "out"]].concat();
    let said = ["raise the limit", "the same command again", "what is finished is kept"];
    assert_eq!(limited(&place, 4, &arguments).faults(NO_ROOM, &said), [""; 0]);
    assert_eq!(ran(segment(&place, "out")).faults(DONE, &[]), [""; 0]);
    assert!(results(&place, "out") == results(&place, "whole"));

    let place = training();
    assert_eq!(ran(train(&place, "whole")).faults(DONE, &[]), [""; 0]);
    let arguments = ["train", "recipe.toml", "--out", "out"];
    let ran_short = limited(&place, 8, &arguments);
    assert_eq!(ran_short.faults(NO_ROOM, &["checkpoint", "raise the limit"]), [""; 0]);
    assert_eq!(ran(train(&place, "out")).faults(DONE, &[]), [""; 0]);
    assert_eq!(trained(&place, "out"), trained(&place, "whole"));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_does_not_fit_is_no_success() {
    let place = Place::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let list = ran({
        let mut command = kshot(&place, &["list", "methods"]);
        command.stdout(full);
        command
    });
    assert_eq!(list.faults(NO_ROOM, &["standard output"]), [""; 0]);
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Stdio::from(writer)
}

#[test]
fn nobody_has_to_read_the_output() {
    let place = place();
    for arguments in [
        &["list", "methods"][..],
        &["list", "--json"],
        &["--help"],
        &["segment", "--help"],
        &["data", "check", "support"],
        &["data", "check", "support", "--json"],
        &["weights", "ls"],
    ] {
        let mut command = kshot(&place, arguments);
        let child = command.stdout(closed()).stderr(Stdio::piped()).spawn().unwrap();
        let ran = Ran::new(&child.wait_with_output().unwrap());
        assert_eq!((ran.status, &*ran.stderr), (DONE, ""), "{arguments:?}");
    }
    // A job goes on, whoever listens.
    let status = segment(&place, "out").stdout(closed()).stderr(closed()).status().unwrap();
    assert_eq!(status.code(), Some(DONE));
    assert!(place.at("out/report.html").is_file());
    let mut lines =
        kshot(&place, &["segment", "--support", "nowhere", "--query", "q", "--out", "o"]);
    let status = lines.stderr(closed()).status().unwrap();
    assert_eq!(status.code(), Some(WRONG_USE));
}

#[test]
fn names_are_no_codes_for_the_terminal() {
    let place = Place::new();
    let evil = "a\x1b[2J\x07\u{9b}31m\u{202e}gnp";
    place.write("support/classes.txt", "square\u{202e}\u{2066}\n");
    save(&place.at(&format!("query/{evil}.png")), &picture(6));
    place.write(format!("query/{evil}\nkshot: all is well.png").as_str(), b"no picture");
    let common = ["segment", "--support", "support", "--query", "query", "--method", "prototype"];
    let segment = [&common[..], &["--scale", "1", "--out", "out"]].concat();
    let plain = place.kshot(&segment);
    assert!(plain.stderr.contains("a\\x1b[2J\\x07\\u009b31m\\u202egnp.png"), "{}", plain.stderr);
    assert!(!plain.stderr.lines().any(|line| line.starts_with("kshot: all is well")));
    let json = place.kshot(&[&segment[..], &["--json", "--force"]].concat());
    let file = json.stdout.lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["file"].as_str().filter(|file| file.ends_with("gnp.png")).map(str::to_owned)
    });
    // For programs it is the name itself.
    assert_eq!(file.as_deref(), Some(&*format!("{evil}.png")));
    let check = place.kshot(&["data", "check", "support", "--query", "query"]);
    let missing = place.kshot(&["data", "check", evil]);
    assert_eq!(missing.status, WRONG_USE);
    for said in [plain, json, check, missing] {
        for text in [said.stdout, said.stderr] {
            let code = text.chars().find(|&letter| {
                (letter.is_control() && letter != '\n') || "\u{202e}\u{2066}".contains(letter)
            });
            assert_eq!(code, None, "{text}");
        }
    }
}

#[test]
fn a_name_that_is_not_unicode_is_a_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = OsStr::from_bytes(b"out-\xff");
    // macOS has no such names.
    if fs::create_dir(place.folder.path().join(name)).is_err() {
        return;
    }
    let mut command = kshot(&place, &["segment", "--support", "support", "--query", "query"]);
    command.args(["--method", "prototype", "--scale", "1", "--out"]).arg(name);
    let ran = ran(command);
    assert!([DONE, WRONG_USE].contains(&ran.status), "{}: {}", ran.status, ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}
