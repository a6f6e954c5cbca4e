//! Segmentation from a few labelled pictures: draw, fit, segment everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use kshot_data::query::slashed;
use kshot_data::support::{LabelledPicture, Support};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::eval::classes::{self, BoundarySums, ConfusionTable, PictureCounts};
use crate::eval::rows::{Counts, PictureNames, PictureRow, RowTable, Rows, class_names, rounded};
use crate::eval::worst::{Panel, WORST, Worst, WorstPictures};
use crate::eval::{EvalContext, Evaluation, Progress, extractor, head};
use crate::features::extract::Extractor;
use crate::method::MethodConfig;
use crate::metric::boundary::boundary_scores;
use crate::metric::calibration::Calibration;
use crate::metric::confusion::Confusion;
use crate::metric::interval::{Estimate, PictureInterval};
use crate::predict::Predictor;
use crate::predict::fit::{FitOptions, fit};
use crate::predict::trained::{supervised, untrained};
use crate::recipe::{Protocol, Recipe, SupportLabels};

/// What one seed gave.
#[derive(Serialize, Deserialize)]
struct SegmentationRun {
    confusion: Confusion,
    /// The same picture by picture.
    pictures: Vec<PictureCounts>,
    calibration: Calibration,
    boundaries: BoundarySums,
    worst: WorstPictures,
}

/// The data and everything that is the same for all seeds.
struct SegmentationSetting<'a> {
    recipe: &'a Recipe,
    test: Arc<dyn Dataset>,
    source: PredictionSource,
    labelled: usize,
    seeds: &'a [u64],
    labels: SupportLabels,
    /// Whether measured pictures were seen in training, without their labels.
    transductive: bool,
}

/// Runs the protocol: `labelled` pictures are drawn from `data.train` by each seed, or a trained network labels them
/// (which needs one seed only: it draws nothing).
///
/// # Errors
/// If the data cannot be read, or too few pictures are on the training list.
pub fn run(recipe: &Recipe, context: &mut EvalContext) -> Result<Evaluation> {
    let setting = SegmentationSetting::of(recipe, context)?;
    let pictures = setting.test.len().min(context.limit);
    let total = setting.seeds.len() * pictures;
    let mut parts = Vec::with_capacity(setting.seeds.len());
    let mut last = None;
    for (round, &seed) in setting.seeds.iter().enumerate() {
        let name = format!("seed {seed}");
        if let Some(part) = context.finished.get::<SegmentationRun>(&name) {
            parts.push(part);
            continue;
        }
        let predictor = setting.predictor(seed)?;
        let part = setting.part(&predictor, pictures, context.draw, |index| {
            (context.on_progress)(Progress { done: round * pictures + index + 1, total });
            context.go_on()
        })?;
        context.finished.put(&name, &part)?;
        parts.push(part);
        last = Some((seed, predictor));
    }
    let worst = if context.draw { setting.show(&parts, last)? } else { Vec::new() };
    let mut result = summary(&setting, &parts);
    result.worst = worst;
    result.rows = Some(rows(&setting, &parts));
    Ok(result)
}

/// What labels the pictures.
enum PredictionSource {
    /// A method fitted to labelled pictures of this set.
    Fitted(Arc<dyn Dataset>, Box<Extractor>),
    /// A trained network.
    Trained(Arc<Predictor>),
}

impl<'a> SegmentationSetting<'a> {
    fn of(recipe: &'a Recipe, context: &EvalContext) -> Result<Self> {
        let Protocol::Segmentation { labelled, ref seeds, labels } = recipe.protocol else {
            return Err(Error::config("not a segmentation recipe").at_key("protocol.name"));
        };
        let test = recipe.data.dataset.open_part(recipe.data.test()?)?;
        let source = match (&recipe.method, context.model) {
            (MethodConfig::Trained(_), Some(run)) => PredictionSource::Trained(Arc::new(
                supervised(recipe, run, recipe.predict.refinement, context.device)?,
            )),
            (MethodConfig::Trained(_), None) => PredictionSource::Trained(Arc::new(untrained(
                recipe,
                test.as_ref(),
                recipe.predict.refinement,
                context.device,
            )?)),
            _ => PredictionSource::Fitted(
                recipe.data.dataset.open_part(recipe.data.train()?)?,
                Box::new(extractor(&recipe.model, context.device)?),
            ),
        };
        let pool = match &source {
            PredictionSource::Fitted(train, _) => train.len(),
            PredictionSource::Trained(_) => usize::MAX,
        };
        let unique = seeds.iter().collect::<BTreeSet<_>>().len() == seeds.len();
        if seeds.is_empty() || !unique || labelled > pool {
            return Err(Error::config(format!(
                "{labelled} labelled pictures of {pool} with seeds {seeds:?}: there must be that many \
                 pictures, and a seed, each named once",
            ))
            .at_key("protocol"));
        }
        let transductive = match &recipe.data.parts.unlabelled {
            Some(unlabelled) => {
                let seen = unlabelled.open(&recipe.data.dataset, test.as_ref())?;
                let files: BTreeSet<&Path> = (0..seen.len()).map(|at| seen.file(at)).collect();
                (0..test.len()).any(|at| files.contains(test.file(at)))
            }
            None => false,
        };
        Ok(Self { recipe, test, source, labelled, seeds, labels, transductive })
    }

