//! Sessions of networks that give each pixel a class: labelled pictures, what they weigh, and unlabelled ones beside
//! them.
//!
//! ```text
//! data.train            -> labelled stream  (data.instance_weights: how often each picture comes)
//! data.unlabelled       -> unlabelled stream, for methods that learn from both
//! data.validation       -> whole pictures, which choose the checkpoint
//! ```
//! A method that learns from unlabelled pictures is an [`Objective`] over [`SemiBatch`](crate::data::batch::SemiBatch)
//! and a function here of the form of [`aligned`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;

use super::adapt;
use super::class_weights;
use super::instance_weights::{self, Weighted};
use super::layers::LayerPlan;
use super::session::{Session, started};
use crate::contract::{ItemSource, Objective};
use crate::data::Dataset;
use crate::data::batch::Batch;
use crate::data::batches::{Pictures, TrainingBatches, TwoStreams, WholePictures};
use crate::data::unlabelled::Unlabelled;
use crate::error::{Error, Result};
use crate::method::adapt::alignment::{FeatureAlignment, FeatureAlignmentConfig};
use crate::method::supervised::Supervised;
use crate::recipe::Recipe;

/// The other seed of the unlabelled stream, so that its order and its crops are not those of the labelled one.
const UNLABELLED: u64 = 0x756e_6c61_6265_6c6c;

/// The file of a run that names the pictures of each part.
const SPLIT: &str = "split.json";

/// The pictures' files, by what they are for.
#[derive(serde::Serialize, serde::Deserialize)]
struct Split {
    train: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unlabelled: Option<Vec<String>>,
    validation: Vec<String>,
}

impl Split {
    /// Whether there are pictures that validate, and all of them are learnt from.
    fn is_all_learnt(&self) -> bool {
        let learnt: BTreeSet<&String> = self.train.iter().collect();
        !self.validation.is_empty() && self.validation.iter().all(|name| learnt.contains(name))
    }
}

/// A stream of batches with masks.
type Batches = Arc<dyn ItemSource<Batch<3>>>;

/// The training of an encoder and a decoder on `data.train`, validated on the whole pictures of `data.validation`.
///
/// # Errors
/// If data, network and loss are missing or do not go together.
pub fn supervised(recipe: &Recipe, device: &Device) -> Result<Session<Supervised>> {
    session(recipe, device, |network| network, &|labelled, _| labelled)
}

/// The same with features of `data.unlabelled` brought to those of `data.train`.
///
/// # Errors
/// As [`supervised`], or if a picture is in both.
pub fn aligned(
    recipe: &Recipe,
    config: FeatureAlignmentConfig,
    device: &Device,
) -> Result<Session<FeatureAlignment>> {
    let around = |network| FeatureAlignment::new(network, config);
    session(recipe, device, around, &|labelled, unlabelled| {
        Arc::new(TwoStreams { labelled, unlabelled })
    })
}

