//! `probe`: multinomial logistic regression, its penalty chosen on held-out examples.
//!
//! The linear probe of Alain and Bengio, 2016, <https://arxiv.org/abs/1610.01644>, and the baseline of
//! Tian et al., *Rethinking Few-Shot Image Classification*, 2020, <https://arxiv.org/abs/2003.11539>;
//! fitted by L-BFGS (Liu and Nocedal, Mathematical Programming 1989). Vectors are centred and brought to
//! length 1; classes count the same however many examples they have.
//!
//! With fewer examples than dimensions the fit is done in the space that the examples span, where the
//! best weights lie: the rows of the Gram matrix's Cholesky factor are the examples' coordinates there.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::classify::LabelledVectors;
use crate::classify::heads::{Centre, ClassificationHead, ClassificationMethod, dot};
use crate::error::{Error, Result};

/// Penalties tried: half of this times the squared weights is added to the mean loss.
const PENALTIES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];
/// Where nothing can be held out.
const USUAL_PENALTY: f64 = 1e-3;
/// Steps of L-BFGS at most, steps it remembers, and the change of the loss at which it stops.
const STEPS: usize = 60;
const MEMORY: usize = 8;
const ENOUGH: f64 = 1e-6;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogisticProbe;

struct LogisticClassifier {
    centre: Centre,
    /// By class.
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl ClassificationHead for LogisticClassifier {
    fn scores(&self, vector: &[f32]) -> Vec<f32> {
        let seen = self.centre.direction(vector);
        self.weights.iter().zip(&self.bias).map(|(w, bias)| dot(w, &seen) + bias).collect()
    }
}

/// A weighted logistic regression.
struct LogisticProblem {
    /// `[examples, dimensions]`, the last column of ones.
    inputs: DMatrix<f32>,
    labels: Vec<usize>,
    /// By example; they sum to 1.
    weights: Vec<f32>,
    classes: usize,
    penalty: f32,
}

impl LogisticProblem {
    /// Loss and gradient at weights of `[dimensions, classes]`.
    fn at(&self, weights: &DMatrix<f32>) -> (f64, DMatrix<f32>) {
        let mut errors = &self.inputs * weights; // [examples, classes]
        let mut loss = 0.0f64;
        for (index, (&label, &weight)) in self.labels.iter().zip(&self.weights).enumerate() {
            let mut row = errors.row_mut(index);
            let highest = row.max();
            let right = row[label] - highest;
            row.iter_mut().for_each(|value| *value = (*value - highest).exp());
            let sum: f32 = row.iter().sum();
            loss += f64::from(weight) * (f64::from(sum).ln() - f64::from(right));
            row *= weight / sum;
            row[label] -= weight;
        }
        let mut gradient = self.inputs.tr_mul(&errors);
        // The bias, in the last row, is free.
        let bias = weights.nrows() - 1;
        for class in 0..self.classes {
            for input in 0..bias {
                let value = weights[(input, class)];
                loss += f64::from(self.penalty * value * value) / 2.0;
                gradient[(input, class)] += self.penalty * value;
            }
        }
        (loss, gradient)
    }

    /// The best weights, from given ones.
    fn solve(&self, start: DMatrix<f32>) -> DMatrix<f32> {
        let mut weights = start;
        let (mut loss, mut gradient) = self.at(&weights);
        // Steps, changes of the gradient, and the inverses of their products.
        let mut known: Vec<(DMatrix<f32>, DMatrix<f32>, f32)> = Vec::new();
        for _ in 0..STEPS {
            let mut direction = gradient.clone();
            let mut shares = Vec::with_capacity(known.len());
            for (step, change, inverse) in known.iter().rev() {
                let share = inverse * step.dot(&direction);
                direction.zip_apply(change, |value, change| *value -= share * change);
                shares.push(share);
            }
            if let Some((_, change, inverse)) = known.last() {
                direction *= 1.0 / (inverse * change.dot(change));
            }
            for ((step, change, inverse), share) in known.iter().zip(shares.iter().rev()) {
                let back = share - inverse * change.dot(&direction);
                direction.zip_apply(step, |value, step| *value += back * step);
            }
            let slope = f64::from(gradient.dot(&direction));
            let mut length = if known.is_empty() { 1.0 / gradient.norm().max(1e-12) } else { 1.0 };
            let mut next = None;
            // Halved until the loss falls enough (Armijo).
            for _ in 0..20 {
                let tried = &weights - &direction * length;
                let (at, slopes) = self.at(&tried);
                if at <= loss - 1e-4 * f64::from(length) * slope {
                    next = Some((tried, at, slopes));
                    break;
                }
                length /= 2.0;
            }
            let Some((tried, at, slopes)) = next else { break };
            let (step, change) = (&tried - &weights, &slopes - &gradient);
            let product = step.dot(&change);
            if product > 1e-12 {
                known.push((step, change, 1.0 / product));
                if known.len() > MEMORY {
                    known.remove(0);
                }
            }
            let gained = loss - at;
            (weights, loss, gradient) = (tried, at, slopes);
            if gained < ENOUGH * (1.0 + loss.abs()) {
                break;
            }
        }
        weights
    }
}

/// Examples as coordinates, and the way back to vectors.
struct LogisticSpace {
    /// `[examples, coordinates + 1]`, the last column of ones.
    inputs: DMatrix<f32>,
    /// The Gram matrix's factor, where coordinates are not the vectors themselves.
    factor: Option<Cholesky<f64, Dyn>>,
}

impl LogisticSpace {
    fn new(seen: &[Vec<f32>]) -> Result<Self> {
        let (count, dimensions) = (seen.len(), seen.first().map_or(0, Vec::len));
        if count > dimensions {
            let at = |i: usize, j: usize| seen[i].get(j).copied().unwrap_or(1.0);
            let inputs = DMatrix::from_fn(count, dimensions + 1, at);
            return Ok(Self { inputs, factor: None });
        }
        let rows = DMatrix::from_fn(count, dimensions, |i, j| f64::from(seen[i][j]));
        let mut gram = &rows * rows.transpose();
        for index in 0..count {
            // Twins would make it singular.
            gram[(index, index)] += 1e-6;
        }
        let factor = Cholesky::new(gram).ok_or_else(|| {
            Error::data("the examples' vectors hold numbers that are not finite; check the weights")
        })?;
        let lower = factor.l();
        let at = |i: usize, j: usize| if j < count { lower[(i, j)] as f32 } else { 1.0 };
        Ok(Self { inputs: DMatrix::from_fn(count, count + 1, at), factor: Some(factor) })
    }

