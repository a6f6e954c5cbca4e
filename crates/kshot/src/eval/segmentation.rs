//! Segmentation from a few labelled pictures: draw, fit, segment everything else.

use std::collections::{BTreeMap, BTreeSet};

use kshot_data::scribble::scribble;
use kshot_data::support::{LabelKind, LabelledPicture, Support};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::set::{SegmentationSet, SetKind};
use crate::error::{Error, Result};
use crate::eval::worst::{Panel, WORST, Worst};
use crate::eval::{Context, Evaluation, Progress, extractor};
use crate::features::extract::Extractor;
use crate::method::few_shot::by_name;
use crate::metric::calibration::Calibration;
use crate::metric::confusion::Confusion;
use crate::metric::interval::Estimate;
use crate::predict::{Options, Predictor};
use crate::recipe::learning::AnyRecipe;
use crate::recipe::segmentation::{Labels, Protocol, Recipe};

/// What one seed gave.
#[derive(Serialize, Deserialize)]
struct Part {
    confusion: Confusion,
    calibration: Calibration,
    /// Index and mean IoU of the worst pictures.
    worst: Vec<(usize, f64)>,
}

/// The data and everything that is the same for all seeds.
struct Setting<'a> {
    recipe: &'a Recipe,
    train: SegmentationSet,
    test: SegmentationSet,
    extractor: Extractor,
    labelled: usize,
    seeds: &'a [u64],
    labels: Labels,
}

/// Runs the protocol: `labelled` pictures are drawn from `data.train` by each seed.
///
/// # Errors
/// If the data cannot be read, or too few pictures are on the training list.
pub fn run(recipe: &Recipe, context: &mut Context) -> Result<Evaluation> {
    let setting = Setting::of(recipe, context)?;
    let pictures = setting.test.len().min(context.limit);
    let total = setting.seeds.len() * pictures;
    let mut parts = Vec::with_capacity(setting.seeds.len());
    let mut last = None;
    for (round, &seed) in setting.seeds.iter().enumerate() {
        let name = format!("seed {seed}");
        if let Some(part) = context.finished.get::<Part>(&name) {
            parts.push(part);
            continue;
        }
        let predictor = setting.fit(seed)?;
        let part = setting.part(&predictor, pictures, |index| {
            (context.on_progress)(Progress { done: round * pictures + index + 1, total });
        })?;
        context.finished.put(&name, &part)?;
        parts.push(part);
        last = Some((seed, predictor));
    }
    let worst = if context.draw { setting.show(&parts, last)? } else { Vec::new() };
    let mut result = summary(&setting, &parts);
    result.worst = worst;
    Ok(result)
}

impl<'a> Setting<'a> {
    fn of(recipe: &'a Recipe, context: &Context) -> Result<Self> {
        let Protocol::Segmentation { labelled, ref seeds, labels } = recipe.protocol else {
            return Err(Error::config("not a segmentation recipe").at_key("protocol.name"));
        };
        let Some(train) = &recipe.data.train else {
            return Err(Error::config("the list that labelled pictures are drawn from is missing")
                .at_key("data.train"));
        };
        if let Labels::Scribble { share } = labels
            && !(share > 0.0 && share <= 1.0)
        {
            let message = format!("a share of {share}; it must be above 0 and at most 1");
            return Err(Error::config(message).at_key("protocol.labels.scribble.share"));
        }
        let data = &recipe.data;
        let train = SegmentationSet::open(data.dataset, &data.root, train)?;
        let test = SegmentationSet::open(data.dataset, &data.root, &data.list)?;
        let unique = seeds.iter().collect::<BTreeSet<_>>().len() == seeds.len();
        if seeds.is_empty() || !unique || labelled > train.len() {
            return Err(Error::config(format!(
                "{labelled} labelled pictures of {} with seeds {seeds:?}: there must be that many \
                 pictures, and a seed, each named once",
                train.len(),
            ))
            .at_key("protocol"));
        }
        let extractor = extractor(&recipe.encoder, context.device)?;
        Ok(Self { recipe, train, test, extractor, labelled, seeds, labels })
    }

    fn fit(&self, seed: u64) -> Result<Predictor> {
        let options = Options {
            methods: by_name(&self.recipe.method.name)?,
            refinement: self.recipe.method.refinement,
            scale: self.recipe.method.scale,
            seed,
        };
        Predictor::fit(self.extractor.clone(), &self.support(seed)?, options)
    }

