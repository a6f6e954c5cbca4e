//! Folders of class folders, and miniImageNet in either of its forms.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::classes::layout::{ClassInput, ClassLayout, ClassRow};
use crate::data::classes::pixels::{Pixels, Scaling};
use crate::data::classes::split::{Splits, at_random};
use crate::data::classes::{ClassSet, ImageClass};
use crate::error::{Error, Result};

/// Class folders as recipes write them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassFoldersConfig {
    /// Their folder.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
    /// Height and width of the pictures.
    #[serde(default = "usual_size")]
    #[schemars(range(min = 1, max = 1024))]
    pub size: usize,
    /// Gray pictures instead of colours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(!skip_serializing_if)]
    pub gray: bool,
    /// Shares of the classes for validation and test, where no folders say.
    #[serde(default = "usual_shares")]
    #[schemars(inner(range(min = 0.0, max = 1.0)))]
    pub shares: [f64; 2],
    /// Seed of that cut.
    #[serde(default)]
    pub split_seed: u64,
}

fn usual_size() -> usize {
    84
}

fn usual_shares() -> [f64; 2] {
    [0.2, 0.2]
}

impl ClassRow for ClassFoldersConfig {
    const NAME: &'static str = "class-folders";
    const SUMMARY: &'static str =
        "a folder of pictures for each class, cut into parts by folders, lists or at random";
    const SOURCE: &'static str = "";
}

impl ClassLayout for ClassFoldersConfig {
    fn channels(&self) -> usize {
        if self.gray { 1 } else { 3 }
    }

    fn size(&self) -> [usize; 2] {
        [self.size; 2]
    }

    fn scaling(&self, of_network: Option<Scaling>) -> Scaling {
        of_network.unwrap_or_else(|| usual(self.channels()))
    }

