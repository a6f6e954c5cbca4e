//! A recipe file: a published protocol with its data, encoder and method, as TOML.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::episode::Split;
use crate::data::set::SetKind;
use crate::error::{Error, Result};
use crate::method::few_shot::panet::PanetConfig;
use crate::method::few_shot::self_support::SelfSupport;
use crate::names;
use crate::postprocess::refine::Refinement;
use crate::recipe::learning::Training;

/// A recipe as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Whether convolutions sum product by product: three times slower for 3x3 kernels, and about three
    /// times closer to the exact result.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub precise: bool,
    /// Whether frozen networks multiply large matrices in bf16, which not every processor can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bf16: bool,
    /// What is measured.
    pub protocol: Protocol,
    /// On what.
    pub data: Data,
    /// With which features.
    #[serde(default)]
    pub encoder: EncoderChoice,
    /// With which method.
    pub method: MethodChoice,
    /// How it is trained; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<Training>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Protocol {
    /// Episodes of `ways` unseen classes from `shots` pictures each, fold by fold.
    FewShotSegmentation {
        /// Classes an episode.
        ways: usize,
        /// Labelled pictures a class.
        shots: usize,
        /// Folds evaluated, from 0, of `folds` in all.
        evaluate: Vec<usize>,
        /// How many folds the classes are cut into.
        folds: usize,
        /// How classes are cut into folds.
        #[serde(default)]
        split: Split,
        /// Episodes a run and fold.
        episodes: usize,
        /// Runs: the interval is over them.
        runs: usize,
        /// How pixels are counted.
        counting: Counting,
        /// Seed of the episodes.
        seed: u64,
    },
    /// A few labelled pictures drawn from one list, everything on another segmented.
    Segmentation {
        /// Labelled pictures drawn from `data.train`; 0 takes all.
        labelled: usize,
        /// One draw and fit a seed: the interval is over them.
        seeds: Vec<u64>,
        /// What the labelled pictures are labelled with.
        #[serde(default)]
        labels: Labels,
    },
    /// From pictures of one class: is it in other pictures at all?
    Presence {
        /// Labelled pictures of the class, drawn from `data.train`.
        shots: usize,
        /// Pictures with the class, and as many without it, at most.
        queries: usize,
        /// Draws: the interval is over them.
        runs: usize,
        /// Seed of the draws.
        seed: u64,
    },
}

/// What labelled pictures are labelled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// Their masks.
    #[default]
    Mask,
    /// Strokes drawn from the masks by [`kshot_data::scribble::scribble`].
    Scribble {
        /// Share of the labelled pixels that is marked, 0 to 1.
        share: f64,
    },
}

/// How the pixels of few-shot episodes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counting {
    /// PANet's: a class's pixels count only in episodes that ask for it.
    Panet,
    /// One confusion matrix over the data set's classes for all episodes of a run: what is labelled
    /// in a query but not asked for is background.
    Dataset,
}

/// The data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Its kind.
    pub dataset: SetKind,
    /// Its folder.
    pub root: PathBuf,
    /// The list of pictures evaluated.
    pub list: String,
    /// The list that labelled pictures are drawn from (segmentation only).
    #[serde(default)]
    pub train: Option<String>,
}

/// The features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderChoice {
    /// Its name.
    pub name: String,
    /// Its weights; the built-in ones where it has them.
    #[serde(default)]
    pub weights: Option<PathBuf>,
}

impl Default for EncoderChoice {
    fn default() -> Self {
        Self { name: crate::weights::EMBEDDED.to_owned(), weights: None }
    }
}

/// The method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodChoice {
    /// Its name.
    pub name: String,
    /// How coarse scores become pixels.
    pub refinement: Refinement,
    /// Working pixels per picture pixel (segmentation only; by the objects' size if absent).
    #[serde(default)]
    pub scale: Option<f32>,
    /// The constants of `self-support` (few-shot segmentation only).
    #[serde(default)]
    pub self_support: SelfSupport,
    /// The constants of `panet` (few-shot segmentation only).
    #[serde(default)]
    pub panet: PanetConfig,
}

impl Recipe {
    /// Reads a recipe, with `key.path=value` changes made before it is checked.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or has a key or value that is none.
    pub fn read(path: &Path, changes: &[String]) -> Result<Self> {
        let (table, text) = read_table(path, changes)?;
        read_as(table, path, &text, changes)
    }
}

/// A recipe as TOML with the changes made, and its text.
///
/// # Errors
/// If the file cannot be read or is not TOML, or a change is none.
pub(super) fn read_table(path: &Path, changes: &[String]) -> Result<(toml::Table, String)> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Error::io("read the recipe", path, error))?;
    let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        Error::config(format!("not TOML: {}", error.message())).at_line(path, line)
    })?;
    for change in changes {
        set(&mut table, change)?;
    }
    Ok((table, text))
}

