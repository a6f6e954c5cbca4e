//! Few-shot segmentation by PANet's protocol (Wang et al., ICCV 2019, arXiv 1908.06391), by its own
//! counting rule or the data set's.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use image::RgbImage;
use rayon::prelude::*;

use super::report::{Panel, Worst};
use super::{Evaluation, Progress, extractor};
use crate::data::episode::{Episode, Episodes, class_counts, fold_classes, relabel};
use crate::data::mask::{MAX_CLASSES, Mask};
use crate::data::set::SegmentationSet;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::method::features::Extractor;
use crate::method::few_shot::self_support::{Bank, Example, SelfSupport};
use crate::method::refine::{Refinement, label};
use crate::metric::interval::Estimate;
use crate::registry;
use crate::train::recipe::{Counting, Protocol, Recipe};

/// The methods that run on episodes.
pub const METHODS: [&str; 2] = ["prototype", "self-support"];

/// A picture of the data set, prepared once for all episodes.
struct Prepared {
    image: RgbImage,
    mask: Mask,
    bank: Bank,
}

/// Right, falsely found and missed pixels of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    hits: u64,
    false_alarms: u64,
    misses: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
        self.misses += other.misses;
    }

    fn iou(self) -> Option<f64> {
        let union = self.hits + self.false_alarms + self.misses;
        (union > 0).then(|| self.hits as f64 / union as f64)
    }
}

/// What one episode adds: plane 0 is background, plane `i` the `i`-th class asked for.
fn count(truth: &Mask, predicted: &Mask, planes: usize) -> Vec<Counts> {
    let mut counts = vec![Counts::default(); planes];
    for (&truth, &predicted) in truth.pixels.iter().zip(&predicted.pixels) {
        if truth > MAX_CLASSES {
            continue;
        }
        if truth == predicted {
            counts[usize::from(truth)].hits += 1;
        } else {
            counts[usize::from(predicted)].false_alarms += 1;
            counts[usize::from(truth)].misses += 1;
        }
    }
    counts
}

/// The counts of one run over one fold, by class of the data set; 0 is background.
#[derive(Debug, Clone)]
struct Tally {
    classes: Vec<Counts>,
    foreground: Counts,
}

impl Tally {
    fn add(&mut self, episode: &Episode, counts: &[Counts], truth: &Mask, counting: Counting) {
        self.classes[0].add(counts[0]);
        let present = truth.counts();
        for (way, &class) in episode.classes.iter().enumerate() {
            let counts = counts[way + 1];
            // PANet passes over a class that the query's truth does not hold.
            if counting == Counting::Panet && present[way + 1] == 0 {
                continue;
            }
            self.classes[usize::from(class)].add(counts);
            self.foreground.add(counts);
        }
    }
}

/// Runs the protocol.
///
/// # Errors
/// If the data cannot be read, a fold has too few pictures, or the method is none of [`METHODS`].
pub fn run(
    recipe: &Recipe,
    device: &Device,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    let Protocol::FewShotSegmentation {
        ways,
        shots,
        ref evaluate,
        folds,
        episodes,
        runs,
        counting,
        seed,
    } = recipe.protocol
    else {
        return Err(Error::config("not a few-shot recipe").at_key("protocol.name"));
    };
    let method = match recipe.method.name.as_str() {
        "self-support" => recipe.method.self_support.clone(),
        "prototype" => SelfSupport { adapt: false, ..recipe.method.self_support.clone() },
        other => {
            let message = registry::unknown("few-shot method", other, &METHODS);
            return Err(Error::config(message).at_key("method.name"));
        }
    };
    if episodes == 0 || runs == 0 || evaluate.iter().any(|&fold| fold >= folds) {
        return Err(Error::config(format!(
            "{runs} runs of {episodes} episodes on folds {evaluate:?} of {folds}: all must be at \
             least 1, and folds count from 0"
        ))
        .at_key("protocol"));
    }
    let set = SegmentationSet::open(recipe.data.dataset, &recipe.data.root, &recipe.data.list)?;
    let pixel_counts = class_counts(&set)?;
    let evaluator = Evaluator {
        extractor: extractor(&recipe.encoder, device)?,
        method,
        refinement: recipe.method.refinement,
        prepared: (0..set.len()).map(|_| OnceLock::new()).collect(),
        set: &set,
    };
    let total = evaluate.len() * runs * episodes;
    let done = AtomicUsize::new(0);
    let mut tallies: Vec<Vec<Tally>> = Vec::new();
    let mut worst: Vec<Played> = Vec::new();
    for &fold in evaluate {
        let classes = fold_classes(set.classes.len(), fold, folds);
        let source = Episodes::new(&pixel_counts, &classes, &set.classes, (ways, shots), seed)?;
        let mut of_runs = Vec::with_capacity(runs);
        for run in 0..runs {
            let counted: Vec<(Episode, Vec<Counts>, Mask)> = (0..episodes)
                .into_par_iter()
                .map(|index| {
                    let episode = source.get(run, index);
                    let (truth, predicted) = evaluator.episode(&episode)?;
                    let counts = count(&truth, &predicted, ways + 1);
                    on_progress(Progress { done: done.fetch_add(1, Ordering::Relaxed) + 1, total });
                    Ok((episode, counts, truth))
                })
                .collect::<Result<_>>()?;
            let mut tally = Tally {
                classes: vec![Counts::default(); set.classes.len() + 1],
                foreground: Counts::default(),
            };
            for (episode, counts, truth) in &counted {
                tally.add(episode, counts, truth, counting);
            }
            of_runs.push(tally);
            worst.extend(counted.into_iter().enumerate().map(
                |(index, (episode, counts, truth))| {
                    let iou = episode_iou(&counts, &truth);
                    Played { fold, run, index, episode, iou }
                },
            ));
            // The sort is stable: of equals the earlier episode stays, for any number of threads.
            worst.sort_by(|a, b| a.iou.total_cmp(&b.iou));
            worst.truncate(WORST);
        }
        tallies.push(of_runs);
    }
    let worst = worst.iter().map(|played| evaluator.show(played)).collect::<Result<_>>()?;
    let mut result = summary(recipe, &set, (evaluate, folds, seed), &tallies, started);
    result.worst = worst;
    Ok(result)
}

