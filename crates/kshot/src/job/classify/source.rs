//! The classes with their vectors, from labelled pictures or from a model file, and the embedder that makes
//! vectors like them.

use std::path::{Path, PathBuf};

use kshot_data::class_folder::ClassFolder;

use crate::classify::model_file::{ModelFile, Origin};
use crate::classify::vectors;
use crate::device::{self, Device};
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::features::embed::{Embedder, InputViews};
use crate::job::watch::Watch;
use crate::nn::Precision;

/// Where classes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassSource {
    /// Labelled pictures.
    Support {
        /// Folder of class folders, or a csv of `path,class`.
        path: PathBuf,
        /// Only the first pictures of each class, by name; at least 1.
        shots: Option<usize>,
        /// The network whose features are used.
        encoder: String,
        /// Input size and test-time views.
        input_views: InputViews,
    },
    /// A file that `save` wrote.
    Model(PathBuf),
}

impl ClassSource {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Support { path, .. } | Self::Model(path) => path,
        }
    }

    /// `None` where the watch stopped it.
    pub(super) fn open(
        &self,
        weights: Option<&Path>,
        (device, precision): (&str, Precision),
        watch: &Watch<'_>,
    ) -> Result<Option<(ModelFile, Embedder)>> {
        match self {
            Self::Model(path) => {
                let model = ModelFile::read(path)?;
                let embedder = embedder(&model, weights, &device::parse(device)?)?;
                Ok(Some((model, embedder.with_precision(precision))))
            }
            Self::Support { path, shots, encoder, input_views } => {
                let config: EncoderConfig = encoder.parse()?;
                let device = device::parse(device)?;
                input_views.check()?;
                if *shots == Some(0) {
                    return Err(Error::config("--shots must be at least 1"));
                }
                // What is wrong with the support is told before the weights are read.
                let mut pictures = ClassFolder::open(path)?;
                if let Some(shots) = *shots {
                    pictures = pictures.first(shots);
                }
                let (embedder, weights_sha256) =
                    Embedder::from_weights(&config, weights, &device, *input_views)?;
                let embedder = embedder.with_precision(precision.in_32_bits());
                let origin =
                    Origin { encoder: encoder.clone(), weights_sha256, input_views: *input_views };
                pictures.warnings.iter().for_each(|words| watch.warn(words));
                let total = pictures.pictures.len();
                watch.progress(0, total);
                let made =
                    vectors::examples(&embedder, &pictures, |done| watch.progress(done, total))?;
                let Some((classes, warnings)) = made else { return Ok(None) };
                warnings.iter().for_each(|words| watch.warn(words));
                Ok(Some((ModelFile::new(origin, classes), embedder.with_precision(precision))))
            }
        }
    }
}

/// What makes vectors like those of the model.
///
/// # Errors
/// If the weights are not those that the model was made with, or cannot be loaded.
pub(in crate::job) fn embedder(
    model: &ModelFile,
    weights: Option<&Path>,
    device: &Device,
) -> Result<Embedder> {
    let Origin { encoder, input_views, .. } = &model.origin;
    let config: EncoderConfig = encoder.parse()?;
    let (embedder, weights_sha256) =
        Embedder::from_weights(&config, weights, device, *input_views)?;
    let origin = Origin { weights_sha256, ..model.origin.clone() };
    model.check_origin(&origin, embedder.dimensions())?;
    Ok(embedder)
}
