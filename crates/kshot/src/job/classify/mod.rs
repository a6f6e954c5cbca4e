//! A folder of pictures labelled from a few pictures a class, or as none of these.

mod place;
mod report;
mod sorting;
mod source;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use kshot_data::atomic;
use kshot_data::journal::Journal;
use kshot_data::query::{FailedPicture, Item, split_finished};
use serde_json::json;

use crate::classify::folder::{self, ClassifiedPicture};
use crate::classify::heads;
use crate::classify::judge::{self, Judgement, Truth};
use crate::classify::model_file::ModelFile;
use crate::classify::reject::Keep;
use crate::classify::sort::{self, SortMode};
use crate::classify::vectors::{self, VectorRecord};
use crate::classify::{LabelledVectors, Recogniser};
use crate::error::{Error, Result};
use crate::features::embed::Embedder;
use crate::hash;
use crate::job::event::{Done, Event, FitEvent, PictureEvent, Start};
use crate::job::run_file::Clock;
use crate::job::watch::Watch;
use crate::job::{bf16, precision};
use crate::nn::Precision;
use crate::report::run::Counts;
use crate::report::{classify_csv, classify_html};

pub(super) use place::LabelsPath;
pub use sorting::undo;
pub use source::ClassSource;
pub(super) use source::embedder;

/// What to label, from what, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifyOptions {
    /// The classes.
    pub source: ClassSource,
    /// Folder of pictures to label (subfolders too), one picture, or a list of them (`.csv` with a
    /// column `path`, or `.txt`).
    pub query: PathBuf,
    /// The table of labels (`.csv`), or a folder in which it is named `labels.csv`.
    pub out: PathBuf,
    /// A head's name, or `auto`, which compares all on held-out pictures.
    pub method: String,
    /// How many true members are to be accepted.
    pub keep: Keep,
    /// Classes listed a picture, at least 1.
    pub top_k: usize,
    /// Whether and where pictures are moved or linked into class folders.
    pub sort: Option<(SortMode, PathBuf)>,
    /// What the pictures really show, as a csv of `path,class`, to judge the labels by.
    pub truth: Option<PathBuf>,
    /// Where the classes are saved as a model file.
    pub save: Option<PathBuf>,
    /// The network's weights: a file or a Hugging Face repository; `None` takes the built-in or fetched
    /// ones.
    pub weights: Option<PathBuf>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
    /// How convolutions sum; what is fitted to labelled pictures is fitted in 32 bits.
    pub precision: Precision,
    /// Computes the features of finished pictures again.
    pub force: bool,
    /// How the job was called, for `run.toml` and the report; may be empty.
    pub command: Vec<String>,
}

impl ClassifyOptions {
    /// The defaults of `kshot classify`.
    pub fn new(source: ClassSource, query: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            source,
            query: query.into(),
            out: out.into(),
            method: heads::AUTO.to_owned(),
            keep: Keep::Auto,
            top_k: 5,
            sort: None,
            truth: None,
            save: None,
            weights: None,
            device: "flex".to_owned(),
            precision: Precision::F32,
            force: false,
            command: Vec::new(),
        }
    }

    fn check(&self, place: &LabelsPath) -> Result<()> {
        check_top_k(self.top_k)?;
        precision::check(self.precision, &self.device)?;
        place.check(&[Some(self.source.path()), Some(&self.query), self.truth.as_deref()])
    }
}

pub(super) fn check_top_k(top_k: usize) -> Result<()> {
    if top_k == 0 {
        return Err(Error::config("--top-k must be at least 1"));
    }
    Ok(())
}

/// What came of a folder.
#[derive(Debug, Clone, Default)]
pub struct ClassifyOutcome {
    /// How many pictures went which way.
    pub counts: Counts,
    /// Pictures that failed, or that could not be sorted; all others are labelled.
    pub failed: Vec<FailedPicture>,
    /// Pictures accepted as one of the classes.
    pub accepted: usize,
    /// Pictures that are none of these.
    pub none_of_these: usize,
    /// How good the labels are, where the truth is known.
    pub judgement: Option<Judgement>,
    /// The table of labels; `None` if the job was stopped before.
    pub labels: Option<PathBuf>,
    /// The page to look at; `None` if the job was stopped before.
    pub report: Option<PathBuf>,
    /// Whether it was stopped before all pictures went through the encoder.
    pub cancelled: bool,
}

