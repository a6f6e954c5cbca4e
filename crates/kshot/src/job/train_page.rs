//! Keeps the page of a training's curve up to date.

use std::path::PathBuf;
use std::time::SystemTime;

use burn::module::Module;

use crate::contract::Objective;
use crate::error::Result;
use crate::job::train::TrainOptions;
use crate::method::MethodConfig;
use crate::recipe::Training;
use crate::report::correct;
use crate::report::curve_html::{self, CURVE_PAGE, CurveReport, TrainingState};
use crate::report::tensorboard;
use crate::train::checkpoint;
use crate::train::curve::{self, CurvePoint};
use crate::train::load::{CHECKPOINTS, RECIPE};
use crate::train::run::Trained;
use crate::train::session::Session;

/// When a file was written, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

/// The page `curve.html` of a run, which is written anew when `metrics.jsonl` is.
pub(super) struct CurvePage {
    out: PathBuf,
    title: String,
    about: String,
    monitor: String,
    training: Training,
    /// Trainable parameters.
    pub(super) parameters: usize,
    /// Items of a validation.
    pub(super) validation_items: usize,
    /// What to do when it is done, and how to go on until then.
    done: Vec<(&'static str, String)>,
    go_on: Vec<(&'static str, String)>,
    /// The recipe and the curve as they were seen last.
    recipe: Stamp,
    metrics: Stamp,
    /// Whether the folder is this training's: it was not refused.
    begun: bool,
}

impl CurvePage {
    /// Of a training that is about to begin.
    pub(super) fn new<O: Objective>(session: &Session<O>, options: &TrainOptions) -> Self {
        let monitor = session.training.monitor.clone();
        let mut page = Self {
            out: options.out.clone(),
            title: session.title.clone(),
            about: session.about.clone(),
            monitor: monitor.unwrap_or_else(|| session.objective.monitor().to_owned()),
            training: session.training.clone(),
            parameters: Module::num_params(&session.objective),
            validation_items: session.validation_items,
            done: done(options),
            go_on: go_on(options),
            recipe: None,
            metrics: None,
            begun: false,
        };
        page.recipe = page.stamp(RECIPE);
        page.metrics = page.stamp(METRICS);
        page
    }

    fn stamp(&self, name: &str) -> Stamp {
        let about = std::fs::metadata(self.out.join(name)).ok()?;
        Some((about.modified().ok()?, about.len()))
    }

    /// Writes the page where there is something new. What fails is tried again at the next validation, and told at
    /// the end.
    pub(super) fn follow(&mut self) {
        // The recipe is written once the folder is found to be this training's.
        if !self.begun && self.stamp(RECIPE) != self.recipe {
            self.begun = true;
            let newest = checkpoint::newest(&self.out.join(CHECKPOINTS)).unwrap_or_default();
            let kept = newest.epoch.unwrap_or(0);
            let mut points = self.points().unwrap_or_default();
            points.retain(|point| point.number <= kept);
            drop(self.write(TrainingState::Running, &points));
        }
        let metrics = self.stamp(METRICS);
        if metrics != self.metrics {
            (self.metrics, self.begun) = (metrics, true);
            drop(self.points().and_then(|points| self.write(TrainingState::Running, &points)));
        }
    }

    /// Writes the page for the last time.
    ///
    /// # Errors
    /// If it cannot be written, unless the training failed already.
    pub(super) fn end(&mut self, outcome: &Result<Trained>) -> Result<()> {
        match outcome {
            Ok(trained) => {
                let stopped = trained.interrupted;
                let state = if stopped { TrainingState::Stopped } else { TrainingState::Finished };
                self.write(state, &self.points()?)
            }
            Err(error) => {
                self.follow();
                if self.begun {
                    let state = TrainingState::Failed(error.to_string());
                    // The training's own error is the one to tell.
                    drop(self.points().and_then(|points| self.write(state, &points)));
                }
                Ok(())
            }
        }
    }

    /// The validations so far.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn points(&self) -> Result<Vec<CurvePoint>> {
        let file = self.out.join(METRICS);
        if file.is_file() { curve::read(&file) } else { Ok(Vec::new()) }
    }

    /// What the page says of a training that stands like this.
    pub(super) fn report<'a>(
        &'a self,
        state: TrainingState,
        points: &'a [CurvePoint],
    ) -> CurveReport<'a> {
        let next = if state == TrainingState::Finished { &self.done } else { &self.go_on };
        CurveReport {
            title: &self.title,
            about: &self.about,
            monitor: &self.monitor,
            training: &self.training,
            points,
            next: next.clone(),
            preview: curve_html::newest_preview(&self.out),
            state,
        }
    }

    fn write(&self, state: TrainingState, points: &[CurvePoint]) -> Result<()> {
        curve_html::write(&self.out.join(CURVE_PAGE), &self.report(state, points))?;
        tensorboard::write(&self.out, points)
    }
}

/// The curve's file.
const METRICS: &str = "metrics.jsonl";

