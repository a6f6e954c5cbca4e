//! YOLO's text, a file a picture: `class x y x y ...` for an outline and `class x y width height`
//! for a box, all as shares of the picture's size (<https://docs.ultralytics.com/datasets/segment/>).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::annotation::{Object, ObjectShape};
use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::passed_over::FEW_CORNERS;
use crate::labels::shapes::{NoShape, filled_box};
use crate::labels::{Outlines, names, trace};
use crate::mask::MAX_CLASSES;
use crate::names::{SHOWN, counted, listed, shortened};
use crate::text_file::text_within;

/// Bytes of the labels of a picture at most.
const MOST_BYTES: u64 = 64 << 20;
/// How far outside the picture a share may lie: tools round, and shift outlines that they augment.
const OUTSIDE: f64 = 0.5;
/// From here on it is told.
const TOLD: f64 = 0.01;
/// Class numbers out of range that are named.
const NAMED: usize = 6;

/// Reads a file; class `i` (from 0) is `names[i]`, or `class i` where there are no names. An odd number of numbers ends in
/// a confidence, as predictions are saved.
///
/// # Errors
/// If the file cannot be read, a number is none or is no share, or a class has no name.
pub fn read(path: &Path, names: Option<&[String]>, findings: &mut Findings) -> Result<Outlines> {
    let mut items = PictureItems::default();
    let (mut outside, mut confidences) = (0, 0);
    let mut unknown: BTreeMap<usize, usize> = BTreeMap::new();
    let text = text_within(path, MOST_BYTES)?;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: String| Error::data(what).at_line(path, index + 1);
        let mut words = line.split_whitespace();
        let class = words.next().unwrap_or_default();
        let class = class
            .parse::<f64>()
            .ok()
            .filter(|class| class.fract() == 0.0 && (0.0..65_536.0).contains(class))
            .map(|class| class as usize)
            .ok_or_else(|| {
                wrong(format!(
                    "the class is `{}`; a line is `class x y x y ...` with the class's number from 0",
                    shortened(class, SHOWN)
                ))
            })?;
        let numbers = words
            .map(|word| {
                let share = word.parse::<f64>().ok().filter(|share| share.is_finite());
                let share = share.ok_or_else(|| {
                    wrong(format!("`{}` is not a number", shortened(word, SHOWN)))
                })?;
                if (-OUTSIDE..=1.0 + OUTSIDE).contains(&share) {
                    outside += usize::from(!(-TOLD..=1.0 + TOLD).contains(&share));
                    return Ok(share);
                }
                Err(wrong(format!(
                    "{} lies outside the picture; YOLO's numbers are shares of its width and \
                     height, 0 to 1, not pixels",
                    shortened(word, SHOWN)
                )))
            })
            .collect::<Result<Vec<f64>>>()?;
        let confidence = numbers.len() >= 5 && numbers.len() % 2 == 1;
        confidences += usize::from(confidence);
        let shape = match &numbers[..numbers.len() - usize::from(confidence)] {
            &[x, y, width, height] => {
                filled_box([x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0])
            }
            _ if numbers.len() == 2 => Err(NoShape::Passed(&FEW_CORNERS)),
            numbers if numbers.len() >= 6 => Ok(ObjectShape::Polygons(vec![
                numbers.chunks_exact(2).map(|xy| [xy[0], xy[1]]).collect(),
            ])),
            numbers => {
                return Err(wrong(format!(
                    "{} after the class; an outline has x y of 3 corners or more, a box 4 numbers",
                    counted(numbers.len(), "number", "numbers")
                )));
            }
        };
        let name = match names {
            None => format!("class {class}"),
            Some(names) => match names.get(class) {
                Some(name) => name.clone(),
                None => {
                    *unknown.entry(class).or_default() += 1;
                    continue;
                }
            },
        };
        items.take(shape.map(|shape| Object::new(name, shape)), || format!("line {}", index + 1));
    }
    if !unknown.is_empty() {
        let numbers: Vec<String> =
            unknown.iter().map(|(class, count)| format!("{class} ({})", lines(*count))).collect();
        let known = names.map_or(0, <[String]>::len);
        let void = if unknown.contains_key(&255) {
            "; 255 is no class here: an outline cannot be void, leave it out"
        } else {
            ""
        };
        return Err(Error::data(format!(
            "class numbers out of range: {}; with {} valid are 0 to {}{void}",
            listed(&numbers, NAMED),
            counted(known, "name", "names"),
            known.saturating_sub(1)
        ))
        .in_file(path));
    }
    let mut all = FileItems::default();
    let outlines = items.finish(path, &mut all);
    all.tell(path, "", findings);
    let objects = &outlines.objects;
    if outside > 0 {
        let numbers = counted(outside, "number lies", "numbers lie");
        let what = format!("{numbers} outside the picture: what is outside is cut");
        findings.add(Severity::Note, path, what, "");
    }
    if confidences > 0 {
        findings.add(
            Severity::Warning,
            path,
            format!(
                "{} in one number more, which is taken for a confidence",
                counted(confidences, "line ends", "lines end")
            ),
            "predictions are labels only after somebody has looked at them",
        );
    }
    let boxes = objects.iter().filter(|of| matches!(of.shape, ObjectShape::Box(_))).count();
    if boxes > 0 && boxes < objects.len() {
        findings.add(
            Severity::Warning,
            path,
            format!(
                "{} of 4 numbers among outlines: boxes, whose pixels all count as the class",
                lines(boxes)
            ),
            "outline these objects too, or leave them out",
        );
    }
    Ok(Outlines { relative: true, ..outlines })
}

