//! What a recipe's network takes of a picture file: its pixels, or the vector that a frozen encoder makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::prelude::*;
use kshot_data::image;

use crate::data::classes::layout;
use crate::data::classes::pixels::{Pixels, Scaling};
use crate::data::classes::split::Splits;
use crate::error::{Error, Result};
use crate::features::embed::Embedder;
use crate::recipe::Recipe;

/// How files become what a network takes.
#[derive(Debug, Clone)]
pub enum InputSpec {
    /// Pictures.
    Pictures {
        /// 1 is gray, 3 is RGB.
        channels: usize,
        /// Height and width.
        size: [usize; 2],
        /// How bytes become numbers.
        scaling: Scaling,
    },
    /// Vectors, each made once.
    Vectors {
        /// What makes them.
        embedder: Arc<Embedder>,
        /// Their length.
        features: usize,
    },
}

impl InputSpec {
    /// What a recipe's network takes.
    ///
    /// # Errors
    /// If a frozen encoder cannot be set up, or pictures are to be changed at random before it.
    pub fn of(recipe: &Recipe, device: &Device) -> Result<Self> {
        let layout = recipe.data.dataset.classes()?;
        let network = recipe.model.network();
        let Some(embedder) = network.embedder(device)? else {
            let scaling = layout.scaling(network.scaling());
            let (channels, size) = (layout.channels(), layout.size());
            return Ok(Self::Pictures { channels, size, scaling });
        };
        let parts = &recipe.data.parts;
        if !parts.transforms.is_empty() || !parts.support_transforms.is_empty() {
            return Err(Error::config(
                "a frozen encoder sees each picture once, so pictures cannot be changed at random; \
                 leave the transforms out, or write model.freeze = \"none\"",
            )
            .at_key("data.transforms"));
        }
        if layout.channels() == 1 {
            return Err(Error::config("encoders take RGB pictures; leave gray out, or use conv4")
                .at_key("model.encoder"));
        }
        let embedder = embedder.with_precision(recipe.model.precision);
        let features = embedder.dimensions();
        Ok(Self::Vectors { embedder: Arc::new(embedder), features })
    }

    /// Channels (or numbers of a vector), height and width.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Pictures { channels, size: [height, width], .. } => [*channels, *height, *width],
            Self::Vectors { features, .. } => [*features, 1, 1],
        }
    }

    /// The pictures or vectors of files.
    ///
    /// # Errors
    /// If a picture cannot be read.
    pub fn read(&self, files: Vec<PathBuf>) -> Result<Pixels> {
        match self {
            Self::Pictures { channels, size, scaling } => {
                Pixels::read(files, *channels, *size, *scaling)
            }
            Self::Vectors { embedder, features } => {
                let embedder = Arc::clone(embedder);
                let make = move |file: &Path| {
                    let picture = image::read(file)?;
                    embedder.embed_one(&picture).map_err(|error| error.in_file(file))
                };
                Ok(Pixels::vectors(files, *features, Box::new(make)))
            }
        }
    }

    /// The classes of a recipe's data set in three parts.
    ///
    /// # Errors
    /// If a file is missing or a picture cannot be read.
    pub fn splits(&self, recipe: &Recipe) -> Result<Splits> {
        let layout = recipe.data.dataset.classes()?;
        match self {
            Self::Pictures { scaling, .. } => layout.splits(layout::ClassInput::Pictures(*scaling)),
            Self::Vectors { .. } => {
                layout.splits(layout::ClassInput::Vectors(&|files| self.read(files)))
            }
        }
    }
}
