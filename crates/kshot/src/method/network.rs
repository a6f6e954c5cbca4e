//! Embedding networks of few-shot recognition: `conv4`, `resnet12`, and every encoder of the library.

use burn::module::Module;
use burn::prelude::*;

use crate::data::classes::pixels::Scaling;
use crate::encoder::conv4::{Conv4, Conv4Config};
use crate::encoder::feature_head::FeatureHead;
use crate::encoder::resnet12::{ResNet12, ResNet12Config};
use crate::encoder::{Encode, Encoder, EncoderConfig, Normalization};
use crate::error::{Error, Result};
use crate::features::embed::{Embedder, InputViews};
use crate::nn::dual::Dual;
use crate::nn::norm::Pass;
use crate::nn::weights::{Cursor, FlatWeights};
use crate::weights::source::WeightsSource;

/// Which network.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkConfig {
    /// Four convolutions.
    Conv4(Conv4Config),
    /// Four residual blocks.
    Resnet12(ResNet12Config),
    /// An encoder of the library.
    Encoder(EncoderNetwork),
}

/// An encoder with its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderNetwork {
    /// Which.
    pub encoder: EncoderConfig,
    /// Its weights; the built-in ones where it has them.
    pub weights: Option<std::path::PathBuf>,
    /// Whether it stays as it is. Then each picture becomes a vector once, as in `kshot classify`, and
    /// only what is behind it learns.
    pub frozen: bool,
    /// Whether the statistics of its batch normalisation stay as they are where it learns.
    pub freeze_norm: bool,
    /// Input size and views of a frozen encoder.
    pub views: InputViews,
    /// Units of a residual bottleneck that learns behind a frozen encoder; 0 for none.
    pub bottleneck: usize,
}

/// A network that turns pictures into vectors.
// A program holds one or two of them, whose tensors dwarf the enum.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum EmbeddingNetwork {
    /// Four convolutions.
    Conv4(Conv4),
    /// Four residual blocks.
    Resnet12(ResNet12),
    /// An encoder of the library that learns too.
    Encoder(Encoder),
    /// What learns behind an encoder that stays as it is; its pictures are vectors.
    Frozen(FeatureHead),
}

impl NetworkConfig {
    /// The network for pictures of `channels` (or, behind a frozen encoder, vectors of as many
    /// numbers), with random weights or, for an encoder, its own.
    ///
    /// # Errors
    /// If an encoder is unknown, its weights are missing or wrong, or pictures are not RGB.
    pub fn init(&self, channels: usize, device: &Device) -> Result<EmbeddingNetwork> {
        Ok(match self {
            Self::Conv4(config) => EmbeddingNetwork::Conv4(Conv4::new(config, channels, device)),
            Self::Resnet12(config) => {
                EmbeddingNetwork::Resnet12(ResNet12::new(config, channels, device))
            }
            Self::Encoder(choice) if choice.frozen => {
                EmbeddingNetwork::Frozen(FeatureHead::new(channels, choice.bottleneck, device))
            }
            Self::Encoder(choice) => {
                if channels != 3 {
                    return Err(Error::config(format!(
                        "encoders take RGB pictures, the data has {channels} channel; use conv4"
                    ))
                    .at_key("model.encoder"));
                }
                choice.encoder.check_rgb()?;
                let source = WeightsSource::of(&choice.encoder, choice.weights.as_deref())?;
                let (encoder, _) = source.load(&choice.encoder, &device.clone().inner())?;
                // Episodes hold too few pictures for statistics of their own, and a `Pass` has no say in
                // an encoder.
                let encoder = if choice.freeze_norm { encoder.freeze_norm() } else { encoder };
                EmbeddingNetwork::Encoder(if device.is_autodiff() {
                    encoder.train()
                } else {
                    encoder
                })
            }
        })
    }

    /// How bytes become the numbers that it takes.
    pub fn scaling(&self) -> Option<Scaling> {
        let Self::Encoder(choice) = self else { return None };
        let Normalization { mean, std } = choice.encoder.normalization();
        Some(Scaling { mean: mean.map(|of| of / 255.0), std: std.map(|of| of / 255.0) })
    }

