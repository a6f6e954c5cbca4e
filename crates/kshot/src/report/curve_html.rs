//! The page of a training: loss, the metric that chooses and the learning rate by step, written anew at each validation.

use std::path::Path;

use kshot_data::atomic;
use kshot_data::query::slashed;
use maud::{Markup, PreEscaped, html};

use crate::error::Result;
use crate::names::counted;
use crate::recipe::Training;
use crate::report::page::{self, duration, href};
use crate::report::plot::{Line, Plot, grouped, thinned};
use crate::train::curve::{self, CurvePoint};

/// The page's name in a run's folder.
pub const CURVE_PAGE: &str = "curve.html";

/// Seconds after which a page of a running training is read again.
const REFRESH: u32 = 10;
/// Places at which the learning rate is drawn.
const RATES: usize = 200;
/// Validations in the table.
const LISTED: usize = 300;

/// For the head of a page with curves.
pub(super) const STYLE: &str = include_str!("curve.css");

/// How a training stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrainingState {
    /// It runs.
    Running,
    /// It was stopped and can go on.
    Stopped,
    /// An error ended it.
    Failed(String),
    /// It is done.
    Finished,
}

/// What the page of a training says.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveReport<'a> {
    /// Method and data.
    pub title: &'a str,
    /// What there is to train and validate on.
    pub about: &'a str,
    /// How it stands.
    pub state: TrainingState,
    /// The metric that chooses the checkpoint.
    pub monitor: &'a str,
    /// Steps, batch, learning rate.
    pub training: &'a Training,
    /// The validations so far.
    pub points: &'a [CurvePoint],
    /// What to do next: a few words and a command each.
    pub next: Vec<(&'static str, String)>,
    /// The newest sheet of predictions, relative to the page.
    pub preview: Option<String>,
}

/// Writes the page to `path`, all at once: one file, nothing fetched, all text escaped.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, report: &CurveReport<'_>) -> Result<()> {
    let refresh = report.state == TrainingState::Running;
    let head = html! {
        @if refresh { meta http-equiv="refresh" content=(REFRESH); }
        style { (PreEscaped(STYLE)) }
    };
    let version = env!("CARGO_PKG_VERSION");
    let footer = format!(
        "Made by kshot {version}, {}. This page fetches nothing.",
        crate::report::run::now()
    );
    let text =
        page::open_with(report.title, &head) + &report.body().into_string() + &page::close(&footer);
    atomic::write(path, text.as_bytes())
}

/// A metric for people: a rate in percent, a loss as it is.
fn shown(name: &str) -> fn(f64) -> String {
    if name == "loss" { number } else { |rate| format!("{:.2} %", 100.0 * rate) }
}

/// A number with about four digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 1e-3 => format!("{value:.2e}"),
        small if small < 10.0 => format!("{value:.4}"),
        large if large < 1e4 => format!("{value:.1}"),
        _ => format!("{value:.2e}"),
    }
}

