//! Protocols run from recipes, with confidence intervals.

pub mod classes;
pub mod compare;
mod engine;
pub mod few_shot;
pub mod presence;
pub mod recognition;
pub mod resume;
pub mod rows;
pub mod segmentation;
mod tally;
pub mod worst;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use classes::{ClassFigures, ConfusionTable};
use rayon::prelude::*;
use resume::FinishedParts;
use rows::Rows;
use serde::Serialize;

use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::features::extract::Extractor;
use crate::hash;
use crate::method::MethodConfig;
use crate::method::few_shot::HeadConfig;
use crate::metric::calibration::Bin;
use crate::metric::interval::{Estimate, PictureInterval};
use crate::recipe::{Model, Protocol, Recipe};
use crate::train::load::weights_of;

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
    /// By name, with 95 % interval over what `interval_over` says.
    pub metrics: BTreeMap<String, Estimate>,
    /// What the metrics' intervals are over, such as draws of the labelled pictures: what would be another the next
    /// time.
    pub interval_over: &'static str,
    /// Segmentation: the mean IoU's 95 % interval over the segmented pictures, should these have been others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_pictures: Option<PictureInterval>,
    /// IoU of each class, over all runs.
    pub per_class: BTreeMap<String, f64>,
    /// By fold (or seed).
    pub per_fold: BTreeMap<String, BTreeMap<String, f64>>,
    /// Wall-clock; of the last call alone where an earlier one had done a part.
    pub seconds: f64,
    /// Whether only a few episodes or pictures were done: the figures then mean nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
    /// Segmentation: what each class came to, background among them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassFigures>,
    /// Which classes are taken for which others most often: pixels of a segmentation; of recognition, queries with the
    /// first ways and shots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confused: Vec<Confused>,
    /// Pixels of a segmentation by confidence; of recognition, the answers with the first ways and shots. Bins without any
    /// are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reliability: Vec<Bin>,
    /// Segmentation: pixels by actual and predicted class; [`Evaluation::json`] writes a line for each row.
    #[serde(skip)]
    pub confusion: Option<ConfusionTable>,
    /// The worst episodes, worst first, if there is a folder to leave them in; not part of the JSON.
    #[serde(skip)]
    pub worst: Vec<worst::Worst>,
    /// What was measured episode by episode or picture by picture; [`Evaluation::json`] writes it last, a line each.
    #[serde(skip)]
    pub rows: Option<Rows>,
}

/// A class that is taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confused {
    /// The class shown.
    pub actual: String,
    /// The class that was predicted.
    pub predicted: String,
    /// How many of its queries, or pixels.
    pub count: usize,
    /// Of how many in episodes that held both; of a segmentation, of how many pixels of the class.
    pub opportunities: usize,
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
pub struct EvalRunOptions<'a> {
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
pub struct EvalContext<'a> {
    device: &'a Device,
    model: Option<&'a Path>,
    finished: FinishedParts,
    /// At most this many pictures are segmented.
    limit: usize,
    /// Whether the worst episodes are drawn.
    draw: bool,
    on_progress: &'a (dyn Fn(Progress) + Sync),
    /// Says whether to stop after the picture at hand.
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl EvalContext<'_> {
    /// Whether it was not asked to stop.
    ///
    /// # Errors
    /// If it was.
    fn go_on(&self) -> Result<()> {
        if (self.is_cancelled)() {
            return Err(Error::new(
                ErrorKind::Cancelled,
                "stopped before all pictures were measured",
            ));
        }
        Ok(())
    }
}

/// How a trained segmentation does on the pictures that it was validated on, with its worst pictures: by the first seed, as
/// [`run`] measures the test's. Memory does not grow with the size of pictures.
///
/// # Errors
/// If the recipe is of no segmentation, data or weights are missing or wrong, or `is_cancelled` says so
/// ([`ErrorKind::Cancelled`]).
pub fn of_validation(
    recipe: &Recipe,
    model: &Path,
    device: &Device,
    on_progress: &(dyn Fn(Progress) + Sync),
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    let mut recipe = recipe.clone();
    recipe.data.parts.test = Some(recipe.data.validation()?.to_owned());
    if let Protocol::Segmentation { seeds, .. } = &mut recipe.protocol {
        seeds.truncate(1);
    }
    let mut context = EvalContext {
        device,
        model: Some(model),
        finished: FinishedParts::default(),
        limit: usize::MAX,
        draw: true,
        on_progress,
        is_cancelled,
    };
    let mut result = segmentation::run(&recipe, &mut context)?;
    result.seconds = started.elapsed().as_secs_f64();
    Ok(result)
}

