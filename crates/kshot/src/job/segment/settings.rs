//! What masks depend on: the network, the labels and the options.

use std::path::PathBuf;

use kshot_data::deep::DeepRange;
use kshot_data::support::Support;
use serde_json::json;

use crate::device::{self, Device};
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::features::extract::Extractor;
use crate::hash;
use crate::job::segment::SegmentOptions;
use crate::job::watch::Watch;
use crate::method::few_shot::HeadConfig;
use crate::nn::Precision;
use crate::postprocess::refine::Refinement;
use crate::predict::Predictor;
use crate::predict::fit::{FitOptions, fit_watched};
use crate::predict::trained::{self, Needs};
use crate::recipe::Recipe;
use crate::report::run::SupportFile;
use crate::train::load;

/// What labels the pictures, looked up before anything else is read.
pub(super) struct Labeller {
    pub(super) kind: LabellerKind,
    /// The encoder's name, for people.
    pub(super) encoder: String,
    weights_sha256: String,
}

/// Fitted to labelled pictures, or trained before.
pub(super) enum LabellerKind {
    /// A method fitted to labelled pictures: the encoder with its weights, and the methods to choose from.
    Fitted(Box<Extractor>, HeadConfig),
    /// The folders of trainings with their recipes; at least one.
    Trained(Vec<(PathBuf, Recipe)>, Device),
}

impl Labeller {
    pub(super) fn new(options: &SegmentOptions) -> Result<Self> {
        let device = device::parse(&options.device)?;
        if !options.models.is_empty() {
            return Self::trained(options, device);
        }
        let encoder: EncoderConfig = options.encoder.parse()?;
        let method: HeadConfig = options.method.parse()?;
        let (extractor, weights_sha256) =
            Extractor::from_weights(&encoder, options.weights.as_deref(), &device)?;
        let extractor = extractor.with_precision(options.precision);
        let kind = LabellerKind::Fitted(Box::new(extractor), method);
        Ok(Self { kind, encoder: options.encoder.clone(), weights_sha256 })
    }

    fn trained(options: &SegmentOptions, device: Device) -> Result<Self> {
        let mut runs = Vec::with_capacity(options.models.len());
        let (mut hashes, mut encoders) = (Vec::new(), Vec::new());
        for run in &options.models {
            let recipe = load::recipe_of(run)?;
            if trained::needs(&recipe)? == Needs::Nothing && !options.support.is_empty() {
                return Err(Error::config(format!(
                    "the {} network of {} knows its classes and takes no labelled pictures; leave --support out",
                    recipe.method.name(),
                    run.display()
                )));
            }
            hashes.push(hash::of_file(&load::weights_of(run)?)?);
            let encoder = recipe.model.encoder.name();
            if !encoders.contains(&encoder) {
                encoders.push(encoder);
            }
            runs.push((run.clone(), recipe));
        }
        Ok(Self {
            kind: LabellerKind::Trained(runs, device),
            encoder: encoders.join(", "),
            weights_sha256: hashes.join(", "),
        })
    }

    /// What extracts features for methods that are fitted; `None` for trained networks.
    pub(super) fn extractor(&self) -> Option<Extractor> {
        match &self.kind {
            LabellerKind::Fitted(extractor, _) => Some(extractor.as_ref().clone()),
            LabellerKind::Trained(..) => None,
        }
    }

    /// Whether labelled pictures are needed.
    pub(super) fn needs_support(&self) -> Result<bool> {
        match &self.kind {
            LabellerKind::Fitted(..) => Ok(true),
            LabellerKind::Trained(runs, _) => {
                let needs = runs.iter().map(|(_, recipe)| trained::needs(recipe));
                Ok(needs.collect::<Result<Vec<_>>>()?.contains(&Needs::Support))
            }
        }
    }

    /// The predictor; without labelled pictures where none are needed.
    pub(super) fn predictor(
        self,
        options: &SegmentOptions,
        support: &Support,
        watch: &Watch<'_>,
    ) -> Result<Predictor> {
        let refinement = if options.refine { Refinement::Auto } else { Refinement::None };
        match self.kind {
            LabellerKind::Fitted(extractor, method) => {
                let options = FitOptions {
                    methods: method.candidates(options.effort),
                    effort: options.effort,
                    refinement,
                    scale: options.scale,
                    seed: options.seed,
                };
                fit_watched(*extractor, support, options, &|step| watch.tried(step))
            }
            LabellerKind::Trained(runs, device) => {
                // A network that was trained to the pixel knows borders better than colours tell them.
                let known = match runs.first() {
                    Some((_, recipe)) if trained::needs(recipe)? == Needs::Nothing => {
                        Some(recipe.predict.refinement)
                    }
                    _ => None,
                };
                let refinement = known.unwrap_or_else(|| refinement.suited(support));
                let support = (!support.pictures.is_empty()).then_some(support);
                let mut predictor = match &runs[..] {
                    [(run, _)] => trained::predictor(run, support, refinement, &device)?,
                    runs => trained::ensemble(runs, refinement, &device)?,
                };
                if options.precision != Precision::F32 {
                    predictor.set_precision(options.precision);
                }
                Ok(predictor)
            }
        }
    }
}

/// What the result depends on: a picture that was finished by the same is not segmented again.
pub(super) struct Settings {
    pub(super) weights_sha256: String,
    pub(super) encoder: String,
    pub(super) support: Vec<SupportFile>,
    /// SHA-256 of all of it.
    pub(super) fingerprint: String,
}

impl Settings {
    pub(super) fn new(
        options: &SegmentOptions,
        network: &Labeller,
        support: &Support,
        range: Option<DeepRange>,
    ) -> Result<Self> {
        let weights_sha256 = network.weights_sha256.clone();
        let mut files = Vec::with_capacity(support.pictures.len());
        for picture in &support.pictures {
            files.push(SupportFile {
                image: picture.path.display().to_string(),
                image_sha256: hash::of_file(&picture.path)?,
                labels: picture.labels.display().to_string(),
                labels_sha256: hash::of_file(&picture.labels)?,
            });
        }
        // What was painted, whatever files and settings it was made of.
        let masks = support.pictures.iter().map(|picture| hash::of_bytes(&picture.mask.pixels));
        let images = files.iter().map(|file| &file.image_sha256);
        let hashes: Vec<_> = images.zip(masks).collect();
        let numbers = |ids: &[u32]| {
            hash::of_bytes(&ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>())
        };
        let told = support.pictures.iter().filter_map(|picture| picture.objects.as_ref());
        let objects: Vec<String> = match options.objects {
            Some(_) => told.map(|told| numbers(&told.map.ids)).collect(),
            None => Vec::new(),
        };
        let recipe = match &network.kind {
            LabellerKind::Fitted(..) => None,
            LabellerKind::Trained(runs, _) => {
                let recipes = runs.iter().map(|(_, recipe)| recipe.to_toml());
                Some(recipes.collect::<Result<Vec<_>>>()?)
            }
        };
        let all = json!([
            env!("CARGO_PKG_VERSION"),
            options.encoder,
            weights_sha256,
            hashes,
            support.classes,
            options.method,
            options.effort,
            options.scale,
            !options.refine,
            options.seed,
            options.precision,
            range,
            recipe,
            options.objects,
            objects
        ]);
        let fingerprint = hash::of_bytes(all.to_string().as_bytes());
        let encoder = network.encoder.clone();
        Ok(Self { weights_sha256, encoder, support: files, fingerprint })
    }
}
