//! A folder of labelled pictures in any format that `kshot segment --support` reads, or a mixture of them
//! (see [`LabelFolder::open`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::finding::Findings;
use kshot_data::label_folder::LabelFolder;
use kshot_data::mask::Mask;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, DatasetLayout, Subset, lines};
use crate::error::{Error, Result};

/// Where it is, and how it is cut into parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
    /// How pictures are drawn for `train`, `validation` and `test` where no list of that name says.
    #[serde(default, skip_serializing_if = "FolderSplit::is_default")]
    #[schemars(!skip_serializing_if)]
    pub split: FolderSplit,
    /// The fold, from 0, that validates while the others are trained on (cross-validation); what `split` leaves for the
    /// test stays out of all. By default `split` draws what validates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub fold: Option<usize>,
    /// How many folds the pictures are cut into, the same for each `fold`.
    #[serde(default = "five", skip_serializing_if = "is_five")]
    #[schemars(!skip_serializing_if, range(min = 2, max = 100))]
    pub folds: usize,
}

fn five() -> usize {
    5
}

fn is_five(folds: &usize) -> bool {
    *folds == five()
}

/// Shares of the labelled pictures for each part; what they leave is for training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FolderSplit {
    /// Share for validation, 0 to 1; at least one picture if it is above 0.
    #[schemars(extend("exclusiveMaximum" = 1.0), range(min = 0.0))]
    pub validation: f64,
    /// Share for the test, 0 to 1.
    #[schemars(extend("exclusiveMaximum" = 1.0), range(min = 0.0))]
    pub test: f64,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for FolderSplit {
    fn default() -> Self {
        Self { validation: 0.2, test: 0.0, seed: 0 }
    }
}

impl FolderSplit {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same with fold `fold` of `folds` for validation: each picture that is not for the test is in one of them.
    ///
    /// # Errors
    /// If there is no such fold, or there are fewer pictures than folds.
    pub fn places_of_fold(
        &self,
        count: usize,
        fold: usize,
        folds: usize,
    ) -> Result<[Vec<usize>; 3]> {
        if fold >= folds || folds < 2 {
            return Err(Error::config(format!(
                "data.fold = {fold} of data.folds = {folds}; folds are numbered from 0 to {}",
                folds.max(2) - 1
            )));
        }
        let [mut others, validation, test] = Self { validation: 0.0, ..*self }.places(count)?;
        others.extend(validation);
        if others.len() < folds {
            return Err(Error::data(format!(
                "{} labelled pictures cannot be cut into {folds} folds; label more, or lower data.folds",
                others.len()
            )));
        }
        others.shuffle(&mut ChaCha8Rng::seed_from_u64(!self.seed));
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for (place, picture) in others.into_iter().enumerate() {
            if place % folds == fold { validation.push(picture) } else { train.push(picture) }
        }
        train.sort_unstable();
        validation.sort_unstable();
        Ok([train, validation, test])
    }

    /// The places of `count` pictures in training, validation and test, each sorted.
    ///
    /// # Errors
    /// If the shares are out of range or leave nothing to train on.
    pub fn places(&self, count: usize) -> Result<[Vec<usize>; 3]> {
        let share = |share: f64| (0.0..1.0).contains(&share);
        if !share(self.validation) || !share(self.test) || self.validation + self.test >= 1.0 {
            return Err(Error::config(format!(
                "shares of {} for validation and {} for test; each is 0 to 1, and below 1 together",
                self.validation, self.test
            ))
            .at_key("data.split"));
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let of = |share: f64| match share {
            0.0 => 0,
            share => ((share * count as f64).round() as usize).max(1),
        };
        let (validation, test) = (of(self.validation), of(self.test));
        if validation + test >= count {
            return Err(Error::data(format!(
                "{count} labelled pictures cannot be cut into training, {validation} for validation and \
                 {test} for test; label more, or set data.split"
            )));
        }
        let mut parts =
            [order.split_off(validation + test), order.drain(..validation).collect(), order];
        parts.iter_mut().for_each(|part| part.sort_unstable());
        Ok(parts)
    }
}

/// The parts that are drawn where no list says.
const PARTS: [&str; 3] = ["train", "validation", "test"];

impl FolderConfig {
    fn has_list(&self, part: &str) -> bool {
        self.root.join(format!("{part}.txt")).is_file()
    }
}

/// The labelled pictures of a folder.
struct Folder {
    folder: LabelFolder,
    /// Those with labels.
    labelled: Vec<usize>,
}

impl Folder {
    fn open(root: &Path) -> Result<Self> {
        let folder = LabelFolder::open(root)?;
        folder.findings.refuse_errors(root)?;
        let labelled = (0..folder.pictures.len())
            .filter(|&index| folder.pictures[index].labels.is_some())
            .collect();
        Ok(Self { folder, labelled })
    }

