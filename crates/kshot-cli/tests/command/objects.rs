//! `kshot segment --objects`: touching things are counted, measured and written, and a second run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{ImageBuffer, Luma, Rgb, RgbImage};
use tempfile::TempDir;

const SIDE: u32 = 96;
/// Discs of a picture: two that touch, and one apart.
const DISCS: [[f32; 3]; 3] = [[28.0, 30.0, 12.0], [48.0, 30.0, 12.0], [66.0, 70.0, 10.0]];

/// The number of the disc at a place, 0 for none, with all discs moved.
fn disc(x: u32, y: u32, [right, down]: [f32; 2]) -> u16 {
    let from =
        |[u, v, radius]: &[f32; 3]| (x as f32 - u - right).hypot(y as f32 - v - down) / radius;
    let nearest = (1u16..).zip(&DISCS).min_by(|a, b| from(a.1).total_cmp(&from(b.1)));
    nearest.filter(|(_, disc)| from(disc) <= 1.0).map_or(0, |(number, _)| number)
}

struct Folders(TempDir);

impl Folders {
    /// Two labelled pictures and three others, moved against each other.
    fn new(instances: bool) -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        for (name, moved) in [("a", [0.0, 0.0]), ("b", [9.0, -6.0])] {
            picture(&folders.at(&format!("support/images/{name}.png")), moved);
            let number = |x, y| Luma([disc(x, y, moved)]);
            let mask = image::GrayImage::from_fn(SIDE, SIDE, |x, y| {
                Luma([u8::from(disc(x, y, moved) > 0)])
            });
            save(&folders.at(&format!("support/masks/{name}.png")), |path| mask.save(path));
            if instances {
                let numbers = ImageBuffer::from_fn(SIDE, SIDE, number);
                save(&folders.at(&format!("support/instances/{name}.png")), |path| {
                    numbers.save(path)
                });
            }
        }
        fs::write(folders.at("support/classes.txt"), "disc\n").unwrap();
        for (name, moved) in [("one", [4.0, 5.0]), ("two", [-7.0, 8.0]), ("three", [12.0, 2.0])] {
            picture(&folders.at(&format!("query/{name}.png")), moved);
        }
        folders
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn segment(&self, flags: &[&str]) -> Output {
        let mut command = Command::new(super::common::binary());
        command.arg("segment").arg("--support").arg(self.at("support"));
        command.arg("--query").arg(self.at("query")).arg("--out").arg(self.at("out"));
        let output =
            command.args(["--method", "filter-forest", "--effort", "fast"]).args(flags).output();
        output.unwrap()
    }

    fn segmented(&self, flags: &[&str]) -> String {
        let output = self.segment(flags);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }
}

fn save(path: &Path, save: impl Fn(&Path) -> image::ImageResult<()>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    save(path).unwrap();
}

fn picture(path: &Path, moved: [f32; 2]) {
    let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let grain = ((x * 7 + y * 13) % 12) as u8;
        Rgb(if disc(x, y, moved) > 0 { [210, 120 + grain, 40] } else { [20 + grain; 3] })
    });
    save(path, |path| picture.save(path));
}

