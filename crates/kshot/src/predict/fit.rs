//! From a support set to a predictor: methods judged on held-out labels, those that help joined, fitted and calibrated.

use kshot_data::mask::Mask;
use kshot_data::support::Support;
use rayon::prelude::*;

use super::candidate::compete::{Competing, competing};
use super::candidate::{Candidate, CandidateContext, FinishedCandidate, partly_labelled};
use super::ensemble::{self, EnsembleModel, Member, Share};
use super::expected::Expected;
use super::folds::{Folds, HeldOutBy};
use super::held_out::{CrossValidation, HeldOut, JudgedRows};
use super::progress::{FitStep, OnStep, Steps};
use super::select::{
    ChosenBy, Joined, Selection, SelectionRules, mixed, nested, select, shares_at,
};
use super::trust::Trust;
use super::{Calibrated, ChosenMember, Predictor, SegmentationChoice};
use crate::contract::PixelModel;
use crate::error::{Error, Result};
use crate::features::extract::Extractor;
use crate::features::intensity::Intensity;
use crate::method::few_shot::{Effort, HeadConfig, PixelMethod};
use crate::metric::confusion::Confusion;
use crate::postprocess::dense_crf::DenseCrf;
use crate::postprocess::refine::Refinement;
use crate::recipe::Predict;

/// What a predictor is made of besides the encoder.
pub struct FitOptions {
    /// The methods to choose among; one is taken as it is.
    pub methods: Vec<PixelMethod>,
    /// How much is tried.
    pub effort: Effort,
    /// How coarse probabilities become pixels.
    pub refinement: Refinement,
    /// Working pixels per picture pixel; `None` looks at how thick the labelled objects are.
    pub scale: Option<f32>,
    /// Seed of everything random.
    pub seed: u64,
}

impl FitOptions {
    /// As a recipe's `[predict]` says.
    pub fn of(predict: &Predict, method: &HeadConfig, seed: u64) -> Self {
        let Predict { effort, refinement, scale, .. } = *predict;
        Self { methods: method.candidates(effort), effort, refinement, scale, seed }
    }
}

impl Effort {
    /// Ways to hold pictures out, at most.
    fn folds(self) -> usize {
        match self {
            Self::Fast => 5,
            Self::Normal | Self::Best => 6,
        }
    }
}

/// Fits to a support set, in 32 bits whatever pictures are labelled in.
///
/// # Errors
/// If the support is empty or holds no label, or if no method is given.
pub fn fit(extractor: Extractor, support: &Support, options: FitOptions) -> Result<Predictor> {
    fit_watched(extractor, support, options, &|_| true)
}

