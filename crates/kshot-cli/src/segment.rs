//! `kshot segment`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use kshot::encoder::EncoderConfig;
use kshot::features::extract::Extractor;
use kshot::hash;
use kshot::job::bf16::{self, Cost};
use kshot::job::folder::{self, Event, Outcome};
use kshot::method::few_shot::{self, Method};
use kshot::nn::bf16::is_bf16;
use kshot::postprocess::refine::Refinement;
use kshot::predict::{Options, Predictor};
use kshot::report::html::{self, Candidate, ReportData, SupportShown};
use kshot::report::run::{self, RunFile, SupportFile};
use kshot::{device, weights};
use kshot_data::journal::Journal;
use kshot_data::overlay::{self, OverlayStyle};
use kshot_data::palette::Palette;
use kshot_data::query;
use kshot_data::support::Support;
use serde_json::json;

use crate::talk::Talk;
use crate::{DONE, SOME_FAILED};

/// Segments a folder of pictures from a few labelled ones.
///
/// The support folder holds images/ and, by the same names, masks/ (index PNG), scribbles/ (index
/// PNG, 255 = unlabelled), LabelMe JSON beside the pictures, or boxes.csv; classes.txt names the
/// classes, one a line.
///
/// Leaves in --out: masks/ (index PNG), overlays/ (to look at), report.html, labels.csv, coco.json
/// and run.toml. Run again, it skips the pictures that are finished.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot segment --support examples/coins/support --query examples/coins/query --out out/
  kshot segment --support labelled/ --query photos/ --out out/ --method probe --json

