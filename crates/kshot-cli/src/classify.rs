//! `kshot classify`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use kshot::classify::Recogniser;
use kshot::classify::folder::{self, Labelled};
use kshot::classify::heads::{self, Method};
use kshot::classify::judge::{self, Judgement};
use kshot::classify::model_file::{ModelFile, Origin};
use kshot::classify::reject::Keep;
use kshot::classify::sort::{self, How};
use kshot::classify::vectors;
use kshot::encoder::EncoderConfig;
use kshot::features::embed::{Embedder, Looking};
use kshot::hash;
use kshot::job::bf16::{self, Cost};
use kshot::nn::bf16::{in_32_bits, is_bf16};
use kshot::report::classify_csv;
use kshot::report::classify_html::{self, PageData};
use kshot::report::run::{self, Counts, RunFile, SupportFile};
use kshot::{device, weights};
use kshot_data::atomic;
use kshot_data::class_folder::ClassFolder;
use kshot_data::journal::Journal;
use kshot_data::query::FailedPicture;
use kshot_data::query::split_finished;
use serde_json::json;

use crate::classify_run::{self, Job};
use crate::talk::Talk;
use crate::{DONE, SOME_FAILED};

/// Labels a folder of pictures from a few pictures a class, or says that they are none of these.
///
/// The support is a folder with a folder a class, or a csv of path,class. One picture a class is enough;
/// from two on, methods are compared on held-out pictures and the result says what to expect.
///
/// Writes labels.csv, and beside it report.html (the least certain first), run.toml and, where the
/// truth is known, truth.json. Run again, it looks only at new pictures; labels are always made anew.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot classify --support parts/ --query photos/ --out labels.csv
  kshot classify --support parts/ --query photos/ --out run/labels.csv --link sorted/ --json
  kshot classify --support parts/ --query photos/ --out labels.csv --save parts.kshot
  kshot classify --model parts.kshot --query more/ --out more.csv
  kshot classify --run runs/proto --support drawings/ --query more/ --out labels.csv
  kshot classify --support train/ --shots 5 --query test/ --out run/ --truth truth.csv

labels.csv: file,class,probability,accepted,familiarity,nearest,class_2,probability_2,...
  class        the likeliest class, whether accepted or not
  probability  its probability, should the picture show one of the classes
  accepted     false: none of these
  familiarity  what that was decided by; nearest is the most similar labelled picture of the class

