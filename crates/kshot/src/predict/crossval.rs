//! Leave-one-picture-out on the support: which method to take, and what to expect of it.

use kshot_data::mask::MAX_CLASSES;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::method::few_shot::{CellLabels, Method, Shot};

/// Folds at most: from this many pictures on, several are left out at a time.
const FOLDS: usize = 5;
/// Side of the blocks that pictures are split into, in cells.
const BLOCK: usize = 12;
/// Cells kept of each held-out picture for calibration.
const KEPT: usize = 4_000;

/// What a method did on pictures it had not seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// The method's name.
    pub method: String,
    /// Expected intersection over union of background and every class; `None` where the held-out
    /// labels hold no such pixel and none was predicted.
    pub iou: Vec<Option<f64>>,
    /// Their mean over the classes, without background where there are classes at all.
    pub mean_iou: f64,
    /// Seconds to fit once.
    pub fit_seconds: f64,
    /// Held-out logits, `[cells, planes]`, and their labels, for calibration.
    #[serde(skip)]
    pub logits: Vec<f32>,
    /// The labels of the same cells.
    #[serde(skip)]
    pub labels: Vec<u8>,
}

/// How the held-out part was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// Each picture in turn (or a fifth of them).
    Pictures,
    /// Blocks of the pictures, where each class is in a single one: optimistic, since neighbours are
    /// alike.
    Blocks,
}

/// The folds of a support set: for each, the shots to fit on and those to judge on.
pub struct Folds {
    folds: Vec<(Vec<Shot>, Vec<Shot>)>,
    /// How the held-out part was chosen.
    pub held_out: HeldOut,
}

impl Folds {
    /// Splits the support; the same seed splits it the same way.
    pub fn new(shots: &[Shot], seed: u64) -> Self {
        if shown_once(shots) {
            let part = |odd| shots.iter().map(|shot| masked(shot, odd)).collect::<Vec<_>>();
            let folds = vec![(part(false), part(true)), (part(true), part(false))];
            return Self { folds, held_out: HeldOut::Blocks };
        }
        let mut order: Vec<usize> = (0..shots.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let count = shots.len().min(FOLDS);
        let folds = (0..count)
            .map(|fold| {
                let part = |inside: bool| {
                    let in_fold = |place: &usize| (place % count == fold) == inside;
                    (0..order.len())
                        .filter(in_fold)
                        .map(|place| shots[order[place]].clone())
                        .collect()
                };
                (part(false), part(true))
            })
            .collect();
        Self { folds, held_out: HeldOut::Pictures }
    }

    /// Fits `method` on each fold and judges it on what was left out.
    ///
    /// # Errors
    /// As the method's `fit`.
    pub fn judge(&self, method: &dyn Method, planes: usize, seed: u64) -> Result<Outcome> {
        let mut counts = vec![[0.0f64; 3]; planes];
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut fit_seconds = 0.0;
        let quick = method.for_judging();
        let fitted = quick.as_deref().unwrap_or(method);
        for (fit, held_out) in &self.folds {
            let started = std::time::Instant::now();
            let head = fitted.fit(&fit.iter().collect::<Vec<_>>(), planes, seed)?;
            fit_seconds += started.elapsed().as_secs_f64() / self.folds.len() as f64;
            for shot in held_out {
                for (tile, truth) in shot.tiles.iter().zip(&shot.labels) {
                    let scores = head.scores(tile);
                    let cells = truth.labels.len();
                    let mut labelled: Vec<(usize, u8, f32)> = Vec::new();
                    for (cell, label) in truth.labels.iter().enumerate() {
                        if let Some(class) = label {
                            labelled.push((cell, *class, truth.shares[cell]));
                        }
                    }
                    for &(cell, class, share) in &labelled {
                        let predicted = (0..planes)
                            .max_by(|&a, &b| {
                                scores[a * cells + cell].total_cmp(&scores[b * cells + cell])
                            })
                            .unwrap_or(0);
                        let share = f64::from(share);
                        if predicted == usize::from(class) {
                            counts[predicted][0] += share;
                        } else {
                            counts[predicted][1] += share;
                            counts[usize::from(class)][2] += share;
                        }
                    }
                    labelled.shuffle(&mut random);
                    for (cell, class, _) in labelled.into_iter().take(KEPT / shot.tiles.len()) {
                        logits.extend((0..planes).map(|plane| scores[plane * cells + cell]));
                        labels.push(class);
                    }
                }
            }
        }
        let iou: Vec<Option<f64>> = counts
            .iter()
            .map(|[hit, false_alarm, miss]| {
                let union = hit + false_alarm + miss;
                (union > 0.0).then(|| hit / union)
            })
            .collect();
        let mean = |values: &[Option<f64>]| {
            let known: Vec<f64> = values.iter().flatten().copied().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let mean_iou = mean(&iou[1..]).or_else(|| mean(&iou)).unwrap_or(0.0);
        let method = method.name().to_owned();
        Ok(Outcome { method, iou, mean_iou, fit_seconds, logits, labels })
    }
}

/// Whether most classes are in a single picture: leaving that one out would leave nothing to learn
/// them from.
fn shown_once(shots: &[Shot]) -> bool {
    let mut pictures = [0usize; MAX_CLASSES as usize + 1];
    for shot in shots {
        let mut seen = [false; MAX_CLASSES as usize + 1];
        let labels = shot.labels.iter().flat_map(|labels| labels.labels.iter().flatten());
        labels.for_each(|&class| seen[usize::from(class)] = true);
        for (pictures, seen) in pictures.iter_mut().zip(seen) {
            *pictures += usize::from(seen);
        }
    }
    let classes = pictures[1..].iter().filter(|count| **count > 0).count();
    let once = pictures[1..].iter().filter(|count| **count == 1).count();
    shots.len() == 1 || 2 * once > classes
}

/// The picture with every other block's labels taken away.
fn masked(shot: &Shot, odd: bool) -> Shot {
    let labels = shot
        .tiles
        .iter()
        .zip(&shot.labels)
        .map(|(tile, labels)| {
            let width = tile.grid()[1];
            let kept =
                |cell: usize| ((cell / width / BLOCK + cell % width / BLOCK) % 2 == 1) == odd;
            CellLabels {
                labels: labels
                    .labels
                    .iter()
                    .enumerate()
                    .map(|(cell, label)| label.filter(|_| kept(cell)))
                    .collect(),
                shares: labels.shares.clone(),
            }
        })
        .collect();
    Shot::new(shot.tiles.clone(), labels)
}

impl Outcome {
    /// The temperature that makes the held-out probabilities fit best (Guo et al. 2017, arXiv
    /// 1706.04599): the least negative log-likelihood on a grid of 41 values from 1/8 to 8, by class-blind mean.
    pub fn temperature(&self, planes: usize) -> f32 {
        let loss = |temperature: f32| {
            let mut sum = 0.0f64;
            for (row, label) in self.logits.chunks_exact(planes).zip(&self.labels) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f32 = row.iter().map(|v| ((v - largest) / temperature).exp()).sum();
                sum += f64::from(total.ln() - (row[usize::from(*label)] - largest) / temperature);
            }
            sum
        };
        (0..=40)
            .map(|step| 2f32.powf((step as f32 - 20.0) * 0.15))
            .map(|temperature| (temperature, loss(temperature)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1.0, |(temperature, _)| temperature)
    }
}
