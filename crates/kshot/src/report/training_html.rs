//! `report.html` of a training of supervised segmentation: what was trained and how it went, how it does on the validation
//! pictures, how the recipe was chosen, and how to use it.

use std::path::Path;

use kshot_data::atomic;
use maud::{Markup, PreEscaped, html};

use crate::error::Result;
use crate::eval::Evaluation;
use crate::names::counted;
use crate::plan::Plan;
use crate::report::curve_html::{self, CurveReport, TrainingState};
use crate::report::eval_html::WorstEpisode;
use crate::report::page::{self, duration, percent};
use crate::report::plot::grouped;
use crate::report::{chosen, segmented};

/// The page's name in a run's folder.
pub const TRAINING_PAGE: &str = "report.html";

/// How a network does on the validation pictures.
#[derive(Debug)]
pub enum Measured<'a> {
    /// As an evaluation has it, with its worst pictures.
    Pictures(&'a Evaluation, Vec<WorstEpisode>),
    /// It was not measured, for this reason.
    Nothing(String),
}

/// What the page says.
#[derive(Debug)]
pub struct TrainingReport<'a> {
    /// Title, curve, state and commands.
    pub curve: CurveReport<'a>,
    /// Encoder and decoder.
    pub network: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// Pictures that validate.
    pub validation_pictures: usize,
    /// Whether all of these are learnt from, so that they tell nothing of others.
    pub all_learnt: bool,
    /// The compute device.
    pub device: &'a str,
    /// How it does.
    pub measured: Measured<'a>,
    /// How its recipe was chosen, where kshot chose it.
    pub plan: Option<&'a Plan>,
    /// The recipe as TOML.
    pub recipe: &'a str,
}

/// Writes the page to `path`, all at once: one file, nothing fetched, all text escaped.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, report: &TrainingReport<'_>) -> Result<()> {
    let head = html! { style { (PreEscaped(curve_html::STYLE)) (PreEscaped(segmented::STYLE)) } };
    let version = env!("CARGO_PKG_VERSION");
    let footer =
        format!("Made by kshot {version}, {}. This page fetches nothing.", super::run::now());
    let text = page::open_with(report.curve.title, &head)
        + &report.body().into_string()
        + &page::close(&footer);
    atomic::write(path, text.as_bytes())
}

impl TrainingReport<'_> {
    fn body(&self) -> Markup {
        let curve = &self.curve;
        html! {
            header {
                h1 { (curve.title) }
                div.muted { (self.network) }
                div.muted { (curve.about) "; a batch of " (curve.training.batch) " a step" }
                (curve.standing())
                (page::tiles(&self.tiles()))
                (self.parts())
            }
            div id="curves" { (curve.curves()) }
            (self.measured())
            @if let Some(plan) = self.plan { (chosen::section(plan)) }
            section id="recipe" {
                h2 { "The recipe" }
                details { summary { "recipe.toml" } pre { (self.recipe) } }
            }
            section id="use" {
                h2 { "How to use it" }
                @if curve.state == TrainingState::Finished {
                    p { @if self.validation_pictures == 0 { "The last parameters" } @else { "The parameters of the best validation" } " are in " code { "model.bpk" } "." }
                }
                @for (words, command) in &curve.next { p.muted { (words) } pre { (command) } }
            }
        }
    }

    /// Links to the parts that there are.
    fn parts(&self) -> Markup {
        let is_measured = matches!(self.measured, Measured::Pictures(..));
        let parts = [
            ("curves", "Curves", true),
            ("classes", "Classes", is_measured),
            ("confusion", "Confusion", is_measured),
            ("calibration", "Calibration", is_measured),
            ("worst", "Worst pictures", is_measured),
            ("chosen", "Why this recipe", self.plan.is_some()),
            ("recipe", "Recipe", true),
            ("use", "How to use it", true),
        ];
        html! {
            nav.parts aria-label="Parts of this page" {
                @for (id, words, _) in parts.iter().filter(|part| part.2) {
                    a href={ "#" (id) } { (words) }
                }
            }
        }
    }

    fn tiles(&self) -> Vec<(&str, String, String)> {
        let curve = &self.curve;
        let mut tiles = Vec::new();
        let pictures = counted(self.validation_pictures, "picture", "pictures");
        match (curve.best(), self.validation_pictures) {
            (_, 0) => {
                tiles.push(("Best validation", "–".to_owned(), "no validation pictures".to_owned()))
            }
            (Some(best), _) => {
                let (value, at) = curve.value_of(best);
                let of = if self.all_learnt { " that are learnt from" } else { "" };
                tiles.push(("Best validation", value, format!("{at}, {pictures}{of}")));
            }
            (None, _) => {
                tiles.push(("Best validation", "–".to_owned(), "none was reached".to_owned()))
            }
        }
        let last = curve.points.last();
        let (taken, seconds) = last.map_or((0, 0.0), |last| (last.step, last.seconds));
        tiles.extend([
            (
                "Parameters",
                short(self.parameters),
                format!("{} trainable", grouped(self.parameters)),
            ),
            ("Steps", grouped(taken), format!("of {}", grouped(curve.training.steps))),
            ("Time", duration(seconds), "of training, without breaks".to_owned()),
            ("Device", self.device.to_owned(), String::new()),
        ]);
        tiles
    }

    fn measured(&self) -> Markup {
        let (result, worst) = match &self.measured {
            Measured::Pictures(result, worst) => (*result, worst),
            Measured::Nothing(why) => {
                return html! {
                    section id="measured" {
                        h2 { "On the validation pictures" }
                        p.notice.calm { (why) }
                    }
                };
            }
        };
        let pictures = result.rows.as_ref().map_or(0, crate::eval::rows::Rows::len);
        let metrics: Vec<(&str, String, String)> =
            ["mean_iou", "dice", "pixel_accuracy", "boundary_f"]
                .into_iter()
                .filter_map(|name| {
                    Some((name, percent(result.metrics.get(name)?.mean as f32), String::new()))
                })
                .collect();
        html! {
            section id="measured" {
                h2 { "On the validation pictures" }
                p.lead {
                    "The best parameters on " (counted(pictures, "picture", "pictures")) ", as "
                    code { "kshot eval" } " measures the test set: at each picture's own size, with what "
                    code { "[predict]" } " says. "
                    @if self.all_learnt {
                        strong { "They are learnt from" } ", so this does not tell how good it is on others: label some more and "
                        "run " code { "kshot eval" } " on them."
                    } @else {
                        "The pictures chose these parameters, so new ones will do a little worse."
                    }
                }
                (page::tiles(&metrics))
            }
            (segmented::sections(result))
            @if !worst.is_empty() { (segmented::worst("The worst pictures", worst)) }
        }
    }
}