/// Runs a recipe.
///
/// # Errors
/// If the data, encoder or method of the recipe is wrong or missing.
pub fn run(
    recipe: &Recipe,
    device: &Device,
    options: &EvalRunOptions,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    if recipe.train.is_none() && options.model.is_some() && !is_published(recipe) {
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
        shorten(&mut recipe, limit);
    }
    let mut result = if matches!(recipe.protocol, Protocol::FewShotRecognition { .. }) {
        recognition::run(&recipe, device, options.model, on_progress)?
    } else {
        of_pixels(&recipe, device, options, on_progress)?
    };
    result.smoke = options.smoke.is_some();
    result.seconds = started.elapsed().as_secs_f64();
    Ok(result)
}

/// Whether weights that others published may stand in place of a training.
fn is_published(recipe: &Recipe) -> bool {
    matches!(recipe.method, MethodConfig::Learner(_))
}

/// A few episodes or pictures, to see that all is in place.
fn shorten(recipe: &mut Recipe, limit: usize) {
    match &mut recipe.protocol {
        Protocol::FewShotSegmentation { episodes, runs, evaluate, .. } => {
            (*episodes, *runs) = ((*episodes).min(limit), (*runs).min(2));
            evaluate.truncate(1);
        }
        Protocol::FewShotRecognition { episodes, .. } => *episodes = (*episodes).min(limit),
        Protocol::Segmentation { labelled, seeds, .. } => {
            *labelled = 1;
            seeds.truncate(1);
        }
        Protocol::Presence { queries, runs, .. } => {
            (*queries, *runs) = ((*queries).min(limit), 1);
        }
    }
}

fn of_pixels(
    recipe: &Recipe,
    device: &Device,
    options: &EvalRunOptions,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let mut content = if options.out.is_some() { content(recipe, device)? } else { String::new() };
    if let Some(model) = options.model.filter(|_| options.out.is_some()) {
        content.push_str(&hash::of_file(&weights_of(model)?)?);
    }
    let extra = format!("{:?} {content}", options.smoke);
    let finished = FinishedParts::open(options.out, recipe, &extra, options.force)?;
    let limit = options.smoke.unwrap_or(usize::MAX);
    let model = options.model;
    let (draw, is_cancelled) = (options.out.is_some(), &|| false);
    let mut context =
        EvalContext { device, model, finished, limit, draw, on_progress, is_cancelled };
    match recipe.protocol {
        Protocol::FewShotSegmentation { .. } => few_shot::run(recipe, &mut context),
        Protocol::Segmentation { .. } => segmentation::run(recipe, &mut context),
        Protocol::Presence { .. } => presence::run(recipe, &mut context),
        Protocol::FewShotRecognition { .. } => {
            Err(Error::config("few-shot-recognition has no pixels").at_key("protocol.name"))
        }
    }
}

impl Evaluation {
    /// The result as indented JSON with a line break at the end, with its [`rows`] as short lines.
    ///
    /// # Errors
    /// If a value cannot be written as JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| {
            Error::config(format!("the result cannot be written as JSON: {error}")).caused_by(error)
        })?;
        let mut text = text.strip_suffix("\n}").unwrap_or(&text).to_owned();
        if let Some(confusion) = &self.confusion {
            let confusion = confusion.text().map_err(|error| {
                Error::config(format!("the confusion matrix cannot be written as JSON: {error}"))
                    .caused_by(error)
            })?;
            text.push_str(&format!(",\n  \"confusion\": {confusion}"));
        }
        if let Some(rows) = &self.rows {
            text.push_str(&format!(",\n  \"rows\": {}", rows.text()?));
        }
        Ok(text + "\n}\n")
    }

    /// An empty result.
    pub(crate) fn new(recipe: &Recipe) -> Self {
        Self {
            protocol: recipe.protocol.name().to_owned(),
            transductive: false,
            seed: recipe.protocol.seed(),
            version: env!("CARGO_PKG_VERSION"),
            recipe: recipe.clone(),
            metrics: BTreeMap::new(),
            interval_over: recipe.protocol.interval_over(),
            over_pictures: None,
            per_class: BTreeMap::new(),
            per_fold: BTreeMap::new(),
            seconds: 0.0,
            smoke: false,
            classes: Vec::new(),
            confused: Vec::new(),
            reliability: Vec::new(),
            confusion: None,
            worst: Vec::new(),
            rows: None,
        }
    }
}

