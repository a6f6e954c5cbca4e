//! What a recipe's network takes of a picture file: its pixels, or the vector that a frozen encoder makes.

use std::path::PathBuf;
use std::sync::Arc;

use burn::prelude::*;
use kshot_data::image;

use crate::data::classes::pixels::{Pixels, Scaling};
use crate::error::{Error, Result};
use crate::features::embed::Embedder;
use crate::recipe::learning::LearningRecipe;

/// How files become what a network takes.
#[derive(Debug, Clone)]
pub enum Input {
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

impl Input {
    /// What a recipe's network takes.
    ///
    /// # Errors
    /// If a frozen encoder cannot be set up, or pictures are to be changed at random before it.
    pub fn of(recipe: &LearningRecipe, device: &Device) -> Result<Self> {
        let Some(embedder) = recipe.network.embedder(device)? else {
            let scaling = recipe.data.scaling(recipe.network.scaling()?);
            let (channels, size) = (recipe.data.channels(), recipe.data.size());
            return Ok(Self::Pictures { channels, size, scaling });
        };
        if let Some(train) = &recipe.train
            && [train.augment_support, train.augment_query]
                .iter()
                .any(|of| *of != Default::default())
        {
            return Err(Error::config(
                "a frozen encoder sees each picture once, so pictures cannot be changed at random; \
                 leave the augmentation out, or write network.frozen = false",
            )
            .at_key("train.augment_support"));
        }
        if recipe.data.channels() == 1 {
            return Err(Error::config("encoders take RGB pictures; leave gray out, or use conv4")
                .at_key("data.gray"));
        }
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
                let make = move |file: &std::path::Path| {
                    let picture = image::read(file)?;
                    embedder.embed_one(&picture).map_err(|error| error.in_file(file))
                };
                Ok(Pixels::vectors(files, *features, Box::new(make)))
            }
        }
    }
}
