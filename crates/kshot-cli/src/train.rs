//! `kshot train`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use kshot::device;
use kshot::recipe::learning::AnyRecipe;
use kshot::train::experiment::Experiment;
use kshot::train::pixel_experiment;
use kshot::train::run::{self, Session, Trainable, View};

use crate::DONE;

/// Trains a method by a recipe: meta-learning from episodes. A stopped training goes on.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot train recipes/omniglot/prototypical-networks.toml --out runs/proto
  kshot train recipes/omniglot/maml-5way-1shot.toml --dry-run
  kshot train recipes/panet/train-voc-1shot.toml --out runs/panet
  kshot eval recipes/omniglot/prototypical-networks.toml --model runs/proto

Exit status: 0 done, 2 wrong use.")]
pub struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// Changes a key of the recipe, such as train.steps=100 (may be given several times).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The run's folder; runs/NAME by default, NAME being the recipe's file.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Starts anew in --out.
    #[arg(long)]
    force: bool,
    /// At most so many validations now; the same command goes on another time.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Says how many parameters, how much memory and time a step takes, and ends.
    #[arg(long)]
    dry_run: bool,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// One JSON object a validation on standard output, then the result.
    #[arg(long)]
    json: bool,
    /// Plain lines instead of the dashboard, also on a terminal.
    #[arg(long)]
    plain: bool,
    /// Errors only.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if let Some(threads) = arguments.threads {
        crate::set_threads(threads)?;
    }
    let device = device::parse(&arguments.device)?;
    match crate::read_recipe(&arguments.recipe, &arguments.changes, &arguments.device)? {
        AnyRecipe::Learning(recipe) => go(arguments, Experiment::new(&recipe, &device)?.session()?),
        AnyRecipe::Segmentation(recipe) => {
            anyhow::ensure!(
                !recipe.bf16,
                "bf16: only frozen encoders multiply in bf16, and this one learns"
            );
            go(arguments, pixel_experiment::session(&recipe, &device)?)
        }
    }
}

fn go<const R: usize, L: Trainable<R>>(
    arguments: &Arguments,
    session: Session<L, R>,
) -> anyhow::Result<u8> {
    let parameters = session.learner.num_params();
    let train = session.training.clone();
    if arguments.dry_run {
        let cost = run::try_steps(&session)?;
        if arguments.json {
            println!("{}", serde_json::to_string(&cost)?);
        } else {
            println!(
                "{}: {parameters} parameters; a step of {} episode(s) takes {:.3} s, {} steps \
                 about {:.0} min; peak memory {:.0} MB",
                session.title,
                train.meta_batch,
                cost.seconds,
                train.steps,
                cost.seconds * train.steps as f64 / 60.0,
                cost.peak_bytes as f64 / 1e6,
            );
        }
        return Ok(DONE);
    }
    let out = arguments.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(arguments.recipe.file_stem().unwrap_or_default())
    });
    let view = if arguments.json {
        View::Json
    } else if arguments.quiet {
        View::Quiet
    } else if std::io::stdout().is_terminal() && !arguments.plain {
        View::Dashboard
    } else {
        View::Lines
    };
    if view == View::Lines {
        let [classes, chosen] = session.counts;
        println!(
            "{}: {parameters} parameters, {classes} classes to train on, {chosen} to choose on, {} \
             steps; in {}",
            session.title,
            train.steps,
            out.display()
        );
    }
    let how = run::How { anew: arguments.force, view, at_most: arguments.epochs };
    let result = run::train(session, &out, how)?;
    match view {
        View::Json => println!("{}", serde_json::to_string(&result)?),
        View::Quiet => {}
        View::Dashboard | View::Lines => println!(
            "{}best validation accuracy {:.2} % at step {}; {}",
            if result.interrupted { "stopped; " } else { "" },
            100.0 * result.best.validation_accuracy,
            result.best.step,
            if result.interrupted {
                "run the same command to go on".to_owned()
            } else {
                format!(
                    "evaluate with: kshot eval {} --model {}",
                    arguments.recipe.display(),
                    out.display()
                )
            }
        ),
    }
    Ok(DONE)
}
