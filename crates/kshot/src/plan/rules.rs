//! The rules: from what a folder is like to a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Value;

use super::input::{Patches, transforms, working_size};
use super::network::network;
use super::schedule::training;
use super::{DataFindings, PlanOptions};
use crate::error::{Error, Result};
use crate::names::counted;

/// With fewer pictures none is kept from learning.
const VALIDATED: usize = 10;
/// From so many pictures on a part is left for the test.
const TESTED: usize = 50;
/// Share of the pictures for validation, and as many for the test where there is one.
const SHARE: f64 = 0.2;
/// A class with a smaller share of the pixels is rare.
pub(super) const RARE: f64 = 0.02;
/// With fewer pictures to learn from, they are changed more, and statistics of a batch say little of others.
pub(super) const FEW: usize = 50;

/// The reason of what a person set.
pub const SET: &str = "set by you";

/// A key of the recipe with its value and why it has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Such as `data.longest_side`.
    pub key: String,
    /// What the recipe says.
    pub value: Value,
    /// Why, in words; empty where it could hardly be otherwise.
    pub reason: String,
}

impl Choice {
    /// A choice for a reason.
    pub fn new(key: &str, value: impl Into<Value>, reason: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), reason: reason.into() }
    }
}

/// What a person asks for, and the memory that there is.
#[derive(Debug, Clone, PartialEq)]
pub struct Wishes {
    root: PathBuf,
    steps: Option<usize>,
    pub(super) seed: u64,
    /// Keys that are set, with their values.
    set: Vec<(String, Value)>,
    memory: Option<u64>,
}

impl Wishes {
    /// Of options, for the folder `root`.
    ///
    /// # Errors
    /// If a change is not `key=value`.
    pub fn new(options: &PlanOptions, root: &Path) -> Result<Self> {
        let set = options.changes.iter().map(|change| {
            let (key, value) = change.split_once('=').ok_or_else(|| {
                Error::config(format!("`--set {change}`; write key=value, such as train.steps=100"))
            })?;
            // As `--set` reads it: TOML, or a word.
            let read = toml::from_str::<toml::Table>(&format!("value = {value}"));
            let read = read.ok().and_then(|mut table| table.remove("value"));
            Ok((key.trim().to_owned(), read.unwrap_or_else(|| Value::String(value.to_owned()))))
        });
        let set = set.collect::<Result<_>>()?;
        let (root, steps, seed) = (root.to_owned(), options.steps, options.seed);
        Ok(Self { root, steps, seed, set, memory: None })
    }

    /// On a machine with so many bytes free; no bound by default.
    #[must_use]
    pub fn with_memory(self, memory: Option<u64>) -> Self {
        Self { memory, ..self }
    }

    /// The bytes that are free, where they are known.
    pub(super) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// The steps that are asked for.
    pub(crate) fn steps(&self) -> Option<usize> {
        self.count("train.steps").or(self.steps)
    }

    /// The value of a key that is set.
    pub(super) fn of(&self, key: &str) -> Option<&Value> {
        self.set.iter().rev().find(|(of, _)| of == key).map(|(_, value)| value)
    }

    /// Whether a key, or one inside it, is set.
    pub(super) fn sets(&self, key: &str) -> bool {
        let inside = |of: &str| of.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.set.iter().any(|(of, _)| of == key || inside(of))
    }

    /// A whole number that is set.
    pub(crate) fn count(&self, key: &str) -> Option<usize> {
        self.of(key).and_then(Value::as_integer).and_then(|count| usize::try_from(count).ok())
    }

    /// A rule's choice, or what the person set in its place.
    pub(crate) fn over(&self, mut choice: Choice) -> Choice {
        if self.sets(&choice.key) {
            // The value stays for tables of which a part is set; the change is applied to the recipe as everywhere.
            SET.clone_into(&mut choice.reason);
            if let Some(value) = self.of(&choice.key) {
                choice.value = value.clone();
            }
        }
        choice
    }

    /// Whether a list of that name is in the folder.
    fn listed(&self, name: &str) -> bool {
        self.root.join(format!("{name}.txt")).is_file()
    }
}

