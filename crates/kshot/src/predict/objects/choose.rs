//! How to split, chosen on labelled objects that were held out.

use std::fmt;

use kshot_data::mask::Mask;
use kshot_data::objects::clean;
use kshot_data::objects::matching::Matches;
use kshot_data::objects::watershed::{self, SplitRule};
use kshot_data::support::Support;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Result;
use crate::postprocess::refine::Labelling;
use crate::predict::objects::cores::HeldOutCores;
use crate::predict::objects::landscape::ObjectRule;

/// Overlaps at which objects count as found. The first is what is told; of the mean over all, less a quarter of the error
/// of the number, is the score that decides.
const OVERLAPS: [f64; 3] = [0.5, 0.6, 0.7];
/// How much the error of the number counts beside the precision.
const NUMBER: f64 = 0.25;
/// What a rule has to gain over the one before it to be taken in its place: the first ones are simpler.
const GAIN: f64 = 0.005;

/// What is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Objects of fewer pixels are none.
    pub(super) least: usize,
    /// Holes of at most so many pixels are filled.
    pub(super) holes: usize,
}

impl Sizes {
    /// Fills holes and drops specks. The confidence of what changes is that of the opposite, in doubt.
    pub(super) fn clean(self, labelling: &mut Labelling) {
        let mut changed = clean::fill_holes(&mut labelling.mask, self.holes);
        changed.extend(clean::drop_specks(&mut labelling.mask, self.least));
        for at in changed {
            labelling.confidence[at] = u8::MAX - labelling.confidence[at];
            labelling.margin[at] = 0;
        }
    }
}

/// A way to split that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ObjectTrial {
    /// What it does.
    pub rule: ObjectRule,
    /// `TP / (TP + FP + FN)` at an overlap of one half, the mean over the held-out pictures, 0 to 1.
    pub average_precision: f64,
    /// How far the number of objects was off, as a share of the true one, the mean over the pictures.
    pub count_error: f64,
    /// The mean of the first over several overlaps, less a quarter of the second: by this rules are chosen.
    pub score: f64,
}

/// How objects are split, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectChoice {
    /// What is done.
    pub rule: ObjectRule,
    /// Objects of fewer pixels are none.
    pub min_object: usize,
    /// Holes of at most so many pixels are filled.
    pub fill_holes: usize,
    /// Pictures of which half was held out at a time; 0 where nothing was tried.
    pub held_out: usize,
    /// The best of each kind that was tried: pieces, shape, cores.
    pub trials: Vec<ObjectTrial>,
}

impl ObjectChoice {
    /// Without labelled objects.
    pub(super) fn by_shape(sizes: Sizes) -> Self {
        Self::new(ObjectRule::SHAPE, sizes, 0, Vec::new())
    }

    fn new(rule: ObjectRule, sizes: Sizes, held_out: usize, trials: Vec<ObjectTrial>) -> Self {
        let Sizes { least, holes } = sizes;
        Self { rule, min_object: least, fill_holes: holes, held_out, trials }
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes { least: self.min_object, holes: self.fill_holes }
    }
}

impl fmt::Display for ObjectChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, min_object, fill_holes, held_out, trials } = self;
        match (rule.needs_cores(), rule.split.pass > 0.0) {
            (true, _) => {
                f.write_str("objects are split by what was learnt from the labelled ones")?
            }
            (_, true) => f.write_str("objects are split where the mask is narrow or in doubt")?,
            (_, false) => f.write_str("each piece of the mask is an object")?,
        }
        let taken = trials.iter().find(|trial| trial.rule == *rule);
        if let Some(ObjectTrial { average_precision, count_error, .. }) = taken {
            write!(
                f,
                " (AP {:.2} at an overlap of 0.5, their number {:.0} % off, on held-out parts of {held_out} pictures)",
                average_precision,
                100.0 * count_error
            )?;
        }
        write!(f, "; those below {min_object} pixels are none, holes up to {fill_holes} are filled")
    }
}

