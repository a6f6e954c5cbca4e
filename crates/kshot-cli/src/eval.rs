//! `kshot eval`.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kshot::device;
use kshot::eval::{self, Evaluation, Options, recognition};
use kshot::recipe::learning::AnyRecipe;
use kshot::report::{evaluation, run};
use kshot_data::atomic;

use crate::DONE;

/// Episodes a run, or pictures, with --smoke.
const SMOKE: usize = 4;

/// Runs a named protocol from a recipe and reports it with confidence intervals.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot eval recipes/panet/voc-5i-1shot.toml --set data.root=/data/VOCdevkit/VOC2012 --json result.json --out run/
  kshot eval recipes/omniglot/prototypical-networks.toml --model runs/prototypical-networks
  kshot eval recipes/camvid/five-frames.toml --set protocol.seeds=[0]")]
pub struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// Changes a key of the recipe, such as protocol.runs=1 (may be given several times).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The folder of a training, or a file of weights (recipes with a [train] section).
    #[arg(long, value_name = "RUN_OR_FILE")]
    model: Option<PathBuf>,
    /// Writes the result to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leaves report.html, result.json, recipe.toml and the ten worst episodes as pictures here. A
    /// stopped evaluation goes on from what is finished there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Starts anew in --out.
    #[arg(long)]
    force: bool,
    /// A few episodes or pictures only, to see that all is in place: its figures mean nothing.
    #[arg(long)]
    smoke: bool,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(threads) = arguments.threads {
        crate::set_threads(threads)?;
    }
    let started = run::now();
    let recipe = crate::read_recipe(&arguments.recipe, &arguments.changes, &arguments.device)?;
    let device = device::parse(&arguments.device)?;
    let bar = if arguments.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}, {per_sec}, {eta} left")?);
    let options = Options {
        model: arguments.model.as_deref(),
        out: arguments.out.as_deref(),
        force: arguments.force,
        smoke: arguments.smoke.then_some(SMOKE),
    };
    let on_progress = |progress: eval::Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        if bar.is_hidden() && !arguments.quiet && progress.done.is_multiple_of(100) {
            eprintln!("{}/{}", progress.done, progress.total);
        }
    };
    let result = match &recipe {
        AnyRecipe::Segmentation(recipe) => eval::run(recipe, &device, &options, &on_progress)?,
        AnyRecipe::Learning(recipe) => {
            let model = arguments.model.as_deref();
            let options = recognition::Options { model, smoke: options.smoke };
            recognition::run(recipe, &device, options, &on_progress)?
        }
    };
    bar.finish_and_clear();
    print(&result);
    if let Some(file) = &arguments.json {
        atomic::write(file, result.json()?.as_bytes())?;
    }
    if let Some(out) = &arguments.out {
        let command = std::env::args().collect::<Vec<_>>().join(" ");
        let page = evaluation::write(out, &result, &command, &started)?;
        println!("look at {}", page.display());
    }
    Ok(DONE)
}

fn print(result: &Evaluation) {
    if result.smoke {
        println!("smoke run: these figures mean nothing");
    }
    println!(
        "{}, {}transductive, seed {}, {:.0} s",
        result.protocol,
        if result.transductive { "" } else { "not " },
        result.seed,
        result.seconds
    );
    for (name, estimate) in &result.metrics {
        let interval =
            estimate.ci95.map_or_else(String::new, |ci95| format!(" +- {:.2}", 100.0 * ci95));
        println!("{name:20} {:6.2}{interval} % (n = {})", 100.0 * estimate.mean, estimate.n);
    }
    for (fold, metrics) in &result.per_fold {
        let shown: Vec<String> =
            metrics.iter().map(|(name, value)| format!("{name} {:.2} %", 100.0 * value)).collect();
        // Folds are numbers; a seed says that it is one.
        let kind = if fold.parse::<usize>().is_ok() { "fold " } else { "" };
        println!("  {kind}{fold}: {}", shown.join(", "));
    }
    for (class, iou) in &result.per_class {
        println!("  {class:20} {:6.2} %", 100.0 * iou);
    }
}
