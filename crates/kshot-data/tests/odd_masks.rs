//! Masks as people have them: what their numbers mean is decided by what most mean, and told.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use image::{GrayImage, Luma, LumaA, RgbaImage};
use kshot_data::check::check;
use kshot_data::label_folder::{LabelFolder, MaskReading};
use kshot_data::mask::UNLABELLED;
use kshot_data::support::Support;

const SIDE: u32 = 48;

/// A folder of one picture, whose mask is filled by the test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let picture =
            image::RgbImage::from_fn(SIDE, SIDE, |x, y| image::Rgb([x as u8 * 5, y as u8 * 5, 80]));
        place.save("images/a.png", |path| picture.save(path).unwrap());
        place
    }

    fn save(&self, name: &str, save: impl FnOnce(&Path)) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path);
    }

    fn gray(&self, name: &str, value: impl Fn(u32, u32) -> u8) {
        let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)]));
        self.save(name, |path| mask.save(path).unwrap());
    }

    fn text(&self, name: &str, text: &str) {
        self.save(name, |path| std::fs::write(path, text).unwrap());
    }

    fn load(&self) -> Support {
        Support::load(self.0.path()).unwrap()
    }

    /// Its warnings contain all of these words.
    fn tells(&self, words: &[&str]) -> Support {
        let support = self.load();
        let told = support.warnings.join("\n");
        for word in words {
            assert!(told.contains(word), "`{word}` is not in: {told}");
        }
        support
    }
}

fn disc(x: u32, y: u32) -> f64 {
    (f64::from(x) - 20.0).hypot(f64::from(y) - 22.0)
}

fn values(support: &Support) -> Vec<u8> {
    let mut values = support.pictures[0].mask.pixels.clone();
    values.sort_unstable();
    values.dedup();
    values
}

#[test]
fn gray_levels_are_classes() {
    let place = Place::new();
    place.gray("masks/a.png", |x, y| match (disc(x, y) < 9.0, x > 36) {
        (true, _) => 100,
        (_, true) => 200,
        _ => 0,
    });
    let support = place.tells(&["gray levels: 100, 200", "--masks classes"]);
    assert_eq!(support.classes, ["class 100", "class 200"]);
    assert_eq!(values(&support), [0, 1, 2]);
    place.text("classes.txt", "disc\nbar\n");
    let support = place.tells(&["gray levels: 100, 200"]);
    assert_eq!((support.classes.len(), values(&support)), (2, vec![0, 1, 2]));
    // Numbers that are near each other are classes, some of which do not occur.
    let place = Place::new();
    place.gray("masks/a.png", |x, _| if x > 36 { 7 } else { 0 });
    assert_eq!(place.load().classes.len(), 7);
}

#[test]
fn smoothed_edges_and_jpeg_are_cut_in_two() {
    let smooth = |x: u32, y: u32| ((12.0 - disc(x, y)) / 4.0 * 255.0).clamp(0.0, 255.0) as u8;
    for ending in ["png", "jpg"] {
        let place = Place::new();
        place.gray(&format!("masks/a.{ending}"), smooth);
        let support = place.tells(&["smoothed edges", "from 128 on"]);
        assert_eq!((support.classes.len(), values(&support)), (1, vec![0, 1]), "{ending}");
        let area = support.pictures[0].mask.counts()[1];
        assert!((280..350).contains(&area), "{area} pixels of a disc of radius 10");
    }
    // A JPEG of class numbers cannot be one.
    let place = Place::new();
    place.gray("masks/a.jpg", |x, y| if disc(x, y) < 9.0 { 2 } else { 0 });
    let error = Support::load(place.0.path()).unwrap_err().to_string();
    assert!(error.contains("JPEG") && error.contains("changes class numbers"), "{error}");
}

#[test]
fn a_number_for_each_object_is_no_class() {
    let place = Place::new();
    let number = |x: u32, y: u32| match (x % 8 < 6, y % 12 < 9) {
        (true, true) => (y / 12 * 6 + x / 8 + 1) as u8,
        _ => 0,
    };
    place.gray("masks/a.png", number);
    let support = place.tells(&["object numbers of one class"]);
    assert_eq!(
        (support.classes.as_slice(), values(&support)),
        (&["object".to_owned()][..], vec![0, 1])
    );
    assert_eq!(support.pictures[0].objects.as_ref().unwrap().map.count(), 24);
    // Asked for, each is its class.
    let open = LabelFolder::open_reading(place.0.path(), MaskReading::Classes).unwrap();
    assert_eq!(open.classes.len(), 24);
    // A few classes, each in one piece, stay classes; as do many whose pieces are scattered.
    let place = Place::new();
    place.gray("masks/a.png", |x, _| (x / 12) as u8);
    assert_eq!(place.load().classes.len(), 3);
    let place = Place::new();
    place.gray("masks/a.png", |x, y| ((x / 4 * 7 + y / 4 * 3) % 13) as u8);
    assert_eq!(place.load().classes.len(), 12);
}

