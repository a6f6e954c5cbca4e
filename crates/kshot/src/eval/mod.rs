//! Protocols run from recipes, with confidence intervals.

pub mod few_shot;
pub mod report;
pub mod segmentation;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::device::Device;
use crate::encoder::EncoderConfig;
use crate::error::Result;
use crate::method::features::Extractor;
use crate::metric::interval::Estimate;
use crate::train::recipe::{EncoderChoice, Protocol, Recipe};

/// The result of a recipe, as `--json` writes it. Rates are 0 to 1.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// The protocol's name.
    pub protocol: String,
    /// Whether queries were seen together.
    pub transductive: bool,
    /// The first seed.
    pub seed: u64,
    /// The version of kshot.
    pub version: &'static str,
    /// The recipe as it was run.
    pub recipe: Recipe,
    /// By name, with 95 % interval over runs or seeds.
    pub metrics: BTreeMap<String, Estimate>,
    /// IoU of each class, over all runs.
    pub per_class: BTreeMap<String, f64>,
    /// By fold (or seed).
    pub per_fold: BTreeMap<String, BTreeMap<String, f64>>,
    /// Wall-clock.
    pub seconds: f64,
    /// The worst episodes, worst first; not part of the JSON.
    #[serde(skip)]
    pub worst: Vec<report::Worst>,
}

/// How far a long evaluation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// Runs a recipe.
///
/// # Errors
/// If the data, encoder or method of the recipe is wrong or missing.
pub fn run(
    recipe: &Recipe,
    device: &Device,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    match recipe.protocol {
        Protocol::FewShotSegmentation { .. } => few_shot::run(recipe, device, on_progress),
        Protocol::Segmentation { .. } => segmentation::run(recipe, device, on_progress),
    }
}

/// The frozen encoder of a recipe.
///
/// # Errors
/// If it is unknown, or has neither built-in weights nor a file.
pub fn extractor(choice: &EncoderChoice, device: &Device) -> Result<Extractor> {
    let config: EncoderConfig = choice.name.parse()?;
    Ok(Extractor::from_weights(&config, choice.weights.as_deref(), device)?.0)
}
