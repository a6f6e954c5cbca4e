//! Does a picture hold the class at all? From a few pictures of one class, pictures with it and
//! pictures without it are segmented; the latter should be left empty.

use std::sync::Arc;

use kshot_data::mask::BACKGROUND;
use kshot_data::support::{LabelKind, LabelledPicture, Support};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::data::dataset::{Dataset, pixel_counts};
use crate::data::episode::relabel;
use crate::error::{Error, Result};
use crate::eval::rows::{PictureNames, QueryRow, RowTable, Rows, class_names};
use crate::eval::{EvalContext, Evaluation, Progress, extractor, head};
use crate::features::extract::Extractor;
use crate::metric::calibration::Calibration;
use crate::metric::interval::Estimate;
use crate::metric::recognition;
use crate::predict::Predictor;
use crate::predict::fit::{FitOptions, fit};
use crate::recipe::{Protocol, Recipe};

/// The prediction for one picture.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PresenceRecord {
    /// Its place in the data set.
    pub(super) picture: usize,
    pub(super) present: bool,
    /// Whether the picture was left empty.
    pub(super) empty: bool,
    /// How sure it seemed that the class is there.
    pub(super) presence: f64,
}

/// One run, class by class. A run that was noted without its pictures is done again.
#[derive(Serialize, Deserialize)]
struct PresenceRun {
    judged: Vec<(u8, Vec<PresenceRecord>)>,
    calibration: Calibration,
}

struct PresenceSetting<'a> {
    recipe: &'a Recipe,
    train: Arc<dyn Dataset>,
    test: Arc<dyn Dataset>,
    /// Per picture of each, the pixels of each class.
    counts: [Vec<[usize; 256]>; 2],
    extractor: Extractor,
    shots: usize,
    queries: usize,
    seed: u64,
}

/// Runs the protocol: of every class, `shots` pictures are drawn from `data.train`, and at most
/// `queries` pictures with the class and as many without it from `data.list`.
///
/// # Errors
/// If the data cannot be read, or no class has enough pictures.
pub fn run(recipe: &Recipe, context: &mut EvalContext) -> Result<Evaluation> {
    let Protocol::Presence { shots, queries, runs, seed } = recipe.protocol else {
        return Err(Error::config("not a presence recipe").at_key("protocol.name"));
    };
    if shots == 0 || queries == 0 || runs == 0 {
        let message = "shots, queries and runs must be at least 1";
        return Err(Error::config(message).at_key("protocol"));
    }
    let train = recipe.data.dataset.open_part(recipe.data.train()?)?;
    let test = recipe.data.dataset.open_part(recipe.data.test()?)?;
    let counts = [pixel_counts(train.as_ref())?, pixel_counts(test.as_ref())?];
    let extractor = extractor(&recipe.model, context.device)?;
    let setting = PresenceSetting { recipe, train, test, counts, extractor, shots, queries, seed };
    let classes = setting.train.classes().len();
    let mut parts = Vec::with_capacity(runs);
    for run in 0..runs {
        let name = format!("run {run}");
        let part = match context.finished.get::<PresenceRun>(&name) {
            Some(part) => part,
            None => {
                let mut part =
                    PresenceRun { judged: Vec::new(), calibration: Calibration::default() };
                for class in (1..=classes).take(context.limit) {
                    setting.judge(run, class as u8, &mut part)?;
                    let (done, total) = (run * classes + class, runs * classes);
                    (context.on_progress)(Progress { done, total });
                }
                context.finished.put(&name, &part)?;
                part
            }
        };
        parts.push(part);
    }
    if parts.iter().any(|part| part.judged.is_empty()) {
        let message = format!("no class has {shots} pictures to learn from and others to judge");
        return Err(Error::data(message).at_key("protocol.shots"));
    }
    let mut result = summary(&setting, &parts);
    result.rows = Some(rows(&setting, &parts));
    Ok(result)
}

