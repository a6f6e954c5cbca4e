//! The recipe that `kshot train --data DIR` writes and follows.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::machine::free_memory;
use crate::plan::schedule::{VALIDATIONS, schedule};
use crate::plan::{PLAN, Plan, PlanOptions, Wishes};
use crate::train::cost;
use crate::train::devices::shared;
use crate::train::load;
use crate::train::session::AnySession;

/// Share of what is left of a budget that steps and validations may take: the rest is for checkpoints and an unsteady
/// machine.
const USED: f64 = 0.92;
/// Share of a budget in which steps are timed.
const TIMED: f64 = 0.03;
/// About what the page at the end takes, in validations: it measures the best parameters once more, boundaries and all, at the
/// pictures' own size.
const REPORT: f64 = 3.0;

/// The plan for a folder, or that of the run's folder `out` where it is of the same options and pictures: a stopped
/// training goes on by the recipe that it began with. With a budget a few steps are timed on the device.
///
/// # Errors
/// If the folder has no labelled pictures, a label is wrong, a change is none, or the budget is not enough for a training
/// or stands beside a number of steps.
pub fn plan(options: &PlanOptions, out: Option<&Path>, device: &str) -> Result<Plan> {
    let begun = Instant::now();
    let memory = device::is_processor(device).then(free_memory).flatten();
    let plan = Plan::of(options, memory)?;
    if let Some(before) = out.and_then(|out| earlier(out, &plan)) {
        return Ok(before);
    }
    let wishes = Wishes::new(options, &options.data)?;
    match (options.minutes, wishes.steps()) {
        (None, _) => Ok(plan),
        (Some(minutes), None) => within(plan, &wishes, minutes, device, begun),
        (Some(minutes), Some(steps)) => Err(Error::config(format!(
            "{steps} steps and {}: each says how long to train; give one of them",
            told(minutes)
        ))
        .at_key("train.steps")),
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

/// The plan with as many steps as fit a budget, of which what was done since `begun` is gone.
fn within(plan: Plan, wishes: &Wishes, minutes: f64, device: &str, begun: Instant) -> Result<Plan> {
    if !(minutes > 0.0 && minutes.is_finite()) {
        let text = format!("--minutes {minutes}; give a number above 0");
        return Err(Error::config(text));
    }
    let devices = device::parse_all(device)?;
    let opened = Instant::now();
    let AnySession::Supervised(mut session) = AnySession::new(&plan.recipe, &devices[0])? else {
        return Err(Error::new(
            ErrorKind::Config,
            "a training on a folder is of supervised segmentation; leave method.name as it is",
        ));
    };
    // Where devices share each batch, a step takes as long as a share.
    session.source = shared(session.source.clone(), devices.len(), session.training.batch)?;
    // The training opens the same once more.
    let opening = opened.elapsed().as_secs_f64();
    let step = cost::of_step(&session, Duration::from_secs_f64(TIMED * 60.0 * minutes))?.seconds;
    let validation = cost::of_validation(&session)?;
    let open = 60.0 * minutes - begun.elapsed().as_secs_f64() - opening;
    // So many validations whatever the steps, or one every so many of them as the person says, and one at the end.
    let (fixed, each, often) = match wishes.count("train.validate_every") {
        Some(every) => (1.0, 1.0 / every.max(1) as f64, format!("one every {every} steps")),
        None => (VALIDATIONS as f64, 0.0, format!("of which there are {VALIDATIONS}")),
    };
    let training = open - REPORT * validation;
    let steps = (USED * open - (fixed + REPORT) * validation) / (step + each * validation);
    if steps < 1.0 {
        return Err(Error::config(format!(
            "not enough: {}, where a step takes {step:.1} s and a validation {validation:.0} s, {often}; give more, or \
             smaller pictures (--set data.longest_side=512)",
            told(minutes)
        )));
    }
    let why = format!(
        "what {} would hold: a step takes {step:.2} s, a validation {validation:.1} s",
        told(minutes)
    );
    let plan = plan.with(schedule(steps as usize, &why))?;
    Ok(Plan { seconds: Some(training), ..plan })
}

/// A budget in words.
fn told(minutes: f64) -> String {
    if minutes == 1.0 { "1 minute".to_owned() } else { format!("{minutes} minutes") }
}