/// The SHA-256 of the weights and of every picture and label that a recipe reads, so that finished parts
/// are not mixed with those of other data or weights.
fn content(recipe: &Recipe, device: &Device) -> Result<String> {
    let (_, weights) =
        Extractor::from_weights(recipe.model.encoder()?, recipe.model.weights.as_deref(), device)?;
    let parts = &recipe.data.parts;
    let mut content = weights;
    for part in parts.test.iter().chain(&parts.train) {
        let set = recipe.data.dataset.open_part(part)?;
        let files: Vec<Vec<PathBuf>> = (0..set.len())
            .into_par_iter()
            .map(|index| {
                let mut files = vec![set.file(index).to_owned()];
                files.extend(set.label_files(index));
                files
            })
            .collect();
        // A file that labels many pictures, as COCO's, is read once.
        let distinct: BTreeSet<&PathBuf> = files.iter().flatten().collect();
        let hashes = distinct.into_par_iter().map(|file| Ok((file, hash::of_file(file)?)));
        let hashes = hashes.collect::<Result<HashMap<&PathBuf, String>>>()?;
        let all: String = files.iter().flatten().map(|file| hashes[file].as_str()).collect();
        content.push_str(&hash::of_bytes(all.as_bytes()));
    }
    Ok(content)
}

/// The frozen encoder of a recipe.
///
/// # Errors
/// If it has neither built-in weights nor a file.
pub fn extractor(model: &Model, device: &Device) -> Result<Extractor> {
    let (extractor, _) =
        Extractor::from_weights(model.encoder()?, model.weights.as_deref(), device)?;
    Ok(extractor.with_precision(model.precision))
}

/// The method of a recipe that is fitted to labelled pictures.
///
/// # Errors
/// If it is of another kind.
fn head(recipe: &Recipe) -> Result<&HeadConfig> {
    match &recipe.method {
        MethodConfig::Head(config) => Ok(config),
        other => Err(Error::config(format!(
            "`{}` is not fitted to labelled pictures, which this protocol does; valid are {}",
            other.name(),
            HeadConfig::all().iter().map(HeadConfig::name).collect::<Vec<_>>().join(", ")
        ))
        .at_key("method.name")),
    }
}

impl std::fmt::Display for Evaluation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.smoke {
            writeln!(f, "smoke run: these figures mean nothing")?;
        }
        write!(
            f,
            "{}, {}transductive, seed {}, {:.0} s",
            self.protocol,
            if self.transductive { "" } else { "not " },
            self.seed,
            self.seconds
        )?;
        for (name, estimate) in &self.metrics {
            let interval =
                estimate.ci95.map_or_else(String::new, |ci95| format!(" +- {:.2}", 100.0 * ci95));
            let (mean, n) = (100.0 * estimate.mean, estimate.n);
            write!(f, "\n{name:20} {mean:6.2}{interval} % (n = {n})")?;
        }
        if self.metrics.values().any(|estimate| estimate.ci95.is_some()) {
            write!(f, "\n  intervals of 95 % over {}", self.interval_over)?;
        }
        if let Some(PictureInterval { low, high, pictures }) = self.over_pictures {
            let [low, high] = [low, high].map(|bound| 100.0 * bound);
            write!(f, "\n  mean_iou over {pictures} pictures: {low:.2} to {high:.2} %")?;
        }
        for (fold, metrics) in &self.per_fold {
            let shown: Vec<String> = metrics
                .iter()
                .map(|(name, value)| format!("{name} {:.2} %", 100.0 * value))
                .collect();
            // Folds are numbers; a seed says that it is one.
            let kind = if fold.parse::<usize>().is_ok() { "fold " } else { "" };
            write!(f, "\n  {kind}{fold}: {}", shown.join(", "))?;
        }
        for (class, iou) in &self.per_class {
            write!(f, "\n  {class:20} {:6.2} %", 100.0 * iou)?;
        }
        Ok(())
    }
}
