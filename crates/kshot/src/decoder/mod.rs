//! Decoders: networks that turn an encoder's feature maps into logits for each pixel.
//!
//! # Contract
//! [`DecodeConfig::init`] makes a decoder for maps of given channels and strides, finest first, as
//! [`Encode`](crate::encoder::Encode) tells them. [`Decode::forward`] takes these maps and the
//! pictures' size, whatever it is, and returns logits `[batch, classes, height, width]`.
//! [`Decode::train_forward`] also gives those of heads that only training sees.
//! A [`Segmenter`] is an encoder with a decoder; what does not fit an encoder's maps is refused by
//! [`DecodeConfig::init`] with the reason.
//!
//! # Adding one
//! One file with a configuration that implements [`DecodeConfig`] and a module that implements
//! [`Decode`], and one line in the table at the end of this file. Lists and the registry-wide tests
//! read the table.

use burn::module::{Module, ModuleMapper};
use burn::prelude::*;
pub use dappm::Dappm;
pub use ddrnet::{DdrNetHead, DdrNetHeadConfig};
pub use deeplab_v1::{DeepLabV1, DeepLabV1Config};
pub use deeplab_v2::{DeepLabV2, DeepLabV2Config};
pub use deeplab_v3::{DeepLabV3, DeepLabV3Config};
pub use deeplab_v3_plus::{DeepLabV3Plus, DeepLabV3PlusConfig};
pub use fcn::{Fcn, FcnConfig};
pub use fcn_head::{FcnHead, FcnHeadConfig, FcnHeadDecoder};
pub use hrnet::{HrNetHead, HrNetHeadConfig};
pub use layout::Layout;
pub use linear::{LinearConfig, LinearDecoder};
pub use mask_transformer::{MaskTransformer, MaskTransformerConfig};
pub use plain_unet::{PlainUNet, PlainUNetDecoderConfig};
pub use pspnet::{PspNet, PspNetConfig};
use schemars::{JsonSchema, Schema, SchemaGenerator};
pub use segmenter::Segmenter;
pub use segnet::{SegNet, SegNetConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use unet::{UNet, UNetConfig};
pub use unet_nearest::{UNetNearest, UNetNearestConfig};

use crate::encoder::Features;
use crate::encoder::keys::Renamed;
use crate::error::{Error, Result};
use crate::names::Row;
use crate::schema::named_tables;

mod aspp;
pub mod classes;
pub mod dappm;
pub mod ddrnet;
pub mod deeplab_v1;
pub mod deeplab_v2;
pub mod deeplab_v3;
pub mod deeplab_v3_plus;
pub mod fcn;
pub mod fcn_head;
pub mod hrnet;
mod keys;
pub mod layout;
pub mod linear;
mod maps;
pub mod mask_transformer;
pub mod plain_unet;
pub mod pspnet;
pub mod segmenter;
pub mod segnet;
pub mod unet;
pub mod unet_nearest;

/// A network from an encoder's maps to pixels.
pub trait Decode {
    /// The logits of the pictures' pixels.
    ///
    /// # Shapes
    /// - `features`: of pictures `[batch, channels, size[0], size[1]]`
    /// - result: `[batch, classes, size[0], size[1]]`
    ///
    /// # Panics
    /// If the features are of another encoder than the decoder was made for.
    fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4>;

    /// The same, with the logits of auxiliary heads where the decoder has some.
    ///
    /// # Shapes
    /// As [`Self::forward`]; auxiliary logits are `[batch, classes, h, w]` of any size.
    fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
        TrainLogits { logits: self.forward(features, size), auxiliary: Vec::new() }
    }

    /// What the loss of the pictures' logits counts while it trains: 1, unless the weights of all heads add up to 1.
    fn main_weight(&self) -> f64 {
        1.0
    }
}

/// What a decoder gives while it trains.
#[derive(Debug, Clone)]
pub struct TrainLogits {
    /// The pictures' logits, `[batch, classes, height, width]`.
    pub logits: Tensor<4>,
    /// Those of heads that only training sees: auxiliary heads, deep supervision.
    pub auxiliary: Vec<AuxiliaryLogits>,
}

/// The logits of a head that only training sees.
#[derive(Debug, Clone)]
pub struct AuxiliaryLogits {
    /// `[batch, classes, h, w]`; they are held against labels of that size.
    pub logits: Tensor<4>,
    /// What their loss counts beside the main one's [`Decode::main_weight`].
    pub weight: f64,
}

