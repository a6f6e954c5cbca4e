//! The `kshot` command: learn to see from a handful of labels.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kshot::recipe::learning::AnyRecipe;

mod check;
mod classify;
mod data;
mod demo;
mod eval;
mod interrupt;
mod list;
mod model;
mod segment;
mod table;
mod talk;
mod train;
mod weights;

/// Keeps freed pages, as `main` tells it: large activations are allocated and freed for every picture.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Learn to see from a handful of labels.
#[derive(Parser)]
#[command(name = "kshot", version, about, arg_required_else_help = true)]
struct Cli {
    /// Sums convolutions product by product: three times slower for 3x3 kernels, and about three times
    /// closer to the exact result (on CPUs; `precise = true` in a recipe does the same).
    #[arg(long, global = true)]
    precise: bool,
    /// Multiplies in bf16 where frozen networks (EfficientNet-Lite, ResNets of bottlenecks) multiply large
    /// matrices: twice the products an instruction on processors that have them, at a cost in accuracy that
    /// segment and classify tell (on CPUs; `bf16 = true` in a recipe does the same).
    #[arg(long, global = true)]
    bf16: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Segment(segment::Arguments),
    Train(train::Arguments),
    Classify(classify::Arguments),
    Model(model::Arguments),
    Demo(demo::Arguments),
    Eval(eval::Arguments),
    Check(check::Arguments),
    Data(data::Arguments),
    List(list::Arguments),
    Weights(weights::Arguments),
}

/// Done.
const DONE: u8 = 0;
/// Some pictures failed; all others are written. (130 is that of a stopped job: `interrupt`.)
const SOME_FAILED: u8 = 3;
/// Wrong use: arguments, recipe or labels; nothing was done.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    kshot_kernels::keep_pages();
    let cli = Cli::parse();
    if cli.precise {
        kshot::nn::set_precise(true);
    }
    if let Err(refused) = choose_bf16(&cli) {
        eprintln!("kshot: --bf16: {refused:#}");
        return ExitCode::from(WRONG_USE);
    }
    let result = match cli.command {
        Command::Segment(arguments) => segment::run(arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Classify(arguments) => classify::run(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Data(arguments) => data::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Weights(arguments) => weights::run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("kshot: {error:#}");
            ExitCode::from(WRONG_USE)
        }
    }
}

/// Reads a recipe with changes, and chooses the sums that it or the command line asks for.
fn read_recipe(
    path: &std::path::Path,
    changes: &[String],
    device: &str,
) -> anyhow::Result<AnyRecipe> {
    let mut recipe = AnyRecipe::read(path, changes)?;
    let (precise, bf16) = recipe.sums();
    *precise |= kshot::nn::is_precise();
    *bf16 |= kshot::nn::bf16::is_bf16();
    anyhow::ensure!(!(*precise && *bf16), "precise and bf16 exclude each other; choose one");
    kshot::nn::set_precise(*precise);
    kshot::nn::bf16::set_bf16(*bf16).context("bf16")?;
    kshot::job::bf16::check_device(device)?;
    // What --bf16 adds is held against the rest.
    recipe.check()?;
    Ok(recipe)
}

fn choose_bf16(cli: &Cli) -> anyhow::Result<()> {
    use Command::{Classify, Eval, Segment, Train};
    if !cli.bf16 {
        return Ok(());
    }
    anyhow::ensure!(
        matches!(cli.command, Segment(_) | Classify(_) | Eval(_) | Train(_)),
        "it goes with segment, classify, eval and train"
    );
    // Here, since the parser does not compare flags of a program with those of its command.
    anyhow::ensure!(!cli.precise, "it excludes --precise; choose one");
    kshot::nn::bf16::set_bf16(true)?;
    Ok(())
}

/// Holds all parallel work to this many threads.
fn set_threads(threads: usize) -> anyhow::Result<()> {
    anyhow::ensure!(threads > 0, "--threads must be at least 1");
    kshot::device::set_threads(threads)?;
    Ok(())
}
