//! Figures of queries: shares and rankings of those that are drawn.

use crate::eval::presence::{METRICS, PresenceRecord, figures};
use crate::eval::rows::QueryRow;
use crate::metric::paired::{DrawnUnit, PairedFigures, Side};

/// Figures of presence, the mean over runs.
pub(super) struct QueryFigures {
    /// Queries of a run with the class, then without it, then of the next run.
    pub(super) strata: Vec<usize>,
    /// In the strata's order: the run's place, the class, and what the first and the second result say.
    pub(super) units: Vec<(usize, usize, [PresenceRecord; 2])>,
    pub(super) runs: usize,
}

/// A row as the evaluation noted it.
pub(super) fn record(row: &QueryRow) -> PresenceRecord {
    PresenceRecord {
        picture: row.picture,
        present: row.present,
        empty: row.empty,
        presence: f64::from(row.presence),
    }
}

impl QueryFigures {
    /// The figures of each run.
    pub(super) fn by_run(&self, drawn: &[DrawnUnit]) -> Vec<Vec<f64>> {
        let mut runs: Vec<Vec<(usize, PresenceRecord)>> = vec![Vec::new(); self.runs];
        for &DrawnUnit { unit, side } in drawn {
            let (run, class, [first, second]) = self.units[unit];
            runs[run].push((class, if side == Side::First { first } else { second }));
        }
        runs.iter_mut()
            .map(|run| {
                run.sort_by_key(|(class, _)| *class);
                let by_class: Vec<Vec<PresenceRecord>> = run
                    .chunk_by(|one, other| one.0 == other.0)
                    .map(|of| of.iter().map(|(_, record)| *record).collect())
                    .collect();
                figures(by_class.iter().map(Vec::as_slice)).to_vec()
            })
            .collect()
    }

    /// All units of a result.
    pub(super) fn all(&self, side: Side) -> Vec<DrawnUnit> {
        (0..self.units.len()).map(|unit| DrawnUnit { unit, side }).collect()
    }
}

impl PairedFigures for QueryFigures {
    fn strata(&self) -> &[usize] {
        &self.strata
    }

    fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64> {
        let runs = self.by_run(drawn);
        let mean = |place: usize| runs.iter().map(|of| of[place]).sum::<f64>() / runs.len() as f64;
        (0..METRICS.len()).map(mean).collect()
    }
}
