//! Cityscapes' fine annotations (Cordts et al., CVPR 2016, arXiv 1604.01685): 19 classes of street frames.
//!
//! Reads `leftImg8bit/PART/CITY/NAME_leftImg8bit.png` with `gtFine/PART/CITY/NAME_gtFine_labelIds.png`, whose 34 ids
//! become 19 training ids by the table of the authors' scripts (`labels.py` of github.com/mcordts/cityscapesScripts) and
//! void. Where the scripts left `NAME_gtFine_labelTrainIds.png`, these are read instead: they hold the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::mask::{Mask, VOID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs};
use super::layout::{Layout, owned, part_of, relabelled, stems};
use crate::error::{Error, Result};

/// Names of the 19 classes, in the order of training ids.
pub const CITYSCAPES_CLASSES: [&str; 19] = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
];

/// The id of each class; all other ids are void.
const IDS: [u8; 19] = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33];
/// The largest id.
const LAST_ID: u8 = 33;

const LAYOUT: Layout = Layout {
    name: "the folder that leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip are unpacked in",
    drawing: "  leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png\n  \
              gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png   (or ..._labelTrainIds.png)",
};

/// What pictures' names end in.
const PICTURE: &str = "_leftImg8bit.png";
/// What masks' names end in, and how their values are read.
type Reader = fn(&Path) -> Result<Mask>;
const MASKS: [(&str, Reader); 2] =
    [("_gtFine_labelTrainIds.png", training_ids), ("_gtFine_labelIds.png", ids)];

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CityscapesConfig {
    /// The folder that holds `leftImg8bit` and `gtFine`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

impl DatasetLayout for CityscapesConfig {
    const NAME: &'static str = "cityscapes";
    const SUMMARY: &'static str = "Cityscapes' fine annotations: street frames of 19 classes, no background; parts train, val and test (void all over)";
    const SOURCE: &'static str = "https://arxiv.org/abs/1604.01685";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let parts = [("train", "train"), ("val", "val"), ("validation", "val"), ("test", "test")];
        let part = part_of(part, &parts)?;
        let pictures = LAYOUT.first(&self.root, &[&format!("leftImg8bit/{part}")])?;
        let masks = LAYOUT.first(&self.root, &[&format!("gtFine/{part}")])?;
        let (mut items, mut reader) = (Vec::new(), None);
        for city in stems(&pictures, "")? {
            if !pictures.join(&city).is_dir() {
                continue;
            }
            let names = stems(&pictures.join(&city), PICTURE)?;
            let folder = masks.join(&city);
            for name in names {
                // One kind of mask for all of them, found at the first.
                let of = |(ending, _): &(&str, Reader)| folder.join(format!("{name}{ending}"));
                let kind = *reader.get_or_insert_with(|| {
                    MASKS.into_iter().find(|kind| of(kind).is_file()).unwrap_or(MASKS[1])
                });
                let mask = of(&kind);
                if !mask.is_file() {
                    let text =
                        "a picture without a mask; unpack gtFine_trainvaltest.zip completely";
                    return Err(Error::data(text).in_file(mask));
                }
                items.push((pictures.join(&city).join(format!("{name}{PICTURE}")), mask));
            }
        }
        let classes = owned(&CITYSCAPES_CLASSES);
        let read = reader.map_or(ids as Reader, |(_, read)| read);
        ListedPairs { classes, items, has_background: false, read }.filled(&pictures, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn has_background(&self) -> bool {
        false
    }
}

/// Ids 0 to 33; licence plates have the id -1, which files hold as 255.
fn ids(path: &Path) -> Result<Mask> {
    let ours = |id: u8| match IDS.iter().position(|of| *of == id) {
        Some(place) => Some(place as u8 + 1),
        None => (id <= LAST_ID || id == 255).then_some(VOID),
    };
    relabelled(path, ours, "the ids 0 to 33, and 255 for licence plates")
}

fn training_ids(path: &Path) -> Result<Mask> {
    let ours = |id: u8| match id {
        0..19 => Some(id + 1),
        255 => Some(VOID),
        _ => None,
    };
    relabelled(path, ours, "training ids 0 to 18, and 255 for void")
}
