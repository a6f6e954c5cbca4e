//! `data.instance_weights` in a training: what each labelled picture weighs, at first and after each round, and its
//! table `instance_weights.csv` in the run's folder.
//!
//! Weights of `density-ratio` depend on the recipe, the pictures and the encoder at the start alone, so that a
//! training that goes on has the same. Those of `tradaboost` depend on the network at some validations: the table
//! holds them round by round, in as many digits as they have, is written before the checkpoint of a round, and is read
//! again when a training goes on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::prelude::*;
use kshot_data::resize::resize;
use kshot_data::{atomic, csv_text};

use super::segmentation::names;
use crate::contract::{AtValidations, ItemSource, Objective};
use crate::data::Dataset;
use crate::data::batch::normalised;
use crate::data::batches::shrunk;
use crate::data::dataset::Joined;
use crate::data::picture_weights::{PictureWeights, effective};
use crate::data::unlabelled::Unlabelled;
use crate::encoder::{Encode, Encoder};
use crate::error::{Error, Result};
use crate::method::adapt::InstanceWeights;
use crate::method::adapt::density_ratio::{DensityRatios, density_ratios};
use crate::method::adapt::tradaboost::TradaboostConfig;
use crate::method::supervised::Supervised;
use crate::nn::{Precision, cpu_values, global_average};
use crate::recipe::Recipe;

/// The table in a run's folder.
pub const FILE: &str = "instance_weights.csv";

/// The labelled pictures of a training with their weights.
pub(super) struct Weighted {
    /// The pictures: those of `data.train`, then those of the target that are labelled, too.
    pub train: Arc<dyn Dataset>,
    /// How often each is drawn; none where all are alike.
    pub weights: Option<PictureWeights>,
    /// For people.
    pub told: Option<String>,
    /// The table, where it stays as it is.
    pub note: Option<(String, String)>,
    /// The weights' rounds, where they change.
    pub boosting: Option<BoostingStart>,
}

/// The labelled pictures of a recipe, weighted as it says.
///
/// # Errors
/// If a picture cannot be read, or there are too few.
pub(super) fn of(
    recipe: &Recipe,
    train: Arc<dyn Dataset>,
    unlabelled: Option<&Unlabelled>,
    objective: &Supervised,
    device: &Device,
) -> Result<Weighted> {
    let plain = |train| Weighted { train, weights: None, told: None, note: None, boosting: None };
    match (&recipe.data.parts.instance_weights, unlabelled) {
        (None, _) => Ok(plain(train)),
        (Some(InstanceWeights::DensityRatio(config)), Some(target)) => {
            let encoder = objective.segmenter.encoder.clone().valid();
            let vectors = |set: &dyn Dataset| pooled(recipe, &encoder, set, device);
            let found = density_ratios(&vectors(train.as_ref())?, &vectors(target)?, config)?;
            let text = ratio_table(&names(train.as_ref()), &found);
            let DensityRatios { weights, accuracy, .. } = found;
            let told = format!(
                "{}; the domain classifier is right on {:.0} % of what it did not see",
                said("density-ratio", &weights),
                100.0 * accuracy
            );
            let note = Some((FILE.to_owned(), text));
            let weights = Some(PictureWeights::new(weights));
            Ok(Weighted { weights, told: Some(told), note, ..plain(train) })
        }
        (Some(InstanceWeights::DensityRatio(_)), None) => {
            Err(Error::config("missing: the pictures of the target").at_key("data.unlabelled"))
        }
        (Some(InstanceWeights::Tradaboost(config)), _) => {
            let target = recipe.data.dataset.open_part(&config.target)?;
            let source = train.len();
            let both: Arc<dyn Dataset> = Arc::new(Joined::new(train, Arc::clone(&target))?);
            let names = names(both.as_ref());
            if let Some(twice) = names[source..].iter().find(|name| names[..source].contains(name))
            {
                return Err(Error::config(format!(
                    "{twice} is in data.train, too; leave it out there, such as train = {{ list = \"train\", exclude = \
                     [\"0001TP_*\"] }}"
                ))
                .at_key("data.instance_weights.target"));
            }
            let after = config.after(recipe.training()?.validations());
            if after.is_empty() {
                return Err(Error::config(
                    "weights change at validations, and the training has one at its end alone; lower train.validate_every",
                )
                .at_key("data.instance_weights.rounds"));
            }
            let first = config.first(source, target.len());
            let told = format!(
                "{}, {} of the target among them; weighted anew after {} validations",
                said("tradaboost", &first),
                target.len(),
                after.len()
            );
            let weights = PictureWeights::new(first.clone());
            let config = config.clone();
            let boosting = Some(BoostingStart {
                config,
                weights: weights.clone(),
                first,
                source,
                names,
                after,
            });
            Ok(Weighted { weights: Some(weights), told: Some(told), boosting, ..plain(both) })
        }
    }
}

