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
#[cfg(feature = "hub")]
mod download;
mod eval;
mod export;
mod failure;
mod fault;
mod interrupt;
mod keys;
mod list;
mod model;
mod segment;
mod table;
mod talk;
mod train;
mod tuning;
mod weaken;
mod weights;
#[cfg(feature = "remote")]
mod worker;

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
    /// segment and classify tell (`model.precision = "bf16"` in a recipe does the same). On GPUs in all convolutions.
    #[arg(long, global = true)]
    bf16: bool,
    /// Multiplies in f16 in the convolutions of frozen networks (on GPUs; `model.precision = "f16"` in a recipe).
    #[arg(long, global = true)]
    f16: bool,
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
    Export(export::Arguments),
    Check(check::Arguments),
    Data(data::Arguments),
    List(list::Arguments),
    Weights(weights::Arguments),
    #[cfg(feature = "remote")]
    Worker(worker::Arguments),
}

// Exit statuses. Others: 129, 130 and 143 of a stopped job (`interrupt`), 101 of a fault of kshot (`fault`).

/// Done. Also where the reader of the output has seen enough (`| head`).
const DONE: u8 = 0;
/// Wrong use: arguments, recipe or labels; nothing was done.
const WRONG_USE: u8 = 2;
/// Some pictures failed; all others are written.
const SOME_FAILED: u8 = 3;
/// The disk is full, a quota is used up or a file may not grow that large; what was finished is kept.
const NO_ROOM: u8 = 4;

fn main() -> ExitCode {
    fault::tell_in_one_line();
    interrupt::survive_file_limits();
    kshot_kernels::keep_pages();
    let cli = Cli::parse();
    let precision = match precision(&cli) {
        Ok(precision) => precision,
        Err(refused) => {
            table::say(&format!("kshot: {refused:#}"));
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
        Command::Export(arguments) => export::run(arguments),
        Command::Check(arguments) => check::run(&arguments, precision),
        Command::Data(arguments) => data::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
        Command::Weights(arguments) => weights::run(&arguments),
        #[cfg(feature = "remote")]
        Command::Worker(arguments) => worker::run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            table::say(&format!("kshot: {}", failure::told(&error)));
            ExitCode::from(failure::status(&error))
        }
    }
}

/// How kshot was called. A name that is not Unicode is shown as well as it can be.
fn command() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// What `--precise`, `--bf16` and `--f16` ask for. They are held against each other here, since the parser does not
/// compare flags of a program with those of its command.
fn precision(cli: &Cli) -> anyhow::Result<Option<Precision>> {
    use Command::{Classify, Eval, Segment, Train};
    let flags =
        [(cli.precise, Precision::Precise), (cli.bf16, Precision::Bf16), (cli.f16, Precision::F16)];
    let asked: Vec<Precision> = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
    let Some(&precision) = asked.last() else { return Ok(None) };
    let name = precision.name();
    anyhow::ensure!(asked.len() == 1, "--{name} excludes --{}; choose one", asked[0].name());
    anyhow::ensure!(
        !precision.is_half()
            || matches!(cli.command, Segment(_) | Classify(_) | Eval(_) | Train(_)),
        "--{name}: it goes with segment, classify, eval and train"
    );
    Ok(Some(precision))
}

/// Holds all parallel work to this many threads.
fn set_threads(threads: usize) -> anyhow::Result<()> {
    anyhow::ensure!(threads > 0, "--threads must be at least 1");
    kshot::device::set_threads(threads)?;
    Ok(())
}
