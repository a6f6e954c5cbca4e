//! Lengths of inner steps that are learnt (MAML++, Antoniou et al. 2019, arXiv 1810.09502; Meta-SGD, Li et
//! al. 2017, arXiv 1707.09835): one row for each step, or one for all.

use burn::module::Param;
use burn::prelude::*;

use crate::nn::weights::plain;

/// Rates of each adapted vector, `[steps or 1, 1 or elements]`; none where one rate is given for all.
pub type Learnt = [Param<Tensor<2>>];

/// `rate * vector` for vector `index` at a step; plain tensors.
pub fn scaled(
    rates: &Learnt,
    given: f64,
    [index, step]: [usize; 2],
    vector: Tensor<1>,
) -> Tensor<1> {
    match rates.get(index) {
        None => vector * given,
        Some(rate) => {
            // The check of gradients runs in 64 bits.
            let rate = plain(rate.val()).cast(vector.dtype());
            let [rows, columns] = rate.dims();
            vector * rate.narrow(0, step.min(rows - 1), 1).reshape([columns])
        }
    }
}

/// Zeros for the gradients of rates.
pub fn zeros(rates: &Learnt) -> Vec<Tensor<2>> {
    rates.iter().map(|rate| plain(rate.val()).zeros_like()).collect()
}

/// Adds to the gradient of one vector's rate at a step, from the gradient that the step followed and
/// the outer gradient after it.
pub fn learn(sum: &mut Tensor<2>, step: usize, along: &Tensor<1>, outer: &Tensor<1>) {
    let product = -(along.clone() * outer.clone());
    let [rows, columns] = sum.dims();
    let product = if columns == 1 { product.sum() } else { product };
    let row = step.min(rows - 1);
    let product = product.reshape([1, columns]).cast(sum.dtype());
    let added = sum.clone().narrow(0, row, 1) + product;
    *sum = sum.clone().slice_assign([row..row + 1, 0..columns], added);
}