/// Labels a folder of pictures from a few pictures a class, or says that they are none of these.
///
/// Writes `labels.csv`, and beside it `report.html`, `run.toml` and, where the truth is known,
/// `truth.json`; beside a table of another name `NAME.report.html` and so on. Features are noted in `.kshot/vectors.jsonl`: a second run computes only those of new
/// pictures, and labels all anew. A job that was stopped leaves the features alone.
///
/// # Errors
/// If an option is wrong, a labelled picture cannot be read, there is no picture to label, weights are
/// missing or do not fit, or the results cannot be written. A picture that fails is no error: it is in
/// the outcome.
pub fn classify(options: &ClassifyOptions, watch: &Watch<'_>) -> Result<ClassifyOutcome> {
    let clock = Clock::start();
    let place = LabelsPath::new(&options.out);
    options.check(&place)?;
    let methods = heads::by_name(&options.method)?;
    let (items, listed) = sorting::items(&options.query, &place)?;
    let weights = options.weights.as_deref();
    let opened = options.source.open(weights, (&options.device, options.precision), watch)?;
    let Some((model, embedder)) = opened else {
        let outcome = ClassifyOutcome { cancelled: true, ..ClassifyOutcome::default() };
        return Ok(tell_done(outcome, &clock, watch));
    };
    let classes: Vec<String> = model.classes.iter().map(|class| class.name.clone()).collect();
    if let Some((_, target)) = &options.sort {
        sort::check(target, &options.query, &classes)?;
    }
    let truths = truths(options, &items, &listed, &classes, watch)?;
    let recogniser = Recogniser::fit(model.examples(), &methods, options.keep)?;
    tell_fitted(&recogniser, &clock, watch);
    if let Some(file) = &options.save {
        model.write(file)?;
    }
    let work = Work { options, model: &model, embedder: &embedder, recogniser: &recogniser, watch };
    let mut journal = Journal::open(&place.folder)?;
    let embedded = work.embed(&items, &mut journal)?;
    let mut outcome = ClassifyOutcome {
        counts: embedded.counts,
        failed: embedded.failed,
        cancelled: embedded.cancelled,
        ..ClassifyOutcome::default()
    };
    if outcome.cancelled {
        return Ok(tell_done(outcome, &clock, watch));
    }
    let mut labelled = work.label(items, truths, &outcome.failed, &journal)?;
    outcome.judgement = judged(&labelled, options.top_k, &place, watch)?;
    let files: Vec<String> =
        model.classes.iter().flat_map(|class| &class.examples).map(|e| e.file.clone()).collect();
    classify_csv::write(&place.table, &labelled, &classes, &files, options.top_k)?;
    // Before the page, whose pictures are where they are then.
    let not_sorted = sorting::sorted(options, &mut labelled, &classes, &place, watch)?;
    let results = report::ClassifyResults {
        options,
        model: &model,
        recogniser: &recogniser,
        labelled: &labelled,
        judgement: outcome.judgement.as_ref(),
        counts: outcome.counts,
        cost: embedded.cost,
        clock: &clock,
    };
    results.run_file()?.write(&place.beside("run.toml"))?;
    let page = results.page(&outcome.failed, &place);
    outcome.report = Some(classify_html::write(&place.report(), &page)?);
    outcome.failed.extend(not_sorted);
    outcome.accepted = labelled.iter().filter(|one| one.found.accepted).count();
    outcome.none_of_these = labelled.len() - outcome.accepted;
    outcome.labels = Some(place.table);
    Ok(tell_done(outcome, &clock, watch))
}

fn tell_fitted(recogniser: &Recogniser, clock: &Clock, watch: &Watch<'_>) {
    let LabelledVectors { classes, labels, .. } = recogniser.examples();
    watch.tell(&Event::Fitted(FitEvent::Classify {
        choice: recogniser.choice(),
        seconds: clock.seconds(),
        labelled: labels.len(),
        classes: classes.len(),
    }));
}

fn tell_done(outcome: ClassifyOutcome, clock: &Clock, watch: &Watch<'_>) -> ClassifyOutcome {
    watch.tell(&Event::Done(Done::Classify {
        done: outcome.counts.done,
        skipped: outcome.counts.skipped,
        failed: outcome.failed.len(),
        accepted: outcome.accepted,
        none_of_these: outcome.none_of_these,
        seconds: clock.seconds(),
        labels: outcome.labels.as_deref(),
        report: outcome.report.as_deref(),
        cancelled: outcome.cancelled,
    }));
    outcome
}

/// What the pictures really show, in their order, where that is known.
fn truths(
    options: &ClassifyOptions,
    items: &[Item],
    listed: &[Option<String>],
    classes: &[String],
    watch: &Watch<'_>,
) -> Result<Vec<Option<Truth>>> {
    let list = options.truth.as_deref();
    let (truths, odd) = folder::truths(items, listed, list, &options.query, classes)?;
    odd.iter().for_each(|words| watch.warn(words));
    if list.is_some() && truths.iter().all(Option::is_none) {
        return Err(Error::config(
            "--truth names none of the pictures to label; its paths count from its own folder or \
             from --query",
        ));
    }
    Ok(truths)
}

