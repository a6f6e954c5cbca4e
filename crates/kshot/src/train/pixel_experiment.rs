//! A recipe of few-shot segmentation that trains, made real: data read, encoder set up.

use std::sync::Arc;

use burn::prelude::*;

use super::experiment::as_toml;
use super::recipe::{Protocol, Recipe};
use super::run::{Session, training};
use crate::data::episode::{Episodes, class_counts, fold_classes};
use crate::data::pixel_tasks::{PixelTasks, Squares};
use crate::data::set::SegmentationSet;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::method::few_shot::panet::Panet;
use crate::weights::source::Source;

/// The name of the method that is trained.
pub const PANET: &str = "panet";

/// The method of a recipe around its encoder with that one's own weights.
///
/// # Errors
/// If the encoder is unknown or has no weights.
pub fn panet(recipe: &Recipe, device: &Device) -> Result<Panet> {
    let config: EncoderConfig = recipe.encoder.name.parse()?;
    let (encoder, _) =
        Source::of(&config, recipe.encoder.weights.as_deref())?.load(&config, device)?;
    Ok(Panet::new(encoder, recipe.method.panet.clone()))
}

/// The training of a recipe: on the classes of all folds but the evaluated one, in the pictures of
/// `data.train`. Parameters are chosen on the same classes in the pictures of `data.list`, in which the
/// evaluated classes are not labelled.
///
/// # Errors
/// If the recipe trains nothing, does not say on what, or classes are in too few pictures.
pub fn session(recipe: &Recipe, device: &Device) -> Result<Session<Panet, 3>> {
    let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
    let training = training(recipe.train.as_ref())?.clone();
    training.check()?;
    if recipe.method.name != PANET {
        return wrong("method.name", "only `panet` is trained in this protocol");
    }
    let Protocol::FewShotSegmentation { ref evaluate, folds, split, seed, .. } = recipe.protocol
    else {
        return wrong("protocol.name", "`panet` is trained in `few-shot-segmentation`");
    };
    let [fold] = evaluate[..] else {
        return wrong(
            "protocol.evaluate",
            "a training leaves out one fold: give one, such as evaluate = [0]",
        );
    };
    if training.queries != 1 || training.augment_support.shift + training.augment_query.shift > 0 {
        return wrong(
            "train",
            "episodes of segmentation have queries = 1; of the augmentations there is `flip`",
        );
    }
    let Some(list) = &recipe.data.train else {
        return wrong("data.train", "the list of pictures to train on, such as train = \"train\"");
    };
    if list == &recipe.data.list {
        return wrong("data.train", "another list than data.list, which is evaluated");
    }
    let size = recipe.method.panet.size;
    if size == 0 || recipe.method.panet.stages == 0 {
        return wrong("method.panet", "size and stages are at least 1");
    }
    let config: EncoderConfig = recipe.encoder.name.parse()?;
    let open = |list: &str| -> Result<(Arc<Squares>, Vec<[usize; 256]>)> {
        let set = SegmentationSet::open(recipe.data.dataset, &recipe.data.root, list)?;
        let counts = class_counts(&set)?;
        Ok((Arc::new(Squares::new(set, size, config.normalization())), counts))
    };
    let (squares, counts) = open(list)?;
    let (others, other_counts) = open(&recipe.data.list)?;
    let names = squares.classes().to_vec();
    let left_out = fold_classes(split, names.len(), fold, folds);
    let shape = (training.ways, training.shots);
    let taught: Vec<u8> =
        (1..=names.len() as u8).filter(|class| !left_out.contains(class)).collect();
    let held = |counts: &[[usize; 256]]| -> Vec<u8> {
        let needed = shape.0 * shape.1 + 1;
        let pictures = |class: u8| counts.iter().filter(|of| of[usize::from(class)] > 0).count();
        taught.iter().copied().filter(|class| pictures(*class) >= needed).collect()
    };
    let (taught, chosen) = (held(&counts), held(&other_counts));
    let episodes = |counts: &[[usize; 256]], classes: &[u8], seed: u64| {
        Episodes::new(counts, classes, &names, shape, seed)
    };
    let flip = [training.augment_support.flip, training.augment_query.flip];
    let tasks = PixelTasks::new(
        Arc::clone(&squares),
        episodes(&counts, &taught, training.seed)?,
        flip,
        training.seed,
    );
    let chosen_on =
        PixelTasks::new(others, episodes(&other_counts, &chosen, !seed)?, [false; 2], !seed);
    let named = |classes: &[u8]| -> Vec<&str> {
        classes.iter().map(|class| names[usize::from(*class) - 1].as_str()).collect()
    };
    let learner = panet(recipe, device)?;
    use burn::module::Module;
    Ok(Session {
        title: format!("panet with {} on {}", recipe.encoder.name, recipe.data.root.display()),
        recipe: as_toml(recipe)?,
        tasks: Arc::new(tasks),
        chosen_on: Arc::new(chosen_on),
        classes: serde_json::json!({
            "train": named(&taught),
            "validation": named(&chosen),
            "test": named(&left_out),
        }),
        counts: [taught.len(), chosen.len()],
        learner: learner.train(),
        training,
        device: device.clone(),
    })
}
