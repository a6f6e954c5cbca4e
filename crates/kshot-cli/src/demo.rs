//! `kshot demo`: something to look at within seconds, from the repository alone.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kshot::job::{ClassifyRunOptions, classify_run};
use kshot_data::atomic;

use crate::talk::Talk;

/// Something to look at within seconds, from the repository alone.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot demo omniglot
  kshot demo omniglot --out demo/ --json")]
pub struct Arguments {
    #[command(subcommand)]
    what: DemoKind,
}

#[derive(Subcommand)]
enum DemoKind {
    Omniglot(Omniglot),
}

/// Sorts drawings of eight invented characters, one labelled drawing each, by Prototypical Networks
/// that were trained on the alphabets of Omniglot.
#[derive(Args)]
struct Omniglot {
    /// The folder with the drawings, in support/CHARACTER and query/CHARACTER.
    #[arg(long, value_name = "DIR", default_value = "examples/drawings")]
    drawings: PathBuf,
    /// Where labels.csv, report.html and the trained method (run/, for `kshot classify --run`) go.
    #[arg(long, value_name = "DIR", default_value = "out/drawings")]
    out: PathBuf,
    /// One JSON object a line on standard output, for programs.
    #[arg(long)]
    json: bool,
    /// Only errors.
    #[arg(long, short)]
    quiet: bool,
}

/// The run that ships: see assets/README.md.
const RUN: [(&str, &[u8]); 2] = [
    ("recipe.toml", include_bytes!("../../../assets/omniglot-prototypical-networks/recipe.toml")),
    ("model.bpk", include_bytes!("../../../assets/omniglot-prototypical-networks/model.bpk")),
];

/// Runs the command; the exit status is returned.
pub fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let DemoKind::Omniglot(arguments) = arguments.what;
    let [support, query] = ["support", "query"].map(|part| arguments.drawings.join(part));
    anyhow::ensure!(
        support.is_dir() && query.is_dir(),
        "{}: no drawings here; run this in the repository's folder, or give --drawings DIR with \
         support/CHARACTER/*.png and query/CHARACTER/*.png",
        arguments.drawings.display()
    );
    let folder = arguments.out.join("run");
    for (name, bytes) in RUN {
        atomic::write(folder.join(name), bytes)?;
    }
    let options = ClassifyRunOptions {
        run: folder,
        support,
        shots: None,
        query,
        out: arguments.out,
        truth: None,
        top_k: 3,
        device: "flex".to_owned(),
        command: crate::command(),
    };
    let talk = Talk::new(arguments.json, arguments.quiet);
    let outcome = talk.follow(|watch| classify_run(&options, watch))?;
    Ok(Talk::end(&outcome.failed, outcome.cancelled))
}
