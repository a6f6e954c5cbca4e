//! Puts a file into a whole segmenter: its encoder always, its decoder where the file holds a fitting one.

use std::fmt;

use burn::prelude::Device;

use crate::decoder::{Decoder, DecoderConfig, Segmenter};
use crate::encoder::{Encode, EncoderConfig};
use crate::error::Result;
use crate::weights::apply::{Filler, into_encoder};
use crate::weights::prefix::Prefix;
use crate::weights::state::StateDict;

/// Where a segmenter's decoder has its weights from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoderWeights {
    /// Out of the file.
    File {
        /// Whether the file's encoder was dilated otherwise (see [`into_segmenter`]).
        dilated_otherwise: bool,
    },
    /// Random, for this reason.
    Random(String),
}

impl fmt::Display for DecoderWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { dilated_otherwise: false } => {
                write!(f, "the decoder's weights are the file's")
            }
            Self::File { dilated_otherwise: true } => write!(
                f,
                "the decoder's weights are the file's; segmentation_models_pytorch dilates the first block of a stage \
                 otherwise than this encoder, so results differ until it is trained some more"
            ),
            Self::Random(reason) => write!(f, "the decoder starts from random weights: {reason}"),
        }
    }
}

/// An encoder and a decoder with the tensors of a file: of an encoder alone, or of a whole segmenter as torchvision
/// and segmentation_models_pytorch save it, or as [`write_safetensors`](crate::export::write_safetensors) does. A decoder
/// that the file does not hold, or holds for other classes or another decoder, starts from random weights (of the device's
/// seed), and the answer says why.
///
/// An encoder of segmentation_models_pytorch that is dilated has other dilations in the first block of a stage than
/// ours, which the answer tells too.
///
/// # Errors
/// As [`into_encoder`], and if encoder and decoder do not go together.
pub fn into_segmenter(
    config: &EncoderConfig,
    decoder: &DecoderConfig,
    classes: usize,
    state: &StateDict,
    device: &Device,
) -> Result<(Segmenter, DecoderWeights)> {
    let encoder = into_encoder(config, state, device)?;
    let new = || decoder.init(&encoder.channels(), &encoder.strides(), classes, device);
    let prefix = Prefix::of(config, state);
    let (decoder, weights) = match filled(new()?, decoder, classes, &prefix, state) {
        Ok(decoder) => {
            let least = config.describe().output_strides.into_iter().max();
            let dilated = least.is_some_and(|least| config.output_stride() < least);
            (decoder, DecoderWeights::File { dilated_otherwise: dilated && prefix.is_smp() })
        }
        Err(reason) => (new()?, DecoderWeights::Random(reason)),
    };
    Ok((Segmenter { encoder, decoder }, weights))
}

/// The decoder with the file's tensors, or why not.
fn filled(
    decoder: Decoder,
    config: &DecoderConfig,
    classes: usize,
    prefix: &Prefix,
    state: &StateDict,
) -> std::result::Result<Decoder, String> {
    if !state.tensors.keys().any(|name| prefix.other(name).is_some()) {
        return Err("the file holds an encoder alone".to_owned());
    }
    let mut filler = Filler::new(state, |name| prefix.rename_decoder(config, name));
    let decoder = decoder.map_network(&mut filler);
    if let Some(theirs) = filler.other_classes(classes) {
        return Err(format!(
            "the file's tells {theirs} classes apart, background included, and this one {classes}"
        ));
    }
    match filler.faults() {
        Some(faults) => Err(format!("the file's does not fit {}: it {faults}", config.name())),
        None => Ok(decoder),
    }
}