Exit status: 0 all done, 2 wrong use, 3 some pictures failed (all others are written).")]
pub struct Arguments {
    /// Folder of class folders, or a csv of path,class.
    #[arg(long, value_name = "DIR|CSV", required_unless_present = "model")]
    support: Option<PathBuf>,
    /// A model that --save wrote, in place of --support.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["support", "shots", "size", "views", "encoder"])]
    model: Option<PathBuf>,
    /// Folder of pictures to label (subfolders too), one picture, or a list of them (.csv with a column
    /// path, or .txt).
    #[arg(long, value_name = "DIR|LIST")]
    query: PathBuf,
    /// The table of labels; or a folder, in which it is named labels.csv.
    #[arg(long, value_name = "CSV|DIR")]
    out: PathBuf,
    /// The folder of a training (`kshot train`): its method labels, as it was trained; nothing is rejected.
    #[arg(long, value_name = "RUN", requires = "support", conflicts_with_all = ["model", "method", "reject", "move_to", "link", "save", "encoder", "weights", "size", "views"])]
    run: Option<PathBuf>,
    /// Only the first pictures of each class, by name.
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// auto, ridge, probe, prototype or simple-shot; auto compares all on held-out pictures.
    #[arg(long, default_value = heads::AUTO)]
    method: String,
    /// auto, off, or the share of true members to keep, such as 0.95 (which auto is).
    #[arg(long, default_value = "auto", value_name = "auto|off|SHARE")]
    reject: Keep,
    /// Classes listed a picture.
    #[arg(long, default_value_t = 5, value_name = "K")]
    top_k: usize,
    /// Moves the pictures into class folders here; what is not accepted into none-of-these.
    #[arg(long = "move", value_name = "DIR", conflicts_with = "link")]
    move_to: Option<PathBuf>,
    /// Links the pictures into class folders here.
    #[arg(long, value_name = "DIR")]
    link: Option<PathBuf>,
    /// What the pictures really show, as a csv of path,class, to judge the labels; any other name than
    /// a class's means none of these. Queries in folders named like the classes are judged without.
    #[arg(long, value_name = "CSV")]
    truth: Option<PathBuf>,
    /// Writes the classes into a model file (see `kshot model`).
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The network whose features are used (`kshot list encoders`).
    #[arg(long, default_value = weights::EMBEDDED)]
    encoder: String,
    /// Weights of the network: a .safetensors or .pth file, or a Hugging Face repository
    /// (owner/name); by default the built-in ones, or those that `kshot weights pull` fetched.
    #[arg(long, value_name = "FILE|REPOSITORY")]
    weights: Option<PathBuf>,
    /// Side of what the network sees of a picture; 224 is quicker, larger sees smaller things.
    #[arg(long, value_name = "PX", default_value_t = Looking::default().size)]
    size: usize,
    /// Views a picture: the centre, the whole mirrored, ... Each costs as much time as the first.
    #[arg(long, value_name = "N", default_value_t = Looking::default().views)]
    views: usize,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Looks at finished pictures again.
    #[arg(long)]
    force: bool,
    /// One JSON object a line on standard output, for programs.
    #[arg(long)]
    json: bool,
    /// Only errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let started = (run::now(), Instant::now());
    if let Some(threads) = arguments.threads {
        crate::set_threads(threads)?;
    }
    if arguments.top_k == 0 {
        bail!("--top-k must be at least 1");
    }
    if arguments.shots == Some(0) {
        bail!("--shots must be at least 1");
    }
    crate::check_bf16(&arguments.device)?;
    let talk = Talk { json: arguments.json, quiet: arguments.quiet };
    let place = Place::new(&arguments.out);
    place.check(arguments)?;
    if let (Some(run), Some(support)) = (&arguments.run, &arguments.support) {
        if is_bf16() {
            bail!("--bf16 does not go with --run: its recipe says whether it multiplies in bf16");
        }
        let job = Job {
            run,
            support,
            shots: arguments.shots,
            query: &arguments.query,
            truth: arguments.truth.as_deref(),
            place,
            top_k: arguments.top_k,
            device: &arguments.device,
        };
        return classify_run::run(&job, &talk);
    }
    let methods = heads::by_name(&arguments.method)?;
    let (model, embedder) = in_32_bits(|| model(arguments, &talk))?;
    let (mut items, listed) = folder::items(&arguments.query)?;
    let classes: Vec<String> = model.classes.iter().map(|class| class.name.clone()).collect();
    let sorting = match (&arguments.move_to, &arguments.link) {
        (Some(target), _) => Some((How::Move, target)),
        (None, Some(target)) => Some((How::Link, target)),
        (None, None) => None,
    };
    if let Some((_, target)) = sorting {
        sort::check(target, &arguments.query, &classes)?;
    }
    let (truths, odd) =
        folder::truths(&items, &listed, arguments.truth.as_deref(), &arguments.query, &classes)?;
    odd.iter().for_each(|words| talk.warn(words));
    if arguments.truth.is_some() && truths.iter().all(Option::is_none) {
        bail!(
            "--truth names none of the pictures to label; its paths count from its own folder or from --query"
        );
    }
    let recogniser = fit(&model, &methods, arguments, &talk, &started)?;
    if let Some(file) = &arguments.save {
        model.write(file)?;
    }

    // Vectors depend on how pictures are looked at and multiplied, and on nothing else.
    let run = hash::of_bytes(
        json!([env!("CARGO_PKG_VERSION"), model.origin, kshot::nn::is_precise(), is_bf16()])
            .to_string()
            .as_bytes(),
    );
    let mut journal = Journal::open(&place.folder)?;
    let total = items.len();
    let (left, skipped) = if arguments.force {
        (items.clone(), 0)
    } else {
        split_finished(items.clone(), &journal, &run)
    };
    talk.say(
        json!({"event": "start", "pictures": total, "skipped": skipped,
            "labelled": recogniser.examples().labels.len(), "classes": classes}),
        &format!("{total} pictures to label, {skipped} already looked at"),
    );
    let cost = talk.cost(|| {
        let files = left.iter().map(|item| item.file.as_path());
        bf16::of_recognition((&embedder, &recogniser), files)
    });
    let bar = talk.bar(left.len());
    let failed = vectors::embed(&embedder, &left, &mut journal, &run, |event| {
        talk.event(&bar, &event, &recogniser)
    })?;
    bar.finish_and_clear();