/// What is tried, simple ones first.
fn rules() -> [Vec<ObjectRule>; 3] {
    let passes = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9];
    let shape = passes.map(|pass| ObjectRule {
        split: SplitRule { pass, ..ObjectRule::SHAPE.split },
        ..ObjectRule::SHAPE
    });
    let mut cores = Vec::new();
    for (distance, core, least) in LEARNT {
        cores.extend(passes.map(|pass| ObjectRule {
            distance,
            probability: 0.0,
            core,
            split: SplitRule { pass, least },
        }));
    }
    [vec![ObjectRule::PIECES], shape.to_vec(), cores]
}

/// Exponents of the distance and of cores, each with the lowest hill that is an object.
const LEARNT: [(f32, f32, f32); 4] =
    [(1.0, 0.5, 1.4), (1.0, 1.0, 0.7), (0.5, 1.0, 0.5), (0.0, 1.0, 0.3)];
/// The rule where objects are labelled and nothing can be held out.
const UNTRIED: ObjectRule = ObjectRule {
    distance: 1.0,
    probability: 0.0,
    core: 0.5,
    split: SplitRule { pass: 0.65, least: 1.4 },
};

/// Tries them on what was held out: masks and cores as the networks have them that did not see the pixels.
///
/// # Errors
/// If a map has another size than its picture.
pub(super) fn choose(
    support: &Support,
    held_out: &[HeldOutCores],
    sizes: Sizes,
) -> Result<ObjectChoice> {
    if held_out.is_empty() {
        return Ok(ObjectChoice::new(UNTRIED, sizes, 0, Vec::new()));
    }
    let threshold = balanced(support, held_out);
    let labelled = |of: &HeldOutCores| {
        let Mask { width, height, .. } = support.pictures[of.picture].mask;
        let inside = |inside: &f32| u8::from(*inside > threshold);
        let certain = |inside: &f32| (inside.max(1.0 - inside) * 255.0 + 0.5) as u8;
        let pixels = of.inside.iter().map(inside).collect();
        let confidence: Vec<u8> = of.inside.iter().map(certain).collect();
        let margin = vec![0; confidence.len()];
        let mask = Mask { width, height, pixels };
        let mut labelling = Labelling { mask, confidence, margin };
        sizes.clean(&mut labelling);
        labelling
    };
    let labelled: Vec<Labelling> = held_out.iter().map(labelled).collect();
    let trial = |rule: &ObjectRule| -> Result<ObjectTrial> {
        let (mut precision, mut error, mut score) = (0.0, 0.0, 0.0);
        for (of, labelling) in held_out.iter().zip(&labelled) {
            let Some(truth) = &support.pictures[of.picture].objects else { continue };
            // Of one class all: what is an object is told here, not of which class.
            let mut truth = truth.map.clone();
            truth.classes.fill(1);
            let landscape = rule.landscape(labelling, Some(&of.cores));
            let map = watershed::split(&labelling.mask, &landscape, rule.split);
            let map = clean::absorb(&map, sizes.least);
            for (place, overlap) in OVERLAPS.into_iter().enumerate() {
                let matches = Matches::of(&truth, &map, overlap)?;
                score += matches.average_precision() / OVERLAPS.len() as f64;
                if place == 0 {
                    precision += matches.average_precision();
                    error += matches.count_error();
                    score -= NUMBER * matches.count_error();
                }
            }
        }
        let pictures = held_out.len() as f64;
        Ok(ObjectTrial {
            rule: *rule,
            average_precision: precision / pictures,
            count_error: error / pictures,
            score: score / pictures,
        })
    };
    let mut trials: Vec<ObjectTrial> = Vec::new();
    for kind in rules() {
        let tried: Vec<ObjectTrial> = kind.par_iter().map(trial).collect::<Result<_>>()?;
        trials.extend(tried.into_iter().max_by(|a, b| a.score.total_cmp(&b.score)));
    }
    let mut best = trials[0];
    for trial in &trials[1..] {
        if trial.score > best.score + GAIN {
            best = *trial;
        }
    }
    Ok(ObjectChoice::new(best.rule, sizes, held_out.len(), trials))
}

