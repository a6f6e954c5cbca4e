//! ADE20K as the scene parsing challenge gives it out (Zhou et al., CVPR 2017, arXiv 1608.05442): 150 classes.
//!
//! Masks hold 0 for what is none of the classes, which is void, and 1 to 150. A class is called by the first of the names
//! that `objectInfo150.txt` gives it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::mask::{Mask, VOID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs};
use super::layout::{Layout, pairs, part_of, relabelled};
use crate::error::{Error, Result};

/// Values of masks and names of classes, from the data set's `objectInfo150.txt`.
const NAMES: &str = include_str!("tables/ade20k.csv");
const CLASSES: u8 = 150;

const LAYOUT: Layout = Layout {
    name: "the folder ADEChallengeData2016 of ADEChallengeData2016.zip",
    drawing: "  images/{training,validation}/NAME.jpg\n  annotations/{training,validation}/NAME.png",
};

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ade20kConfig {
    /// The folder `ADEChallengeData2016`, which holds `images` and `annotations`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

/// The names of the classes, 1 to 150.
///
/// # Errors
/// None in a build whose tables are whole.
pub fn ade20k_classes() -> Result<Vec<String>> {
    let wrong = |error: csv::Error| Error::data(format!("the built-in table of ADE20K: {error}"));
    let mut table = csv::Reader::from_reader(NAMES.as_bytes());
    let rows = table.deserialize::<(u8, String)>();
    let first = |names: String| names.split(',').next().unwrap_or_default().trim().to_owned();
    rows.map(|row| Ok(first(row.map_err(wrong)?.1))).collect()
}

impl DatasetLayout for Ade20kConfig {
    const NAME: &'static str = "ade20k";
    const SUMMARY: &'static str = "ADE20K of the scene parsing challenge: 150 classes of indoor and outdoor scenes, no background; parts train and val";
    const SOURCE: &'static str = "https://arxiv.org/abs/1608.05442";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let parts = [
            ("train", "training"),
            ("training", "training"),
            ("val", "validation"),
            ("validation", "validation"),
        ];
        let part = part_of(part, &parts)?;
        let pictures = LAYOUT.first(&self.root, &[&format!("images/{part}")])?;
        let masks = LAYOUT.first(&self.root, &[&format!("annotations/{part}")])?;
        let items = pairs((&pictures, ".jpg"), (&masks, ".png"))?;
        let classes = ade20k_classes()?;
        ListedPairs { classes, items, has_background: false, read: mask }.filled(&pictures, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn has_background(&self) -> bool {
        false
    }
}

fn mask(path: &Path) -> Result<Mask> {
    let ours = |value: u8| match value {
        0 => Some(VOID),
        1..=CLASSES => Some(value),
        _ => None,
    };
    relabelled(path, ours, "0 for none of the classes, and 1 to 150")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_150_names_and_none_twice() {
        let names = ade20k_classes().unwrap();
        assert_eq!(names.len(), 150);
        assert_eq!([&*names[0], &*names[1], &*names[149]], ["wall", "building", "flag"]);
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 150);
    }
}