    /// The frozen encoder that makes vectors of pictures, if this is one.
    ///
    /// # Errors
    /// If its weights are missing or wrong, or its views are out of bounds.
    pub fn embedder(&self, device: &Device) -> Result<Option<Embedder>> {
        match self {
            Self::Encoder(EncoderNetwork { encoder, weights, frozen: true, views, .. }) => {
                let weights = weights.as_deref();
                Ok(Some(Embedder::from_weights(encoder, weights, device, *views)?.0))
            }
            _ => Ok(None),
        }
    }
}

impl EmbeddingNetwork {
    /// The parameters that methods may step by themselves, in the order of their use; none of an
    /// encoder.
    pub fn weights(&self) -> FlatWeights {
        let mut weights = FlatWeights::default();
        match self {
            Self::Conv4(network) => network.list(&mut weights),
            Self::Resnet12(network) => network.list(&mut weights),
            Self::Frozen(head) => head.list(&mut weights),
            Self::Encoder(_) => {}
        }
        weights
    }

    /// `[batch, channels, height, width]` to `[batch, features]`.
    pub fn embed(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<2> {
        match self {
            Self::Conv4(network) => network.embed(images, weights, pass),
            Self::Resnet12(network) => network.maps(images, weights, pass).global_mean(),
            Self::Frozen(head) => head.embed(images, weights, pass),
            Self::Encoder(_) => self.maps(images, weights, pass).global_mean(),
        }
    }

    /// `[batch, channels, height, width]` to the last maps.
    pub fn maps(&self, images: Dual<4>, weights: &mut Cursor, pass: &mut Pass) -> Dual<4> {
        match self {
            Self::Conv4(network) => network.maps(images, weights, pass),
            Self::Resnet12(network) => network.maps(images, weights, pass),
            Self::Encoder(encoder) => Dual::from(last(encoder, images.value)),
            Self::Frozen(head) => head.maps(images, weights, pass),
        }
    }

    /// As [`EmbeddingNetwork::embed`], by its own parameters.
    pub fn vectors(&self, images: Tensor<4>, pass: &mut Pass) -> Tensor<2> {
        let weights = self.weights().duals();
        self.embed(Dual::from(images), &mut Cursor::new(&weights), pass).value
    }

    /// Channels, height and width of the maps for pictures of `size`.
    ///
    /// # Errors
    /// If such pictures are too small.
    pub fn map_shape(&self, size: [usize; 2]) -> Result<[usize; 3]> {
        let found = match self {
            Self::Conv4(network) => {
                network.size(size).map(|[height, width]| [network.channels(), height, width])
            }
            Self::Resnet12(network) => {
                network.size(size).map(|[height, width]| [network.channels(), height, width])
            }
            Self::Encoder(encoder) => Some(encoder_shape(encoder, size)),
            Self::Frozen(head) => Some([head.features(), 1, 1]),
        };
        found.ok_or_else(|| {
            Error::config(format!(
                "pictures of {} x {} pixels are too small for this network; set data.size higher",
                size[1], size[0]
            ))
            .at_key("data.size")
        })
    }

    /// Length of an embedding for pictures of `size`.
    ///
    /// # Errors
    /// If such pictures are too small.
    pub fn features(&self, size: [usize; 2]) -> Result<usize> {
        let [channels, ..] = self.map_shape(size)?;
        Ok(match self {
            Self::Conv4(network) => network.features(size).unwrap_or(channels),
            Self::Resnet12(_) | Self::Encoder(_) | Self::Frozen(_) => channels,
        })
    }
}

fn encoder_shape(encoder: &Encoder, size: [usize; 2]) -> [usize; 3] {
    let stride = encoder.strides().last().copied().unwrap_or(1);
    let channels = encoder.channels().last().copied().unwrap_or(0);
    [channels, size[0].div_ceil(stride), size[1].div_ceil(stride)]
}

fn last(encoder: &Encoder, images: Tensor<4>) -> Tensor<4> {
    match encoder.forward(images).maps.pop() {
        Some(maps) => maps,
        None => panic!("an encoder without maps"),
    }
}