/// The probability above which as many pixels lie as the labels give to objects: rare classes were raised in training.
fn balanced(support: &Support, held_out: &[HeldOutCores]) -> f32 {
    let maps = held_out.iter().filter_map(|of| support.pictures[of.picture].objects.as_ref());
    let owned: usize = maps.map(|of| of.map.ids.iter().filter(|id| **id > 0).count()).sum();
    let mut inside: Vec<f32> = held_out.iter().flat_map(|of| &of.inside).copied().collect();
    if owned >= inside.len() {
        return 0.5;
    }
    *inside.select_nth_unstable_by(owned, |a, b| b.total_cmp(a)).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;
    use kshot_data::objects::ObjectMap;
    use kshot_data::support::{LabelKind, LabelledObjects, LabelledPicture};

    const SIZE: (usize, usize) = (40, 20);
    const SIZES: Sizes = Sizes { least: 4, holes: 4 };

    /// Two blocks of 12 x 12 pixels with so many columns between them, and what a network sees that knows them.
    fn blocks(gap: usize) -> (Support, Vec<HeldOutCores>) {
        let (width, height) = SIZE;
        let number = |at: usize| {
            let (x, y) = (at % width, at / width);
            match x {
                _ if !(4..16).contains(&y) => 0,
                4..16 => 1,
                x if (16 + gap..28 + gap).contains(&x) => 2,
                _ => 0,
            }
        };
        let numbers: Vec<u32> = (0..width * height).map(number).collect();
        let map = ObjectMap::new(width, height, &numbers, |_| 1).unwrap();
        let mask =
            Mask { width, height, pixels: numbers.iter().map(|n| u8::from(*n > 0)).collect() };
        let labels = kshot_data::objects::core::cores(&map, &mask, 0.4);
        let cores = labels.pixels.iter().map(|label| if *label == 1 { 0.9 } else { 0.1 }).collect();
        let inside = mask.pixels.iter().map(|label| 0.05 + 0.9 * f32::from(*label)).collect();
        let picture = LabelledPicture {
            path: "a.png".into(),
            labels: "a.png".into(),
            image: RgbImage::new(width as u32, height as u32),
            mask,
            kind: LabelKind::Mask,
            objects: Some(LabelledObjects { map, file: "a.png".into() }),
        };
        let pictures = vec![picture];
        let support = Support { classes: vec!["block".into()], pictures, warnings: Vec::new() };
        (support, vec![HeldOutCores { picture: 0, cores, inside }])
    }

    #[test]
    fn cores_are_taken_where_shape_does_not_tell() {
        let (support, held_out) = blocks(0);
        let choice = choose(&support, &held_out, SIZES).unwrap();
        assert!(choice.rule.needs_cores(), "{choice}");
        assert_eq!(choice.trials.len(), 3);
        assert_eq!((choice.trials[0].average_precision, choice.trials[0].count_error), (0.5, 0.5));
        assert_eq!((choice.trials[2].average_precision, choice.trials[2].count_error), (1.0, 0.0));
        assert!(choice.to_string().contains("learnt from the labelled ones"), "{choice}");
    }

    #[test]
    fn what_does_not_touch_is_not_split() {
        let (support, held_out) = blocks(2);
        let choice = choose(&support, &held_out, SIZES).unwrap();
        assert_eq!(choice.rule, ObjectRule::PIECES, "{choice}");
        let untried = choose(&support, &[], SIZES).unwrap();
        assert!(untried.rule.needs_cores() && untried.held_out == 0);
    }

    #[test]
    fn what_is_cleared_is_believed_as_much_as_it_was_doubted() {
        let mask = Mask::from_pixels(5, 1, vec![1, 0, 1, 0, 0]).unwrap();
        let mut labelling = Labelling { mask, confidence: vec![200; 5], margin: vec![150; 5] };
        Sizes { least: 2, holes: 0 }.clean(&mut labelling);
        assert_eq!(labelling.mask.pixels, [0; 5]);
        assert_eq!(labelling.confidence, [55, 200, 55, 200, 200]);
    }
}
