//! Encoders: networks that turn pictures into feature maps at several scales.
//!
//! # Contract
//! [`Encode::forward`] takes `[batch, 3, height, width]`, normalised by [`EncoderConfig::normalization`],
//! of any size from 1x1 up, and returns one map per stage, finest first. Map `i` is
//! `[batch, channels()[i], h, w]` with `h` the height divided by `strides()[i]`, rounded up.
//!
//! # Adding one
//! One file with a configuration that implements [`Family`] and a module that implements [`Encode`],
//! and one line in the table at the end of this file. The command line, `kshot list` and the
//! registry-wide tests read the table.

use burn::module::{Module, ModuleMapper};
use burn::prelude::*;
pub use normalization::Normalization;

use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};

pub mod conv4;
pub mod efficientnet_lite;
pub mod feature_head;
pub mod keys;
pub mod normalization;
pub mod resnet;
pub mod resnet12;
pub mod vgg;

/// Feature maps of several scales, finest first: `maps[i]` is `[batch, channels, height, width]`.
#[derive(Debug, Clone)]
pub struct Features {
    /// The maps.
    pub maps: Vec<Tensor<4>>,
}

impl Features {
    /// The coarsest map.
    ///
    /// # Panics
    /// If there is no map, which no encoder's features lack.
    pub fn last(mut self) -> Tensor<4> {
        match self.maps.pop() {
            Some(map) => map,
            None => panic!("every encoder has a stage"),
        }
    }
}

/// A network that turns pictures into [`Features`].
pub trait Encode {
    /// The features of the pictures.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, normalised
    /// - result: the map of stage `i` is `[batch, channels()[i], height / strides()[i], ...]`
    fn forward(&self, images: Tensor<4>) -> Features;

    /// The map whose mean over the picture stands for the picture: what a classifier was trained on.
    /// That is the coarsest one, or the wider layer behind it of networks made with one by
    /// [`EncoderConfig::init_embedding`].
    ///
    /// # Shapes
    /// `[batch, 3, height, width]`, normalised, to `[batch, channels, h, w]`
    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        self.forward(images).last()
    }

    /// Channels of each map.
    fn channels(&self) -> Vec<usize>;

    /// By how much each map is smaller than the picture.
    fn strides(&self) -> Vec<usize>;
}

/// Where a family of networks comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The family's name for people.
    pub title: &'static str,
    /// The paper's title.
    pub paper: &'static str,
    /// When it appeared.
    pub year: u16,
    /// Its address.
    pub url: &'static str,
}

/// A named network of a family.
#[derive(Debug, Clone, Copy)]
pub struct Preset<C: 'static> {
    /// The name in commands and recipes.
    pub name: &'static str,
    /// The configuration.
    pub config: C,
    /// One line on what it is for.
    pub note: &'static str,
    /// Trainable numbers of the encoder (without a classifier's head).
    pub parameters: usize,
}

/// What a family of encoders provides to the table.
pub trait Family: Copy + PartialEq + 'static {
    /// The network.
    type Network: Module + Encode;
    /// Where it comes from.
    const ABOUT: About;
    /// Its named networks; one name ends in `-tiny`, for tests.
    const PRESETS: &'static [Preset<Self>];

    /// The network with random weights.
    fn init(&self, device: &Device) -> Self::Network;

    /// The network with random weights and with the layer between its last stage and the classifier,
    /// where the family has one.
    fn init_embedding(&self, device: &Device) -> Self::Network {
        self.init(device)
    }

    /// What its published weights expect of pixels.
    fn normalization(&self) -> Normalization;

    /// The same function, faster, for inference only: batch normalisation becomes part of the
    /// kernels.
    fn optimize(network: Self::Network) -> Self::Network;

    /// Our name of a tensor that torchvision, timm or the original authors call `foreign`.
    fn rename(&self, foreign: &str) -> Renamed;
}

/// A row of the encoder table, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// The name in commands and recipes.
    pub name: &'static str,
    /// The family's name for people.
    pub family: &'static str,
    /// One line on what it is for.
    pub note: &'static str,
    /// Trainable numbers.
    pub parameters: usize,
    /// Channels of each map, finest first.
    pub channels: Vec<usize>,
    /// Strides of each map, finest first.
    pub strides: Vec<usize>,
    /// The paper's title.
    pub paper: &'static str,
    /// When it appeared.
    pub year: u16,
    /// Its address.
    pub url: &'static str,
}