/// A value of an axis, without zeros that say nothing.
fn axis_number(value: f64) -> String {
    match value.abs() {
        small if small > 0.0 && small < 1e-4 => format!("{value:.1e}"),
        large if large >= 1e5 => format!("{value:.1e}"),
        _ => {
            let text = format!("{value:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

impl CurveReport<'_> {
    /// The best validation, the first of equals.
    pub(super) fn best(&self) -> Option<&CurvePoint> {
        curve::best(self.points, self.monitor)
    }

    /// The last step of the axes: all steps, or those taken where it ended sooner.
    fn steps(&self) -> usize {
        let taken = self.points.last().map_or(0, |point| point.step);
        match self.state {
            TrainingState::Finished if taken > 0 => taken,
            _ => self.training.steps.max(taken),
        }
    }

    fn body(&self) -> Markup {
        html! {
            header {
                h1 { (self.title) }
                div.muted { (self.about) "; a batch of " (self.training.batch) " a step" }
                (self.standing())
                (page::tiles(&self.tiles()))
            }
            (self.curves())
            @if !self.points.is_empty() {
                section { h2 { "Validations" } (self.table()) }
            }
            section {
                h2 { "Next" }
                @if let Some(preview) = &self.preview {
                    p { a href=(href(preview)) { "Predictions on pictures of the validation set" } }
                }
                @for (words, command) in &self.next { p.muted { (words) } pre { (command) } }
            }
        }
    }

    /// Loss, monitored metric and learning rate over the steps.
    pub(super) fn curves(&self) -> Markup {
        let loss_chooses = self.monitor == "loss";
        html! {
            section {
                h2 { "Loss" }
                (self.figure("loss"))
            }
            @if !loss_chooses {
                section {
                    h2 { (self.monitor) }
                    p.lead { "On the validation set; the best one chooses the parameters that are kept." }
                    (self.figure(self.monitor))
                }
            }
            section {
                h2 { "Learning rate" }
                p.lead { (self.training.schedule.name()) ", from " (axis_number(self.training.learning_rate)) "." }
                div.panel.scroll { (self.rates().draw()) }
            }
        }
    }

    /// How the training stands, in a sentence; nothing where it took all its steps.
    pub(super) fn standing(&self) -> Markup {
        let taken = self.points.last().map_or(0, |point| point.step);
        let of = format!("step {} of {}", grouped(taken), grouped(self.training.steps));
        html! {
            @match &self.state {
                TrainingState::Running => p.notice.calm {
                    "Running: " (of) (self.left()) ". This page reads itself again every " (REFRESH) " seconds."
                },
                TrainingState::Stopped => p.notice.calm { "Stopped at " (of) "; it can go on from there." },
                TrainingState::Failed(error) => p.notice { "Ended by an error at " (of) ": " (error) },
                TrainingState::Finished if taken < self.training.steps => p.notice.calm {
                    "Finished at " (of) ", since validations did not get better any more."
                },
                TrainingState::Finished => {}
            }
        }
    }

    /// About how long it will take still.
    fn left(&self) -> String {
        let Some(last) = self.points.last().filter(|point| point.step > 0) else {
            return String::new();
        };
        let left = self.training.steps.saturating_sub(last.step) as f64;
        format!(", about {} left", duration(last.seconds / last.step as f64 * left))
    }

    fn tiles(&self) -> Vec<(&str, String, String)> {
        let (Some(best), Some(last)) = (self.best(), self.points.last()) else {
            return vec![("Validations", "0".to_owned(), "the first one is to come".to_owned())];
        };
        let ((best_value, best_at), (last_value, last_at)) =
            (self.value_of(best), self.value_of(last));
        vec![
            ("Best validation", best_value, best_at),
            ("Last validation", last_value, last_at),
            ("Steps", grouped(last.step), format!("of {}", grouped(self.training.steps))),
            ("Time", duration(last.seconds), "without breaks".to_owned()),
        ]
    }

    /// The monitored metric of a validation, and where it was reached.
    pub(super) fn value_of(&self, point: &CurvePoint) -> (String, String) {
        let value = point.validation.get(self.monitor).copied();
        (
            value.map_or_else(|| "–".to_owned(), shown(self.monitor)),
            format!("{} at step {}", self.monitor, grouped(point.step)),
        )
    }

    /// A metric in training and validation.
    fn figure(&self, name: &str) -> Markup {
        let values = |of: fn(&CurvePoint) -> &std::collections::BTreeMap<String, f64>| {
            let value = |point: &CurvePoint| Some((point.step, *of(point).get(name)?));
            self.points.iter().filter_map(value).collect::<Vec<_>>()
        };
        let (training, validation) =
            (values(|point| &point.train), values(|point| &point.validation));
        let dots = validation.len() <= 60;
        let both = [("training", training), ("validation", validation)];
        let lines: Vec<Line> = both
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(name, points)| Line { name, class: name, points, dots })
            .collect();
        let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
        let best = self.best().map(|point| point.step);
        let label = format!("{name} by step, of {}", names.join(" and "));
        let axis: fn(f64) -> String = if name == "loss" {
            axis_number
        } else {
            |rate| format!("{} %", axis_number(100.0 * rate))
        };
        let plot = Plot { label, lines, steps: self.steps(), best, shown: shown(name), axis };
        html! {
            div.panel.scroll {
                div {
                    @for name in names { span.key { i class=(name) {} (name) } }
                    @if best.is_some() { span.key { i.best {} "best validation" } }
                }
                (plot.draw())
            }
        }
    }

    /// The learning rate at even distances, and at the end of the warm-up.
    fn rates(&self) -> Plot {
        let Training { steps, learning_rate, schedule, .. } = self.training;
        let last = self.steps().min(*steps).saturating_sub(1);
        let mut at: Vec<usize> = (0..=RATES).map(|place| last * place / RATES).collect();
        at.push(schedule.warmup.min(last));
        at.sort_unstable();
        at.dedup();
        // Of the step that it is used for, counted from 1 as validations are.
        let points =
            at.into_iter().map(|step| (step + 1, schedule.rate(*learning_rate, step, *steps)));
        let line = Line {
            name: "learning rate",
            class: "validation",
            points: points.collect(),
            dots: false,
        };
        let label = "learning rate by step".to_owned();
        Plot {
            label,
            lines: vec![line],
            steps: self.steps(),
            best: None,
            shown: number,
            axis: axis_number,
        }
    }

    fn table(&self) -> Markup {
        let best = self.best().map(|point| point.number);
        let listed: Vec<&CurvePoint> = thinned(&self.points.iter().collect::<Vec<_>>(), LISTED);
        let (loss, monitor) = (shown("loss"), shown(self.monitor));
        let cell = |value: Option<&f64>, shown: fn(f64) -> String| {
            value.map_or_else(|| "–".to_owned(), |value| shown(*value))
        };
        html! {
            details open[listed.len() <= 12] {
                summary {
                    @if listed.len() < self.points.len() { (listed.len()) " of " }
                    (counted(self.points.len(), "validation", "validations"))
                }
                div.panel.scroll {
                    table {
                        thead { tr {
                            th.number { "Step" } th.number { "Training loss" } th.number { "Validation loss" }
                            @if self.monitor != "loss" { th.number { "Training " (self.monitor) } th.number { "Validation " (self.monitor) } }
                            th.number { "Time" } th {}
                        } }
                        tbody {
                            @for point in listed {
                                tr.chosen[Some(point.number) == best] {
                                    td.number { (grouped(point.step)) }
                                    td.number { (cell(point.train.get("loss"), loss)) }
                                    td.number { (cell(point.validation.get("loss"), loss)) }
                                    @if self.monitor != "loss" {
                                        td.number { (cell(point.train.get(self.monitor), monitor)) }
                                        td.number { (cell(point.validation.get(self.monitor), monitor)) }
                                    }
                                    td.number.muted { (duration(point.seconds)) }
                                    td { @if Some(point.number) == best { span.good { "best" } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The newest sheet of predictions in a run's folder, relative to it.
pub fn newest_preview(out: &Path) -> Option<String> {
    let sheets = std::fs::read_dir(out.join("previews")).ok()?.filter_map(std::result::Result::ok);
    let newest = sheets
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().ends_with(".jpg"))
        .max()?;
    Some(slashed(&Path::new("previews").join(newest)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn training() -> Training {
        toml::from_str(
            "steps = 1000\nvalidate_every = 100\nseed = 0\nlearning_rate = 1e-3\nbatch = 4\n\
             schedule = { name = 'poly', warmup = 50 }",
        )
        .unwrap()
    }

    fn point(number: usize, loss: f64, mean_iou: f64) -> CurvePoint {
        let of =
            |loss| BTreeMap::from([("loss".to_owned(), loss), ("mean_iou".to_owned(), mean_iou)]);
        CurvePoint {
            number,
            step: 100 * number,
            train: of(loss / 2.0),
            validation: of(loss),
            seconds: 60.0 * number as f64,
        }
    }

    fn page(state: TrainingState, monitor: &str, points: &[CurvePoint]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CURVE_PAGE);
        let training = training();
        let report = CurveReport {
            title: "supervised on <cells>",
            about: "12 pictures to train on",
            state,
            monitor,
            training: &training,
            points,
            next: vec![("To go on:", "kshot train 'a <b>'".to_owned())],
            preview: Some("previews/step-000100.jpg".to_owned()),
        };
        write(&path, &report).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_running_training_is_read_again_and_a_finished_one_is_not() {
        let points = [point(1, 1.0, 0.2), point(2, 0.5, 0.6), point(3, 0.7, 0.5)];
        let running = page(TrainingState::Running, "mean_iou", &points);
        assert!(running.contains("http-equiv=\"refresh\" content=\"10\""));
        assert!(
            running.contains("Running: step 300 of 1\u{202f}000, about 7 min 00 s left"),
            "{running}"
        );
        for (state, words) in [
            (TrainingState::Stopped, "Stopped at step 300 of 1\u{202f}000"),
            (TrainingState::Failed("the disk <is> full".to_owned()), "the disk &lt;is&gt; full"),
            (TrainingState::Finished, "did not get better any more"),
        ] {
            let page = page(state, "mean_iou", &points);
            assert!(!page.contains("http-equiv=\"refresh\"") && page.contains(words), "{words}");
        }
    }

    #[test]
    fn the_best_validation_is_marked_in_every_figure_and_the_table() {
        let points = [point(1, 1.0, 0.2), point(2, 0.5, 0.6), point(3, 0.7, 0.5)];
        let text = page(TrainingState::Stopped, "mean_iou", &points);
        assert_eq!(text.matches("class=\"ring\"").count(), 2, "in the loss and in mean_iou");
        assert!(text.contains("step 200 · training 0.2500 · validation 0.5000 · best"), "{text}");
        assert!(text.contains("step 200 · training 60.00 % · validation 60.00 % · best"), "{text}");
        assert_eq!(text.matches("class=\"chosen\"").count(), 1);
        assert!(
            text.contains("supervised on &lt;cells&gt;")
                && text.contains("kshot train 'a &lt;b&gt;'")
        );
        assert_eq!(text.matches("<script>").count(), 1, "only the page's own");
        assert!(!text.contains("NaN") && !text.contains("http:") && !text.contains("https:"));
        let by_loss = page(TrainingState::Stopped, "loss", &points);
        assert_eq!(by_loss.matches("class=\"ring\"").count(), 1, "one figure of the loss");
        assert!(by_loss.contains("step 200 · training 0.2500 · validation 0.5000 · best"));
    }

    #[test]
    fn before_the_first_validation_there_is_a_page() {
        let text = page(TrainingState::Running, "mean_iou", &[]);
        assert!(
            text.contains("Nothing to draw yet")
                && text.contains("Running: step 0 of 1\u{202f}000."),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.000_05, 0.000_25, 1.5, 123.0].map(axis_number),
            ["0", "5.0e-5", "0.00025", "1.5", "123"]
        );
        assert_eq!(
            [0.0, 0.000_512, 0.5, 12.5, 2e5].map(number),
            ["0", "5.12e-4", "0.5000", "12.5", "2.00e5"]
        );
    }
}
