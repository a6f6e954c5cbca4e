//! The recipe that `kshot train --data DIR` writes and follows.

use std::path::Path;
use std::time::Instant;

use burn::module::Module;

use crate::contract::Objective;
use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::method::supervised::Supervised;
use crate::plan::rules::schedule;
use crate::plan::{Choice, PLAN, Plan, PlanOptions};
use crate::train::devices::shared;
use crate::train::load;
use crate::train::run;
use crate::train::session::{AnySession, Session};

/// Share of a budget that steps and validations may take: the rest is for reading pictures, checkpoints and an
/// unsteady machine.
const USED: f64 = 0.9;
/// With fewer steps a training is not worth its name: smaller batches are taken.
const LEAST_STEPS: usize = 300;
/// About what the page at the end takes, in validations: it measures the best parameters once more, boundaries and all, at the
/// pictures' own size.
const REPORT: f64 = 3.0;
/// Pictures of a validation whose time is measured.
const VALIDATED: u64 = 2;

/// The plan for a folder, or that of the run's folder `out` where it is of the same options and pictures: a stopped
/// training goes on by the recipe that it began with. With a budget a few steps are timed on the device.
///
/// # Errors
/// If the folder has fewer than two labelled pictures, a label is wrong, a change is none, or the budget is not enough for
/// a training.
pub fn plan(options: &PlanOptions, out: Option<&Path>, device: &str) -> Result<Plan> {
    let plan = Plan::of(options)?;
    if let Some(before) = out.and_then(|out| earlier(out, &plan)) {
        return Ok(before);
    }
    match (options.minutes, options.steps) {
        (Some(minutes), None) => within(plan, minutes, device),
        _ => Ok(plan),
    }
}

/// The plan that a run's folder holds, where it is of the same.
fn earlier(out: &Path, now: &Plan) -> Option<Plan> {
    let text = std::fs::read_to_string(out.join(PLAN)).ok()?;
    let mut before: Plan = serde_json::from_str(&text).ok()?;
    let same = before.options == now.options && before.findings == now.findings;
    before.recipe = load::recipe_of(out).ok()?;
    same.then_some(before)
}

/// The plan with as many steps as fit a budget.
fn within(plan: Plan, minutes: f64, device: &str) -> Result<Plan> {
    if !(minutes > 0.0 && minutes.is_finite()) {
        let text = format!("--minutes {minutes}; give a number above 0");
        return Err(Error::config(text));
    }
    let devices = device::parse_all(device)?;
    let mut plan = plan;
    loop {
        let AnySession::Supervised(mut session) = AnySession::new(&plan.recipe, &devices[0])?
        else {
            return Err(Error::new(
                ErrorKind::Config,
                "a training on a folder is of supervised segmentation; leave method.name as it is",
            ));
        };
        let batch = session.training.batch;
        // Where devices share each batch, a step takes as long as a share.
        session.source = shared(session.source.clone(), devices.len(), batch)?;
        let step = run::try_steps(&session)?.seconds;
        let validation = validation_seconds(&session)?;
        let validations = session.training.validations() as f64;
        let left = USED * 60.0 * minutes - (validations + REPORT) * validation;
        let steps = (left / step).floor();
        let is_free = |key: &str| {
            let chosen = plan.choices.iter().find(|choice| choice.key == key);
            chosen.is_some_and(|choice| choice.reason != crate::plan::rules::SET)
        };
        if steps < LEAST_STEPS as f64 && batch > 1 && is_free("train.batch") {
            let why = format!(
                "a step of {batch} pictures takes {step:.2} s, and {} would hold {} of them",
                told(minutes),
                steps.max(0.0)
            );
            plan = plan.with(vec![Choice::new("train.batch", (batch / 2) as i64, why)])?;
            continue;
        }
        if steps < 1.0 {
            return Err(Error::config(format!(
                "not enough: {}, where a step takes {step:.1} s and a validation {validation:.0} s, of which there are \
                 {validations}; give more, or smaller pictures (--set data.longest_side=512)",
                told(minutes)
            )));
        }
        let steps = steps as usize;
        let why = format!(
            "what {} would hold: a step takes {step:.2} s, a validation {validation:.1} s",
            told(minutes)
        );
        return plan.with(schedule(steps, &why));
    }
}

/// A budget in words.
fn told(minutes: f64) -> String {
    if minutes == 1.0 { "1 minute".to_owned() } else { format!("{minutes} minutes") }
}

/// Seconds of a whole validation, from a few of its pictures.
fn validation_seconds(session: &Session<Supervised>) -> Result<f64> {
    let network = session.objective.clone().valid();
    let count = (session.validation_items as u64).min(VALIDATED);
    let mut seconds = 0.0;
    for index in 0..count {
        let item = session.validation.item(index, &session.device)?;
        let started = Instant::now();
        drop(session.precision.run(|| network.evaluate(item)));
        seconds += started.elapsed().as_secs_f64();
    }
    Ok(seconds / count.max(1) as f64 * session.validation_items as f64)
}