/// A recipe's TOML, typed.
///
/// # Errors
/// If it has a key or value that is none.
pub(super) fn read_as<T: serde::de::DeserializeOwned>(
    table: toml::Table,
    path: &Path,
    text: &str,
    changes: &[String],
) -> Result<T> {
    toml::Value::Table(table).try_into().map_err(|error| unfit(&error, path, text, changes))
}

/// What is wrong with a recipe that is TOML: an unknown key or value with the nearest valid one, and
/// the line or the change it is from.
fn unfit(error: &toml::de::Error, path: &Path, text: &str, changes: &[String]) -> Error {
    // serde names what was given, then what is valid, each in backticks.
    let mut names = error.message().split('`').skip(1).step_by(2);
    let (what, given) = match names.next() {
        Some(given) if error.message().starts_with("unknown field") => ("key", given),
        Some(given) if error.message().starts_with("unknown variant") => ("value", given),
        _ => {
            let message = format!("the recipe does not fit: {}", error.message());
            return Error::config(message).in_file(path);
        }
    };
    let valid: Vec<&str> = names.collect();
    let wrong = Error::config(names::unknown(what, given, &valid));
    // The table it is in is the last line of the whole text.
    let whole = error.to_string();
    let table = whole.trim_end().rsplit_once("in `").map_or("", |(_, of)| of.trim_end_matches('`'));
    let key = if table.is_empty() { given.to_owned() } else { format!("{table}.{given}") };
    let mut changed = changes.iter().filter_map(|change| Some(change.split_once('=')?.0.trim()));
    if let Some(change) = changed.find(|change| [table, &key].contains(change)) {
        return wrong.at_key(change);
    }
    match line_of(text, table, given) {
        Some(line) => wrong.at_line(path, line),
        None => wrong.in_file(path),
    }
}

/// The first line of a table, or of a table it is written in, that has a word; from 1.
fn line_of(text: &str, table: &str, word: &str) -> Option<usize> {
    let mut inside = true;
    for (index, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(header) = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')) {
            inside = format!("{table}.{word}.").starts_with(&format!("{}.", header.trim()))
                || header.trim() == word;
        }
        let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if inside && code.split(|c: char| !part_of_a_word(c)).any(|found| found == word) {
            return Some(index + 1);
        }
    }
    None
}

/// Makes one change, `key.path=value`; a value that is not TOML is taken as text.
fn set(table: &mut toml::Table, change: &str) -> Result<()> {
    let Some((key, text)) = change.split_once('=') else {
        return Err(Error::config(format!(
            "`{change}` is no change; write key.path=value, such as protocol.runs=1"
        )));
    };
    let value = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.trim().split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut place = table;
    for part in parts {
        let next = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(|| {
            Error::config(format!("`{part}` is a value, not a section")).at_key(key)
        })?;
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [protocol]
        name = "segmentation"
        labelled = 5
        seeds = [0, 1]
        [data]
        dataset = "camvid"
        root = "x"
        list = "val"
        train = "train"
        [method]
        name = "probe"
        refinement = "none"
    "#;

    fn read(text: &str, changes: &[&str]) -> Result<Recipe> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        std::fs::write(&path, text).unwrap();
        Recipe::read(&path, &changes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn changes_are_typed_and_round_trip() {
        let recipe = read(TEXT, &["protocol.labelled=3", "data.root=/some where/else"]).unwrap();
        let expected =
            Protocol::Segmentation { labelled: 3, seeds: vec![0, 1], labels: Labels::Mask };
        assert_eq!(recipe.protocol, expected);
        assert_eq!(recipe.data.root, Path::new("/some where/else"));
        let again: Recipe = toml::from_str(&toml::to_string(&recipe).unwrap()).unwrap();
        assert_eq!(again, recipe);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = read(TEXT, &["method.refinment=none"]).unwrap_err().to_string();
        assert!(error.contains("refinment") && error.contains("`refinement`"), "{error}");
        assert!(error.contains("key `method.refinment`"), "{error}");
        assert!(read(TEXT, &["nonsense"]).is_err());
    }

    #[test]
    fn an_unknown_key_or_value_of_the_file_is_told_with_its_line() {
        for (right, wrong, line, near) in [
            ("labelled = 5", "labeled = 5", 4, "`labelled`"),
            ("list = \"val\"", "lst = \"val\"", 9, "`list`"),
            ("name = \"probe\"", "name = \"probe\"\nnam = 1", 13, "`name`"),
            ("train = \"train\"", "train = \"train\"\nlabelled = 3", 11, "Valid are: dataset"),
            ("\"camvid\"", "\"camvit\"", 7, "`camvid`"),
            ("\"none\"", "{ guidd = { radius = 2 } }", 13, "`guided`"),
            ("[method]", "[methd]", 11, "`method`"),
        ] {
            let error = read(&TEXT.replace(right, wrong), &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("r.toml:{line}")), "{wrong}: {error}");
            assert!(error.contains(near), "{wrong}: {error}");
        }
    }
}
