//! From a picture to a prediction: the one path that the command line, the recipes and the page share.
//!
//! ```text
//! support -> fit::fit: candidates -> folds -> held_out -> select -> expected -> Predictor
//! run     -> trained::predictor                                           -> Predictor
//! Predictor { PixelModel, calibration, refinement }: picture -> Scores -> probabilities -> Prediction
//! ```

pub mod candidate;
pub mod compare;
pub mod ensemble;
pub mod episodic;
pub mod expected;
pub mod familiarity;
pub mod fit;
pub mod folds;
pub mod heads;
pub mod held_out;
pub mod network;
pub mod objects;
pub mod pipeline;
pub mod placement;
pub mod prior;
pub mod progress;
pub mod scale;
pub mod select;
pub mod suggest;
pub mod test_time;
pub mod trained;
pub mod trust;
pub mod views;

use expected::Expected;
use folds::HeldOutBy;
use held_out::CrossValidation;
use image::RgbImage;
use kshot_data::mask::BACKGROUND;
use trust::{ExpectedOverlap, Trust};

use crate::contract::pixel_model::{PicturePlacement, PixelModel, PlaneSimilarity, Scores};
use crate::error::Result;
use crate::features::intensity::Intensity;
use crate::features::score_map::ScoreMap;
use crate::nn::Precision;
use crate::postprocess::refine::{Labelling, Refinement, label};

/// A method that was chosen.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ChosenMember {
    /// Its name.
    pub method: String,
    /// Working pixels per picture pixel.
    pub scale: f32,
    /// Its share in the mean of probabilities, 0 to 1, near the labelled pictures.
    pub share: f32,
    /// The same far from them.
    pub far_share: f32,
}

/// What was chosen on the support, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SegmentationChoice {
    /// The method taken, or those that were joined.
    pub method: String,
    /// One sentence for a person.
    pub reason: String,
    /// The methods that were joined, with their shares; empty where nothing was fitted.
    pub members: Vec<ChosenMember>,
    /// Every method tried, best first.
    pub outcomes: Vec<CrossValidation>,
    /// What to expect of new pictures like the labelled ones.
    pub expected: Expected,
    /// How the held-out part was chosen; absent where nothing was held out.
    pub held_out: Option<HeldOutBy>,
    /// Temperature that calibrates the probabilities.
    pub temperature: f32,
    /// Working pixels per picture pixel.
    pub scale: f32,
    /// What is done to brightness before the encoder sees a picture.
    pub intensity: Intensity,
}

impl SegmentationChoice {
    /// Of a method that was not chosen on the support: it is what was asked for.
    pub fn given(method: &str, reason: String) -> Self {
        Self {
            method: method.to_owned(),
            reason,
            members: Vec::new(),
            outcomes: Vec::new(),
            expected: Expected::default(),
            held_out: None,
            temperature: 1.0,
            scale: 1.0,
            intensity: Intensity::AsIs,
        }
    }
}

/// How logits become probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// What logits are divided by.
    pub temperature: f32,
    /// By plane, what probabilities are multiplied by; `None` where every pixel was labelled.
    pub ratios: Option<Vec<f32>>,
}

impl Default for Calibrated {
    fn default() -> Self {
        Self { temperature: 1.0, ratios: None }
    }
}

/// A model with what turns its scores into labels.
pub struct Predictor {
    model: Box<dyn PixelModel>,
    classes: Vec<String>,
    calibrated: Calibrated,
    refinement: Refinement,
    choice: SegmentationChoice,
    trust: Trust,
}

