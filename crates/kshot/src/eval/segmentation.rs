//! Segmentation from a few labelled pictures: draw, fit, segment everything else.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::{Evaluation, Progress, extractor};
use crate::data::mask::BACKGROUND;
use crate::data::set::{SegmentationSet, SetKind};
use crate::data::support::{LabelKind, LabelledPicture, Support};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::method::few_shot::by_name;
use crate::metric::confusion::Confusion;
use crate::metric::interval::Estimate;
use crate::predict::{Options, Predictor};
use crate::train::recipe::{Protocol, Recipe};

/// Runs the protocol: `labelled` pictures are drawn from `data.train` by each seed.
///
/// # Errors
/// If the data cannot be read, or too few pictures are on the training list.
pub fn run(
    recipe: &Recipe,
    device: &Device,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Evaluation> {
    let started = Instant::now();
    let Protocol::Segmentation { labelled, ref seeds } = recipe.protocol else {
        return Err(Error::config("not a segmentation recipe").at_key("protocol.name"));
    };
    let Some(train) = &recipe.data.train else {
        return Err(Error::config("the list that labelled pictures are drawn from is missing")
            .at_key("data.train"));
    };
    let data = &recipe.data;
    let train = SegmentationSet::open(data.dataset, &data.root, train)?;
    let test = SegmentationSet::open(data.dataset, &data.root, &data.list)?;
    if seeds.is_empty() || labelled > train.len() {
        return Err(Error::config(format!(
            "{labelled} labelled pictures of {}, {} seeds: there must be enough of both",
            train.len(),
            seeds.len()
        ))
        .at_key("protocol"));
    }
    let total = seeds.len() * test.len();
    let mut confusions = Vec::with_capacity(seeds.len());
    for (round, &seed) in seeds.iter().enumerate() {
        let support = support(&train, labelled, seed)?;
        let options = Options {
            methods: by_name(&recipe.method.name)?,
            refinement: recipe.method.refinement,
            scale: recipe.method.scale,
            seed,
        };
        let predictor = Predictor::fit(extractor(&recipe.encoder, device)?, &support, options)?;
        let mut confusion = Confusion::new(test.classes.len() + 1);
        for index in 0..test.len() {
            let truth = test.mask(index)?;
            let predicted = predictor.predict(&test.image(index)?)?.labelling.mask;
            confusion.add(&truth, &predicted)?;
            on_progress(Progress { done: round * test.len() + index + 1, total });
        }
        confusions.push(confusion);
    }
    Ok(summary(recipe, &test, seeds, &confusions, started))
}

/// The labelled pictures of a seed: drawn without replacement by ChaCha8, in the list's order.
fn support(train: &SegmentationSet, labelled: usize, seed: u64) -> Result<Support> {
    let mut chosen: Vec<usize> = if labelled == 0 {
        (0..train.len()).collect()
    } else {
        sample(&mut ChaCha8Rng::seed_from_u64(seed), train.len(), labelled).into_vec()
    };
    chosen.sort_unstable();
    let pictures = chosen
        .into_iter()
        .map(|index| {
            let (path, labels) = train.files(index);
            Ok(LabelledPicture {
                path: path.to_owned(),
                labels: labels.to_owned(),
                image: train.image(index)?,
                mask: train.mask(index)?,
                kind: LabelKind::Mask,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Support { classes: train.classes.clone(), pictures, warnings: Vec::new() })
}

fn summary(
    recipe: &Recipe,
    test: &SegmentationSet,
    seeds: &[u64],
    confusions: &[Confusion],
    started: Instant,
) -> Evaluation {
    let classes = test.classes.len() + 1;
    // CamVid has no background: every pixel is of one of its classes or void.
    let all = usize::from(BACKGROUND) + usize::from(test.kind == SetKind::Camvid)..classes;
    let over = |of: &dyn Fn(&Confusion) -> f64| {
        Estimate::of(&confusions.iter().map(of).collect::<Vec<_>>())
    };
    let mut metrics = BTreeMap::from([
        ("mean_iou".to_owned(), over(&|c| c.mean_iou(1..classes))),
        ("pixel_accuracy".to_owned(), over(&|c| c.pixel_accuracy())),
        ("mean_pixel_accuracy".to_owned(), over(&|c| c.mean_pixel_accuracy())),
        ("fw_iou".to_owned(), over(&|c| c.fw_iou())),
    ]);
    let dice = |c: &Confusion| {
        let known: Vec<f64> = (1..classes).filter_map(|class| c.dice(class)).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    metrics.insert("dice".to_owned(), over(&dice));
    if classes == 2 {
        metrics.insert("binary_iou".to_owned(), over(&|c| c.mean_iou(all.clone())));
    }
    let mut pooled = Confusion::new(classes);
    confusions.iter().for_each(|confusion| pooled.merge(confusion));
    let per_class = (1..classes)
        .filter_map(|class| Some((test.classes[class - 1].clone(), pooled.iou(class)?)))
        .collect();
    let per_fold = seeds
        .iter()
        .zip(confusions)
        .map(|(seed, confusion)| {
            let mean_iou = confusion.mean_iou(1..classes);
            (format!("seed {seed}"), BTreeMap::from([("mean_iou".to_owned(), mean_iou)]))
        })
        .collect();
    Evaluation {
        protocol: "segmentation".to_owned(),
        transductive: false,
        seed: seeds[0],
        version: env!("CARGO_PKG_VERSION"),
        recipe: recipe.clone(),
        metrics,
        per_class,
        per_fold,
        seconds: started.elapsed().as_secs_f64(),
        worst: Vec::new(),
    }
}
