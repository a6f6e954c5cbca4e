//! Two classes of pictures to tell apart, and pictures to label, for tests of `kshot classify`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

use super::common::{Ran, save};

/// What is quick enough for a test on any processor.
const QUICK: [&str; 4] = ["--size", "64", "--views", "1"];

/// Two classes of three pictures each, and a query of two of each in folders of other names.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for index in 0..3 {
            save(&place.at(&format!("support/stripes/{index}.png")), &stripes(index));
            save(&place.at(&format!("support/blobs/{index}.png")), &blobs(index));
        }
        for index in 3..5 {
            save(&place.at(&format!("query/one/{index}.png")), &stripes(index));
            save(&place.at(&format!("query/two/{index}.png")), &blobs(index));
        }
        place
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), bytes).unwrap();
    }

    pub fn kshot(&self, arguments: &[&str]) -> Ran {
        let output = Command::new(super::common::binary())
            .current_dir(self.folder.path())
            .args(arguments)
            .output()
            .unwrap();
        Ran::new(&output)
    }

    /// `kshot classify` with the defaults of these tests, where the flags say nothing else.
    pub fn classify(&self, flags: &[&str]) -> Ran {
        let mut all = vec!["classify"];
        let defaults =
            [["--support", "support"], ["--query", "query"], ["--out", "out/labels.csv"]];
        for default in defaults {
            let replaced = default[0] == "--support" && flags.contains(&"--model");
            if !flags.contains(&default[0]) && !replaced {
                all.extend(default);
            }
        }
        if !flags.contains(&"--model") && !flags.contains(&"--size") {
            all.extend(QUICK);
        }
        all.extend(flags);
        self.kshot(&all)
    }

    /// The rows of a table, without its head.
    pub fn rows(&self, name: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.at(name)).unwrap();
        text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
    }
}

pub fn stripes(index: u32) -> RgbImage {
    RgbImage::from_fn(60, 40, |x, _| match (x / 4 + index) % 2 {
        0 => Rgb([230, 30 + 9 * index as u8, 20]),
        _ => Rgb([250, 250, 240]),
    })
}

pub fn blobs(index: u32) -> RgbImage {
    RgbImage::from_fn(48, 48, |x, y| {
        let (dx, dy) = (x as i32 - 20 - index as i32, y as i32 - 24);
        if dx * dx + dy * dy < 150 {
            Rgb([20, 40, 200 - 9 * index as u8])
        } else {
            Rgb([30, 120, 40])
        }
    })
}
