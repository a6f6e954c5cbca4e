//! What an evaluation leaves in a folder: a page, the result, the recipe as it was run, and the worst
//! episodes as pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kshot_data::atomic;
use kshot_data::overlay;
use maud::Markup;

use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::eval::worst::{PANEL, Worst};
use crate::metric::interval::{Estimate, PictureInterval};
use crate::plan::Plan;
use crate::recipe::{Counting, Protocol};
use crate::report::eval_html::{self, EvalReport, MetricTable, ReportedMetric, WorstEpisode};
use crate::report::{chosen, segmented};

/// Bytes at most of a panel in the page.
const PANEL_BYTES: usize = 32_000;

/// Writes `report.html`, `result.json`, `recipe.toml` and `worst/*.png` into a folder, which is made;
/// pictures of an earlier evaluation there are removed. `plan` is how the recipe of a trained network was chosen. The page's
/// path is returned.
///
/// # Errors
/// If a file cannot be written.
pub fn write(
    out: &Path,
    result: &Evaluation,
    plan: Option<&Plan>,
    command: &str,
    started: &str,
) -> Result<PathBuf> {
    let recipe = toml::to_string(&result.recipe).map_err(|error| {
        Error::config(format!("the recipe cannot be written as TOML: {error}")).caused_by(error)
    })?;
    atomic::write(out.join("recipe.toml"), recipe.as_bytes())?;
    atomic::write(out.join("result.json"), result.json()?.as_bytes())?;
    let folder = out.join("worst");
    for place in 1..=99 {
        let old = folder.join(format!("{place:02}.png"));
        if old.is_file() {
            std::fs::remove_file(&old).map_err(|error| atomic::write_error(&old, error))?;
        }
    }
    for (place, episode) in result.worst.iter().enumerate() {
        let path = folder.join(format!("{:02}.png", place + 1));
        let mut bytes = std::io::Cursor::new(Vec::new());
        episode.strip().write_to(&mut bytes, image::ImageFormat::Png).map_err(|error| {
            Error::data(format!("an episode could not be drawn: {error}"))
                .in_file(&path)
                .caused_by(error)
        })?;
        atomic::write(&path, bytes.get_ref())?;
    }
    let page = out.join("report.html");
    let worst = shown(&result.worst)?;
    let plan = plan.map_or_else(Markup::default, chosen::section);
    let parts = [segmented::sections(result), plan];
    eval_html::write(&page, &EvalReport { worst, parts, ..report(result, command, started) })?;
    Ok(page)
}

/// The worst episodes as a page shows them.
///
/// # Errors
/// If a picture cannot be encoded.
pub fn shown(worst: &[Worst]) -> Result<Vec<WorstEpisode>> {
    let one = |episode: &Worst| {
        let panels = episode.panels.iter();
        let pictures = panels.map(|panel| {
            Ok((panel.caption.to_owned(), overlay::thumbnail(&panel.picture, PANEL, PANEL_BYTES)?))
        });
        let (title, iou) = (episode.title.clone(), episode.iou as f32);
        Ok(WorstEpisode { title, iou, pictures: pictures.collect::<Result<_>>()? })
    };
    worst.iter().map(one).collect()
}

