//! Two results on the same units (episodes, pictures, draws of labels), compared unit by unit.
//!
//! - The interval is a percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter
//!   13): units are drawn with replacement, both results with the same draw, and the difference is taken anew.
//! - The p-value is of a permutation test (Fisher, *The Design of Experiments*, 1935, section 21; Good, *Permutation,
//!   Parametric and Bootstrap Tests of Hypotheses*, 2005): if the results were alike, each unit could as well have
//!   come from the other one. Of means that is a flip of the sign of the unit's difference. Up to 13 units all
//!   changes are taken; else random ones, the observed one among them (Phipson and Smyth, 2010, doi
//!   10.2202/1544-6115.1585), so that no p is 0.
//!
//! Figures need not be means: an IoU over all pixels is computed anew from the counts of the units that were drawn.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// Resamples of the bootstrap, and random changes of the permutation test.
pub const RESAMPLES: usize = 10_000;
/// Up to so many units all changes are taken: 2 to the power of 13 are fewer than [`RESAMPLES`].
const ALL_CHANGES: usize = 13;
/// Differences that differ by less are equal: what the order of a sum makes.
const EQUAL: f64 = 1e-12;

/// Which of the two results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that is compared with.
    First,
    /// The one that is compared.
    Second,
}

/// A unit as one of the results has it.
#[derive(Debug, Clone, Copy)]
pub struct DrawnUnit {
    /// Its place, 0 to the number of units.
    pub unit: usize,
    /// Whose it is.
    pub side: Side,
}

/// Figures that are computed from units.
pub trait PairedFigures: Sync {
    /// How many units each stratum holds, one stratum after the other; units are drawn within their stratum.
    fn strata(&self) -> &[usize];

    /// The figures of some units, one for each metric.
    fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64>;
}

/// How a figure of the second result differs from that of the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The figure of the first result.
    pub first: f64,
    /// The figure of the second.
    pub second: f64,
    /// The second minus the first.
    pub difference: f64,
    /// Bounds of the difference's 95 % interval; `None` of a single unit.
    pub interval: Option<[f64; 2]>,
    /// The share of resamples in which the second result's figure is the larger one.
    pub above_zero: Option<f64>,
    /// Two-sided p-value of the permutation test.
    pub p: Option<f64>,
    /// How many units.
    pub n: usize,
}

/// Compares two results, figure by figure; `seed` decides the draws, and the number of threads does not matter.
pub fn compare(of: &dyn PairedFigures, seed: u64) -> Vec<Difference> {
    let n: usize = of.strata().iter().sum();
    let all = |side| -> Vec<DrawnUnit> { (0..n).map(|unit| DrawnUnit { unit, side }).collect() };
    let (first, second) = (of.figures(&all(Side::First)), of.figures(&all(Side::Second)));
    let resampled = if n > 1 { bootstrap(of, seed) } else { Vec::new() };
    let changed = if n > 1 { permutations(of, n, seed) } else { Vec::new() };
    let figure = |place: usize| {
        let (first, second) = (first[place], second[place]);
        let difference = second - first;
        let mut values: Vec<f64> = resampled.iter().map(|of| of[place]).collect();
        values.sort_by(f64::total_cmp);
        let known = !values.is_empty();
        let above = values.iter().filter(|value| **value > 0.0).count() as f64;
        Difference {
            first,
            second,
            difference,
            interval: known.then(|| [quantile(&values, 0.025), quantile(&values, 0.975)]),
            above_zero: known.then(|| above / values.len() as f64),
            p: known.then(|| p_value(difference, changed.iter().map(|of| of[place]), n)),
            n,
        }
    };
    (0..first.len()).map(figure).collect()
}

/// The differences of the figures of resampled units.
fn bootstrap(of: &dyn PairedFigures, seed: u64) -> Vec<Vec<f64>> {
    let resample = |number: u64| {
        let mut random = stream(seed, 2 * number);
        let mut places: Vec<usize> = Vec::new();
        let mut start = 0;
        for &size in of.strata() {
            places.extend((0..size).map(|_| start + random.random_range(0..size)));
            start += size;
        }
        let drawn = |side| -> Vec<DrawnUnit> {
            places.iter().map(|&unit| DrawnUnit { unit, side }).collect()
        };
        minus(&of.figures(&drawn(Side::Second)), &of.figures(&drawn(Side::First)))
    };
    (0..RESAMPLES as u64).into_par_iter().map(resample).collect()
}

/// The differences of the figures where some units changed sides.
fn permutations(of: &dyn PairedFigures, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let differ = |changed: &[bool]| {
        let drawn = |one: Side, other: Side| -> Vec<DrawnUnit> {
            let side = |changed| if changed { other } else { one };
            changed
                .iter()
                .enumerate()
                .map(|(unit, &changed)| DrawnUnit { unit, side: side(changed) })
                .collect()
        };
        let [first, second] = [(Side::First, Side::Second), (Side::Second, Side::First)]
            .map(|(one, other)| of.figures(&drawn(one, other)));
        minus(&second, &first)
    };
    if n <= ALL_CHANGES {
        let bits =
            |number: usize| -> Vec<bool> { (0..n).map(|bit| number >> bit & 1 == 1).collect() };
        return (0..1usize << n).into_par_iter().map(|number| differ(&bits(number))).collect();
    }
    let random = |number: u64| {
        let mut random = stream(seed, 2 * number + 1);
        differ(&(0..n).map(|_| random.random()).collect::<Vec<bool>>())
    };
    (0..RESAMPLES as u64).into_par_iter().map(random).collect()
}