/// Makes the enums of all encoders from the table at the end of this file.
macro_rules! encoders {
    ($($variant:ident($network:path, $config:path);)+) => {
        /// Any of the built-in networks, with its weights.
        // A program holds one or two of them, whose tensors dwarf the enum.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum Encoder {
            $(#[doc = concat!("[`", stringify!($network), "`]")] $variant($network),)+
        }

        /// Which of the built-in networks; in recipes it is the preset's name.
        #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum EncoderConfig {
            $(#[doc = concat!("[`", stringify!($config), "`]")] $variant($config),)+
        }

        impl Encode for Encoder {
            fn forward(&self, images: Tensor<4>) -> Features {
                match self { $(Self::$variant(network) => network.forward(images),)+ }
            }

            fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
                match self { $(Self::$variant(network) => network.embedding(images),)+ }
            }

            fn channels(&self) -> Vec<usize> {
                match self { $(Self::$variant(network) => network.channels(),)+ }
            }

            fn strides(&self) -> Vec<usize> {
                match self { $(Self::$variant(network) => network.strides(),)+ }
            }
        }

        impl Encoder {
            /// The same function, faster, for inference only: batch normalisation becomes part of
            /// the kernels. Doing it twice changes nothing.
            #[must_use]
            pub fn optimize(self) -> Self {
                match self {
                    $(Self::$variant(network) =>
                        Self::$variant(<$config as Family>::optimize(network)),)+
                }
            }

            /// Maps every tensor by paths that do not name the family.
            pub(crate) fn map_network<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self { $(Self::$variant(network) => Self::$variant(network.map(mapper)),)+ }
            }
        }

        impl EncoderConfig {
            /// Every preset, in the order of the table.
            pub fn all() -> Vec<Self> {
                let mut all = Vec::new();
                $(all.extend(<$config>::PRESETS.iter().map(|row| Self::$variant(row.config)));)+
                all
            }

            /// The name in commands and recipes.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(config) => preset(config).name,)+ }
            }

            /// The network with random weights (from the device's seed).
            pub fn init(&self, device: &Device) -> Encoder {
                match self { $(Self::$variant(config) => Encoder::$variant(config.init(device)),)+ }
            }

            /// As [`Self::init`], with the layer between the last stage and the classifier where the
            /// family has one: for [`Encode::embedding`].
            pub fn init_embedding(&self, device: &Device) -> Encoder {
                match self {
                    $(Self::$variant(config) => Encoder::$variant(config.init_embedding(device)),)+
                }
            }

            /// What the published weights expect of pixels.
            pub fn normalization(&self) -> Normalization {
                match self { $(Self::$variant(config) => config.normalization(),)+ }
            }

            /// Our name of a tensor that torchvision, timm or the original authors call `foreign`.
            pub fn rename(&self, foreign: &str) -> Renamed {
                match self { $(Self::$variant(config) => config.rename(foreign),)+ }
            }

            /// Channels of each map, finest first.
            pub fn channels(&self) -> Vec<usize> {
                match self { $(Self::$variant(config) => config.channels(),)+ }
            }

            /// By how much each map is smaller than the picture, finest first.
            pub fn strides(&self) -> Vec<usize> {
                match self { $(Self::$variant(config) => config.strides(),)+ }
            }

            /// The row of the table, for people.
            pub fn describe(&self) -> Description {
                match self {
                    $(Self::$variant(config) => {
                        let (row, about) = (preset(config), <$config>::ABOUT);
                        Description {
                            name: row.name,
                            family: about.title,
                            note: row.note,
                            parameters: row.parameters,
                            channels: config.channels(),
                            strides: config.strides(),
                            paper: about.paper,
                            year: about.year,
                            url: about.url,
                        }
                    })+
                }
            }
        }
    };
}

/// The preset of a configuration: every configuration comes from one.
fn preset<C: Family>(config: &C) -> &'static Preset<C> {
    match C::PRESETS.iter().find(|row| row.config == *config) {
        Some(row) => row,
        None => unreachable!("configurations have private fields and come from presets"),
    }
}

impl std::str::FromStr for EncoderConfig {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = Self::all();
        if let Some(config) = all.iter().find(|config| config.name() == name) {
            return Ok(*config);
        }
        let names: Vec<&str> = all.iter().map(Self::name).collect();
        Err(Error::config(crate::names::unknown("encoder", name, &names)))
    }
}

impl TryFrom<String> for EncoderConfig {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<EncoderConfig> for String {
    fn from(config: EncoderConfig) -> Self {
        config.name().to_owned()
    }
}

impl std::fmt::Display for EncoderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

// The table: one line per family.
encoders! {
    EfficientNetLite(efficientnet_lite::EfficientNetLite, efficientnet_lite::EfficientNetLiteConfig);
    ResNet(resnet::ResNet, resnet::ResNetConfig);
    Vgg(vgg::Vgg, vgg::VggConfig);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = "eficientnet-lite0".parse::<EncoderConfig>().unwrap_err().to_string();
        assert!(error.contains("did you mean `efficientnet-lite0`?"), "{error}");
    }
}
