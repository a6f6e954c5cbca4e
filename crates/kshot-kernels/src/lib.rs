//! Convolutions on CPUs for inference: 32-bit floats, `[channels, height, width]` in and out, bias and
//! activation applied while the result is still in cache.
//!
//! Dense convolutions are matrix products over blocks of pixels (patches are gathered block by block,
//! never as a whole); depthwise ones run along the rows of padded planes. What a processor can do is
//! asked at run time, so that one binary serves all.

mod dense;
mod depthwise;

/// What follows the convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
}

impl Activation {
    /// Smallest and largest value that passes.
    fn bounds(self) -> (f32, f32) {
        match self {
            Self::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }
}

/// A two-dimensional convolution with square kernels, ready to run.
#[derive(Debug, Clone)]
pub struct Conv2d {
    /// `[channels_out, channels_in / groups, kernel, kernel]`
    weight: Vec<f32>,
    /// `[channels_out]`
    bias: Vec<f32>,
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
}

/// Zeros before and after each axis, in pixels: rows, then columns.
pub type Pads = [(usize, usize); 2];

impl Conv2d {
    /// A convolution from `channels[0]` to `channels[1]` channels. `weight` is
    /// `[channels[1], channels[0] / groups, kernel, kernel]`, `bias` is `[channels[1]]`.
    ///
    /// `None` for kinds that are not covered: other groupings than one group or one channel a group,
    /// depthwise convolutions with a dilation, a kernel other than 3 or 5, or a stride above 2.
    ///
    /// # Panics
    /// If `weight` or `bias` is of another length.
    pub fn new(
        weight: Vec<f32>,
        bias: Vec<f32>,
        channels: [usize; 2],
        [kernel, stride, dilation, groups]: [usize; 4],
    ) -> Option<Self> {
        let [channels_in, channels_out] = channels;
        let depthwise = groups == channels_in && groups == channels_out && groups > 1;
        let covered = depthwise && dilation == 1 && matches!(kernel, 3 | 5) && stride <= 2;
        if groups != 1 && !covered || stride == 0 {
            return None;
        }
        assert_eq!(weight.len(), channels_out * (channels_in / groups) * kernel * kernel);
        assert_eq!(bias.len(), channels_out);
        Some(Self { weight, bias, channels, kernel, stride, dilation, groups })
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
        let covered = (self.kernel - 1) * self.dilation + 1;
        std::array::from_fn(|axis| {
            let (before, after) = pads[axis];
            let padded = size[axis] + before + after;
            assert!(padded >= covered, "{padded} pixels are fewer than the kernel's {covered}");
            (padded - covered) / self.stride + 1
        })
    }

    /// Convolves a batch: `[batch, channels_in, height, width]` to
    /// `[batch, channels_out, height', width']`, then applies bias and activation.
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
        let [height, width] = self.size(size, pads);
        let result = self.channels[1] * height * width;
        let mut values = vec![0.0; images.len() / each * result];
        for (image, result) in images.chunks_exact(each).zip(values.chunks_exact_mut(result)) {
            if self.groups == 1 {
                dense::forward(self, image, size, pads, activation, result);
            } else {
                depthwise::forward(self, image, size, pads, activation, result);
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// By the definition, in 64 bits.
    fn reference(
        conv: &Conv2d,
        images: &[f32],
        size: [usize; 2],
        pads: Pads,
        activation: Activation,
    ) -> Vec<f64> {
        let [channels_in, channels_out] = conv.channels;
        let [height, width] = conv.size(size, pads);
        let (inside, k) = (channels_in / conv.groups, conv.kernel);
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
                            for ky in 0..k {
                                for kx in 0..k {
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
                                    let weight = conv.weight[((o * inside + i) * k + ky) * k + kx];
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
        // channels in, out, kernel, stride, dilation, groups, height, width, padding, batch
        for [i, o, k, s, d, g, h, w, p, n] in [
            [3, 32, 3, 2, 1, 1, 17, 23, 1, 1],
            [16, 24, 1, 1, 1, 1, 31, 33, 0, 2],
            [40, 7, 1, 2, 1, 1, 9, 8, 0, 1],
            [5, 6, 3, 1, 2, 1, 12, 40, 2, 1],
            [3, 4, 7, 2, 1, 1, 20, 19, 3, 1],
            [300, 70, 1, 1, 1, 1, 3, 5, 0, 1],
            [8, 8, 3, 1, 1, 8, 20, 37, 1, 2],
            [8, 8, 3, 2, 1, 8, 21, 38, 1, 1],
            [6, 6, 5, 1, 1, 6, 9, 7, 2, 1],
            [6, 6, 5, 2, 1, 6, 30, 35, 2, 1],
            [2, 2, 5, 2, 1, 2, 1, 1, 2, 1],
        ] {
            let conv = Conv2d::new(numbers(o * i / g * k * k), numbers(o), [i, o], [k, s, d, g]);
            let conv = conv.unwrap();
            let images = numbers(n * i * h * w);
            for (pads, activation) in [
                ([(p, p), (p, p)], Activation::Identity),
                ([(p, p + 1), (p, p + s - 1)], Activation::Relu),
                ([(0, 2 * p), (p, p)], Activation::Relu6),
            ] {
                let ours = conv.forward(&images, [h, w], pads, activation);
                let expected = reference(&conv, &images, [h, w], pads, activation);
                assert_eq!(ours.len(), expected.len());
                let scale = expected.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
                for (ours, expected) in ours.iter().zip(&expected) {
                    let far = (f64::from(*ours) - expected).abs() / scale;
                    assert!(far < 1e-5, "{far:e} in {i} {o} {k} {s} {d} {g} {h} {w}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_covered_is_refused() {
        let new = |channels: [usize; 2], shape: [usize; 4]| {
            let count = channels[1] * channels[0] / shape[3] * shape[0] * shape[0];
            Conv2d::new(vec![0.0; count], vec![0.0; channels[1]], channels, shape).is_some()
        };
        assert!(new([4, 4], [3, 1, 1, 1]) && new([4, 4], [3, 1, 1, 4]));
        assert!(!new([4, 4], [3, 1, 1, 2]) && !new([4, 8], [3, 1, 1, 4]));
        assert!(!new([4, 4], [3, 1, 2, 4]) && !new([4, 4], [7, 1, 1, 4]));
    }
}
