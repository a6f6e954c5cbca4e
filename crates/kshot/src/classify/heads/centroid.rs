//! `prototype` and `simple-shot`: the class whose mean vector points the same way.
//!
//! - Snell et al., *Prototypical Networks for Few-shot Learning*, 2017,
//!   <https://arxiv.org/abs/1703.05175> (there the squared distance; on vectors of length 1 the cosine
//!   ranks nearly alike, and the means are brought to length 1 here)
//! - Wang et al., *SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning*, 2019,
//!   <https://arxiv.org/abs/1911.04623>: the same after the examples' mean is taken away (CL2N)

use crate::classify::LabelledVectors;
use crate::classify::heads::{
    Centre, ClassificationHead, ClassificationMethod, FittedClassifier, HeldOutScores, dot,
};
use crate::error::Result;
use crate::features::embed::normalise;

/// Cosine to the class's mean.
#[derive(Debug, Clone, Copy, Default)]
pub struct NearestMean;

/// Cosine to the class's mean, as seen from the mean of all.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimpleShot;

struct Centroids {
    centre: Option<Centre>,
    /// By class, of length 1.
    means: Vec<Vec<f32>>,
}

impl ClassificationHead for Centroids {
    fn scores(&self, vector: &[f32]) -> Vec<f32> {
        match &self.centre {
            Some(centre) => cosines(&self.means, &centre.direction(vector)),
            None => cosines(&self.means, vector),
        }
    }
}

fn cosines(means: &[Vec<f32>], vector: &[f32]) -> Vec<f32> {
    means.iter().map(|mean| dot(mean, vector)).collect()
}

fn fit(examples: &LabelledVectors, centred: bool) -> FittedClassifier {
    let centre = centred.then(|| Centre::of(examples));
    let seen: Vec<Vec<f32>> = match &centre {
        Some(centre) => examples.vectors.iter().map(|vector| centre.direction(vector)).collect(),
        None => examples.vectors.clone(),
    };
    let mut sums = vec![vec![0.0f32; examples.dimensions()]; examples.classes.len()];
    for (vector, &class) in seen.iter().zip(&examples.labels) {
        sums[class].iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    let mut means = sums.clone();
    means.iter_mut().for_each(|mean| normalise(mean));
    let counts = examples.counts();
    let mut held_out = HeldOutScores::default();
    for (index, (vector, &class)) in seen.iter().zip(&examples.labels).enumerate() {
        if counts[class] < 2 {
            continue;
        }
        // Only its own class changes when an example is left out.
        let mut scores = cosines(&means, vector);
        let mut without: Vec<f32> = sums[class].iter().zip(vector).map(|(s, v)| s - v).collect();
        normalise(&mut without);
        scores[class] = dot(&without, vector);
        held_out.examples.push(index);
        held_out.scores.push(scores);
    }
    FittedClassifier { head: Box::new(Centroids { centre, means }), held_out }
}

impl ClassificationMethod for NearestMean {
    fn name(&self) -> &'static str {
        "prototype"
    }

    fn about(&self) -> &'static str {
        "the class whose mean picture points the same way"
    }

    fn usual_temperature(&self) -> f32 {
        0.04
    }

    fn fit(&self, examples: &LabelledVectors) -> Result<FittedClassifier> {
        Ok(fit(examples, false))
    }
}

impl ClassificationMethod for SimpleShot {
    fn name(&self) -> &'static str {
        "simple-shot"
    }

    fn about(&self) -> &'static str {
        "prototype, as seen from the mean of all examples"
    }

    fn usual_temperature(&self) -> f32 {
        0.06
    }

    fn fit(&self, examples: &LabelledVectors) -> Result<FittedClassifier> {
        Ok(fit(examples, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::clusters;

    #[test]
    fn leaving_one_out_is_fitting_without_it() {
        for (method, centred) in
            [(&NearestMean as &dyn ClassificationMethod, false), (&SimpleShot, true)]
        {
            let examples = clusters(3, 4, 16, 0.6, 7);
            let fitted = method.fit(&examples).unwrap();
            assert_eq!(fitted.held_out.examples.len(), 12);
            if centred {
                continue; // the centre is that of all examples, which is its documented shortcut
            }
            for (row, &left) in fitted.held_out.scores.iter().zip(&fitted.held_out.examples) {
                let without = method.fit(&examples.without(left)).unwrap();
                let scores = without.head.scores(&examples.vectors[left]);
                for (a, b) in row.iter().zip(&scores) {
                    assert!((a - b).abs() < 1e-5, "{} {a} {b}", method.name());
                }
            }
        }
    }

    #[test]
    fn a_class_of_one_is_not_held_out() {
        let mut examples = clusters(2, 2, 8, 0.2, 1);
        examples.vectors.pop();
        examples.labels.pop();
        let fitted = SimpleShot.fit(&examples).unwrap();
        assert_eq!(fitted.held_out.examples, [0, 1]);
    }
}