    fn predictor(&self, seed: u64) -> Result<Arc<Predictor>> {
        match &self.source {
            PredictionSource::Trained(predictor) => Ok(Arc::clone(predictor)),
            PredictionSource::Fitted(train, extractor) => {
                let options = FitOptions::of(&self.recipe.predict, head(self.recipe)?, seed);
                let support = self.support(train.as_ref(), seed)?;
                fit(extractor.as_ref().clone(), &support, options).map(Arc::new)
            }
        }
    }

    /// The labelled pictures of a seed, in the list's order.
    fn support(&self, train: &dyn Dataset, seed: u64) -> Result<Support> {
        let mut chosen: Vec<usize> = if self.labelled == 0 {
            (0..train.len()).collect()
        } else {
            // Without replacement, by ChaCha8.
            sample(&mut ChaCha8Rng::seed_from_u64(seed), train.len(), self.labelled).into_vec()
        };
        chosen.sort_unstable();
        let pictures = chosen
            .into_iter()
            .map(|index| {
                let mask = train.mask(index)?;
                let mask = self.labels.of(mask, seed ^ index as u64);
                Ok(LabelledPicture {
                    path: train.file(index).to_owned(),
                    labels: train.label_files(index).into_iter().next().unwrap_or_default(),
                    image: train.image(index)?,
                    mask,
                    kind: self.labels.kind(),
                    objects: None,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Support { classes: train.classes().to_vec(), pictures, warnings: Vec::new() })
    }

    fn part(
        &self,
        predictor: &Predictor,
        pictures: usize,
        draw: bool,
        on_step: impl Fn(usize) -> Result<()>,
    ) -> Result<SegmentationRun> {
        let classes = self.test.classes().len() + 1;
        let mut part = SegmentationRun {
            confusion: Confusion::new(classes),
            pictures: Vec::with_capacity(pictures),
            calibration: Calibration::default(),
            boundaries: BoundarySums::new(classes),
            worst: WorstPictures::default(),
        };
        for index in 0..pictures {
            let (picture, truth) = (self.test.image(index)?, self.test.mask(index)?);
            let predicted = predictor.predict(&picture)?.labelling;
            let mut confusion = Confusion::new(classes);
            confusion.add(&truth, &predicted.mask)?;
            let counts = PictureCounts::of(&confusion);
            part.confusion.merge(&confusion);
            part.calibration.add(&truth, &predicted.mask, &predicted.confidence);
            part.boundaries.add(&boundary_scores(&truth, &predicted.mask, 1)?);
            part.worst.add(index, counts.mean_iou(), || {
                if draw { Panel::all(&picture, &truth, &predicted.mask) } else { Ok(Vec::new()) }
            })?;
            part.pictures.push(counts);
            on_step(index)?;
        }
        Ok(part)
    }

    /// The worst pictures of all seeds; those of seeds that were finished before are predicted again.
    fn show(
        &self,
        parts: &[SegmentationRun],
        mut last: Option<(u64, Arc<Predictor>)>,
    ) -> Result<Vec<Worst>> {
        let of_seed = |(&seed, part): (&u64, &SegmentationRun)| {
            part.worst.all().iter().map(move |of| (seed, of.clone())).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.seeds.iter().zip(parts).flat_map(of_seed).collect();
        all.sort_by(|a, b| a.1.iou.total_cmp(&b.1.iou));
        all.truncate(WORST);
        // Seed by seed, so that each is fitted once.
        let mut shown = Vec::with_capacity(all.len());
        for &seed in self.seeds {
            for (_, of) in all.iter().filter(|(of, _)| *of == seed) {
                let panels = if of.panels.is_empty() {
                    let predictor = match last.take() {
                        Some((of, predictor)) if of == seed => predictor,
                        _ => self.predictor(seed)?,
                    };
                    let picture = self.test.image(of.index)?;
                    let predicted = predictor.predict(&picture)?.labelling.mask;
                    last = Some((seed, predictor));
                    Panel::all(&picture, &self.test.mask(of.index)?, &predicted)?
                } else {
                    of.panels.clone()
                };
                let file = self.test.file(of.index);
                let root = self.recipe.data.dataset.root();
                let name = slashed(file.strip_prefix(root).unwrap_or(file));
                let title =
                    if self.seeds.len() > 1 { format!("seed {seed}: {name}") } else { name };
                shown.push(Worst { title, iou: of.iou, panels });
            }
        }
        shown.sort_by(|a, b| a.iou.total_cmp(&b.iou));
        Ok(shown)
    }
}

/// A row for each picture and seed.
fn rows(setting: &SegmentationSetting, parts: &[SegmentationRun]) -> Rows {
    let test = setting.test.as_ref();
    let mut names = PictureNames::new(test, setting.recipe.data.dataset.root());
    let mut values = Vec::new();
    for (&seed, part) in setting.seeds.iter().zip(parts) {
        for (index, counts) in part.pictures.iter().enumerate() {
            values.push(picture_row(seed, names.place(index), counts));
        }
    }
    Rows::Segmentation(RowTable::new(class_names(test), names.names(), values))
}

/// What a picture's counts say of the classes that are there or predicted.
pub(super) fn picture_row(seed: u64, picture: usize, counts: &PictureCounts) -> PictureRow {
    let of = counts.classes();
    PictureRow {
        seed,
        picture,
        mean_iou: rounded(counts.mean_iou()),
        classes: of.iter().map(|(class, _)| *class).collect(),
        iou: of.iter().filter_map(|(_, counts)| classes::iou(*counts)).map(rounded).collect(),
        counts: of.iter().map(|(_, counts)| *counts).collect(),
    }
}

fn summary(setting: &SegmentationSetting, parts: &[SegmentationRun]) -> Evaluation {
    let test = &setting.test;
    let classes = test.classes().len() + 1;
    let over = |of: &dyn Fn(&Confusion) -> f64| {
        Estimate::of(&parts.iter().map(|part| of(&part.confusion)).collect::<Vec<_>>())
    };
    let dice = |c: &Confusion| c.mean_dice(1..classes);
    let ece: Vec<f64> = parts.iter().map(|part| part.calibration.ece()).collect();
    let mut result = Evaluation::new(setting.recipe);
    result.transductive = setting.transductive;
    result.metrics = BTreeMap::from([
        ("mean_iou".to_owned(), over(&|c| c.mean_iou(1..classes))),
        ("pixel_accuracy".to_owned(), over(&|c| c.pixel_accuracy())),
        ("mean_pixel_accuracy".to_owned(), over(&|c| c.mean_pixel_accuracy())),
        ("fw_iou".to_owned(), over(&|c| c.fw_iou())),
        ("dice".to_owned(), over(&dice)),
        ("precision".to_owned(), over(&|c| c.mean_precision(1..classes))),
        ("recall".to_owned(), over(&|c| c.mean_recall(1..classes))),
        ("ece".to_owned(), Estimate::of(&ece)),
    ]);
    let boundaries: Vec<f64> = parts.iter().filter_map(|part| part.boundaries.mean()).collect();
    if !boundaries.is_empty() {
        result.metrics.insert("boundary_f".to_owned(), Estimate::of(&boundaries));
    }
    let pictures = parts.iter().map(|part| part.pictures.len()).min().unwrap_or(0);
    result.over_pictures =
        PictureInterval::bootstrap(pictures, setting.recipe.protocol.seed(), |places| {
            let of_seed = |part: &SegmentationRun| {
                let mut sums: Vec<Counts> = vec![[0; 3]; classes];
                places.iter().for_each(|&place| part.pictures[place].add_to(&mut sums));
                classes::mean_iou(sums[1..].iter()).unwrap_or(0.0)
            };
            parts.iter().map(of_seed).sum::<f64>() / parts.len() as f64
        });
    // CamVid has no background: every pixel is of one of its classes or void.
    if classes == 2 && test.has_background() {
        result.metrics.insert("binary_iou".to_owned(), over(&|c| c.mean_iou(0..classes)));
    }
    let mut pooled = Confusion::new(classes);
    parts.iter().for_each(|part| pooled.merge(&part.confusion));
    result.per_class = (1..classes)
        .filter_map(|class| Some((test.classes()[class - 1].clone(), pooled.iou(class)?)))
        .collect();
    let names = class_names(test.as_ref());
    let seeds: Vec<_> = parts.iter().map(|part| (&part.pictures[..], &part.boundaries)).collect();
    result.classes = classes::figures(&pooled, &names, test.has_background(), &seeds);
    let table = ConfusionTable::of(&pooled, &names);
    result.confused = table.confused();
    result.confusion = Some(table);
    let mut calibration = Calibration::default();
    parts.iter().for_each(|part| calibration.merge(&part.calibration));
    result.reliability = calibration.bins();
    result.reliability.retain(|bin| bin.count > 0);
    result.per_fold = setting
        .seeds
        .iter()
        .zip(parts)
        .map(|(seed, part)| {
            let mean_iou = part.confusion.mean_iou(1..classes);
            (format!("seed {seed}"), BTreeMap::from([("mean_iou".to_owned(), mean_iou)]))
        })
        .collect();
    result
}
