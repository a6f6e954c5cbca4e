//! Protocols run from recipes, with confidence intervals.

mod engine;
pub mod few_shot;
pub mod presence;
pub mod recognition;
pub mod resume;
pub mod segmentation;
mod tally;
pub mod worst;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use resume::Finished;
use serde::Serialize;

use crate::data::set::SegmentationSet;
use crate::device::Device;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::features::extract::Extractor;
use crate::hash;
use crate::metric::interval::Estimate;
use crate::metric::recognition::Bin;
use crate::recipe::learning::AnyRecipe;
use crate::recipe::segmentation::{EncoderChoice, Protocol, Recipe};
use crate::train::experiment::weights_of;

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
    pub recipe: AnyRecipe,
    /// By name, with 95 % interval over runs or seeds.
    pub metrics: BTreeMap<String, Estimate>,
    /// IoU of each class, over all runs.
    pub per_class: BTreeMap<String, f64>,
    /// By fold (or seed).
    pub per_fold: BTreeMap<String, BTreeMap<String, f64>>,
    /// Wall-clock; of the last call alone where an earlier one had done a part.
    pub seconds: f64,
    /// Whether only a few episodes or pictures were done: the figures then mean nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
    /// Recognition: which classes are taken for which others most often, in the first shape.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confused: Vec<Confusion>,
    /// Recognition: the answers of the first shape by confidence, bins without any left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Bin>,
    /// The worst episodes, worst first, if there is a folder to leave them in; not part of the JSON.
    #[serde(skip)]
    pub worst: Vec<worst::Worst>,
}

/// A class that is taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The class shown.
    pub is: String,
    /// The class said.
    pub said: String,
    /// How many of its queries.
    pub times: usize,
    /// Of how many in episodes that held both.
    pub met: usize,
}

/// How far a long evaluation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

/// How a recipe is run.
#[derive(Default)]
pub struct Options<'a> {
    /// A training's folder or a file of weights, for recipes that train.
    pub model: Option<&'a Path>,
    /// Where finished parts are noted, so that a stopped evaluation goes on.
    pub out: Option<&'a Path>,
    /// Forgets the parts that are noted there.
    pub force: bool,
    /// At most this many pictures are segmented (or episodes a run played, and one fold): to see that
    /// all is in place. Figures then mean nothing, and the result says `smoke`.
    pub smoke: Option<usize>,
}

/// What the protocols are given besides the recipe.
pub struct Context<'a> {
    device: &'a Device,
    model: Option<&'a Path>,
    finished: Finished,
    /// At most this many pictures are segmented.
    limit: usize,
    /// Whether the worst episodes are drawn.
    draw: bool,
    on_progress: &'a (dyn Fn(Progress) + Sync),
}

/// Runs a recipe.
///
/// # Errors
/// If the data, encoder or method of the recipe is wrong or missing.
pub fn run(
    recipe: &Recipe,
    device: &Device,
    options: &Options,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    if recipe.train.is_none() && options.model.is_some() {
        return Err(Error::config(
            "a model is for recipes with a [train] section; this one has none",
        ));
    }
    if recipe.train.is_some() && options.model.is_none() && options.smoke.is_none() {
        return Err(Error::config(
            "this recipe is trained first: run `kshot train RECIPE --out RUN`, then `kshot eval \
             RECIPE --model RUN`; without its [train] section the encoder is measured as it is",
        ));
    }
    let mut recipe = recipe.clone();
    if let Some(limit) = options.smoke {
        match &mut recipe.protocol {
            Protocol::FewShotSegmentation { episodes, runs, evaluate, .. } => {
                (*episodes, *runs) = ((*episodes).min(limit), (*runs).min(2));
                evaluate.truncate(1);
            }
            Protocol::Segmentation { labelled, seeds, .. } => {
                *labelled = 1;
                seeds.truncate(1);
            }
            Protocol::Presence { queries, runs, .. } => {
                (*queries, *runs) = ((*queries).min(limit), 1);
            }
        }
    }
    let mut content = if options.out.is_some() { content(&recipe, device)? } else { String::new() };
    if let Some(model) = options.model.filter(|_| options.out.is_some()) {
        content.push_str(&hash::of_file(&weights_of(model)?)?);
    }
    let extra = format!("{:?} {content}", options.smoke);
    let finished = Finished::open(options.out, &recipe, &extra, options.force)?;
    let limit = options.smoke.unwrap_or(usize::MAX);
    let model = options.model;
    let mut context =
        Context { device, model, finished, limit, draw: options.out.is_some(), on_progress };
    let mut result = match recipe.protocol {
        Protocol::FewShotSegmentation { .. } => few_shot::run(&recipe, &mut context)?,
        Protocol::Segmentation { .. } => segmentation::run(&recipe, &mut context)?,
        Protocol::Presence { .. } => presence::run(&recipe, &mut context)?,
    };
    result.smoke = options.smoke.is_some();
    result.seconds = started.elapsed().as_secs_f64();
    Ok(result)
}

impl Evaluation {
    /// The result as indented JSON with a line break at the end.
    ///
    /// # Errors
    /// If a value cannot be written as JSON.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| {
            Error::config(format!("the result cannot be written as JSON: {error}")).caused_by(error)
        })
    }

    /// An empty result.
    fn new(protocol: &str, seed: u64, recipe: AnyRecipe) -> Self {
        Self {
            protocol: protocol.to_owned(),
            transductive: false,
            seed,
            version: env!("CARGO_PKG_VERSION"),
            recipe,
            metrics: BTreeMap::new(),
            per_class: BTreeMap::new(),
            per_fold: BTreeMap::new(),
            seconds: 0.0,
            smoke: false,
            confused: Vec::new(),
            reliability: Vec::new(),
            worst: Vec::new(),
        }
    }
}

/// The SHA-256 of the weights and of every picture and mask that a recipe reads, so that finished parts
/// are not mixed with those of other data or weights.
fn content(recipe: &Recipe, device: &Device) -> Result<String> {
    let config: EncoderConfig = recipe.encoder.name.parse()?;
    let (_, weights) = Extractor::from_weights(&config, recipe.encoder.weights.as_deref(), device)?;
    let data = &recipe.data;
    let mut content = weights;
    for list in std::iter::once(&data.list).chain(&data.train) {
        let set = SegmentationSet::open(data.dataset, &data.root, list)?;
        let hashes = (0..set.len())
            .into_par_iter()
            .map(|index| {
                let (image, mask) = set.files(index);
                Ok(hash::of_file(image)? + &hash::of_file(mask)?)
            })
            .collect::<Result<Vec<String>>>()?;
        content.push_str(&hash::of_bytes(hashes.concat().as_bytes()));
    }
    Ok(content)
}

/// The frozen encoder of a recipe.
///
/// # Errors
/// If it is unknown, or has neither built-in weights nor a file.
pub fn extractor(choice: &EncoderChoice, device: &Device) -> Result<Extractor> {
    let config: EncoderConfig = choice.name.parse()?;
    Ok(Extractor::from_weights(&config, choice.weights.as_deref(), device)?.0)
}
