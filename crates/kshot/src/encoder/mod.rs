//! Encoders: networks that turn pictures into feature maps at several scales.
//!
//! # Contract
//! [`Encode::forward`] takes `[batch, in_channels(), height, width]`, normalised by
//! [`EncoderConfig::normalization`], of any size from 1x1 up, and returns one map per stage, finest
//! first. Map `i` is `[batch, channels()[i], h, w]` with `h` the height divided by `strides()[i]`,
//! rounded up.
//!
//! Batch normalisation is by batch statistics while an encoder trains (on an autodiff device), unless
//! [`Encoder::freeze_norm`] froze it, and by running statistics else.
//!
//! # Adding one
//! One file with a configuration that implements [`Family`] and a module that implements [`Encode`],
//! and one line in the table at the end of this file. The command line, `kshot list` and the
//! registry-wide tests read the table.

use burn::module::{Module, ModuleMapper};
use burn::prelude::*;
pub use config::{Description, EncoderConfig};
pub use normalization::Normalization;

use crate::encoder::keys::Renamed;
use crate::error::Result;
use crate::nn::norm::freeze_norm;

pub mod config;
pub mod conv4;
pub mod ddrnet;
pub mod efficientnet_lite;
pub mod feature_head;
pub mod hrnet;
pub mod inception_v3;
pub mod keys;
mod mobile;
pub mod mobilenet_v1;
pub mod mobilenet_v2;
pub mod mobilenet_v3;
pub mod normalization;
pub mod options;
pub mod plain_unet;
mod residual;
pub mod resnet;
pub mod resnet12;
pub mod stages;
pub mod vgg;
pub mod vit;

/// Feature maps of several scales, finest first: `maps[i]` is `[batch, channels, height, width]`.
#[derive(Debug, Clone)]
pub struct Features {
    /// The maps.
    pub maps: Vec<Tensor<4>>,
}

impl Features {
    /// The maps behind some of a chain's blocks, each called by `forward`: `ends` counts the blocks up to each map, from 1.
    ///
    /// # Shapes
    /// `image` as the first block takes it
    fn behind<B>(
        blocks: &[B],
        ends: &[usize],
        image: Tensor<4>,
        forward: impl Fn(&B, Tensor<4>) -> Tensor<4>,
    ) -> Vec<Tensor<4>> {
        let mut image = image;
        let mut maps = Vec::with_capacity(ends.len());
        for (block, count) in blocks.iter().zip(1..) {
            image = forward(block, image);
            if ends.contains(&count) {
                maps.push(image.clone());
            }
        }
        maps
    }

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
    /// - `images`: `[batch, in_channels(), height, width]`, normalised
    /// - result: the map of stage `i` is `[batch, channels()[i], height / strides()[i], ...]`
    fn forward(&self, images: Tensor<4>) -> Features;