impl PresenceSetting<'_> {
    /// The pictures of a list with (or without) a class, in an order drawn by `seed`.
    fn draw(&self, list: usize, class: u8, with: bool, seed: u64) -> Vec<usize> {
        let holds = |index: &usize| (self.counts[list][*index][usize::from(class)] > 0) == with;
        let mut drawn: Vec<usize> = (0..self.counts[list].len()).filter(holds).collect();
        drawn.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        drawn
    }

    /// Fits to one class and judges pictures with and without it. A class with too few is passed over.
    fn judge(&self, run: usize, class: u8, part: &mut PresenceRun) -> Result<()> {
        let seed = self.seed.wrapping_add((run * 1_000 + usize::from(class)) as u64);
        let mut support = self.draw(0, class, true, seed);
        if support.len() < self.shots {
            return Ok(());
        }
        support.truncate(self.shots);
        let used: Vec<_> = support.iter().map(|&index| self.train.file(index)).collect();
        let mut queries = Vec::new();
        for present in [true, false] {
            let mut drawn = self.draw(1, class, present, seed);
            drawn.retain(|&index| !used.contains(&self.test.file(index)));
            drawn.truncate(self.queries);
            queries.extend(drawn.into_iter().map(|index| (present, index)));
        }
        if queries.iter().all(|(present, _)| *present == queries[0].0) {
            return Ok(());
        }
        let predictor = self.fit(&support, class, seed)?;
        let mut judged = Vec::with_capacity(queries.len());
        for (present, index) in queries {
            let predicted = predictor.predict(&self.test.image(index)?)?;
            let truth = relabel(&self.test.mask(index)?, &[class]);
            let labelling = &predicted.labelling;
            part.calibration.add(&truth, &labelling.mask, &labelling.confidence);
            let empty = predicted.labelling.mask.pixels.iter().all(|class| *class == BACKGROUND);
            let presence = predicted.presence;
            judged.push(PresenceRecord { picture: index, present, empty, presence });
        }
        part.judged.push((class, judged));
        Ok(())
    }

    fn fit(&self, support: &[usize], class: u8, seed: u64) -> Result<Predictor> {
        let pictures = support
            .iter()
            .map(|&index| {
                Ok(LabelledPicture {
                    path: self.train.file(index).to_owned(),
                    labels: self.train.label_files(index).into_iter().next().unwrap_or_default(),
                    image: self.train.image(index)?,
                    mask: relabel(&self.train.mask(index)?, &[class]),
                    kind: LabelKind::Mask,
                    objects: None,
                })
            })
            .collect::<Result<_>>()?;
        let classes = vec![self.train.classes()[usize::from(class) - 1].clone()];
        let options = FitOptions::of(&self.recipe.predict, head(self.recipe)?, seed);
        let support = Support { classes, pictures, warnings: Vec::new() };
        fit(self.extractor.clone(), &support, options)
    }
}

/// The chance that a picture with the class seems surer to hold it than one without; ties count half.
fn auroc(judged: &[PresenceRecord]) -> Option<f64> {
    let of = |present: bool| -> Vec<f32> {
        let some = judged.iter().filter(|judged| judged.present == present);
        some.map(|judged| judged.presence as f32).collect()
    };
    recognition::auroc(&of(true), &of(false))
}

fn empty(judged: &[PresenceRecord], present: bool) -> f64 {
    let of = || judged.iter().filter(|judged| judged.present == present);
    of().filter(|judged| judged.empty).count() as f64 / of().count().max(1) as f64
}

/// The metrics of a run's records by class, in the order of their names.
pub(super) const METRICS: [&str; 4] = ["absent_empty", "auroc", "auroc_by_class", "present_missed"];

/// The values of [`METRICS`].
pub(super) fn figures<'a>(judged: impl Iterator<Item = &'a [PresenceRecord]>) -> [f64; 4] {
    let (mut all, mut by_class) = (Vec::new(), Vec::new());
    for of in judged {
        all.extend_from_slice(of);
        by_class.extend(auroc(of));
    }
    let within = by_class.iter().sum::<f64>() / by_class.len().max(1) as f64;
    [empty(&all, false), auroc(&all).unwrap_or(0.5), within, empty(&all, true)]
}

/// A row for each query.
fn rows(setting: &PresenceSetting, parts: &[PresenceRun]) -> Rows {
    let test = setting.test.as_ref();
    let mut names = PictureNames::new(test, setting.recipe.data.dataset.root());
    let mut values = Vec::new();
    for (run, part) in parts.iter().enumerate() {
        for (class, of) in &part.judged {
            values.extend(of.iter().map(|record| QueryRow {
                run,
                class: usize::from(*class),
                picture: names.place(record.picture),
                present: record.present,
                empty: record.empty,
                presence: record.presence as f32,
            }));
        }
    }
    Rows::Presence(RowTable::new(class_names(test), names.names(), values))
}

fn summary(setting: &PresenceSetting, parts: &[PresenceRun]) -> Evaluation {
    let mut result = Evaluation::new(setting.recipe);
    let of_runs: Vec<[f64; 4]> =
        parts.iter().map(|part| figures(part.judged.iter().map(|(_, of)| of.as_slice()))).collect();
    for (place, name) in METRICS.into_iter().enumerate() {
        let values: Vec<f64> = of_runs.iter().map(|of| of[place]).collect();
        result.metrics.insert(name.to_owned(), Estimate::of(&values));
    }
    let ece: Vec<f64> = parts.iter().map(|part| part.calibration.ece()).collect();
    result.metrics.insert("ece".to_owned(), Estimate::of(&ece));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(present: bool, presence: f64, empty: bool) -> PresenceRecord {
        PresenceRecord { picture: 0, present, empty, presence }
    }

    #[test]
    fn auroc_counts_pairs_and_halves_ties() {
        let some = [judged(true, 0.9, false), judged(true, 0.2, true), judged(false, 0.2, true)];
        assert_eq!(auroc(&some), Some(0.75));
        assert_eq!(auroc(&some[..2]), None);
        assert_eq!((empty(&some, true), empty(&some, false)), (0.5, 1.0));
    }
}
