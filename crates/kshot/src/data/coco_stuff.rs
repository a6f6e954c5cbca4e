//! COCO-Stuff (Caesar, Uijlings and Ferrari, CVPR 2018, arXiv 1612.03716): a class for each pixel of COCO 2017's pictures.
//!
//! Reads the masks of `stuffthingmaps_trainval2017.zip`: values of 0 to 181 are ids 1 to 182 less one, 255 is void. Of the
//! 182 ids 11 have no annotation in COCO (street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender,
//! hair brush), so that 171 classes remain: 80 of things, 91 of stuff.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use kshot_data::mask::{Mask, VOID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs};
use super::layout::{Layout, pairs, part_of, relabelled};
use crate::error::Result;

/// Ids and names of the classes that have annotations; those up to [`LAST_THING`] are COCO's things.
const TABLE: &str = include_str!("tables/coco.csv");
/// The largest id of a thing.
const LAST_THING: u8 = 90;

/// Ids and names of all 171 classes.
static CLASSES: LazyLock<Vec<(u8, &'static str)>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let (id, name) = line.split_once(',')?;
        Some((id.parse().ok()?, name))
    };
    TABLE.lines().filter_map(row).collect()
});

/// Ids and names of COCO's 80 classes of things.
pub(super) fn things() -> impl Iterator<Item = (u8, &'static str)> {
    CLASSES.iter().copied().take_while(|(id, _)| *id <= LAST_THING)
}

const LAYOUT: Layout = Layout {
    name: "the folder that COCO 2017's pictures and COCO-Stuff's masks are unpacked in",
    drawing: "  {train2017,val2017}/NAME.jpg                               (or images/train2017/...)\n  \
              stuffthingmaps_trainval2017/{train2017,val2017}/NAME.png   (or stuffthingmaps/..., annotations/...)",
};

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CocoStuffConfig {
    /// The folder that holds `train2017`, `val2017` and `stuffthingmaps_trainval2017`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

impl DatasetLayout for CocoStuffConfig {
    const NAME: &'static str = "coco-stuff";
    const SUMMARY: &'static str = "COCO-Stuff: 171 classes of things and stuff, no background, 255 = does not count; parts train and val";
    const SOURCE: &'static str = "https://arxiv.org/abs/1612.03716";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let part = part_of(part, &PARTS)?;
        let pictures = pictures(&self.root, part, &LAYOUT)?;
        let masks = ["stuffthingmaps_trainval2017", "stuffthingmaps", "annotations"];
        let masks = masks.map(|folder| format!("{folder}/{part}"));
        let masks = LAYOUT.first(&self.root, &masks.each_ref().map(String::as_str))?;
        let items = pairs((&pictures, ".jpg"), (&masks, ".png"))?;
        let classes = CLASSES.iter().map(|(_, name)| (*name).to_owned()).collect();
        ListedPairs { classes, items, has_background: false, read: mask }.filled(&pictures, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn has_background(&self) -> bool {
        false
    }
}

/// What the parts are called on disk.
const PARTS: [(&str, &str); 5] = [
    ("train", "train2017"),
    ("val", "val2017"),
    ("validation", "val2017"),
    ("train2017", "train2017"),
    ("val2017", "val2017"),
];

/// The folder of a part's pictures.
///
/// # Errors
/// If there is none.
pub(super) fn pictures(root: &Path, part: &str, layout: &Layout) -> Result<PathBuf> {
    layout.first(root, &[part, &format!("images/{part}")])
}

fn mask(path: &Path) -> Result<Mask> {
    let ours = |value: u8| match value {
        255 => Some(VOID),
        value => {
            let place = CLASSES.binary_search_by_key(&(value + 1), |(id, _)| *id).ok()?;
            Some(place as u8 + 1)
        }
    };
    relabelled(path, ours, "0 to 181 but for the 11 that COCO does not annotate, and 255 for void")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_182_ids_171_are_classes_and_80_of_these_things() {
        assert_eq!(CLASSES.len(), 171);
        assert_eq!(things().count(), 80);
        assert_eq!(CLASSES.last(), Some(&(182, "wood")));
        assert!(CLASSES.is_sorted());
        let absent: Vec<u8> = (1..=182).filter(|id| CLASSES.iter().all(|of| of.0 != *id)).collect();
        assert_eq!(absent, [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]);
    }
}
