//! How similar to the classes pictures of other classes seem, from the labelled ones alone.
//!
//! Some classes are left out altogether and everything is fitted to the others: the examples of the former are then
//! pictures of none of these, of the kind that is hardest to tell.

use rayon::prelude::*;

use crate::classify::LabelledVectors;
use crate::classify::calibrate::probabilities;
use crate::classify::heads::{ClassificationMethod, dot};
use crate::classify::reject::familiarity;
use crate::error::Result;

/// Groups that classes are left out in.
const GROUPS: usize = 5;
/// Classes that have to stay: one alone says nothing by its probability.
const STAY: usize = 2;

/// The similarity ([`familiarity`]) of examples of left-out classes, ascending; none of fewer than three classes.
///
/// # Errors
/// If the examples cannot be fitted.
pub fn similarities(
    method: &dyn ClassificationMethod,
    penalty: f64,
    examples: &LabelledVectors,
    temperature: f32,
) -> Result<Vec<f32>> {
    let classes = examples.classes.len();
    if classes <= STAY {
        return Ok(Vec::new());
    }
    let groups = GROUPS.min(classes);
    let of_group = |group: usize| -> Result<Vec<f32>> {
        let known: Vec<usize> = (0..classes).filter(|class| class % groups != group).collect();
        let place = |class: usize| known.iter().position(|of| *of == class);
        let mut fitted = LabelledVectors {
            classes: known.iter().map(|&class| examples.classes[class].clone()).collect(),
            ..LabelledVectors::default()
        };
        let mut outside = Vec::new();
        for (vector, &label) in examples.vectors.iter().zip(&examples.labels) {
            match place(label) {
                Some(label) => {
                    fitted.vectors.push(vector.clone());
                    fitted.labels.push(label);
                }
                None => outside.push(vector),
            }
        }
        let heads = method.fit(&fitted, &[penalty])?;
        let similarity = |vector: &Vec<f32>| {
            let scores = heads[0].scores(vector);
            let likeliest = probabilities(&scores, temperature).into_iter().fold(0.0f32, f32::max);
            let cosines = fitted.vectors.iter().map(|other| dot(other, vector));
            familiarity(cosines.fold(f32::NEG_INFINITY, f32::max), likeliest, known.len())
        };
        Ok(outside.into_iter().map(similarity).collect())
    };
    let all: Vec<Vec<f32>> = (0..groups).into_par_iter().map(of_group).collect::<Result<_>>()?;
    let mut all = all.concat();
    all.sort_by(f32::total_cmp);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads;
    use crate::classify::tests::clusters;

    #[test]
    fn each_example_is_a_stranger_once_and_two_classes_tell_nothing() {
        let examples = clusters(7, 3, 32, 0.5, 4);
        for method in heads::methods() {
            let penalty = method.usual_penalty();
            let all = similarities(method.as_ref(), penalty, &examples, 0.1).unwrap();
            assert_eq!(all.len(), 21);
            assert!(all.is_sorted());
            let few = clusters(2, 3, 32, 0.5, 4);
            assert!(similarities(method.as_ref(), penalty, &few, 0.1).unwrap().is_empty());
        }
    }
}
