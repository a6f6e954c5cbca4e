//! The training of methods that label pixels from labelled pictures: which classes and pictures are shown, and the
//! episodes.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use image::RgbImage;
use kshot_data::mask::Mask;
use rand::Rng;

use super::adapt;
use super::layers::LayerPlan;
use super::load;
use super::session::{Session, published};
use super::transfer::{self, Start};
use crate::contract::{Grouped, ItemSource};
use crate::data::batch::{EpisodeId, labels, normalised};
use crate::data::cache::Cache;
use crate::data::dataset::{Dataset, pixel_counts};
use crate::data::episode::{EpisodeSampler, fold_classes, relabel, support_labels};
use crate::data::source::generator;
use crate::data::squares::Squares;
use crate::data::transforms::Transform;
use crate::encoder::{Encode, Encoder, Normalization};
use crate::error::{Error, Result};
use crate::method::episodic::{Episodic, EpisodicSegmenter, Maps, Seen, SegmentationEpisode};
use crate::recipe::{AuxiliaryData, FrozenPart, Protocol, Recipe, SupportLabels};

/// Bytes of maps that are kept of each data set.
const KEPT: usize = 4 << 30;
/// Every so many pictures one validates, where the recipe names no part for it.
const EVERY: usize = 5;
/// How often a picture is changed anew where its class was cut off.
const TRIES: usize = 8;
/// Tells the draws of augmented views from those of episodes.
const OF_VIEWS: u64 = 0x7669_6577;
/// Tells the draws of the data set from those of its episodes.
const OF_SETS: u64 = 2;

/// The network that a run kept, on the autodiff side where it was.
///
/// # Errors
/// If the run has no weights, or they are of another network.
pub fn trained(
    recipe: &Recipe,
    method: &Episodic,
    run: &Path,
    device: &Device,
) -> Result<EpisodicSegmenter> {
    // Runs of before heads that know classes name none, and need none.
    let classes = load::classes_of(run).map_or(0, |classes| classes.len());
    let empty = episodic(&load::to_fill(recipe, run)?, method, classes, device)?;
    load::from_run(empty, run)
}

/// A method around the recipe's encoder with that one's own weights.
///
/// # Errors
/// If the encoder is unknown or has no weights, or a constant of the method is out of bounds.
pub fn episodic(
    recipe: &Recipe,
    method: &Episodic,
    classes: usize,
    device: &Device,
) -> Result<EpisodicSegmenter> {
    method.check()?;
    let encoder = recipe.model.encoder()?;
    encoder.check_rgb()?;
    let network = match transfer::run_of(recipe) {
        Some(run) => Start::of(run, device)?.encoder(encoder, device)?,
        None => published(recipe, device)?,
    };
    let usual = if method.learns_encoder() { FrozenPart::Norm } else { FrozenPart::Encoder };
    let network = adapt::encoder(&recipe.model, network, usual)?;
    device.seed(recipe.train.as_ref().map_or(recipe.protocol.seed(), |train| train.seed));
    Ok(EpisodicSegmenter::new(network, method, recipe.loss.clone(), classes))
}

/// An encoder that stays as it is, and what it saw.
struct FrozenEncoder {
    encoder: Encoder,
    stages: usize,
    device: Device,
    /// Augmented views of each picture: as many are made and kept.
    views: usize,
    kept: Cache<(Maps, Mask)>,
}

impl FrozenEncoder {
    fn maps(&self, image: &RgbImage, normalization: &Normalization) -> Maps {
        let images = normalised(&[image], normalization, &self.device);
        Maps::deepest(self.encoder.forward(images).maps, self.stages)
    }
}

/// What is drawn until its mask shows one of some classes, [`TRIES`] times at most.
fn showing<T>(
    wanted: &[u8],
    mut draw: impl FnMut() -> Result<T>,
    mask: impl Fn(&T) -> &Mask,
) -> Result<T> {
    let mut drawn = draw()?;
    for _ in 1..TRIES {
        let counts = mask(&drawn).counts();
        if wanted.iter().any(|class| counts[usize::from(*class)] > 0) {
            break;
        }
        drawn = draw()?;
    }
    Ok(drawn)
}

/// The episodes of some classes of a data set.
struct Episodes {
    squares: Squares,
    normalization: Normalization,
    sampler: EpisodeSampler,
    /// What is done to support and to query pictures.
    transforms: [Vec<Transform>; 2],
    seed: u64,
    frozen: Option<FrozenEncoder>,
    is_main: bool,
    /// What labelled pictures are labelled with.
    labels: SupportLabels,
}

