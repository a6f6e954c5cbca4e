//! Bilinear resizing, and doubling by repeated pixels, as operations of Burn.

use burn::backend::Dispatch;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, TensorData};

use super::{KernelBackend, ours};
use crate::Resize;

/// Bilinear resizing to rows and columns `size`: this crate's kernels for 32-bit floats on the CPU, elsewhere Burn's own
/// operation, or two matrix products where gradients are asked for, since on GPUs Burn's operation has none. With
/// `align_corners` the corners' centres meet, else the pictures' edges do, as in PyTorch's `interpolate`.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, size[0], size[1]]`
///
/// # Panics
/// If a side is zero.
pub fn bilinear(images: Tensor<4>, size: [usize; 2], align_corners: bool) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if [height, width] == size {
        return images;
    }
    let resize = Resize::new([height, width], size, align_corners);
    let resize = resize.unwrap_or_else(|refused| panic!("bilinear: {refused}"));
    match (ours(&images), images.is_autodiff()) {
        (true, _) => Tensor::from_dispatch(Dispatch::resize(images.into_dispatch(), resize)),
        (false, true) => by_products(images, &resize),
        (false, false) => {
            let options = InterpolateOptions::new(InterpolateMode::Bilinear)
                .with_align_corners(align_corners)
                .with_output_size(size);
            burn::tensor::module::interpolate(images, options)
        }
    }
}

/// Rows and columns as sums of those before.
fn by_products(images: Tensor<4>, resize: &Resize) -> Tensor<4> {
    let ([height, width], [rows, columns]) = (resize.from(), resize.to());
    let device = images.device();
    let down = TensorData::new(resize.matrix(0), [1, 1, rows, height]);
    let across = TensorData::new(resize.matrix(1), [1, 1, columns, width]);
    let [down, across] = [down, across].map(|matrix| Tensor::<4>::from_data(matrix, &device));
    down.matmul(images).matmul(across.swap_dims(2, 3))
}

/// Each pixel as 2x2 of them, cut to a size: this crate's kernels for 32-bit floats on the CPU, Burn's own operations
/// elsewhere.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, size[0], size[1]]`
///
/// # Panics
/// If the size is not that of the doubled images or one less.
pub fn doubled(images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [batch, channels, height, width] = images.dims();
    let whole = [2 * height, 2 * width];
    let is_cut = |(whole, size): (usize, usize)| whole == size || whole == size + 1;
    assert!(whole.into_iter().zip(size).all(is_cut), "{whole:?} cannot be cut to {size:?}");
    if ours(&images) {
        let resize = Resize::nearest([height, width], size);
        let resize = resize.unwrap_or_else(|refused| panic!("doubled: {refused}"));
        return Tensor::from_dispatch(Dispatch::resize(images.into_dispatch(), resize));
    }
    let repeated: Tensor<6> = images
        .reshape([batch, channels, height, 1, width, 1])
        .expand([batch, channels, height, 2, width, 2]);
    let doubled: Tensor<4> = repeated.reshape([batch, channels, whole[0], whole[1]]);
    doubled.narrow(2, 0, size[0]).narrow(3, 0, size[1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn products_are_the_kernels() {
        let device = Device::flex().autodiff();
        for (from, to, corners) in [
            ([5, 7], [11, 3], false),
            ([4, 4], [8, 8], false),
            ([1, 6], [9, 2], false),
            ([3, 5], [7, 9], true),
            ([2, 1], [1, 4], true),
        ] {
            let images =
                Tensor::<4>::random([2, 3, from[0], from[1]], Distribution::Default, &device);
            let resize = Resize::new(from, to, corners).unwrap();
            let of = |run: &dyn Fn(Tensor<4>) -> Tensor<4>| {
                let images = images.clone().detach().require_grad();
                let result = run(images.clone());
                let gradients = (result.clone() * result.clone()).sum().backward();
                (result.inner(), images.grad(&gradients).unwrap())
            };
            let kernels = of(&|images| bilinear(images, to, corners));
            let products = of(&|images| by_products(images, &resize));
            let apart = |a: Tensor<4>, b: Tensor<4>| (a - b).abs().max().into_scalar::<f32>();
            let found = [apart(kernels.0, products.0), apart(kernels.1, products.1)];
            assert!(found.into_iter().all(|apart| apart < 1e-5), "{from:?} {to:?} {found:?}");
        }
    }
}
