//! Pascal VOC's devkit, of any year: `JPEGImages`, `SegmentationClass`, `ImageSets/Segmentation/LIST.txt`
//! (Everingham et al. 2010, doi 10.1007/s11263-009-0275-4).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::labels::index::{Reading, read};
use kshot_data::mask::Mask;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs, lines};
use crate::error::Result;

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

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VocConfig {
    /// The year's folder, such as `VOCdevkit/VOC2012`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

impl DatasetLayout for VocConfig {
    const NAME: &'static str = "voc";
    const SUMMARY: &'static str = "Pascal VOC's devkit: 20 classes, lists such as train, val and trainval, 255 = does not count";
    const SOURCE: &'static str = "https://doi.org/10.1007/s11263-009-0275-4";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let root = &self.root;
        let file = root.join("ImageSets/Segmentation").join(format!("{part}.txt"));
        let item = |line: &String| {
            let id = line.split_whitespace().next().unwrap_or_default();
            (
                root.join("JPEGImages").join(format!("{id}.jpg")),
                root.join("SegmentationClass").join(format!("{id}.png")),
            )
        };
        let items = lines(&file)?.iter().map(item).collect();
        let classes = VOC_CLASSES.iter().map(|name| (*name).to_owned()).collect();
        ListedPairs { classes, items, has_background: true, read: mask }.filled(root, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

fn mask(path: &Path) -> Result<Mask> {
    read(path, VOC_CLASSES.len(), Reading::Mask)
}
