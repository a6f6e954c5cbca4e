//! A convolution with its weights, for inference: bias and activation in the same pass.

use crate::packed::Packed;
use crate::precision::Precision;
use crate::{Activation, Geometry, Pads, conv2d};

/// A two-dimensional convolution, ready to run.
#[derive(Debug, Clone)]
pub struct Conv2d {
    kernels: Kernels,
    /// `[channels_out]`
    bias: Vec<f32>,
    channels: [usize; 2],
    /// Rows and columns.
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    groups: usize,
}

#[derive(Debug, Clone)]
enum Kernels {
    /// `[channels_out, channels_in / groups, rows, columns]`
    Plain(Vec<f32>),
    /// In panels, where products of matrices are all that is asked of them.
    Packed(Packed),
}

impl Conv2d {
    /// A convolution from `channels[0]` to `channels[1]` channels. `weight` is
    /// `[channels[1], channels[0] / groups, kernel[0], kernel[1]]`, `bias` is `[channels[1]]`.
    ///
    /// `None` where stride, dilation, groups or a side of the kernel are zero or the channels do not divide into
    /// the groups.
    ///
    /// # Panics
    /// If `weight` or `bias` is of another length.
    pub fn new(
        weight: Vec<f32>,
        bias: Vec<f32>,
        channels: [usize; 2],
        kernel: [usize; 2],
        [stride, dilation, groups]: [usize; 3],
    ) -> Option<Self> {
        let [channels_in, channels_out] = channels;
        let taps = kernel[0] * kernel[1];
        if [taps, stride, dilation, groups].contains(&0)
            || channels.iter().any(|channels| *channels == 0 || !channels.is_multiple_of(groups))
        {
            return None;
        }
        assert_eq!(weight.len(), channels_out * (channels_in / groups) * taps);
        assert_eq!(bias.len(), channels_out);
        let kernels = if conv2d::is_product(kernel, [stride; 2], groups, channels) {
            let extents = [channels_out / groups, channels_in / groups * taps];
            Kernels::Packed(Packed::new(&weight, groups, extents))
        } else {
            Kernels::Plain(weight)
        };
        Some(Self { kernels, bias, channels, kernel, stride, dilation, groups })
    }

    /// Channels of the result.
    pub fn channels_out(&self) -> usize {
        self.channels[1]
    }

    /// Height and width of the result for an input of `size`.
    ///
    /// # Panics
    /// If the padded input is smaller than the kernel.
    pub fn size(&self, size: [usize; 2], pads: Pads) -> [usize; 2] {
        std::array::from_fn(|axis| {
            let covered = (self.kernel[axis] - 1) * self.dilation + 1;
            let (before, after) = pads[axis];
            let padded = size[axis] + before + after;
            assert!(padded >= covered, "{padded} pixels are fewer than the kernel's {covered}");
            (padded - covered) / self.stride + 1
        })
    }

