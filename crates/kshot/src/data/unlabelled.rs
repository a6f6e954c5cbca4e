//! Pictures whose labels are not there, or are not looked at: the second stream of trainings that also learn from
//! these.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::query;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DatasetConfig;
use super::dataset::Dataset;
use super::part::Part;
use crate::error::Result;

/// Where unlabelled pictures come from, as recipes write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnlabelledConfig {
    /// Pictures of the data set itself, such as another list, or those of a list whose names fit a pattern. Their
    /// labels are not read.
    Part(Part),
    /// Every picture in this folder and those below it.
    Folder(#[schemars(length(min = 1))] PathBuf),
}

impl UnlabelledConfig {
    /// The pictures, with the classes of the data set that they stand beside.
    ///
    /// # Errors
    /// If there is none, or the part cannot be opened.
    pub fn open(&self, beside: &DatasetConfig, labelled: &dyn Dataset) -> Result<Unlabelled> {
        let pictures = match self {
            Self::Part(part) => UnlabelledPictures::Of(beside.open_part(part)?),
            Self::Folder(folder) => {
                let items = query::items(folder)?;
                UnlabelledPictures::Files(items.into_iter().map(|item| item.file).collect())
            }
        };
        let (classes, has_background) = (labelled.classes().to_vec(), labelled.has_background());
        Ok(Unlabelled { pictures, classes, has_background })
    }
}

enum UnlabelledPictures {
    Of(Arc<dyn Dataset>),
    Files(Vec<PathBuf>),
}

/// Pictures as a data set in which no pixel is labelled, whatever label files lie beside them.
pub struct Unlabelled {
    pictures: UnlabelledPictures,
    classes: Vec<String>,
    has_background: bool,
}

impl Dataset for Unlabelled {
    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn len(&self) -> usize {
        match &self.pictures {
            UnlabelledPictures::Of(set) => set.len(),
            UnlabelledPictures::Files(files) => files.len(),
        }
    }

    fn file(&self, index: usize) -> &Path {
        match &self.pictures {
            UnlabelledPictures::Of(set) => set.file(index),
            UnlabelledPictures::Files(files) => &files[index],
        }
    }

    fn label_files(&self, _: usize) -> Vec<PathBuf> {
        Vec::new()
    }

    fn image(&self, index: usize) -> Result<RgbImage> {
        match &self.pictures {
            UnlabelledPictures::Of(set) => set.image(index),
            UnlabelledPictures::Files(files) => kshot_data::image::read(&files[index]),
        }
    }

    fn has_background(&self) -> bool {
        self.has_background
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        let (width, height) = kshot_data::image::dimensions(self.file(index))?;
        Ok(Mask::filled(width as usize, height as usize, UNLABELLED))
    }
}
