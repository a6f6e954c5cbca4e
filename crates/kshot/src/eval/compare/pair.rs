//! Which rows of two results are the same episode, picture or query.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use crate::names::{counted, listed};

/// Rows that are named where they do not pair.
const NAMED: usize = 3;

/// Rows of two results by their keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    /// Places of the rows that both have, in the first result's order.
    pub(super) pairs: Vec<(usize, usize)>,
    /// The keys that only one has.
    pub(super) only: [Vec<String>; 2],
}

/// Pairs rows of equal keys. A key that occurs several times is told apart by which time it is.
pub(super) fn pair<K: Hash + Eq + Clone + Display>(first: &[K], second: &[K]) -> Pairing {
    let [first, second] = [first, second].map(numbered);
    let places: HashMap<&(K, usize), usize> =
        second.iter().enumerate().map(|(place, key)| (key, place)).collect();
    let known: HashSet<&(K, usize)> = first.iter().collect();
    let named = |key: &(K, usize)| key.0.to_string();
    Pairing {
        pairs: first
            .iter()
            .enumerate()
            .filter_map(|(place, key)| Some((place, *places.get(key)?)))
            .collect(),
        only: [
            first.iter().filter(|key| !places.contains_key(key)).map(named).collect(),
            second.iter().filter(|key| !known.contains(key)).map(named).collect(),
        ],
    }
}

fn numbered<K: Hash + Eq + Clone>(keys: &[K]) -> Vec<(K, usize)> {
    let mut times: HashMap<&K, usize> = HashMap::new();
    keys.iter()
        .map(|key| {
            let time = times.entry(key).or_default();
            *time += 1;
            (key.clone(), *time)
        })
        .collect()
}

impl Pairing {
    /// What to mind where not all rows pair.
    pub(super) fn warning(&self, (one, many): (&str, &str), letters: [char; 2]) -> Option<String> {
        if self.only.iter().all(Vec::is_empty) {
            return None;
        }
        let missing = |place: usize| {
            let names = &self.only[place];
            let shown = listed(names, NAMED);
            (!names.is_empty()).then(|| {
                format!("{} only in {} ({shown})", counted(names.len(), one, many), letters[place])
            })
        };
        let missing: Vec<String> = [0, 1].into_iter().filter_map(missing).collect();
        let [first, second] = letters;
        Some(format!(
            "{} in both {first} and {second}; {}: the figures are of those in both",
            counted(self.pairs.len(), one, many),
            missing.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_pair_by_their_keys_in_any_order() {
        let pairing = pair(&["a", "b", "b", "c"], &["c", "b", "d", "e", "b"]);
        assert_eq!(pairing.pairs, [(1, 1), (2, 4), (3, 0)]);
        assert_eq!(pairing.only, [vec!["a".to_owned()], vec!["d".to_owned(), "e".to_owned()]]);
        let words = pairing.warning(("episode", "episodes"), ['A', 'C']).unwrap();
        assert_eq!(
            words,
            "3 episodes in both A and C; 1 episode only in A (a), 2 episodes only in C (d, e): the figures are of \
             those in both"
        );
        assert_eq!(pair(&["a"], &["a"]).warning(("x", "xs"), ['A', 'B']), None);
    }
}