    fn splits(&self, input: ClassInput<'_>) -> Result<Splits> {
        let (channels, size) = (self.channels(), self.size());
        read(&self.root, self.shares, self.split_seed, |files| match input {
            ClassInput::Pictures(scaling) => Pixels::read(files, channels, size, scaling),
            ClassInput::Vectors(make) => make(files),
        })
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

/// miniImageNet (Vinyals et al. 2016, arXiv 1606.04080): `train`, `val` and `test` as class folders, or Ravi and
/// Larochelle's lists.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct MiniImagenetConfig(pub ClassFoldersConfig);

impl ClassRow for MiniImagenetConfig {
    const NAME: &'static str = "mini-imagenet";
    const SUMMARY: &'static str = "miniImageNet: 100 classes of 84x84 pixels, as class folders or by Ravi and Larochelle's lists";
    const SOURCE: &'static str = "https://arxiv.org/abs/1606.04080";
}

impl ClassLayout for MiniImagenetConfig {
    fn channels(&self) -> usize {
        self.0.channels()
    }

    fn size(&self) -> [usize; 2] {
        self.0.size()
    }

    fn scaling(&self, of_network: Option<Scaling>) -> Scaling {
        self.0.scaling(of_network)
    }

    fn splits(&self, input: ClassInput<'_>) -> Result<Splits> {
        self.0.splits(input)
    }

    fn root(&self) -> &Path {
        self.0.root()
    }
}

/// Names that the parts go by.
const PARTS: [&[&str]; 3] = [&["train"], &["val", "validation"], &["test"]];

/// Reads class folders: in `train/`, `val/` and `test/` where one of these exists; by Ravi and
/// Larochelle's `train.csv`, `val.csv` and `test.csv` (`filename,label`) where one of these exists;
/// else `root` holds the class folders, and `shares` of its classes, drawn by `seed`, are left for
/// validation and test. `pixels` makes pictures, or vectors, of the files.
///
/// # Errors
/// If there is no class, or a picture cannot be read.
pub fn read(
    root: &Path,
    shares: [f64; 2],
    seed: u64,
    pixels: impl FnOnce(Vec<PathBuf>) -> Result<Pixels>,
) -> Result<Splits> {
    if !root.is_dir() {
        return Err(Error::data(
            "there is no such folder; give the folder that holds the class folders, such as \
             --set data.root=PATH",
        )
        .in_file(root));
    }
    let mut files = Vec::new();
    let mut parts: [Vec<ImageClass>; 3] = Default::default();
    let mut divided = false;
    for (part, names) in parts.iter_mut().zip(PARTS) {
        for name in names {
            let (folder, list) = (root.join(name), root.join(format!("{name}.csv")));
            if list.is_file() {
                *part = listed(root, &list, &mut files)?;
            } else if folder.is_dir() {
                *part = folders(&folder, &mut files)?;
            } else {
                continue;
            }
            divided = true;
            break;
        }
    }
    if !divided {
        parts[0] = folders(root, &mut files)?;
    }
    if files.is_empty() {
        return Err(Error::data(
            "no class folder with pictures in it; expected ROOT/CLASS/*.jpg, ROOT/train/CLASS/*.jpg \
             or ROOT/train.csv with ROOT/images",
        )
        .in_file(root));
    }
    let pixels = Arc::new(pixels(files)?);
    let [train, validation, test] =
        parts.map(|classes| ClassSet { classes, pixels: Arc::clone(&pixels) });
    Ok(if divided { Splits { train, validation, test } } else { at_random(&train, shares, seed) })
}

/// Gray pictures become 0 to 1; colours are scaled as ImageNet's.
pub fn usual(channels: usize) -> Scaling {
    if channels == 1 { Scaling { mean: [0.0; 3], std: [1.0; 3] } } else { Scaling::IMAGENET }
}

/// Every folder with pictures is a class, by the name of its path.
fn folders(root: &Path, files: &mut Vec<PathBuf>) -> Result<Vec<ImageClass>> {
    let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for file in kshot_data::image::list(root, true)? {
        let Some(folder) = file.parent().and_then(|folder| folder.strip_prefix(root).ok()) else {
            continue;
        };
        let name = folder.to_string_lossy().replace('\\', "/");
        if !name.is_empty() {
            classes.entry(name).or_default().push(files.len());
            files.push(file);
        }
    }
    Ok(named(classes))
}

/// Ravi and Larochelle's lists: `filename,label`, the pictures in `images/` or beside the list.
fn listed(root: &Path, list: &Path, files: &mut Vec<PathBuf>) -> Result<Vec<ImageClass>> {
    let wrong = |line: usize, error: &dyn std::fmt::Display| {
        Error::data(format!("{error}; expected `filename,label`")).at_line(list, line)
    };
    let mut reader = csv::Reader::from_path(list).map_err(|error| wrong(1, &error))?;
    let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, row) in reader.deserialize::<(String, String)>().enumerate() {
        let (file, label) = row.map_err(|error| wrong(index + 2, &error))?;
        let places = [root.join("images").join(&file), root.join(&file)];
        let Some(path) = places.iter().find(|path| path.is_file()) else {
            return Err(wrong(index + 2, &format!("there is no picture {}", places[0].display())));
        };
        classes.entry(label).or_default().push(files.len());
        files.push(path.clone());
    }
    Ok(named(classes))
}

fn named(classes: BTreeMap<String, Vec<usize>>) -> Vec<ImageClass> {
    let class = |(name, images)| ImageClass { name, group: String::new(), images, turns: 0 };
    classes.into_iter().map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(files: Vec<PathBuf>) -> Result<Pixels> {
        Pixels::read(files, 3, [4, 4], Scaling::IMAGENET)
    }

    fn picture(path: &Path, value: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(4, 4, image::Rgb([value; 3])).save(path).unwrap();
    }

    #[test]
    fn plain_class_folders_are_cut_by_seed_without_overlap() {
        let root = tempfile::tempdir().unwrap();
        for class in 0..10 {
            picture(&root.path().join(format!("c{class}/a.png")), class);
        }
        let read = |seed| read(root.path(), [0.2, 0.3], seed, rgb).unwrap();
        let splits = read(1);
        let counts = [&splits.train, &splits.validation, &splits.test].map(|set| set.classes.len());
        assert_eq!(counts, [5, 2, 3]);
        assert_eq!(splits.names(), read(1).names());
        let all: std::collections::BTreeSet<&String> =
            [&splits.train, &splits.validation, &splits.test]
                .iter()
                .flat_map(|set| set.classes.iter().map(|class| &class.name))
                .collect();
        assert_eq!(all.len(), 10);
    }

    #[test]
    fn lists_of_ravi_are_read_and_a_missing_picture_is_told_with_its_line() {
        let root = tempfile::tempdir().unwrap();
        picture(&root.path().join("images/a.png"), 1);
        picture(&root.path().join("images/b.png"), 2);
        std::fs::write(root.path().join("train.csv"), "filename,label\na.png,n1\nb.png,n2\n")
            .unwrap();
        let splits = read(root.path(), [0.0; 2], 0, rgb).unwrap();
        assert_eq!(splits.train.classes.len(), 2);
        assert!(splits.part(super::super::split::ClassPart::Test).is_err());
        std::fs::write(root.path().join("val.csv"), "filename,label\nc.png,n1\n").unwrap();
        let error = read(root.path(), [0.0; 2], 0, rgb).unwrap_err().to_string();
        assert!(error.contains("val.csv:2"), "{error}");
    }
}
