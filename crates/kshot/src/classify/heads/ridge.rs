//! `ridge`: least squares on the classes' indicators, with the strength of the penalty chosen by
//! leave-one-out in closed form.
//!
//! - Bertinetto et al., *Meta-learning with differentiable closed-form solvers* (R2-D2), 2018,
//!   <https://arxiv.org/abs/1805.08136>: the head, there within a meta-trained network
//! - Leave-one-out: Allen, *The relationship between variable selection and data augmentation and a
//!   method for prediction*, Technometrics 1974 (PRESS)
//!
//! Vectors are centred and brought to length 1 first; classes count the same however many examples they
//! have; the bias is not penalised. With fewer examples than dimensions the dual form is solved, else
//! the primal one: the same function.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::classify::LabelledVectors;
use crate::classify::calibrate::{LabelledScores, right, temperature};
use crate::classify::heads::{
    Centre, ClassificationHead, ClassificationMethod, FittedClassifier, HeldOutScores, dot,
};
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
    roots: Vec<f64>,
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
        Self { inputs, targets, roots, input_mean, target_mean, gram, dual }
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

    /// What each example would be scored by a fit without it, `[examples, classes]`.
    fn left_out(&self, strength: f64, factor: &Cholesky<f64, Dyn>) -> DMatrix<f64> {
        // Residuals of the whole fit, and by how much each example pulls the fit to itself.
        let (residuals, leverage): (DMatrix<f64>, Vec<f64>) = if self.dual {
            let inverse = factor.inverse();
            let leverage = (0..inverse.nrows()).map(|i| 1.0 - strength * inverse[(i, i)]).collect();
            (inverse * &self.targets * strength, leverage)
        } else {
            let residuals = &self.targets - &self.inputs * self.solve(factor);
            let solved = factor.solve(&self.inputs.transpose()); // [dimensions, examples]
            let leverage = (0..self.inputs.nrows())
                .map(|i| self.inputs.row(i).dot(&solved.column(i).transpose()));
            (residuals, leverage.collect())
        };
        let total: f64 = self.roots.iter().map(|root| root * root).sum();
        DMatrix::from_fn(residuals.nrows(), residuals.ncols(), |i, class| {
            // The bias pulls as well.
            let free = (1.0 - leverage[i] - self.roots[i] * self.roots[i] / total).max(1e-9);
            let target = self.targets[(i, class)] / self.roots[i] + self.target_mean[class];
            target - residuals[(i, class)] / self.roots[i] / free
        })
    }
}

/// How good a strength is (held-out examples that are right, then their likelihood), its factor, and
/// its held-out scores.
type RidgeCandidate = ((usize, f64), Cholesky<f64, Dyn>, HeldOutScores);

impl ClassificationMethod for Ridge {
    fn name(&self) -> &'static str {
        "ridge"
    }

    fn about(&self) -> &'static str {
        "least squares, its penalty chosen by leaving each example out"
    }

    fn usual_temperature(&self) -> f32 {
        0.03
    }

    fn fit(&self, examples: &LabelledVectors) -> Result<FittedClassifier> {
        let centre = Centre::of(examples);
        let seen: Vec<Vec<f32>> =
            examples.vectors.iter().map(|vector| centre.direction(vector)).collect();
        let problem = RidgeProblem::new(examples, &seen);
        let counts = examples.counts();
        let judged: Vec<usize> = (0..examples.labels.len())
            .filter(|&index| counts[examples.labels[index]] > 1)
            .collect();
        let truth: Vec<usize> = judged.iter().map(|&index| examples.labels[index]).collect();
        let mut best: Option<RidgeCandidate> = None;
        let strengths = if judged.is_empty() { &[USUAL_STRENGTH][..] } else { &STRENGTHS };
        for &strength in strengths {
            let factor = problem.factor(strength)?;
            let left_out = problem.left_out(strength, &factor);
            let scores: Vec<Vec<f32>> = judged
                .iter()
                .map(|&index| left_out.row(index).iter().map(|value| *value as f32).collect())
                .collect();
            let rows = LabelledScores { scores: &scores, labels: &truth };
            let (_, loss) = temperature(&rows, self.usual_temperature());
            let found = (right(&rows), -loss);
            if best.as_ref().is_none_or(|(most, _, _)| found > *most) {
                best = Some((found, factor, HeldOutScores { examples: judged.clone(), scores }));
            }
        }
        let Some((_, factor, held_out)) = best else { unreachable!("a strength is always tried") };
        let weights = problem.solve(&factor);
        let bias = &problem.target_mean - weights.tr_mul(&problem.input_mean);
        let head = RidgeClassifier {
            centre,
            weights: weights
                .column_iter()
                .map(|column| column.iter().map(|value| *value as f32).collect())
                .collect(),
            bias: bias.iter().map(|value| *value as f32).collect(),
        };
        Ok(FittedClassifier { head: Box::new(head), held_out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::clusters;

    /// Primal with many examples, dual with few: what is left out in closed form is what a fit without
    /// the example says, on the same centred vectors and with the same weights.
    #[test]
    fn closed_form_is_fitting_without_it() {
        for (classes, shots, dimensions) in [(3, 4, 40), (3, 9, 10)] {
            let mut examples = clusters(classes, shots, dimensions, 0.8, 3);
            // Unequal classes.
            examples.vectors.pop();
            examples.labels.pop();
            let seen = examples.vectors.clone();
            let problem = RidgeProblem::new(&examples, &seen);
            assert_eq!(problem.dual, dimensions == 40);
            let strength = 0.7;
            let left_out = problem.left_out(strength, &problem.factor(strength).unwrap());
            for left in [0, shots, seen.len() - 1] {
                // The same weights as in the whole problem, without the row.
                let keep: Vec<usize> = (0..seen.len()).filter(|&index| index != left).collect();
                let weights: Vec<f64> = keep.iter().map(|&i| problem.roots[i].powi(2)).collect();
                let total: f64 = weights.iter().sum();
                let x =
                    DMatrix::from_fn(keep.len(), dimensions, |i, j| f64::from(seen[keep[i]][j]));
                let y = DMatrix::from_fn(keep.len(), classes, |i, class| {
                    f64::from(u8::from(examples.labels[keep[i]] == class))
                });
                let w = DVector::from_row_slice(&weights);
                let (mx, my) = (x.tr_mul(&w) / total, y.tr_mul(&w) / total);
                let mut gram = DMatrix::<f64>::identity(dimensions, dimensions) * strength;
                let mut moment = DMatrix::<f64>::zeros(dimensions, classes);
                for (i, weight) in weights.iter().enumerate() {
                    let (dx, dy) = (x.row(i).transpose() - &mx, y.row(i).transpose() - &my);
                    gram += &dx * dx.transpose() * *weight;
                    moment += &dx * dy.transpose() * *weight;
                }
                let solved = gram.lu().solve(&moment).unwrap();
                let vector = DVector::from_fn(dimensions, |j, _| f64::from(seen[left][j]));
                let direct = my + solved.tr_mul(&(vector - mx));
                for class in 0..classes {
                    let gap = (direct[class] - left_out[(left, class)]).abs();
                    assert!(gap < 1e-8, "{gap} of {left}, {classes} x {shots} x {dimensions}");
                }
            }
        }
    }

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
        assert!((problem.left_out(0.3, &a) - primal.left_out(0.3, &b)).amax() < 1e-9);
    }
}