/// A large count in a few letters: `4.6 M`.
fn short(count: usize) -> String {
    match count {
        0..10_000 => grouped(count),
        10_000..1_000_000 => format!("{:.0} k", count as f64 / 1e3),
        _ => format!("{:.1} M", count as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use image::RgbImage;

    use super::*;
    use crate::eval::classes::{ClassFigures, ConfusionTable};
    use crate::eval::worst::{PANEL, Panel, Worst};
    use crate::metric::calibration::Bin;
    use crate::recipe::{Recipe, Training};
    use crate::report::evaluation;
    use crate::train::curve::CurvePoint;

    const RECIPE: &str = "[protocol]\nname = 'segmentation'\n[data]\ndataset = 'ade20k'\nroot = 'x'\n\
        train = 'training'\nvalidation = 'validation'\ntest = 'validation'\n[model]\n\
        encoder = 'efficientnet-lite0'\ndecoder = 'linear'\n[method]\nname = 'supervised'\n\
        [train]\nsteps = 100000\nvalidate_every = 100\nseed = 0\nlearning_rate = 0.1\n";

    /// Noise, which no JPEG makes small.
    fn noise(seed: u32) -> RgbImage {
        RgbImage::from_fn(PANEL, PANEL, |x, y| {
            let of = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519) ^ seed)
                .wrapping_mul(3_266_489_917);
            image::Rgb([(of >> 8) as u8, (of >> 16) as u8, (of >> 24) as u8])
        })
    }

    #[test]
    fn a_page_of_150_classes_and_1000_validations_stays_small() {
        let recipe = Recipe::parse(RECIPE, Path::new("a.toml"), &[]).unwrap();
        let mut result = Evaluation::new(&recipe);
        let name = |class: usize| format!("<class> number {class}");
        let rate = Some(0.5);
        let of = |number: usize| ClassFigures {
            name: name(number),
            number,
            pictures: 3,
            pixels: 1_000_000,
            iou: rate,
            dice: rate,
            precision: rate,
            recall: rate,
            boundary_f: rate,
        };
        result.classes = (0..=150).map(of).collect();
        result.confusion = Some(ConfusionTable {
            classes: (0..=150).map(name).collect(),
            counts: vec![vec![123_456_789; 151]; 151],
        });
        result.reliability = vec![Bin { count: 9, right: 4, confidence: 0.5 }; 15];
        let captions = ["query", "truth", "prediction", "errors"];
        let panel = |(caption, seed)| Panel { caption, picture: noise(seed) };
        let worst = Worst {
            title: "images/<i>.png".to_owned(),
            iou: 0.25,
            panels: captions.into_iter().zip(0..).map(panel).collect(),
        };
        let point = |number: usize| CurvePoint {
            number,
            step: 100 * number,
            train: BTreeMap::from([("loss".to_owned(), 1.0 / number as f64)]),
            validation: BTreeMap::from([("mean_iou".to_owned(), 0.5)]),
            seconds: number as f64,
        };
        let points: Vec<CurvePoint> = (1..=1000).map(point).collect();
        let training: &Training = recipe.training().unwrap();
        let report = TrainingReport {
            curve: CurveReport {
                title: "supervised on <b>",
                about: "20210 pictures to train on",
                state: TrainingState::Finished,
                monitor: "mean_iou",
                training,
                points: &points,
                next: vec![("To segment pictures:", "kshot segment".to_owned())],
                preview: None,
            },
            network: "a with b".to_owned(),
            parameters: 4_600_000,
            validation_pictures: 2000,
            all_learnt: false,
            device: "flex",
            measured: Measured::Pictures(&result, evaluation::shown(&vec![worst; 6]).unwrap()),
            plan: None,
            recipe: RECIPE,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(TRAINING_PAGE);
        write(&path, &report).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.len() < 3_000_000, "{} bytes", page.len());
        assert!(page.contains("4.6 M") && page.contains("&lt;class&gt; number 150"));
        assert!(!page.contains("<class>") && !page.contains("<i>.png") && !page.contains("on <b>"));
        assert!(page.contains("the 111 others are joined"));
        assert_eq!(page.matches("data:image/jpeg").count(), 24);

        let report = TrainingReport { all_learnt: true, ..report };
        write(&path, &report).unwrap();
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.contains("They are learnt from") && !page.contains("a little worse"));
        let report = TrainingReport { all_learnt: false, ..report };

        // Sessions of a program's own may have nothing to validate on.
        let why = "There are no <validation> pictures".to_owned();
        let report =
            TrainingReport { validation_pictures: 0, measured: Measured::Nothing(why), ..report };
        write(&path, &report).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains("no &lt;validation&gt; pictures") && page.contains("The last parameters")
        );
        assert!(!page.contains("id=\"classes\"") && page.contains("no validation pictures"));
    }
}
