//! What tests of the binary share: a small folder to label and to segment, runs, and what they said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

/// The command under test: this build's, or another one of the same code.
pub fn binary() -> PathBuf {
    let other = std::env::var_os("KSHOT_TEST_BINARY");
    other.map_or_else(|| env!("CARGO_BIN_EXE_kshot").into(), PathBuf::from)
}

pub const DONE: i32 = 0;
pub const WRONG_USE: i32 = 2;
pub const SOME_FAILED: i32 = 3;

/// A support of two labelled pictures and a query of two good ones, each 32 x 32.
pub struct Place {
    pub folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
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

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        let path = self.at(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub fn kshot(&self, arguments: &[&str]) -> Ran {
        self.kshot_where(&[], arguments)
    }

    /// With some of the environment set.
    pub fn kshot_where(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let output = Command::new(binary())
            .current_dir(self.folder.path())
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .unwrap();
        Ran::new(&output)
    }

    /// `kshot segment` with the defaults of these tests, where the flags say nothing else.
    pub fn segment(&self, flags: &[&str]) -> Ran {
        let mut all = vec!["segment", "--support", "support", "--query", "query"];
        for default in [["--out", "out"], ["--method", "prototype"], ["--scale", "1"]] {
            if !flags.contains(&default[0]) {
                all.extend(default);
            }
        }
        all.extend(flags);
        self.kshot(&all)
    }
}

pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What of `status` and `parts` (of the messages) is not as it should be.
    pub fn faults(&self, status: i32, parts: &[&str]) -> Vec<String> {
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

pub fn inside(index: u32, x: u32, y: u32) -> u8 {
    let start = 4 + index * 3;
    u8::from((start..start + 14).contains(&x) && (start..start + 14).contains(&y))
}

pub fn picture(index: u32) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        let grain = ((x * 7 + y * 13 + index) % 5) as u8 * 6;
        match inside(index % 3, x, y) {
            1 => Rgb([200 + grain, 40, 30]),
            _ => Rgb([30, 90 + grain, 160]),
        }
    })
}

pub fn save(path: &Path, picture: &RgbImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

pub fn mask(path: &Path, side: u32, value: impl Fn(u32, u32) -> u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_fn(side, side, |x, y| Luma([value(x, y)])).save(path).unwrap();
}
