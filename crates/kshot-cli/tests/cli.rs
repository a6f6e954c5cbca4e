//! The real binary on what people really give it: exit status, words, and what is written.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

const DONE: i32 = 0;
const WRONG_USE: i32 = 2;
const SOME_FAILED: i32 = 3;

/// A support of two labelled pictures and a query of two good ones, each 32 x 32.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for (index, name) in ["a", "b"].iter().enumerate() {
            let index = index as u32;
            save(&place.at(&format!("support/images/{name}.png")), &picture(index));
            mask(&place.at(&format!("support/masks/{name}.png")), 32, |x, y| inside(index, x, y));
            save(&place.at(&format!("query/good-{name}.png")), &picture(index + 5));
        }
        place.write("support/classes.txt", "square\n");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), bytes).unwrap();
    }

    fn remove(&self, name: &str) {
        let path = self.at(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    fn kshot(&self, arguments: &[&str]) -> Ran {
        self.kshot_where(&[], arguments)
    }

    /// With some of the environment set.
    fn kshot_where(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_kshot"))
            .current_dir(self.folder.path())
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .unwrap();
        Ran::new(&output)
    }

    /// `kshot segment` with the defaults of these tests, where the flags say nothing else.
    fn segment(&self, flags: &[&str]) -> Ran {
        let mut all = vec!["segment", "--support", "support", "--query", "query", "--out", "out"];
        for default in [["--method", "prototype"], ["--scale", "1"]] {
            if !flags.contains(&default[0]) {
                all.extend(default);
            }
        }
        all.extend(flags);
        self.kshot(&all)
    }
}

struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What of `status` and `parts` (of the messages) is not as it should be.
    fn faults(&self, status: i32, parts: &[&str]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.status != status {
            faults.push(format!("exit status {}, not {status}", self.status));
        }
        for part in parts {
            if !self.stderr.contains(part) {
                faults.push(format!("`{part}` is not said"));
            }
        }
        if self.stderr.contains("panicked") {
            faults.push("a panic".to_owned());
        }
        if !faults.is_empty() {
            faults.push(self.stderr.clone());
        }
        faults
    }
}

fn inside(index: u32, x: u32, y: u32) -> u8 {
    let start = 4 + index * 3;
    u8::from((start..start + 14).contains(&x) && (start..start + 14).contains(&y))
}

fn picture(index: u32) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        let grain = ((x * 7 + y * 13 + index) % 5) as u8 * 6;
        match inside(index % 3, x, y) {
            1 => Rgb([200 + grain, 40, 30]),
            _ => Rgb([30, 90 + grain, 160]),
        }
    })
}

fn save(path: &Path, picture: &RgbImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn mask(path: &Path, side: u32, value: impl Fn(u32, u32) -> u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_fn(side, side, |x, y| Luma([value(x, y)])).save(path).unwrap();
}

/// The start of a gray PNG of that many pixels each way, with a right checksum, and no more.
fn png_header(side: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(side.to_be_bytes());
    chunk.extend(side.to_be_bytes());
    chunk.extend([8, 0, 0, 0, 0]);
    let mut sum = u32::MAX;
    for &byte in &chunk {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 };
        }
    }
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&chunk);
    file.extend((!sum).to_be_bytes());
    // The head of a chunk of pixels that never come.
    file.extend(b"\0\0\0\x10IDAT");
    file
}

/// A row: its name, how the place differs, flags, and what is expected.
struct Row {
    name: &'static str,
    spoil: fn(&Place),
    flags: &'static [&'static str],
    status: i32,
    says: &'static [&'static str],
    /// Masks that must be there afterwards, beside those of the good pictures.
    masks: &'static [&'static str],
}

