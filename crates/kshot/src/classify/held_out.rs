//! What heads say of examples that they were not fitted to.
//!
//! One example of each class is left out at a time and everything is fitted anew without it: the head, the centre of all
//! vectors, the weights of the classes. Leaving out a single one would leave its class smaller than the others, which
//! lets every head lean away from it, and a centre that has seen it tells where it lies.

use rayon::prelude::*;

use crate::classify::LabelledVectors;
use crate::classify::heads::ClassificationMethod;
use crate::error::Result;

/// Groups that examples are held out in at most, by how many examples there are: fits take the cube of these.
const FOLDS: [(usize, usize); 3] = [(200, 10), (600, 5), (usize::MAX, 3)];

/// The fold in which each example is held out; `None` for one that is alone in its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleFolds {
    /// By example.
    pub of: Vec<Option<usize>>,
    /// How many there are.
    pub count: usize,
}

impl ExampleFolds {
    /// The n-th example of each class goes to the n-th fold.
    pub fn new(examples: &LabelledVectors) -> Self {
        let counts = examples.counts();
        let labelled = examples.labels.len();
        let most = FOLDS.iter().find(|(up_to, _)| labelled <= *up_to).map_or(3, |(_, most)| *most);
        let mut met = vec![0; counts.len()];
        let fold = |&class: &usize| {
            met[class] += 1;
            (counts[class] > 1).then(|| (met[class] - 1) % most)
        };
        let of: Vec<Option<usize>> = examples.labels.iter().map(fold).collect();
        let count = of.iter().flatten().max().map_or(0, |last| last + 1);
        Self { of, count }
    }

    /// The examples of a fold, or all others.
    fn examples(&self, fold: usize, inside: bool) -> Vec<usize> {
        let all = 0..self.of.len();
        all.filter(|&example| (self.of[example] == Some(fold)) == inside).collect()
    }
}

/// Scores of labelled vectors by heads that were not fitted to them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldOutScores {
    /// Which examples, ascending.
    pub examples: Vec<usize>,
    /// Their scores, a row an example.
    pub scores: Vec<Vec<f32>>,
}

/// By penalty of the method, the scores of all examples that are held out in one of the folds.
///
/// # Errors
/// If the examples cannot be fitted.
pub fn scores(
    method: &dyn ClassificationMethod,
    examples: &LabelledVectors,
    folds: &ExampleFolds,
) -> Result<Vec<HeldOutScores>> {
    let penalties = method.penalties();
    let judge = |fold: usize| {
        let outside = folds.examples(fold, true);
        let heads = method.fit(&examples.only(&folds.examples(fold, false)), penalties)?;
        let scores = heads.iter().map(|head| {
            let row = |&at: &usize| (at, head.scores(&examples.vectors[at]));
            outside.iter().map(row).collect::<Vec<_>>()
        });
        Ok(scores.collect::<Vec<_>>())
    };
    let judged: Vec<_> = (0..folds.count).into_par_iter().map(judge).collect::<Result<_>>()?;
    let of_penalty = |penalty: usize| {
        let mut rows: Vec<_> = judged.iter().flat_map(|fold| fold[penalty].clone()).collect();
        rows.sort_by_key(|(example, _)| *example);
        let (examples, scores) = rows.into_iter().unzip();
        HeldOutScores { examples, scores }
    };
    Ok((0..penalties.len()).map(of_penalty).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads;
    use crate::classify::tests::clusters;

    #[test]
    fn one_of_each_class_is_left_out_and_a_lone_one_never() {
        let mut examples = clusters(3, 4, 8, 0.5, 1);
        examples.vectors.truncate(9);
        examples.labels.truncate(9);
        let folds = ExampleFolds::new(&examples);
        assert_eq!(folds.count, 4);
        let of: Vec<Option<usize>> = (0..4).chain(0..4).map(Some).chain([None]).collect();
        assert_eq!(folds.of, of);
        let many = clusters(10, 90, 4, 0.5, 1);
        assert_eq!(ExampleFolds::new(&many).count, 3);
    }

    #[test]
    fn what_is_held_out_has_no_part_in_the_fit() {
        let examples = clusters(3, 4, 16, 0.6, 7);
        let folds = ExampleFolds::new(&examples);
        for method in heads::methods() {
            let before = scores(method.as_ref(), &examples, &folds).unwrap();
            // Another vector in its place changes no score of the others in its fold.
            let mut changed = examples.clone();
            changed.vectors[0] = examples.vectors[11].iter().map(|value| -value).collect();
            let after = scores(method.as_ref(), &changed, &folds).unwrap();
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before.examples, (0..12).collect::<Vec<_>>());
                for other in [4, 8] {
                    assert_eq!(before.scores[other], after.scores[other], "{}", method.name());
                }
            }
        }
    }
}