    /// The labelled pictures of a seed, in the list's order.
    fn support(&self, seed: u64) -> Result<Support> {
        let train = &self.train;
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
                let (path, labels) = train.files(index);
                let mask = train.mask(index)?;
                let (mask, kind) = match self.labels {
                    Labels::Mask => (mask, LabelKind::Mask),
                    Labels::Scribble { share } => {
                        (scribble(&mask, share, seed ^ index as u64), LabelKind::Scribble)
                    }
                };
                let (path, labels) = (path.to_owned(), labels.to_owned());
                Ok(LabelledPicture { path, labels, image: train.image(index)?, mask, kind })
            })
            .collect::<Result<_>>()?;
        Ok(Support { classes: train.classes.clone(), pictures, warnings: Vec::new() })
    }

    fn part(
        &self,
        predictor: &Predictor,
        pictures: usize,
        on_step: impl Fn(usize),
    ) -> Result<Part> {
        let classes = self.test.classes.len() + 1;
        let mut part = Part {
            confusion: Confusion::new(classes),
            calibration: Calibration::default(),
            worst: Vec::with_capacity(pictures),
        };
        for index in 0..pictures {
            let truth = self.test.mask(index)?;
            let predicted = predictor.predict(&self.test.image(index)?)?.labelling;
            let mut confusion = Confusion::new(classes);
            confusion.add(&truth, &predicted.mask)?;
            // Where no class is, none found is right.
            let empty = (1..classes).all(|class| confusion.union(class) == 0);
            let iou = if empty { 1.0 } else { confusion.mean_iou(1..classes) };
            part.worst.push((index, iou));
            part.confusion.merge(&confusion);
            part.calibration.add(&truth, &predicted.mask, &predicted.confidence);
            on_step(index);
        }
        part.worst.sort_by(|a, b| a.1.total_cmp(&b.1));
        part.worst.truncate(WORST);
        Ok(part)
    }

    /// The worst pictures of all seeds, predicted again.
    fn show(&self, parts: &[Part], mut last: Option<(u64, Predictor)>) -> Result<Vec<Worst>> {
        let mut all: Vec<(u64, usize, f64)> = self
            .seeds
            .iter()
            .zip(parts)
            .flat_map(|(&seed, part)| {
                part.worst.iter().map(move |&(index, iou)| (seed, index, iou))
            })
            .collect();
        all.sort_by(|a, b| a.2.total_cmp(&b.2));
        all.truncate(WORST);
        // Seed by seed, so that each is fitted once.
        let mut shown = Vec::with_capacity(all.len());
        for &seed in self.seeds {
            if !all.iter().any(|of| of.0 == seed) {
                continue;
            }
            let predictor = match last.take() {
                Some((of, predictor)) if of == seed => predictor,
                other => {
                    last = other;
                    self.fit(seed)?
                }
            };
            for &(_, index, iou) in all.iter().filter(|of| of.0 == seed) {
                let picture = self.test.image(index)?;
                let predicted = predictor.predict(&picture)?.labelling.mask;
                let panels = vec![
                    Panel::new("query", &picture, None)?,
                    Panel::new("truth", &picture, Some(&self.test.mask(index)?))?,
                    Panel::new("prediction", &picture, Some(&predicted))?,
                ];
                let name = self.test.files(index).0.file_name().unwrap_or_default();
                let title = format!("seed {seed}: {}", name.to_string_lossy());
                shown.push(Worst { title, iou, panels });
            }
        }
        shown.sort_by(|a, b| a.iou.total_cmp(&b.iou));
        Ok(shown)
    }
}

fn summary(setting: &Setting, parts: &[Part]) -> Evaluation {
    let test = &setting.test;
    let classes = test.classes.len() + 1;
    let over = |of: &dyn Fn(&Confusion) -> f64| {
        Estimate::of(&parts.iter().map(|part| of(&part.confusion)).collect::<Vec<_>>())
    };
    let dice = |c: &Confusion| {
        let known: Vec<f64> = (1..classes).filter_map(|class| c.dice(class)).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    let ece: Vec<f64> = parts.iter().map(|part| part.calibration.ece()).collect();
    let mut result = Evaluation::new(
        "segmentation",
        setting.seeds[0],
        AnyRecipe::Segmentation(Box::new(setting.recipe.clone())),
    );
    result.metrics = BTreeMap::from([
        ("mean_iou".to_owned(), over(&|c| c.mean_iou(1..classes))),
        ("pixel_accuracy".to_owned(), over(&|c| c.pixel_accuracy())),
        ("mean_pixel_accuracy".to_owned(), over(&|c| c.mean_pixel_accuracy())),
        ("fw_iou".to_owned(), over(&|c| c.fw_iou())),
        ("dice".to_owned(), over(&dice)),
        ("ece".to_owned(), Estimate::of(&ece)),
    ]);
    // CamVid has no background: every pixel is of one of its classes or void.
    if classes == 2 && test.kind != SetKind::Camvid {
        result.metrics.insert("binary_iou".to_owned(), over(&|c| c.mean_iou(0..classes)));
    }
    let mut pooled = Confusion::new(classes);
    parts.iter().for_each(|part| pooled.merge(&part.confusion));
    result.per_class = (1..classes)
        .filter_map(|class| Some((test.classes[class - 1].clone(), pooled.iou(class)?)))
        .collect();
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