/// As [`fit`], telling each step, until one is answered with `false`.
///
/// # Errors
/// As [`fit`]; of kind [`Cancelled`](crate::error::ErrorKind::Cancelled) where it was stopped.
pub fn fit_watched(
    extractor: Extractor,
    support: &Support,
    options: FitOptions,
    on_step: &OnStep<'_>,
) -> Result<Predictor> {
    if support.pictures.is_empty() {
        return Err(Error::data(
            "the support holds no labelled picture; label at least one (mask, polygons, scribble or box)",
        ));
    }
    let context = CandidateContext {
        support,
        planes: support.classes.len() + 1,
        intensity: Intensity::of(support),
        seed: options.seed,
    };
    let masks: Vec<&Mask> = support.pictures.iter().map(|picture| &picture.mask).collect();
    let folds = Folds::new(&masks, options.effort.folds(), options.seed);
    let steps = Steps::new(on_step);
    steps.tell(&FitStep::Seeing { pictures: support.pictures.len() })?;
    let held_out = HeldOut::new(support, &folds, options.seed);
    let Competing { candidates, partner } =
        competing(&extractor, &context, &options, folds.held_out)?;
    if candidates.is_empty() {
        return Err(Error::config("no method was given to choose from"));
    }
    let steps = steps.of(candidates.len());
    let partly = partly_labelled(support);
    let refinements: &[bool] = match options.refinement {
        Refinement::Auto if !partly => &[true, false],
        Refinement::Guided { .. } => &[true],
        _ => &[false],
    };
    let judged = judge(&candidates, &held_out, refinements[0], &steps)?;
    let joined = if options.effort == Effort::Fast { Joined::One } else { Joined::Several };
    let first = candidates[0].name();
    let defaults = candidates.iter().take_while(|candidate| candidate.name() == first).count();
    let how = SelectionRules { joined, defaults, partner, refinements };
    let selection = select(&held_out, &judged, how, &|_| true);
    let nested = nested(&held_out, &judged, how);
    let expected = Expected::of(&nested, folds.held_out);
    let refinement = match options.refinement {
        Refinement::Auto if !partly && !selection.guided => Refinement::None,
        other => other.suited(support),
    };
    let outcomes = outcomes(&candidates, &judged, &held_out, selection.guided);
    steps.tell(&FitStep::Fitting { methods: selection.members.len() })?;
    let fitted = Fitted::of(&candidates, &judged, &held_out, &selection)?;
    let agreement: Vec<Vec<Option<f32>>> = (0..held_out.parts.len())
        .map(|part| agreement(&judged, &selection, &held_out, part))
        .collect();
    let trust = Trust::fit(&held_out, &fitted.rows, &agreement, &nested).within(&expected);
    let how = match folds.held_out {
        HeldOutBy::Pictures => {
            format!("leaving out pictures of the {} labelled ones", support.pictures.len())
        }
        HeldOutBy::Blocks => {
            "on held-out blocks of the labelled pictures (optimistic: each class is in one of them only)".to_owned()
        }
    };
    let reason = match (&outcomes[..], options.methods.len()) {
        (_, 1) => format!("{} was asked for; expected mean IoU {how}: {expected}", fitted.name),
        ([only], _) => format!(
            "{} has most right on other pictures where one of a kind is labelled; expected {how}: {expected}",
            only.method
        ),
        _ => format!(
            "{}; expected of the choice: {expected}",
            reason(&fitted, selection.by, &outcomes, &how)
        ),
    };
    let choice = SegmentationChoice {
        method: fitted.name.clone(),
        reason,
        members: fitted.members,
        outcomes,
        expected,
        held_out: Some(folds.held_out),
        temperature: fitted.calibrated.temperature,
        scale: candidates[selection.members[0].0].scale(),
        intensity: context.intensity,
    };
    let (model, calibrated) = (fitted.model, fitted.calibrated);
    let predictor = Predictor::new(model, support.classes.clone(), calibrated, refinement, choice);
    Ok(predictor.with_trust(trust))
}