/// The labels of one picture, and how far to trust them.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Label and confidence of each pixel.
    pub labelling: Labelling,
    /// By class, from 1: estimated intersection over union, 0 to 1. `None` for one that is not there, and was not
    /// expected to be.
    pub estimates: Vec<Option<f64>>,
    /// Estimated intersection over union, the mean over the classes that were found or missed, 0 to 1; of a picture
    /// that seems to hold none, how sure that is.
    pub confidence: f64,
    /// Expected pixel accuracy: the mean calibrated probability of the pixels' labels, 0 to 1.
    pub expected_accuracy: f64,
    /// Whether it is much farther from the labelled pictures than these are from each other: another kind of picture.
    pub unlike: bool,
    /// How it compares with the labelled pictures; `None` where the model has no notion of it.
    pub placement: Option<PicturePlacement>,
    /// How sure it seems that the picture holds one of the classes, 0 to 1; only its order from
    /// picture to picture means something.
    pub presence: f64,
    /// Whether the picture seems to hold none of the classes: its mask is then empty.
    pub none_of_these: bool,
    /// Whether it should be looked at by a person.
    pub uncertain: bool,
}

/// Below this estimate a picture is flagged as uncertain, unless the labelled pictures let expect less.
pub const UNCERTAIN: f64 = 0.5;

/// Presence below which a class was probably not found. On VOC's training list, from five pictures of a class,
/// it leaves two thirds of the pictures without the class empty, and 8 % of those with it.
const PRESENT: f32 = 0.08;

/// What a class looks like in a new picture.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LabelledTiles {
    /// How sure it seems that it is there, 0 to 1.
    presence: f32,
    /// Whether it was found, but is probably something else.
    unlike: bool,
}

impl Predictor {
    /// How its network's convolutions sum from now on; what was fitted stays as it is.
    pub fn set_precision(&mut self, precision: Precision) {
        self.model.set_precision(precision);
    }

    /// Of a model, for masks of these classes.
    pub fn new(
        model: Box<dyn PixelModel>,
        classes: Vec<String>,
        calibrated: Calibrated,
        refinement: Refinement,
        choice: SegmentationChoice,
    ) -> Self {
        Self { model, classes, calibrated, refinement, choice, trust: Trust::default() }
    }

    /// The same with estimates that held-out pictures corrected.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// The classes' names; class `i + 1` of a mask is the `i`-th.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How coarse probabilities become pixels.
    pub fn refinement(&self) -> Refinement {
        self.refinement
    }

    /// What was chosen, and why.
    pub fn choice(&self) -> &SegmentationChoice {
        &self.choice
    }