    /// The map whose mean over the picture stands for the picture: what a classifier was trained on.
    /// That is the coarsest one, or the wider layer behind it of networks made with one by
    /// [`EncoderConfig::init_embedding`].
    ///
    /// # Shapes
    /// `[batch, in_channels(), height, width]`, normalised, to `[batch, channels, h, w]`
    fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
        self.forward(images).last()
    }

    /// Channels of the pictures.
    fn in_channels(&self) -> usize;

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
    /// Trainable parameters of the encoder for three input channels (without a classifier's head).
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

    /// Channels of the pictures.
    fn in_channels(&self) -> usize;

    /// The same for pictures of that many channels.
    #[must_use]
    fn with_in_channels(self, in_channels: usize) -> Self;

    /// Channels of each map, finest first.
    fn channels(&self) -> Vec<usize>;

    /// By how much each map is smaller than the picture, finest first.
    fn strides(&self) -> Vec<usize>;

    /// Heads of each block that compare all places of a map with each other; 0 for convolutions.
    fn attention_heads(&self) -> usize {
        0
    }

    /// The strides of the coarsest map that it can have.
    fn output_strides(&self) -> &'static [usize];

    /// The same with a coarsest map of that stride, which is one of [`Self::output_strides`].
    #[must_use]
    fn with_output_stride(self, output_stride: usize) -> Self;

    /// Settings of the family's own, which recipes may write beside output stride and input channels, with
    /// the values that this one has; see [`options`] for how a struct becomes them.
    fn options(&self) -> toml::Table {
        toml::Table::new()
    }

    /// The schemas of these settings by their names: meaning, bounds.
    fn option_schemas() -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }

    /// The same with some settings changed, all of which are among [`Self::options`].
    ///
    /// # Errors
    /// If a value is none of the valid ones, which are named.
    fn with_options(self, _: toml::Table) -> Result<Self> {
        Ok(self)
    }

    /// What its published weights expect of pixels.
    fn normalization(&self) -> Normalization;

    /// The same function, faster, for inference only: batch normalisation becomes part of the
    /// kernels.
    fn optimize(network: Self::Network) -> Self::Network;

    /// Our name of a tensor that torchvision, timm or the original authors call `foreign`.
    fn rename(&self, foreign: &str) -> Renamed;

    /// The same as weights with tensors of these names, published or ours with a path before them, want it: some
    /// published networks of one name differ in a layer.
    #[must_use]
    fn matching<'a>(self, _foreign: impl Iterator<Item = &'a str>) -> Self {
        self
    }

    /// Our name of the kernels that see the picture, `[channels, in_channels, kernel, kernel]`.
    const FIRST_KERNELS: &'static str;
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

        /// The configuration of any family.
        #[derive(Debug, Clone, Copy, PartialEq)]
        enum Architecture {
            $($variant($config),)+
        }

        impl Encode for Encoder {
            fn forward(&self, images: Tensor<4>) -> Features {
                let [_, channels, ..] = images.dims();
                let expected = self.in_channels();
                assert_eq!(channels, expected, "channels of the images, and of the encoder's");
                match self { $(Self::$variant(network) => network.forward(images),)+ }
            }

            fn embedding(&self, images: Tensor<4>) -> Tensor<4> {
                match self { $(Self::$variant(network) => network.embedding(images),)+ }
            }

            fn in_channels(&self) -> usize {
                match self { $(Self::$variant(network) => network.in_channels(),)+ }
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

            /// The same with running statistics in every batch normalisation while it trains too,
            /// which then stay as they are; gamma and beta still learn. For batches of a few
            /// pictures, too few for statistics of their own.
            #[must_use]
            pub fn freeze_norm(self) -> Self {
                freeze_norm(self)
            }

            /// Maps every tensor by paths that do not name the family.
            pub(crate) fn map_network<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self { $(Self::$variant(network) => Self::$variant(network.map(mapper)),)+ }
            }
        }

        impl Architecture {
            fn presets() -> Vec<EncoderConfig> {
                let mut all = Vec::new();
                $(all.extend(<$config>::PRESETS.iter().map(|row| {
                    EncoderConfig::new(row.name, Self::$variant(row.config))
                }));)+
                all
            }

            fn init(&self, device: &Device) -> Encoder {
                match self { $(Self::$variant(config) => Encoder::$variant(config.init(device)),)+ }
            }

            fn init_embedding(&self, device: &Device) -> Encoder {
                match self {
                    $(Self::$variant(config) => Encoder::$variant(config.init_embedding(device)),)+
                }
            }

            fn in_channels(&self) -> usize {
                match self { $(Self::$variant(config) => config.in_channels(),)+ }
            }

            fn with_in_channels(self, channels: usize) -> Self {
                match self {
                    $(Self::$variant(config) => Self::$variant(config.with_in_channels(channels)),)+
                }
            }

            fn attention_heads(&self) -> usize {
                match self { $(Self::$variant(config) => config.attention_heads(),)+ }
            }

            fn output_strides(&self) -> &'static [usize] {
                match self { $(Self::$variant(config) => config.output_strides(),)+ }
            }

            fn with_output_stride(self, stride: usize) -> Self {
                match self {
                    $(Self::$variant(config) => Self::$variant(config.with_output_stride(stride)),)+
                }
            }

            fn options(&self) -> toml::Table {
                match self { $(Self::$variant(config) => config.options(),)+ }
            }

            fn option_schemas(&self) -> serde_json::Map<String, serde_json::Value> {
                match self { $(Self::$variant(_) => <$config>::option_schemas(),)+ }
            }

            fn with_options(self, options: toml::Table) -> Result<Self> {
                Ok(match self {
                    $(Self::$variant(config) => Self::$variant(config.with_options(options)?),)+
                })
            }

            fn normalization(&self) -> Normalization {
                match self { $(Self::$variant(config) => config.normalization(),)+ }
            }

            fn rename(&self, foreign: &str) -> Renamed {
                match self { $(Self::$variant(config) => config.rename(foreign),)+ }
            }

            fn matching<'a>(self, foreign: impl Iterator<Item = &'a str>) -> Self {
                match self {
                    $(Self::$variant(config) => Self::$variant(config.matching(foreign)),)+
                }
            }

            fn first_kernels(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$config>::FIRST_KERNELS,)+ }
            }

            fn channels(&self) -> Vec<usize> {
                match self { $(Self::$variant(config) => config.channels(),)+ }
            }

            fn strides(&self) -> Vec<usize> {
                match self { $(Self::$variant(config) => config.strides(),)+ }
            }

            fn describe(&self, name: &'static str) -> Description {
                match self {
                    $(Self::$variant(config) => {
                        let row = <$config>::PRESETS.iter().find(|row| row.name == name);
                        let about = <$config>::ABOUT;
                        Description {
                            name,
                            family: about.title,
                            note: row.map_or("", |row| row.note),
                            parameters: row.map_or(0, |row| row.parameters),
                            channels: config.channels(),
                            strides: config.strides(),
                            output_strides: config.output_strides().to_vec(),
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

// The table: one line per family.
impl Encoder {
    /// Whether what a map says of a place follows from the pixels around that place alone: no layer sees the whole
    /// picture (attention, squeeze and excitation, instance normalisation), so that a larger picture changes nothing
    /// away from its border.
    pub fn is_local(&self) -> bool {
        !matches!(
            self,
            Self::MobileNetV3(_)
                | Self::PlainUNet(_)
                | Self::Vit(_)
                | Self::DinoV2(_)
                | Self::DinoV3(_)
        )
    }
}

encoders! {
    EfficientNetLite(efficientnet_lite::EfficientNetLite, efficientnet_lite::EfficientNetLiteConfig);
    MobileNetV1(mobilenet_v1::MobileNetV1, mobilenet_v1::MobileNetV1Config);
    MobileNetV2(mobilenet_v2::MobileNetV2, mobilenet_v2::MobileNetV2Config);
    MobileNetV3(mobilenet_v3::MobileNetV3, mobilenet_v3::MobileNetV3Config);
    InceptionV3(inception_v3::InceptionV3, inception_v3::InceptionV3Config);
    ResNet(resnet::ResNet, resnet::ResNetConfig);
    Vgg(vgg::Vgg, vgg::VggConfig);
    PlainUNet(plain_unet::PlainUNetEncoder, plain_unet::PlainUNetConfig);
    HrNet(hrnet::HrNet, hrnet::HrNetConfig);
    DdrNet(ddrnet::DdrNet, ddrnet::DdrNetConfig);
    Vit(vit::VisionTransformer, vit::plain::Vit);
    DinoV2(vit::VisionTransformer, vit::dinov2::DinoV2);
    DinoV3(vit::VisionTransformer, vit::dinov3::DinoV3);
}
