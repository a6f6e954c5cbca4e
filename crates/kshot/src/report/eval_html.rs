//! The page of an evaluation: the numbers with their intervals, and the worst episodes to look at.

use std::path::Path;

use kshot_data::atomic;
use maud::{Markup, PreEscaped, html};

use crate::error::Result;
use crate::report::page::{self, duration, meter, percent};
use crate::report::{curve_html, segmented};

/// What the page of an evaluation says.
#[derive(Debug, Clone, Default)]
pub struct EvalReport {
    /// The heading, such as `voc-5i, 1-way 1-shot`.
    pub title: String,
    /// A sentence under it: protocol, counting rule, encoder, method.
    pub subtitle: String,
    /// The exact command, quoted so that it can be pasted into a shell.
    pub command: String,
    /// When the evaluation began, RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// What was evaluated and how: pairs such as `("runs x episodes", "5 x 1000")`.
    pub settings: Vec<(String, String)>,
    /// The metrics over everything, the headline first.
    pub metrics: Vec<ReportedMetric>,
    /// Tables by class, by fold, ...
    pub tables: Vec<MetricTable>,
    /// Lines of text, such as what a quirk of the protocol means.
    pub notes: Vec<String>,
    /// What `worst` holds, such as `episodes`.
    pub worst_are: String,
    /// The worst episodes, worst first.
    pub worst: Vec<WorstEpisode>,
    /// Further parts, before the worst episodes and after them.
    pub parts: [Markup; 2],
}

/// A number between 0 and 1 with its interval.
#[derive(Debug, Clone, Default)]
pub struct ReportedMetric {
    /// Its name, such as `mean_iou`, or the class or fold it belongs to.
    pub name: String,
    /// Its mean, 0..1; not-a-number where it could not be measured.
    pub mean: f32,
    /// Half the width of the 95 % interval, in the same unit.
    pub ci95: Option<f32>,
    /// Over how many runs, episodes or pictures.
    pub count: usize,
}

/// Metrics of the same kind.
#[derive(Debug, Clone, Default)]
pub struct MetricTable {
    /// The heading, such as `By class`.
    pub title: String,
    /// What the rows are, such as `Class`.
    pub rows_are: String,
    /// The rows.
    pub rows: Vec<ReportedMetric>,
}

/// An episode to look at.
#[derive(Debug, Clone, Default)]
pub struct WorstEpisode {
    /// What tells it apart, such as `run 2, episode 37: bottle`.
    pub title: String,
    /// Its IoU, 0..1.
    pub iou: f32,
    /// Its pictures with captions, such as support, query, truth, prediction: JPEGs in base64
    /// (see [`kshot_data::overlay::thumbnail`]).
    pub pictures: Vec<(String, String)>,
}

/// Writes the page of an evaluation to `path`: one file, nothing fetched, all text escaped.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, report: &EvalReport) -> Result<()> {
    let body = html! {
        header {
            h1 { (report.title) }
            @if !report.subtitle.is_empty() { div.muted { (report.subtitle) } }
            (page::tiles(&headline(report)))
        }
        section {
            h2 { "Metrics" }
            p.lead { "Mean and 95 % interval." }
            div.panel.scroll { (table("Metric", &report.metrics)) }
            @if !report.notes.is_empty() {
                ul.list.muted style="margin-top:12px" { @for note in &report.notes { li { (note) } } }
            }
        }
        @for group in &report.tables {
            section {
                h2 { (group.title) }
                div.panel.scroll { (table(&group.rows_are, &group.rows)) }
            }
        }
        (report.parts[0])
        @if !report.worst.is_empty() {
            (segmented::worst(&format!("The worst {}", report.worst_are), &report.worst))
        }
        (report.parts[1])
        section {
            h2 { "How it was made" }
            @if !report.settings.is_empty() {
                div.panel.scroll style="margin-bottom:14px" {
                    table { tbody {
                        @for (name, value) in &report.settings {
                            tr { td.muted style="width:30%" { (name) } td.text { (value) } }
                        }
                    } }
                }
            }
            pre { (report.command) }
        }
    };
    let footer = format!(
        "Made by kshot {}, {}. This page fetches nothing.",
        env!("CARGO_PKG_VERSION"),
        report.started
    );
    let head = html! { style { (PreEscaped(curve_html::STYLE)) (PreEscaped(segmented::STYLE)) } };
    let text = page::open_with(&report.title, &head) + &body.into_string() + &page::close(&footer);
    atomic::write(path, text.as_bytes())
}

/// The first three metrics and the time as tiles.
fn headline(report: &EvalReport) -> Vec<(&str, String, String)> {
    let mut tiles: Vec<(&str, String, String)> = report
        .metrics
        .iter()
        .take(3)
        .map(|metric| (metric.name.as_str(), percent(metric.mean), interval(metric)))
        .collect();
    tiles.push(("Time", duration(report.seconds), String::new()));
    tiles
}

fn interval(metric: &ReportedMetric) -> String {
    match metric.ci95 {
        Some(half) if half.is_finite() => format!("± {:.2}", half * 100.0),
        _ => String::new(),
    }
}

fn table(rows_are: &str, rows: &[ReportedMetric]) -> Markup {
    html! {
        table {
            thead { tr {
                th { (rows_are) } th.number { "Mean" } th.number { "95 %" } th.number { "n" } th.bar {}
            } }
            tbody {
                @for metric in rows {
                    tr {
                        td.text { (metric.name) }
                        td.number { (percent(metric.mean)) }
                        td.number.muted { (interval(metric)) }
                        td.number.muted { (metric.count) }
                        td.bar { (meter(metric.mean, None)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_intervals_and_pictures_are_shown_and_text_is_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eval.html");
        let metric = |name: &str, mean| ReportedMetric {
            name: name.into(),
            mean,
            ci95: Some(0.0123),
            count: 5,
        };
        let report = EvalReport {
            title: "voc <5i>".into(),
            metrics: vec![metric("mean_iou", 0.4131), metric("nothing", f32::NAN)],
            tables: vec![MetricTable {
                title: "By class".into(),
                rows_are: "Class".into(),
                rows: vec![metric("<script>", 0.25)],
            }],
            worst: vec![WorstEpisode {
                title: "run 1".into(),
                iou: 0.0,
                pictures: vec![("truth".into(), "QUJD".into())],
            }],
            ..EvalReport::default()
        };
        write(&path, &report).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page.contains("41.3 %") && page.contains("± 1.23") && page.contains("voc &lt;5i&gt;")
        );
        assert!(page.contains("data:image/jpeg;base64,QUJD"));
        assert_eq!(page.matches("<script>").count(), 1, "only our own");
        assert!(!page.contains("NaN"));
    }
}