#[test]
fn deep_masks_of_few_numbers_are_classes() {
    type Deep = image::ImageBuffer<Luma<u16>, Vec<u16>>;
    let deep =
        |value: &dyn Fn(u32, u32) -> u16| Deep::from_fn(SIDE, SIDE, |x, y| Luma([value(x, y)]));
    for ending in ["png", "tif"] {
        let place = Place::new();
        let mask = deep(&|x, _| (x / 16) as u16);
        place.save(&format!("masks/a.{ending}"), |path| mask.save(path).unwrap());
        assert_eq!(place.load().classes.len(), 2, "{ending}");
        // A number that does not occur, or other pieces in another file: objects.
        let gap = deep(&|x, _| [0, 1, 4][x as usize / 16]);
        place.save(&format!("masks/a.{ending}"), |path| gap.save(path).unwrap());
        let support = place.tells(&["object numbers"]);
        assert_eq!(support.classes, ["object"]);
        let open = LabelFolder::open_reading(place.0.path(), MaskReading::Classes).unwrap();
        assert_eq!(open.classes.len(), 4);
    }
    let place = Place::new();
    place.save("images/b.png", |path| image::RgbImage::new(SIDE, SIDE).save(path).unwrap());
    for (name, numbers) in [("a", 2), ("b", 4)] {
        let cells =
            deep(&|x, _| if x % 12 < 6 && x / 12 < numbers { x as u16 / 12 + 1 } else { 0 });
        place.save(&format!("masks/{name}.tif"), |path| cells.save(path).unwrap());
    }
    assert_eq!(place.load().classes, ["object"]);
}

#[test]
fn transparent_pixels_are_background() {
    let place = Place::new();
    let mask = RgbaImage::from_fn(SIDE, SIDE, |x, y| {
        image::Rgba([255, 255, 255, if disc(x, y) < 9.0 { 255 } else { 0 }])
    });
    place.save("masks/a.png", |path| mask.save(path).unwrap());
    let area = place.load().pictures[0].mask.counts()[1];
    assert!((230..280).contains(&area), "{area}");
    // Gray levels with alpha keep their numbers where they are shown.
    let place = Place::new();
    let mask = image::ImageBuffer::from_fn(SIDE, SIDE, |x, y| {
        LumaA([if x > 24 { 2u8 } else { 1 }, if disc(x, y) < 9.0 { 255 } else { 0 }])
    });
    place.save("masks/a.png", |path| mask.save(path).unwrap());
    assert_eq!(values(&place.load()), [0, 1, 2]);
}

#[test]
fn strokes_on_zero_are_not_background() {
    let stroke = |x: u32, y: u32| match (x, y) {
        (10..=12, 5..=30) => 2,
        (40..=42, 5..=30) => 1,
        _ => 0,
    };
    let place = Place::new();
    place.gray("scribbles/a.png", stroke);
    place.text("classes.txt", "background\nnucleus\n");
    let support = place.tells(&["0 is read as unlabelled, and 1 as background"]);
    assert_eq!(support.classes, ["nucleus"]);
    let mask = &support.pictures[0].mask;
    assert_eq!((mask.at(41, 10), mask.at(11, 10), mask.at(0, 0)), (0, 1, UNLABELLED));
    // Where 255 is, 0 is background.
    let place = Place::new();
    place.gray("scribbles/a.png", |x, y| match stroke(x, y) {
        0 => 255,
        value => value - 1,
    });
    assert_eq!(values(&place.load()), [0, 1, UNLABELLED]);
}

#[test]
fn background_in_the_list_of_classes_is_number_zero() {
    let place = Place::new();
    place.gray("masks/a.png", |x, y| u8::from(disc(x, y) < 9.0));
    place.text("classes.txt", "background\nnucleus\n");
    let support = place.tells(&["so that 1 is nucleus"]);
    assert_eq!(
        (support.classes.as_slice(), values(&support)),
        (&["nucleus".to_owned()][..], vec![0, 1])
    );
}

#[test]
fn words_behind_names_are_whole_masks_and_numbers_are_objects() {
    let place = Place::new();
    place.gray("masks/a_mask.png", |x, _| (x / 16) as u8);
    assert_eq!(values(&place.load()), [0, 1, 2]);
    let place = Place::new();
    for (number, left) in [(0, 4), (1, 30)] {
        place.gray(&format!("masks/a_cat-{number}.png"), |x, y| {
            if (left..left + 9).contains(&x) && y < 20 { 255 } else { 0 }
        });
    }
    let support = place.load();
    assert_eq!(support.classes, ["cat"]);
    assert_eq!(support.pictures[0].objects.as_ref().unwrap().map.count(), 2);
}

#[test]
fn folders_and_names_of_other_tools_are_found() {
    let disc = |x: u32, y: u32| u8::from(disc(x, y) < 9.0);
    for (picture, mask) in [
        ("image/a.png", "mask/a.png"),
        ("Images/a.PNG", "Masks/A.png"),
        ("imagesTr/case_0000.png", "labelsTr/case.png"),
        ("train/images/a.png", "train/labels/a.png"),
        ("images/M\u{fc}ller.png", "masks/Mu\u{308}ller.png"),
        ("images/a.png", "masks/a.png.png"),
    ] {
        let place = Place(tempfile::tempdir().unwrap());
        place.save(picture, |path| image::RgbImage::new(SIDE, SIDE).save(path).unwrap());
        place.gray(mask, disc);
        assert_eq!(place.load().pictures.len(), 1, "{picture} and {mask}");
    }
    let place = Place(tempfile::tempdir().unwrap());
    place.gray("scans/a.png", disc);
    place.text("project.json", "{\"a\": 1}");
    let error = Support::load(place.0.path()).unwrap_err().to_string();
    assert!(
        error.contains("scans/ (1 file)") && error.contains("project.json is of no format"),
        "{error}"
    );
}

#[test]
fn one_broken_label_does_not_stop_the_others() {
    let place = Place::new();
    place.gray("masks/a.png", |x, y| u8::from(disc(x, y) < 9.0));
    place.save("images/b.png", |path| image::RgbImage::new(SIDE, SIDE).save(path).unwrap());
    place.save("masks/b.png", |path| GrayImage::new(3, 3).save(path).unwrap());
    let support = place.tells(&["left out", "3 x 3"]);
    assert_eq!(support.pictures.len(), 1);
    assert!(check(place.0.path(), None).unwrap().has_errors());
}
