//! From a support set to a predictor: methods judged on held-out labels, the best one fitted and calibrated.

use std::sync::Arc;

use image::RgbImage;
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::support::{LabelledPicture, Support};

use super::compare::{SelfSupportExamples, SelfSupportModel};
use super::crossval::{CrossValidation, Folds, HeldOutBy};
use super::familiarity::Familiarity;
use super::heads::HeadModel;
use super::views::{self, TestView};
use super::{Calibrated, Predictor, SegmentationChoice, prior};
use crate::contract::PixelModel;
use crate::error::{Error, Result};
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::method::few_shot::{CellLabels, PixelMethod, SegmentationMethod, Shot};
use crate::postprocess::dense_crf::DenseCrf;
use crate::postprocess::refine::Refinement;

/// What a predictor is made of besides the encoder.
pub struct FitOptions {
    /// The methods to choose among; one is taken as it is.
    pub methods: Vec<PixelMethod>,
    /// How coarse probabilities become pixels.
    pub refinement: Refinement,
    /// Working pixels per picture pixel; `None` looks at the size of the labelled objects.
    pub scale: Option<f32>,
    /// Seed of everything random.
    pub seed: u64,
}

/// Scales tried when the size of objects decides: smallest and largest.
const SCALES: [f32; 2] = [1.0 / 16.0, 2.0];
/// Working pixels that a typical labelled object should measure at least: between one and two cells of
/// the stages at stride 16, below which these no longer tell it from its surroundings.
const OBJECT_SIDE: f32 = 24.0;
/// Working pixels along the longer side that are enough for objects of that size.
const LONG_SIDE: f32 = 512.0;
/// With strokes, working pixels along the longer side at most: how large objects are is not known, so
/// pictures are shrunk only where they are very large.
const STROKE_LONG_SIDE: f32 = 2048.0;
/// With strokes, the coarsest stage used: coarser ones see a whole object from beside it, where nobody
/// has marked background, and take its surroundings for the object.
const STROKE_STRIDE: usize = 16;

/// Fits to a support set, in 32 bits whatever pictures are labelled in.
///
/// # Errors
/// If the support is empty or holds no label, or if no method is given.
pub fn fit(extractor: Extractor, support: &Support, options: FitOptions) -> Result<Predictor> {
    if support.pictures.is_empty() {
        return Err(Error::data(
            "the support holds no labelled picture; label at least one (mask, polygons, \
             scribble or box)",
        ));
    }
    let exact = extractor.precision().in_32_bits();
    let plain = extractor.clone().with_precision(exact);
    let partly = partly_labelled(support);
    let extractor = if partly { extractor.for_strokes(STROKE_STRIDE) } else { extractor };
    let views: &[TestView] = if partly { &views::MANY } else { &views::FEW };
    let scale = options.scale.unwrap_or_else(|| scale_of(support));
    let intensity = Intensity::of(support);
    let fitting = extractor.clone().with_precision(exact);
    let shot = |picture: &LabelledPicture| {
        let seen = intensity.apply(&picture.image);
        shot(&fitting, &seen, &picture.mask, scale, views)
    };
    let shots = support.pictures.iter().map(shot).collect::<Result<Vec<_>>>()?;
    let planes = support.classes.len() + 1;
    let folds = Folds::new(&shots, options.seed);
    let examples = |method: &PixelMethod| match method {
        PixelMethod::SelfSupport(method) => {
            SelfSupportExamples::of(method, &plain, support, intensity).map(Some)
        }
        PixelMethod::Head(_) => Ok(None),
    };
    let mut candidates = Vec::with_capacity(options.methods.len());
    let asked = options.methods.len();
    for method in options.methods {
        let examples = examples(&method)?;
        let outcome = match (&method, &examples) {
            (PixelMethod::SelfSupport(config), Some(examples)) => {
                folds.judge_comparison(config, examples, &shots, (scale, views.len()))?
            }
            (PixelMethod::Head(head), _) => {
                let suited = suited(head.as_ref(), partly);
                Some(folds.judge(
                    suited.as_deref().unwrap_or(head.as_ref()),
                    planes,
                    options.seed,
                )?)
            }
            (PixelMethod::SelfSupport(_), None) => None,
        };
        // What cannot be judged on a single picture is taken only where nothing else was asked for.
        if let Some(outcome) = outcome
            .or_else(|| (asked == 1).then(|| CrossValidation::unknown(method.name(), planes)))
        {
            candidates.push((method, examples, outcome));
        }
    }
    candidates.sort_by(|a, b| b.2.mean_iou.total_cmp(&a.2.mean_iou));
    let outcomes: Vec<CrossValidation> =
        candidates.iter().map(|(_, _, outcome)| outcome.clone()).collect();
    let Some((method, examples, first)) = candidates.into_iter().next() else {
        return Err(Error::config("no method was given to choose from"));
    };
    let temperature = first.temperature(planes);
    let choice = SegmentationChoice {
        reason: reason(&outcomes, folds.held_out, shots.len()),
        method: first.method.clone(),
        outcomes,
        held_out: Some(folds.held_out),
        temperature,
        scale,
        intensity,
    };
    let mut calibrated = Calibrated { temperature, ratios: None };
    let model: Box<dyn PixelModel> = match (method, examples) {
        (PixelMethod::Head(method), _) => {
            let suited = suited(method.as_ref(), partly);
            let method = suited.as_deref().unwrap_or(method.as_ref());
            let head = method.fit(&shots.iter().collect::<Vec<_>>(), planes, options.seed)?;
            calibrated.ratios =
                partly.then(|| prior::ratios(head.as_ref(), &shots, planes, temperature));
            let familiarity = Familiarity::fit(&shots, planes);
            Box::new(HeadModel::new(extractor, head, familiarity, planes, scale, intensity))
        }
        (PixelMethod::SelfSupport(method), Some(examples)) => {
            Box::new(SelfSupportModel::new(method, plain, Arc::new(examples), intensity))
        }
        (PixelMethod::SelfSupport(_), None) => {
            return Err(Error::config("self-support was prepared without examples"));
        }
    };
    Ok(Predictor::new(model, support.classes.clone(), calibrated, options.refinement, choice))
}

