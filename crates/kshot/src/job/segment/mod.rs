//! The main job: a folder of pictures in, masks, overlays, tables and a report out.

mod agree;
mod earlier;
mod folder;
mod labelled;
mod report;
mod settings;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use agree::Written;
use kshot_data::deep::DeepRange;
use kshot_data::image::kinds;
use kshot_data::image::tiff_kinds::Pages;
use kshot_data::journal::{FinishedPicture, Journal};
use kshot_data::label_folder::{FolderPicture, LabelFolder, MaskReading};
use kshot_data::pixel_size::PixelSize;
use kshot_data::query::{self, FailedPicture, Item};
use kshot_data::support::Support;
use labelled::LabelledPictures;
use settings::{Labeller, Settings};

use crate::error::{Error, ErrorKind, Result};
use crate::job::event::{Done, Event, FitEvent, Start};
use crate::job::run_file::Clock;
use crate::job::watch::Watch;
use crate::job::{bf16, precision};
use crate::method::few_shot::{self, Effort};
use crate::nn::Precision;
use crate::predict::objects::{ObjectFit, ObjectOptions, ObjectSplitter};
use crate::report::run::Counts;
use crate::report::{coco, html, next, objects, table};
use crate::weights;

/// What to segment, from what, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentOptions {
    /// Folders of labelled pictures (see [`Support::load`], [`Support::and`]); none for trained networks that know their
    /// classes.
    pub support: Vec<PathBuf>,
    /// How the numbers in masks of labels are read.
    pub masks: MaskReading,
    /// Folder of pictures to segment (subfolders too), or one picture.
    pub query: PathBuf,
    /// Where the results go.
    pub out: PathBuf,
    /// A training's folder (`kshot train`), in place of a method fitted to labelled pictures; of several (of supervised
    /// segmentation, of the same classes) the mean of the probabilities counts.
    pub models: Vec<PathBuf>,
    /// A method's name, or `auto`, which compares all on the labelled pictures.
    pub method: String,
    /// How much is tried before pictures are labelled.
    pub effort: Effort,
    /// The network whose features are used.
    pub encoder: String,
    /// Its weights: a file or a Hugging Face repository; `None` takes the built-in or fetched ones.
    pub weights: Option<PathBuf>,
    /// Working pixels per picture pixel, above 0 and at most 4; `None` lets the size of the labelled
    /// objects decide.
    pub scale: Option<f32>,
    /// Whether masks follow the picture's edges; plain upsampling otherwise.
    pub refine: bool,
    /// Tells single objects apart, and how; `None` leaves it at masks of classes.
    pub objects: Option<ObjectOptions>,
    /// How large a pixel is: tables then have areas in its unit beside pixels.
    pub pixel_size: Option<PixelSize>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
    /// How convolutions sum; what is fitted to labelled pictures is fitted in 32 bits.
    pub precision: Precision,
    /// Seed of everything random.
    pub seed: u64,
    /// Segments finished pictures again.
    pub force: bool,
    /// How the job was called, for `run.toml` and the report; may be empty.
    pub command: Vec<String>,
}

impl SegmentOptions {
    /// The defaults of `kshot segment`.
    pub fn new(
        support: impl Into<PathBuf>,
        query: impl Into<PathBuf>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self {
            support: vec![support.into()],
            masks: MaskReading::Auto,
            query: query.into(),
            out: out.into(),
            models: Vec::new(),
            method: few_shot::AUTO.to_owned(),
            effort: Effort::default(),
            encoder: weights::DEFAULT.to_owned(),
            weights: None,
            scale: None,
            refine: true,
            objects: None,
            pixel_size: None,
            device: "flex".to_owned(),
            precision: Precision::F32,
            seed: 0,
            force: false,
            command: Vec::new(),
        }
    }

    /// The same by a network that [`train`](crate::job::train()) left in `run`, without labelled pictures.
    pub fn with_model(
        run: impl Into<PathBuf>,
        query: impl Into<PathBuf>,
        out: impl Into<PathBuf>,
    ) -> Self {
        Self { support: Vec::new(), models: vec![run.into()], ..Self::new("", query, out) }
    }

    fn check(&self) -> Result<()> {
        if self.scale.is_some_and(|scale| !(scale > 0.0 && scale <= 4.0)) {
            return Err(Error::config("--scale must be above 0 and at most 4, such as 0.5"));
        }
        for (flag, folder) in
            self.support.iter().map(|of| ("--support", of)).chain([("--query", &self.query)])
        {
            refuse_inside(&self.out, flag, folder)?;
        }
        precision::check(self.precision, &self.device)
    }
}

