//! `kshot eval`.

use std::path::PathBuf;

use clap::Args;
use kshot::job::{EvalOptions, eval, precision};
use kshot::nn::Precision;

use crate::DONE;
use crate::talk::Talk;

/// Episodes a run, or pictures, with --smoke.
const SMOKE: usize = 4;

/// Runs a named protocol from a recipe and reports it with confidence intervals.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot eval recipes/panet/voc-5i-1shot.toml --set data.root=/data/VOCdevkit/VOC2012 --json result.json --out run/
  kshot eval recipes/omniglot/prototypical-networks.toml --model runs/prototypical-networks
  kshot eval recipes/camvid/five-frames.toml --set protocol.seeds=[0]
  kshot eval runs/cells/recipe.toml --model runs/cells
  kshot compare runs/before runs/after     (two results of --out or --json, pair by pair)

Exit status: 0 done, 2 wrong use, 4 no room on the disk.")]
pub struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// Changes a key of the recipe, such as protocol.runs=1 (may be given several times).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// The folder of a training, or a file of weights (recipes with a [train] section).
    #[arg(long, value_name = "RUN_OR_FILE")]
    model: Option<PathBuf>,
    /// Writes the result to this file as JSON, its rows (an episode, picture or query each) last.
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
pub fn run(arguments: Arguments, asked: Option<Precision>) -> anyhow::Result<u8> {
    arguments.threads.map_or(Ok(()), crate::set_threads)?;
    let Arguments { recipe, changes, device, .. } = &arguments;
    let recipe = precision::read_recipe(recipe, changes, asked, device)?;
    let options = EvalOptions {
        recipe,
        model: arguments.model,
        out: arguments.out,
        json: arguments.json,
        force: arguments.force,
        smoke: arguments.smoke.then_some(SMOKE),
        device: arguments.device,
        command: crate::command(),
    };
    let talk = Talk::figures(arguments.quiet);
    talk.follow(|watch| eval(&options, watch))?;
    Ok(DONE)
}