/// The version of a method that suits strokes, where there are some and it has one.
fn suited(method: &dyn SegmentationMethod, partly: bool) -> Option<Box<dyn SegmentationMethod>> {
    if partly { method.for_strokes() } else { None }
}

/// Whether some pixels of the support are not labelled, as strokes leave them.
fn partly_labelled(support: &Support) -> bool {
    support.pictures.iter().any(|picture| picture.mask.pixels.contains(&UNLABELLED))
}

impl Refinement {
    /// What suits the support (measured; see docs/results.md): strokes say little of where objects end,
    /// which each picture's own pixels tell better.
    pub fn suited_to(support: &Support) -> Self {
        if partly_labelled(support) {
            Self::DenseCrf(DenseCrf::default())
        } else {
            Self::Guided { radius: 2, epsilon: 1e-3 }
        }
    }
}

/// A labelled picture's features and labels, seen in several ways.
///
/// # Errors
/// If the picture has no pixels.
pub fn shot(
    extractor: &Extractor,
    image: &RgbImage,
    mask: &Mask,
    scale: f32,
    views: &[TestView],
) -> Result<Shot> {
    let (mut tiles, mut labels) = (Vec::new(), Vec::new());
    for view in views {
        let (image, mask) = view.of(image, mask);
        let working = extractor.prepare(&image, scale)?;
        for &tile in &working.tiles {
            tiles.push(extractor.features(&working, tile));
            labels.push(CellLabels::new(&mask, &working, tile));
        }
    }
    Ok(Shot::new(tiles, labels))
}

/// The working scale that shows the labelled objects large enough: the square root of the median
/// area of connected pieces decides.
fn scale_of(support: &Support) -> f32 {
    let mut sides: Vec<f32> = Vec::new();
    let mut longest = 0;
    for picture in &support.pictures {
        longest = longest.max(picture.mask.width).max(picture.mask.height);
        // Strokes are no objects: they do not tell how large these are.
        if picture.mask.pixels.contains(&UNLABELLED) {
            continue;
        }
        sides.extend(
            kshot_data::components::areas(&picture.mask).iter().map(|a| (*a as f32).sqrt()),
        );
    }
    // Weighted by area: specks of a noisy mask do not decide.
    sides.sort_by(f32::total_cmp);
    let total: f32 = sides.iter().map(|side| side * side).sum();
    let mut sum = 0.0;
    if sides.is_empty() {
        return (STROKE_LONG_SIDE / longest.max(1) as f32).clamp(SCALES[0], 1.0);
    }
    let by_picture = LONG_SIDE / longest.max(1) as f32;
    let typical = sides
        .iter()
        .find(|side| {
            sum += *side * *side;
            sum >= total / 2.0
        })
        .copied()
        .unwrap_or(OBJECT_SIDE);
    let by_object = OBJECT_SIDE / typical;
    by_object.max(by_picture.min(1.0)).clamp(SCALES[0], SCALES[1])
}

fn reason(outcomes: &[CrossValidation], held_out: HeldOutBy, pictures: usize) -> String {
    let best = &outcomes[0];
    let how = match held_out {
        HeldOutBy::Pictures => format!("leaving out pictures of the {pictures} labelled ones"),
        HeldOutBy::Blocks => {
            "on held-out blocks of the labelled pictures (optimistic: each class is in one of them only)".to_owned()
        }
    };
    let percent =
        |outcome: &CrossValidation| format!("{} {:.1} %", outcome.method, 100.0 * outcome.mean_iou);
    match &outcomes[1..] {
        [] if best.is_unknown() => {
            format!("{} was asked for; nothing could be held out to judge it", best.method)
        }
        [] => format!(
            "{} was asked for; expected mean IoU {how}: {:.1} %",
            best.method,
            100.0 * best.mean_iou
        ),
        others => format!(
            "{} has the highest expected mean IoU, {how}: {} (others: {})",
            best.method,
            percent(best),
            others.iter().map(percent).collect::<Vec<_>>().join(", ")
        ),
    }
}
