//! `ridge`: least squares on the classes' indicators, in closed form, with the strength of the penalty chosen on held-out
//! examples.
//!
//! - Bertinetto et al., *Meta-learning with differentiable closed-form solvers* (R2-D2), 2018,
//!   <https://arxiv.org/abs/1805.08136>: the head, there within a meta-trained network
//!
//! Vectors are centred and brought to length 1 first; classes count the same however many examples they
//! have; the bias is not penalised. With fewer examples than dimensions the dual form is solved, else
//! the primal one: the same function.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::classify::LabelledVectors;
use crate::classify::heads::{Centre, ClassificationHead, ClassificationMethod, dot};
use crate::error::{Error, Result};

/// Strengths of the penalty that are tried, for vectors of length 1 and weights whose sum is the number
/// of examples.
const STRENGTHS: [f64; 8] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Where nothing can be held out: good for one example of each of 5 to 81 classes of other data.
const USUAL_STRENGTH: f64 = 1.0;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ridge;

struct RidgeClassifier {
    centre: Centre,
    /// By class.
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl ClassificationHead for RidgeClassifier {
    fn scores(&self, vector: &[f32]) -> Vec<f32> {
        let seen = self.centre.direction(vector);
        self.weights.iter().zip(&self.bias).map(|(w, bias)| dot(w, &seen) + bias).collect()
    }
}

/// The weighted, centred problem: rows scaled by the roots of their weights.
struct RidgeProblem {
    /// `[examples, dimensions]`.
    inputs: DMatrix<f64>,
    /// `[examples, classes]`.
    targets: DMatrix<f64>,
    input_mean: DVector<f64>,
    target_mean: DVector<f64>,
    /// `inputs * inputs^T`, or `inputs^T * inputs` where that is smaller.
    gram: DMatrix<f64>,
    dual: bool,
}

impl RidgeProblem {
    fn new(examples: &LabelledVectors, seen: &[Vec<f32>]) -> Self {
        let (count, dimensions) = (seen.len(), examples.dimensions());
        let classes = examples.classes.len();
        // Weights sum to the number of examples: equal classes have weights of 1.
        let weights: Vec<f64> =
            examples.weights().iter().map(|weight| f64::from(*weight) * count as f64).collect();
        let mut inputs = DMatrix::from_fn(count, dimensions, |i, j| f64::from(seen[i][j]));
        let mut targets = DMatrix::from_fn(count, classes, |i, class| {
            f64::from(u8::from(examples.labels[i] == class))
        });
        let mean = |matrix: &DMatrix<f64>| {
            let weights = DVector::from_row_slice(&weights);
            matrix.tr_mul(&weights) / weights.sum()
        };
        let (input_mean, target_mean) = (mean(&inputs), mean(&targets));
        let roots: Vec<f64> = weights.iter().map(|weight| weight.sqrt()).collect();
        for (index, root) in roots.iter().enumerate() {
            let mut row = inputs.row_mut(index);
            row -= input_mean.transpose();
            row *= *root;
            let mut row = targets.row_mut(index);
            row -= target_mean.transpose();
            row *= *root;
        }
        let dual = count <= dimensions;
        let gram = if dual { &inputs * inputs.transpose() } else { inputs.tr_mul(&inputs) };
        Self { inputs, targets, input_mean, target_mean, gram, dual }
    }

    fn factor(&self, strength: f64) -> Result<Cholesky<f64, Dyn>> {
        let mut gram = self.gram.clone();
        for index in 0..gram.nrows() {
            gram[(index, index)] += strength;
        }
        Cholesky::new(gram).ok_or_else(|| {
            Error::data("the examples' vectors hold numbers that are not finite; check the weights")
        })
    }

    /// `[dimensions, classes]`.
    fn solve(&self, factor: &Cholesky<f64, Dyn>) -> DMatrix<f64> {
        if self.dual {
            self.inputs.tr_mul(&factor.solve(&self.targets))
        } else {
            factor.solve(&self.inputs.tr_mul(&self.targets))
        }
    }
}

impl ClassificationMethod for Ridge {
    fn name(&self) -> &'static str {
        "ridge"
    }

    fn about(&self) -> &'static str {
        "least squares, its penalty chosen on held-out examples"
    }

    fn usual_temperature(&self) -> f32 {
        0.03
    }

    fn penalties(&self) -> &'static [f64] {
        &STRENGTHS
    }

    fn usual_penalty(&self) -> f64 {
        USUAL_STRENGTH
    }

    fn fit(
        &self,
        examples: &LabelledVectors,
        penalties: &[f64],
    ) -> Result<Vec<Box<dyn ClassificationHead>>> {
        let centre = Centre::of(examples);
        let seen: Vec<Vec<f32>> =
            examples.vectors.iter().map(|vector| centre.direction(vector)).collect();
        let problem = RidgeProblem::new(examples, &seen);
        let head = |&strength: &f64| -> Result<Box<dyn ClassificationHead>> {
            let weights = problem.solve(&problem.factor(strength)?);
            let bias = &problem.target_mean - weights.tr_mul(&problem.input_mean);
            Ok(Box::new(RidgeClassifier {
                centre: centre.clone(),
                weights: weights
                    .column_iter()
                    .map(|column| column.iter().map(|value| *value as f32).collect())
                    .collect(),
                bias: bias.iter().map(|value| *value as f32).collect(),
            }))
        };
        penalties.iter().map(head).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::clusters;

    #[test]
    fn primal_and_dual_agree() {
        let examples = clusters(3, 5, 15, 0.5, 2);
        let problem = RidgeProblem::new(&examples, &examples.vectors);
        let primal = RidgeProblem {
            gram: problem.inputs.tr_mul(&problem.inputs),
            dual: false,
            ..RidgeProblem::new(&examples, &examples.vectors)
        };
        assert!(problem.dual);
        let (a, b) = (problem.factor(0.3).unwrap(), primal.factor(0.3).unwrap());
        assert!((problem.solve(&a) - primal.solve(&b)).amax() < 1e-9);
    }

    /// At the weights that were found, the gradient of the weighted squared error with its penalty is zero.
    #[test]
    fn the_weights_are_the_best() {
        let mut examples = clusters(3, 4, 7, 0.8, 3);
        examples.vectors.pop();
        examples.labels.pop();
        let strength = 0.7;
        let problem = RidgeProblem::new(&examples, &examples.vectors);
        let weights = problem.solve(&problem.factor(strength).unwrap());
        let residuals = &problem.inputs * &weights - &problem.targets;
        let gradient = problem.inputs.tr_mul(&residuals) + &weights * strength;
        assert!(gradient.amax() < 1e-9, "{}", gradient.amax());
    }
}