/// What makes labels of pictures.
struct Work<'a> {
    options: &'a ClassifyOptions,
    model: &'a ModelFile,
    embedder: &'a Embedder,
    recogniser: &'a Recogniser,
    watch: &'a Watch<'a>,
}

/// What came of running pictures through the encoder.
struct EmbeddingRun {
    counts: Counts,
    failed: Vec<FailedPicture>,
    cost: Option<bf16::Bf16Cost>,
    cancelled: bool,
}

impl Work<'_> {
    /// What tells whether a vector would be the same: it depends on how pictures are embedded and
    /// multiplied, and on nothing else.
    fn fingerprint(&self) -> String {
        let all = json!([env!("CARGO_PKG_VERSION"), self.model.origin, self.options.precision]);
        hash::of_bytes(all.to_string().as_bytes())
    }

    /// Notes the vectors of all pictures that have none.
    fn embed(&self, items: &[Item], journal: &mut Journal<VectorRecord>) -> Result<EmbeddingRun> {
        let Self { options, embedder, recogniser, watch, .. } = *self;
        let run = self.fingerprint();
        let LabelledVectors { classes, labels, .. } = recogniser.examples();
        let pictures = items.len();
        let (left, skipped) = if options.force {
            (items.to_vec(), 0)
        } else {
            split_finished(items.to_vec(), journal, &run)
        };
        let labelled = labels.len();
        watch.tell(&Event::Start(Start::Classify { pictures, skipped, labelled, classes }));
        let cost = bf16::told(options.precision, watch, || {
            let files = left.iter().map(|item| item.file.as_path());
            bf16::of_recognition((embedder, recogniser), options.precision, files)
        });
        let (mut tried, total) = (0, left.len());
        let mut go_on = watch.progress(0, total);
        let failed = if go_on {
            vectors::embed(embedder, &left, journal, &run, |event| {
                tell_picture(&event, recogniser, watch);
                tried += 1;
                go_on = watch.progress(tried, total);
                go_on
            })?
        } else {
            Vec::new()
        };
        let counts = Counts { pictures, done: tried - failed.len(), skipped, failed: failed.len() };
        Ok(EmbeddingRun { counts, failed, cost, cancelled: !go_on && tried < total })
    }

    /// The labels of all pictures that have a vector, in the order of the pictures.
    fn label(
        &self,
        mut items: Vec<Item>,
        truths: Vec<Option<Truth>>,
        failed: &[FailedPicture],
        journal: &Journal<VectorRecord>,
    ) -> Result<Vec<ClassifiedPicture>> {
        let lost: HashSet<&str> = failed.iter().map(|failed| &*failed.name).collect();
        let truth_of: HashMap<String, Option<Truth>> =
            items.iter().map(|item| item.name.clone()).zip(truths).collect();
        items.retain(|item| !lost.contains(&*item.shown));
        let (run, top_k) = (self.fingerprint(), self.options.top_k);
        let mut labelled = folder::label(self.recogniser, &items, journal, &run, top_k)?;
        for one in &mut labelled {
            one.truth = truth_of.get(&one.item.name).copied().flatten();
        }
        Ok(labelled)
    }
}

fn tell_picture(event: &vectors::EmbeddingEvent<'_>, recogniser: &Recogniser, watch: &Watch<'_>) {
    match event {
        vectors::EmbeddingEvent::Done { item, vector, seconds } if watch.listens() => {
            let found = recogniser.recognise(vector);
            let class = &recogniser.examples().classes[found.class()];
            let picture = PictureEvent::classified(&item.shown, class, &found, *seconds);
            watch.tell(&Event::Picture(picture));
        }
        vectors::EmbeddingEvent::Done { .. } => {}
        vectors::EmbeddingEvent::Failed(failed) => {
            watch.tell(&Event::Failed { file: &failed.name, error: &failed.error });
        }
    }
}

/// Judges the labels where the truth is known, tells it, and writes `truth.json`.
fn judged(
    labelled: &[ClassifiedPicture],
    top_k: usize,
    place: &LabelsPath,
    watch: &Watch<'_>,
) -> Result<Option<Judgement>> {
    let known: Vec<_> = labelled.iter().filter_map(|one| one.judged(top_k)).collect();
    if known.is_empty() {
        return Ok(None);
    }
    let judgement = judge::judge(&known);
    let mut text = serde_json::to_string_pretty(&judgement).map_err(|error| {
        Error::data(format!("the judgement cannot be written as JSON: {error}")).caused_by(error)
    })?;
    text.push('\n');
    atomic::write(place.beside("truth.json"), text.as_bytes())?;
    watch.tell(&Event::Judged { judgement: &judgement });
    Ok(Some(judgement))
}