    /// Weights on the vectors, a row a class.
    fn back(&self, weights: &DMatrix<f32>, seen: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let coordinates = weights.nrows() - 1;
        let column = |class: usize| weights.column(class).rows(0, coordinates).map(f64::from);
        (0..weights.ncols())
            .map(|class| match &self.factor {
                None => weights.column(class).rows(0, coordinates).iter().copied().collect(),
                Some(factor) => {
                    let mut shares: DVector<f64> = column(class);
                    // Of a factor with a positive diagonal this cannot fail.
                    factor.l_dirty().tr_solve_lower_triangular_mut(&mut shares);
                    let mut sum = vec![0.0f32; seen[0].len()];
                    for (vector, share) in seen.iter().zip(&shares) {
                        let share = *share as f32;
                        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += share * value);
                    }
                    sum
                }
            })
            .collect()
    }
}

impl ClassificationMethod for LogisticProbe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn about(&self) -> &'static str {
        "logistic regression, its penalty chosen on held-out examples"
    }

    fn usual_temperature(&self) -> f32 {
        1.0
    }

    fn penalties(&self) -> &'static [f64] {
        &PENALTIES
    }

    fn usual_penalty(&self) -> f64 {
        USUAL_PENALTY
    }

    fn fit(
        &self,
        examples: &LabelledVectors,
        penalties: &[f64],
    ) -> Result<Vec<Box<dyn ClassificationHead>>> {
        let centre = Centre::of(examples);
        let seen: Vec<Vec<f32>> =
            examples.vectors.iter().map(|vector| centre.direction(vector)).collect();
        let space = LogisticSpace::new(&seen)?;
        let mut problem = LogisticProblem {
            inputs: space.inputs.clone(),
            labels: examples.labels.clone(),
            weights: examples.weights(),
            classes: examples.classes.len(),
            penalty: 0.0,
        };
        let mut weights = DMatrix::zeros(space.inputs.ncols(), examples.classes.len());
        let mut heads: Vec<Box<dyn ClassificationHead>> = Vec::with_capacity(penalties.len());
        for &penalty in penalties {
            problem.penalty = penalty as f32;
            // From the penalty's before, which are near.
            weights = problem.solve(weights);
            let bias = weights.row(weights.nrows() - 1).iter().copied().collect();
            let (centre, weights) = (centre.clone(), space.back(&weights, &seen));
            heads.push(Box::new(LogisticClassifier { centre, weights, bias }));
        }
        Ok(heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::clusters;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let examples = clusters(3, 3, 5, 0.5, 4);
        let space = LogisticSpace::new(&examples.vectors).unwrap();
        let problem = LogisticProblem {
            inputs: space.inputs,
            labels: examples.labels.clone(),
            weights: examples.weights(),
            classes: 3,
            penalty: 0.1,
        };
        let weights = DMatrix::from_fn(6, 3, |i, j| ((i * 3 + j) as f32 * 0.7).sin());
        let (_, gradient) = problem.at(&weights);
        for (i, j) in [(0, 0), (4, 2), (5, 1)] {
            let mut moved = weights.clone();
            moved[(i, j)] += 1e-2;
            let up = problem.at(&moved).0;
            moved[(i, j)] -= 2e-2;
            let slope = (up - problem.at(&moved).0) / 2e-2;
            assert!((slope - f64::from(gradient[(i, j)])).abs() < 1e-3, "{slope}");
        }
        let (_, at_best) = problem.at(&problem.solve(weights));
        assert!(at_best.amax() < 1e-2, "{}", at_best.amax());
    }

    /// In the space that the examples span, the fit is the one on the vectors.
    #[test]
    fn both_spaces_give_the_same_scores() {
        let examples = clusters(3, 3, 20, 0.5, 5);
        let spanned = LogisticSpace::new(&examples.vectors).unwrap();
        let at = |i: usize, j: usize| examples.vectors[i].get(j).copied().unwrap_or(1.0);
        let whole = LogisticSpace { inputs: DMatrix::from_fn(9, 21, at), factor: None };
        let solved = [&spanned, &whole].map(|space| {
            let problem = LogisticProblem {
                inputs: space.inputs.clone(),
                labels: examples.labels.clone(),
                weights: examples.weights(),
                classes: 3,
                penalty: 0.05,
            };
            let weights = problem.solve(DMatrix::zeros(space.inputs.ncols(), 3));
            space.back(&weights, &examples.vectors)
        });
        let query = &examples.vectors[4];
        for (a, b) in solved[0].iter().zip(&solved[1]) {
            let (a, b) = (dot(a, query), dot(b, query));
            assert!((a - b).abs() < 2e-2, "{a} {b}");
        }
    }
}
