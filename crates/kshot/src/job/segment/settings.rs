//! What masks depend on: the network, the labels and the options.

use kshot_data::support::Support;
use serde_json::json;

use crate::encoder::EncoderConfig;
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::job::segment::SegmentOptions;
use crate::method::few_shot::{self, Method};
use crate::nn::bf16::is_bf16;
use crate::postprocess::refine::Refinement;
use crate::predict::{self, Predictor};
use crate::report::run::SupportFile;
use crate::{device, hash};

/// The encoder with its weights, and the methods to choose from.
pub(super) struct Network {
    extractor: Extractor,
    methods: Vec<Box<dyn Method>>,
    weights_sha256: String,
}

impl Network {
    pub(super) fn new(options: &SegmentOptions) -> Result<Self> {
        let encoder: EncoderConfig = options.encoder.parse()?;
        let methods = few_shot::by_name(&options.method)?;
        let device = device::parse(&options.device)?;
        let (extractor, weights_sha256) =
            Extractor::from_weights(&encoder, options.weights.as_deref(), &device)?;
        Ok(Self { extractor, methods, weights_sha256 })
    }

    pub(super) fn fit(self, options: &SegmentOptions, support: &Support) -> Result<Predictor> {
        let options = predict::Options {
            methods: self.methods,
            refinement: refinement(options, support),
            scale: options.scale,
            seed: options.seed,
        };
        Predictor::fit(self.extractor, support, options)
    }
}

pub(super) fn refinement(options: &SegmentOptions, support: &Support) -> Refinement {
    if options.refine { Refinement::suited_to(support) } else { Refinement::None }
}

/// What the result depends on: a picture that was finished by the same is not segmented again.
pub(super) struct Settings {
    pub(super) weights_sha256: String,
    pub(super) support: Vec<SupportFile>,
    /// SHA-256 of all of it.
    pub(super) fingerprint: String,
}

impl Settings {
    pub(super) fn new(
        options: &SegmentOptions,
        network: &Network,
        support: &Support,
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
        let hashes: Vec<_> =
            files.iter().map(|file| (&file.image_sha256, &file.labels_sha256)).collect();
        let all = json!([
            env!("CARGO_PKG_VERSION"),
            options.encoder,
            weights_sha256,
            hashes,
            support.classes,
            options.method,
            options.scale,
            !options.refine,
            options.seed,
            crate::nn::is_precise(),
            is_bf16()
        ]);
        let fingerprint = hash::of_bytes(all.to_string().as_bytes());
        Ok(Self { weights_sha256, support: files, fingerprint })
    }
}