Exit status: 0 all done, 2 wrong use, 3 some pictures failed (all others are written).")]
pub struct Arguments {
    /// Folder of labelled pictures.
    #[arg(long, value_name = "DIR")]
    support: PathBuf,
    /// Folder of pictures to segment (subfolders too), or one picture.
    #[arg(long, value_name = "DIR")]
    query: PathBuf,
    /// Where the results go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// auto, prototype, probe or forest; auto tries all on the labelled pictures.
    #[arg(long, default_value = few_shot::AUTO)]
    method: String,
    /// The network whose features are used (`kshot list encoders`).
    #[arg(long, default_value = weights::EMBEDDED)]
    encoder: String,
    /// Weights of the network: a .safetensors or .pth file, or a Hugging Face repository
    /// (owner/name); by default the built-in ones, or those that `kshot weights pull` fetched.
    #[arg(long, value_name = "FILE|REPOSITORY")]
    weights: Option<PathBuf>,
    /// Working pixels per picture pixel; by default the size of the labelled objects decides.
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f32>,
    /// Plain upsampling instead of following the picture's edges.
    #[arg(long)]
    no_refine: bool,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Segment finished pictures again.
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
    if arguments.scale.is_some_and(|scale| !(scale > 0.0 && scale <= 4.0)) {
        bail!("--scale must be above 0 and at most 4, such as 0.5");
    }
    crate::check_bf16(&arguments.device)?;
    let talk = Talk { json: arguments.json, quiet: arguments.quiet };
    let network = Network::new(arguments)?;
    let items = query::items(&arguments.query)?;
    let support = Support::load(&arguments.support)?;
    for warning in &support.warnings {
        talk.warn(warning);
    }
    let settings = Settings::new(arguments, &network, &support)?;
    let mut journal = Journal::open(&arguments.out)?;
    let total = items.len();
    let names: std::collections::HashSet<String> =
        items.iter().map(|item| item.name.clone()).collect();
    let (items, skipped) = if arguments.force {
        (items, 0)
    } else {
        query::split_finished(items, &journal, &settings.fingerprint)
    };
    talk.say(
        json!({"event": "start", "pictures": total, "skipped": skipped, "labelled": support.pictures.len(),
            "classes": support.classes}),
        &format!(
            "{} labelled pictures of {} ({}); {total} pictures to segment, {skipped} already finished",
            support.pictures.len(),
            count(support.classes.len(), "class", "classes"),
            support.classes.join(", "),
        ),
    );
    if items.is_empty() && arguments.out.join("report.html").is_file() {
        talk.say(
            json!({"event": "done", "done": 0, "skipped": skipped, "failed": 0}),
            "nothing to do; --force does it again",
        );
        return Ok(DONE);
    }
    let predictor = network.fit(arguments, &support)?;
    let choice = predictor.choice();
    talk.say(
        json!({"event": "fitted", "choice": choice, "seconds": started.1.elapsed().as_secs_f64()}),
        &format!("{} ({:.1} s)", choice.reason, started.1.elapsed().as_secs_f64()),
    );
    let cost = talk
        .cost(|| bf16::of_segmentation(&predictor, items.iter().map(|item| item.file.as_path())));
    let bar = talk.bar(items.len());
    let outcome =
        folder::segment(&predictor, items, &mut journal, &settings.fingerprint, |event| {
            tell(&talk, &bar, &event)
        })?;
    bar.finish_and_clear();
    journal.retain(|name, finished| names.contains(name) && finished.run == settings.fingerprint);
    let mut counts = outcome.counts;
    (counts.pictures, counts.skipped) = (total, skipped);
    let outcome = Outcome { counts, ..outcome };
    folder::tables(&journal, predictor.classes())?;
    settings
        .run_file(arguments, &support, &predictor, &outcome, cost, &started)?
        .write(&arguments.out)?;
    let report =
        html::write(&journal, &report(arguments, &support, &predictor, &outcome, cost, &started)?)?;
    talk.say(
        json!({"event": "done", "done": counts.done, "skipped": skipped, "failed": counts.failed,
            "seconds": started.1.elapsed().as_secs_f64(), "report": report}),
        &format!(
            "{} done, {skipped} skipped, {} failed in {:.1} s; look at {}",
            counts.done,
            counts.failed,
            started.1.elapsed().as_secs_f64(),
            report.display()
        ),
    );
    for failed in &outcome.failed {
        eprintln!("failed: {}: {}", failed.name, failed.error);
    }
    Ok(if outcome.failed.is_empty() { DONE } else { SOME_FAILED })
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Tells what happened to a picture.
fn tell(talk: &Talk, bar: &ProgressBar, event: &Event<'_>) {
    bar.inc(1);
    match event {
        Event::Done(record) => {
            bar.set_message(record.name.clone());
            if talk.json {
                println!(
                    "{}",
                    json!({"event": "picture", "file": record.path, "mask": record.mask,
                        "confidence": record.confidence, "flags": record.flags, "seconds": record.seconds})
                );
            } else if !talk.quiet && bar.is_hidden() {
                let flags = record.flags.join(", ");
                eprintln!(
                    "{}: confidence {:.2} {flags} ({:.2} s)",
                    record.path, record.confidence, record.seconds
                );
            }
        }
        Event::Failed(failed) => talk.failed(failed),
    }
}

/// What is looked up before the support is read, so that a wrong name costs no time.
struct Network {
    extractor: Extractor,
    methods: Vec<Box<dyn Method>>,
    weights_sha256: String,
}

impl Network {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let encoder: EncoderConfig = arguments.encoder.parse()?;
        let methods = few_shot::by_name(&arguments.method)?;
        let device = device::parse(&arguments.device)?;
        let (extractor, weights_sha256) =
            Extractor::from_weights(&encoder, arguments.weights.as_deref(), &device)?;
        Ok(Self { extractor, methods, weights_sha256 })
    }

    fn fit(self, arguments: &Arguments, support: &Support) -> anyhow::Result<Predictor> {
        let options = Options {
            methods: self.methods,
            refinement: refinement(arguments, support),
            scale: arguments.scale,
            seed: arguments.seed,
        };
        Ok(Predictor::fit(self.extractor, support, options)?)
    }
}

fn refinement(arguments: &Arguments, support: &Support) -> Refinement {
    if arguments.no_refine { Refinement::None } else { Refinement::suited_to(support) }
}

/// What the result depends on.
struct Settings {
    weights_sha256: String,
    support: Vec<SupportFile>,
    fingerprint: String,
}

