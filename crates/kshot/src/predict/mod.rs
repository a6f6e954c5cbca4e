//! From a support set to a predictor, and from a picture to a prediction: the one path that the
//! command line, the recipes and the page share.

pub mod crossval;
pub mod familiarity;
pub mod pipeline;
pub mod prior;
pub mod views;

use crossval::{Folds, HeldOut, Outcome};
use familiarity::{Familiarity, Seen};
use image::RgbImage;
use kshot_data::mask::{Mask, UNLABELLED};
use kshot_data::support::{LabelledPicture, Support};
use views::View;

use crate::error::{Error, Result};
use crate::features::extract::{Extractor, TileFeatures};
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::features::tile::Blend;
use crate::method::few_shot::{CellLabels, Head, Method, Shot};
use crate::nn::bf16::in_32_bits;
use crate::postprocess::dense_crf::DenseCrf;
use crate::postprocess::refine::{Labelling, Refinement, label};

/// What a predictor is made of besides the encoder.
pub struct Options {
    /// The methods to choose among; one is taken as it is.
    pub methods: Vec<Box<dyn Method>>,
    /// How coarse probabilities become pixels.
    pub refinement: Refinement,
    /// Working pixels per picture pixel; `None` looks at the size of the labelled objects.
    pub scale: Option<f32>,
    /// Seed of everything random.
    pub seed: u64,
}

/// What was chosen on the support, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Choice {
    /// The method taken.
    pub method: String,
    /// One sentence for a person.
    pub reason: String,
    /// Every method tried, best first.
    pub outcomes: Vec<Outcome>,
    /// How the held-out part was chosen.
    pub held_out: HeldOut,
    /// Temperature that calibrates the probabilities.
    pub temperature: f32,
    /// Working pixels per picture pixel.
    pub scale: f32,
    /// What is done to brightness before the encoder sees a picture.
    pub intensity: Intensity,
}

/// A fitted predictor.
pub struct Predictor {
    extractor: Extractor,
    head: Box<dyn Head>,
    classes: Vec<String>,
    refinement: Refinement,
    familiarity: Familiarity,
    /// By plane, what probabilities are multiplied by; `None` where every pixel was labelled.
    ratios: Option<Vec<f32>>,
    choice: Choice,
}

/// What a picture holds of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassShare {
    /// The class's index in the mask, from 1.
    pub class: u8,
    /// Pixels.
    pub area: usize,
    /// Share of the picture, 0 to 1.
    pub fraction: f64,
    /// Mean calibrated probability of its pixels, 0 to 1.
    pub confidence: f64,
}

/// The labels of one picture, and how far to trust them.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Label and confidence of each pixel.
    pub labelling: Labelling,
    /// The classes found.
    pub classes: Vec<ClassShare>,
    /// Expected share of pixels that are right, 0 to 1, lowered where the picture is unlike the support.
    pub confidence: f64,
    /// How sure it seems that the picture holds one of the classes, 0 to 1; only its order from
    /// picture to picture means something.
    pub presence: f64,
    /// Whether the picture seems to hold none of the classes: its mask is then empty.
    pub none_of_these: bool,
    /// Whether it should be looked at by a person.
    pub uncertain: bool,
}

/// Below this confidence a picture is flagged as uncertain.
pub const UNCERTAIN: f64 = 0.75;

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

impl Predictor {
    /// Fits to a support set, in 32 bits whatever pictures are labelled in.
    ///
    /// # Errors
    /// If the support is empty or holds no label, or if no method is given.
    pub fn fit(extractor: Extractor, support: &Support, options: Options) -> Result<Self> {
        if support.pictures.is_empty() {
            return Err(Error::data(
                "the support holds no labelled picture; label at least one (mask, polygons, \
                 scribble or box)",
            ));
        }
        let partly = partly_labelled(support);
        let extractor = if partly { extractor.for_strokes(STROKE_STRIDE) } else { extractor };
        let views: &[View] = if partly { &views::MANY } else { &views::FEW };
        let scale = options.scale.unwrap_or_else(|| scale_of(support));
        let intensity = Intensity::of(support);
        let shots = in_32_bits(|| {
            let shot = |picture: &LabelledPicture| {
                let seen = intensity.apply(&picture.image);
                shot(&extractor, &seen, &picture.mask, scale, views)
            };
            support.pictures.iter().map(shot).collect::<Result<Vec<_>>>()
        })?;
        let planes = support.classes.len() + 1;
        let folds = Folds::new(&shots, options.seed);
        let suited = |method: Box<dyn Method>| match method.for_strokes() {
            Some(suited) if partly => suited,
            _ => method,
        };
        let methods: Vec<Box<dyn Method>> = options.methods.into_iter().map(suited).collect();
        let mut outcomes = Vec::with_capacity(methods.len());
        for (index, method) in methods.iter().enumerate() {
            outcomes.push((index, folds.judge(method.as_ref(), planes, options.seed)?));
        }
        outcomes.sort_by(|a, b| b.1.mean_iou.total_cmp(&a.1.mean_iou));
        let Some((best, first)) = outcomes.first() else {
            return Err(Error::config("no method was given to choose from"));
        };
        let temperature = first.temperature(planes);
        let head = methods[*best].fit(&shots.iter().collect::<Vec<_>>(), planes, options.seed)?;
        let method = first.method.clone();
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        let choice = Choice {
            reason: reason(&outcomes, folds.held_out, shots.len()),
            method,
            outcomes,
            held_out: folds.held_out,
            temperature,
            scale,
            intensity,
        };
        let familiarity = Familiarity::fit(&shots, planes, options.seed);
        let ratios = partly.then(|| prior::ratios(head.as_ref(), &shots, planes, temperature));
        Ok(Self {
            extractor,
            head,
            classes: support.classes.clone(),
            refinement: options.refinement,
            familiarity,
            ratios,
            choice,
        })
    }