    /// Convolves a batch: `[batch, channels_in, height, width]` to
    /// `[batch, channels_out, height', width']`, then applies bias and activation. Multiplies in bf16 where
    /// [`Precision::Bf16`] is chosen and the convolution is a product of large matrices.
    ///
    /// # Panics
    /// If `images` is not a whole number of pictures of `size`.
    pub fn forward(
        &self,
        images: &[f32],
        size: [usize; 2],
        pads: Pads,
        activation: Activation,
    ) -> Vec<f32> {
        let each = self.channels[0] * size[0] * size[1];
        assert!(each > 0 && images.len().is_multiple_of(each), "images of another size");
        let [channels_in, channels_out] = self.channels;
        let geometry = Geometry::new(
            [images.len() / each, channels_in, size[0], size[1]],
            [channels_out, channels_in / self.groups, self.kernel[0], self.kernel[1]],
            [self.stride; 2],
            pads,
            [self.dilation; 2],
            self.groups,
        );
        let geometry = geometry.unwrap_or_else(|refused| panic!("{refused}"));
        let precision = Precision::current();
        let geometry = geometry.with_precise(precision == Precision::Precise);
        let bias = Some(&self.bias[..]);
        match &self.kernels {
            Kernels::Plain(weight) => conv2d::forward(&geometry, images, weight, bias, activation),
            Kernels::Packed(packed) => {
                let bf16 = precision == Precision::Bf16;
                conv2d::forward_packed(&geometry, images, packed, bf16, bias, activation)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::pair;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// By the definition, in 64 bits.
    fn reference(
        conv: &Conv2d,
        weight: &[f32],
        images: &[f32],
        size: [usize; 2],
        pads: Pads,
        activation: Activation,
    ) -> Vec<f64> {
        let [channels_in, channels_out] = conv.channels;
        let [height, width] = conv.size(size, pads);
        let (inside, [rows, columns]) = (channels_in / conv.groups, conv.kernel);
        let batch = images.len() / (channels_in * size[0] * size[1]);
        let (low, high) = activation.bounds();
        let mut out = Vec::new();
        for image in 0..batch {
            for o in 0..channels_out {
                let group = o / (channels_out / conv.groups);
                for y in 0..height {
                    for x in 0..width {
                        let mut sum = f64::from(conv.bias[o]);
                        for i in 0..inside {
                            for ky in 0..rows {
                                for kx in 0..columns {
                                    let at = |place: usize, tap: usize, before: usize| {
                                        (place * conv.stride + tap * conv.dilation)
                                            .checked_sub(before)
                                    };
                                    let (Some(sy), Some(sx)) =
                                        (at(y, ky, pads[0].0), at(x, kx, pads[1].0))
                                    else {
                                        continue;
                                    };
                                    if sy >= size[0] || sx >= size[1] {
                                        continue;
                                    }
                                    let plane = image * channels_in + group * inside + i;
                                    let value = images[(plane * size[0] + sy) * size[1] + sx];
                                    let tap = ((o * inside + i) * rows + ky) * columns + kx;
                                    let weight = weight[tap];
                                    sum += f64::from(value) * f64::from(weight);
                                }
                            }
                        }
                        out.push(sum.clamp(f64::from(low), f64::from(high)));
                    }
                }
            }
        }
        out
    }

    #[test]
    fn every_kind_agrees_with_the_definition() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
        };
        // channels in, out, rows and columns of the kernel, stride, dilation, groups, height, width, padding, batch
        for [i, o, rows, columns, s, d, g, h, w, p, n] in [
            [3, 32, 3, 3, 2, 1, 1, 17, 23, 1, 1],
            [16, 24, 1, 1, 1, 1, 1, 31, 33, 0, 2],
            [40, 7, 1, 1, 2, 1, 1, 9, 8, 0, 1],
            [5, 6, 3, 3, 1, 2, 1, 12, 40, 2, 1],
            [3, 4, 7, 7, 2, 1, 1, 20, 19, 3, 1],
            [300, 70, 1, 1, 1, 1, 1, 3, 5, 0, 1],
            [8, 8, 3, 3, 1, 1, 8, 20, 37, 1, 2],
            [8, 8, 3, 3, 2, 1, 8, 21, 38, 1, 1],
            [6, 6, 5, 5, 1, 1, 6, 9, 7, 2, 1],
            [6, 6, 5, 5, 2, 1, 6, 30, 35, 2, 1],
            [2, 2, 5, 5, 2, 1, 2, 1, 1, 2, 1],
            [6, 8, 3, 3, 2, 1, 2, 9, 11, 1, 2],
            [20, 18, 3, 3, 1, 2, 1, 13, 9, 2, 1],
            [24, 20, 1, 7, 1, 1, 1, 9, 12, 3, 2],
            [20, 24, 7, 1, 1, 1, 1, 9, 12, 3, 1],
            [4, 20, 1, 3, 1, 1, 1, 9, 12, 1, 1],
            [6, 6, 3, 5, 2, 1, 6, 9, 17, 2, 1],
        ] {
            let weight = numbers(o * i / g * rows * columns);
            let conv = Conv2d::new(weight.clone(), numbers(o), [i, o], [rows, columns], [s, d, g]);
            let conv = conv.unwrap();
            let images = numbers(n * i * h * w);
            for (pads, activation) in [
                ([(p, p), (p, p)], Activation::Identity),
                ([(p, p + 1), (p, p + s - 1)], Activation::Relu),
                ([(0, 2 * p), (p, p)], Activation::Relu6),
            ] {
                let ours = conv.forward(&images, [h, w], pads, activation);
                let expected = reference(&conv, &weight, &images, [h, w], pads, activation);
                assert_eq!(ours.len(), expected.len());
                let scale = expected.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
                for (ours, expected) in ours.iter().zip(&expected) {
                    let far = (f64::from(*ours) - expected).abs() / scale;
                    assert!(far < 1e-5, "{far:e} in {i} {o} {rows}x{columns} {s} {d} {g} {h} {w}");
                }
            }
        }
    }

    #[test]
    fn products_in_bf16_are_those_of_rounded_operands() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
        };
        let rounded = |values: &[f32]| -> Vec<f32> {
            let high = |value: &f32| f32::from_bits(pair([0.0, *value]).to_bits());
            values.iter().map(high).collect()
        };
        // channels in, out, kernel, stride, groups, height, width
        for [i, o, k, s, g, h, w] in [
            [40, 96, 1, 1, 1, 14, 15],
            [65, 50, 3, 2, 1, 9, 8],
            [300, 70, 1, 1, 1, 3, 5],
            [130, 128, 3, 1, 2, 7, 6],
        ] {
            let (weight, images) = (numbers(o * i / g * k * k), numbers(2 * i * h * w));
            let conv = Conv2d::new(weight.clone(), numbers(o), [i, o], [k; 2], [s, 1, g]).unwrap();
            let Kernels::Packed(packed) = &conv.kernels else { panic!("no product of matrices") };
            let pads = [(k / 2, k / 2); 2];
            let geometry =
                Geometry::new([2, i, h, w], [o, i / g, k, k], [s; 2], pads, [1; 2], g).unwrap();
            let run = |bf16: bool| {
                let bias = Some(&conv.bias[..]);
                conv2d::forward_packed(&geometry, &images, packed, bf16, bias, Activation::Relu)
            };
            let (ours, exact) = (run(true), run(false));
            let expected = reference(
                &conv,
                &rounded(&weight),
                &rounded(&images),
                [h, w],
                pads,
                Activation::Relu,
            );
            let scale = expected.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
            let far = |a: f64, b: f64| (a - b).abs() / scale;
            let worst = |others: &mut dyn Iterator<Item = f64>| {
                ours.iter().zip(others).map(|(a, b)| far(f64::from(*a), b)).fold(0.0, f64::max)
            };
            let of_rounded = worst(&mut expected.iter().copied());
            let of_exact = worst(&mut exact.iter().copied().map(f64::from));
            assert!(of_rounded < 1e-5, "{of_rounded:e} from rounded operands");
            assert!((1e-4..1e-2).contains(&of_exact), "{of_exact:e} from 32 bits");
        }
    }

    #[test]
    fn what_makes_no_convolution_is_refused() {
        let new = |channels: [usize; 2], [kernel, stride, dilation, groups]: [usize; 4]| {
            let count = channels[1] * channels[0] / groups.max(1) * kernel * kernel;
            let (weight, bias) = (vec![0.0; count], vec![0.0; channels[1]]);
            let steps = [stride, dilation, groups];
            Conv2d::new(weight, bias, channels, [kernel; 2], steps).is_some()
        };
        assert!(
            new([4, 4], [3, 1, 1, 1]) && new([4, 4], [3, 1, 2, 4]) && new([4, 8], [7, 3, 1, 2])
        );
        assert!(
            !new([4, 4], [3, 0, 1, 1]) && !new([4, 4], [3, 1, 1, 3]) && !new([4, 4], [3, 1, 1, 0])
        );
    }
}
