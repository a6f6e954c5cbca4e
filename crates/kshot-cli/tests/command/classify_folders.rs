//! `kshot classify` and `kshot model` on folders as people have them: moved, linked and put back, names that are nearly
//! right, copies, and pictures that are added to a class.

use std::fs;

use super::classes::{Place, blobs, stripes};
use super::common::{DONE, SOME_FAILED, WRONG_USE, save};

#[test]
fn links_follow_the_labels_and_nothing_else_is_removed() {
    let place = Place::new();
    place.write("linked/blobs/mine.txt", "mine");
    let flags = ["--link", "linked", "--reject", "off"];
    assert_eq!(place.classify(&flags).faults(DONE, &["4 linked into linked"]), [""; 0]);
    fs::remove_file(place.at("query/one/3.png")).unwrap();
    fs::rename(place.at("support/blobs"), place.at("support/bubbles")).unwrap();
    assert_eq!(place.classify(&flags).faults(DONE, &["3 linked into linked"]), [""; 0]);
    for (name, there) in [
        ("linked/stripes/one/3.png", false),
        ("linked/stripes/one/4.png", true),
        ("linked/blobs/two", false),
        ("linked/blobs/mine.txt", true),
        ("linked/bubbles/two/3.png", true),
    ] {
        assert_eq!(fs::symlink_metadata(place.at(name)).is_ok(), there, "{name}");
    }
}

#[test]
fn moved_pictures_are_shown_where_they_are_and_put_back() {
    let place = Place::new();
    let flags = ["--move", "moved", "--reject", "off"];
    let says = ["4 moved into moved", "kshot classify --undo out/moved.csv"];
    assert_eq!(place.classify(&flags).faults(DONE, &says), [""; 0]);
    let page = fs::read_to_string(place.at("out/report.html")).unwrap();
    assert!(page.contains("href=\"../moved/blobs/two/4.png\"") && page.contains("moved.csv"));
    assert_eq!(page.matches("<img src=\"data:image/jpeg").count(), 4, "each has its picture");
    // Again on what is empty now: it is said why, and nothing is lost.
    let says = ["no picture here any more", "4 were moved", "--undo out/moved.csv"];
    assert_eq!(place.classify(&flags).faults(WRONG_USE, &says), [""; 0]);
    // A second batch is added to the list.
    save(&place.at("query/new/9.png"), &stripes(7));
    assert_eq!(place.classify(&flags).faults(DONE, &["1 moved into moved"]), [""; 0]);
    assert_eq!(place.rows("out/moved.csv").len(), 5);
    fs::remove_file(place.at("moved/blobs/two/4.png")).unwrap();
    let ran = place.kshot(&["classify", "--undo", "out/moved.csv"]);
    let says = ["4 pictures put back, 1 not", "two/4.png", "gone"];
    assert_eq!(ran.faults(SOME_FAILED, &says), [""; 0]);
    for name in ["one/3.png", "one/4.png", "two/3.png", "new/9.png"] {
        assert!(place.at("query").join(name).is_file(), "{name}");
    }
    assert_eq!(place.rows("out/moved.csv").len(), 1);
    place.write("moved/blobs/two/4.png", "back");
    let ran = place.kshot(&["classify", "--undo", "out"]);
    assert_eq!(ran.faults(DONE, &["1 picture put back"]), [""; 0]);
    assert!(!place.at("out/moved.csv").exists());
    for (list, part) in [("out", "no such list"), ("out/labels.csv", "not a list that kshot wrote")]
    {
        let ran = place.kshot(&["classify", "--undo", list]);
        assert_eq!(ran.faults(WRONG_USE, &[part]), [""; 0], "{list}");
    }
    let ran = place.kshot(&["classify", "--undo", "out", "--query", "query"]);
    assert_eq!(ran.status, WRONG_USE);
}

#[test]
fn a_name_that_looks_like_a_formula_is_text_and_is_found_again() {
    let place = Place::new();
    fs::rename(place.at("query/one/3.png"), place.at("query/=3.png")).unwrap();
    fs::rename(place.at("support/blobs"), place.at("support/+blobs")).unwrap();
    assert_eq!(place.classify(&[]).faults(DONE, &[]), [""; 0]);
    let rows = place.rows("out/labels.csv");
    assert_eq!((&*rows[0][0], &*rows[2][1]), ("'=3.png", "'+blobs"));
    // The table itself is a list of pictures with classes.
    fs::rename(place.at("out/labels.csv"), place.at("query/mine.csv")).unwrap();
    let ran = place.classify(&["--truth", "query/mine.csv"]);
    assert_eq!(ran.faults(DONE, &["accuracy 1.0000", "n = 4"]), [""; 0]);
    assert_eq!(place.classify(&["--move", "=moved"]).faults(DONE, &["4 moved"]), [""; 0]);
    let ran = place.kshot(&["classify", "--undo", "out"]);
    assert_eq!(ran.faults(DONE, &["4 pictures put back"]), [""; 0]);
    assert!(place.at("query/=3.png").is_file());
}