impl Episodes {
    /// Pictures with their masks in the data set's classes, changed at random; of each what shows one of its `wanted`
    /// classes still, where that is found in [`TRIES`].
    fn side(
        &self,
        pictures: &[usize],
        wanted: &dyn Fn(usize) -> Vec<u8>,
        side: usize,
        index: u64,
        device: &Device,
    ) -> Result<(Seen, Vec<Mask>)> {
        let mut random = generator(self.seed, index, side as u64);
        let mut masks = Vec::with_capacity(pictures.len());
        let Some(frozen) = &self.frozen else {
            let transforms = &self.transforms[side];
            let mut images = Vec::with_capacity(pictures.len());
            for (place, &picture) in pictures.iter().enumerate() {
                let draw = || self.squares.changed(picture, transforms, &mut random);
                let (image, mask) = showing(&wanted(place), draw, |(_, mask)| mask)?;
                images.push(image);
                masks.push(mask);
            }
            let images: Vec<&RgbImage> = images.iter().collect();
            return Ok((Seen::Images(normalised(&images, &self.normalization, device)), masks));
        };
        let mut maps = Vec::with_capacity(pictures.len());
        for (place, &picture) in pictures.iter().enumerate() {
            let draw = || self.view(frozen, picture, side, random.random_range(0..frozen.views));
            let view = showing(&wanted(place), draw, |view| &view.1)?;
            maps.push(view.0.clone());
            masks.push(view.1.clone());
        }
        let maps = Maps::cat(&maps);
        let plain = if device.is_autodiff() { device.clone().inner() } else { device.clone() };
        let maps = if frozen.device == plain { maps } else { maps.to_device(&plain) };
        Ok((Seen::Maps(if device.is_autodiff() { maps.autodiff() } else { maps }), masks))
    }

    /// One of a picture's views, as a frozen encoder sees it.
    fn view(
        &self,
        frozen: &FrozenEncoder,
        picture: usize,
        side: usize,
        view: usize,
    ) -> Result<Arc<(Maps, Mask)>> {
        // Two sides with the same transforms share their views.
        let kind = if self.transforms[0] == self.transforms[1] { 0 } else { side };
        let key = (picture * 2 + kind) * frozen.views + view;
        frozen.kept.get(key, || {
            let mut random = generator(self.seed, key as u64, OF_VIEWS);
            let (image, mask) =
                self.squares.changed(picture, &self.transforms[side], &mut random)?;
            let maps = frozen.maps(&image, &self.normalization);
            let bytes = maps.bytes() + mask.pixels.len();
            Ok(((maps, mask), bytes))
        })
    }
}

impl ItemSource<SegmentationEpisode> for Episodes {
    fn item(&self, index: u64, device: &Device) -> Result<SegmentationEpisode> {
        let drawn = self.sampler.get(0, index as usize);
        let shots = drawn.support.len() / drawn.classes.len();
        let of_way = |place: usize| vec![drawn.classes[place / shots]];
        let (support, masks) = self.side(&drawn.support, &of_way, 0, index, device)?;
        let own = |(place, mask)| {
            let mask = support_labels(mask, &drawn.classes, place / shots);
            self.labels.of(mask, self.seed ^ (index << 8 | place as u64))
        };
        let own: Vec<Mask> = masks.iter().enumerate().map(own).collect();
        let any = |_: usize| drawn.classes.clone();
        let (query, all) = self.side(&[drawn.query], &any, 1, index, device)?;
        let asked: Vec<Mask> = all.iter().map(|mask| relabel(mask, &drawn.classes)).collect();
        let labels = |masks: &[Mask]| labels(&masks.iter().collect::<Vec<_>>(), device);
        Ok(SegmentationEpisode {
            support: (support, labels(&own)),
            query: (query, labels(&asked)),
            all: labels(&all),
            classes: drawn.classes.iter().map(|class| usize::from(*class)).collect(),
            is_main: self.is_main,
            id: EpisodeId { seed: self.seed, index },
        })
    }
}

/// Episodes of several data sets, each of one of them.
struct Mixture {
    /// With the share of the episodes that are of it or of one before it.
    sets: Vec<(f64, Episodes)>,
    seed: u64,
}

impl ItemSource<SegmentationEpisode> for Mixture {
    fn item(&self, index: u64, device: &Device) -> Result<SegmentationEpisode> {
        let total = self.sets.last().map_or(0.0, |(share, _)| *share);
        let drawn = total * generator(self.seed, index, OF_SETS).random::<f64>();
        let place = self.sets.iter().position(|(share, _)| drawn < *share).unwrap_or(0);
        self.sets[place].1.item(index, device)
    }
}