/// A session of what `around` makes of the network, on items that `items` makes of the labelled stream and the
/// unlabelled one, if there is one.
fn session<O: Objective>(
    recipe: &Recipe,
    device: &Device,
    around: impl FnOnce(Supervised) -> O,
    items: &dyn Fn(Batches, Option<Batches>) -> Arc<dyn ItemSource<O::Item>>,
) -> Result<Session<O>> {
    let training = recipe.training()?.clone();
    if training.episodes.is_some() {
        return Err(Error::config(
            "supervised segmentation learns from pictures, not from episodes; leave it out",
        )
        .at_key("train.episodes"));
    }
    let data = &recipe.data;
    let listed = data.dataset.open_part(data.train()?)?;
    let validation = data.dataset.open_part(data.validation()?)?;
    let classes = listed.classes().to_vec();
    recipe.loss.check(classes.len() + 1)?;
    let background = listed.has_background();
    let unlabelled = match &data.parts.unlabelled {
        Some(config) => Some(Arc::new(config.open(&data.dataset, listed.as_ref())?)),
        None => None,
    };
    if let Some(unlabelled) = &unlabelled {
        apart(listed.as_ref(), unlabelled)?;
    }
    let (objective, start) = started(recipe, &classes, background, device)?;
    let Weighted { train, weights, told, note, boosting } =
        instance_weights::of(recipe, listed, unlabelled.as_deref(), &objective, device)?;
    let split = Split {
        train: names(train.as_ref()),
        unlabelled: unlabelled.as_deref().map(|set| names(set)),
        validation: names(validation.as_ref()),
    };
    let balance = class_weights::resolve(&recipe.loss, train.as_ref())?;
    let mut about = format!(
        "{} pictures to train on, {} to validate on{}",
        train.len(),
        validation.len(),
        balance.about
    );
    if split.is_all_learnt() {
        about = format!(
            "{about}; all that validate are learnt from: what they say holds for no others"
        );
    }
    if let Some(unlabelled) = &unlabelled {
        about = format!("{about}; {}", seen(recipe, unlabelled)?);
    }
    let objective = objective.train();
    for told in told.into_iter().chain(start).chain(adapt::told(&recipe.model, &objective)) {
        about = format!("{about}; {told}");
    }
    let boundaries = training.monitor.as_deref() == Some("boundary_f");
    let validation_items = validation.len();
    let normalization = recipe.model.encoder()?.normalization();
    let longest = data.parts.longest_side;
    let pictures = |set: Arc<dyn Dataset>| Arc::new(Pictures::new(set, longest, normalization));
    let batches = |set: &Arc<Pictures>, seed: u64| {
        let transforms = data.parts.transforms.clone();
        TrainingBatches::new(Arc::clone(set), transforms, training.batch, seed)
    };
    let shown = pictures(train);
    let labelled = batches(&shown, training.seed)
        .with_balanced(training.balanced)
        .with_weights(weights.clone());
    let unlabelled = unlabelled
        .map(|set| -> Batches { Arc::new(batches(&pictures(set), training.seed ^ UNLABELLED)) });
    let whole = |set: Arc<Pictures>| items(Arc::new(WholePictures(set)), None);
    let changes = boosting.map(|boosting| {
        boosting.over(whole(Arc::clone(&shown)), recipe.model.precision, device.clone())
    });
    Ok(Session {
        title: recipe.title(),
        about,
        recipe: recipe.to_toml()?,
        source: items(Arc::new(labelled), unlabelled),
        validation: whole(pictures(validation)),
        validation_items,
        notes: [
            ("classes.txt".to_owned(), classes.join("\n") + "\n"),
            (SPLIT.to_owned(), format!("{:#}\n", serde_json::json!(split))),
        ]
        .into_iter()
        .chain(balance.note)
        .chain(note)
        .collect(),
        objective: around(objective.with_loss(balance.loss).with_boundaries(boundaries)),
        training,
        precision: recipe.model.precision,
        layers: LayerPlan::from(&recipe.model),
        changes,
        device: device.clone(),
    })
}

/// The pictures' files, as a run's folder names them.
pub(super) fn names(set: &dyn Dataset) -> Vec<String> {
    (0..set.len()).map(|index| kshot_data::query::slashed(set.file(index))).collect()
}

fn files(set: &dyn Dataset) -> BTreeSet<&Path> {
    (0..set.len()).map(|index| set.file(index)).collect()
}

/// Whether all pictures that validated a run are among those that it learnt from.
///
/// # Errors
/// If the run's folder does not say which pictures these are.
pub fn run_validates_on_learnt(run: &Path) -> Result<bool> {
    let file = run.join(SPLIT);
    let text = std::fs::read_to_string(&file).map_err(|error| Error::io("read", &file, error))?;
    let split: Split = serde_json::from_str(&text).map_err(|error| {
        Error::data(format!("it does not name the pictures: {error}")).in_file(&file)
    })?;
    Ok(split.is_all_learnt())
}

/// Refuses pictures that are labelled and unlabelled ones both.
fn apart(labelled: &dyn Dataset, unlabelled: &Unlabelled) -> Result<()> {
    let labelled = files(labelled);
    let both: Vec<&Path> = files(unlabelled).intersection(&labelled).copied().collect();
    let Some(first) = both.first() else { return Ok(()) };
    Err(Error::config(format!(
        "{} of these pictures are in data.train, too, the first of them {}: leave them out of one, such as train = {{ list \
         = \"train\", exclude = [\"0001TP_*\"] }}",
        both.len(),
        first.display()
    ))
    .at_key("data.unlabelled"))
}

/// What is told of the unlabelled pictures.
fn seen(recipe: &Recipe, unlabelled: &Unlabelled) -> Result<String> {
    let told = format!("{} unlabelled pictures", unlabelled.len());
    let Some(test) = &recipe.data.parts.test else { return Ok(told) };
    let test = recipe.data.dataset.open_part(test)?;
    let count = files(test.as_ref()).intersection(&files(unlabelled)).count();
    Ok(match count {
        0 => told,
        count => format!("{told}, {count} of which are measured (data.test): transductive"),
    })
}
