//! Leave-one-picture-out on the support: which method to take, and what to expect of it.

use kshot_data::mask::MAX_CLASSES;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::features::extract::TileFeatures;
use crate::features::score_map::{InterpolationTap, ScoreMap};
use crate::method::few_shot::self_support::{NAME, SelfSupport};
use crate::method::few_shot::{CellLabels, SegmentationMethod, Shot};
use crate::metric::confusion::Confusion;
use crate::predict::compare::SelfSupportExamples;

/// Folds at most: from this many pictures on, several are left out at a time.
const FOLDS: usize = 5;
/// Side of the blocks that pictures are split into, in cells.
const BLOCK: usize = 12;
/// Cells kept of each held-out picture for calibration.
const KEPT: usize = 4_000;

/// What a method did on pictures it had not seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CrossValidation {
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
pub enum HeldOutBy {
    /// Each picture in turn (or a fifth of them).
    Pictures,
    /// Blocks of the pictures, where each class is in a single one: optimistic, since neighbours are
    /// alike.
    Blocks,
}

/// The folds of a support set: for each, the shots to fit on and those to judge on.
pub struct Folds {
    folds: Vec<(Vec<Shot>, Vec<Shot>)>,
    /// The same as numbers of the pictures; empty where blocks are held out.
    members: Vec<(Vec<usize>, Vec<usize>)>,
    /// How the held-out part was chosen.
    pub held_out: HeldOutBy,
}

