//! `kshot classify` and `kshot model`: exit status, words, and what is written.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};

use super::classes::{Place, blobs};
use super::common::{DONE, SOME_FAILED, WRONG_USE, save};

#[test]
fn labels_are_written_with_what_they_rest_on() {
    let place = Place::new();
    let ran = place.classify(&[]);
    assert_eq!(ran.faults(DONE, &["of 6 held-out pictures right", "4 labelled"]), [""; 0]);
    let text = fs::read_to_string(place.at("out/labels.csv")).unwrap();
    let head = "file,class,probability,accepted,familiarity,nearest,class_2,probability_2";
    assert_eq!(text.lines().next().unwrap(), head);
    let rows = place.rows("out/labels.csv");
    let labels: Vec<_> = rows.iter().map(|row| (&*row[0], &*row[1])).collect();
    let expected = [
        ("one/3.png", "stripes"),
        ("one/4.png", "stripes"),
        ("two/3.png", "blobs"),
        ("two/4.png", "blobs"),
    ];
    assert_eq!(labels, expected);
    assert!(rows[0][5].contains("support/stripes/"), "{}", rows[0][5]);
    let run = fs::read_to_string(place.at("out/run.toml")).unwrap();
    assert!(run.contains("efficientnet-lite0") && run.contains("threshold"), "{run}");
    let page = fs::read_to_string(place.at("out/report.html")).unwrap();
    assert!(page.contains("Least certain first") && !page.contains("https:"));
}

#[test]
fn methods_and_one_picture_a_class() {
    let place = Place::new();
    for method in ["ridge", "probe", "prototype", "simple-shot"] {
        let ran = place.classify(&["--method", method, "--reject", "off", "--quiet"]);
        assert_eq!(ran.faults(DONE, &[]), [""; 0], "{method}");
        assert!(ran.stderr.is_empty() && ran.stdout.is_empty(), "{method} is not quiet");
        let rows = place.rows("out/labels.csv");
        assert!(rows.iter().all(|row| row[3] == "true"), "{method}: off rejects");
        assert_eq!(rows[0][1], "stripes", "{method}");
    }
    let ran = place.classify(&["--shots", "1", "--out", "one"]);
    assert_eq!(ran.faults(DONE, &["one picture a class", "a second picture tells"]), [""; 0]);
    assert_eq!(place.rows("one/labels.csv")[3][1], "blobs");
}

#[test]
fn bad_pictures_are_named_and_the_others_written() {
    let place = Place::new();
    place.write("query/empty.png", b"");
    place.write("query/text.jpg", b"no picture at all");
    let ran = place.classify(&[]);
    let says = ["failed: empty.png", "0 bytes", "failed: text.jpg", "2 failed"];
    assert_eq!(ran.faults(SOME_FAILED, &says), [""; 0]);
    assert_eq!(place.rows("out/labels.csv").len(), 4);
    let page = fs::read_to_string(place.at("out/report.html")).unwrap();
    assert!(page.contains("id=\"failed\""));
    let ran = place.classify(&["--json"]);
    assert_eq!(ran.status, SOME_FAILED);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("picture"), count("failed"), count("done")), (0, 2, 1), "four are kept");
}

