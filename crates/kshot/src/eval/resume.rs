//! What an evaluation has finished, so that a stopped one goes on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::hash;
use crate::recipe::Recipe;

/// One finished part.
#[derive(Serialize, Deserialize)]
struct FinishedPart {
    /// SHA-256 of the recipe, version, data and weights.
    recipe: String,
    part: String,
    result: serde_json::Value,
}

/// The finished parts (a run of a fold, or a seed) of one recipe, a JSON line each in
/// `progress.jsonl`.
#[derive(Default)]
pub struct FinishedParts {
    file: Option<(PathBuf, File)>,
    recipe: String,
    parts: BTreeMap<String, serde_json::Value>,
}

impl FinishedParts {
    /// Opens the folder's list, or keeps none without a folder. With `force` an earlier list is
    /// forgotten.
    ///
    /// # Errors
    /// If the list cannot be read or is of another recipe.
    pub fn open(out: Option<&Path>, recipe: &Recipe, extra: &str, force: bool) -> Result<Self> {
        let Some(out) = out else { return Ok(Self::default()) };
        let written = recipe.to_toml()?;
        let version = env!("CARGO_PKG_VERSION");
        let recipe = hash::of_bytes(format!("{version}\n{extra}\n{written}").as_bytes());
        let path = out.join("progress.jsonl");
        let wrong = |error| Error::io("keep the list of finished parts", &path, error);
        std::fs::create_dir_all(out).map_err(wrong)?;
        let mut parts = BTreeMap::new();
        let mut whole = String::new();
        if !force && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(wrong)?;
            // A line that was cut off when the program was stopped is done again.
            for text in text.lines() {
                let Ok(line) = serde_json::from_str::<FinishedPart>(text) else { continue };
                if line.recipe != recipe {
                    return Err(Error::config(
                        "this folder holds the parts of another recipe (or of other data, weights or version); give another \
                         --out, or --force to start anew",
                    )
                    .in_file(path));
                }
                whole.push_str(text);
                whole.push('\n');
                parts.insert(line.part, line.result);
            }
        }
        kshot_data::atomic::write(&path, whole.as_bytes())?;
        let file = OpenOptions::new().append(true).open(&path).map_err(wrong)?;
        Ok(Self { file: Some((path, file)), recipe, parts })
    }

    /// A part's result, if it was finished before.
    pub fn get<T: DeserializeOwned>(&self, part: &str) -> Option<T> {
        serde_json::from_value(self.parts.get(part)?.clone()).ok()
    }

    /// Notes a part as finished.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put<T: Serialize>(&mut self, part: &str, result: &T) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let wrong = |error| Error::io("keep the list of finished parts", &*path, error);
        let result = serde_json::to_value(result).map_err(|error| wrong(error.into()))?;
        let line = FinishedPart { recipe: self.recipe.clone(), part: part.to_owned(), result };
        let mut text = serde_json::to_string(&line).map_err(|error| wrong(error.into()))?;
        text.push('\n');
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(seed: u64) -> Recipe {
        let text = format!(
            "[protocol]\nname = \"segmentation\"\nlabelled = 1\nseeds = [{seed}]\n[data]\n\
             dataset = \"camvid\"\nroot = \"x\"\ntest = \"val\"\n[method]\nname = \"probe\""
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_stopped_run_goes_on_and_another_recipe_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let open = |seed, force| FinishedParts::open(Some(out.path()), &recipe(seed), "", force);
        open(0, false).unwrap().put("seed 0", &[1, 2]).unwrap();
        let path = out.path().join("progress.jsonl");
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"recipe\": \"cut of");
        std::fs::write(&path, text).unwrap();
        let mut again = open(0, false).unwrap();
        assert_eq!(again.get::<Vec<u8>>("seed 0"), Some(vec![1, 2]));
        assert_eq!(again.get::<Vec<u8>>("seed 1"), None);
        again.put("seed 1", &[3]).unwrap();
        assert_eq!(open(0, false).unwrap().get::<Vec<u8>>("seed 1"), Some(vec![3]));
        let error = open(1, false).err().unwrap().to_string();
        assert!(error.contains("--force"), "{error}");
        assert!(open(1, true).unwrap().get::<Vec<u8>>("seed 0").is_none());
    }
}