    let lost: std::collections::HashSet<&str> = failed.iter().map(|f| &*f.name).collect();
    let truth_of: std::collections::HashMap<String, _> =
        items.iter().map(|item| item.name.clone()).zip(truths).collect();
    items.retain(|item| !lost.contains(&*item.shown));
    let mut labelled = folder::label(&recogniser, &items, &journal, &run, arguments.top_k)?;
    for one in &mut labelled {
        one.truth = truth_of.get(&one.item.name).copied().flatten();
    }
    let counts =
        Counts { pictures: total, done: left.len() - failed.len(), skipped, failed: failed.len() };
    let judgement = judged(&labelled, arguments, &place, &talk)?;
    let files: Vec<String> =
        model.classes.iter().flat_map(|class| &class.examples).map(|e| e.file.clone()).collect();
    classify_csv::write(&place.table, &labelled, &classes, &files, arguments.top_k)?;
    run_file(arguments, &model, &recogniser, counts, (judgement.as_ref(), cost), &started)?
        .write(&place.folder)?;
    let report = classify_html::write(
        &place.folder.join("report.html"),
        &page(
            arguments,
            &model,
            &recogniser,
            &labelled,
            judgement,
            counts,
            &failed,
            &place,
            &started,
        ),
    )?;
    let mut failed = failed;
    if let Some((how, target)) = sorting {
        failed.extend(sorted(how, target, &labelled, &classes, &place, &talk)?);
    }
    let accepted = labelled.iter().filter(|one| one.found.accepted).count();
    let seconds = started.1.elapsed().as_secs_f64();
    talk.say(
        json!({"event": "done", "done": counts.done, "skipped": skipped, "failed": failed.len(),
            "accepted": accepted, "none_of_these": labelled.len() - accepted, "seconds": seconds,
            "labels": place.table, "report": report}),
        &format!(
            "{} labelled, {accepted} accepted, {} none of these, {} failed in {seconds:.1} s; {} and {}",
            labelled.len(),
            labelled.len() - accepted,
            failed.len(),
            place.table.display(),
            report.display()
        ),
    );
    for failed in &failed {
        eprintln!("failed: {}: {}", failed.name, failed.error);
    }
    Ok(if failed.is_empty() { DONE } else { SOME_FAILED })
}

/// Where results go.
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The table of labels.
    pub table: PathBuf,
}

impl Place {
    /// From --out.
    pub fn new(out: &Path) -> Self {
        let is_table = out.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        if !is_table || out.is_dir() {
            return Self { folder: out.to_owned(), table: out.join("labels.csv") };
        }
        let folder = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self { folder, table: out.to_owned() }
    }

    /// Refuses to write labels over what they are made from.
    fn check(&self, arguments: &Arguments) -> anyhow::Result<()> {
        let Ok(table) = self.table.canonicalize() else { return Ok(()) };
        let given = [
            arguments.support.as_deref(),
            arguments.model.as_deref(),
            Some(arguments.query.as_path()),
            arguments.truth.as_deref(),
        ];
        if let Some(file) = given
            .into_iter()
            .flatten()
            .find(|file| file.canonicalize().is_ok_and(|file| file == table))
        {
            bail!(
                "{}: the labels would be written over it; give --out another name",
                file.display()
            );
        }
        Ok(())
    }
}

