//! The rows of two results as units that are drawn, with the figures over them.

use std::collections::{BTreeMap, BTreeSet};

use super::counted::{Added, CountedFigures, OF_EPISODES, OF_PICTURES, OfCounts};
use super::pair::{Pairing, pair};
use super::queries::{QueryFigures, record};
use super::read::ResultFile;
use super::shown;
use crate::error::{Error, Result};
use crate::eval::presence::METRICS;
use crate::eval::rows::{AnswerRow, Counts, EpisodeRow, PictureRow, QueryRow, RowTable, Rows};
use crate::metric::paired::{PairedFigures, PairedMeans, Side};
use crate::names::{counted, listed};

/// Sums that are kept for one draw at most: classes by runs or seeds.
const MOST_SUMS: usize = 1 << 22;
/// Names in a message.
const NAMED: usize = 5;

/// What is drawn, and the figures over it.
pub(super) struct UnitKind {
    /// In the singular and plural.
    pub(super) over: (&'static str, &'static str),
    /// The names of the figures.
    pub(super) metrics: Vec<String>,
    pub(super) figures: Box<dyn PairedFigures>,
    /// Whether it stands beside the others, and not in their place.
    pub(super) always: bool,
}

/// The units of two results, the coarsest first.
pub(super) struct Units {
    /// What a row is, in the singular and plural.
    pub(super) rows_are: (&'static str, &'static str),
    pub(super) pairing: Pairing,
    pub(super) kinds: Vec<UnitKind>,
}

/// Pairs the rows of two results.
///
/// # Errors
/// If no rows pair, or rows of the same name are of other pictures, classes or labels.
pub(super) fn of(first: &ResultFile, second: &ResultFile) -> Result<Units> {
    let both = Both { first, second };
    match (&first.rows, &second.rows) {
        (Rows::FewShotSegmentation(one), Rows::FewShotSegmentation(other)) => {
            both.episodes(one, other)
        }
        (Rows::FewShotRecognition(one), Rows::FewShotRecognition(other)) => {
            both.answers(one, other)
        }
        (Rows::Segmentation(one), Rows::Segmentation(other)) => both.pictures(one, other),
        (Rows::Presence(one), Rows::Presence(other)) => both.queries(one, other),
        _ => Err(both.unlike("the rows are of different protocols".to_owned())),
    }
}

/// Names at places of a table, which were checked when it was read.
fn names<'a>(of: &'a [String], places: &[usize]) -> Vec<&'a str> {
    places.iter().map(|&place| of[place].as_str()).collect()
}

struct Both<'a> {
    first: &'a ResultFile,
    second: &'a ResultFile,
}