#[test]
fn pictures_are_added_to_a_class_of_a_model() {
    let place = Place::new();
    assert_eq!(place.classify(&["--save", "toys.kshot"]).faults(DONE, &[]), [""; 0]);
    let whole = fs::read(place.at("toys.kshot")).unwrap();
    save(&place.at("more/8.png"), &blobs(8));
    fs::copy(place.at("support/blobs/1.png"), place.at("more/again.png")).unwrap();
    fs::copy(place.at("support/stripes/1.png"), place.at("other.png")).unwrap();
    let add = |class: &str, pictures: &[&str]| {
        place.kshot(&[&["model", "add-class", "toys.kshot", class], pictures].concat())
    };
    let ran = add("blobs", &["more/again.png"]);
    let says =
        ["0 pictures added to blobs, 3 now; 1 was there already, and passed over; 2 classes"];
    assert_eq!(ran.faults(DONE, &says), [""; 0]);
    assert_eq!(fs::read(place.at("toys.kshot")).unwrap(), whole, "the file is as it was");
    let ran = add("blobs", &["more", "other.png"]);
    let says =
        ["2 pictures added to blobs, 5 now; 1 was there", "1 picture is in another class too"];
    assert_eq!(ran.faults(DONE, &says), [""; 0]);
    let ran = add("Blob", &["more/8.png"]);
    let says = ["there is a class `blobs`", "Blob added from 1 picture; 3 classes"];
    assert_eq!(ran.faults(DONE, &says), [""; 0]);
    assert_eq!(place.classify(&["--model", "toys.kshot", "--out", "o"]).faults(DONE, &[]), [""; 0]);
    let mut bytes = fs::read(place.at("toys.kshot")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 4;
    place.write("toys.kshot", bytes);
    for arguments in [&["ls", "toys.kshot"][..], &["add-class", "toys.kshot", "blobs", "more"]] {
        let ran = place.kshot(&[&["model"], arguments].concat());
        assert_eq!(ran.faults(WRONG_USE, &["damaged: its checksum", "save it again"]), [""; 0]);
    }
}

#[test]
fn names_of_classes_that_are_nearly_right_are_told() {
    let place = Place::new();
    fs::rename(place.at("query/one"), place.at("query/stripes")).unwrap();
    fs::rename(place.at("query/two"), place.at("query/Blobs")).unwrap();
    let says = ["`Blobs` (2 pictures; did you mean `blobs`?)", "accuracy 1.0000", "n = 2"];
    assert_eq!(place.classify(&[]).faults(DONE, &says), [""; 0]);
    place.write(
        "truth.csv",
        "path,class\nstripes/3.png,stripe\nBlobs/3.png,blobs\nBlobs/4.png,car\n",
    );
    let says =
        ["`stripe` (1 picture; did you mean `stripes`?)", "car (1); it counts as none of these"];
    assert_eq!(place.classify(&["--truth", "truth.csv"]).faults(DONE, &says), [""; 0]);
}

#[test]
fn copies_and_broken_links_are_told_once() {
    let place = Place::new();
    for index in 0..5 {
        let to = format!("support/stripes/copy-{index}.png");
        fs::copy(place.at("support/stripes/1.png"), place.at(&to)).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(
            "/nowhere",
            place.at(&format!("support/blobs/{index}-gone.png")),
        )
        .unwrap();
    }
    let ran = place.classify(&[]);
    // Two of the blobs look the same, too.
    let says = ["6 pictures look the same as another of their class", "; and 3 more; a copy adds"];
    assert_eq!(ran.faults(DONE, &says), [""; 0]);
    assert_eq!(ran.stderr.matches("copy-").count(), 2, "{}", ran.stderr);
    if cfg!(unix) {
        let told = ran.stderr.lines().filter(|line| line.contains("gone.png")).count();
        assert!(ran.stderr.contains("5 links point nowhere") && told == 1, "{}", ran.stderr);
    }
    for index in 0..5 {
        place.write(&format!("support/stripes/empty-{index}.png"), b"");
    }
    let ran = place.classify(&["--out", "new"]);
    let says = ["5 of the labelled pictures cannot be read; mend or remove them", "and 2 more"];
    assert_eq!(ran.faults(WRONG_USE, &says), [""; 0]);
}