/// Refuses results in or below a folder that is read: they would be taken for pictures and labels, and replace some.
fn refuse_inside(out: &Path, flag: &str, folder: &Path) -> Result<()> {
    let Ok(read) = folder.canonicalize() else { return Ok(()) };
    // What is not there yet lies below the first folder that is.
    let there = out.ancestors().find_map(|of| {
        let of = if of.as_os_str().is_empty() { Path::new(".") } else { of };
        of.canonicalize().ok()
    });
    if !there.is_some_and(|there| there.starts_with(&read)) {
        return Ok(());
    }
    Err(Error::config(format!(
        "--out {} is {flag} {} or inside it: results would be taken for pictures and labels; choose a folder beside it",
        out.display(),
        folder.display()
    )))
}

/// What came of a folder.
#[derive(Debug, Clone, Default)]
pub struct SegmentOutcome {
    /// How many pictures went which way.
    pub counts: Counts,
    /// The pictures that failed; all others are written.
    pub failed: Vec<FailedPicture>,
    /// Objects of all finished pictures; `None` where these were not asked for.
    pub objects: Option<usize>,
    /// Whether it was stopped before all were tried; the same options go on.
    pub cancelled: bool,
    /// The page to look at; `None` if it was stopped before a method was fitted.
    pub report: Option<PathBuf>,
}

