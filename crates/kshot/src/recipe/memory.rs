//! What a recipe would hold in memory at once, as far as its keys say: an upper bound on any single tensor, so that a
//! mistyped number is told rather than tens of gigabytes asked for.

use super::{EncoderChoice, Protocol, Recipe};
use crate::data::transforms::{OutputSize, Transform};
use crate::decoder::DecoderConfig;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::method::MethodConfig;
use crate::method::few_shot::HeadConfig;
use crate::method::learner::Learning;
use crate::method::trained::TrainedConfig;

/// Bytes of the largest tensor. A training step holds about ten as large.
const LARGEST: f64 = (2u64 << 30) as f64;
/// Bytes of a number.
const NUMBER: f64 = 4.0;

/// Something that is in memory at once.
struct Held {
    key: &'static str,
    what: String,
    numbers: f64,
}

impl Held {
    fn new(key: &'static str, what: impl Into<String>, factors: &[usize]) -> Self {
        let numbers = factors.iter().map(|factor| *factor as f64).product();
        Self { key, what: what.into(), numbers }
    }
}

/// Refuses what no machine should try.
///
/// # Errors
/// If one tensor would have more than 2 GiB; the key to lower is named.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    let mut held = networks(recipe);
    match &recipe.method {
        MethodConfig::Learner(method) => held.extend(recognition(recipe, method)?),
        MethodConfig::Head(method) => held.extend(heads(method)),
        MethodConfig::Episodic(method) => {
            held.extend(segmentation_episodes(recipe, method.input().size)?);
        }
        MethodConfig::Trained(
            TrainedConfig::Supervised(_) | TrainedConfig::FeatureAlignment(_),
        ) => held.extend(supervised(recipe)?),
    }
    for Held { key, what, numbers } in held {
        let bytes = numbers * NUMBER;
        if bytes > LARGEST {
            let gib = bytes / f64::from(1 << 30);
            let text = format!(
                "{what} would take {gib:.0} GiB at once; at most {:.0} GiB are allowed, so lower one of them",
                LARGEST / f64::from(1 << 30)
            );
            return Err(Error::config(text).at_key(key));
        }
    }
    Ok(())
}

/// The parameters of networks whose width is the recipe's.
fn networks(recipe: &Recipe) -> Vec<Held> {
    let mut held = Vec::new();
    match &recipe.model.encoder {
        EncoderChoice::Conv4(config) => {
            let what = format!("{} blocks of width {}", config.blocks, config.width);
            let factors = [config.blocks, config.width, config.width, 9];
            held.push(Held::new("model.encoder.width", what, &factors));
        }
        EncoderChoice::Resnet12(config) => {
            let widest = config.widths.iter().copied().max().unwrap_or(0);
            let what = format!("blocks of widths {:?}", config.widths);
            held.push(Held::new("model.encoder.widths", what, &[4, 2, widest, widest, 9]));
        }
        EncoderChoice::Encoder(encoder) => {
            if let DecoderConfig::UNet(unet) = &recipe.model.decoder {
                let widest = unet.width << encoder.channels().len().saturating_sub(2);
                let what = format!("a U-Net of width {}", unet.width);
                held.push(Held::new("model.decoder.width", what, &[widest, widest, 9]));
            }
        }
    }
    held
}

/// The largest map of an encoder, or its table of what attends to what, in numbers, of a square picture of `side`
/// pixels; at least the picture itself.
fn map(encoder: &EncoderConfig, side: usize) -> usize {
    let maps = encoder.channels().into_iter().zip(encoder.strides());
    let maps = maps.map(|(channels, stride)| channels * side.div_ceil(stride).pow(2));
    let places = side.div_ceil(encoder.output_stride()).pow(2);
    let attention = encoder.attention_heads() * places * places;
    maps.max().unwrap_or(0).max(attention).max(3 * side * side)
}