    /// The classes' names; class `i + 1` of a mask is the `i`-th.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What was chosen on the support, and why.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Labels one picture; one that seems to hold none of the classes gets an empty mask.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn predict(&self, picture: &RgbImage) -> Result<Prediction> {
        let mut familiar = self.familiarity.query();
        let (probabilities, size) =
            self.probabilities(picture, |features, scores| familiar.add(features, scores))?;
        let seen = familiar.seen(&probabilities);
        self.judge(&probabilities, picture, size, &seen)
    }

    /// Labels one picture that is known to hold one of the classes.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn label(&self, picture: &RgbImage) -> Result<Labelling> {
        let (probabilities, _) = self.probabilities(picture, |_, _| ())?;
        label(&probabilities, picture, self.refinement)
    }

    /// Calibrated probabilities, and the picture's height and width.
    fn probabilities(
        &self,
        picture: &RgbImage,
        mut on_tile: impl FnMut(&TileFeatures, &[f32]),
    ) -> Result<(ScoreMap, [usize; 2])> {
        let seen = self.choice.intensity.apply(picture);
        let planes = self.classes.len() + 1;
        let working = self.extractor.prepare(&seen, self.choice.scale)?;
        let mut blend = Blend::new(planes, working.size(), working.picture, working.cell);
        for &tile in &working.tiles {
            let features = self.extractor.features(&working, tile);
            let scores = self.head.scores(&features);
            on_tile(&features, &scores);
            blend.add(tile, &scores);
        }
        let mut probabilities = blend.finish();
        probabilities.softmax(self.choice.temperature);
        if let Some(ratios) = &self.ratios {
            probabilities.reweigh(ratios);
        }
        Ok((probabilities, working.picture))
    }

    fn judge(
        &self,
        probabilities: &ScoreMap,
        picture: &RgbImage,
        size: [usize; 2],
        seen: &[Seen],
    ) -> Result<Prediction> {
        let mut labelling = label(probabilities, picture, self.refinement)?;
        let planes = probabilities.planes;
        let mut areas = vec![0usize; planes];
        let mut sums = vec![0u64; planes];
        for (class, confidence) in labelling.mask.pixels.iter().zip(&labelling.confidence) {
            areas[usize::from(*class)] += 1;
            sums[usize::from(*class)] += u64::from(*confidence);
        }
        let found = areas[1..].iter().any(|&area| area > 0);
        let trusted = (1..planes).any(|plane| areas[plane] > 0 && !seen[plane].strange);
        let found_planes = (1..planes).filter(|&plane| areas[plane] > 0);
        let presence =
            found_planes.map(|plane| f64::from(seen[plane].presence)).fold(0.0, f64::max);
        let none_of_these = !trusted;
        let pixels = (size[0] * size[1]) as f64;
        let mut confidence = sums.iter().sum::<u64>() as f64 / 255.0 / pixels;
        if found && none_of_these {
            labelling.mask.pixels.fill(kshot_data::mask::BACKGROUND);
            areas[1..].fill(0);
        }
        if seen.iter().zip(&areas).skip(1).any(|(seen, &area)| seen.strange && area > 0)
            || found && none_of_these
        {
            confidence *= 0.5;
        }
        let classes = (1..planes)
            .filter(|&plane| areas[plane] > 0)
            .map(|plane| ClassShare {
                class: plane as u8,
                area: areas[plane],
                fraction: areas[plane] as f64 / pixels,
                confidence: sums[plane] as f64 / 255.0 / areas[plane] as f64,
            })
            .collect();
        Ok(Prediction {
            labelling,
            classes,
            confidence,
            none_of_these,
            presence,
            uncertain: confidence < UNCERTAIN,
        })
    }
}

/// Whether some pixels of the support are not labelled, as strokes leave them.
fn partly_labelled(support: &Support) -> bool {
    support.pictures.iter().any(|picture| picture.mask.pixels.contains(&UNLABELLED))
}

impl Refinement {
    /// What suits the support (measured; see the README): strokes say little of where objects end,
    /// which each picture's own pixels tell better.
    pub fn suited_to(support: &Support) -> Self {
        if partly_labelled(support) {
            Self::DenseCrf(DenseCrf::default())
        } else {
            Self::Guided { radius: 2, epsilon: 1e-3 }
        }
    }

    /// Its name, as recipes have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Guided { .. } => "guided",
            Self::Local => "local",
            Self::Bilateral { .. } => "bilateral",
            Self::DenseCrf(_) => "dense-crf",
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
    views: &[View],
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

fn reason(outcomes: &[Outcome], held_out: HeldOut, pictures: usize) -> String {
    let best = &outcomes[0];
    let how = match held_out {
        HeldOut::Pictures => format!("leaving out pictures of the {pictures} labelled ones"),
        HeldOut::Blocks => {
            "on held-out blocks of the labelled pictures (optimistic: each class is in one of them only)".to_owned()
        }
    };
    let percent =
        |outcome: &Outcome| format!("{} {:.1} %", outcome.method, 100.0 * outcome.mean_iou);
    match &outcomes[1..] {
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
