//! MMD: the distance between two domains' features in the space of a kernel.
//!
//! Gretton et al., *A Kernel Two-Sample Test*, JMLR 2012; as a layer's loss: Long et al., *Learning Transferable
//! Features with Deep Adaptation Networks*, ICML 2015, arXiv 1502.02791. Here the kernel is the mean of five Gaussians
//! whose bandwidths are a quarter to four times the mean squared distance of the places at hand (without gradient),
//! and the estimate is the biased one, of all pairs, which is never negative. The paper learns the kernels' shares and
//! estimates in linear time.

use burn::prelude::*;

/// Bandwidths over the mean squared distance.
const BANDWIDTHS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// The squared distance of two sets of features.
///
/// # Shapes
/// - `source`: `[places, features]`
/// - `target`: `[places, features]`, any number of places
/// - result: `[1]`, 0 to 2
pub fn mmd(source: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let (distances, n, m) = of_both(source, target);
    // Of distinct places: the diagonal is 0.
    let pairs = ((n + m) * (n + m).saturating_sub(1)).max(1) as f64;
    let mean = (distances.clone().detach().sum() / pairs).clamp_min(1e-12);
    by_kernels(distances, [n, m], mean)
}

/// The same with bandwidths around a mean squared distance that is given.
///
/// # Shapes
/// As [`mmd`]; `mean`: `[1]`, above 0
pub fn mmd_at(source: Tensor<2>, target: Tensor<2>, mean: Tensor<1>) -> Tensor<1> {
    let (distances, n, m) = of_both(source, target);
    by_kernels(distances, [n, m], mean)
}

/// Squared distances of all pairs of both sets' places, and how many places each has.
fn of_both(source: Tensor<2>, target: Tensor<2>) -> (Tensor<2>, usize, usize) {
    let [n, features] = source.dims();
    let [m, other] = target.dims();
    assert_eq!(other, features, "features of both domains");
    (squared_distances(Tensor::cat(vec![source, target], 0)), n, m)
}

/// The estimate by squared distances of `n` source and `m` target places.
fn by_kernels(distances: Tensor<2>, [n, m]: [usize; 2], mean: Tensor<1>) -> Tensor<1> {
    let mean = mean.reshape([1, 1]);
    let kernels = BANDWIDTHS.map(|width| (distances.clone().neg() / (mean.clone() * width)).exp());
    let kernel = kernels.into_iter().reduce(|sum, one| sum + one);
    let Some(kernel) = kernel else { unreachable!("there are bandwidths") };
    let kernel = kernel / BANDWIDTHS.len() as f64;
    let block = |rows: [usize; 2], columns: [usize; 2]| {
        kernel.clone().narrow(0, rows[0], rows[1]).narrow(1, columns[0], columns[1]).mean()
    };
    let (first, second) = ([0, n], [n, m]);
    block(first, first) + block(second, second) - block(first, second) * 2.0
}

/// Squared Euclidean distances of all pairs, `[places, features]` to `[places, places]`.
fn squared_distances(places: Tensor<2>) -> Tensor<2> {
    let norms = (places.clone() * places.clone()).sum_dim(1);
    let products = places.clone().matmul(places.transpose());
    (norms.clone() + norms.transpose() - products * 2.0).clamp_min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    #[test]
    fn equal_sets_are_at_no_distance_and_apart_ones_farther() {
        let device = Device::flex();
        device.seed(1);
        let a = Tensor::<2>::random([40, 3], Distribution::Normal(0.0, 1.0), &device);
        let of = |shift: f64| mmd(a.clone(), a.clone() + shift).into_scalar::<f32>();
        assert!(of(0.0).abs() < 1e-6);
        assert!(of(0.5) > 0.01 && of(2.0) > 2.0 * of(0.5) && of(50.0) <= 2.0, "{}", of(2.0));
    }

    #[test]
    fn two_places_are_as_by_hand() {
        let device = Device::flex();
        let (a, b) = ([[0.0, 0.0]], [[3.0, 4.0]]);
        let (a, b) = (Tensor::<2>::from_data(a, &device), Tensor::<2>::from_data(b, &device));
        // Two places 5 apart: the mean squared distance is 25, and k = mean of exp(-1 / width).
        let k = BANDWIDTHS.map(|width| (-1.0 / width).exp()).iter().sum::<f64>() / 5.0;
        let found: f32 = mmd(a, b).into_scalar();
        assert!((f64::from(found) - (2.0 - 2.0 * k)).abs() < 1e-5, "{found}");
    }
}