/// Episodes of whole pictures.
fn recognition(recipe: &Recipe, method: &Learning) -> Result<Vec<Held>> {
    let layout = recipe.data.dataset.classes()?;
    let ([side, _], channels) = (layout.size(), layout.channels());
    let each = match &recipe.model.encoder {
        _ if recipe.model.makes_vectors() => 8192,
        EncoderChoice::Conv4(config) => channels.max(config.width) * side * side,
        EncoderChoice::Resnet12(config) => channels.max(config.widths[0]) * side * side,
        EncoderChoice::Encoder(encoder) => map(encoder, side),
    };
    let mut episodes = Vec::new();
    if let Protocol::FewShotRecognition { ways, shots, queries, .. } = &recipe.protocol {
        let most = |all: &[usize]| all.iter().copied().max().unwrap_or(0);
        episodes.push(("protocol.ways", 1, most(ways.all()), most(shots.all()), *queries));
    }
    if let Some(train) = &recipe.train
        && let Some(of) = &train.episodes
    {
        episodes.push(("train.episodes.ways", train.batch, of.ways, of.shots, of.queries));
    }
    let mut held = Vec::new();
    for (key, batch, ways, shots, queries) in episodes {
        let pictures = batch * ways * (shots + queries);
        let what = format!(
            "{pictures} pictures of {side} x {side} pixels ({batch} x {ways} ways x ({shots} shots + {queries} queries))"
        );
        held.push(Held::new(key, what, &[pictures, each]));
        let compared = format!("{ways} ways against {} queries", ways * queries);
        match method {
            Learning::RelationNetworks(_) => {
                let small = (each / 16).max(128);
                held.push(Held::new(key, compared, &[ways, ways * queries, 2, small]));
            }
            Learning::Generative(config) => {
                let what = format!("{} examples for each of {ways} classes", config.generated);
                held.push(Held::new("method.generated", what, &[config.generated, ways, each]));
                let what = format!("hidden layers of {} units", config.hidden);
                held.push(Held::new(
                    "method.hidden",
                    what,
                    &[config.hidden, each.max(config.hidden)],
                ));
            }
            _ => held.push(Held::new(key, compared, &[ways, ways * queries, 64])),
        }
    }
    Ok(held)
}

/// What methods that are fitted at once hold of their own.
fn heads(method: &HeadConfig) -> Vec<Held> {
    match method {
        HeadConfig::PixelDecoder(config) => {
            let what = format!(
                "{} crops of {} x {} pixels and {} channels",
                config.batch, config.crop, config.crop, config.width
            );
            vec![Held::new(
                "method.crop",
                what,
                &[config.batch, config.crop, config.crop, config.width],
            )]
        }
        HeadConfig::Probe(config) => {
            let what = format!("{} cells of {} hidden units", config.batch, config.hidden);
            vec![Held::new("method.batch", what, &[config.batch, config.hidden.max(4096)])]
        }
        HeadConfig::FineProbe(config) => {
            let what = format!("{} pixels of {} hidden units", config.cells, config.hidden);
            vec![Held::new("method.cells", what, &[config.cells, config.hidden.max(128)])]
        }
        _ => Vec::new(),
    }
}

/// Episodes of pictures with masks.
fn segmentation_episodes(recipe: &Recipe, size: usize) -> Result<Vec<Held>> {
    let each = map(recipe.model.encoder()?, size);
    let mut held = Vec::new();
    let mut episode = |key, batch: usize, ways: usize, shots: usize| {
        let pictures = batch * (ways * shots + 1);
        let what =
            format!("{pictures} pictures of {size} x {size} pixels ({ways} ways x {shots} shots)");
        held.push(Held::new(key, what.clone(), &[pictures, each]));
        held.push(Held::new(
            key,
            format!("the masks of {what}"),
            &[pictures, ways + 1, size, size],
        ));
    };
    if let Protocol::FewShotSegmentation { ways, shots, .. } = &recipe.protocol {
        episode("protocol.ways", 1, *ways, *shots);
    }
    if let Some(train) = &recipe.train
        && let Some(of) = &train.episodes
    {
        episode("train.episodes.ways", train.batch, of.ways, of.shots);
    }
    Ok(held)
}

/// A batch of pictures with masks, as far as their size is the recipe's.
fn supervised(recipe: &Recipe) -> Result<Vec<Held>> {
    let encoder = recipe.model.encoder()?;
    let parts = &recipe.data.parts;
    let sized = parts.transforms.iter().rev().find_map(|transform| match transform {
        Transform::Crop(crop) => Some(crop.size),
        Transform::Affine(affine) => Some(affine.size),
        Transform::Resize(resize) => Some(resize.size),
        _ => None,
    });
    let side = match sized {
        Some(OutputSize::Square(side)) => side,
        Some(OutputSize::Rectangle([height, width])) => height.max(width),
        None => return Ok(Vec::new()),
    };
    let labelled = recipe.train.as_ref().map_or(1, |train| train.batch);
    let aligns =
        matches!(&recipe.method, MethodConfig::Trained(TrainedConfig::FeatureAlignment(_)));
    let batch = if aligns { 2 * labelled } else { labelled };
    let mut each = map(encoder, side);
    if let DecoderConfig::UNet(unet) = &recipe.model.decoder {
        let finest = encoder.strides().first().copied().unwrap_or(1);
        each = each.max(unet.width * side.div_ceil(finest).pow(2));
    }
    if let DecoderConfig::UNetNearest(unet) = &recipe.model.decoder {
        each = each.max(unet.width * side.pow(2));
    }
    let what = format!("a batch of {batch} pictures of {side} x {side} pixels");
    Ok(vec![Held::new("train.batch", what, &[batch, each])])
}
