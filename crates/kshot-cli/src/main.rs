//! The `kshot` command: learn to see from a handful of labels.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kshot::train::learning::AnyRecipe;

mod check;
mod classify;
mod classify_run;
mod data;
mod demo;
mod eval;
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
/// Some pictures failed; all others are written.
const SOME_FAILED: u8 = 3;
/// Wrong use: arguments, recipe or labels; nothing was done.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    kshot_kernels::keep_pages();
    let cli = Cli::parse();
    if cli.precise {
        kshot::nn::set_precise(true);
    }
    let result = match cli.command {
        Command::Segment(arguments) => segment::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
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
fn read_recipe(path: &std::path::Path, changes: &[String]) -> anyhow::Result<AnyRecipe> {
    let mut recipe = AnyRecipe::read(path, changes)?;
    *recipe.precise() |= kshot::nn::is_precise();
    kshot::nn::set_precise(*recipe.precise());
    Ok(recipe)
}

/// Cores of this machine.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Holds all parallel work to this many threads.
fn set_threads(threads: usize) -> anyhow::Result<()> {
    anyhow::ensure!(threads > 0, "--threads must be at least 1");
    kshot::device::set_threads(threads)?;
    Ok(())
}