/// The pixel counts of the pictures that are trained on, and of those that validate; pictures in neither count
/// nothing.
fn parts(counts: &[[usize; 256]], left_out: &[u8], every: usize) -> [Vec<[usize; 256]>; 2] {
    let mut parts = [(); 2].map(|()| vec![[0; 256]; counts.len()]);
    let clean = |of: &[usize; 256]| left_out.iter().all(|&class| of[usize::from(class)] == 0);
    let eligible: Vec<usize> = (0..counts.len()).filter(|&index| clean(&counts[index])).collect();
    for (place, &index) in eligible.iter().enumerate() {
        parts[usize::from(place % every == every - 1)][index] = counts[index];
    }
    parts
}

/// Makes the episodes of a session.
struct Maker<'a> {
    recipe: &'a Recipe,
    method: &'a Episodic,
    /// Ways and shots.
    shape: (usize, usize),
    normalization: Normalization,
    labels: SupportLabels,
    /// The network, where its encoder stays as it is.
    frozen: Option<Encoder>,
    device: &'a Device,
}

/// What is drawn from a data set.
struct Drawn {
    episodes: Episodes,
    /// The classes, by name.
    classes: Vec<String>,
    /// The pictures, by file name.
    pictures: Vec<String>,
}

impl Maker<'_> {
    /// Episodes of pictures with these pixel counts, of the classes that enough of them hold.
    fn episodes(
        &self,
        set: &Arc<dyn Dataset>,
        counts: &[[usize; 256]],
        without: &[u8],
        transforms: [Vec<Transform>; 2],
        (seed, views): (u64, usize),
    ) -> Result<Drawn> {
        let (ways, shots) = self.shape;
        let pictures = |class: u8| counts.iter().filter(|of| of[usize::from(class)] > 0).count();
        // Classes in too few pictures are left out; the names that stay are written down.
        let classes: Vec<u8> = (1..=set.classes().len() as u8)
            .filter(|class| !without.contains(class) && pictures(*class) > ways * shots)
            .collect();
        let sampler = EpisodeSampler::new(counts, &classes, set.classes(), (ways, shots), seed)?;
        let input = self.method.input();
        let frozen = self.frozen.clone().map(|encoder| FrozenEncoder {
            encoder,
            stages: input.stages,
            device: self.device.clone(),
            views: if transforms.iter().all(Vec::is_empty) { 1 } else { views },
            kept: Cache::new(KEPT),
        });
        let shown = |index: &usize| counts[*index].iter().any(|count| *count > 0);
        let name = |index: usize| {
            set.file(index).file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        Ok(Drawn {
            classes: classes.iter().map(|of| set.classes()[usize::from(*of) - 1].clone()).collect(),
            pictures: (0..counts.len()).filter(shown).map(name).collect(),
            episodes: Episodes {
                squares: Squares::new(Arc::clone(set), input.size),
                normalization: self.normalization,
                sampler,
                transforms,
                seed,
                frozen,
                is_main: true,
                labels: self.labels,
            },
        })
    }

    /// The episodes of a data set beside the main one.
    fn auxiliary(&self, of: &AuxiliaryData, seed: u64, views: usize) -> Result<Drawn> {
        let set = of.dataset.open_part(&of.part)?;
        let mut left_out = Vec::new();
        for name in &of.without {
            match set.classes().iter().position(|class| class == name) {
                Some(place) => left_out.push(place as u8 + 1),
                None => {
                    let valid: Vec<&str> = set.classes().iter().map(String::as_str).collect();
                    let text = crate::names::unknown("class", name, &valid);
                    return Err(Error::config(text).at_key("data.auxiliary.without"));
                }
            }
        }
        let counts = pixel_counts(set.as_ref())?;
        let [shown, _] = parts(&counts, &left_out, usize::MAX);
        let drawn = self.episodes(&set, &shown, &left_out, self.transforms(), (seed, views));
        let mut drawn = drawn.map_err(|error| error.in_file(of.dataset.root()))?;
        drawn.episodes.is_main = false;
        Ok(drawn)
    }

    fn transforms(&self) -> [Vec<Transform>; 2] {
        let parts = &self.recipe.data.parts;
        [parts.support_transforms.clone(), parts.transforms.clone()]
    }
}

