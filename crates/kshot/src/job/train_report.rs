//! Leaves `report.html` at the end of a training of supervised segmentation.

use std::path::PathBuf;
use std::time::Instant;

use crate::device::Device;
use crate::error::{ErrorKind, Result};
use crate::eval::{self, Evaluation};
use crate::job::event::Event;
use crate::job::train::TrainOptions;
use crate::job::train_page::CurvePage;
use crate::job::watch::Watch;
use crate::report::curve_html::TrainingState;
use crate::report::training_html::{self, Measured, TRAINING_PAGE, TrainingReport};
use crate::report::{chosen, evaluation};
use crate::train::run::Trained;
use crate::train::{load, segmentation};

/// Worst pictures on the page.
const WORST: usize = 6;

/// The page that a training left, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WrittenReport {
    pub(super) page: PathBuf,
    pub(super) seconds: f64,
}

/// Measures the best parameters on the validation pictures and writes the page. A training that was stopped has its curve
/// alone; pictures that cannot be measured are told and leave the rest.
///
/// # Errors
/// If the page cannot be written.
pub(super) fn write(
    options: &TrainOptions,
    page: &CurvePage,
    trained: &Trained,
    device: &Device,
    watch: &Watch<'_>,
) -> Result<WrittenReport> {
    let started = Instant::now();
    let points = page.points()?;
    let state = if trained.interrupted { TrainingState::Stopped } else { TrainingState::Finished };
    let result = match (trained.interrupted, page.validation_items) {
        (true, _) => Err("The training was stopped before its end: what it does on the validation pictures is measured \
                          when it is done."
            .to_owned()),
        (_, 0) => Err("There are no validation pictures: nothing tells how good this network is, and the last \
                       parameters are kept. Leave some out of the training (data.split), or run `kshot eval` \
                       on others."
            .to_owned()),
        (_, pictures) => {
            watch.tell(&Event::Measuring { pictures });
            measure(options, device, watch, pictures)
        }
    };
    let measured = match &result {
        Ok(result) => {
            let worst = &result.worst[..result.worst.len().min(WORST)];
            Measured::Pictures(result, evaluation::shown(worst)?)
        }
        Err(why) => Measured::Nothing(why.clone()),
    };
    let plan = chosen::of_run(&options.out, &options.recipe).unwrap_or_else(|error| {
        watch.warn(&format!("{TRAINING_PAGE} does not say how the recipe was chosen: {error}"));
        None
    });
    let model = &options.recipe.model;
    let recipe = options.recipe.to_toml()?;
    let report = TrainingReport {
        curve: page.report(state, &points),
        network: format!("{} with {}", model.encoder.name(), model.decoder.name()),
        parameters: page.parameters,
        validation_pictures: page.validation_items,
        all_learnt: segmentation::run_validates_on_learnt(&options.out)?,
        device: &options.device,
        measured,
        plan: plan.as_ref(),
        recipe: &recipe,
    };
    let file = options.out.join(TRAINING_PAGE);
    training_html::write(&file, &report)?;
    Ok(WrittenReport { page: file, seconds: started.elapsed().as_secs_f64() })
}

/// The evaluation, or why there is none.
fn measure(
    options: &TrainOptions,
    device: &Device,
    watch: &Watch<'_>,
    pictures: usize,
) -> std::result::Result<Evaluation, String> {
    watch.tell(&Event::Progress { done: 0, total: pictures });
    let on_progress = |progress: eval::Progress| {
        watch.tell(&Event::Progress { done: progress.done, total: progress.total });
    };
    // The parameters that were kept, and no checkpoint.
    let model = options.out.join(load::MODEL);
    let is_cancelled = || watch.is_cancelled();
    eval::of_validation(&options.recipe, &model, device, &on_progress, &is_cancelled).map_err(
        |error| {
            if error.kind() == ErrorKind::Cancelled {
                return "It was stopped before all validation pictures were measured; the command that trained it measures \
                        them when it is given again."
                    .to_owned();
            }
            watch.warn(&format!("{TRAINING_PAGE} lacks what the network does on its validation pictures: {error}"));
            format!("The validation pictures could not be measured: {error}")
        },
    )
}