#[test]
fn touching_discs_are_counted_and_a_second_run_keeps_all_rows() {
    let folders = Folders::new(false);
    let lines = folders.segmented(&["--objects", "--json"]);
    assert!(lines.contains(r#""objects":3"#) && lines.contains(r#""objects":9"#), "{lines}");
    let check = || {
        let table = folders.text("out/objects.csv");
        assert_eq!(table.lines().count(), 10, "{table}");
        let rows: Vec<Vec<String>> = table
            .lines()
            .skip(1)
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect();
        for row in &rows {
            let number = |at: usize| row[at].parse::<f64>().unwrap();
            assert!((200.0..560.0).contains(&number(3)), "{row:?}");
            assert!((180.0..=210.0).contains(&number(10)) && number(12) < 60.0, "{row:?}");
            assert!(row[2] == "disc" && (0.5..=1.0).contains(&number(13)), "{row:?}");
        }
        let apart = rows.iter().find(|row| row[0] == "one.png" && row[1] == "3").unwrap();
        let place = [&apart[4], &apart[5]].map(|side| side.parse::<f32>().unwrap());
        assert!((place[0] - 70.5).abs() < 1.5 && (place[1] - 75.5).abs() < 1.5, "{place:?}");
        let labels = folders.text("out/labels.csv");
        assert!(labels.starts_with("file,class,area_px,") && labels.contains(",objects\n"));
        assert!(labels.lines().skip(1).all(|row| row.ends_with(",3")), "{labels}");
    };
    check();
    let numbers = image::open(folders.at("out/objects/two.png")).unwrap();
    assert_eq!(numbers.color(), image::ColorType::L16);
    let numbers = numbers.into_luma16();
    assert_eq!(numbers.pixels().map(|pixel| pixel.0[0]).max(), Some(3));
    let at = |x: u32, y: u32| numbers.get_pixel(x, y).0[0];
    assert!(at(21, 38) > 0 && at(41, 38) > 0 && at(21, 38) != at(41, 38));
    let coco: serde_json::Value = serde_json::from_str(&folders.text("out/coco.json")).unwrap();
    assert_eq!(coco["annotations"].as_array().unwrap().len(), 9);
    let page = folders.text("out/report.html");
    assert!(page.contains("Objects") && page.contains("× 3"), "the page counts");
    assert!(folders.text("out/run.toml").contains("min_object"));

    // A lost file is made again, the others stay, and the table tells of all.
    fs::remove_file(folders.at("out/objects/two.png")).unwrap();
    let lines = folders.segmented(&["--objects", "--json"]);
    assert!(lines.contains(r#""done":1,"skipped":2"#), "{lines}");
    check();
    assert!(folders.at("out/objects/two.png").is_file());
    // Other settings make them again; without objects there is no table of them.
    let lines = folders.segmented(&["--objects", "--min-object", "500", "--json"]);
    assert!(lines.contains(r#""done":3,"skipped":0"#), "{lines}");
    assert!(folders.text("out/objects.csv").lines().count() < 10);
    let lines = folders.segmented(&["--json"]);
    assert!(lines.contains(r#""done":3,"skipped":0"#) && !lines.contains("objects"), "{lines}");
    assert!(!folders.at("out/objects.csv").exists());
    assert!(folders.text("out/labels.csv").starts_with("file,class,area_px,fraction,confidence"));
}

#[test]
fn instances_teach_to_split_and_labelled_pictures_keep_their_own() {
    let folders = Folders::new(true);
    // Its own objects, which nobody else would find: the pair is one.
    let numbers =
        ImageBuffer::from_fn(SIDE, SIDE, |x, y| Luma([disc(x, y, [0.0, 0.0]).div_ceil(2)]));
    save(&folders.at("support/instances/a.png"), |path| numbers.save(path));
    fs::copy(folders.at("support/images/a.png"), folders.at("query/same.png")).unwrap();
    picture(&folders.at("support/images/c.png"), [5.0, 9.0]);
    let numbers = ImageBuffer::from_fn(SIDE, SIDE, |x, y| Luma([disc(x, y, [5.0, 9.0])]));
    save(&folders.at("support/instances/c.tif"), |path| numbers.save(path));
    let lines = folders.segmented(&["--objects", "--json"]);
    assert!(lines.contains(r#""core":0.5"#), "{lines}");
    let rows = |name: &str| {
        folders.text("out/objects.csv").lines().filter(|line| line.starts_with(name)).count()
    };
    assert_eq!(rows("same.png"), 2);
    assert_eq!(rows("one.png"), 3);
}

#[test]
fn sizes_of_objects_need_objects() {
    let folders = Folders::new(false);
    for flag in ["--min-object", "--fill-holes"] {
        let output = folders.segment(&[flag, "5"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--objects"));
    }
}
