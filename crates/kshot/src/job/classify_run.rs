//! A folder labelled by a method that `kshot train` meta-trained: the labelled pictures are the support of
//! an episode, the pictures to label its queries.

use std::path::PathBuf;

use kshot_data::class_folder::ClassFolder;
use kshot_data::query::{FailedPicture, Item};

use crate::classify::by_episode::{Ranking, TrainedMethod};
use crate::classify::folder;
use crate::classify::judge::Truth;
use crate::device;
use crate::error::{Error, Result};
use crate::job::classify::{ClassifyOutcome, LabelsPath, check_top_k};
use crate::job::event::{Done, Event, Start};
use crate::job::run_file::Clock;
use crate::job::watch::Watch;
use crate::report::classify_csv;
use crate::report::episode_html::{self, ClassifiedQuery, EpisodePage};
use crate::report::run::Counts;

/// What is labelled by what.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifyRunOptions {
    /// The training's folder.
    pub run: PathBuf,
    /// Folder of class folders, or a csv of `path,class`.
    pub support: PathBuf,
    /// Only the first pictures of each class, by name; at least 1.
    pub shots: Option<usize>,
    /// Folder of pictures to label (subfolders too), one picture, or a list of them.
    pub query: PathBuf,
    /// The table of labels (`.csv`), or a folder in which it is named `labels.csv`.
    pub out: PathBuf,
    /// What the pictures really show, as a csv of `path,class`.
    pub truth: Option<PathBuf>,
    /// Classes listed a picture, at least 1.
    pub top_k: usize,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
    /// How the job was called, for the report; may be empty.
    pub command: Vec<String>,
}

/// Labels a folder of pictures by a meta-trained method; nothing is rejected. Writes `labels.csv` and
/// `report.html`, or nothing where it is stopped.
///
/// # Errors
/// If an option is wrong, the run holds no method for that many classes, a labelled picture or all
/// pictures to label cannot be read, or the results cannot be written. One picture that fails is no
/// error: it is in the outcome.
pub fn classify_run(options: &ClassifyRunOptions, watch: &Watch<'_>) -> Result<ClassifyOutcome> {
    let clock = Clock::start();
    let place = LabelsPath::new(&options.out);
    check(options, &place)?;
    let mut support = ClassFolder::open(&options.support)?;
    if let Some(shots) = options.shots {
        support = support.first(shots);
    }
    support.warnings.iter().for_each(|words| watch.warn(words));
    let (items, listed) = folder::items(&options.query)?;
    let truth = options.truth.as_deref();
    let (truths, odd) = folder::truths(&items, &listed, truth, &options.query, &support.classes)?;
    odd.iter().for_each(|words| watch.warn(words));
    let method = TrainedMethod::new(&options.run, &support, &device::parse(&options.device)?)?;
    warn(&method, &support, watch);
    let total = items.len();
    watch.tell(&Event::Start(Start::Run {
        pictures: total,
        classes: &support.classes,
        method: method.method(),
        shots: method.shots(),
    }));
    watch.progress(0, total);
    let files: Vec<PathBuf> = items.iter().map(|item| item.file.clone()).collect();
    let found = method.label(&files, |done| watch.progress(done, total));
    let mut outcome =
        ClassifyOutcome { cancelled: found.len() < total, ..ClassifyOutcome::default() };
    let (labelled, failed) = split(&items, truths, found);
    outcome.counts =
        Counts { pictures: total, done: labelled.len(), skipped: 0, failed: failed.len() };
    outcome.failed = failed;
    if !outcome.cancelled {
        if let ([], Some(first)) = (&*labelled, outcome.failed.first()) {
            return Err(Error::data(format!(
                "none of the pictures could be read; the first: {}: {}",
                first.name, first.error
            )));
        }
        outcome.accepted = labelled.len();
        classify_csv::write_rankings(&place.table, &labelled, &support.classes, options.top_k)?;
        let page = page(options, &method, &support, &labelled, &outcome.failed, &clock);
        let report = place.report();
        episode_html::write(&report, &page)?;
        (outcome.labels, outcome.report) = (Some(place.table), Some(report));
    }
    let accuracy = episode_html::accuracy(&labelled);
    watch.tell(&Event::Done(Done::Run {
        done: outcome.counts.done,
        failed: outcome.failed.len(),
        accuracy: accuracy.map(|(share, _)| share),
        known: accuracy.map_or(0, |(_, known)| known),
        seconds: clock.seconds(),
        labels: outcome.labels.as_deref(),
        report: outcome.report.as_deref(),
        cancelled: outcome.cancelled,
    }));
    Ok(outcome)
}

fn check(options: &ClassifyRunOptions, place: &LabelsPath) -> Result<()> {
    check_top_k(options.top_k)?;
    if options.shots == Some(0) {
        return Err(Error::config("--shots must be at least 1"));
    }
    let given = [Some(&*options.support), Some(&*options.query), options.truth.as_deref()];
    place.check(&given)?;
    Ok(())
}

fn warn(method: &TrainedMethod, support: &ClassFolder, watch: &Watch<'_>) {
    let most = support.counts().into_iter().max().unwrap_or(0);
    if most > method.shots() {
        watch.warn(&format!(
            "classes have up to {most} labelled pictures; an episode takes as many of each as the \
             smallest has: {}",
            method.shots()
        ));
    }
    if method.is_transductive() {
        watch.warn("this method is transductive: a label depends on the pictures labelled with it");
    }
}

/// The pictures that were labelled, and those that failed.
fn split(
    items: &[Item],
    truths: Vec<Option<Truth>>,
    found: Vec<Result<Ranking>>,
) -> (Vec<ClassifiedQuery>, Vec<FailedPicture>) {
    let (mut labelled, mut failed) = (Vec::new(), Vec::new());
    for ((item, truth), found) in items.iter().zip(truths).zip(found) {
        match found {
            Ok(ranking) => labelled.push(ClassifiedQuery {
                file: item.file.clone(),
                shown: item.shown.clone(),
                ranking,
                truth: truth.and_then(|truth| match truth {
                    Truth::Class(class) => Some(class),
                    Truth::None => None,
                }),
            }),
            Err(error) => {
                let error = error.to_string();
                failed.push(FailedPicture { name: item.shown.clone(), error });
            }
        }
    }
    (labelled, failed)
}

fn page<'a>(
    options: &ClassifyRunOptions,
    method: &TrainedMethod,
    support: &'a ClassFolder,
    labelled: &'a [ClassifiedQuery],
    failed: &'a [FailedPicture],
    clock: &Clock,
) -> EpisodePage<'a> {
    let query = options.query.file_name().unwrap_or(options.query.as_os_str()).to_string_lossy();
    let mode = if method.is_transductive() { "transductive" } else { "not transductive" };
    let classes = support.classes.len();
    EpisodePage {
        title: format!("{query}: {} pictures labelled, {classes} classes", labelled.len()),
        command: crate::report::correct::line(&options.command),
        method: format!("{} ({mode})", method.method()),
        support,
        shots: method.shots(),
        labelled,
        failed,
        seconds: clock.seconds(),
    }
}