/// Weights in words.
fn said(name: &str, weights: &[f64]) -> String {
    let least = weights.iter().copied().fold(f64::INFINITY, f64::min);
    let most = weights.iter().copied().fold(0.0, f64::max);
    let (count, effective) = (weights.len(), effective(weights));
    format!(
        "weights by {name}: {least:.2} to {most:.2}, {effective:.0} effective pictures of {count}"
    )
}

/// Each picture's mean of the encoder's coarsest map, at the pictures' working size.
fn pooled(
    recipe: &Recipe,
    encoder: &Encoder,
    set: &dyn Dataset,
    device: &Device,
) -> Result<Vec<Vec<f32>>> {
    let normalization = recipe.model.encoder()?.normalization();
    let longest = recipe.data.parts.longest_side;
    (0..set.len())
        .map(|index| {
            let image = set.image(index)?;
            let (width, height) = shrunk(image.width(), image.height(), longest);
            let image = resize(&image, width, height)?;
            let seen = normalised(&[&image], &normalization, device);
            let map = recipe.model.precision.run(|| encoder.forward(seen).last());
            Ok(cpu_values(global_average(map)))
        })
        .collect()
}

fn ratio_table(names: &[String], found: &DensityRatios) -> String {
    let mut text = "picture,weight,target_probability\n".to_owned();
    for ((name, weight), probability) in names.iter().zip(&found.weights).zip(&found.probabilities)
    {
        // A String takes all that is written.
        let _ = writeln!(text, "{},{weight},{probability}", quoted(name));
    }
    text
}

/// A name as a field of a table.
fn quoted(name: &str) -> String {
    let field = csv_text::field(name);
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into_owned()
    }
}

/// Weights that change, before it is known on what items the network is asked about pictures.
pub(super) struct BoostingStart {
    config: TradaboostConfig,
    weights: PictureWeights,
    first: Vec<f64>,
    source: usize,
    names: Vec<String>,
    after: Vec<usize>,
}

impl BoostingStart {
    /// By errors on whole pictures: item `i` is picture `i`.
    pub fn over<O: Objective>(
        self,
        pictures: Arc<dyn ItemSource<O::Item>>,
        precision: Precision,
        device: Device,
    ) -> Arc<dyn AtValidations<O>> {
        let state = Mutex::default();
        Arc::new(Boosting { start: self, pictures, precision, device, state })
    }
}

/// TrAdaBoost's rounds.
struct Boosting<T> {
    start: BoostingStart,
    pictures: Arc<dyn ItemSource<T>>,
    precision: Precision,
    device: Device,
    state: Mutex<Rounds>,
}

/// The rounds so far: after which validation (0: at first), and the weights from then on.
#[derive(Default)]
struct Rounds {
    folder: PathBuf,
    all: Vec<(usize, Vec<f64>)>,
}

impl<T> Boosting<T> {
    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shares of wrong pixels; a picture without a labelled one has none wrong.
    fn errors<O: Objective<Item = T>>(&self, objective: &O) -> Result<Vec<f64>> {
        let network = objective.clone().valid();
        let errors = (0..self.start.names.len()).map(|index| {
            let item = self.pictures.item(index as u64, &self.device)?;
            let state = self.precision.run(|| network.evaluate(item));
            Ok(1.0 - state.value("pixel_accuracy").unwrap_or(1.0))
        });
        errors.collect()
    }

