//! Data sets and what is drawn from them: batches and episodes as tensors, from (seed, index) alone.
//!
//! ```text
//! DatasetConfig (a recipe's [data]) -> Dataset  pictures with masks     -> Batches, Squares (episodes: train::episodes)
//!                                   -> Splits   pictures sorted by class -> Tasks
//! UnlabelledConfig (data.unlabelled) -> Dataset  pictures without masks  -> the second half of a SemiBatch
//! ```
//!
//! # Adding one
//! One file with a configuration that implements [`DatasetLayout`] (masks) or [`ClassLayout`] (classes), and one line
//! in the table at the end of this file.

pub mod ade20k;
pub mod balance;
pub mod batch;
pub mod batches;
pub mod cache;
pub mod camvid;
pub mod cityscapes;
pub mod classes;
pub mod coco;
pub mod coco_stuff;
pub mod dataset;
#[cfg(feature = "hub")]
pub mod download;
pub mod episode;
pub mod folder;
mod layout;
pub mod order;
pub mod oxford_pets;
pub mod part;
pub mod picture_weights;

pub mod sbd;
pub mod source;
pub mod squares;
pub mod transforms;
pub mod unlabelled;
pub mod voc;

use std::path::Path;
use std::sync::Arc;

use classes::layout::{ClassLayout, ClassRow};
pub use dataset::{Dataset, DatasetLayout};
use part::Part;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names::Row;

/// Makes the enum of all data sets from the table at the end of this file.
macro_rules! datasets {
    (masks { $($mask:ident($mask_config:path);)+ } classes { $($class:ident($class_config:path);)+ }) => {
        /// Which data set and where, as recipes write it.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "dataset", rename_all = "kebab-case")]
        pub enum DatasetConfig {
            $(#[doc = concat!("[`", stringify!($mask_config), "`]")] $mask($mask_config),)+
            $(#[doc = concat!("[`", stringify!($class_config), "`]")] $class($class_config),)+
        }

        impl DatasetConfig {
            const MASKS: &'static [&'static str] = &[$(<$mask_config as DatasetLayout>::NAME,)+];
            const CLASSES: &'static [&'static str] = &[$(<$class_config as ClassRow>::NAME,)+];

            /// The data sets as rows.
            pub fn rows() -> Vec<Row> {
                vec![$(<$mask_config as DatasetLayout>::row(),)+ $(<$class_config as ClassRow>::row(),)+]
            }

            /// The name in recipes.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$mask(_) => <$mask_config as DatasetLayout>::NAME,)+
                    $(Self::$class(_) => <$class_config as ClassRow>::NAME,)+
                }
            }

            /// Its folder.
            pub fn root(&self) -> &Path {
                match self {
                    $(Self::$mask(config) => config.root(),)+
                    $(Self::$class(config) => config.root(),)+
                }
            }

            /// Whether 0 is a class of its own, background.
            pub fn has_background(&self) -> bool {
                match self {
                    $(Self::$mask(config) => config.has_background(),)+
                    $(Self::$class(_) => false,)+
                }
            }

            /// A part of a data set with masks.
            ///
            /// # Errors
            /// If a file is missing, the part is empty, or the data set labels whole pictures.
            pub fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
                match self {
                    $(Self::$mask(config) => config.open(part),)+
                    $(Self::$class(_) => Err(unsuited(self, "whole pictures", "masks", Self::MASKS)),)+
                }
            }

            /// A list of a data set with masks, or those of its pictures whose names fit.
            ///
            /// # Errors
            /// As [`Self::open`], or if no picture fits.
            pub fn open_part(&self, part: &Part) -> Result<Arc<dyn Dataset>> {
                part.of(self.open(part.list())?).map_err(|error| error.in_file(self.root()))
            }

            /// The layout of a data set that labels whole pictures.
            ///
            /// # Errors
            /// If the data set has masks.
            pub fn classes(&self) -> Result<&dyn ClassLayout> {
                match self {
                    $(Self::$class(config) => Ok(config),)+
                    $(Self::$mask(_) => {
                        Err(unsuited(self, "pixels", "classes of whole pictures", Self::CLASSES))
                    })+
                }
            }
        }
    };
}

fn unsuited(config: &DatasetConfig, has: &str, wanted: &str, valid: &[&str]) -> Error {
    Error::config(format!(
        "`{}` labels {has}, and the protocol needs {wanted}; those have {}",
        config.name(),
        valid.join(", ")
    ))
    .at_key("data.dataset")
}

// The table: one line per data set.
datasets! {
    masks {
        Voc(voc::VocConfig);
        Sbd(sbd::SbdConfig);
        Cityscapes(cityscapes::CityscapesConfig);
        Camvid(camvid::CamvidConfig);
        Ade20k(ade20k::Ade20kConfig);
        Coco(coco::CocoConfig);
        CocoStuff(coco_stuff::CocoStuffConfig);
        OxfordPets(oxford_pets::OxfordPetsConfig);
        Folder(folder::FolderConfig);
    }
    classes {
        Omniglot(classes::omniglot::OmniglotConfig);
        MiniImagenet(classes::folders::MiniImagenetConfig);
        ClassFolders(classes::folders::ClassFoldersConfig);
    }
}