fn report(result: &Evaluation, command: &str, started: &str) -> EvalReport {
    let recipe = &result.recipe;
    let metric = |(name, of): (&String, &Estimate)| ReportedMetric {
        name: name.clone(),
        mean: of.mean as f32,
        ci95: of.ci95.map(|ci95| ci95 as f32),
        count: of.n,
    };
    // The headline first; the others by name.
    let mut metrics: Vec<ReportedMetric> = result.metrics.iter().map(metric).collect();
    metrics.sort_by_key(|metric| metric.name != "mean_iou");
    let plain = |name: String, mean: f64, count| ReportedMetric {
        name,
        mean: mean as f32,
        ci95: None,
        count,
    };
    let part = recipe.data.parts.test.as_ref().map(ToString::to_string).unwrap_or_default();
    let data = format!("{} {part}", recipe.data.dataset.root().display());
    let (title, runs, part, mut settings, notes) = match &recipe.protocol {
        Protocol::FewShotSegmentation {
            ways,
            shots,
            evaluate,
            folds,
            episodes,
            runs,
            counting,
            labels,
            ..
        } => (
            format!("{ways}-way {shots}-shot segmentation"),
            *runs,
            "Fold",
            vec![
                ("folds".to_owned(), format!("{evaluate:?} of {folds}")),
                ("runs x episodes a fold".to_owned(), format!("{runs} x {episodes}")),
                ("labels".to_owned(), labels.to_string()),
            ],
            vec![match counting {
                Counting::Panet => {
                    "Counting rule `panet`: a class counts only in queries whose truth holds it."
                }
                Counting::Dataset => "Counting rule `dataset`: a class counts in every episode.",
            }],
        ),
        Protocol::FewShotRecognition { .. } => return recognition(result, command, started),
        Protocol::Segmentation { labelled, seeds, labels } => (
            match labelled {
                _ if recipe.is_trained() => "Segmentation by a trained network".to_owned(),
                0 => "Segmentation from all listed pictures".to_owned(),
                _ => format!("Segmentation from {labelled} labelled pictures"),
            },
            seeds.len(),
            "Seed",
            vec![
                ("seeds".to_owned(), format!("{seeds:?}")),
                ("labels".to_owned(), labels.to_string()),
            ],
            vec!["One confusion matrix over all pictures of a seed."],
        ),
        Protocol::Presence { shots, queries, runs, .. } => (
            format!("Is the class there? From {shots} labelled pictures of one class"),
            *runs,
            "Run",
            vec![("pictures with and without each class".to_owned(), format!("{queries} each"))],
            vec![
                "absent_empty: share of the pictures without the class that were left empty; \
                 present_missed: the same of those with it; auroc: the chance that one with it seems \
                 surer to hold it than one without.",
            ],
        ),
    };
    let worst_are = match recipe.protocol {
        Protocol::FewShotSegmentation { .. } | Protocol::FewShotRecognition { .. } => "episodes",
        Protocol::Segmentation { .. } | Protocol::Presence { .. } => "pictures",
    };
    let mut notes: Vec<String> = notes.into_iter().map(str::to_owned).collect();
    notes.push(format!("Intervals of 95 % are over {}.", result.interval_over));
    if let Some(PictureInterval { low, high, pictures }) = result.over_pictures {
        let [low, high] = [low, high].map(|bound| 100.0 * bound);
        notes.push(format!(
            "Had the {pictures} segmented pictures been others of their kind, the mean IoU would lie between {low:.1} and \
             {high:.1} % (95 %, a bootstrap over pictures)."
        ));
    }
    if result.smoke {
        notes.push(
            "A smoke run of a few episodes or pictures: the figures mean nothing.".to_owned(),
        );
    }
    settings.push(("data".to_owned(), data));
    settings.push(("encoder".to_owned(), recipe.model.encoder.name()));
    settings.push(("method".to_owned(), recipe.method.name().to_owned()));
    settings.push(("seed".to_owned(), result.seed.to_string()));
    settings.push(("transductive".to_owned(), result.transductive.to_string()));
    let classes = result.per_class.iter().map(|(name, iou)| plain(name.clone(), *iou, runs));
    let mut tables = Vec::new();
    // A segmentation has a table with more.
    if result.classes.is_empty() {
        let (title, rows_are) = ("IoU by class".to_owned(), "Class".to_owned());
        tables.push(MetricTable { title, rows_are, rows: classes.collect() });
    }
    // A fold has several runs; a seed is one.
    let of_each = if part == "Fold" { runs } else { 1 };
    for name in ["mean_iou", "binary_iou"] {
        let rows: Vec<ReportedMetric> = result
            .per_fold
            .iter()
            .filter_map(|(fold, of)| Some(plain(fold.clone(), *of.get(name)?, of_each)))
            .collect();
        if !rows.is_empty() {
            let title = format!("{name} by {}", part.to_lowercase());
            tables.push(MetricTable { title, rows_are: part.to_owned(), rows });
        }
    }
    EvalReport {
        title,
        subtitle: format!("{} with {}", recipe.method.name(), recipe.model.encoder.name()),
        command: command.to_owned(),
        started: started.to_owned(),
        seconds: result.seconds,
        settings,
        metrics,
        tables,
        notes,
        worst_are: worst_are.to_owned(),
        worst: Vec::new(),
        parts: Default::default(),
    }
}

