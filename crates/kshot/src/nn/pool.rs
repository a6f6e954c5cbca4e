//! Pooling to a given size, as PyTorch's `adaptive_avg_pool2d` counts.

use burn::prelude::*;
use burn::tensor::ops::AvgPoolOptions;

/// The means of windows that divide the images into `size` rows and columns. Window `i` of `n` along an axis of `s`
/// pixels covers the pixels from `floor(i s / n)` to below `ceil((i + 1) s / n)`: neighbours may share a pixel, and
/// there may be more windows than pixels.
///
/// # Shapes
/// `[batch, channels, height, width]` to `[batch, channels, size[0], size[1]]`
///
/// # Panics
/// If a side of `size` is 0.
pub fn adaptive_average(images: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [.., height, width] = images.dims();
    assert!(!size.contains(&0), "a pool to {size:?}; at least one row and column");
    let divides = height.is_multiple_of(size[0]) && width.is_multiple_of(size[1]);
    if divides && images.device().inner() == Device::flex() {
        let window = [height / size[0], width / size[1]];
        return kshot_kernels::avg_pool2d(images, AvgPoolOptions::new(window).with_stride(window));
    }
    burn::tensor::module::adaptive_avg_pool2d(images, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, on sizes that divide, do not, and are smaller than the result.
    #[test]
    fn windows_are_those_of_the_definition() {
        let device = Device::flex();
        for ([height, width], [rows, columns]) in
            [([6, 4], [3, 2]), ([7, 5], [3, 2]), ([2, 1], [6, 3]), ([5, 6], [6, 6])]
        {
            let count = (2 * height * width) as i64;
            let images =
                Tensor::arange(0..count, &device).float().sin().reshape([1, 2, height, width]);
            let pixels: Vec<f32> = images.to_data().try_to_vec().unwrap();
            let ours = adaptive_average(images, [rows, columns]);
            assert_eq!(ours.dims(), [1, 2, rows, columns]);
            let ours: Vec<f32> = ours.into_data().try_into_vec().unwrap();
            let covers = |index: usize, size: usize, windows: usize| {
                index * size / windows..((index + 1) * size).div_ceil(windows)
            };
            for (at, found) in ours.into_iter().enumerate() {
                let (plane, place) = (at / (rows * columns), at % (rows * columns));
                let mut inside = Vec::new();
                for y in covers(place / columns, height, rows) {
                    for x in covers(place % columns, width, columns) {
                        inside.push(pixels[(plane * height + y) * width + x]);
                    }
                }
                let mean = inside.iter().sum::<f32>() / inside.len() as f32;
                assert!((found - mean).abs() < 1e-6, "{height}x{width} to {rows}x{columns}");
            }
        }
    }
}
