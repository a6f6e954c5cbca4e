//! A training that starts from the weights of another run.
//!
//! Encoder and decoder are taken, and of what belongs to single classes (the last layer) what belongs to classes of
//! the same name. The state of the optimiser is not.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;

use super::{episodes, load, session};
use crate::decoder::{Decoder, Segmenter, classes};
use crate::encoder::{Encode, Encoder, EncoderConfig};
use crate::error::{Error, Result};
use crate::method::MethodConfig;
use crate::recipe::Recipe;

/// Names told of a list.
const TOLD: usize = 6;

/// The run's folder (or its file of weights) that a recipe's `model.weights` names, if it names one.
pub fn run_of(recipe: &Recipe) -> Option<&Path> {
    let weights = recipe.model.weights.as_deref()?;
    let is_run = weights.is_dir() || weights.extension().is_some_and(|end| end == "bpk");
    is_run.then_some(weights)
}

/// The network of a run, to start from.
pub struct Start {
    run: PathBuf,
    recipe: Recipe,
    encoder: Encoder,
    decoder: Option<StartDecoder>,
}

struct StartDecoder {
    network: Decoder,
    classes: Vec<String>,
    background: bool,
}

impl Start {
    /// The best weights of a run, or the last ones of one that is not finished.
    ///
    /// # Errors
    /// If there are none, or the run is of a method without an encoder and pixels.
    pub fn of(run: &Path, device: &Device) -> Result<Self> {
        let recipe = load::recipe_of(run)?;
        let (encoder, decoder) = match &recipe.method {
            method if method.is_segmenter() => {
                let classes = load::classes_of(run)?;
                let background = recipe.data.dataset.has_background();
                let kept = session::trained(&recipe, run, (classes.len(), background), device)?;
                let Segmenter { encoder, decoder } = kept.valid().segmenter;
                (encoder, Some(StartDecoder { network: decoder, classes, background }))
            }
            MethodConfig::Episodic(method) => {
                let kept = episodes::trained(&recipe, method, run, device)?;
                (kept.valid().into_encoder(), None)
            }
            _ => {
                return Err(Error::config(format!(
                    "a training starts from a run of supervised, feature-alignment or panet, and this one is of {}",
                    recipe.method.name()
                ))
                .in_file(run));
            }
        };
        Ok(Self { run: run.to_owned(), recipe, encoder, decoder })
    }

    /// The run's encoder.
    ///
    /// # Errors
    /// If the recipe has another.
    pub fn encoder(&self, config: &EncoderConfig, device: &Device) -> Result<Encoder> {
        let own = self.recipe.model.encoder()?;
        let wrong = |why: String| {
            Error::config(format!("the run {} {why}", self.run.display())).at_key("model.encoder")
        };
        if own.name() != config.name() {
            return Err(wrong(format!(
                "has the encoder {own}, the recipe {config}; write model.encoder = \"{own}\""
            )));
        }
        let record = self.encoder.clone().into_record();
        config.init(device).try_load_record(record).map_err(|error| {
            wrong(format!("has an encoder of other options than the recipe's: {error}"))
        })
    }

    /// A segmenter around the run's encoder with the run's decoder, as far as it fits, and what was taken, in words.
    ///
    /// # Errors
    /// If the decoder fits no such maps.
    pub fn decoder(
        &self,
        segmenter: Segmenter,
        recipe: &Recipe,
        (classes, background): (&[String], bool),
    ) -> Result<(Segmenter, String)> {
        let Segmenter { encoder, decoder } = segmenter;
        let config = &recipe.model.decoder;
        let from = format!("weights of {}", self.run.display());
        let Some(own) = self.decoder.as_ref().filter(|_| self.recipe.model.decoder == *config)
        else {
            let told = format!("{from}: its encoder; the decoder is another and starts anew");
            return Ok((Segmenter { encoder, decoder }, told));
        };
        // Where no pixel is background, its logit learns nothing but to be low.
        let first = (own.background || !background).then_some(0);
        let place = |name: &String| own.classes.iter().position(|own| own == name);
        let named = classes.iter().map(|name| place(name).map(|place| place + 1));
        let rows: Vec<Option<usize>> = std::iter::once(first).chain(named).collect();
        let maps = (encoder.channels(), encoder.strides());
        let maps = (&maps.0[..], &maps.1[..]);
        let decoder = classes::taken_over(decoder, config, maps, &own.network, &rows)?;
        let (kept, new): (Vec<&String>, Vec<&String>) =
            classes.iter().partition(|name| place(name).is_some());
        let told = match (kept.len(), new.len()) {
            (_, 0) => format!("{from}: encoder, decoder and all classes"),
            (0, _) => format!("{from}: encoder and decoder; all classes are new"),
            _ => format!(
                "{from}: encoder and decoder, with the classes {}; new: {}",
                listed(&kept),
                listed(&new)
            ),
        };
        Ok((Segmenter { encoder, decoder }, told))
    }
}

fn listed(names: &[&String]) -> String {
    let shown: Vec<&str> = names.iter().take(TOLD).map(|name| name.as_str()).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Changes to a recipe, `key=value`, by which it starts from a run; with the run's network, too, where `network` says
/// so.
///
/// # Errors
/// If it is no run.
pub fn changes(run: &Path, network: bool) -> Result<Vec<String>> {
    let recipe = load::recipe_of(run)?;
    let whole =
        run.canonicalize().map_err(|error| Error::io("open the run to start from", run, error))?;
    let mut changes = Vec::new();
    if network {
        for (key, value) in [
            ("encoder", toml::Value::try_from(&recipe.model.encoder)),
            ("decoder", toml::Value::try_from(&recipe.model.decoder)),
        ] {
            let value = value.map_err(|error| {
                Error::config(format!("the run's {key} cannot be written: {error}")).in_file(run)
            })?;
            changes.push(format!("model.{key}={}", inline(&value)));
        }
    }
    let path = toml::Value::String(whole.to_string_lossy().into_owned());
    changes.push(format!("model.weights={path}"));
    Ok(changes)
}

/// A value on one line.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let keys = table.iter().map(|(key, value)| format!("{key} = {}", inline(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