/// How a decoder is configured, as recipes write it; its defaults are those of a recipe that says
/// nothing but the name.
pub trait DecodeConfig: Default + Clone + PartialEq + Serialize + DeserializeOwned {
    /// What it makes.
    type Network: Module + Decode;
    /// Its name on the command line and in recipes.
    const NAME: &'static str;
    /// One line for lists.
    const SUMMARY: &'static str;
    /// The address of the paper.
    const SOURCE: &'static str;

    /// The decoder with random weights for maps of these channels and strides, finest first.
    ///
    /// # Errors
    /// If it cannot be made for such maps, or its settings or the classes are out of bounds.
    fn init(
        &self,
        channels: &[usize],
        strides: &[usize],
        classes: usize,
        device: &Device,
    ) -> Result<Self::Network>;

    /// The same function, faster, for inference only.
    fn optimize(network: Self::Network) -> Self::Network;

    /// Our name of a decoder's tensor that a file of a whole segmenter calls `foreign`: torchvision's
    /// `classifier.*` and `aux_classifier.*`, segmentation_models_pytorch's `decoder.*` and
    /// `segmentation_head.*`. Unknown by default: nobody's files fit.
    fn rename(&self, _foreign: &str) -> Renamed {
        Renamed::Unknown
    }
}

/// Makes the enums of all decoders from the table at the end of this file.
macro_rules! decoders {
    ($($variant:ident($network:path, $config:path);)+) => {
        /// Any of the decoders, with its weights.
        // A program holds one or two of them, whose tensors dwarf the enum.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum Decoder {
            $(#[doc = concat!("[`", stringify!($network), "`]")] $variant($network),)+
        }

        /// Which decoder: in recipes its name, or a table such as `{ name = "unet", width = 32 }`.
        #[derive(Debug, Clone, PartialEq)]
        pub enum DecoderConfig {
            $(#[doc = concat!("[`", stringify!($config), "`]")] $variant($config),)+
        }

        impl Decode for Decoder {
            fn forward(&self, features: &Features, size: [usize; 2]) -> Tensor<4> {
                match self { $(Self::$variant(network) => network.forward(features, size),)+ }
            }

            fn train_forward(&self, features: &Features, size: [usize; 2]) -> TrainLogits {
                match self { $(Self::$variant(network) => network.train_forward(features, size),)+ }
            }

            fn main_weight(&self) -> f64 {
                match self { $(Self::$variant(network) => network.main_weight(),)+ }
            }
        }

        impl Decoder {
            /// The same function, faster, for inference only. Doing it twice changes nothing.
            #[must_use]
            pub fn optimize(self) -> Self {
                match self {
                    $(Self::$variant(network) =>
                        Self::$variant(<$config as DecodeConfig>::optimize(network)),)+
                }
            }

            /// Maps every tensor by paths that do not name the decoder.
            pub(crate) fn map_network<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self { $(Self::$variant(network) => Self::$variant(network.map(mapper)),)+ }
            }
        }

        impl DecoderConfig {
            /// Each with its default settings, in the order of the table.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant(<$config>::default()),)+]
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$config as DecodeConfig>::NAME,)+ }
            }

            /// All of them as rows.
            pub fn rows() -> Vec<Row> {
                vec![$(Row {
                    name: <$config as DecodeConfig>::NAME.to_owned(),
                    summary: <$config as DecodeConfig>::SUMMARY.to_owned(),
                    source: Some(<$config as DecodeConfig>::SOURCE.to_owned()),
                },)+]
            }

            /// The decoder with random weights (from the device's seed) for maps of these channels
            /// and strides, finest first.
            ///
            /// # Errors
            /// If it cannot be made for such maps, or its settings or the classes are out of bounds.
            pub fn init(
                &self,
                channels: &[usize],
                strides: &[usize],
                classes: usize,
                device: &Device,
            ) -> Result<Decoder> {
                Ok(match self {
                    $(Self::$variant(config) =>
                        Decoder::$variant(config.init(channels, strides, classes, device)?),)+
                })
            }

            /// Our name of a tensor of a published segmenter's decoder (see [`DecodeConfig::rename`]).
            pub fn rename(&self, foreign: &str) -> Renamed {
                match self { $(Self::$variant(config) => config.rename(foreign),)+ }
            }

            /// The schema of each one's settings by its name.
            fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$((
                    <$config as DecodeConfig>::NAME,
                    generator.subschema_for::<$config>(),
                ),)+]
            }

            /// Its settings, without the name.
            fn settings(&self) -> std::result::Result<toml::Table, toml::ser::Error> {
                match self { $(Self::$variant(config) => toml::Table::try_from(config),)+ }
            }

            /// With the settings of a table.
            fn with_settings(self, settings: toml::Table) -> Result<Self> {
                let name = self.name();
                let wrong = |error: toml::de::Error| {
                    Error::config(format!("decoder {name}: {}", error.message().trim()))
                };
                Ok(match self {
                    $(Self::$variant(_) => Self::$variant(settings.try_into().map_err(wrong)?),)+
                })
            }
        }
    };
}