impl Folds {
    /// Splits the support; the same seed splits it the same way.
    pub fn new(shots: &[Shot], seed: u64) -> Self {
        if shown_once(shots) {
            let part = |odd| shots.iter().map(|shot| masked(shot, odd)).collect::<Vec<_>>();
            let folds = vec![(part(false), part(true)), (part(true), part(false))];
            return Self { folds, members: Vec::new(), held_out: HeldOutBy::Blocks };
        }
        let mut order: Vec<usize> = (0..shots.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let count = shots.len().min(FOLDS);
        let members: Vec<(Vec<usize>, Vec<usize>)> = (0..count)
            .map(|fold| {
                let part = |inside: bool| {
                    let in_fold = |place: &usize| (place % count == fold) == inside;
                    (0..order.len()).filter(in_fold).map(|place| order[place]).collect()
                };
                (part(false), part(true))
            })
            .collect();
        let chosen = |of: &[usize]| of.iter().map(|&index| shots[index].clone()).collect();
        let folds = members.iter().map(|(fit, judged)| (chosen(fit), chosen(judged))).collect();
        Self { folds, members, held_out: HeldOutBy::Pictures }
    }

    /// Fits `method` on each fold and judges it on what was left out.
    ///
    /// # Errors
    /// As the method's `fit`.
    pub fn judge(
        &self,
        method: &dyn SegmentationMethod,
        planes: usize,
        seed: u64,
    ) -> Result<CrossValidation> {
        let mut judged = HeldOutCells::new(planes, seed);
        let mut fit_seconds = 0.0;
        let quick = method.for_judging();
        let fitted = quick.as_deref().unwrap_or(method);
        for (fit, held_out) in &self.folds {
            let started = std::time::Instant::now();
            let head = fitted.fit(&fit.iter().collect::<Vec<_>>(), planes, seed)?;
            fit_seconds += started.elapsed().as_secs_f64() / self.folds.len() as f64;
            for shot in held_out {
                for (tile, truth) in shot.tiles.iter().zip(&shot.labels) {
                    judged.add(&head.scores(tile), truth, KEPT / shot.tiles.len())?;
                }
            }
        }
        Ok(judged.outcome(method.name(), fit_seconds))
    }

    /// Judges self-support on the same held-out cells, seen as they are (in the first of `views` views) at `scale`
    /// working pixels a pixel. `None` where blocks are held out: the rest of a picture is no other picture.
    ///
    /// # Errors
    /// If a class is out of range.
    pub fn judge_comparison(
        &self,
        method: &SelfSupport,
        examples: &SelfSupportExamples,
        shots: &[Shot],
        (scale, views): (f32, usize),
    ) -> Result<Option<CrossValidation>> {
        if self.members.is_empty() {
            return Ok(None);
        }
        let mut judged = HeldOutCells::new(examples.planes(), 0);
        for (fit, held_out) in &self.members {
            for &index in held_out {
                let map = examples.held_out(method, fit, index);
                let shot = &shots[index];
                let tiles = shot.tiles.len() / views;
                for (tile, truth) in shot.tiles.iter().zip(&shot.labels).take(tiles) {
                    let scores = on_grid(&map, tile, scale);
                    judged.add(&scores, truth, KEPT / tiles)?;
                }
            }
        }
        Ok(Some(judged.outcome(NAME, 0.0)))
    }
}

/// A picture's scores at the cells of one of its tiles, `[planes, cells]`.
fn on_grid(map: &ScoreMap, tile: &TileFeatures, scale: f32) -> Vec<f32> {
    let [height, width] = tile.grid();
    let taps =
        |start: usize, count: usize, cells: usize, cells_a_pixel: f32| -> Vec<InterpolationTap> {
            let position = |cell: usize| {
                let pixel = (start as f32 + (cell as f32 + 0.5) * tile.cell as f32) / scale;
                pixel * cells_a_pixel - 0.5
            };
            (0..count).map(|cell| InterpolationTap::at(position(cell), cells)).collect()
        };
    let rows = taps(tile.tile.top, height, map.height, map.scale[0]);
    let columns = taps(tile.tile.left, width, map.width, map.scale[1]);
    let mut scores = Vec::with_capacity(map.planes * height * width);
    for plane in 0..map.planes {
        let plane = map.plane(plane);
        for row in &rows {
            let line = |row: usize| &plane[row * map.width..][..map.width];
            let (low, high) = (line(row.low), line(row.high));
            scores.extend(columns.iter().map(|tap| {
                let at =
                    |line: &[f32]| line[tap.low] + (line[tap.high] - line[tap.low]) * tap.weight;
                at(low) + (at(high) - at(low)) * row.weight
            }));
        }
    }
    scores
}

/// Held-out cells with their predictions.
struct HeldOutCells {
    confusion: Confusion,
    logits: Vec<f32>,
    labels: Vec<u8>,
    random: ChaCha8Rng,
}

impl HeldOutCells {
    fn new(planes: usize, seed: u64) -> Self {
        Self {
            confusion: Confusion::new(planes),
            logits: Vec::new(),
            labels: Vec::new(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Counts a tile's cells, and keeps some for calibration. `scores` are `[planes, cells]`.
    fn add(&mut self, scores: &[f32], truth: &CellLabels, kept: usize) -> Result<()> {
        let planes = self.confusion.classes();
        let cells = truth.labels.len();
        let mut labelled: Vec<(usize, u8)> = Vec::new();
        for (cell, label) in truth.labels.iter().enumerate() {
            let Some(class) = *label else { continue };
            labelled.push((cell, class));
            let predicted = (0..planes)
                .max_by(|&a, &b| scores[a * cells + cell].total_cmp(&scores[b * cells + cell]))
                .unwrap_or(0);
            let share = f64::from(truth.shares[cell]);
            self.confusion.add_weighted(usize::from(class), predicted, share)?;
        }
        labelled.shuffle(&mut self.random);
        for (cell, class) in labelled.into_iter().take(kept) {
            self.logits.extend((0..planes).map(|plane| scores[plane * cells + cell]));
            self.labels.push(class);
        }
        Ok(())
    }

    fn outcome(self, method: &str, fit_seconds: f64) -> CrossValidation {
        let Self { confusion, logits, labels, .. } = self;
        let iou: Vec<Option<f64>> =
            (0..confusion.classes()).map(|class| confusion.iou(class)).collect();
        let known = iou[1..].iter().any(Option::is_some);
        let mean_iou = confusion.mean_iou(if known { 1..iou.len() } else { 0..iou.len() });
        let method = method.to_owned();
        CrossValidation { method, iou, mean_iou, fit_seconds, logits, labels }
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

impl CrossValidation {
    /// Of a method that nothing could be held out for.
    pub fn unknown(method: &str, planes: usize) -> Self {
        Self {
            method: method.to_owned(),
            iou: vec![None; planes],
            mean_iou: 0.0,
            fit_seconds: 0.0,
            logits: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Whether nothing could be held out.
    pub fn is_unknown(&self) -> bool {
        self.iou.iter().all(Option::is_none)
    }

    /// The temperature that makes the held-out probabilities fit best (Guo et al. 2017, arXiv
    /// 1706.04599): the least negative log-likelihood on a grid of 41 values from 1/8 to 8, by class-blind mean.
    pub fn temperature(&self, planes: usize) -> f32 {
        if self.labels.is_empty() {
            return 1.0;
        }
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
