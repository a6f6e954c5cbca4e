//! Bilinear resizing as an operation of Burn.

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