/// Every candidate on the held-out labels.
fn judge(
    candidates: &[Box<dyn Candidate + '_>],
    held_out: &HeldOut<'_>,
    guided: bool,
    steps: &Steps<'_>,
) -> Result<Vec<JudgedRows>> {
    let judged = |candidate: &dyn Candidate| {
        steps.trying(candidate.name())?;
        let rows = held_out.judge(candidate)?;
        let outcome = outcome(candidate, &rows, held_out, guided);
        steps.tried(candidate.name(), candidate.scale(), outcome.mean_iou)?;
        Ok(rows)
    };
    // Side by side: a training of small networks leaves much of a processor idle.
    candidates.par_iter().map(|candidate| judged(candidate.as_ref())).collect()
}

/// What a candidate did on the labels that it had not seen.
fn outcome(
    candidate: &dyn Candidate,
    rows: &JudgedRows,
    held_out: &HeldOut<'_>,
    guided: bool,
) -> CrossValidation {
    let mut confusion = Confusion::new(held_out.planes());
    for part in 0..held_out.parts.len() {
        if let Some(rows) = rows.rows(guided, part) {
            confusion.merge(&held_out.confusion(part, rows));
        }
    }
    CrossValidation::of(candidate.name(), &confusion, rows.fit_seconds)
}

/// What each did, best first.
fn outcomes(
    candidates: &[Box<dyn Candidate + '_>],
    judged: &[JudgedRows],
    held_out: &HeldOut<'_>,
    guided: bool,
) -> Vec<CrossValidation> {
    let all = candidates.iter().map(AsRef::as_ref).zip(judged);
    let mut outcomes: Vec<_> =
        all.map(|(candidate, rows)| outcome(candidate, rows, held_out, guided)).collect();
    outcomes.sort_by(|a, b| b.mean_iou.total_cmp(&a.mean_iou));
    outcomes
}

/// The chosen candidates, fitted to all labels.
struct Fitted {
    name: String,
    model: Box<dyn PixelModel>,
    calibrated: Calibrated,
    members: Vec<ChosenMember>,
    /// Held-out probabilities by part, as the predictor will have them, `[pixels, planes]`; `None` where one of the
    /// members was not judged.
    rows: Vec<Option<Vec<f32>>>,
}

impl Fitted {
    fn of(
        candidates: &[Box<dyn Candidate + '_>],
        judged: &[JudgedRows],
        held_out: &HeldOut<'_>,
        selection: &Selection,
    ) -> Result<Self> {
        let member = |&(index, share): &(usize, Share)| ChosenMember {
            method: candidates[index].name().to_owned(),
            scale: candidates[index].scale(),
            share: share.near,
            far_share: share.far,
        };
        let members: Vec<ChosenMember> = selection.members.iter().map(member).collect();
        let mut names: Vec<&str> = members.iter().map(|of| of.method.as_str()).collect();
        names.dedup();
        let name = names.join(" + ");
        let rows = |part| mixed(judged, &selection.members, selection.guided, part);
        let mut rows: Vec<Option<Vec<f32>>> = (0..held_out.parts.len()).map(rows).collect();
        if let [(index, _)] = selection.members[..] {
            let temperature = judged[index].temperature;
            let FinishedCandidate { model, ratios } = candidates[index].finished(temperature)?;
            let calibrated = Calibrated { temperature, ratios };
            return Ok(Self { name, model, calibrated, members, rows });
        }
        // Members are calibrated by themselves, their mean once more.
        let groups = selection.members.iter().map(|of| held_out.groups(candidates[of.0].as_ref()));
        let groups = groups.min().unwrap_or(1);
        let values = rows.iter_mut().flatten().flatten();
        values.for_each(|value| *value = value.max(ensemble::LEAST).ln());
        let temperature = held_out.temperature(&rows, groups);
        let planes = held_out.planes();
        let calm = rows.iter_mut().flatten().flat_map(|rows| rows.chunks_exact_mut(planes));
        calm.for_each(|row| softmax(row, temperature));
        let joined = selection.members.par_iter().map(|&(index, share)| {
            let temperature = judged[index].temperature;
            let FinishedCandidate { model, ratios } = candidates[index].finished(temperature)?;
            Ok(Member { model, share, temperature, ratios })
        });
        let model = Box::new(EnsembleModel::new(joined.collect::<Result<_>>()?));
        let calibrated = Calibrated { temperature, ratios: None };
        Ok(Self { name, model, calibrated, members, rows })
    }
}

/// By plane, how far the members of a selection agree at the held-out pixels of a part; empty for a single one.
fn agreement(
    judged: &[JudgedRows],
    selection: &Selection,
    held_out: &HeldOut<'_>,
    part: usize,
) -> Vec<Option<f32>> {
    let Selection { members, guided, .. } = selection;
    let together = mixed(judged, members, *guided, part);
    let rows = |(index, share): (usize, f32)| {
        Some((held_out.labels(judged[index].rows(*guided, part)?), share))
    };
    match (together, shares_at(judged, members, part).map(rows).collect::<Option<Vec<_>>>()) {
        (Some(together), Some(labels)) if labels.len() > 1 => {
            ensemble::agreement(&held_out.labels(&together), &labels, held_out.planes())
        }
        _ => Vec::new(),
    }
}

/// Logits divided by a temperature, as probabilities.
fn softmax(row: &mut [f32], temperature: f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|value| *value = ((*value - largest) / temperature).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
}

impl Refinement {
    /// What suits the support (measured; see docs/results.md), where nothing is asked for: strokes say little of where
    /// objects end, which each picture's own pixels tell better.
    #[must_use]
    pub fn suited(self, support: &Support) -> Self {
        match self {
            Self::Auto if partly_labelled(support) => Self::DenseCrf(DenseCrf::default()),
            Self::Auto => Self::GUIDED,
            other => other,
        }
    }
}

/// One sentence for a person.
fn reason(fitted: &Fitted, by: ChosenBy, outcomes: &[CrossValidation], how: &str) -> String {
    let percent =
        |outcome: &CrossValidation| format!("{} {:.1} %", outcome.method, 100.0 * outcome.mean_iou);
    let all = outcomes.iter().map(percent).collect::<Vec<_>>().join(", ");
    let (beside, chosen): (Vec<&ChosenMember>, Vec<&ChosenMember>) =
        fitted.members.iter().partition(|of| of.far_share > of.share);
    let mut names: Vec<&str> = chosen.iter().map(|of| of.method.as_str()).collect();
    names.dedup();
    let why = match by {
        ChosenBy::Default => "is the default, and no other surely surpasses its mean IoU",
        ChosenBy::Best => "has the highest mean IoU",
        ChosenBy::Partner => "learns least from the labelled pictures and has the most right",
        ChosenBy::Joined => "surely label more right together than one of them alone",
    };
    let beside = beside.iter().map(|of| {
        let share = (100.0 * of.share).round();
        format!(
            "; {} has a share of {share} %, and pictures unlike the labelled ones to itself",
            of.method
        )
    });
    format!("{} {why} {how}: {all}{}", names.join(" + "), beside.collect::<String>())
}
