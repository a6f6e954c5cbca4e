//! Results of `kshot eval` compared with each other, row by row.
//!
//! Two results pair where their [`rows`](super::rows) are of the same episodes, pictures or queries. A figure that is
//! a mean is compared by the values of its rows, one that is a ratio of pixels by the rows' counts, added up anew for
//! every draw. What is drawn is what the protocol's interval is over, so that the difference is of what another list
//! of it would give:
//!
//! | protocol | drawn | where these are too few |
//! |---|---|---|
//! | few-shot-segmentation | episodes, within their run and fold (runs differ in their episodes alone) | |
//! | few-shot-recognition | episodes, for each ways and shots | |
//! | segmentation | seeds | below 6 of them, and beside them: pictures, all seeds of a picture together |
//! | presence | runs | below 6 of them, and beside them: queries, within their run, with and without the class apart |
//!
//! Below 6 units the permutation test cannot fall below 0.05. How a difference is tested is in
//! [`metric::paired`](crate::metric::paired). Intervals are of one comparison each: of twenty between equal results one
//! is expected not to hold 0.

mod counted;
mod pair;
mod queries;
mod read;
mod settings;
mod units;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::metric::paired::{self, Difference};
use crate::names::{counted, unknown};
use read::ResultFile;
use units::Units;

/// From so many units on a permutation test can fall below 0.05.
const ENOUGH: usize = 6;
/// Results at most: the letters.
const MOST: usize = 26;

/// Which result is the better one by a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The one that is compared.
    Better,
    /// The one that it is compared with.
    Worse,
    /// The interval holds 0, or the p-value is above 0.05.
    Undecided,
}

/// A metric of two results over the same units.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedMetric {
    /// Its name, as in `metrics` of the results.
    pub metric: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// The figures and their difference, of the rows that pair; rates are 0 to 1.
    #[serde(flatten)]
    pub difference: Difference,
    /// Whether the second result is better.
    pub verdict: Verdict,
    /// The same in words.
    pub words: String,
}

/// What is drawn anew, and the metrics over it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedUnits {
    /// In the singular, such as `episode`.
    #[serde(skip)]
    pub one: &'static str,
    /// In the plural, such as `episodes`.
    pub over: &'static str,
    /// Whether to go by these: what the protocol's interval is over, unless there are too few.
    pub main: bool,
    /// The metrics, the headline first.
    pub metrics: Vec<ComparedMetric>,
}

/// One of the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedResult {
    /// A letter.
    pub letter: char,
    /// The file.
    pub file: PathBuf,
    /// The method, with its encoder.
    pub method: String,
    /// The version of kshot that wrote it.
    pub version: String,
}

/// A result compared with the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The protocol of both.
    pub protocol: String,
    /// The result that is compared with.
    pub first: ComparedResult,
    /// The one that is compared.
    pub second: ComparedResult,
    /// What a row is, in the plural.
    pub rows_are: &'static str,
    /// Rows that both have.
    pub paired: usize,
    /// Rows that only the first has, and only the second.
    pub unpaired: [usize; 2],
    /// What to mind.
    pub warnings: Vec<String>,
    /// The metrics by what is drawn.
    pub units: Vec<ComparedUnits>,
    /// Metrics of both results that rows do not recompute.
    pub not_compared: Vec<String>,
    /// The seed of the draws.
    pub seed: u64,
    /// Draws of the bootstrap.
    pub resamples: usize,
}

/// Compares each result with the first: files, or folders that hold a `result.json`.
///
/// # Errors
/// If there are fewer than two or more than 26, one cannot be read or has no rows, two are not of the same protocol on
/// the same episodes or pictures, or there is no such metric.
pub fn run(results: &[PathBuf], metric: Option<&str>, seed: u64) -> Result<Vec<Comparison>> {
    if !(2..=MOST).contains(&results.len()) {
        let given = counted(results.len(), "result", "results");
        return Err(Error::config(format!("{given} given; give 2 to {MOST}")));
    }
    let open = |(letter, path): (char, &PathBuf)| ResultFile::read(path, letter);
    let files = ('A'..='Z').zip(results).map(open).collect::<Result<Vec<_>>>()?;
    files[1..].iter().map(|second| pair_of(&files[0], second, metric, seed)).collect()
}

