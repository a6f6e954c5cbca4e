//! A domain classifier: logistic regression that tells two sets of vectors apart.
//!
//! The mean negative log-likelihood, of both sets alike however many vectors each has, plus half the penalty times the
//! squared weights (not the bias), of features brought to mean 0 and standard deviation 1; its minimum is found by
//! Newton's method, with fewer examples than features in the space that the examples span.

use nalgebra::{Cholesky, DMatrix, DVector};

use crate::error::{Error, Result};

/// Steps of Newton's method at most, and the change of every example's score at which it stops.
const STEPS: usize = 50;
const ENOUGH: f64 = 1e-10;
/// The least standard deviation that a feature is divided by: one that is the same everywhere tells nothing.
const LEAST: f64 = 1e-9;

/// A fitted classifier.
#[derive(Debug, Clone)]
pub struct Logistic {
    mean: Vec<f64>,
    scale: Vec<f64>,
    weights: Vec<f64>,
    bias: f64,
}

impl Logistic {
    /// Of vectors of one length, those of class 1 told by `is_one`; the penalty is above 0.
    ///
    /// # Errors
    /// If one of the classes has no vector, or the vectors hold no numbers.
    pub fn fit(vectors: &[&[f32]], is_one: &[bool], penalty: f64) -> Result<Self> {
        let ones = is_one.iter().filter(|one| **one).count();
        let (count, zeros) = (vectors.len(), vectors.len() - ones);
        if ones == 0 || zeros == 0 {
            return Err(Error::data("a classifier of two domains needs pictures of both"));
        }
        let length = vectors[0].len();
        let (mean, scale) = moments(vectors, length);
        let inputs = DMatrix::from_fn(count, length, |row, column| {
            (f64::from(vectors[row][column]) - mean[column]) * scale[column]
        });
        let (seen, back) = spanned(&inputs);
        let share = |one: bool| 0.5 / if one { ones as f64 } else { zeros as f64 };
        // The bias is the weight of a last column of ones, without a penalty.
        let last = seen.ncols();
        let design = seen.insert_column(last, 1.0);
        let size = design.ncols();
        let ridge = DVector::from_fn(size, |at, _| if at + 1 == size { 0.0 } else { penalty });
        let mut found = DVector::<f64>::zeros(size);
        for _ in 0..STEPS {
            let p = (&design * &found).map(sigmoid);
            let errors = DVector::from_fn(count, |row, _| {
                share(is_one[row]) * (p[row] - f64::from(u8::from(is_one[row])))
            });
            let gradient = design.tr_mul(&errors) + ridge.component_mul(&found);
            let mut curved = design.clone();
            for (row, mut of) in curved.row_iter_mut().enumerate() {
                of *= (share(is_one[row]) * p[row] * (1.0 - p[row])).max(1e-15);
            }
            let hessian = design.tr_mul(&curved) + DMatrix::from_diagonal(&ridge);
            let Some(step) = Cholesky::new(hessian).map(|factor| factor.solve(&gradient)) else {
                return Err(Error::data("the features that tell the domains apart are no numbers"));
            };
            // Far from the minimum a whole step may overshoot: no score moves by more than 5 at once.
            let most = (&design * &step).amax();
            let whole = (5.0 / most.max(1e-300)).min(1.0);
            found -= step * whole;
            if whole == 1.0 && most < ENOUGH {
                break;
            }
        }
        let bias = found[size - 1];
        let weights = (back * found.rows(0, size - 1)).iter().copied().collect();
        Ok(Self { mean, scale, weights, bias })
    }

    /// The logarithm of how much likelier a vector is of class 1 than of class 0, if both are as frequent.
    pub fn score(&self, vector: &[f32]) -> f64 {
        let parts = vector.iter().zip(&self.mean).zip(self.scale.iter().zip(&self.weights));
        self.bias
            + parts
                .map(|((value, mean), (scale, w))| (f64::from(*value) - mean) * scale * w)
                .sum::<f64>()
    }

    /// The probability of class 1, 0 to 1, if both are as frequent.
    pub fn probability(&self, vector: &[f32]) -> f64 {
        sigmoid(self.score(vector))
    }

    /// What each feature weighs, of features brought to mean 0 and standard deviation 1; and the bias.
    pub fn parameters(&self) -> (&[f64], f64) {
        (&self.weights, self.bias)
    }
}

