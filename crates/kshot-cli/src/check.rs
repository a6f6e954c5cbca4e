//! `kshot check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kshot::contract::ItemSource;
use kshot::data::classes::split::ClassPart;
use kshot::data::classes::tasks::EpisodeShape;
use kshot::device;
use kshot::job::precision;
use kshot::method::learner::Learner;
use kshot::nn::Precision;
use kshot::train::session::RecognitionSession;

use crate::DONE;
use crate::table::print;

/// Proves that a method does what it says.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: CheckKind,
}

#[derive(Subcommand)]
enum CheckKind {
    Gradients(Gradients),
}

/// Compares MAML's outer gradient with central differences on a real episode.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot check gradients --method maml
  kshot check gradients recipes/omniglot/maml-5way-1shot.toml --set method.steps=5 --json

Exit status: 0 the error is at most --most, 2 wrong use, 3 it is larger.")]
struct Gradients {
    /// The recipe, of maml, anil or meta-sgd.
    #[arg(default_value = "recipes/omniglot/maml-5way-1shot.toml")]
    recipe: PathBuf,
    /// This method with its own settings in place of the recipe's: maml, first-order-maml, anil or
    /// meta-sgd.
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Changes a key of the recipe (may be given several times).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    changes: Vec<String>,
    /// Random directions.
    #[arg(long, default_value_t = 8)]
    directions: usize,
    /// The largest relative error that passes.
    #[arg(long, default_value_t = 1e-3)]
    most: f64,
    /// Seed of episode and directions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments, asked: Option<Precision>) -> anyhow::Result<u8> {
    let CheckKind::Gradients(arguments) = &arguments.what;
    anyhow::ensure!(arguments.directions > 0, "--directions must be at least 1");
    let whole = arguments.method.iter().map(|name| format!("method={{ name = \"{name}\" }}"));
    let changes: Vec<String> = whole.chain(arguments.changes.iter().cloned()).collect();
    let recipe = precision::read_recipe(&arguments.recipe, &changes, asked, "flex")?;
    let experiment = RecognitionSession::new(&recipe, &device::parse("flex")?)?;
    let (Learner::Maml(learner)
    | Learner::FirstOrderMaml(learner)
    | Learner::Anil(learner)
    | Learner::MetaSgd(learner)) = &experiment.learner
    else {
        anyhow::bail!(
            "{} has no inner loop whose gradient could be checked; give a recipe of maml, anil or \
             meta-sgd",
            recipe.method.name()
        );
    };
    let shape = experiment.shape();
    let EpisodeShape { ways, shots, .. } = shape;
    let tasks = experiment.tasks(ClassPart::Train, shape, arguments.seed)?;
    let episode = tasks.item(0, &experiment.device)?;
    let precision = recipe.model.precision;
    let check =
        precision.run(|| learner.check_gradient(&episode, arguments.directions, arguments.seed));
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string(&check)?)
    } else {
        format!(
            "{}, {ways}-way {shots}-shot, {} directions\n\
             relative error of the gradient              {:.2e}\n\
             relative error of the first-order gradient  {:.2e}\n\
             relative error of the gradient in 32 bits   {:.2e}\n",
            recipe.method.name(),
            check.directions.len(),
            check.error,
            check.first_order_error,
            check.single_precision_error
        )
    };
    print(&text)?;
    Ok(if check.error <= arguments.most { DONE } else { crate::SOME_FAILED })
}
