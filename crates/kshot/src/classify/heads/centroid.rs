//! `prototype` and `simple-shot`: the class whose mean vector points the same way.
//!
//! - Snell et al., *Prototypical Networks for Few-shot Learning*, 2017,
//!   <https://arxiv.org/abs/1703.05175> (there the squared distance; on vectors of length 1 the cosine
//!   ranks nearly alike, and the means are brought to length 1 here)
//! - Wang et al., *SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning*, 2019,
//!   <https://arxiv.org/abs/1911.04623>: the same after the examples' mean is taken away (CL2N)

use crate::classify::LabelledVectors;
use crate::classify::heads::{Centre, ClassificationHead, ClassificationMethod, dot};
use crate::error::Result;
use crate::features::embed::normalise;

/// Cosine to the class's mean: Prototypical Networks' head, or SimpleShot.
#[derive(Debug, Clone, Copy)]
pub struct NearestMean {
    /// Whether vectors are seen from the mean of all.
    centred: bool,
}

impl NearestMean {
    /// `prototype`: as vectors are.
    pub const PROTOTYPE: Self = Self { centred: false };
    /// `simple-shot`: as seen from the mean of all.
    pub const SIMPLE_SHOT: Self = Self { centred: true };
}

struct Centroids {
    centre: Option<Centre>,
    /// By class, of length 1.
    means: Vec<Vec<f32>>,
}

impl ClassificationHead for Centroids {
    fn scores(&self, vector: &[f32]) -> Vec<f32> {
        match &self.centre {
            Some(centre) => {
                let seen = centre.direction(vector);
                self.means.iter().map(|mean| dot(mean, &seen)).collect()
            }
            None => self.means.iter().map(|mean| dot(mean, vector)).collect(),
        }
    }
}

fn fit(examples: &LabelledVectors, centred: bool) -> Box<dyn ClassificationHead> {
    let centre = centred.then(|| Centre::of(examples));
    let mut means = vec![vec![0.0f32; examples.dimensions()]; examples.classes.len()];
    let mut add = |class: usize, vector: &[f32]| {
        means[class].iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    };
    for (vector, &class) in examples.vectors.iter().zip(&examples.labels) {
        match &centre {
            Some(centre) => add(class, &centre.direction(vector)),
            None => add(class, vector),
        }
    }
    means.iter_mut().for_each(|mean| normalise(mean));
    Box::new(Centroids { centre, means })
}

/// There is nothing to penalise.
const NO_PENALTY: [f64; 1] = [0.0];

impl ClassificationMethod for NearestMean {
    fn name(&self) -> &'static str {
        if self.centred { "simple-shot" } else { "prototype" }
    }

    fn about(&self) -> &'static str {
        if self.centred {
            "prototype, as seen from the mean of all examples"
        } else {
            "the class whose mean picture points the same way"
        }
    }

    fn usual_temperature(&self) -> f32 {
        if self.centred { 0.06 } else { 0.04 }
    }

    fn penalties(&self) -> &'static [f64] {
        &NO_PENALTY
    }

    fn usual_penalty(&self) -> f64 {
        NO_PENALTY[0]
    }

    fn fit(
        &self,
        examples: &LabelledVectors,
        penalties: &[f64],
    ) -> Result<Vec<Box<dyn ClassificationHead>>> {
        Ok(penalties.iter().map(|_| fit(examples, self.centred)).collect())
    }
}
