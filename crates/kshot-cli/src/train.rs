//! `kshot train`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use kshot::job::train::{cost, default_out};
use kshot::job::{TrainOptions, plan, precision, train};
use kshot::nn::Precision;
use kshot::plan::{PLAN, PlanOptions};
use kshot::train::transfer;

use crate::DONE;
use crate::table::{print, say};
use crate::talk::Talk;

/// Trains by a recipe, or on a folder of labelled pictures. A stopped training goes on.
///
/// With --data the recipe follows from the pictures, their labels and the budget of --minutes; each choice is told with its
/// reason and left in OUT/plan.json. The recipe is left as OUT/recipe.toml, to read, to change and to run again. What --set
/// says stays as it is.
///
/// Leaves in --out: recipe.toml, metrics.jsonl (a line a validation), curve.html (the same drawn, to look at while
/// it runs), events.out.tfevents.kshot (for TensorBoard), split.json (who learns, who validates), classes.txt, checkpoint/,
/// previews/ (predictions on validation pictures), model.bpk, the best by the validation set, and of segmentation
/// report.html: curves, classes, confusion, worst pictures, calibration, and why the recipe is as it is.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot train --data labelled/ --out runs/mine
  kshot train --data labelled/ --out runs/mine --minutes 10
  kshot segment --model runs/mine --query photos/ --out result/
  kshot train --data more/ --from runs/mine --out runs/more
  kshot train recipes/omniglot/prototypical-networks.toml --out runs/proto
  kshot train recipes/omniglot/maml-5way-1shot.toml --dry-run
  kshot train recipes/panet/train-voc-1shot.toml --out runs/panet
  kshot eval recipes/omniglot/prototypical-networks.toml --model runs/proto

Exit status: 0 done, 2 wrong use, 4 no room on the disk, 130 stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP). After
4 and a stop the same command goes on from the last checkpoint.")]
pub struct Arguments {
    /// The recipe.
    #[arg(required_unless_present = "data")]
    recipe: Option<PathBuf>,
    /// A folder of labelled pictures in any format, in place of a recipe.
    #[arg(long, value_name = "DIR", conflicts_with = "recipe", requires = "out")]
    data: Option<PathBuf>,
    /// Steps (with --data; by the number of pictures by default).
    #[arg(long, value_name = "N", requires = "data", conflicts_with = "minutes")]
    steps: Option<usize>,
    /// The time that the training may take, from which its steps follow (with --data).
    #[arg(long, value_name = "M", requires = "data")]
    minutes: Option<f64>,
    /// Starts from the best weights of another run: its encoder and decoder, and what belongs to classes of the same
    /// name. With --data the network is that run's.
    #[arg(long, value_name = "RUN")]
    from: Option<PathBuf>,
    /// Seed of everything random (with --data).
    #[arg(long, default_value_t = 0, requires = "data")]
    seed: u64,
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
    validations: Option<usize>,
    /// Says how many parameters, how much memory and time a step takes, and ends.
    #[arg(long)]
    dry_run: bool,
    /// flex (CPU), cuda:0, vulkan, ... (`kshot list devices`); several with commas between them, such as cuda:0,cuda:1,
    /// each take an equal share of every batch.
    #[arg(long, visible_alias = "devices", default_value = "flex")]
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
pub fn run(arguments: Arguments, asked: Option<Precision>) -> anyhow::Result<u8> {
    arguments.threads.map_or(Ok(()), crate::set_threads)?;
    let out = arguments
        .out
        .unwrap_or_else(|| default_out(arguments.recipe.as_deref().unwrap_or(Path::new(""))));
    // What --set says comes last and counts.
    let mut changes = match &arguments.from {
        Some(run) => transfer::changes(run, arguments.data.is_some())?,
        None => Vec::new(),
    };
    changes.extend(arguments.changes.iter().cloned());
    let (mut notes, mut seconds) = (Vec::new(), None);
    let recipe = match (&arguments.recipe, arguments.data) {
        (Some(file), _) => precision::read_recipe(file, &changes, asked, &arguments.device)?,
        (None, Some(data)) => {
            let (steps, minutes, seed) = (arguments.steps, arguments.minutes, arguments.seed);
            let options = PlanOptions { data, steps, minutes, seed, changes };
            let before = (!arguments.force).then_some(out.as_path());
            let plan = plan(&options, before, &arguments.device)?;
            if !(arguments.json || arguments.quiet) {
                plan.told().iter().for_each(|line| say(line));
            }
            notes.push((PLAN.to_owned(), serde_json::to_string_pretty(&plan)? + "\n"));
            seconds = plan.seconds;
            precision::take(plan.recipe, asked, &arguments.device)?
        }
        (None, None) => {
            anyhow::bail!("give a recipe, or a folder of labelled pictures with --data")
        }
    };
    if arguments.dry_run {
        let (title, cost) = cost(&recipe, &arguments.device)?;
        let words = cost.told(&title, recipe.training()?);
        let text = if arguments.json { serde_json::to_string(&cost)? } else { words };
        print(&format!("{text}\n"))?;
        return Ok(DONE);
    }
    let dashboard =
        std::io::stdout().is_terminal() && !(arguments.json || arguments.quiet || arguments.plain);
    let options = TrainOptions {
        recipe,
        out,
        force: arguments.force,
        at_most: arguments.validations,
        seconds,
        device: arguments.device,
        notes,
        dashboard,
    };
    let talk = Talk::new(arguments.json, arguments.quiet);
    let trained = talk.follow(|watch| train(&options, watch))?;
    let stopped = trained.interrupted && crate::interrupt::asked();
    Ok(if stopped { crate::interrupt::status() } else { DONE })
}