fn lines(count: usize) -> String {
    counted(count, "line", "lines")
}

/// The classes of files that were read without names, by their numbers: all up to the largest, or, where that is more than
/// a mask can hold, those that occur.
pub fn numbered<'a>(files: impl Iterator<Item = &'a Outlines>) -> Vec<String> {
    let number = |object: &Object| object.class.strip_prefix("class ")?.parse::<usize>().ok();
    let used: BTreeSet<usize> =
        files.flat_map(|file| file.objects.iter().filter_map(number)).collect();
    let name = |number: usize| format!("class {number}");
    match used.last() {
        None => Vec::new(),
        Some(&largest) if largest < usize::from(MAX_CLASSES) => (0..=largest).map(name).collect(),
        Some(_) => used.into_iter().map(name).collect(),
    }
}

/// The text of a file: a line for each object. An object of several outlines becomes one line, its
/// outlines reached by an edge walked there and back. Runs of pixels must have become polygons
/// before; a name that is no class has no line.
pub fn text(objects: &[&Object], classes: &[String], width: usize, height: usize) -> String {
    let mut text = String::new();
    let (width, height) = (width as f64, height as f64);
    for object in objects {
        if object.crowd
            || (names::reserved(&object.class).is_some() && !classes.contains(&object.class))
        {
            continue;
        }
        let Some(class) = classes.iter().position(|class| *class == object.class) else { continue };
        let numbers: Vec<f64> = match &object.shape {
            ObjectShape::Box([left, top, right, bottom]) => {
                let clip = |side: f64, size: f64| side.clamp(0.0, size);
                let (left, right) = (clip(*left, width), clip(*right, width));
                let (top, bottom) = (clip(*top, height), clip(*bottom, height));
                vec![
                    (left + right) / 2.0 / width,
                    (top + bottom) / 2.0 / height,
                    (right - left) / width,
                    (bottom - top) / height,
                ]
            }
            ObjectShape::Polygons(rings) => {
                let ring = trace::joined(Vec::new(), rings.iter().cloned());
                ring.iter().flat_map(|&[x, y]| [x / width, y / height]).collect()
            }
            ObjectShape::Circle(centre, radius) => crate::annotation::circle(*centre, *radius)
                .iter()
                .flat_map(|&[x, y]| [x / width, y / height])
                .collect(),
            ObjectShape::Runs(_) => continue,
        };
        // Four numbers would be read as a box.
        let numbers = if numbers.len() == 4 && !matches!(object.shape, ObjectShape::Box(_)) {
            continue;
        } else {
            numbers
        };
        text.push_str(&class.to_string());
        for number in numbers {
            text.push_str(&format!(" {number}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, names: Option<&[String]>) -> Result<Outlines> {
        read_telling(text, names, &mut Vec::new())
    }

    fn read_telling(
        text: &str,
        names: Option<&[String]>,
        told: &mut Vec<String>,
    ) -> Result<Outlines> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, text).unwrap();
        let mut findings = Findings::default();
        let outlines = read(&path, names, &mut findings);
        told.extend(findings.0.into_iter().map(|finding| finding.what));
        outlines
    }

    #[test]
    fn outlines_and_boxes_are_told_apart() {
        let names = ["cat".to_owned(), "dog".to_owned()];
        let outlines = read_text("1 0.5 0.5 0.5 1\n\n0 0 0 1 0 1 0.75\n", Some(&names)).unwrap();
        let objects = outlines.objects(10, 4);
        assert_eq!(objects[0], Object::new("dog", ObjectShape::Box([2.5, 0.0, 7.5, 4.0])));
        let triangle = vec![[0.0, 0.0], [10.0, 0.0], [10.0, 3.0]];
        assert_eq!(objects[1], Object::new("cat", ObjectShape::Polygons(vec![triangle])));
        let objects: Vec<&Object> = objects.iter().collect();
        let again = read_text(&text(&objects, &names, 10, 4), Some(&names)).unwrap();
        assert_eq!(again.objects(10, 4), outlines.objects(10, 4));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let names = ["cat".to_owned()];
        for (text, place, word) in [
            ("0 0.5 0.5 1 1\n0 12 3 4 5\n", "a.txt:2", "not pixels"),
            ("cat 0 0 1 1 1 0", "a.txt:1", "`cat`"),
            ("0 0 0 1 1 x 0", "a.txt:1", "`x`"),
            ("0 0 0 1", "a.txt:1", "3 numbers"),
            ("1 0.5 0.5 1 1\n255 0.5 0.5 1 1", "a.txt", "255 is no class"),
        ] {
            let error = read_text(text, Some(&names)).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_odd_is_read_and_told() {
        let names = ["cat".to_owned()];
        let text = "0 0.5 0.5 1 1 0.9\n0 0 0 1.04 0 1 0.75 0.3\n0 0.5 0.5 0 1\n0 0.1 0.1\n";
        let mut told = Vec::new();
        let outlines = read_telling(text, Some(&names), &mut told).unwrap();
        assert_eq!(outlines.objects[0].shape, ObjectShape::Box([0.0, 0.0, 1.0, 1.0]));
        assert_eq!(outlines.objects.len(), 2);
        for (told, words) in told.iter().zip([
            "2 items passed over: 1 empty box (line 3); 1 outline of fewer than 3 corners (line 4)",
            "1 number lies outside",
            "2 lines end in one number more",
            "1 line of 4 numbers among outlines",
        ]) {
            assert!(told.starts_with(words), "{told}");
        }
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn numbers_without_names_are_no_more_than_a_mask_holds() {
        let read = |text: &str| read_text(text, None).unwrap();
        let few = [read("2 0.5 0.5 1 1\n")];
        assert_eq!(numbered(few.iter()), ["class 0", "class 1", "class 2"]);
        let many = [read("60000 0.5 0.5 1 1\n"), read("9 0.5 0.5 1 1\n")];
        assert_eq!(numbered(many.iter()), ["class 9", "class 60000"]);
        assert!(numbered([].iter()).is_empty());
    }

    #[test]
    fn shares_give_the_same_pixels() {
        for size in [3.0, 333.0, 500.0, 640.0, 1021.0] {
            for corner in 0..=size as usize {
                let share: f64 = (corner as f64 / size).to_string().parse().unwrap();
                assert_eq!(crate::labels::settled(share * size), corner as f64);
            }
        }
    }
}
