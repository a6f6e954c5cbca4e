//! Recognition of whole pictures from a few pictures a class: frozen features, a head fitted in closed
//! form or nearly so, calibrated probabilities, and "none of these".
//!
//! ```text
//! pictures -> embed -> LabelledVectors -> Recogniser::fit (heads, choose, calibrate, reject)
//! picture  -> embed -> Recogniser::recognise -> Recognition
//! ```
//! [`folder`] and [`vectors`] do this for a folder of pictures; [`model_file`] keeps the examples in a file.

pub mod by_episode;
pub mod calibrate;
pub mod choose;
pub(crate) mod copies;
pub mod folder;
pub mod heads;
pub mod held_out;
pub mod judge;
pub mod links;
mod model_checksum;
pub mod model_file;
pub mod moved;
pub mod out_of_distribution;
pub mod reject;
pub mod sort;
mod truths;
pub mod vectors;

use choose::{ExpectedAccuracy, Trial};
use heads::{ClassificationHead, ClassificationMethod, dot};
use reject::{Keep, Rejection};

use crate::error::{Error, Result};

/// Labelled vectors of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelledVectors {
    /// The classes' names.
    pub classes: Vec<String>,
    /// The vectors, of length 1.
    pub vectors: Vec<Vec<f32>>,
    /// The class of each.
    pub labels: Vec<usize>,
}

impl LabelledVectors {
    /// How many each class has.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&label| counts[label] += 1);
        counts
    }

    /// Numbers a vector; 0 without vectors.
    pub fn dimensions(&self) -> usize {
        self.vectors.first().map_or(0, Vec::len)
    }

    /// By example: weights that sum to 1 and give every class that has examples the same part.
    pub fn weights(&self) -> Vec<f32> {
        let counts = self.counts();
        let present = counts.iter().filter(|count| **count > 0).count();
        self.labels.iter().map(|&label| 1.0 / (present * counts[label]) as f32).collect()
    }

    /// Only these, of the same classes.
    #[must_use]
    pub fn only(&self, indices: &[usize]) -> Self {
        Self {
            classes: self.classes.clone(),
            vectors: indices.iter().map(|&index| self.vectors[index].clone()).collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    /// All but one.
    #[must_use]
    pub fn without(&self, left_out: usize) -> Self {
        let kept: Vec<usize> = (0..self.labels.len()).filter(|&index| index != left_out).collect();
        self.only(&kept)
    }
}

/// What was chosen on the examples, and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ClassificationChoice {
    /// The method taken.
    pub method: String,
    /// One sentence for a person.
    pub reason: String,
    /// Every method tried, best first; without figures where nothing could be held out.
    pub trials: Vec<Trial>,
    /// What to expect of new pictures of the classes; absent where nothing could be held out.
    pub expected: Option<ExpectedAccuracy>,
    /// What scores are divided by.
    pub temperature: f32,
    /// What it takes to be accepted.
    pub rejection: Rejection,
}

/// A fitted recogniser.
pub struct Recogniser {
    head: Box<dyn ClassificationHead>,
    examples: LabelledVectors,
    choice: ClassificationChoice,
}

/// What a picture seems to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    /// All classes with their probabilities (which sum to 1), likeliest first.
    pub ranking: Vec<(usize, f32)>,
    /// Its similarity to the examples, -1 to 2 (see [`reject::familiarity`]); comparable within one
    /// recogniser.
    pub familiarity: f32,
    /// Whether it is similar enough to be one of the classes; out of distribution otherwise.
    pub accepted: bool,
    /// The example of the likeliest class that is most like it, and their cosine.
    pub nearest: (usize, f32),
}

impl Recognition {
    /// The likeliest class.
    pub fn class(&self) -> usize {
        self.ranking[0].0
    }

    /// Its probability, 0 to 1, should the picture show one of the classes.
    pub fn probability(&self) -> f32 {
        self.ranking[0].1
    }
}

impl Recogniser {
    /// Fits to examples, with the best of the methods on held-out ones.
    ///
    /// # Errors
    /// If there is no example or no method, a class has no example, or there is a single class and
    /// nothing is to be rejected.
    pub fn fit(
        examples: LabelledVectors,
        methods: &[Box<dyn ClassificationMethod>],
        keep: Keep,
    ) -> Result<Self> {
        if examples.labels.is_empty() {
            return Err(Error::data("there is no labelled picture; give at least one a class"));
        }
        let counts = examples.counts();
        if let Some(empty) = counts.iter().position(|count| *count == 0) {
            return Err(Error::data(format!(
                "the class {} has no picture; give it one, or drop the class",
                examples.classes[empty]
            )));
        }
        if counts.len() == 1 && keep == Keep::All {
            return Err(Error::config(format!(
                "with {} as the only class and nothing rejected, every picture would be one; add a \
                 class, or let out-of-distribution pictures be rejected",
                examples.classes[0]
            )));
        }
        let chosen = choose::best(&examples, methods)?;
        let rejection = Rejection::fit(&examples, &chosen.held_out, chosen.temperature, keep)
            .with_out_of_distribution(chosen.out_of_distribution);
        let choice = ClassificationChoice {
            method: chosen.trials[0].method.clone(),
            reason: chosen.reason,
            trials: chosen.trials,
            expected: chosen.expected,
            temperature: chosen.temperature,
            rejection,
        };
        Ok(Self { head: chosen.head, examples, choice })
    }