/// The page of a method that learns from episodes.
fn recognition(result: &Evaluation, command: &str, started: &str) -> EvalReport {
    let recipe = &result.recipe;
    let Protocol::FewShotRecognition { queries, episodes, part, .. } = &recipe.protocol else {
        unreachable!("the page of few-shot recognition")
    };
    let row = |name: &str, of: &Estimate| ReportedMetric {
        name: name.to_owned(),
        mean: of.mean as f32,
        ci95: of.ci95.map(|ci95| ci95 as f32),
        count: of.n,
    };
    let metrics = result.metrics.iter().map(|(name, of)| row(name, of)).collect();
    let rows =
        |rows_of: &BTreeMap<String, BTreeMap<String, f64>>, key: &str| -> Vec<ReportedMetric> {
            let one = |(name, of): (&String, &BTreeMap<String, f64>)| {
                let (name, mean) = (name.clone(), *of.get(key)? as f32);
                Some(ReportedMetric { name, mean, ci95: None, count: *episodes })
            };
            rows_of.iter().filter_map(one).collect()
        };
    let table = |title: &str, rows_are: &str, rows| MetricTable {
        title: title.to_owned(),
        rows_are: rows_are.to_owned(),
        rows,
    };
    let calibration = result
        .reliability
        .iter()
        .map(|bin| ReportedMetric {
            name: format!("predicted with {:.0} %", 100.0 * bin.confidence),
            mean: bin.right as f32 / bin.count as f32,
            ci95: None,
            count: bin.count,
        })
        .collect();
    let confused = result
        .confused
        .iter()
        .map(|of| ReportedMetric {
            name: format!("{} for {}", of.actual, of.predicted),
            mean: of.count as f32 / of.opportunities as f32,
            ci95: None,
            count: of.opportunities,
        })
        .collect();
    let mut notes = vec![
        "The interval is over episodes. Calibration: of the answers given with that confidence, the \
         share that was right."
            .to_owned(),
    ];
    if result.smoke {
        notes.push("A smoke run of a few episodes: the figures mean nothing.".to_owned());
    }
    let setting = |name: &str, value: String| (name.to_owned(), value);
    EvalReport {
        title: format!(
            "few-shot recognition, {} {}",
            recipe.data.dataset.name(),
            recipe.data.dataset.root().display()
        ),
        subtitle: format!(
            "{}, {}transductive",
            recipe.method.name(),
            if result.transductive { "" } else { "not " }
        ),
        command: command.to_owned(),
        started: started.to_owned(),
        seconds: result.seconds,
        settings: vec![
            setting("episodes", episodes.to_string()),
            setting("queries a class", queries.to_string()),
            setting("classes", part.name().to_owned()),
            setting("seed", result.seed.to_string()),
            setting("transductive", result.transductive.to_string()),
        ],
        metrics,
        tables: vec![
            table("Accuracy by ways and shots", "Episodes", rows(&result.per_fold, "accuracy")),
            table("Calibration error by ways and shots", "Episodes", rows(&result.per_fold, "ece")),
            table("Calibration", "Confidence", calibration),
            table("Most often taken for another", "Queries", confused),
        ]
        .into_iter()
        .filter(|table: &MetricTable| !table.rows.is_empty())
        .collect(),
        notes,
        worst_are: "episodes".to_owned(),
        worst: Vec::new(),
        parts: Default::default(),
    }
}
