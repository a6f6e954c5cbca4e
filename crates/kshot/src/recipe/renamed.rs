//! Keys of earlier versions, refused with their new names.

use std::path::Path;

use super::fit::Step;
use super::text::line_of;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};

/// An old key and what is written now.
const RENAMED: &[(&str, &str)] = &[
    ("precise", "[model] precision = \"precise\""),
    ("bf16", "[model] precision = \"bf16\""),
    ("network", "[model] encoder, such as encoder = \"conv4\" or { name = \"conv4\", width = 64 }"),
    ("encoder", "[model] encoder and weights"),
    ("data.list", "data.test"),
    ("method.refinement", "[predict] refinement"),
    (
        "method.scale",
        "[predict] scale (of panet and prototype the key is the logit of a cosine of 1)",
    ),
    ("method.self_support", "[method] name = \"self-support\" and its own keys beside it"),
    ("method.panet", "[method] name = \"panet\" and its own keys beside it"),
    ("method.made", "method.generated"),
    ("method.code", "method.latent"),
    ("method.deviation", "method.std"),
    ("train.epoch", "train.validate_every"),
    ("train.rate", "train.learning_rate"),
    ("train.meta_batch", "train.batch"),
    ("train.ways", "train.episodes.ways"),
    ("train.shots", "train.episodes.shots"),
    ("train.queries", "train.episodes.queries"),
    ("train.validation_episodes", "train.episodes.validation"),
    ("train.augment_support", "data.support_transforms, such as [{ name = \"flip\" }]"),
    ("train.augment_query", "data.transforms, such as [{ name = \"flip\" }]"),
    ("train.schedule.halve", "train.schedule = { name = \"step\", every = STEPS, gamma = 0.5 }"),
];

/// Refuses a recipe that has an old key.
///
/// # Errors
/// If it has one; its line and its new name are told.
pub(super) fn refuse(table: &toml::Table, path: &Path, text: &str) -> Result<()> {
    let text_at = |section: &str, key: &str| {
        table.get(section).and_then(|table| table.get(key)).and_then(|value| value.as_str())
    };
    // These have a key of their own of that name.
    let has_scale = matches!(text_at("method", "name"), Some("panet" | "prototype"));
    if text_at("train", "optimizer") == Some("momentum") {
        return Err(Error::config(
            "`momentum` is now { name = \"sgd\", momentum = 0.9, weight_decay = 5e-4 }",
        )
        .at_key("train.optimizer"));
    }
    if let Some(name) = text_at("model", "encoder").filter(|name| name.ends_with("-os8")) {
        let encoder: Result<EncoderConfig> = name.parse();
        encoder.map_err(|error| error.at_key("model.encoder"))?;
    }
    for (old, new) in RENAMED {
        let mut parts = old.split('.');
        let Some(first) = parts.next() else { continue };
        let found = parts.clone().try_fold(table.get(first), |value, part| Some(value?.get(part)));
        let Some(Some(_)) = found else { continue };
        if *old == "method.scale" && has_scale {
            continue;
        }
        let steps: Vec<Step> = old.split('.').map(|key| Step::Key(key.to_owned())).collect();
        let wrong = Error::config(format!("`{old}` is now {new}"));
        return Err(match line_of(text, &steps) {
            Some(line) => wrong.at_line(path, line),
            None => wrong.at_key(*old),
        });
    }
    Ok(())
}
