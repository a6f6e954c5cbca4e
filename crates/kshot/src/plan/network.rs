//! The rules for the network: encoder, decoder, where it starts from and what of it learns how fast.

use toml::Value;

use super::DataFindings;
use super::rules::{Choice, FEW, Wishes, table};
use crate::decoder::hrnet::FINEST;
use crate::decoder::unet::levels;
use crate::encoder::EncoderConfig;
use crate::recipe::EncoderChoice;
use crate::weights::source::{RANDOM, WeightsSource};

/// The encoder's learning rate as a multiple of the decoder's, where it starts from published weights.
const ENCODER_RATE: f64 = 0.1;

/// Channels of the head that sees maps of several scales at once, beside the U-Net.
const HYPERCOLUMNS: usize = 128;

/// The encoder that a person set, or the one that is built in; none where what is set is no encoder of ours.
pub(super) fn encoder(wishes: &Wishes) -> Option<EncoderConfig> {
    let Some(set) = wishes.of("model.encoder") else {
        return crate::weights::DEFAULT.parse().ok();
    };
    match set.clone().try_into().ok()? {
        EncoderChoice::Encoder(config) => Some(config),
        _ => None,
    }
}

/// The name of the encoder that a person set, where no weights of it are known.
fn unpublished(wishes: &Wishes) -> Option<String> {
    let config = encoder(wishes)?;
    (!WeightsSource::is_known(&config)).then(|| config.to_string())
}

/// The decoder that goes with an encoder.
fn decoder(wishes: &Wishes) -> Choice {
    let key = "model.decoder";
    let unet = |hypercolumns: bool| {
        if !hypercolumns {
            return Choice::new(key, table("value = { name = \"unet\", width = 16 }"), "");
        }
        let text =
            format!("value = {{ name = \"unet\", width = 16, hypercolumns = {HYPERCOLUMNS} }}");
        let why = "a head that sees maps of several scales at once learns in few steps what things are, the U-Net \
                   beside it where they end";
        Choice::new(key, table(&text), why)
    };
    let Some(config) = encoder(wishes) else {
        return unet(true);
    };
    let name = config.to_string();
    let of = |start: &str| name.starts_with(start);
    if of("plain-unet") || of("ddrnet") {
        let decoder = if of("ddrnet") { "ddrnet" } else { "plain-unet" };
        return Choice::new(key, decoder, format!("what {name} was published with"));
    }
    let strides = config.strides();
    if levels(&strides).is_some() {
        return unet(strides.iter().any(|stride| *stride >= 2 * FINEST));
    }
    let why = format!("the maps of {name} do not halve from one to the next, as a U-Net asks for");
    Choice::new(key, "linear", why)
}

/// Whether the encoder starts from published weights.
pub(super) fn is_pretrained(wishes: &Wishes) -> bool {
    match wishes.of("model.weights") {
        Some(weights) => weights.as_str() != Some(RANDOM),
        None => unpublished(wishes).is_none(),
    }
}

/// The choices of `[model]`.
pub(super) fn network(found: &DataFindings, wishes: &Wishes) -> Vec<Choice> {
    let mut all = vec![
        Choice::new(
            "model.encoder",
            crate::weights::DEFAULT,
            "weights of ImageNet are built in; with up to thousands of pictures networks that start from them need fewer \
             labels",
        ),
        decoder(wishes),
    ];
    if let Some(name) = unpublished(wishes) {
        let why =
            format!("no weights of {name} are built in or published, so it learns from scratch");
        all.push(Choice::new("model.weights", RANDOM, why));
    }
    if !is_pretrained(wishes) {
        return all;
    }
    // Adapters, and what is frozen as a person says, keep their own rate and statistics.
    let frozen = wishes.of("model.freeze").and_then(Value::as_str) == Some("encoder");
    if frozen || wishes.sets("model.lora") {
        return all;
    }
    if found.pictures < FEW {
        let why = format!(
            "{} pictures: a batch's statistics say little of other pictures, so the encoder normalises by those of its \
             published weights",
            found.pictures
        );
        all.push(Choice::new("model.freeze", "norm", why));
    }
    let why = "the encoder starts from published weights and is fine-tuned at a tenth of the decoder's rate";
    all.push(Choice::new("model.encoder_rate", ENCODER_RATE, why));
    all
}