    /// Labels one picture; one that seems to hold none of the classes gets an empty mask.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn predict(&self, picture: &RgbImage) -> Result<Prediction> {
        let Scores { logits, similarity, placement, agreement } = self.model.scores(picture)?;
        let probabilities = self.probabilities(logits);
        let seen: Vec<LabelledTiles> = (0..probabilities.planes)
            .map(|plane| seen(&probabilities, plane, similarity.get(plane)))
            .collect();
        self.judge(&probabilities, picture, &seen, placement, &agreement)
    }

    /// Labels one picture that is known to hold one of the classes.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn label(&self, picture: &RgbImage) -> Result<Labelling> {
        self.label_scores(self.model.scores(picture)?, picture)
    }

    /// As [`Self::label`], from scores that were made before.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn label_scores(&self, scores: Scores, picture: &RgbImage) -> Result<Labelling> {
        label(&self.probabilities(scores.logits), picture, self.refinement)
    }

    /// Calibrated probabilities of logits.
    fn probabilities(&self, mut logits: ScoreMap) -> ScoreMap {
        logits.softmax(self.calibrated.temperature);
        if let Some(ratios) = &self.calibrated.ratios {
            logits.reweigh(ratios);
        }
        logits
    }

    fn judge(
        &self,
        probabilities: &ScoreMap,
        picture: &RgbImage,
        seen: &[LabelledTiles],
        placement: Option<PicturePlacement>,
        agreement: &[Option<f32>],
    ) -> Result<Prediction> {
        let distance = placement.as_ref().map(|of| of.distance);
        let mut labelling = label(probabilities, picture, self.refinement)?;
        let planes = probabilities.planes;
        let mut areas = vec![0usize; planes];
        labelling.mask.pixels.iter().for_each(|class| areas[usize::from(*class)] += 1);
        let found = areas[1..].iter().any(|&area| area > 0);
        let trusted = (1..planes).any(|plane| areas[plane] > 0 && !seen[plane].unlike);
        let found_planes = (1..planes).filter(|&plane| areas[plane] > 0);
        let presence =
            found_planes.map(|plane| f64::from(seen[plane].presence)).fold(0.0, f64::max);
        let none_of_these = !trusted;
        let sum: u64 = labelling.confidence.iter().map(|&confidence| u64::from(confidence)).sum();
        let expected_accuracy = sum as f64 / 255.0 / labelling.mask.pixels.len() as f64;
        let mut estimates =
            self.trust.of_classes(&ExpectedOverlap::of_map(probabilities), agreement, distance);
        for (estimate, seen) in estimates.iter_mut().zip(&seen[1..]) {
            *estimate = estimate.map(|iou| if seen.unlike { iou / 2.0 } else { iou });
        }
        if found && none_of_these {
            labelling.mask.pixels.fill(BACKGROUND);
        }
        let counted: Vec<f64> = estimates.iter().flatten().copied().collect();
        let confidence = if counted.is_empty() {
            1.0 - presence
        } else {
            counted.iter().sum::<f64>() / counted.len() as f64
        };
        let expected = self.choice.expected.mean_iou.map_or(1.0, |iou| iou.low);
        let unlike = distance.is_some_and(|distance| f64::from(distance) > trust::UNLIKE);
        if unlike {
            // Whatever the probabilities say: of such pictures nothing is known.
            labelling.confidence.iter_mut().for_each(|confidence| *confidence /= 2);
            labelling.margin.fill(0);
        }
        Ok(Prediction {
            labelling,
            estimates,
            confidence,
            expected_accuracy,
            unlike,
            placement,
            none_of_these,
            presence,
            uncertain: unlike || confidence < UNCERTAIN.min(expected),
        })
    }
}

/// What a plane looks like: its similarity to the labelled pictures times the probability where it is surest. A
/// model without a notion of similarity finds nothing unlike.
fn seen(
    probabilities: &ScoreMap,
    plane: usize,
    similar: Option<&Option<PlaneSimilarity>>,
) -> LabelledTiles {
    let surest = || surest(probabilities.plane(plane));
    match similar {
        None => LabelledTiles { presence: surest(), unlike: false },
        Some(None) => LabelledTiles { presence: 0.0, unlike: false },
        Some(Some(similar)) => {
            let presence = similar.mean.max(0.0) * surest();
            LabelledTiles { presence, unlike: plane > 0 && (presence < PRESENT || similar.unlike) }
        }
    }
}

/// The probability that a thousandth of the cells reach.
fn surest(probabilities: &[f32]) -> f32 {
    let mut sorted = probabilities.to_vec();
    let rank = sorted.len() / 1000;
    *sorted.select_nth_unstable_by(rank, |a, b| b.total_cmp(a)).1
}

impl Refinement {
    /// Its name, as recipes have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Guided { .. } => "guided",
            Self::Local => "local",
            Self::Bilateral { .. } => "bilateral",
            Self::DenseCrf(_) => "dense-crf",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_needs_similarity_and_a_sure_place() {
        let map = |front: f32| ScoreMap {
            planes: 2,
            height: 1,
            width: 1,
            data: vec![1.0 - front, front],
            scale: [1.0; 2],
        };
        let of = |mean: f32, front: f32| {
            seen(&map(front), 1, Some(&Some(PlaneSimilarity { mean, unlike: false })))
        };
        assert_eq!(of(1.0, 0.9), LabelledTiles { presence: 0.9, unlike: false });
        assert!(of(0.05, 0.9).unlike, "unlike the support");
        assert!(of(1.0, 0.05).unlike, "nowhere sure");
        assert_eq!(
            seen(&map(0.05), 1, Some(&None)),
            LabelledTiles { presence: 0.0, unlike: false }
        );
        assert!(!seen(&map(0.01), 1, None).unlike, "nothing is known of similarity");
    }
}