/// A command with the device that was chosen.
fn command(words: &[&str], options: &TrainOptions) -> String {
    let mut words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    if options.device != "flex" {
        words.extend(["--device".to_owned(), options.device.clone()]);
    }
    correct::line(&words)
}

fn go_on(options: &TrainOptions) -> Vec<(&'static str, String)> {
    let (out, recipe) = places(options);
    vec![("To go on after a stop:", command(&["kshot", "train", &recipe, "--out", &out], options))]
}

fn done(options: &TrainOptions) -> Vec<(&'static str, String)> {
    let (out, recipe) = places(options);
    let measure = command(&["kshot", "eval", &recipe, "--model", &out], options);
    let mut next = vec![("To measure it on the test set:", measure)];
    match &options.recipe.method {
        method if method.is_segmenter() => {
            let words =
                ["kshot", "segment", "--model", &out, "--query", "photos", "--out", "result"];
            next.push(("To segment pictures:", command(&words, options)));
            next.push((
                "To use it in other programs (ONNX):",
                correct::line(&["kshot", "export", &out].map(str::to_owned)),
            ));
        }
        MethodConfig::Learner(_) => {
            let words = [
                "kshot",
                "classify",
                "--run",
                &out,
                "--support",
                "labelled",
                "--query",
                "photos",
                "--out",
                "labels.csv",
            ];
            next.push(("To label pictures from a few of each class:", command(&words, options)));
        }
        _ => {}
    }
    next
}

/// The run's folder and its recipe.
fn places(options: &TrainOptions) -> (String, String) {
    let out = &options.out;
    (out.display().to_string(), out.join(RECIPE).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::recipe::Recipe;

    const TRAINING: &str = "steps = 4\nvalidate_every = 2\nseed = 0\nlearning_rate = 0.1\n";

    fn page(out: &std::path::Path) -> CurvePage {
        CurvePage {
            out: out.to_owned(),
            title: "a title".into(),
            about: "2 pictures".into(),
            monitor: "loss".into(),
            training: toml::from_str(TRAINING).unwrap(),
            parameters: 1,
            validation_items: 1,
            done: Vec::new(),
            go_on: Vec::new(),
            recipe: None,
            metrics: None,
            begun: false,
        }
    }

    const POINT: &str =
        r#"{"number":1,"step":2,"train":{"loss":2.0},"validation":{"loss":1.0},"seconds":1.0}"#;

    #[test]
    fn the_page_follows_the_curve_and_a_refused_training_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let (out, file) = (folder.path(), folder.path().join(CURVE_PAGE));
        let refused = || Err(Error::config("another recipe"));
        let mut page = page(out);
        page.follow();
        page.end(&refused()).unwrap();
        assert!(!file.is_file(), "nothing was begun");

        std::fs::write(out.join(RECIPE), "x").unwrap();
        page.follow();
        let read = || std::fs::read_to_string(&file).unwrap();
        assert!(read().contains("Running: step 0 of 4"), "{}", read());
        std::fs::write(out.join(METRICS), POINT).unwrap();
        page.follow();
        assert!(
            read().contains("Running: step 2 of 4") && read().contains("http-equiv=\"refresh\"")
        );
        page.end(&Err(Error::config("no space left"))).unwrap();
        assert!(
            read().contains("Ended by an error at step 2 of 4") && read().contains("no space left")
        );
        assert!(!read().contains("http-equiv=\"refresh\""));

        let point: CurvePoint = serde_json::from_str(POINT).unwrap();
        let trained = |interrupted| Trained {
            monitor: "loss".into(),
            best: point.clone(),
            last: point.clone(),
            interrupted,
            early_end: None,
        };
        page.end(&Ok(trained(true))).unwrap();
        assert!(read().contains("Stopped at step 2 of 4"));
        std::fs::write(out.join(METRICS), "no line of a curve").unwrap();
        assert!(page.end(&Ok(trained(false))).is_err(), "a page that cannot be made is told");
    }

    #[test]
    fn a_training_goes_on_by_the_recipe_that_it_left() {
        let text = format!(
            "[protocol]\nname = 'segmentation'\n[data]\ndataset = 'folder'\nroot = 'x'\ntrain = 'train'\n\
             validation = 'validation'\ntest = 'test'\n[model]\nencoder = 'efficientnet-lite0'\ndecoder = 'linear'\n\
             [method]\nname = 'supervised'\n[train]\n{TRAINING}"
        );
        let recipe = Recipe::parse(&text, std::path::Path::new("a.toml"), &[]).unwrap();
        let left = recipe.to_toml().unwrap();
        let again = Recipe::parse(&left, std::path::Path::new(RECIPE), &[]).unwrap();
        assert_eq!(again.to_toml().unwrap(), left, "by the same recipe, which the folder asks for");

        let mut options = TrainOptions::new(recipe, "runs/my cells");
        options.device = "cuda:0".into();
        assert_eq!(
            go_on(&options)[0].1,
            "kshot train 'runs/my cells/recipe.toml' --out 'runs/my cells' --device cuda:0"
        );
        assert!(done(&options)[1].1.starts_with("kshot segment --model 'runs/my cells'"));
    }
}