/// Examples in coordinates of which there are no more than examples, and what turns weights of these into weights of
/// the features; weights are as long in both.
fn spanned(inputs: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    let (count, length) = inputs.shape();
    if length <= count {
        return (inputs.clone(), DMatrix::identity(length, length));
    }
    let eigen = (inputs * inputs.transpose()).symmetric_eigen();
    let most = eigen.eigenvalues.amax();
    let root = |value: f64| if value > 1e-12 * most { value.sqrt() } else { 0.0 };
    let (mut seen, mut back) = (eigen.eigenvectors.clone(), inputs.tr_mul(&eigen.eigenvectors));
    for (at, value) in eigen.eigenvalues.iter().enumerate() {
        let root = root(*value);
        seen.column_mut(at).scale_mut(root);
        back.column_mut(at).scale_mut(if root > 0.0 { 1.0 / root } else { 0.0 });
    }
    (seen, back)
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// The mean of each feature and one over its standard deviation, 0 where it has none.
fn moments(vectors: &[&[f32]], length: usize) -> (Vec<f64>, Vec<f64>) {
    let count = vectors.len() as f64;
    let mean: Vec<f64> = (0..length)
        .map(|at| vectors.iter().map(|vector| f64::from(vector[at])).sum::<f64>() / count)
        .collect();
    let scale = (0..length).map(|at| {
        let squares = vectors.iter().map(|vector| (f64::from(vector[at]) - mean[at]).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        if deviation > LEAST { 1.0 / deviation } else { 0.0 }
    });
    let scale = scale.collect();
    (mean, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient of the loss at the fit, by each weight and the bias: 0 at the minimum.
    fn gradient(fit: &Logistic, vectors: &[&[f32]], is_one: &[bool], penalty: f64) -> Vec<f64> {
        let ones = is_one.iter().filter(|one| **one).count() as f64;
        let share = |one: bool| 0.5 / if one { ones } else { is_one.len() as f64 - ones };
        let mut sum: Vec<f64> = fit.weights.iter().map(|w| w * penalty).collect();
        sum.push(0.0);
        for (vector, &one) in vectors.iter().zip(is_one) {
            let error = share(one) * (fit.probability(vector) - f64::from(u8::from(one)));
            for (at, value) in vector.iter().enumerate() {
                sum[at] += error * (f64::from(*value) - fit.mean[at]) * fit.scale[at];
            }
            *sum.last_mut().unwrap() += error;
        }
        sum
    }

    #[test]
    fn the_fit_is_the_minimum() {
        let value = |row: usize, column: usize| ((row * 31 + column * 17) % 23) as f32 / 7.0;
        for (rows, features, penalty) in
            [(40, 5, 1e-2), (9, 30, 1e-3), (12, 4, 10.0), (40, 5, 1e-6)]
        {
            let vectors: Vec<Vec<f32>> = (0..rows)
                .map(|row| {
                    let shift = if row % 3 == 0 { 1.0 } else { 0.0 };
                    (0..features).map(|column| value(row, column) + shift).collect()
                })
                .collect();
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            let is_one: Vec<bool> = (0..rows).map(|row| row % 3 == 0).collect();
            let fit = Logistic::fit(&vectors, &is_one, penalty).unwrap();
            let gradient = gradient(&fit, &vectors, &is_one, penalty);
            let most = gradient.iter().fold(0.0_f64, |most, of| most.max(of.abs()));
            assert!(most < 1e-8, "{rows} {features} {penalty}: {most}");
            let mean = |one: bool| -> f64 {
                let of = vectors.iter().zip(&is_one).filter(|(_, is)| **is == one);
                of.clone().map(|(vector, _)| fit.probability(vector)).sum::<f64>()
                    / of.count() as f64
            };
            assert!(mean(true) > mean(false), "{rows} {features} {penalty}");
        }
        assert!(Logistic::fit(&[&[1.0], &[2.0]], &[true, true], 1.0).is_err());
        // A feature that is the same everywhere tells nothing, and without others both are as likely.
        let same = Logistic::fit(&[&[1.0], &[1.0], &[1.0]], &[true, false, false], 1.0).unwrap();
        assert!((same.probability(&[9.0]) - 0.5).abs() < 1e-9);
    }
}
