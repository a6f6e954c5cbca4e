//! Kernels times a factor for each of their outputs: how a convolution takes in the normalisation after
//! it.

use rayon::prelude::*;

use crate::scratch::fresh;
use crate::sums::product;

/// Floats of a task at least.
const TASK: usize = 1 << 14;

/// Rows of a weight, at least as many as a task should have.
fn some(row: usize) -> usize {
    TASK.div_ceil(row)
}

/// The weight, `[scale.len(), rest]`, with each row times its factor.
///
/// # Panics
/// If the weight is not as many rows.
pub fn scale_kernels(weight: &[f32], scale: &[f32]) -> Vec<f32> {
    let row = row_len(weight.len(), scale.len());
    fresh(weight.len(), |result| {
        let rows = result.par_chunks_exact_mut(row).zip(weight.par_chunks_exact(row));
        let rows = rows.zip(scale.par_iter());
        rows.with_min_len(some(row)).for_each(|((result, weight), factor)| {
            result.iter_mut().zip(weight).for_each(|(result, value)| *result = value * factor);
        });
    })
}

/// The gradient with respect to so many factors; that with respect to the weight is the gradient scaled.
///
/// # Panics
/// As [`scale_kernels`], or if weight and gradient differ in length.
pub fn scale_gradient(weight: &[f32], gradient: &[f32], factors: usize) -> Vec<f32> {
    assert_eq!(gradient.len(), weight.len(), "floats of the gradient of scaled kernels");
    let row = row_len(weight.len(), factors);
    let rows = weight.par_chunks_exact(row).zip(gradient.par_chunks_exact(row));
    let of_scale = rows.with_min_len(some(row)).map(|(weight, gradient)| product(weight, gradient));
    of_scale.collect()
}

fn row_len(floats: usize, rows: usize) -> usize {
    assert!(
        rows > 0 && floats >= rows && floats.is_multiple_of(rows),
        "{floats} floats in {rows} rows"
    );
    floats / rows
}