/// Episodes shown in the report.
const WORST: usize = 10;

/// An episode that was evaluated.
struct Played {
    fold: usize,
    run: usize,
    index: usize,
    episode: Episode,
    iou: f64,
}

/// Mean IoU over the ways that the query's truth holds; 1 where every pixel of them is void.
fn episode_iou(counts: &[Counts], truth: &Mask) -> f64 {
    let present = truth.counts();
    let known: Vec<f64> = (1..counts.len())
        .filter(|&way| present[way] > 0)
        .filter_map(|way| counts[way].iou())
        .collect();
    if known.is_empty() { 1.0 } else { known.iter().sum::<f64>() / known.len() as f64 }
}

fn summary(
    recipe: &Recipe,
    set: &SegmentationSet,
    (evaluate, folds, seed): (&[usize], usize, u64),
    tallies: &[Vec<Tally>],
    started: Instant,
) -> Evaluation {
    let mean_iou = |tally: &Tally| {
        let known: Vec<f64> = tally.classes[1..].iter().filter_map(|counts| counts.iou()).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    let binary_iou = |tally: &Tally| {
        let background = tally.classes[0].iou().unwrap_or(0.0);
        f64::midpoint(background, tally.foreground.iou().unwrap_or(0.0))
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let runs = tallies.first().map_or(0, Vec::len);
    let over_runs = |of: &dyn Fn(&Tally) -> f64| {
        let values: Vec<f64> = (0..runs)
            .map(|run| mean(tallies.iter().map(|fold| of(&fold[run])).collect()))
            .collect();
        Estimate::of(&values)
    };
    let metrics = BTreeMap::from([
        ("mean_iou".to_owned(), over_runs(&mean_iou)),
        ("binary_iou".to_owned(), over_runs(&binary_iou)),
    ]);
    let mut per_class = BTreeMap::new();
    let mut per_fold = BTreeMap::new();
    for (&fold, of_runs) in evaluate.iter().zip(tallies) {
        for class in fold_classes(set.classes.len(), fold, folds) {
            let mut counts = Counts::default();
            of_runs.iter().for_each(|tally| counts.add(tally.classes[usize::from(class)]));
            if let Some(iou) = counts.iou() {
                per_class.insert(set.classes[usize::from(class) - 1].clone(), iou);
            }
        }
        let of = |of: &dyn Fn(&Tally) -> f64| mean(of_runs.iter().map(of).collect());
        per_fold.insert(
            fold.to_string(),
            BTreeMap::from([
                ("mean_iou".to_owned(), of(&mean_iou)),
                ("binary_iou".to_owned(), of(&binary_iou)),
            ]),
        );
    }
    Evaluation {
        protocol: "few-shot-segmentation".to_owned(),
        transductive: false,
        seed,
        version: env!("CARGO_PKG_VERSION"),
        recipe: recipe.clone(),
        metrics,
        per_class,
        per_fold,
        seconds: started.elapsed().as_secs_f64(),
        worst: Vec::new(),
    }
}

struct Evaluator<'a> {
    extractor: Extractor,
    method: SelfSupport,
    refinement: Refinement,
    /// Filled as pictures are first met.
    prepared: Vec<OnceLock<Prepared>>,
    set: &'a SegmentationSet,
}

impl Evaluator<'_> {
    fn prepare(&self, index: usize) -> Result<&Prepared> {
        if let Some(prepared) = self.prepared[index].get() {
            return Ok(prepared);
        }
        let image = self.set.image(index)?;
        let mask = self.set.mask(index)?;
        let bank = self.method.prepare(&self.extractor, &image)?;
        // Two workers may have prepared the same picture: either is right.
        Ok(self.prepared[index].get_or_init(|| Prepared { image, mask, bank }))
    }

    /// The query's truth and prediction.
    fn episode(&self, episode: &Episode) -> Result<(Mask, Mask)> {
        let planes = episode.classes.len() + 1;
        let shots = episode.support.len() / episode.classes.len();
        let mut examples = Vec::with_capacity(episode.support.len());
        for (place, &picture) in episode.support.iter().enumerate() {
            let prepared = self.prepare(picture)?;
            // Each support picture is labelled with the class it was drawn for alone.
            let mask = support_mask(episode, &prepared.mask, place / shots);
            let shares = self.method.shares(&mask, planes);
            examples.push(Example { bank: &prepared.bank, shares });
        }
        let query = self.prepare(episode.query)?;
        let truth = relabel(&query.mask, &episode.classes);
        let size = [truth.height, truth.width];
        let mut map = self.method.scores(&examples, &query.bank, size);
        map.softmax(1.0);
        let predicted = label(&map, &query.image, self.refinement).mask;
        Ok((truth, predicted))
    }

    /// An episode again, with its pictures.
    fn show(&self, played: &Played) -> Result<Worst> {
        let episode = &played.episode;
        let (truth, predicted) = self.episode(episode)?;
        let shots = episode.support.len() / episode.classes.len();
        let mut panels = Vec::with_capacity(episode.support.len() + 3);
        for (place, &picture) in episode.support.iter().enumerate() {
            let prepared = self.prepare(picture)?;
            let mask = support_mask(episode, &prepared.mask, place / shots);
            panels.push(Panel::new("support", &prepared.image, Some(&mask))?);
        }
        let query = self.prepare(episode.query)?;
        panels.push(Panel::new("query", &query.image, None)?);
        panels.push(Panel::new("truth", &query.image, Some(&truth))?);
        panels.push(Panel::new("prediction", &query.image, Some(&predicted))?);
        let names: Vec<&str> = episode
            .classes
            .iter()
            .map(|&class| self.set.classes[usize::from(class) - 1].as_str())
            .collect();
        let title = format!(
            "fold {}, run {}, episode {}: {}",
            played.fold,
            played.run,
            played.index,
            names.join(", ")
        );
        Ok(Worst { title, iou: played.iou, panels })
    }
}