    /// Adds the round after a validation.
    fn add<O: Objective<Item = T>>(&self, objective: &O, number: usize) -> Result<()> {
        let errors = self.errors(objective)?;
        let mut rounds = self.lock();
        let now = rounds.all.last().map_or(&self.start.first, |(_, weights)| weights);
        let changed = self.start.config.changed(now, &errors, self.start.source);
        rounds.all.push((number, changed));
        self.write(&rounds)
    }

    /// Puts the last round's weights into force, and the table into the folder.
    fn write(&self, rounds: &Rounds) -> Result<()> {
        let Some((_, now)) = rounds.all.last() else { return Ok(()) };
        self.start.weights.set(now.clone());
        let mut text = "picture,domain,weight".to_owned();
        for (number, _) in &rounds.all {
            let _ = write!(text, ",after_{number}");
        }
        for (index, name) in self.start.names.iter().enumerate() {
            let domain = if index < self.start.source { "source" } else { "target" };
            let _ = write!(text, "\n{},{domain},{}", quoted(name), now[index]);
            for (_, weights) in &rounds.all {
                let _ = write!(text, ",{}", weights[index]);
            }
        }
        text.push('\n');
        atomic::write_durable(rounds.folder.join(FILE), text.as_bytes())
    }

    /// The rounds of a folder's table up to a validation.
    fn read(&self, folder: &Path, number: usize) -> Result<Vec<(usize, Vec<f64>)>> {
        let file = folder.join(FILE);
        let wrong = |what: &str| {
            Error::data(format!(
                "{what}; without the weights of its rounds a training cannot go on: --force starts anew"
            ))
            .in_file(&file)
        };
        let bytes = std::fs::read(&file)
            .map_err(|error| Error::io("read the weights of the rounds", &file, error))?;
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().map_err(|error| wrong(&error.to_string()))?.clone();
        let rounds = header.iter().enumerate().filter_map(|(column, name)| {
            let after = name.strip_prefix("after_")?.parse().ok()?;
            (after <= number).then_some((column, after))
        });
        let rounds: Vec<(usize, usize)> = rounds.collect();
        let mut all: Vec<(usize, Vec<f64>)> =
            rounds.iter().map(|(_, after)| (*after, Vec::new())).collect();
        let mut names = self.start.names.iter();
        for row in reader.records() {
            let row = row.map_err(|error| wrong(&error.to_string()))?;
            let name = row.get(0).map(csv_text::plain);
            if names.next().map(String::as_str) != name {
                return Err(wrong("its pictures are not those of the training"));
            }
            for ((column, _), (_, weights)) in rounds.iter().zip(&mut all) {
                let weight = row.get(*column).and_then(|text| text.parse().ok());
                weights.push(weight.ok_or_else(|| wrong("a weight is no number"))?);
            }
        }
        if names.next().is_some() {
            return Err(wrong("its pictures are not those of the training"));
        }
        Ok(all)
    }
}

impl<O: Objective> AtValidations<O> for Boosting<O::Item> {
    fn begin(&self, objective: &O, folder: &Path, number: usize) -> Result<()> {
        let due = |last: usize| {
            let after = self.start.after.iter().copied();
            std::iter::once(0).chain(after.filter(move |after| *after <= last)).collect::<Vec<_>>()
        };
        let mut all = vec![(0, self.start.first.clone())];
        if number > 0 {
            all = self.read(folder, number)?;
        }
        let there: Vec<usize> = all.iter().map(|(after, _)| *after).collect();
        *self.lock() = Rounds { folder: folder.to_owned(), all };
        if there == due(number) {
            return self.write(&self.lock());
        }
        // The network is as it was when the last round was due: that one can be made again.
        if number > 0 && there == due(number - 1) {
            return self.add(objective, number);
        }
        Err(Error::data(
            "the weights of a round are missing, without which the training cannot go on: --force starts anew",
        )
        .in_file(folder.join(FILE)))
    }

    fn reached(&self, objective: &O, number: usize) -> Result<()> {
        if self.start.after.contains(&number) { self.add(objective, number) } else { Ok(()) }
    }
}