    /// What it was fitted to.
    pub fn examples(&self) -> &LabelledVectors {
        &self.examples
    }

    /// What was chosen on the examples, and why.
    pub fn choice(&self) -> &ClassificationChoice {
        &self.choice
    }

    /// What a picture with this vector seems to show.
    pub fn recognise(&self, vector: &[f32]) -> Recognition {
        let scores = self.head.scores(vector);
        let probabilities = calibrate::probabilities(&scores, self.choice.temperature);
        let mut ranking: Vec<(usize, f32)> = probabilities.into_iter().enumerate().collect();
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let cosines: Vec<f32> =
            self.examples.vectors.iter().map(|other| dot(other, vector)).collect();
        let of_class = |class: usize| {
            (0..cosines.len())
                .filter(|&index| self.examples.labels[index] == class)
                .max_by(|&a, &b| cosines[a].total_cmp(&cosines[b]))
                .unwrap_or(0)
        };
        let nearest = of_class(ranking[0].0);
        let most = cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let familiarity = reject::familiarity(most, ranking[0].1, ranking.len());
        Recognition {
            accepted: self.choice.rejection.accepts(familiarity),
            familiarity,
            nearest: (nearest, cosines[nearest]),
            ranking,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    /// Random clusters of vectors of length 1: `spread` is how far examples lie from their class's
    /// middle, which has length 1.
    pub(crate) fn clusters(
        classes: usize,
        shots: usize,
        dimensions: usize,
        spread: f32,
        seed: u64,
    ) -> LabelledVectors {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut direction = || {
            let mut vector: Vec<f32> =
                (0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect();
            crate::features::embed::normalise(&mut vector);
            vector
        };
        let mut examples = LabelledVectors::default();
        for class in 0..classes {
            examples.classes.push(format!("class {class}"));
            let middle = direction();
            for _ in 0..shots {
                let away = direction();
                let mut vector: Vec<f32> =
                    middle.iter().zip(away).map(|(m, a)| m + spread * a).collect();
                crate::features::embed::normalise(&mut vector);
                examples.vectors.push(vector);
                examples.labels.push(class);
            }
        }
        examples
    }

    #[test]
    fn clusters_are_told_apart_and_outliers_rejected_by_every_method() {
        let all = clusters(4, 6, 64, 0.6, 11);
        let out_of_distribution = clusters(6, 2, 64, 0.6, 99);
        for method in heads::methods() {
            let name = method.name();
            let shown: Vec<usize> = (0..24).filter(|index| index % 6 < 5).collect();
            let recogniser =
                Recogniser::fit(all.only(&shown), &[method], Keep::Share(0.95)).unwrap();
            for index in (0..24).filter(|index| index % 6 == 5) {
                let found = recogniser.recognise(&all.vectors[index]);
                assert_eq!(found.class(), all.labels[index], "{name}");
                let sum: f32 = found.ranking.iter().map(|(_, probability)| probability).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{name}");
                assert_eq!(recogniser.examples().labels[found.nearest.0], found.class(), "{name}");
            }
            let accepted = out_of_distribution
                .vectors
                .iter()
                .filter(|v| recogniser.recognise(v).accepted)
                .count();
            assert!(accepted <= 1, "{name} accepts {accepted} of 12 out of distribution");
        }
    }

    #[test]
    fn one_example_a_class_is_enough() {
        let examples = clusters(5, 1, 32, 0.0, 2);
        let recogniser = Recogniser::fit(examples.clone(), &heads::methods(), Keep::Auto).unwrap();
        assert!(recogniser.choice().reason.contains("one picture a class"));
        for (vector, &label) in examples.vectors.iter().zip(&examples.labels) {
            assert_eq!(recogniser.recognise(vector).class(), label);
        }
    }

    #[test]
    fn the_impossible_is_refused() {
        let fit = |examples, keep| match Recogniser::fit(examples, &heads::methods(), keep) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert!(fit(LabelledVectors::default(), Keep::Auto).contains("no labelled picture"));
        let one = clusters(1, 3, 8, 0.1, 1);
        assert!(fit(one.clone(), Keep::All).contains("only class"));
        assert_eq!(fit(one, Keep::Share(0.9)), "");
        let mut empty = clusters(2, 2, 8, 0.1, 1);
        empty.classes.push("nothing".into());
        assert!(fit(empty, Keep::Auto).contains("class nothing has no picture"));
    }
}