    /// A picture's path from the folder of pictures, without its ending.
    fn stem(&self, index: usize) -> String {
        kshot_data::query::slashed(
            &self.folder.pictures[self.labelled[index]].name.with_extension(""),
        )
    }
}

impl DatasetLayout for FolderConfig {
    const NAME: &'static str = "folder";
    const SUMMARY: &'static str = "a folder with labels in any format of `kshot list formats`; a list NAME.txt names pictures, \
         `*` is all of them, `*-NAME` those not on that list, and train, validation and test are drawn \
         by data.split where no list has their name";
    const SOURCE: &'static str = "";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let all = Folder::open(&self.root)?;
        let stems = |name: &str| -> Result<Vec<String>> {
            let lines = lines(&self.root.join(format!("{name}.txt")))?;
            // A list may name files or stems.
            let known = |stem: &str| (0..all.labelled.len()).any(|index| all.stem(index) == stem);
            Ok(lines
                .into_iter()
                .map(|line| match line.rsplit_once('.') {
                    Some((stem, _)) if !known(&line) => stem.to_owned(),
                    _ => line,
                })
                .collect())
        };
        let count = all.labelled.len();
        let listed = self.has_list(part);
        let drawn = PARTS.iter().position(|name| *name == part);
        let chosen: Vec<usize> = match (part.strip_prefix('*'), drawn) {
            (Some(""), _) => (0..count).collect(),
            (Some(rest), _) => {
                let without = stems(rest.trim_start_matches('-'))?;
                (0..count).filter(|&index| !without.contains(&all.stem(index))).collect()
            }
            (None, Some(place)) if !listed => {
                // What other parts list is theirs.
                let mut taken = Vec::new();
                let mut split = self.split;
                for other in PARTS.iter().filter(|name| self.has_list(name)) {
                    taken.extend(stems(other)?);
                    match *other {
                        "validation" => split.validation = 0.0,
                        "test" => split.test = 0.0,
                        _ => {}
                    }
                }
                let free: Vec<usize> =
                    (0..count).filter(|&index| !taken.contains(&all.stem(index))).collect();
                let parts = match self.fold {
                    Some(_) if self.has_list("train") || self.has_list("validation") => {
                        return Err(Error::config(
                            "the folder's train.txt or validation.txt says what is trained on; leave the fold out, or \
                             remove the lists",
                        )
                        .at_key("data.fold"));
                    }
                    Some(fold) => split.places_of_fold(free.len(), fold, self.folds),
                    None => split.places(free.len()),
                };
                let mut parts = parts.map_err(|error| error.in_file(&self.root))?;
                std::mem::take(&mut parts[place]).into_iter().map(|index| free[index]).collect()
            }
            (None, _) => {
                let with = stems(part)?;
                (0..count).filter(|&index| with.contains(&all.stem(index))).collect()
            }
        };
        if chosen.is_empty() {
            return Err(Error::data(format!(
                "the part `{part}` has no labelled picture; {count} are labelled in all"
            ))
            .in_file(&self.root));
        }
        Ok(Arc::new(Subset::new(Arc::new(all), chosen)))
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

impl Dataset for Folder {
    fn classes(&self) -> &[String] {
        self.folder.classes.names()
    }

    fn len(&self) -> usize {
        self.labelled.len()
    }

    fn file(&self, index: usize) -> &Path {
        &self.folder.pictures[self.labelled[index]].file
    }

    fn label_files(&self, index: usize) -> Vec<PathBuf> {
        let labels = &self.folder.pictures[self.labelled[index]].labels;
        labels.iter().map(|labels| labels.file().to_owned()).collect()
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        let (width, height) = kshot_data::image::dimensions(self.file(index))?;
        let mut findings = Findings::default();
        let place = self.labelled[index];
        let read = self.folder.read(place, width as usize, height as usize, &mut findings);
        findings.refuse_errors(&self.folder.root)?;
        match read {
            Some(read) => Ok(read.mask),
            None => Err(Error::data("its label cannot be read; `kshot data check` says more")
                .in_file(self.file(index))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_pictures_once() {
        let split = FolderSplit { validation: 0.2, test: 0.3, seed: 4 };
        let parts = split.places(10).unwrap();
        assert_eq!([parts[0].len(), parts[1].len(), parts[2].len()], [5, 2, 3]);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(parts, split.places(10).unwrap());
        assert!(FolderSplit { validation: 0.9, test: 0.2, seed: 0 }.places(10).is_err());
        assert!(FolderSplit::default().places(1).is_err());
    }

    #[test]
    fn each_picture_validates_in_one_fold_and_the_test_in_none() {
        let split = FolderSplit { test: 0.2, seed: 3, ..FolderSplit::default() };
        let folds: Vec<_> = (0..4).map(|fold| split.places_of_fold(23, fold, 4).unwrap()).collect();
        let mut validated = Vec::new();
        for [train, validation, test] in &folds {
            assert_eq!(*test, folds[0][2]);
            assert_eq!((test.len(), train.len() + validation.len()), (5, 18));
            assert!((4..=5).contains(&validation.len()));
            let mut all = [train.clone(), validation.clone(), test.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, (0..23).collect::<Vec<_>>());
            validated.extend(validation.clone());
        }
        validated.extend(folds[0][2].clone());
        validated.sort_unstable();
        assert_eq!(validated, (0..23).collect::<Vec<_>>());
        assert_eq!(folds[2], split.places_of_fold(23, 2, 4).unwrap());
        let error = split.places_of_fold(23, 4, 4).unwrap_err().to_string();
        assert!(error.contains("data.fold") && error.contains("0 to 3"), "{error}");
        let error = split.places_of_fold(5, 0, 5).unwrap_err().to_string();
        assert!(error.contains("4 labelled pictures"), "{error}");
    }
}