/// Segments a folder of pictures from a few labelled ones, or by a trained network.
///
/// Leaves in `out`: `masks/`, `overlays/`, `report.html`, `labels.csv`, `coco.json` and `run.toml`, and the
/// journal `.kshot/records.jsonl`, by which a second run skips the pictures that are finished. Where the
/// job was stopped, they tell of what was finished until then. With `options.objects` also `objects.csv` and `objects/`
/// (numbers as 16-bit PNG); `labels.csv` then counts objects, and `coco.json` has one annotation an object.
///
/// # Errors
/// If an option is wrong, the support cannot be learnt from, there is no picture to segment, weights are
/// missing or do not fit, or the output folder cannot be written to. A picture that fails is no error: it
/// is in the outcome.
pub fn segment(options: &SegmentOptions, watch: &Watch<'_>) -> Result<SegmentOutcome> {
    let clock = Clock::start();
    options.check()?;
    // Looked up before the support is read, so that a wrong name costs no time.
    let network = Labeller::new(options)?;
    let items = query::items(&options.query)?;
    if options.support.is_empty() && network.needs_support()? {
        return Err(Error::config(if !options.models.is_empty() {
            "this method compares with labelled pictures of the classes that are asked for: give --support \
             beside --model"
        } else {
            "give labelled pictures with --support, or a trained network with --model"
        }));
    }
    let folders: Vec<LabelFolder> = options
        .support
        .iter()
        .map(|folder| LabelFolder::open_reading(folder, options.masks))
        .collect::<Result<_>>()?;
    let labelled = folders.iter().flat_map(|folder| &folder.pictures);
    let range = DeepRange::of(deep_files(labelled, &items));
    let mut support = Support::default();
    for folder in folders {
        support = support.and(Support::of(folder, range)?)?;
    }
    if !support.pictures.is_empty() {
        support.check_contrast()?;
    }
    support.warnings.iter().for_each(|words| watch.warn(words));
    if let Some(unread) = kinds::unread(&options.query) {
        let query = options.query.display();
        watch.warn(&format!("{query}: not read: {unread}; export them as JPEG, PNG or TIFF"));
    }
    let files = items.iter().map(|item| item.file.as_path());
    if let Some(pages) = Pages::of(files).in_words() {
        watch.warn(&format!("{}: {pages}", options.query.display()));
    }
    let settings = Settings::new(options, &network, &support, range)?;
    earlier::check(options, &items)?;
    let mut journal = Journal::open(&options.out)?;
    earlier::damaged_lines(&journal).iter().for_each(|words| watch.warn(words));
    let mut counts = Counts { pictures: items.len(), ..Counts::default() };
    let names: HashSet<String> = items.iter().map(|item| item.name.clone()).collect();
    let items = if options.force {
        items
    } else {
        let (left, skipped) = query::split_finished(items, &journal, &settings.fingerprint);
        counts.skipped = skipped;
        earlier::refuse_changed(&left, &journal)?;
        let again = earlier::lost_files(&left, &journal, &settings.fingerprint);
        again.iter().for_each(|words| watch.warn(words));
        left
    };
    if let Some(words) = earlier::told(&items, &names, &journal, &settings.fingerprint) {
        watch.warn(&words);
    }
    watch.tell(&Event::Start(Start::Segment {
        pictures: counts.pictures,
        skipped: counts.skipped,
        labelled: support.pictures.len(),
        classes: &support.classes,
    }));
    let ours = |name: &str, finished: &FinishedPicture| {
        names.contains(name) && finished.run == settings.fingerprint
    };
    if items.is_empty() && Written::new(&journal, ours, options, 0).is_there(options) {
        let skipped = counts.skipped;
        watch.tell(&Event::Done(Done::Nothing { done: 0, skipped, failed: 0 }));
        let report = Some(options.out.join("report.html"));
        return Ok(SegmentOutcome { counts, report, ..SegmentOutcome::default() });
    }
    if watch.is_cancelled() {
        let outcome = SegmentOutcome { counts, cancelled: true, ..SegmentOutcome::default() };
        tell_done(&outcome, &clock, watch);
        return Ok(outcome);
    }
    let extractor = options.objects.and_then(|_| network.extractor());
    let stopped = |error: Error| match error.kind() {
        ErrorKind::Cancelled => {
            let outcome = SegmentOutcome { counts, cancelled: true, ..SegmentOutcome::default() };
            tell_done(&outcome, &clock, watch);
            Ok(outcome)
        }
        _ => Err(error),
    };
    let mut predictor = match network.predictor(options, &support, watch) {
        Ok(predictor) => predictor,
        Err(error) => return stopped(error),
    };
    let fit = |of: ObjectOptions| {
        let (effort, scale, seed) = (options.effort, options.scale, options.seed);
        let how = ObjectFit { options: of, effort, scale, seed };
        ObjectSplitter::fit(extractor.as_ref(), &support, how)
    };
    let mut splitter = options.objects.map(fit).transpose()?;
    let choice = predictor.choice();
    let told = splitter.as_ref().map(ObjectSplitter::choice);
    let fitted = FitEvent::Segment { choice, objects: told, seconds: clock.seconds() };
    watch.tell(&Event::Fitted(fitted));
    let files = items.iter().map(|item| item.file.as_path());
    let cost = bf16::told(options.precision, watch, || {
        bf16::of_segmentation(&mut predictor, options.precision, files)
    });
    if let Some(splitter) = &mut splitter {
        splitter.set_precision(options.precision);
    }
    let labelled = LabelledPictures::new(&support, &settings.support);
    let by = folder::Segmenting {
        predictor: &predictor,
        splitter: splitter.as_ref(),
        labelled: &labelled,
        run: &settings.fingerprint,
        range,
    };
    let segmented = folder::segment(&by, items, &mut journal, watch)?;
    counts.done = segmented.done;
    counts.failed = segmented.failed.len();
    let mut outcome = SegmentOutcome {
        counts,
        failed: segmented.failed,
        cancelled: segmented.cancelled,
        ..SegmentOutcome::default()
    };
    journal.retain(ours);
    let pixel_size = options.pixel_size.as_ref();
    if options.objects.is_some() {
        outcome.objects = Some(objects::write(&journal, predictor.classes(), pixel_size)?);
    } else {
        objects::remove(&options.out)?;
    }
    coco::write(&journal, predictor.classes())?;
    table::write(&journal, predictor.classes(), options.objects.is_some(), pixel_size)?;
    let next = next::suggested(&journal)?;
    let results = report::SegmentResults {
        options,
        support: &support,
        predictor: &predictor,
        splitter: splitter.as_ref(),
        cost,
        clock: &clock,
        next: &next,
    };
    results.run_file(&settings, counts)?.write(&options.out.join("run.toml"))?;
    outcome.report = Some(html::write(&journal, &results.page(&outcome)?)?);
    let unfinished = counts.pictures - counts.skipped - counts.done;
    Written::new(&journal, |_, _| true, options, unfinished).note(&options.out)?;
    tell_done(&outcome, &clock, watch);
    Ok(outcome)
}

/// The files that decide what 16 bits mean: the labelled pictures and those to segment.
fn deep_files<'a>(
    labelled: impl Iterator<Item = &'a FolderPicture>,
    items: &'a [Item],
) -> impl Iterator<Item = &'a Path> {
    let labelled = labelled.map(|picture| picture.file.as_path());
    labelled.chain(items.iter().map(|item| item.file.as_path()))
}

fn tell_done(outcome: &SegmentOutcome, clock: &Clock, watch: &Watch<'_>) {
    let Counts { done, skipped, failed, .. } = outcome.counts;
    watch.tell(&Event::Done(Done::Segment {
        done,
        skipped,
        failed,
        objects: outcome.objects,
        seconds: clock.seconds(),
        report: outcome.report.as_deref(),
        cancelled: outcome.cancelled,
    }));
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