/// A support picture's labels: the class it was drawn for alone, everything else background.
fn support_mask(episode: &Episode, mask: &Mask, way: usize) -> Mask {
    let only: Vec<u8> = (0..episode.classes.len())
        .map(|other| if other == way { episode.classes[way] } else { MAX_CLASSES })
        .collect();
    relabel(mask, &only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_counting_rules_differ_where_a_class_is_absent() {
        let truth = Mask::from_pixels(4, 1, vec![0, 1, 1, 255]).unwrap();
        let predicted = Mask::from_pixels(4, 1, vec![2, 1, 0, 2]).unwrap();
        let counts = count(&truth, &predicted, 3);
        assert_eq!(counts[1], Counts { hits: 1, false_alarms: 0, misses: 1 });
        assert_eq!(counts[2], Counts { hits: 0, false_alarms: 1, misses: 0 });
        let episode = Episode { classes: vec![5, 9], support: vec![], query: 0 };
        let tally = |counting| {
            let mut tally =
                Tally { classes: vec![Counts::default(); 21], foreground: Counts::default() };
            tally.add(&episode, &counts, &truth, counting);
            (tally.classes[5].iou(), tally.classes[9].iou(), tally.foreground.iou())
        };
        assert_eq!(tally(Counting::Panet), (Some(0.5), None, Some(0.5)));
        assert_eq!(tally(Counting::Dataset), (Some(0.5), Some(0.0), Some(1.0 / 3.0)));
    }
}