/// The classes with their vectors, from a file or from pictures, and what makes vectors like them.
fn model(arguments: &Arguments, talk: &Talk) -> anyhow::Result<(ModelFile, Embedder)> {
    let stored = arguments.model.as_deref().map(ModelFile::read).transpose()?;
    let (encoder, looking) = match &stored {
        Some(stored) => (stored.origin.encoder.clone(), stored.origin.looking),
        None => {
            let looking = Looking { size: arguments.size, views: arguments.views };
            (arguments.encoder.clone(), looking)
        }
    };
    let config: EncoderConfig = encoder.parse()?;
    let device = device::parse(&arguments.device)?;
    looking.check()?;
    // What is wrong with the support is told before the weights are read.
    let pictures = match (&stored, &arguments.support) {
        (None, Some(support)) => {
            let pictures = ClassFolder::open(support)?;
            Some(match arguments.shots {
                Some(shots) => pictures.first(shots),
                None => pictures,
            })
        }
        _ => None,
    };
    let (embedder, weights_sha256) =
        Embedder::from_weights(&config, arguments.weights.as_deref(), &device, looking)?;
    let origin = Origin { encoder, weights_sha256, looking };
    if let Some(stored) = stored {
        stored.check_origin(&origin, embedder.dimensions())?;
        return Ok((stored, embedder));
    }
    let Some(pictures) = pictures else { bail!("give --support or --model") };
    pictures.warnings.iter().for_each(|words| talk.warn(words));
    let bar = talk.bar(pictures.pictures.len());
    let (classes, warnings) =
        vectors::examples(&embedder, &pictures, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    warnings.iter().for_each(|words| talk.warn(words));
    Ok((ModelFile::new(origin, classes), embedder))
}

fn fit(
    model: &ModelFile,
    methods: &[Box<dyn Method>],
    arguments: &Arguments,
    talk: &Talk,
    started: &(String, Instant),
) -> anyhow::Result<Recogniser> {
    let recogniser = Recogniser::fit(model.examples(), methods, arguments.reject)?;
    let choice = recogniser.choice();
    let seconds = started.1.elapsed().as_secs_f64();
    talk.say(
        json!({"event": "fitted", "choice": choice, "seconds": seconds}),
        &format!(
            "{} labelled pictures of {} classes; {}; {} ({seconds:.1} s)",
            recogniser.examples().labels.len(),
            recogniser.examples().classes.len(),
            choice.reason,
            choice.rejection.how,
        ),
    );
    Ok(recogniser)
}

/// Judges the labels where the truth is known, tells it, and writes truth.json.
fn judged(
    labelled: &[Labelled],
    arguments: &Arguments,
    place: &Place,
    talk: &Talk,
) -> anyhow::Result<Option<Judgement>> {
    let known: Vec<_> = labelled.iter().filter_map(|one| one.judged(arguments.top_k)).collect();
    if known.is_empty() {
        return Ok(None);
    }
    let judgement = judge::judge(&known);
    let file = place.folder.join("truth.json");
    let mut text = serde_json::to_string_pretty(&judgement).context("the judgement as JSON")?;
    text.push('\n');
    atomic::write(&file, text.as_bytes())?;
    talk.say(json!({"event": "judged", "judgement": judgement}), &judgement.to_string());
    Ok(Some(judgement))
}

fn sorted(
    how: How,
    target: &Path,
    labelled: &[Labelled],
    classes: &[String],
    place: &Place,
    talk: &Talk,
) -> anyhow::Result<Vec<FailedPicture>> {
    let sorted = sort::sort(target, how, labelled, classes)?;
    if how == How::Move && !sorted.placed.is_empty() {
        // Enough to undo it.
        let file = place.folder.join("moved.csv");
        sort::write_moves(&file, &sorted.placed)?;
    }
    let word = if how == How::Move { "moved" } else { "linked" };
    talk.say(
        json!({"event": "sorted", "how": word, "pictures": sorted.placed.len(), "folder": target}),
        &format!("{} {word} into {}", sorted.placed.len(), target.display()),
    );
    Ok(sorted.failed)
}

fn run_file(
    arguments: &Arguments,
    model: &ModelFile,
    recogniser: &Recogniser,
    counts: Counts,
    (judgement, cost): (Option<&Judgement>, Option<Cost>),
    started: &(String, Instant),
) -> anyhow::Result<RunFile> {
    let choice = recogniser.choice();
    let mut options = json!({
        "method": arguments.method, "size": model.origin.looking.size,
        "views": model.origin.looking.views, "temperature": choice.temperature,
        "top_k": arguments.top_k, "reject": choice.rejection.how,
    });
    if is_bf16() {
        options["bf16"] = json!({"used": true, "cost": cost});
    }
    if let Some(threshold) = choice.rejection.threshold {
        options["threshold"] = json!(threshold);
    }
    if let Some(accuracy) = judgement.and_then(|judgement| judgement.accuracy) {
        options["accuracy"] = json!(accuracy.mean);
    }
    let of_class = |class: &kshot::classify::model_file::Class| {
        let label = class.name.clone();
        class
            .examples
            .iter()
            .map(move |example| SupportFile {
                image: example.file.clone(),
                image_sha256: example.sha256.clone(),
                labels: label.clone(),
                labels_sha256: String::new(),
            })
            .collect::<Vec<_>>()
    };
    Ok(RunFile {
        kshot: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        started: started.0.clone(),
        seconds: started.1.elapsed().as_secs_f64(),
        seed: 0,
        device: arguments.device.clone(),
        threads: arguments.threads.unwrap_or_else(crate::cores),
        encoder: model.origin.encoder.clone(),
        weights_sha256: model.origin.weights_sha256.clone(),
        method: choice.method.clone(),
        classes: recogniser.examples().classes.clone(),
        query: arguments.query.display().to_string(),
        counts,
        options: serde_json::from_value(options).context("the options as a table")?,
        support: model.classes.iter().flat_map(of_class).collect(),
    })
}

#[allow(clippy::too_many_arguments)] // each is a part of the page, and named at its use
fn page<'a>(
    arguments: &Arguments,
    model: &'a ModelFile,
    recogniser: &'a Recogniser,
    labelled: &'a [Labelled],
    judgement: Option<Judgement>,
    counts: Counts,
    failed: &'a [FailedPicture],
    place: &Place,
    started: &(String, Instant),
) -> PageData<'a> {
    let query = arguments.query.file_name().unwrap_or(arguments.query.as_os_str());
    PageData {
        title: format!(
            "{}: {} pictures labelled, {} classes",
            query.to_string_lossy(),
            labelled.len(),
            model.classes.len()
        ),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        started: started.0.clone(),
        seconds: started.1.elapsed().as_secs_f64(),
        counts,
        model,
        recogniser,
        labelled,
        judgement,
        failed,
        table: place.table.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}
