//! What each candidate makes of labels that it was not fitted to, at the same pixels of the labelled pictures.

use image::RgbImage;
use kshot_data::mask::MAX_CLASSES;
use kshot_data::support::Support;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::features::score_map::{ScoreMap, bilinear, taps};
use crate::metric::confusion::Confusion;
use crate::postprocess::refine::{Refinement, probabilities_at};
use crate::predict::candidate::Candidate;
use crate::predict::folds::{Folds, PartLabels};

/// Labelled pixels that are looked at of each picture.
const PIXELS: usize = 15_000;

/// What a method did on labels it had not seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CrossValidation {
    /// The method's name.
    pub method: String,
    /// Expected intersection over union of background and every class; `None` where the held-out labels hold no such
    /// pixel and none was predicted.
    pub iou: Vec<Option<f64>>,
    /// Their mean over the classes, without background where there are classes at all.
    pub mean_iou: f64,
    /// Seconds to fit once.
    pub fit_seconds: f64,
}

impl CrossValidation {
    /// Of pixels counted.
    pub fn of(method: &str, confusion: &Confusion, fit_seconds: f64) -> Self {
        let iou = (0..confusion.classes()).map(|class| confusion.iou(class)).collect();
        Self { method: method.to_owned(), iou, mean_iou: mean_iou(confusion), fit_seconds }
    }
}

/// The mean over the classes, without background where a class occurs.
pub fn mean_iou(confusion: &Confusion) -> f64 {
    let known = (1..confusion.classes()).any(|class| confusion.iou(class).is_some());
    confusion.mean_iou(if known { 1..confusion.classes() } else { 0..confusion.classes() })
}

/// Some pixels of a picture whose labels were held out.
#[derive(Debug, Clone)]
pub struct HeldOutPart {
    /// The fold they were held out in.
    pub fold: usize,
    /// The picture.
    pub picture: usize,
    /// Places, row by row.
    pub pixels: Vec<usize>,
    /// Their labels.
    pub labels: Vec<u8>,
}

/// The pixels that all candidates are judged by.
pub struct HeldOut<'a> {
    support: &'a Support,
    folds: &'a Folds,
    planes: usize,
    /// All of them.
    pub parts: Vec<HeldOutPart>,
}

/// What a candidate makes of the held-out pixels.
pub struct JudgedRows {
    /// What divides its logits.
    pub temperature: f32,
    /// By part, `None` where it was not judged.
    parts: Vec<Option<PartRows>>,
    /// By part, how far its picture is from those that were fitted to; `None` where the candidate has no notion of it.
    distances: Vec<Option<f32>>,
    /// Seconds to fit once.
    pub fit_seconds: f64,
}

/// Probabilities at the pixels of a part, `[pixels, planes]`.
struct PartRows {
    plain: Vec<f32>,
    guided: Vec<f32>,
}

impl JudgedRows {
    /// The rows of a part, upsampled plainly or along the picture's edges; `None` where it was not judged.
    pub fn rows(&self, guided: bool, part: usize) -> Option<&[f32]> {
        self.parts[part].as_ref().map(|rows| if guided { &*rows.guided } else { &*rows.plain })
    }
}

impl JudgedRows {
    /// How far the picture of a part is from those that were fitted to, where the candidate has a notion of it.
    pub fn distance(&self, part: usize) -> Option<f32> {
        self.distances[part]
    }
}

impl<'a> HeldOut<'a> {
    /// Of some ways to hold labels out; the same seed looks at the same pixels.
    pub fn new(support: &'a Support, folds: &'a Folds, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut parts = Vec::new();
        for (fold, of) in folds.folds.iter().enumerate() {
            for PartLabels { picture, mask } in &of.judged {
                let mask = mask.as_ref().unwrap_or(&support.pictures[*picture].mask);
                let labelled = |place: &usize| mask.pixels[*place] <= MAX_CLASSES;
                let mut pixels: Vec<usize> = (0..mask.pixels.len()).filter(labelled).collect();
                let (chosen, _) = pixels.partial_shuffle(&mut random, PIXELS);
                let pixels = chosen.to_vec();
                let labels = pixels.iter().map(|&place| mask.pixels[place]).collect();
                parts.push(HeldOutPart { fold, picture: *picture, pixels, labels });
            }
        }
        Self { support, folds, planes: support.classes.len() + 1, parts }
    }

    /// In how many groups the folds are held out to judge a candidate.
    pub fn groups(&self, candidate: &dyn Candidate) -> usize {
        self.folds.folds.len().min(candidate.most_folds())
    }

    /// Score planes.
    pub fn planes(&self) -> usize {
        self.planes
    }