/// The generator of one resample.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(number);
    random
}

fn minus(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

/// How often a difference at least as large comes about by changes of sides.
fn p_value(observed: f64, changed: impl Iterator<Item = f64>, n: usize) -> f64 {
    let (mut large, mut all) = (0usize, 0usize);
    for difference in changed {
        large += usize::from(difference.abs() >= observed.abs() - EQUAL);
        all += 1;
    }
    // The observed one is among all of them, but not among random ones.
    let observed = usize::from(n > ALL_CHANGES);
    (large + observed) as f64 / (all + observed) as f64
}

/// A quantile of sorted values, between two of them linearly (as `numpy.percentile`).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// Figures that are means over the units.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedMeans {
    strata: [usize; 1],
    /// By unit, a value for each metric.
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
}

impl PairedMeans {
    /// Of the values of each unit in both results, in the same order.
    ///
    /// # Panics
    /// If one has more units, or there is none.
    pub fn new(first: Vec<Vec<f64>>, second: Vec<Vec<f64>>) -> Self {
        assert!(first.len() == second.len() && !first.is_empty(), "pairs of values");
        Self { strata: [first.len()], first, second }
    }
}

impl PairedFigures for PairedMeans {
    fn strata(&self) -> &[usize] {
        &self.strata
    }

    fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64> {
        let mut sums = vec![0.0; self.first[0].len()];
        for &DrawnUnit { unit, side } in drawn {
            let values = match side {
                Side::First => &self.first[unit],
                Side::Second => &self.second[unit],
            };
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        sums.into_iter().map(|sum| sum / drawn.len().max(1) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(first: &[f64], second: &[f64], seed: u64) -> Difference {
        let units = |values: &[f64]| values.iter().map(|value| vec![*value]).collect();
        compare(&PairedMeans::new(units(first), units(second)), seed)[0]
    }

    #[test]
    fn a_single_pair_has_a_difference_and_no_interval() {
        let one = of(&[0.25], &[0.75], 0);
        assert_eq!((one.difference, one.interval, one.p, one.n), (0.5, None, None, 1));
    }

    #[test]
    fn two_pairs_by_hand() {
        // Sign flips of 1 and 3: means of 2, 1, -1 and -2; as large as 2 are two of four.
        let two = of(&[0.0, 0.0], &[1.0, 3.0], 0);
        assert_eq!((two.difference, two.p), (2.0, Some(0.5)));
        // Resampled means are 1, 2 and 3.
        assert_eq!(two.interval, Some([1.0, 3.0]));
        assert_eq!(two.above_zero, Some(1.0));
    }

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
        // As NumPy has them (golden/make_compare.py).
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../golden/compare.json")).unwrap();
        let of = |name: &str| -> Vec<f64> {
            serde_json::from_value(golden["percentiles"][name].clone()).unwrap()
        };
        let mut values = of("values");
        values.sort_by(f64::total_cmp);
        for (share, expected) in [0.025, 0.975].into_iter().zip(of("interval")) {
            assert!((quantile(&values, share) - expected).abs() < 1e-12);
        }
    }

    /// Two strata of which each is all ones or all twos in the second result.
    struct Strata;

    impl PairedFigures for Strata {
        fn strata(&self) -> &[usize] {
            &[3, 2]
        }

        fn figures(&self, drawn: &[DrawnUnit]) -> Vec<f64> {
            let value = |of: &DrawnUnit| match (of.side, of.unit) {
                (Side::First, _) => 0.0,
                (Side::Second, unit) => {
                    if unit < 3 {
                        1.0
                    } else {
                        2.0
                    }
                }
            };
            vec![drawn.iter().map(value).sum()]
        }
    }

    #[test]
    fn units_are_drawn_within_their_stratum() {
        let of = compare(&Strata, 0)[0];
        assert_eq!(of.interval, Some([7.0, 7.0]), "three ones and two twos in every resample");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn changing_sides_turns_the_difference_round(
            pairs in prop::collection::vec((0.0..1.0f64, 0.0..1.0f64), 2..20), seed in 0..9u64,
        ) {
            let (first, second): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let (one, other) = (of(&first, &second, seed), of(&second, &first, seed));
            prop_assert!((one.difference + other.difference).abs() < 1e-12);
            let ([low, high], [other_low, other_high]) = (one.interval.unwrap(), other.interval.unwrap());
            prop_assert!((low + other_high).abs() < 1e-9 && (high + other_low).abs() < 1e-9);
            prop_assert!(low <= high && (0.0..=1.0).contains(&one.above_zero.unwrap()));
            let (p, other_p) = (one.p.unwrap(), other.p.unwrap());
            prop_assert!(p > 0.0 && p <= 1.0 && (p - other_p).abs() < 1e-12);
            // A constant added to both changes nothing, and the same seed gives the same.
            let moved: Vec<Vec<f64>> =
                [&first, &second].map(|of| of.iter().map(|value| value + 0.5).collect()).into();
            let moved = of(&moved[0], &moved[1], seed);
            prop_assert!((moved.interval.unwrap()[0] - low).abs() < 1e-9);
            prop_assert_eq!(of(&first, &second, seed), one);
        }

        #[test]
        fn a_result_compared_with_itself_does_not_differ(
            values in prop::collection::vec(0.0..1.0f64, 2..30),
        ) {
            let same = of(&values, &values, 3);
            prop_assert_eq!((same.difference, same.p), (0.0, Some(1.0)));
            prop_assert_eq!(same.interval, Some([0.0, 0.0]));
        }
    }
}
