//! A recipe of few-shot segmentation that trains, made real: data read, encoder set up.

use std::sync::Arc;

use burn::prelude::*;

use crate::data::episode::{Episodes, class_counts, fold_classes};
use crate::data::pixel_tasks::{PixelTasks, Squares};
use crate::data::set::SegmentationSet;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::method::few_shot::panet::Panet;
use crate::recipe::segmentation::{Protocol, Recipe};
use crate::train::experiment::as_toml;
use crate::train::run::{Session, training};
use crate::weights::source::Source;

/// The name of the method that is trained.
pub const PANET: &str = "panet";

/// The method of a recipe around its encoder with that one's own weights.
///
/// # Errors
/// If the encoder is unknown or has no weights, or a constant of the method is out of bounds.
pub fn panet(recipe: &Recipe, device: &Device) -> Result<Panet> {
    recipe.method.panet.check()?;
    let config: EncoderConfig = recipe.encoder.name.parse()?;
    config.check_rgb()?;
    let (encoder, _) =
        Source::of(&config, recipe.encoder.weights.as_deref())?.load(&config, device)?;
    Ok(Panet::new(encoder, recipe.method.panet.clone()))
}

/// Every so many pictures one is kept back to choose on.
const KEPT_BACK: usize = 5;

/// The pixel counts of the pictures that are trained on, and of those that are chosen on; pictures in
/// neither count nothing.
fn parts(counts: &[[usize; 256]], left_out: &[u8]) -> [Vec<[usize; 256]>; 2] {
    let mut parts = [(); 2].map(|()| vec![[0; 256]; counts.len()]);
    let clean = |of: &[usize; 256]| left_out.iter().all(|&class| of[usize::from(class)] == 0);
    let eligible: Vec<usize> = (0..counts.len()).filter(|&index| clean(&counts[index])).collect();
    for (place, &index) in eligible.iter().enumerate() {
        parts[usize::from(place % KEPT_BACK == KEPT_BACK - 1)][index] = counts[index];
    }
    parts
}

/// The training of a recipe: on the classes of all folds but the evaluated one, in the pictures of
/// `data.train` that hold no pixel of the evaluated classes. No evaluated picture is seen that way, even
/// where `data.train` and `data.list` are the same list; PANet's own training shows them with the evaluated
/// classes as background. Parameters are chosen on every fifth of these pictures, kept back.
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
    let size = recipe.method.panet.size;
    recipe.method.panet.check()?;
    let config: EncoderConfig = recipe.encoder.name.parse()?;
    let set = SegmentationSet::open(recipe.data.dataset, &recipe.data.root, list)?;
    let counts = class_counts(&set)?;
    let squares = Arc::new(Squares::new(set, size, config.normalization()));
    let names = squares.classes().to_vec();
    let left_out = fold_classes(split, names.len(), fold, folds);
    let [shown, kept_back] = parts(&counts, &left_out);
    let (ways, shots) = (training.ways, training.shots);
    // Classes in too few pictures are left out; the names that stay are written down.
    let held = |counts: &[[usize; 256]]| -> Vec<u8> {
        let pictures = |class: u8| counts.iter().filter(|of| of[usize::from(class)] > 0).count();
        let enough = |class: &u8| pictures(*class) > ways * shots;
        (1..=names.len() as u8).filter(|class| !left_out.contains(class)).filter(enough).collect()
    };
    let (taught, chosen) = (held(&shown), held(&kept_back));
    let episodes = |counts: &[[usize; 256]], classes: &[u8], seed: u64| {
        Episodes::new(counts, classes, &names, (ways, shots), seed)
    };
    let flip = [training.augment_support.flip, training.augment_query.flip];
    let tasks = PixelTasks::new(
        Arc::clone(&squares),
        episodes(&shown, &taught, training.seed)?,
        flip,
        training.seed,
    );
    let chosen_on =
        PixelTasks::new(squares, episodes(&kept_back, &chosen, !seed)?, [false; 2], !seed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_evaluated_classes_are_in_no_part() {
        let counts: Vec<[usize; 256]> = (0..40usize)
            .map(|picture| std::array::from_fn(|class| usize::from(class == picture % 4 + 1)))
            .collect();
        let [shown, kept_back] = parts(&counts, &[1, 3]);
        for picture in 0..40 {
            let [trained, chosen] =
                [&shown, &kept_back].map(|of| of[picture].iter().sum::<usize>());
            assert_eq!(trained + chosen, usize::from(picture % 2 == 1), "{picture}");
        }
        assert_eq!(kept_back.iter().filter(|of| of.iter().sum::<usize>() > 0).count(), 4);
    }
}