/// A row: its name, how the place differs, flags, and what is said.
type Row = (&'static str, fn(&Place), &'static [&'static str], &'static [&'static str]);

#[test]
fn wrong_use_is_refused_before_anything_is_done() {
    let rows: &[Row] = &[
        ("no support", |_| (), &["--support", "nowhere"], &["nowhere"]),
        ("no query", |_| (), &["--query", "nowhere"], &["nowhere", "no such folder"]),
        (
            "an empty class",
            |place| fs::create_dir_all(place.at("support/nothing")).unwrap(),
            &[],
            &["without a picture: nothing"],
        ),
        (
            "a broken labelled picture",
            |place| place.write("support/stripes/bad.png", b"x"),
            &[],
            &["stripes/bad.png", "1 of the labelled pictures cannot be read"],
        ),
        ("a misspelt method", |_| (), &["--method", "prototpye"], &["did you mean `prototype`?"]),
        ("a share above one", |_| (), &["--reject", "95"], &["0.95"]),
        ("a size of nothing", |_| (), &["--size", "8"], &["valid are 32 to 1024"]),
        ("no views", |_| (), &["--views", "0", "--size", "64"], &["views"]),
        ("no shots", |_| (), &["--shots", "0"], &["--shots"]),
        ("nothing listed", |_| (), &["--top-k", "0"], &["--top-k"]),
        ("sorted into the query", |_| (), &["--move", "query/sorted"], &["choose one outside"]),
        (
            "one class, nothing rejected",
            |place| fs::remove_dir_all(place.at("support/blobs")).unwrap(),
            &["--reject", "off"],
            &["only class"],
        ),
        (
            "the truth of other pictures",
            |place| place.write("truth.csv", "path,class\nelse.png,blobs\n"),
            &["--truth", "truth.csv"],
            &["names none of the pictures"],
        ),
        (
            "a list over which the labels would be written",
            |place| place.write("query.csv", "path\nquery/one/3.png\n"),
            &["--query", "query.csv", "--out", "query.csv"],
            &["query.csv", "another name"],
        ),
        ("another file as model", |place| place.write("m", b"x"), &["--model", "m"], &["damaged"]),
    ];
    let mut failed = Vec::new();
    for (name, spoil, flags, says) in rows {
        let place = Place::new();
        spoil(&place);
        let mut faults = place.classify(flags).faults(WRONG_USE, says);
        if place.at("out/labels.csv").exists() {
            faults.push("labels are written".into());
        }
        if !faults.is_empty() {
            failed.push(format!("{name}: {}", faults.join("; ")));
        }
    }
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn a_second_run_looks_only_at_what_is_new() {
    let place = Place::new();
    assert_eq!(place.classify(&[]).faults(DONE, &["0 already looked at"]), [""; 0]);
    let first = fs::read(place.at("out/labels.csv")).unwrap();
    assert_eq!(place.classify(&[]).faults(DONE, &["4 already looked at"]), [""; 0]);
    assert_eq!(fs::read(place.at("out/labels.csv")).unwrap(), first);
    // The labelled pictures may change: what was looked at is kept, and labels are made anew.
    save(&place.at("support/blobs/9.png"), &blobs(9));
    assert_eq!(place.classify(&[]).faults(DONE, &["4 already looked at"]), [""; 0]);
    save(&place.at("query/new.png"), &blobs(7));
    assert_eq!(place.classify(&[]).faults(DONE, &["4 already", "5 labelled"]), [""; 0]);
    let journal = place.at("out/.kshot/vectors.jsonl");
    let bytes = fs::read(&journal).unwrap();
    fs::write(&journal, &bytes[..bytes.len() - 9]).unwrap();
    assert_eq!(place.classify(&[]).faults(DONE, &["4 already", "5 labelled"]), [""; 0]);
    assert_eq!(place.classify(&["--force"]).faults(DONE, &["0 already looked at"]), [""; 0]);
    let other = ["--size", "96", "--views", "1"];
    assert_eq!(place.classify(&other).faults(DONE, &["0 already looked at"]), [""; 0]);
}

#[test]
fn the_truth_is_compared_where_it_is_known() {
    let place = Place::new();
    place.write("truth.csv", "path,class\none/3.png,stripes\ntwo/3.png,stripes\none/4.png,zebra\n");
    let ran = place.classify(&["--truth", "truth.csv"]);
    let says = ["accuracy 0.5000", "n = 2", "rejection AUROC", "ECE", "zebra"];
    assert_eq!(ran.faults(DONE, &says), [""; 0]);
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(place.at("out/truth.json")).unwrap()).unwrap();
    assert_eq!(json["accuracy"]["n"], 2);
    let rows = place.rows("out/labels.csv");
    assert_eq!(
        rows.iter().map(|row| &*row[8]).collect::<Vec<_>>(),
        ["stripes", "none-of-these", "stripes", ""]
    );
    // Folders named like the classes are the truth by themselves.
    fs::rename(place.at("query/one"), place.at("query/stripes")).unwrap();
    fs::rename(place.at("query/two"), place.at("query/blobs")).unwrap();
    assert_eq!(place.classify(&[]).faults(DONE, &["accuracy 1.0000"]), [""; 0]);
    // And so is a list's own column.
    place.write("list.csv", "label,file\nblobs,query/blobs/3.png\nblobs,gone.png\n");
    let ran = place.classify(&["--query", "list.csv", "--out", "list"]);
    assert_eq!(ran.faults(SOME_FAILED, &["accuracy 1.0000", "failed: gone.png"]), [""; 0]);
}

#[test]
fn support_as_a_list() {
    let place = Place::new();
    let lines: String = (0..3)
        .map(|index| format!("support/stripes/{index}.png,red\nsupport/blobs/{index}.png,blue\n"))
        .collect();
    place.write("support.csv", format!("path,class\n{lines}"));
    let ran = place.classify(&["--support", "support.csv"]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    assert_eq!(place.rows("out/labels.csv")[0][1], "red");
}

#[test]
fn pictures_are_sorted_into_class_folders() {
    let place = Place::new();
    let ran = place.classify(&["--link", "linked", "--reject", "off"]);
    assert_eq!(ran.faults(DONE, &["4 linked into linked"]), [""; 0]);
    assert!(
        place.at("linked/stripes/one/3.png").is_file() && place.at("query/one/3.png").is_file()
    );
    let ran = place.classify(&["--move", "moved", "--reject", "off"]);
    assert_eq!(ran.faults(DONE, &["4 moved into moved"]), [""; 0]);
    assert!(place.at("moved/blobs/two/4.png").is_file() && !place.at("query/two/4.png").exists());
    assert_eq!(place.rows("out/moved.csv").len(), 4);
}

#[test]
fn a_model_keeps_the_classes_and_takes_new_ones() {
    let place = Place::new();
    let ran = place.classify(&["--save", "toys.kshot"]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    let labels = fs::read(place.at("out/labels.csv")).unwrap();
    let whole = fs::read(place.at("toys.kshot")).unwrap();
    let ran = place.classify(&["--model", "toys.kshot", "--out", "again"]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    assert_eq!(fs::read(place.at("again/labels.csv")).unwrap(), labels, "as from the pictures");

    save(&place.at("new/1.png"), &RgbImage::from_pixel(40, 40, Rgb([250, 200, 0])));
    save(&place.at("new/2.png"), &RgbImage::from_pixel(40, 30, Rgb([240, 210, 0])));
    let ran = place.kshot(&["model", "add-class", "toys.kshot", "plain", "new"]);
    assert_eq!(ran.faults(DONE, &["plain added from 2 pictures; 3 classes"]), [""; 0]);
    let ran = place.kshot(&["model", "ls", "toys.kshot"]);
    assert!(ran.status == DONE && ran.stdout.contains("plain"), "{}", ran.stdout);
    save(&place.at("query/three/1.png"), &RgbImage::from_pixel(50, 50, Rgb([245, 205, 0])));
    let ran = place.classify(&["--model", "toys.kshot", "--out", "again"]);
    assert_eq!(ran.faults(DONE, &["4 already looked at"]), [""; 0]);
    let rows = place.rows("again/labels.csv");
    assert!(rows.iter().any(|row| row[0] == "three/1.png" && row[1] == "plain"), "{rows:?}");

    let ran = place.kshot(&["model", "drop-class", "toys.kshot", "plain", "--json"]);
    assert_eq!(ran.faults(DONE, &[]), [""; 0]);
    assert_eq!(fs::read(place.at("toys.kshot")).unwrap(), whole, "bit for bit what it was");
    for (arguments, part) in [
        (["drop-class", "toys.kshot", "blob"].as_slice(), "did you mean `blobs`?"),
        (&["add-class", "toys.kshot", " ", "new"], "needs a name"),
        (&["add-class", "toys.kshot", "x", "nowhere"], "no such folder"),
        (&["ls", "support/blobs/0.png"], "not a model"),
    ] {
        let ran = place.kshot(&[&["model"], arguments].concat());
        assert_eq!(ran.faults(WRONG_USE, &[part]), [""; 0], "{arguments:?}");
    }
    assert_eq!(fs::read(place.at("toys.kshot")).unwrap(), whole);
}

/// The figures of the guide, roughly: what they are made on is not part of the project.
#[test]
fn groceries_are_recognised() {
    let data = std::env::var_os("KSHOT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let grocery = data.join("grocery");
    if !grocery.is_dir() {
        eprintln!("skipped: no {}", grocery.display());
        return;
    }
    // Twelve of the classes, so that it takes seconds.
    let place = Place::new();
    let mut names: Vec<_> = fs::read_dir(grocery.join("train"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    let mut lists = [String::new(), String::new()];
    for name in names.iter().step_by(7) {
        for (list, part) in lists.iter_mut().zip(["train", "test"]) {
            let mut files: Vec<_> = fs::read_dir(grocery.join(part).join(name))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            for file in files.iter().take(3) {
                list.push_str(&format!("{},{}\n", file.display(), name.to_string_lossy()));
            }
        }
    }
    place.write("support.csv", &lists[0]);
    place.write("query.csv", &lists[1]);
    let flags = ["--support", "support.csv", "--query", "query.csv", "--size", "160"];
    let ran = place.classify(&[&flags[..], &["--views", "1"]].concat());
    assert_eq!(ran.faults(DONE, &["accuracy"]), [""; 0]);
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(place.at("out/truth.json")).unwrap()).unwrap();
    let accuracy = json["accuracy"]["mean"].as_f64().unwrap();
    assert!(accuracy > 0.5, "{accuracy} of 12 classes, chance is 0.083");
}
