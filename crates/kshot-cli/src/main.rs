//! The `kshot` command: learn to see from a handful of labels.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kshot::nn::Precision;

mod check;
mod classify;
mod compare;
mod convert;
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
    /// closer to the exact result (on CPUs; `model.precision = "precise"` in a recipe does the same).
    #[arg(long, global = true)]
    precise: bool,
    /// Multiplies in bf16 where frozen networks (EfficientNet-Lite, ResNets of bottlenecks) multiply large
    /// matrices: twice the products an instruction on processors that have them, at a cost in accuracy that
    /// segment and classify tell (on CPUs; `model.precision = "bf16"` in a recipe does the same).
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
    Compare(compare::Arguments),
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
    let precision = match precision(&cli) {
        Ok(precision) => precision,
        Err(refused) => {
            eprintln!("kshot: --bf16: {refused:#}");
            return ExitCode::from(WRONG_USE);
        }
    };
    let result = match cli.command {
        Command::Segment(arguments) => segment::run(arguments, precision),
        Command::Train(arguments) => train::run(arguments, precision),
        Command::Classify(arguments) => classify::run(arguments, precision),
        Command::Model(arguments) => model::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Eval(arguments) => eval::run(arguments, precision),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Check(arguments) => check::run(&arguments, precision),
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

/// What `--precise` and `--bf16` ask for.
fn precision(cli: &Cli) -> anyhow::Result<Option<Precision>> {
    use Command::{Classify, Eval, Segment, Train};
    if !cli.bf16 {
        return Ok(cli.precise.then_some(Precision::Precise));
    }
    anyhow::ensure!(
        matches!(cli.command, Segment(_) | Classify(_) | Eval(_) | Train(_)),
        "it goes with segment, classify, eval and train"
    );
    // Here, since the parser does not compare flags of a program with those of its command.
    anyhow::ensure!(!cli.precise, "it excludes --precise; choose one");
    Precision::Bf16.check()?;
    Ok(Some(Precision::Bf16))
}

/// Holds all parallel work to this many threads.
fn set_threads(threads: usize) -> anyhow::Result<()> {
    anyhow::ensure!(threads > 0, "--threads must be at least 1");
    kshot::device::set_threads(threads)?;
    Ok(())
}