    /// Fits a candidate on each fold, or on few that hold out more where it is slow, and asks it for what was left out.
    ///
    /// # Errors
    /// As the candidate's.
    pub fn judge(&self, candidate: &dyn Candidate) -> Result<JudgedRows> {
        let groups = self.groups(candidate);
        let mut maps: Vec<Option<ScoreMap>> = vec![None; self.parts.len()];
        let mut distances = vec![None; self.parts.len()];
        let mut fit_seconds = 0.0;
        for group in 0..groups {
            let parts =
                (0..self.parts.len()).filter(|part| self.parts[*part].fold % groups == group);
            let parts: Vec<usize> = parts.collect();
            let pictures: Vec<usize> = parts.iter().map(|&part| self.parts[part].picture).collect();
            let judged = candidate.judged(&self.folds.without(group, groups), &pictures)?;
            fit_seconds += judged.seconds / groups as f64;
            for ((part, map), distance) in parts.into_iter().zip(judged.maps).zip(judged.distances)
            {
                (maps[part], distances[part]) = (Some(map), distance);
            }
        }
        let picture = |part: &HeldOutPart| &self.support.pictures[part.picture].image;
        let logits = |(part, map): (&HeldOutPart, &Option<ScoreMap>)| {
            map.as_ref().map(|map| logits_at(map, picture(part), &part.pixels))
        };
        let logits: Vec<Option<Vec<f32>>> = self.parts.iter().zip(&maps).map(logits).collect();
        let temperature = self.temperature(&logits, groups);
        let rows = |(part, map): (&HeldOutPart, Option<ScoreMap>)| {
            let mut map = map?;
            map.softmax(temperature);
            let at = |how| probabilities_at(&map, picture(part), how, &part.pixels);
            Some(PartRows { plain: at(Refinement::None), guided: at(Refinement::GUIDED) })
        };
        let parts = self.parts.iter().zip(maps).map(rows).collect();
        Ok(JudgedRows { temperature, parts, distances, fit_seconds })
    }

    /// The temperature that makes the held-out probabilities fit best (Guo et al. 2017, arXiv 1706.04599): the least
    /// negative log-likelihood on a grid of 41 values from 1/8 to 8. `logits` by part, `[pixels, planes]`, where known, of
    /// fits that held the folds out in so many groups. Classes that were not among what was fitted to are left out: nothing
    /// can be said of them.
    pub fn temperature(&self, logits: &[Option<Vec<f32>>], groups: usize) -> f32 {
        let known: Vec<Vec<bool>> =
            (0..groups).map(|group| self.fitted(&self.folds.without(group, groups))).collect();
        let loss = |temperature: f32| {
            let mut sum = 0.0f64;
            let judged = self.parts.iter().zip(logits);
            for (part, logits) in judged.filter_map(|(part, rows)| Some((part, rows.as_ref()?))) {
                for (row, &label) in logits.chunks_exact(self.planes).zip(&part.labels) {
                    if !known[part.fold % groups][usize::from(label)] {
                        continue;
                    }
                    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let total: f32 = row.iter().map(|v| ((v - largest) / temperature).exp()).sum();
                    sum +=
                        f64::from(total.ln() - (row[usize::from(label)] - largest) / temperature);
                }
            }
            sum
        };
        (0..=40)
            .map(|step| 2f32.powf((step as f32 - 20.0) * 0.15))
            .map(|temperature| (temperature, loss(temperature)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1.0, |(temperature, _)| temperature)
    }

    /// Which planes some labels hold.
    fn fitted(&self, labels: &[PartLabels]) -> Vec<bool> {
        let mut known = vec![false; self.planes];
        for PartLabels { picture, mask } in labels {
            let mask = mask.as_ref().unwrap_or(&self.support.pictures[*picture].mask);
            let counts = mask.counts();
            known.iter_mut().zip(counts).for_each(|(known, count)| *known |= count > 0);
        }
        known
    }

    /// The likeliest plane of each of some probabilities `[pixels, planes]`.
    pub fn labels(&self, rows: &[f32]) -> Vec<u8> {
        let best = |row: &[f32]| {
            (0..self.planes).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u8
        };
        rows.chunks_exact(self.planes).map(best).collect()
    }

    /// What probabilities `[pixels, planes]` label right in a part.
    pub fn confusion(&self, part: usize, rows: &[f32]) -> Confusion {
        let mut confusion = Confusion::new(self.planes);
        for (best, &label) in self.labels(rows).into_iter().zip(&self.parts[part].labels) {
            // Labels are below the number of planes: the support was checked.
            let _ = confusion.add_weighted(usize::from(label), usize::from(best), 1.0);
        }
        confusion
    }
}

/// Logits at some pixels, `[pixels, planes]`, bilinearly.
fn logits_at(map: &ScoreMap, picture: &RgbImage, pixels: &[usize]) -> Vec<f32> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let rows = taps(height, map.height, map.scale[0]);
    let columns = taps(width, map.width, map.scale[1]);
    let mut values = Vec::with_capacity(pixels.len() * map.planes);
    for &place in pixels {
        let (row, column) = (rows[place / width], columns[place % width]);
        let planes = (0..map.planes).map(|plane| map.plane(plane));
        values.extend(planes.map(|plane| bilinear(plane, map.width, [row, column])));
    }
    values
}
