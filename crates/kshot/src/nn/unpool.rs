//! Unpooling by the places of a maximum pool (Zeiler and Fergus 2013, arXiv 1311.2901; Badrinarayanan, Kendall and
//! Cipolla 2015, arXiv 1511.00561).
//!
//! The places are found again from the pool's input, so that no indices need to be carried from an encoder to its
//! decoder: the pool of that input, with the same rule for ties (the first largest), chose the very same ones.

use burn::prelude::*;
use burn::tensor::ops::MaxPoolOptions;

/// Windows of 2x2 pixels, two apart, over the last odd row and column too.
fn halving() -> MaxPoolOptions<2> {
    MaxPoolOptions::new([2, 2]).with_stride([2, 2]).with_ceil_mode(true)
}

/// The largest pixel of each window of 2x2, over the last odd row and column too.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, height / 2, width / 2]`, rounded up
pub fn halve(images: Tensor<4>) -> Tensor<4> {
    let [.., height, width] = images.dims();
    let even = height.is_multiple_of(2) && width.is_multiple_of(2);
    // Without a window that reaches over the border the faster kernel is the same.
    kshot_kernels::max_pool2d(images, halving().with_ceil_mode(!even))
}

/// Each value at the place where [`halve`] found the largest pixel of `images`, zeros elsewhere. The gradient of the
/// values is that at these places; none passes to `images`.
///
/// # Shapes
/// - `values`: `[batch, channels, height / 2, width / 2]`, rounded up
/// - `images`: `[batch, channels, height, width]`
/// - result: as `images`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn unpool(values: Tensor<4>, images: Tensor<4>) -> Tensor<4> {
    kshot_kernels::max_unpool2d(values, images, halving())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    /// Unpooling what was pooled keeps exactly the pool's gradient places, ties and odd sides included.
    #[test]
    fn values_go_where_the_pool_took_them() {
        let device = Device::flex().autodiff();
        for [height, width] in [[4, 6], [5, 3], [1, 1], [2, 7]] {
            let images =
                Tensor::<4>::random([2, 3, height, width], Distribution::Normal(0.0, 1.0), &device);
            // As behind a ReLU: whole windows of zeros.
            let images = images.clamp_min(0.0).inner();
            let images = Tensor::<4>::from_inner(images).require_grad();
            let pooled = halve(images.clone());
            let values =
                Tensor::<4>::random(pooled.dims(), Distribution::Default, &device.clone().inner());
            let values = Tensor::<4>::from_inner(values).require_grad();
            let through = (pooled * Tensor::from_inner(values.clone().inner())).sum().backward();
            let expected = images.grad(&through).unwrap();

            let found = unpool(values.clone(), images.clone());
            assert_eq!(found.clone().inner().into_data(), expected.clone().into_data());
            let factors = Tensor::<4>::random(found.dims(), Distribution::Default, &device);
            let gradients = (found * factors.clone()).sum().backward();
            let gradient = values.grad(&gradients).unwrap();
            // A scalar product's gradient: <unpool(v), f> = <v, gradient>.
            let left: f32 = (expected * factors.inner()).sum().into_scalar();
            let right: f32 = (values.inner() * gradient).sum().into_scalar();
            assert!((left - right).abs() < 1e-4 * left.abs().max(1.0), "{left} and {right}");
            assert!(images.grad(&gradients).is_none(), "the places have no gradient");
        }
    }
}