/// The first of the table.
impl Default for DecoderConfig {
    fn default() -> Self {
        Self::UNet(UNetConfig::default())
    }
}

impl std::str::FromStr for DecoderConfig {
    type Err = Error;

    /// The decoder of that name with its default settings.
    fn from_str(name: &str) -> Result<Self> {
        let all = Self::all();
        let names: Vec<&str> = all.iter().map(Self::name).collect();
        let found = all.iter().find(|config| config.name() == name).cloned();
        found.ok_or_else(|| Error::config(crate::names::unknown("decoder", name, &names)))
    }
}

impl Serialize for DecoderConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if Self::all().contains(self) {
            return serializer.serialize_str(self.name());
        }
        let mut table = toml::Table::new();
        table.insert("name".to_owned(), self.name().into());
        table.extend(self.settings().map_err(serde::ser::Error::custom)?);
        table.serialize(serializer)
    }
}

impl JsonSchema for DecoderConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DecoderConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        named_tables(Self::schemas(generator))
    }
}

impl<'de> Deserialize<'de> for DecoderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a decoder's name, or a table such as { name = \"unet\", width = 32 }"
        )]
        enum WrittenDecoder {
            Name(String),
            Table(toml::Table),
        }
        let read = |written| match written {
            WrittenDecoder::Name(name) => name.parse(),
            WrittenDecoder::Table(mut table) => match table.remove("name") {
                Some(toml::Value::String(name)) => {
                    name.parse::<Self>().and_then(|config| config.with_settings(table))
                }
                _ => Err(Error::config("a decoder's table says which: name = \"unet\"")),
            },
        };
        read(WrittenDecoder::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether classes can be told from each other.
fn check_classes(classes: usize) -> Result<()> {
    if classes == 0 {
        return Err(Error::config("a decoder for 0 classes; it needs at least 1"));
    }
    Ok(())
}

// The table: one line per decoder.
decoders! {
    UNet(unet::UNet, unet::UNetConfig);
    Linear(linear::LinearDecoder, linear::LinearConfig);
    Fcn(fcn::Fcn, fcn::FcnConfig);
    FcnHead(fcn_head::FcnHeadDecoder, fcn_head::FcnHeadConfig);
    SegNet(segnet::SegNet, segnet::SegNetConfig);
    PspNet(pspnet::PspNet, pspnet::PspNetConfig);
    DeepLabV1(deeplab_v1::DeepLabV1, deeplab_v1::DeepLabV1Config);
    DeepLabV2(deeplab_v2::DeepLabV2, deeplab_v2::DeepLabV2Config);
    DeepLabV3(deeplab_v3::DeepLabV3, deeplab_v3::DeepLabV3Config);
    DeepLabV3Plus(deeplab_v3_plus::DeepLabV3Plus, deeplab_v3_plus::DeepLabV3PlusConfig);
    UNetNearest(unet_nearest::UNetNearest, unet_nearest::UNetNearestConfig);
    PlainUNet(plain_unet::PlainUNet, plain_unet::PlainUNetDecoderConfig);
    HrNet(hrnet::HrNetHead, hrnet::HrNetHeadConfig);
    DdrNet(ddrnet::DdrNetHead, ddrnet::DdrNetHeadConfig);
    MaskTransformer(mask_transformer::MaskTransformer, mask_transformer::MaskTransformerConfig);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<DecoderConfig, String> {
        #[derive(Deserialize)]
        struct TestRecipe {
            decoder: DecoderConfig,
        }
        let recipe = toml::from_str::<TestRecipe>(text).map_err(|error| error.to_string())?;
        Ok(recipe.decoder)
    }

    #[test]
    fn names_and_tables_are_read_and_mistakes_answered() {
        let unet = DecoderConfig::UNet(UNetConfig { width: 8, ..UNetConfig::default() });
        assert_eq!(read("decoder = \"linear\"").unwrap().name(), "linear");
        assert_eq!(read("decoder = { name = \"unet\", width = 8 }").unwrap(), unet);
        for (text, expected) in [
            ("decoder = \"u-net\"", "did you mean `unet`?"),
            ("decoder = { name = \"unet\", depth = 8 }", "unknown field `depth`"),
            ("decoder = { width = 8 }", "name = \"unet\""),
            ("decoder = 3", "a decoder's name, or a table"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