/// The training: on the classes of all folds but the evaluated one, in the pictures of `data.train` that hold no pixel of
/// the evaluated classes, and on those of `data.auxiliary`. No evaluated picture is seen that way, even where `data.train`
/// and `data.test` are the same list; PANet's own training shows them with the evaluated classes as background. Every
/// fifth of the main data set's pictures validates. `classes.json` in the run's folder says which classes and pictures
/// were seen.
///
/// # Errors
/// If the recipe does not train on episodes, data are missing, or classes are in too few pictures.
pub fn session(
    recipe: &Recipe,
    method: &Episodic,
    device: &Device,
) -> Result<Session<EpisodicSegmenter>> {
    let wrong = |key: &str, text: &str| Err(Error::config(text).at_key(key));
    let training = recipe.training()?.clone();
    let shape = training.episodes()?.clone();
    let Protocol::FewShotSegmentation { ref evaluate, folds, split, seed, .. } = recipe.protocol
    else {
        return wrong("protocol.name", "this method is trained in `few-shot-segmentation`");
    };
    let [fold] = evaluate[..] else {
        return wrong(
            "protocol.evaluate",
            "a training leaves out one fold: give one, such as evaluate = [0]",
        );
    };
    if shape.queries != 1 {
        return wrong("train.episodes.queries", "episodes of segmentation have 1 query");
    }
    recipe.loss.check(shape.ways + 1)?;
    if recipe.loss.needs_frequencies() {
        return wrong(
            "loss.terms",
            "classes change with each episode; give no rule for class weights",
        );
    }
    let set = recipe.data.dataset.open_part(recipe.data.train()?)?;
    let names = set.classes().to_vec();
    let objective = episodic(recipe, method, names.len(), device)?;
    let frozen = recipe
        .model
        .keeps_encoder(method.learns_encoder())
        .then(|| objective.encoder().clone().valid().optimize());
    let maker = Maker {
        recipe,
        method,
        shape: (shape.ways, shape.shots),
        normalization: recipe.model.encoder()?.normalization(),
        labels: shape.labels,
        frozen,
        device,
    };
    let counts = pixel_counts(set.as_ref())?;
    let left_out = fold_classes(split, names.len(), fold, folds);
    let [shown, held_out] = parts(&counts, &left_out, EVERY);
    let of_train = (training.seed, shape.views);
    let trained = maker.episodes(&set, &shown, &left_out, maker.transforms(), of_train)?;
    let validated = maker.episodes(&set, &held_out, &left_out, Default::default(), (!seed, 1))?;
    let mut notes = vec![serde_json::json!({
        "dataset": recipe.data.dataset.name(),
        "train": trained.classes,
        "validation": validated.classes,
        "test": left_out.iter().map(|of| &names[usize::from(*of) - 1]).collect::<Vec<_>>(),
        "train_pictures": trained.pictures,
        "validation_pictures": validated.pictures,
    })];
    let mut classes = trained.classes.len();
    let mut sets = vec![(1.0, trained.episodes)];
    for of in &recipe.data.parts.auxiliary {
        let drawn = maker.auxiliary(of, training.seed, shape.views)?;
        notes.push(serde_json::json!({
            "dataset": of.dataset.name(),
            "root": of.dataset.root(),
            "train": drawn.classes,
            "train_pictures": drawn.pictures,
        }));
        classes += drawn.classes.len();
        let before = sets.last().map_or(0.0, |(share, _)| *share);
        sets.push((before + of.weight, drawn.episodes));
    }
    let about = format!(
        "{classes} classes to train on, {} to validate on{}",
        validated.classes.len(),
        match transfer::run_of(recipe) {
            Some(run) => format!("; weights of {}: its encoder", run.display()),
            None => String::new(),
        }
    );
    let notes = serde_json::Value::from(notes);
    let source = Mixture { sets, seed: training.seed };
    Ok(Session {
        title: recipe.title(),
        about,
        recipe: recipe.to_toml()?,
        source: Arc::new(Grouped::new(source, training.batch)),
        validation: Arc::new(Grouped::new(validated.episodes, 1)),
        validation_items: shape.validation,
        notes: vec![
            ("classes.json".to_owned(), format!("{notes:#}\n")),
            ("classes.txt".to_owned(), format!("{}\n", names.join("\n"))),
        ],
        objective: objective.train(),
        training,
        precision: recipe.model.precision,
        layers: LayerPlan::from(&recipe.model),
        changes: None,
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
        let [shown, held_out] = parts(&counts, &[1, 3], EVERY);
        for picture in 0..40 {
            let [trained, validated] =
                [&shown, &held_out].map(|of| of[picture].iter().sum::<usize>());
            assert_eq!(trained + validated, usize::from(picture % 2 == 1), "{picture}");
        }
        assert_eq!(held_out.iter().filter(|of| of.iter().sum::<usize>() > 0).count(), 4);
    }
}
