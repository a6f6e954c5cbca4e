//! CamVid in SegNet's form: lists `LIST.txt` of `image mask`, 11 classes, 11 = void (Badrinarayanan, Kendall
//! and Cipolla 2015, arXiv 1511.00561).
//!
//! SegNet's own lists name files as `/SegNet/CamVid/train/NAME.png`; what stands before `train` is left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::labels::index::read_values;
use kshot_data::mask::{Mask, VOID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, ListedPairs, lines};
use crate::error::{Error, Result};

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

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CamvidConfig {
    /// The folder that holds `train.txt`, `val.txt` and the frames.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

impl DatasetLayout for CamvidConfig {
    const NAME: &'static str = "camvid";
    const SUMMARY: &'static str =
        "CamVid in SegNet's form: street frames of 11 classes, no background";
    const SOURCE: &'static str = "https://arxiv.org/abs/1511.00561";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let root = &self.root;
        // Its list of validation frames is called val.
        let name = if part == "validation" { "val" } else { part };
        let file = root.join(format!("{name}.txt"));
        let items = lines(&file)?
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let mut parts = line.split_whitespace();
                match (parts.next(), parts.next()) {
                    (Some(image), Some(mask)) => {
                        Ok((root.join(below(image)), root.join(below(mask))))
                    }
                    _ => Err(Error::data("a line is `image mask`").at_line(&file, index + 1)),
                }
            })
            .collect::<Result<_>>()?;
        let classes = CAMVID_CLASSES.iter().map(|name| (*name).to_owned()).collect();
        ListedPairs { classes, items, has_background: false, read: mask }.filled(root, part)
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn has_background(&self) -> bool {
        false
    }
}

/// A file of a list as its path below the folder.
fn below(listed: &str) -> &str {
    listed.strip_prefix("/SegNet/CamVid/").unwrap_or(listed)
}

fn mask(path: &Path) -> Result<Mask> {
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
