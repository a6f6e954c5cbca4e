//! `kshot compare`.

use std::path::PathBuf;

use clap::Args;
use kshot::eval::compare::{ComparedMetric, ComparedUnits, Comparison, points};
use kshot::job::{CompareOptions, compare};

use crate::DONE;
use crate::table::{aligned, print};

/// Says whether one result of `kshot eval` is better than another, on the same episodes or pictures.
///
/// Rows of the results are paired (the same episode, picture or query), and each metric's difference is given with a
/// 95 % interval (a paired bootstrap) and a p-value (a paired permutation test). What is drawn anew is what the
/// protocol's interval is over: episodes, seeds (draws of the labelled pictures) or runs; below six seeds or runs,
/// pictures or queries. Results that do not pair are refused.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot compare runs/prototype runs/probe
  kshot compare before.json after.json --metric mean_iou
  kshot compare runs/a runs/b runs/c --json

A result is the file of `kshot eval --json`, or the folder of its --out; more than two are each compared with the
first.

Exit status: 0 done (whatever the difference), 2 wrong use, or results that do not pair.")]
pub struct Arguments {
    /// The results; the first is what the others are compared with.
    #[arg(required = true, num_args = 2.., value_name = "RESULT")]
    results: Vec<PathBuf>,
    /// Only this metric.
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// One JSON object with all comparisons on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let Arguments { results, metric, seed, json } = arguments;
    let comparisons = compare(&CompareOptions { results, metric, seed })?;
    if json {
        let all = serde_json::json!({ "comparisons": comparisons });
        print(&(serde_json::to_string_pretty(&all)? + "\n"))?;
        return Ok(DONE);
    }
    let told: Vec<String> = comparisons.iter().map(told).collect();
    print(&told.join("\n"))?;
    for comparison in &comparisons {
        for warning in &comparison.warnings {
            eprintln!("warning: {warning}");
        }
    }
    Ok(DONE)
}

/// A comparison as lines: what is compared, a table, and the verdicts.
fn told(of: &Comparison) -> String {
    let results: Vec<Vec<String>> = [&of.first, &of.second]
        .iter()
        .map(|of| vec![of.letter.to_string(), of.method.clone(), of.file.display().to_string()])
        .collect();
    let mut text = aligned(&["", of.protocol.as_str(), ""], &results);
    let [first, second] = [of.first.letter, of.second.letter];
    let heads = [
        "metric".to_owned(),
        first.to_string(),
        second.to_string(),
        format!("{second} - {first}"),
        "95 % interval".to_owned(),
        format!("{second} above {first}"),
        "p".to_owned(),
        "n".to_owned(),
    ];
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = of
        .units
        .iter()
        .flat_map(|units| units.metrics.iter().map(|metric| row(metric, units)))
        .collect();
    text.push('\n');
    text.push_str(&aligned(&heads, &rows));
    text.push('\n');
    for units in of.units.iter().filter(|units| units.main) {
        for metric in &units.metrics {
            text.push_str(&format!("{}: {}\n", metric.metric, metric.words));
        }
    }
    if !of.not_compared.is_empty() {
        let names = of.not_compared.join(", ");
        text.push_str(&format!("not compared, since rows do not hold what it takes: {names}\n"));
    }
    text
}

fn row(of: &ComparedMetric, units: &ComparedUnits) -> Vec<String> {
    let difference = &of.difference;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let none = || "-".to_owned();
    let interval = |[low, high]: [f64; 2]| format!("{} to {}", points(low), points(high));
    vec![
        of.metric.clone(),
        percent(difference.first),
        percent(difference.second),
        points(difference.difference),
        difference.interval.map_or_else(none, interval),
        difference.above_zero.map_or_else(none, |share| format!("{:.1} %", 100.0 * share)),
        difference.p.map_or_else(none, p_value),
        format!("{} {}", difference.n, if difference.n == 1 { units.one } else { units.over }),
    ]
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