fn pair_of(
    first: &ResultFile,
    second: &ResultFile,
    metric: Option<&str>,
    seed: u64,
) -> Result<Comparison> {
    let mut warnings = settings::check(first, second)?;
    let Units { rows_are, pairing, kinds } = units::of(first, second)?;
    warnings.extend(pairing.warning(rows_are, [first.letter, second.letter]));
    let known: Vec<&str> =
        kinds.iter().flat_map(|kind| kind.metrics.iter().map(String::as_str)).collect();
    let both = || first.metrics.keys().filter(|name| second.metrics.contains_key(*name));
    let not_compared: Vec<String> =
        both().filter(|name| !known.iter().any(|known| is_named(known, name))).cloned().collect();
    if let Some(name) = metric {
        check_metric(name, &known, &not_compared)?;
    }
    let enough =
        kinds.iter().position(|kind| kind.figures.strata().iter().sum::<usize>() >= ENOUGH);
    // Where nothing has enough, the finest.
    let main = enough.unwrap_or(kinds.len() - 1);
    let words = Words { letters: [first.letter, second.letter] };
    let units = kinds
        .iter()
        .enumerate()
        .map(|(place, kind)| ComparedUnits {
            one: kind.over.0,
            over: kind.over.1,
            main: kind.always || place == main,
            metrics: paired::compare(kind.figures.as_ref(), seed)
                .into_iter()
                .zip(&kind.metrics)
                .filter(|(_, name)| metric.is_none_or(|wanted| is_named(name, wanted)))
                .map(|(difference, name)| words.metric(name, difference, kind.over))
                .collect(),
        })
        .filter(|units| !units.metrics.is_empty())
        .collect();
    Ok(Comparison {
        protocol: first.protocol.clone(),
        first: first.about(),
        second: second.about(),
        rows_are: rows_are.1,
        paired: pairing.pairs.len(),
        unpaired: [pairing.only[0].len(), pairing.only[1].len()],
        warnings,
        units,
        not_compared,
        seed,
        resamples: paired::RESAMPLES,
    })
}

/// Whether a metric is what a name says: `accuracy` is that of every setting.
fn is_named(metric: &str, name: &str) -> bool {
    metric == name || (name == "accuracy" && metric.starts_with("accuracy_"))
}

/// A difference of shares in points with its sign; none where it is rounded to nothing.
pub fn points(difference: f64) -> String {
    let hundredths = (1e4 * difference).round();
    if hundredths == 0.0 { "0.00".to_owned() } else { format!("{:+.2}", hundredths / 100.0) }
}

/// Refuses a metric that is none of those that rows recompute.
fn check_metric(name: &str, known: &[&str], not_compared: &[String]) -> Result<()> {
    if known.iter().any(|known| is_named(known, name)) {
        return Ok(());
    }
    let mut names = known.to_vec();
    names.sort_unstable();
    names.dedup();
    Err(Error::config(if not_compared.iter().any(|of| of == name) {
        format!(
            "rows do not hold what `{name}` is made of; metrics that can be compared are {}",
            names.join(", ")
        )
    } else {
        unknown("metric", name, &names)
    }))
}

/// Whether more of a metric of an evaluation is better.
fn higher_is_better(name: &str) -> bool {
    name != "present_missed" && !name.starts_with("ece")
}

/// Says a difference in words.
struct Words {
    letters: [char; 2],
}

impl Words {
    fn metric(
        &self,
        name: &str,
        difference: Difference,
        over: (&'static str, &'static str),
    ) -> ComparedMetric {
        let higher_is_better = higher_is_better(name);
        let verdict = verdict(&difference, higher_is_better);
        let words = self.of(&difference, verdict, over);
        ComparedMetric { metric: name.to_owned(), higher_is_better, difference, verdict, words }
    }

    fn of(&self, of: &Difference, verdict: Verdict, over: (&str, &str)) -> String {
        let [first, second] = self.letters;
        let n = format!("n = {}", counted(of.n, over.0, over.1));
        let points = points(of.difference);
        let Some(interval) = of.interval else {
            return format!("no interval from {}: {points} points", counted(of.n, over.0, over.1));
        };
        let [low, high] = interval.map(self::points);
        // By how much it is better or worse is a positive number, whatever the sign of the difference.
        let mut sizes = interval.map(|bound| 100.0 * bound.abs());
        sizes.sort_by(f64::total_cmp);
        let ([least, most], size) = (sizes, 100.0 * of.difference.abs());
        match verdict {
            Verdict::Better => {
                format!("{second} is better by {size:.2} points ({least:.2} to {most:.2}), {n}")
            }
            Verdict::Worse => {
                format!("{second} is worse by {size:.2} points ({least:.2} to {most:.2}), {n}")
            }
            Verdict::Undecided if interval == [0.0, 0.0] => {
                format!("{first} and {second} are the same, {n}")
            }
            Verdict::Undecided => format!(
                "no difference can be told between {first} and {second}: {points} points ({low} to {high}), {n}"
            ),
        }
    }
}

/// Both the interval and the test must tell a difference: of few units the interval alone is too narrow.
fn verdict(of: &Difference, higher_is_better: bool) -> Verdict {
    let told = |[low, high]: [f64; 2]| low > 0.0 || high < 0.0;
    let decided = of.interval.is_some_and(told) && of.p.is_some_and(|p| p <= 0.05);
    match (decided, (of.difference > 0.0) == higher_is_better) {
        (false, _) => Verdict::Undecided,
        (true, true) => Verdict::Better,
        (true, false) => Verdict::Worse,
    }
}

/// A path for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
