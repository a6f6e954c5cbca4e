//! The real binary on what people really give it: exit status, words, and what is written.

use std::fs;

use image::RgbImage;

use super::common::{DONE, Place, SOME_FAILED, WRONG_USE, mask, picture, save};

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
    // What is wrong with one label leaves its picture out, and the other is learnt from.
    let left_out = |name, spoil, says| Row { name, spoil, says, ..ROW };
    all(&[
        wrong("missing", |place| place.remove("support"), &["support", "check the path"]),
        wrong(
            "empty",
            |place| place.remove("support/images"),
            &["support", "no labelled picture", "masks/"],
        ),
        left_out(
            "a mask of another size",
            |place| mask(&place.at("support/masks/a.png"), 16, |_, _| 1),
            &["left out", "masks/a.png", "16 x 16", "32 x 32", "export the mask"],
        ),
        left_out(
            "a class number without a name",
            |place| mask(&place.at("support/masks/b.png"), 32, |x, _| if x > 3 { 7 } else { 0 }),
            &["masks/b.png", "holds 7", "classes.txt"],
        ),
        left_out(
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
        left_out(
            "LabelMe with an unknown label",
            |place| {
                let json = r#"{"imagePath": "a.png", "shapes": [{"label": "round",
                    "points": [[1, 1], [9, 1], [9, 9]]}]}"#;
                relabelled(place, "support/images/a.json", json);
            },
            &["a.json", "`round`", "classes.txt"],
        ),
        left_out(
            "broken JSON",
            |place| relabelled(place, "support/images/a.json", r#"{"shapes": ["#),
            &["left out", "a.json:1", "not a label file"],
        ),
        left_out(
            "an empty box",
            |place| {
                let csv = "image,xmin,ymin,xmax,ymax,class\na.png,9,9,9,12,square\n";
                relabelled(place, "support/boxes.csv", csv);
            },
            &["boxes.csv", "1 empty box (line 2)"],
        ),
        wrong(
            "both masks of another size",
            |place| {
                for name in ["a", "b"] {
                    mask(&place.at(&format!("support/masks/{name}.png")), 16, |_, _| 1);
                }
            },
            &["2 wrong labels", "16 x 16"],
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
        wrong(
            "masks",
            &["--masks", "objects"],
            &["`objects`", "valid are auto, classes, instances"],
        ),
        wrong("results among pictures", &["--out", "query/out"], &["--query query", "beside it"]),
        wrong(
            "results in place of labels",
            &["--out", "support"],
            &["--support support", "beside it"],
        ),
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