/// The choices for a folder, in the recipe's order. Keys that a person set are not among them.
pub fn choices(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let mut all = vec![
        Choice::new("protocol.name", "segmentation", ""),
        Choice::new("data.dataset", "folder", ""),
        Choice::new("data.root", wishes.root.to_string_lossy().into_owned(), ""),
    ];
    all.extend(parts(found, wishes));
    all.extend(working_size(found));
    let patches = Patches::of(found, wishes);
    all.extend(transforms(found, &patches));
    all.extend(network(found, wishes));
    all.push(Choice::new("method.name", "supervised", ""));
    all.extend(loss(found));
    all.extend(training(found, wishes, &patches));
    all.into_iter().map(|choice| wishes.over(choice)).collect()
}

/// A table of a recipe from its TOML.
pub(super) fn table(text: &str) -> Value {
    // The texts are this file's own, and the recipe that they become is checked.
    toml::from_str::<toml::Table>(text)
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or(Value::Boolean(false))
}

/// How the pictures are shared out.
pub(super) struct Shares {
    /// All are learnt from, and none is kept apart.
    all: bool,
    tested: bool,
    validation: f64,
    test: f64,
}

impl Shares {
    pub(super) fn of(found: &DataFindings, wishes: &Wishes) -> Self {
        let listed = |name| wishes.listed(name);
        let free =
            ["data.train", "data.validation", "data.test", "data.split", "data.fold", "data.folds"];
        let all = found.pictures < VALIDATED
            && !["train", "validation", "test"].into_iter().any(listed)
            && free.into_iter().all(|key| !wishes.sets(key));
        let tested = !all && (listed("test") || found.pictures >= TESTED);
        let share = |kept: bool| if kept { SHARE } else { 0.0 };
        Self {
            all,
            tested,
            validation: share(!all && !listed("validation")),
            test: share(tested && !listed("test")),
        }
    }

    /// About how many pictures are learnt from.
    pub(super) fn learnt(&self, pictures: usize) -> usize {
        let kept = |share: f64| (pictures as f64 * share).round() as usize;
        pictures - kept(self.validation) - kept(self.test)
    }
}

fn parts(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let shares = Shares::of(found, wishes);
    let pictures = found.pictures;
    if shares.all {
        let few =
            counted(pictures, "labelled picture is too little", "labelled pictures are too few");
        let why = format!(
            "{few} to keep some back: what is measured on what was learnt from does not tell how good it is on other \
             pictures (`kshot eval` on some labelled later does)"
        );
        return vec![
            Choice::new("data.train", "*", why),
            Choice::new("data.validation", "*", ""),
            Choice::new("data.test", "*", ""),
        ];
    }
    let Shares { tested, validation, test, .. } = shares;
    let seed = wishes.seed;
    let split = table(&format!(
        "value = {{ validation = {validation:?}, test = {test:?}, seed = {seed} }}"
    ));
    let why = match (tested, wishes.listed("validation")) {
        (_, true) => "by the lists in the folder".to_owned(),
        (true, _) => format!(
            "of {pictures} labelled pictures a fifth validates, and a fifth is kept to measure the result"
        ),
        (false, _) => format!(
            "of {pictures} labelled pictures a fifth validates; they are too few to keep some for a test, too"
        ),
    };
    vec![
        Choice::new("data.train", "train", ""),
        Choice::new("data.validation", "validation", ""),
        Choice::new("data.test", if tested { "test" } else { "validation" }, ""),
        Choice::new("data.split", split, why),
    ]
}

fn loss(found: &DataFindings) -> Vec<Choice> {
    let rare = found.rarest().filter(|class| class.share < RARE);
    let weight = if rare.is_some() { 1.0 } else { 0.5 };
    let why = match rare {
        Some(class) => format!(
            "`{}` covers {:.2} % of the labelled pixels: Dice counts each class alike, cross entropy each pixel",
            class.name,
            100.0 * class.share
        ),
        None => "cross entropy for each pixel, Dice for each class".to_owned(),
    };
    let why = match found.is_scribbled() {
        true => format!(
            "{why}; strokes label {:.1} % of the pixels, and all others count nothing",
            100.0 * found.labelled
        ),
        false => why,
    };
    let terms = format!(
        "value = [{{ name = \"cross-entropy\" }}, {{ name = \"dice\", weight = {weight:?} }}]"
    );
    vec![Choice::new("loss.terms", table(&terms), why)]
}