impl Both<'_> {
    fn unlike(&self, what: String) -> Error {
        Error::data(format!(
            "{} ({}) and {} ({}) do not pair: {what}",
            self.first.letter,
            shown(&self.first.path),
            self.second.letter,
            shown(&self.second.path)
        ))
    }

    /// Pairs rows by their names and sees that the pairs are of the same thing.
    fn pair<R>(
        &self,
        [one, other]: [&RowTable<R>; 2],
        (what, many): (&str, &str),
        key: impl Fn(&RowTable<R>, &R) -> String,
        same: impl Fn(&R, &R) -> bool,
    ) -> Result<Pairing> {
        if one.classes != other.classes {
            return Err(self.unlike(other_classes(&one.classes, &other.classes)));
        }
        let keys = |table: &RowTable<R>| -> Vec<String> {
            table.values.iter().map(|row| key(table, row)).collect()
        };
        let (first, second) = (keys(one), keys(other));
        let pairing = pair(&first, &second);
        if pairing.pairs.is_empty() {
            let example =
                |keys: &[String]| keys.first().cloned().unwrap_or_else(|| "none".to_owned());
            return Err(self.unlike(format!(
                "no {what} is in both (the first are {} and {}); evaluate both on the same data with the same seeds",
                example(&first),
                example(&second)
            )));
        }
        let unlike: Vec<&str> = pairing
            .pairs
            .iter()
            .filter(|(place, its)| !same(&one.values[*place], &other.values[*its]))
            .map(|(place, _)| first[*place].as_str())
            .collect();
        if unlike.is_empty() {
            return Ok(pairing);
        }
        Err(self.unlike(format!(
            "of {} in both, {} differ in their pictures, classes or labels, such as {}; evaluate both on the same data \
             with the same seeds",
            counted(pairing.pairs.len(), what, many),
            unlike.len(),
            listed(&unlike[..1], 1)
        )))
    }

    /// The figures whose metrics both results have.
    fn in_both(&self, known: &[(&'static str, OfCounts)]) -> Vec<(&'static str, OfCounts)> {
        let has = |of: &ResultFile, name: &str| of.metrics.contains_key(name);
        known
            .iter()
            .copied()
            .filter(|(name, _)| has(self.first, name) && has(self.second, name))
            .collect()
    }

    fn episodes(&self, one: &RowTable<EpisodeRow>, other: &RowTable<EpisodeRow>) -> Result<Units> {
        let rows_are = ("episode", "episodes");
        let key = |_: &RowTable<EpisodeRow>, row: &EpisodeRow| {
            format!("fold {}, run {}, episode {}", row.fold, row.run, row.episode)
        };
        let same = |a: &EpisodeRow, b: &EpisodeRow| {
            let pictures = |table: &'_ RowTable<EpisodeRow>, row: &EpisodeRow| {
                let mut all = names(&table.pictures, &row.support);
                all.push(table.pictures[row.query].as_str());
                all.into_iter().map(str::to_owned).collect::<Vec<_>>()
            };
            a.classes == b.classes
                && pictures(one, a) == pictures(other, b)
                && a.counts.iter().map(truth).eq(b.counts.iter().map(truth))
        };
        let mut pairing = self.pair([one, other], rows_are, key, same)?;
        let group_of = |place: usize| (one.values[place].fold, one.values[place].run);
        pairing.pairs.sort_by_key(|(place, _)| group_of(*place));
        let mut groups: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
        for (place, _) in &pairing.pairs {
            let next = groups.len();
            groups.entry(group_of(*place)).or_insert((next, 0)).1 += 1;
        }
        let panet = self.first.says("/protocol/counting").is_some_and(|of| of == "panet");
        let added = |row: &EpisodeRow, group: usize| -> Vec<Added> {
            let background = row.counts.first().map(|counts| (group, 0, *counts));
            // PANet passes over a class that the query does not hold.
            let ways = row.classes.iter().zip(row.counts.iter().skip(1));
            let counted = ways.filter(|(_, counts)| !panet || truth(counts) > 0);
            background
                .into_iter()
                .chain(counted.map(|(&class, &counts)| (group, class, counts)))
                .collect()
        };
        let unit = |table: &RowTable<EpisodeRow>, place: usize, group: usize| {
            added(&table.values[place], groups[&group_of(group)].0)
        };
        let units = [
            pairing.pairs.iter().map(|&(place, _)| unit(one, place, place)).collect(),
            pairing.pairs.iter().map(|&(place, its)| unit(other, its, place)).collect(),
        ];
        let known = self.in_both(&OF_EPISODES);
        let figures = CountedFigures {
            strata: groups.values().map(|(_, size)| *size).collect(),
            groups: self.bounded(groups.len(), one.classes.len())?,
            classes: one.classes.len(),
            figures: known.iter().map(|(_, of)| *of).collect(),
            units,
        };
        Ok(Units { rows_are, pairing, kinds: vec![kind(rows_are, &known, Box::new(figures))] })
    }

    fn answers(&self, one: &RowTable<AnswerRow>, other: &RowTable<AnswerRow>) -> Result<Units> {
        let rows_are = ("episode", "episodes");
        let key = |_: &RowTable<AnswerRow>, row: &AnswerRow| {
            format!("{}-way {}-shot episode {}", row.ways, row.shots, row.episode)
        };
        let same = |a: &AnswerRow, b: &AnswerRow| a.classes == b.classes && a.queries == b.queries;
        let pairing = self.pair([one, other], rows_are, key, same)?;
        let mut settings: Vec<(usize, usize)> = Vec::new();
        let setting = |row: &AnswerRow| (row.ways, row.shots);
        for (place, _) in &pairing.pairs {
            let of = setting(&one.values[*place]);
            if !settings.contains(&of) {
                settings.push(of);
            }
        }
        let value = |row: &AnswerRow| vec![row.right as f64 / row.queries as f64];
        let kinds = settings.iter().map(|&of| {
            let pairs =
                || pairing.pairs.iter().filter(|(place, _)| setting(&one.values[*place]) == of);
            let first = pairs().map(|(place, _)| value(&one.values[*place])).collect();
            let second = pairs().map(|(_, its)| value(&other.values[*its])).collect();
            let (ways, shots) = of;
            // As the results name it.
            let name = format!("accuracy_{ways}way_{shots}shot");
            let named = [self.first, self.second].iter().any(|of| of.metrics.contains_key(&name));
            UnitKind {
                over: rows_are,
                metrics: vec![if named { name } else { "accuracy".to_owned() }],
                figures: Box::new(PairedMeans::new(first, second)),
                always: true,
            }
        });
        let kinds = kinds.collect();
        Ok(Units { rows_are, pairing, kinds })
    }

    fn pictures(&self, one: &RowTable<PictureRow>, other: &RowTable<PictureRow>) -> Result<Units> {
        let rows_are = ("picture", "pictures");
        let key = |table: &RowTable<PictureRow>, row: &PictureRow| {
            format!("seed {}: {}", row.seed, table.pictures[row.picture])
        };
        let same = |a: &PictureRow, b: &PictureRow| truths(a) == truths(b);
        let pairing = self.pair([one, other], rows_are, key, same)?;
        let seeds: BTreeSet<u64> =
            pairing.pairs.iter().map(|(place, _)| one.values[*place].seed).collect();
        let groups: BTreeMap<u64, usize> = seeds.into_iter().zip(0..).collect();
        // A unit is a picture by all seeds.
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut units: [Vec<Vec<Added>>; 2] = [Vec::new(), Vec::new()];
        for &(place, its) in &pairing.pairs {
            let rows = [&one.values[place], &other.values[its]];
            let name = one.pictures[rows[0].picture].as_str();
            let next = places.len();
            let unit = *places.entry(name).or_insert(next);
            for (units, row) in units.iter_mut().zip(rows) {
                units.resize_with(units.len().max(unit + 1), Vec::new);
                let group = groups[&row.seed];
                let of = row.classes.iter().zip(&row.counts);
                units[unit].extend(of.map(|(&class, &counts)| (group, class, counts)));
            }
        }
        let known = self.in_both(&OF_PICTURES);
        let figures = CountedFigures {
            strata: vec![places.len()],
            groups: self.bounded(groups.len(), one.classes.len())?,
            classes: one.classes.len(),
            figures: known.iter().map(|(_, of)| *of).collect(),
            units,
        };
        let mut kinds = Vec::new();
        if groups.len() > 1 {
            let [first, second] = [Side::First, Side::Second].map(|side| figures.by_group(side));
            kinds.push(kind(("seed", "seeds"), &known, Box::new(PairedMeans::new(first, second))));
        }
        kinds.push(kind(rows_are, &known, Box::new(figures)));
        Ok(Units { rows_are, pairing, kinds })
    }

    fn queries(&self, one: &RowTable<QueryRow>, other: &RowTable<QueryRow>) -> Result<Units> {
        let rows_are = ("query", "queries");
        let key = |table: &RowTable<QueryRow>, row: &QueryRow| {
            format!(
                "run {}, {}: {}",
                row.run, table.classes[row.class], table.pictures[row.picture]
            )
        };
        let same = |a: &QueryRow, b: &QueryRow| a.present == b.present;
        let mut pairing = self.pair([one, other], rows_are, key, same)?;
        let stratum = |place: usize| (one.values[place].run, !one.values[place].present);
        pairing.pairs.sort_by_key(|(place, _)| stratum(*place));
        let runs: BTreeSet<usize> =
            pairing.pairs.iter().map(|(place, _)| one.values[*place].run).collect();
        let runs: BTreeMap<usize, usize> = runs.into_iter().zip(0..).collect();
        let of_stratum = pairing.pairs.chunk_by(|a, b| stratum(a.0) == stratum(b.0));
        let figures = QueryFigures {
            strata: of_stratum.map(<[_]>::len).collect(),
            units: pairing
                .pairs
                .iter()
                .map(|&(place, its)| {
                    let (row, its) = (&one.values[place], &other.values[its]);
                    (runs[&row.run], row.class, [record(row), record(its)])
                })
                .collect(),
            runs: runs.len(),
        };
        let metrics = || METRICS.map(str::to_owned).to_vec();
        let mut kinds = Vec::new();
        if runs.len() > 1 {
            let [first, second] =
                [Side::First, Side::Second].map(|side| figures.by_run(&figures.all(side)));
            let means = Box::new(PairedMeans::new(first, second));
            kinds.push(UnitKind {
                over: ("run", "runs"),
                metrics: metrics(),
                figures: means,
                always: false,
            });
        }
        let figures = Box::new(figures);
        kinds.push(UnitKind { over: rows_are, metrics: metrics(), figures, always: false });
        Ok(Units { rows_are, pairing, kinds })
    }

    /// The number of groups, unless there are so many that no evaluation gave them.
    fn bounded(&self, groups: usize, classes: usize) -> Result<usize> {
        if groups.saturating_mul(classes) <= MOST_SUMS {
            return Ok(groups);
        }
        Err(self.unlike(format!("{groups} runs or seeds of {classes} classes are too many")))
    }
}

fn kind(
    over: (&'static str, &'static str),
    known: &[(&'static str, OfCounts)],
    figures: Box<dyn PairedFigures>,
) -> UnitKind {
    let metrics = known.iter().map(|(name, _)| (*name).to_owned()).collect();
    UnitKind { over, metrics, figures, always: false }
}

/// Pixels of the class.
fn truth([hits, _, missed]: &Counts) -> u64 {
    hits.saturating_add(*missed)
}

/// Pixels of each class that is there.
fn truths(row: &PictureRow) -> BTreeMap<usize, u64> {
    let of = row.classes.iter().copied().zip(row.counts.iter().map(truth));
    of.filter(|(_, pixels)| *pixels > 0).collect()
}

fn other_classes(one: &[String], other: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        let only: Vec<&String> = these.iter().filter(|name| !those.contains(name)).collect();
        if only.is_empty() { "none".to_owned() } else { listed(&only, NAMED) }
    };
    format!(
        "their classes differ, in names or order (only in the first: {}; only in the second: {})",
        only(one, other),
        only(other, one)
    )
}
