//! The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011, doi 10.1109/ICCV.2011.6126343): masks of VOC's 20 classes
//! for 11355 pictures, by which VOC's training list of 1464 is augmented to 10582 (`trainaug`).
//!
//! Two layouts are read:
//! - SBD's own: `img/ID.jpg`, `cls/ID.mat` (MATLAB), `train.txt` and `val.txt` with SBD's own parts. With `voc`, the folder
//!   of VOC 2012, `train` and `val` are VOC's lists with VOC's masks, and `trainaug` is VOC's `train` together with all of
//!   SBD that is in neither list, as DeepLab has it (Chen et al. 2015, arXiv 1412.7062).
//! - VOC 2012's devkit with the folder `SegmentationClassAug` of PNGs that many use: `ImageSets/Segmentation/LIST.txt`;
//!   `trainaug` is the list of that name (or `train_aug`), else all masks there that are not on the list `val`.
//!
//! SBD's masks have no void, VOC's have it along borders.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::labels::index::{Reading, read};
use kshot_data::mask::Mask;
use kshot_data::matlab;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs, lines};
use super::layout::{Layout, owned, part_of, stems};
use super::voc::VOC_CLASSES;
use crate::error::{Error, Result};

const LAYOUT: Layout = Layout {
    name: "SBD's folder `dataset`, or VOC 2012's with SegmentationClassAug",
    drawing: "  img/ID.jpg, cls/ID.mat, train.txt, val.txt                  (SBD's own; data.voc is VOC 2012's)\n\
              or\n  JPEGImages/ID.jpg, SegmentationClassAug/ID.png, ImageSets/Segmentation/{train,val,trainaug}.txt",
};
const VOC_LAYOUT: Layout = Layout {
    name: "SBD's folder and data.voc VOC 2012's",
    drawing: "  JPEGImages/ID.jpg, SegmentationClass/ID.png, ImageSets/Segmentation/{train,val}.txt",
};

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SbdConfig {
    /// SBD's folder that holds `img` and `cls`, or VOC 2012's that holds `SegmentationClassAug`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
    /// VOC 2012's folder, such as `VOCdevkit/VOC2012`, for the parts of VOC and `trainaug` where `root` is SBD's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub voc: Option<PathBuf>,
}

impl DatasetLayout for SbdConfig {
    const NAME: &'static str = "sbd";
    const SUMMARY: &'static str = "SBD: masks of VOC's 20 classes for 11355 pictures, as MATLAB files or SegmentationClassAug; lists train, trainaug, val";
    const SOURCE: &'static str = "https://doi.org/10.1109/ICCV.2011.6126343";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let root = &self.root;
        let items = if root.join("SegmentationClassAug").is_dir() {
            Devkit(root).items(part)?
        } else {
            LAYOUT.first(root, &["cls", "dataset/cls"])?;
            let own = root.join("dataset");
            let own = Own(if own.is_dir() { own } else { root.clone() });
            match &self.voc {
                Some(voc) => own.with_voc(&Devkit(voc), part)?,
                None => own.items(part)?,
            }
        };
        let classes = owned(&VOC_CLASSES);
        ListedPairs { classes, items, has_background: true, read: mask }.filled(root, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

type Items = Vec<(PathBuf, PathBuf)>;

/// SBD's own folder.
struct Own(PathBuf);

impl Own {
    fn item(&self, id: &str) -> (PathBuf, PathBuf) {
        (self.0.join(format!("img/{id}.jpg")), self.0.join(format!("cls/{id}.mat")))
    }

    fn items(&self, part: &str) -> Result<Items> {
        if part == "trainaug" {
            let text = "trainaug is VOC 2012's train together with SBD: set data.voc to VOC 2012's folder, such as \
                        VOCdevkit/VOC2012";
            return Err(Error::config(text).at_key("data.voc"));
        }
        let parts = [("train", "train"), ("val", "val"), ("validation", "val")];
        let file = LAYOUT.first(&self.0, &[&format!("{}.txt", part_of(part, &parts)?)])?;
        Ok(lines(&file)?.iter().map(|line| self.item(id(line))).collect())
    }

    fn with_voc(&self, voc: &Devkit<'_>, part: &str) -> Result<Items> {
        let parts =
            [("train", "train"), ("trainaug", "trainaug"), ("val", "val"), ("validation", "val")];
        let part = part_of(part, &parts)?;
        let list = |name| VOC_LAYOUT.first(voc.0, &[&voc.list(name)]).and_then(|file| lines(&file));
        if part != "trainaug" {
            return Ok(list(part)?.iter().map(|line| voc.item(id(line))).collect());
        }
        let (train, val) = (list("train")?, list("val")?);
        let mut all: Items = train.iter().map(|line| voc.item(id(line))).collect();
        let theirs: HashSet<&str> = train.iter().chain(&val).map(|line| id(line)).collect();
        let mut added = BTreeSet::new();
        for name in ["train.txt", "val.txt"] {
            let file = LAYOUT.first(&self.0, &[name])?;
            let lines = lines(&file)?;
            let new = lines.iter().map(|line| id(line)).filter(|id| !theirs.contains(id));
            added.extend(new.map(str::to_owned));
        }
        all.extend(added.iter().map(|id| self.item(id)));
        Ok(all)
    }
}

/// VOC 2012's folder.
struct Devkit<'a>(&'a Path);

impl Devkit<'_> {
    fn list(&self, name: &str) -> String {
        format!("ImageSets/Segmentation/{name}.txt")
    }

