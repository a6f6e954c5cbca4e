//! The recipe that `kshot train --data DIR` writes and follows.

use std::path::{Path, PathBuf};

use kshot_data::image::dimensions;
use rayon::prelude::*;

use crate::data::dataset::DatasetLayout;
use crate::data::folder::{FolderConfig, FolderSplit};
use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// What a person may say of a training on a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderTraining {
    /// The folder of labelled pictures, in any format.
    pub data: PathBuf,
    /// Steps; by the number of pictures if absent.
    pub steps: Option<usize>,
    /// Seed of everything random.
    pub seed: u64,
    /// Changes to the recipe, `key.path=value`.
    pub changes: Vec<String>,
}

/// Pictures whose longer side is above it are shrunk, unless the recipe says otherwise.
const LONGEST: u32 = 768;
/// Side of the crops that are trained on, at most.
const CROP: usize = 256;
/// From so many pictures on a part is left for the test.
const TESTED: usize = 10;
/// Share of the pictures for validation, and as many for the test where there is one.
const SHARE: f64 = 0.2;

impl FolderTraining {
    /// The recipe: a U-Net on the built-in encoder, with crops, steps and parts by what the folder holds.
    ///
    /// # Errors
    /// If the folder has fewer than two labelled pictures, a label is wrong, or a change is none.
    pub fn recipe(&self) -> Result<Recipe> {
        let root = self.data.canonicalize().map_err(|error| {
            Error::io("open the folder of labelled pictures", &self.data, error)
        })?;
        let config = FolderConfig {
            root: root.clone(),
            split: FolderSplit::default(),
            fold: None,
            folds: 5,
        };
        let all = config.open("*")?;
        let count = all.len();
        if count < 2 {
            return Err(Error::data(format!(
                "{count} labelled picture; a training needs one to learn from and one to validate on: label more, \
                 or use `kshot segment --support`, which learns from a single one"
            ))
            .in_file(&self.data));
        }
        let sizes: Vec<(u32, u32)> = (0..count)
            .into_par_iter()
            .map(|index| dimensions(all.file(index)))
            .collect::<Result<_>>()?;
        let listed = |name: &str| root.join(format!("{name}.txt")).is_file();
        let tested = listed("test") || count >= TESTED;
        let shorter =
            sizes.iter().map(|(width, height)| shorter(*width, *height)).min().unwrap_or(32);
        let crop = (shorter as usize / 32 * 32).clamp(64, CROP);
        let longest = sizes.iter().map(|(width, height)| *width.max(height)).max().unwrap_or(0);
        let steps = self.steps.unwrap_or(match count {
            ..50 => 600,
            50..200 => 1_000,
            _ => 2_000,
        });
        let every = (steps / 10).max(1);
        let longest_side =
            if longest > LONGEST { format!("longest_side = {LONGEST}") } else { String::new() };
        let test = if tested { "test" } else { "validation" };
        let test_share = if tested && !listed("test") { SHARE } else { 0.0 };
        let validation_share = if listed("validation") { 0.0 } else { SHARE };
        let seed = self.seed;
        let text = format!(
            r#"[protocol]
name = "segmentation"

[data]
dataset = "folder"
root = {root}
train = "train"
validation = "validation"
test = "{test}"
split = {{ validation = {validation_share:?}, test = {test_share:?}, seed = {seed} }}
{longest_side}
transforms = [
  {{ name = "flip" }},
  {{ name = "scale", range = [0.75, 1.5] }},
  {{ name = "crop", size = {crop} }},
  {{ name = "colour" }},
]

[model]
encoder = "efficientnet-lite0"
decoder = {{ name = "unet", width = 16 }}

[method]
name = "supervised"

[loss]
terms = [{{ name = "cross-entropy" }}, {{ name = "dice", weight = 0.5 }}]

[train]
steps = {steps}
batch = 4
validate_every = {every}
seed = {seed}
monitor = "mean_iou"
optimizer = {{ name = "adamw", weight_decay = 0.01 }}
learning_rate = 1e-3
schedule = {{ name = "poly", power = 0.9, warmup = {warmup} }}
"#,
            root = toml::Value::String(root.to_string_lossy().into_owned()),
            warmup = steps / 20,
        );
        Recipe::parse(&text, Path::new("the recipe of --data"), &self.changes)
    }
}

/// The shorter side of a picture at its working size.
fn shorter(width: u32, height: u32) -> u32 {
    let (width, height) = crate::data::batches::shrunk(width, height, Some(LONGEST));
    width.min(height)
}
