//! Bilinear resizing, and doubling by repeated pixels, as operations of Burn.

use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::{KernelBackend, ours};
use crate::Resize;

/// Bilinear resizing to rows and columns `size`: this crate's kernels for 32-bit floats on the CPU,
/// Burn's own operation elsewhere. With `align_corners` the corners' centres meet, else the pictures'
/// edges do, as in PyTorch's `interpolate`.
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
    if !ours(&images) {
        let options = InterpolateOptions::new(InterpolateMode::Bilinear)
            .with_align_corners(align_corners)
            .with_output_size(size);
        return burn::tensor::module::interpolate(images, options);
    }
    let resize = Resize::new([height, width], size, align_corners);
    let resize = resize.unwrap_or_else(|refused| panic!("bilinear: {refused}"));
    Tensor::from_dispatch(Dispatch::resize(images.into_dispatch(), resize))
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