/// Runs every row and reports all that fail.
fn all(rows: &[Row]) {
    let mut failed = Vec::new();
    for row in rows {
        let place = Place::new();
        (row.spoil)(&place);
        let ran = place.segment(row.flags);
        let mut faults = ran.faults(row.status, row.says);
        if row.status != WRONG_USE {
            for name in ["good-a", "good-b"].iter().chain(row.masks) {
                if !place.at(&format!("out/masks/{name}.png")).is_file() {
                    faults.push(format!("no mask of {name}"));
                }
            }
            if !place.at("out/report.html").is_file() {
                faults.push("no report".to_owned());
            }
        }
        if !faults.is_empty() {
            failed.push(format!("{}: {}", row.name, faults.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
}

const ROW: Row = Row { name: "", spoil: |_| (), flags: &[], status: DONE, says: &[], masks: &[] };

#[test]
fn queries() {
    all(&[
        Row { name: "all is well", ..ROW },
        Row {
            name: "an empty file",
            spoil: |place| place.write("query/bad.png", b""),
            status: SOME_FAILED,
            says: &["bad.png", "empty", "copy it again"],
            ..ROW
        },
        Row {
            name: "half a file",
            spoil: |place| {
                let whole = fs::read(place.at("query/good-a.png")).unwrap();
                place.write("query/bad.png", &whole[..whole.len() / 2]);
            },
            status: SOME_FAILED,
            says: &["bad.png", "copy or export it again"],
            ..ROW
        },
        Row {
            name: "text by the name of a picture",
            spoil: |place| place.write("query/bad.jpg", b"these are words, not pixels"),
            status: SOME_FAILED,
            says: &["bad.jpg", "not a picture"],
            ..ROW
        },
        Row {
            name: "a header that asks for 1.6 billion pixels",
            spoil: |place| place.write("query/bad.png", png_header(40_000)),
            status: SOME_FAILED,
            says: &["bad.png", "40000 x 40000", "shrink it"],
            ..ROW
        },
        Row {
            name: "one pixel",
            spoil: |place| save(&place.at("query/one.png"), &RgbImage::new(1, 1)),
            masks: &["one"],
            ..ROW
        },
        Row {
            name: "the same name twice",
            spoil: |place| {
                save(&place.at("query/twin.png"), &picture(6));
                save(&place.at("query/twin.bmp"), &picture(7));
            },
            masks: &["twin", "twin.png"],
            ..ROW
        },
        Row {
            name: "a subfolder",
            spoil: |place| save(&place.at("query/sub/deep.png"), &picture(6)),
            masks: &["sub/deep"],
            ..ROW
        },
        Row {
            name: "an empty folder",
            spoil: |place| {
                place.remove("query");
                fs::create_dir(place.at("query")).unwrap();
            },
            status: WRONG_USE,
            says: &["query", "no picture here", "JPEG"],
            ..ROW
        },
        Row {
            name: "no folder",
            spoil: |place| place.remove("query"),
            status: WRONG_USE,
            says: &["query", "no such folder", "check the path"],
            ..ROW
        },
    ]);
}

/// A support whose first picture is labelled by something else than its mask.
fn relabelled(place: &Place, name: &str, content: &str) {
    place.remove("support/masks/a.png");
    place.write(name, content);
}

#[test]
fn supports() {
    let wrong = |name, spoil, says| Row { name, spoil, status: WRONG_USE, says, ..ROW };
    all(&[
        wrong("missing", |place| place.remove("support"), &["support", "check the path"]),
        wrong(
            "empty",
            |place| place.remove("support/images"),
            &["support", "no labelled picture", "masks/"],
        ),
        wrong(
            "a mask of another size",
            |place| mask(&place.at("support/masks/a.png"), 16, |_, _| 1),
            &["masks/a.png", "16 x 16", "32 x 32", "export the mask"],
        ),
        wrong(
            "a class number without a name",
            |place| mask(&place.at("support/masks/b.png"), 32, |x, _| if x > 3 { 7 } else { 0 }),
            &["masks/b.png", "holds 7", "classes.txt"],
        ),
        wrong(
            "a mask of colours",
            |place| save(&place.at("support/masks/a.png"), &picture(0)),
            &["masks/a.png", "colours", "index"],
        ),
        wrong(
            "a scribble without a stroke",
            |place| {
                for name in ["a", "b"] {
                    place.remove(&format!("support/masks/{name}.png"));
                    mask(&place.at(&format!("support/scribbles/{name}.png")), 32, |_, _| 255);
                }
            },
            &["label at least one stroke"],
        ),
        wrong(
            "LabelMe with an unknown label",
            |place| {
                let json = r#"{"imagePath": "a.png", "shapes": [{"label": "round",
                    "points": [[1, 1], [9, 1], [9, 9]]}]}"#;
                relabelled(place, "support/images/a.json", json);
            },
            &["a.json", "`round`", "classes.txt"],
        ),
        wrong(
            "broken JSON",
            |place| relabelled(place, "support/images/a.json", r#"{"shapes": ["#),
            &["a.json:1", "not a LabelMe file"],
        ),
        wrong(
            "an empty box",
            |place| {
                let csv = "image,xmin,ymin,xmax,ymax,class\na.png,9,9,4,12,square\n";
                relabelled(place, "support/boxes.csv", csv);
            },
            &["boxes.csv:2", "empty box", "larger"],
        ),
        wrong(
            "boxes without a column",
            |place| relabelled(place, "support/boxes.csv", "image,xmin,ymin\na.png,1,2\n"),
            &["boxes.csv", "the columns are"],
        ),
    ]);
}

#[test]
fn flags() {
    let wrong = |name, flags, says| Row { name, flags, status: WRONG_USE, says, ..ROW };
    all(&[
        wrong("method", &["--method", "prototpye"], &["unknown method", "`prototype`"]),
        wrong("encoder", &["--encoder", "eficientnet-lite0"], &["did you mean", "lite0"]),
        wrong("device", &["--device", "abacus"], &["`abacus`", "valid are flex"]),
        wrong("scale", &["--scale", "0"], &["--scale", "0.5"]),
        wrong("threads", &["--threads", "0"], &["--threads", "at least 1"]),
        Row {
            name: "a file in the way of the results",
            spoil: |place| place.write("out", b"mine"),
            status: WRONG_USE,
            says: &["out"],
            ..ROW
        },
    ]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_text_are_segmented() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"query/caf\xe9.png");
    fs::copy(place.at("query/good-a.png"), place.folder.path().join(name)).unwrap();
    let ran = place.segment(&[]);
    assert_eq!(ran.faults(DONE, &["3 done"]), [""; 0]);
    assert_eq!(fs::read_dir(place.at("out/masks")).unwrap().count(), 3);
}

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
fn a_killed_run_is_taken_up_again() {
    let place = Place::new();
    place.segment(&[]);
    let journal = place.at("out/.kshot/records.jsonl");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(place.segment(&[]).faults(DONE, &["1 done, 1 skipped"]), [""; 0]);
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), 2);
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
        .args(["-c", limited, env!("CARGO_BIN_EXE_kshot")])
        .output()
        .unwrap();
    let ran = Ran::new(&output);
    assert_ne!(ran.status, DONE, "{}", ran.stderr);
    assert!(ran.stderr.contains("may not grow that large"), "{}", ran.stderr);
    for file in walk(&place.at("out")) {
        assert_ne!(file.extension().unwrap_or_default(), "part", "{}", file.display());
        if file.extension().is_some_and(|extension| extension == "png" || extension == "jpg") {
            image::open(&file).unwrap();
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
