//! The recipe for a folder: what its pictures, its labels and a time budget ask for, each choice with its reason.
//!
//! [`DataFindings`] says what the folder is like, [`choices`](rules::choices) what follows, [`Plan`] holds both with the
//! recipe. What a person sets stays as it is: a rule for that key is not asked, and rules that depend on it see the
//! person's value.
//!
//! Rules follow nnU-Net's (Isensee et al., *nnU-Net: a self-configuring method for deep learning-based biomedical image
//! segmentation*, Nature Methods 2021) where they were found to hold: loss, oversampling of rare classes, strength of the
//! augmentation. Other than there, networks start from published weights, and
//! the length of the schedule follows from the pictures and a time budget.

use std::path::{Path, PathBuf};

pub use findings::{ClassFindings, DataFindings};
pub use rules::{Choice, Wishes};
use serde::{Deserialize, Serialize};

use crate::data::dataset::DatasetLayout;
use crate::data::folder::{FolderConfig, FolderSplit};
use crate::error::{Error, Result};
use crate::recipe::Recipe;

pub mod findings;
mod input;
pub mod machine;
mod network;
pub mod rules;
pub mod schedule;
#[cfg(test)]
mod tests;

/// The file in a run's folder that holds what was found and chosen.
pub const PLAN: &str = "plan.json";

/// What is to be trained on, and what a person asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanOptions {
    /// The folder of labelled pictures, in any format.
    pub data: PathBuf,
    /// Steps; by the pictures and the budget if absent.
    pub steps: Option<usize>,
    /// The time that a training may take, in minutes.
    pub minutes: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Changes to the recipe, `key.path=value`; no rule is asked for these keys.
    pub changes: Vec<String>,
}

/// A recipe with what it follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What was asked for.
    pub options: PlanOptions,
    /// What the folder is like.
    pub findings: DataFindings,
    /// What was chosen, in the recipe's order.
    pub choices: Vec<Choice>,
    /// The recipe.
    pub recipe: Recipe,
    /// With a budget, the seconds of it that are for steps and validations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl Plan {
    /// The plan for a folder, on a machine with so many bytes of memory free (see
    /// [`free_memory`](machine::free_memory); no bound if absent). Its steps are those of a training without a budget.
    ///
    /// # Errors
    /// If the folder has no labelled pictures, a label is wrong, or a change is none.
    pub fn of(options: &PlanOptions, memory: Option<u64>) -> Result<Self> {
        let root = options.data.canonicalize().map_err(|error| {
            Error::io("open the folder of labelled pictures", &options.data, error)
        })?;
        let config = FolderConfig {
            root: root.clone(),
            split: FolderSplit::default(),
            fold: None,
            folds: 5,
        };
        let all = config.open("*")?;
        let findings = DataFindings::of(all.as_ref())?;
        let wishes = Wishes::new(options, &root)?.with_memory(memory);
        let choices = rules::choices(&findings, &wishes);
        Self::from_choices(options.clone(), findings, choices)
    }

    /// The plan with other choices for some keys: what was measured before the training begins. What a person set stays.
    ///
    /// # Errors
    /// If they do not go together.
    pub fn with(self, changed: Vec<Choice>) -> Result<Self> {
        let wishes = Wishes::new(&self.options, &self.options.data)?;
        let mut choices = self.choices;
        for choice in changed.into_iter().map(|choice| wishes.over(choice)) {
            match choices.iter_mut().find(|of| of.key == choice.key) {
                Some(place) => *place = choice,
                None => choices.push(choice),
            }
        }
        Self::from_choices(self.options, self.findings, choices)
    }

    fn from_choices(
        options: PlanOptions,
        findings: DataFindings,
        choices: Vec<Choice>,
    ) -> Result<Self> {
        let mut table = toml::Table::new();
        for choice in &choices {
            insert(&mut table, &choice.key, choice.value.clone());
        }
        let text = toml::to_string(&table).map_err(|error| {
            Error::config(format!("the recipe cannot be written as TOML: {error}"))
        })?;
        let recipe = Recipe::parse(&text, Path::new("the recipe of --data"), &options.changes)?;
        Ok(Self { options, findings, choices, recipe, seconds: None })
    }

    /// The choices that were made for a reason, a line each.
    pub fn told(&self) -> Vec<String> {
        let told = self.choices.iter().filter(|choice| !choice.reason.is_empty());
        told.map(|choice| format!("{} = {}: {}", choice.key, choice.value, choice.reason)).collect()
    }
}

/// Puts a value at a dotted key.
fn insert(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section.to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
