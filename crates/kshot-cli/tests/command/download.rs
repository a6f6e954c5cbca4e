//! `kshot data download` without a network: lists, terms and what is had by hand.

use super::common::{DONE, Place, WRONG_USE};

#[test]
fn the_list_names_sizes_and_what_is_had_by_hand() {
    let place = Place::new();
    let ran = place.kshot(&["data", "download"]);
    assert_eq!(ran.status, DONE, "{}", ran.stderr);
    for words in ["voc2012", "2.0 GB", "train, val, annotations", "by hand"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let ran = place.kshot(&["data", "download", "--json"]);
    let rows: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() >= 10 && rows.iter().all(|row| row["terms"].is_string()));
}

/// Nobody can be asked here, so that nothing is downloaded.
#[test]
fn terms_are_shown_and_must_be_accepted() {
    let place = Place::new();
    for json in [&["--json"][..], &[]] {
        let ran = place.kshot(&[&["data", "download", "ade20k", "--out", "ade"], json].concat());
        let says = ["BSD 3-Clause", "about 970 MB", "--accept-licence", "nothing was downloaded"];
        let faults = ran.faults(WRONG_USE, &says);
        assert!(faults.is_empty(), "{faults:?}");
        assert!(!place.at("ade").exists());
    }
}

#[test]
fn names_parts_and_data_sets_without_a_download_are_told() {
    let place = Place::new();
    for (arguments, says) in [
        (&["voc2021"][..], &["did you mean `voc2012`?"][..]),
        (&["coco-2017", "--part", "vall"], &["did you mean `val`?"]),
        (&["cityscapes"], &["register", "leftImg8bit_trainvaltest.zip", "license"]),
        (&["mini-imagenet", "--accept-licence"], &["nobody publishes it", "image-net.org"]),
    ] {
        let ran = place.kshot(&[&["data", "download"], arguments].concat());
        let faults = ran.faults(WRONG_USE, says);
        assert!(faults.is_empty(), "{arguments:?}: {faults:?}");
    }
}
