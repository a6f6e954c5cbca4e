//! CORAL: the distance between the covariances of two domains' features.
//!
//! Sun and Saenko, *Deep CORAL: Correlation Alignment for Deep Domain Adaptation*, ECCV 2016 workshops, arXiv
//! 1607.01719: the squared Frobenius norm of the difference of both covariances, over `4 d²` for `d` features.

use burn::prelude::*;

/// The distance of two sets of features.
///
/// # Shapes
/// - `source`: `[places, features]`
/// - `target`: `[places, features]`, any number of places
/// - result: `[1]`
pub fn coral(source: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let [_, features] = source.dims();
    assert_eq!(target.dims()[1], features, "features of both domains");
    let difference = covariance(source) - covariance(target);
    let scale = 4.0 * (features * features) as f64;
    (difference.clone() * difference).sum() / scale
}

/// The covariance of features, `[places, features]` to `[features, features]`.
fn covariance(places: Tensor<2>) -> Tensor<2> {
    let [count, _] = places.dims();
    let centred = places.clone() - places.mean_dim(0);
    centred.clone().transpose().matmul(centred) / (count.max(2) - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covariances_are_compared_as_the_paper_says() {
        let device = Device::flex();
        // Covariances [[1, 0], [0, 0]] (sample) and [[4, 0], [0, 0]].
        let a = Tensor::<2>::from_data([[-1.0, 3.0], [0.0, 3.0], [1.0, 3.0]], &device);
        let b = Tensor::<2>::from_data([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]], &device);
        let distance = |a: Tensor<2>, b: Tensor<2>| coral(a, b).into_scalar::<f32>();
        assert!((distance(a.clone(), b.clone()) - 9.0 / 16.0).abs() < 1e-6);
        assert_eq!(distance(a.clone(), a.clone() + 5.0), 0.0, "means do not count");
    }
}
