//! Labelled data sets on disk: VOC, CamVid and plain folders.

use std::path::{Path, PathBuf};

use image::RgbImage;
use kshot_data::labels::index::{Reading, read, read_values};
use kshot_data::mask::{Mask, VOID};

use crate::error::{Error, Result};

/// The kinds of data set, in the order of lists and help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetKind {
    /// Pascal VOC's devkit, of any year: JPEGImages, SegmentationClass, ImageSets/Segmentation.
    Voc,
    /// CamVid in SegNet's form: lists of `image mask`, 11 classes, 11 = void.
    Camvid,
    /// images/ and masks/ (index or binary PNG); a list is a text file of stems.
    Folder,
}

/// Names of VOC's classes, 1 to 20.
pub const VOC_CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Names of CamVid's 11 classes in SegNet's order.
pub const CAMVID_CLASSES: [&str; 11] = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
];

/// Pictures with masks, and the names of their classes.
#[derive(Debug, Clone)]
pub struct SegmentationSet {
    /// Class `i + 1` of the masks is `classes[i]`.
    pub classes: Vec<String>,
    /// Whether 0 is a class of its own (background). Where it is not, no pixel is background.
    pub kind: SetKind,
    items: Vec<(PathBuf, PathBuf)>,
}

impl SegmentationSet {
    /// Opens a data set's list, such as `trainval` of VOC, `val` of CamVid, or `labelled` of a folder
    /// (a file `labelled.txt`); `*` is every picture of a folder, and `*-labelled` every one that is
    /// not on that list.
    ///
    /// # Errors
    /// If a file of the layout is missing or a list is empty.
    pub fn open(kind: SetKind, root: &Path, list: &str) -> Result<Self> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (classes, items): (Vec<String>, _) = match kind {
            SetKind::Voc => {
                let file = root.join("ImageSets/Segmentation").join(format!("{list}.txt"));
                let items = lines(&file)?
                    .iter()
                    .map(|line| {
                        let id = line.split_whitespace().next().unwrap_or_default();
                        (
                            root.join("JPEGImages").join(format!("{id}.jpg")),
                            root.join("SegmentationClass").join(format!("{id}.png")),
                        )
                    })
                    .collect();
                (names(&VOC_CLASSES), items)
            }
            SetKind::Camvid => {
                let file = root.join(format!("{list}.txt"));
                let items = lines(&file)?
                    .iter()
                    .enumerate()
                    .map(|(index, line)| {
                        let mut parts = line.split_whitespace();
                        match (parts.next(), parts.next()) {
                            (Some(image), Some(mask)) => Ok((root.join(image), root.join(mask))),
                            _ => {
                                Err(Error::data("a line is `image mask`").at_line(&file, index + 1))
                            }
                        }
                    })
                    .collect::<Result<_>>()?;
                (names(&CAMVID_CLASSES), items)
            }
            SetKind::Folder => {
                let file = root.join("classes.txt");
                let classes =
                    if file.is_file() { lines(&file)? } else { vec!["foreground".to_owned()] };
                (classes, folder_items(root, list)?)
            }
        };
        if items.is_empty() {
            return Err(Error::data(format!("the list `{list}` names no picture")).in_file(root));
        }
        Ok(Self { classes, kind, items })
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Never true: a set without a picture cannot be opened.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The files of a picture and its mask.
    pub fn files(&self, index: usize) -> (&Path, &Path) {
        let (image, mask) = &self.items[index];
        (image, mask)
    }

    /// A picture.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn image(&self, index: usize) -> Result<RgbImage> {
        kshot_data::image::read(&self.items[index].0)
    }

    /// A picture's mask: 0 background, `1..=classes`, 255 void.
    ///
    /// # Errors
    /// If it cannot be read or holds a value that is no class.
    pub fn mask(&self, index: usize) -> Result<Mask> {
        let path = &self.items[index].1;
        if self.kind != SetKind::Camvid {
            return read(path, self.classes.len(), Reading::Mask);
        }
        let mut mask = read_values(path)?;
        for pixel in &mut mask.pixels {
            *pixel = match *pixel {
                class if usize::from(class) < CAMVID_CLASSES.len() => class + 1,
                11 => VOID,
                other => {
                    return Err(Error::data(format!(
                        "the value {other}; CamVid's masks hold 0 to 10, and 11 for void"
                    ))
                    .in_file(path));
                }
            };
        }
        Ok(mask)
    }
}

fn lines(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::io("read the list (is data.root the data set's own folder?)", file, error)
    })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn folder_items(root: &Path, list: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let stems = |name: &str| lines(&root.join(format!("{name}.txt")));
    let files = kshot_data::image::list(root.join("images"), false)?;
    let stem = |file: &Path| file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let chosen: Box<dyn Fn(&str) -> bool> = match list.strip_prefix('*') {
        Some("") => Box::new(|_| true),
        Some(rest) => {
            let without = stems(rest.trim_start_matches('-'))?;
            Box::new(move |stem| !without.iter().any(|other| other == stem))
        }
        None => {
            let with = stems(list)?;
            Box::new(move |stem| with.iter().any(|other| other == stem))
        }
    };
    Ok(files
        .into_iter()
        .map(|file| (stem(&file), file))
        .filter(|(stem, _)| chosen(stem))
        .map(|(stem, file)| (file, root.join("masks").join(format!("{stem}.png"))))
        .collect())
}
