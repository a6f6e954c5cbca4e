//! A named protocol, run from a recipe.

use std::path::{Path, PathBuf};

use kshot_data::atomic;

use crate::device;
use crate::error::Result;
use crate::eval::{self, EvalRunOptions, Evaluation};
use crate::job::event::{Done, Event};
use crate::job::run_file::Clock;
use crate::job::watch::Watch;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::report::{chosen, evaluation};
use crate::train::load;

/// What to evaluate, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalOptions {
    /// The recipe.
    pub recipe: Recipe,
    /// A training's folder or a file of weights, for recipes that train.
    pub model: Option<PathBuf>,
    /// Leaves a page, the result, the recipe and the worst episodes or pictures here; a stopped evaluation goes on
    /// from what is finished there.
    pub out: Option<PathBuf>,
    /// Writes the result to this file as JSON.
    pub json: Option<PathBuf>,
    /// Starts anew in `out`.
    pub force: bool,
    /// At most so many episodes or pictures, to see that all is in place: figures then mean nothing.
    pub smoke: Option<usize>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
    /// How the job was called, for the page; may be empty.
    pub command: Vec<String>,
}

impl EvalOptions {
    /// The defaults of `kshot eval`.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            model: None,
            out: None,
            json: None,
            force: false,
            smoke: None,
            device: "flex".to_owned(),
            command: Vec::new(),
        }
    }
}

/// Runs a recipe's protocol; the result holds each metric with its 95 % confidence interval.
///
/// # Errors
/// If data, encoder or method of the recipe is wrong or missing, or the results cannot be written.
pub fn eval(options: &EvalOptions, watch: &Watch<'_>) -> Result<Evaluation> {
    let clock = Clock::start();
    let device = device::parse(&options.device)?;
    let how = EvalRunOptions {
        model: options.model.as_deref(),
        out: options.out.as_deref(),
        force: options.force,
        smoke: options.smoke,
    };
    let on_progress = |progress: eval::Progress| {
        watch.tell(&Event::Progress { done: progress.done, total: progress.total });
    };
    let result = eval::run(&options.recipe, &device, &how, &on_progress)?;
    if let Some(file) = &options.json {
        atomic::write(file, result.json()?.as_bytes())?;
    }
    let page = match &options.out {
        Some(out) => {
            let command = crate::report::correct::line(&options.command);
            let plan = options.model.as_deref().and_then(|run| plan_of(run, watch));
            Some(evaluation::write(out, &result, plan.as_ref(), &command, &clock.started)?)
        }
        None => None,
    };
    let done = Done::Eval { result: &result, report: page.as_deref() };
    watch.tell(&Event::Done(done));
    Ok(result)
}

/// How the recipe of a run was chosen, where kshot chose it.
fn plan_of(run: &Path, watch: &Watch<'_>) -> Option<Plan> {
    // A file of weights need not lie beside a recipe.
    let recipe = load::recipe_of(run).ok()?;
    let folder = if run.is_file() { run.parent()? } else { run };
    chosen::of_run(folder, &recipe).unwrap_or_else(|error| {
        watch.warn(&format!("the page does not say how the run's recipe was chosen: {error}"));
        None
    })
}
