//! A network that tells the cores of objects from their rims, fitted to labelled objects as any other method is.

use image::RgbImage;
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::objects::core;
use kshot_data::support::{LabelledPicture, Support};
use rayon::prelude::*;

use crate::contract::PixelModel;
use crate::error::Result;
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::features::look::Look;
use crate::features::score_map::ScoreMap;
use crate::method::few_shot::pixel_decoder::PixelDecoderConfig;
use crate::method::few_shot::{Effort, SegmentationMethod};
use crate::predict::candidate::{Candidate, CandidateContext, HeadCandidate, SeenSupport};
use crate::predict::folds::{Fold, Folds};
use crate::predict::objects::ObjectFit;
use crate::predict::scale::ObjectSizes;
use crate::predict::views;

/// The rim's width as a share of an object's largest depth.
const RIM: f32 = 0.4;

/// What was learnt.
pub(super) struct LearntCores {
    /// Planes: background, core, rim.
    pub(super) model: Box<dyn PixelModel>,
    /// What networks say of each picture that did not see that part of it; empty where nothing was held out.
    pub(super) held_out: Vec<HeldOutCores>,
}

/// Of a labelled picture, by its place in the support.
pub(super) struct HeldOutCores {
    pub(super) picture: usize,
    /// How probably each pixel is a core, row by row.
    pub(super) cores: Vec<f32>,
    /// How probably each pixel is an object's.
    pub(super) inside: Vec<f32>,
}

/// Fits to the support's pictures whose objects are known, of which there must be one.
///
/// # Errors
/// If a picture has no pixels, or no pixel is labelled.
pub(super) fn learn(
    extractor: &Extractor,
    support: &Support,
    how: ObjectFit,
) -> Result<LearntCores> {
    let places: Vec<usize> = (0..support.pictures.len())
        .filter(|place| support.pictures[*place].objects.is_some())
        .collect();
    let cored = |place: &usize| -> Option<LabelledPicture> {
        let picture = &support.pictures[*place];
        let objects = picture.objects.as_ref()?;
        let mask = core::cores(&objects.map, &picture.mask, RIM);
        Some(LabelledPicture { mask, objects: None, ..picture.clone() })
    };
    let cored = Support {
        classes: vec!["core".to_owned(), "rim".to_owned()],
        pictures: places.iter().filter_map(cored).collect(),
        warnings: Vec::new(),
    };
    let context = CandidateContext {
        support: &cored,
        planes: cored.classes.len() + 1,
        intensity: Intensity::of(support),
        seed: how.seed,
    };
    let default = PixelDecoderConfig::default();
    let method = match how.effort {
        Effort::Best => default.for_best().unwrap_or_else(|| default.boxed()),
        Effort::Fast | Effort::Normal => default.boxed(),
    };
    let scale = how.scale.unwrap_or_else(|| ObjectSizes::of(support).pixels());
    let sees = extractor.clone().with_look(Look::PIXELS);
    let fitting = sees.clone().with_precision(extractor.precision().in_32_bits());
    let seen = SeenSupport::new(&context, [&fitting, &sees], scale, &views::FEW)?;
    let candidate = HeadCandidate::new(method, seen.into(), &context);
    let masks: Vec<&Mask> = cored.pictures.iter().map(|picture| &picture.mask).collect();
    // Half of each picture is held out, not whole ones: how to split is for pictures like the labelled ones, of which
    // there may be one of a kind. On whole pictures, rules for kinds that nobody labelled would win.
    let folds = Folds::blocks(&masks);
    let (model, held_out) = rayon::join(
        || candidate.finished(1.0),
        || match how.effort {
            Effort::Fast => Ok(Vec::new()),
            Effort::Normal | Effort::Best => held_out(&candidate, &folds, &cored),
        },
    );
    let mut held_out = held_out?;
    held_out.iter_mut().for_each(|of| of.picture = places[of.picture]);
    Ok(LearntCores { model: model?.model, held_out })
}

/// Each picture as networks see it that were fitted to its other blocks.
fn held_out(
    candidate: &dyn Candidate,
    folds: &Folds,
    support: &Support,
) -> Result<Vec<HeldOutCores>> {
    let all: Vec<usize> = (0..support.pictures.len()).collect();
    let judged = |fold: &Fold| candidate.judged(&fold.fit, &all).map(|judged| judged.maps);
    let maps: Vec<Vec<ScoreMap>> = folds.folds.par_iter().map(judged).collect::<Result<_>>()?;
    let mut held_out: Vec<HeldOutCores> = Vec::with_capacity(all.len());
    for (fold, maps) in folds.folds.iter().zip(maps) {
        for (picture, map) in maps.into_iter().enumerate() {
            let Mask { width, height, .. } = support.pictures[picture].mask;
            let [cores, inside] = planes(map, [height, width]);
            let Some(of) = held_out.get_mut(picture) else {
                held_out.push(HeldOutCores { picture, cores, inside });
                continue;
            };
            // What was fitted to is unlabelled among what is judged.
            let Some(mask) = &fold.judged[picture].mask else { continue };
            for at in (0..mask.pixels.len()).filter(|at| mask.pixels[*at] != UNLABELLED) {
                (of.cores[at], of.inside[at]) = (cores[at], inside[at]);
            }
        }
    }
    Ok(held_out)
}

/// How probably each pixel is a core, row by row.
///
/// # Errors
/// If the picture has no pixels.
pub(super) fn of_picture(model: &dyn PixelModel, picture: &RgbImage) -> Result<Vec<f32>> {
    let size = [picture.height() as usize, picture.width() as usize];
    let [cores, _] = planes(model.scores(picture)?.logits, size);
    Ok(cores)
}

/// How probably each pixel is a core, and an object's at all.
fn planes(mut logits: ScoreMap, size: [usize; 2]) -> [Vec<f32>; 2] {
    logits.softmax(1.0);
    let map = logits.resampled(size, size);
    let inside = map.plane(0).iter().map(|background| 1.0 - background).collect();
    [map.plane(usize::from(core::CORE)).to_vec(), inside]
}