    fn item(&self, id: &str) -> (PathBuf, PathBuf) {
        let augmented = self.0.join(format!("SegmentationClassAug/{id}.png"));
        let mask = if augmented.is_file() {
            augmented
        } else {
            self.0.join(format!("SegmentationClass/{id}.png"))
        };
        (self.0.join(format!("JPEGImages/{id}.jpg")), mask)
    }

    fn items(&self, part: &str) -> Result<Items> {
        let names: &[&str] = match part {
            "validation" => &["val"],
            "trainaug" => &["trainaug", "train_aug"],
            part => &[part],
        };
        let listed = names.iter().map(|name| self.0.join(self.list(name))).find(|at| at.is_file());
        let ids: Vec<String> = match listed {
            Some(file) => lines(&file)?.iter().map(|line| id(line).to_owned()).collect(),
            None if part == "trainaug" => {
                let val = lines(&LAYOUT.first(self.0, &[&self.list("val")])?)?;
                let val: HashSet<&str> = val.iter().map(|line| id(line)).collect();
                let all = stems(&self.0.join("SegmentationClassAug"), ".png")?;
                all.into_iter().filter(|stem| !val.contains(stem.as_str())).collect()
            }
            None => {
                let mut known = stems(&self.0.join("ImageSets/Segmentation"), ".txt")?;
                known.push("trainaug".to_owned());
                let known: Vec<(&str, &str)> = known.iter().map(|name| (&**name, "")).collect();
                part_of(part, &known)?;
                return Err(LAYOUT.missing(&self.0.join(self.list(part))));
            }
        };
        Ok(ids.iter().map(|id| self.item(id)).collect())
    }
}

/// A picture's name in a line, which may be `ID` or `/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`.
fn id(line: &str) -> &str {
    let first = line.split_whitespace().next().unwrap_or_default();
    let name = first.rsplit('/').next().unwrap_or_default();
    name.strip_suffix(".jpg").unwrap_or(name)
}

fn mask(path: &Path) -> Result<Mask> {
    if path.extension().is_none_or(|ending| ending != "mat") {
        return read(path, VOC_CLASSES.len(), Reading::Mask);
    }
    let mask = matlab::struct_field(path, "GTcls", "Segmentation")?;
    match mask.pixels.iter().find(|value| usize::from(**value) > VOC_CLASSES.len()) {
        Some(value) => {
            let text = format!("the value {value}; SBD's masks hold 0 for background and 1 to 20");
            Err(Error::data(text).in_file(path))
        }
        None => Ok(mask),
    }
}