impl Settings {
    fn new(arguments: &Arguments, network: &Network, support: &Support) -> anyhow::Result<Self> {
        let weights_sha256 = network.weights_sha256.clone();
        let mut files = Vec::with_capacity(support.pictures.len());
        for picture in &support.pictures {
            files.push(SupportFile {
                image: picture.path.display().to_string(),
                image_sha256: hash::of_file(&picture.path)?,
                labels: picture.labels.display().to_string(),
                labels_sha256: hash::of_file(&picture.labels)?,
            });
        }
        let hashes: Vec<_> =
            files.iter().map(|file| (&file.image_sha256, &file.labels_sha256)).collect();
        let fingerprint = json!([
            env!("CARGO_PKG_VERSION"),
            arguments.encoder,
            weights_sha256,
            hashes,
            support.classes,
            arguments.method,
            arguments.scale,
            arguments.no_refine,
            arguments.seed,
            kshot::nn::is_precise(),
            is_bf16()
        ]);
        let fingerprint = hash::of_bytes(fingerprint.to_string().as_bytes());
        Ok(Self { weights_sha256, support: files, fingerprint })
    }

    fn run_file(
        &self,
        arguments: &Arguments,
        support: &Support,
        predictor: &Predictor,
        outcome: &Outcome,
        cost: Option<Cost>,
        started: &(String, Instant),
    ) -> anyhow::Result<RunFile> {
        let mut options = json!({
            "method": arguments.method, "scale": predictor.choice().scale,
            "refinement": refinement(arguments, support).name(),
            "temperature": predictor.choice().temperature,
        });
        if is_bf16() {
            options["bf16"] = json!({"used": true, "cost": cost});
        }
        Ok(RunFile {
            kshot: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            started: started.0.clone(),
            seconds: started.1.elapsed().as_secs_f64(),
            seed: arguments.seed,
            device: arguments.device.clone(),
            threads: arguments.threads.unwrap_or_else(crate::cores),
            encoder: arguments.encoder.clone(),
            weights_sha256: self.weights_sha256.clone(),
            method: predictor.choice().method.clone(),
            classes: support.classes.clone(),
            query: arguments.query.display().to_string(),
            counts: outcome.counts,
            options: serde_json::from_value(options).context("the options as a table")?,
            support: self.support.clone(),
        })
    }
}

fn report(
    arguments: &Arguments,
    support: &Support,
    predictor: &Predictor,
    outcome: &Outcome,
    cost: Option<Cost>,
    started: &(String, Instant),
) -> anyhow::Result<ReportData> {
    let palette = Palette::distinct();
    let mut shown = Vec::with_capacity(support.pictures.len());
    for picture in &support.pictures {
        let drawn =
            overlay::draw(&picture.image, &picture.mask, None, &palette, &OverlayStyle::default())?;
        let counts = picture.mask.counts();
        let labelled: usize = counts[..=support.classes.len()].iter().sum();
        let percent = 100.0 * labelled as f64 / picture.mask.pixels.len() as f64;
        shown.push(SupportShown {
            name: file_name(&picture.path),
            how: format!("{}, {percent:.0} % of the pixels labelled", picture.kind),
            classes: (1..=support.classes.len() as u8)
                .filter(|&class| counts[usize::from(class)] > 0)
                .collect(),
            thumbnail: overlay::thumbnail(&drawn, folder::THUMBNAIL.0, folder::THUMBNAIL.1)?,
        });
    }
    let choice = predictor.choice();
    let candidates = choice
        .outcomes
        .iter()
        .map(|outcome| Candidate {
            name: outcome.method.clone(),
            chosen: outcome.method == choice.method,
            mean_iou: Some(outcome.mean_iou as f32),
            class_iou: outcome.iou[1..].iter().map(|iou| iou.map(|iou| iou as f32)).collect(),
            seconds: Some(outcome.fit_seconds),
        })
        .collect();
    Ok(ReportData {
        title: format!(
            "{}: {} from {} labelled",
            file_name(&arguments.query),
            count(outcome.counts.pictures, "picture", "pictures"),
            support.pictures.len()
        ),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        started: started.0.clone(),
        seconds: started.1.elapsed().as_secs_f64(),
        counts: outcome.counts,
        classes: support.classes.clone(),
        palette,
        support: shown,
        method: choice.method.clone(),
        why: choice.reason.clone(),
        candidates,
        notes: std::iter::once(format!(
            "Pictures are looked at {:.2} times their size; probabilities are divided by a \
             temperature of {:.2}, which fits the held-out labels best.",
            choice.scale, choice.temperature
        ))
        .chain(cost.map(|cost| format!("{cost}.")))
        .collect(),
        failed: outcome.failed.clone(),
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
