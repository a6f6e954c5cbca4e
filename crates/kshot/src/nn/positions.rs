//! Where a token is: positions of a grid of patches, learnt, fixed or rotary, for grids of any size.
//!
//! - Learnt positions at another grid: bicubic interpolation. [`Interpolation::Antialiased`] is that of timm's
//!   `resample_abs_pos_embed` and of DINOv2 with registers: PyTorch's `interpolate(mode="bicubic", antialias=True)`,
//!   Keys' kernel with a = -0.5, widened where the grid shrinks. [`Interpolation::Offset`] is that of DINOv2 without
//!   registers: no antialias, a = -0.75, and a scale of `(new + 0.1) / old` in place of `new / old`
//! - Sinusoidal, one axis: Vaswani et al. 2017, arXiv 1706.03762: the patch's number in rows, from 0; channel `2i` is the
//!   sine and `2i + 1` the cosine of `number / 10000^(2i / channels)`
//! - Sinusoidal, two axes: as MoCo v3 (Chen et al. 2021, arXiv 2104.02057): a quarter of the channels each for the sine of
//!   the row, the cosine of the row, and both of the column, at frequencies `10000^(-i / (channels / 4))`
//! - Rotary: Su et al. 2021, arXiv 2104.09864, along two axes as in DINOv3 (Siméoni et al. 2025, arXiv 2508.10104):
//!   coordinates of patches' centres from -1 to 1, periods `100^(i / (channels / 4))`, the first half of each head's
//!   channels turned with the second. Not so: shifted, jittered and rescaled coordinates in training; and DINOv3's files
//!   hold the periods rounded to 16 bits, ours are not rounded (nor are timm's)

use burn::prelude::*;

/// How learnt positions are brought to another grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Bicubic with an antialiasing filter.
    Antialiased,
    /// Bicubic without one, at scales of a tenth of a patch more.
    Offset,
}

/// What [`Interpolation::Offset`] adds to the new size.
const OFFSET: f64 = 0.1;

/// The piecewise cubic kernel (Keys 1981).
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

impl Interpolation {
    /// The weights of `old` values in each of `new` ones, row by row.
    fn weights(self, old: usize, new: usize) -> Vec<f32> {
        let mut all = vec![0.0f32; new * old];
        for (index, row) in all.chunks_exact_mut(old).enumerate() {
            let place = index as f64 + 0.5;
            match self {
                Self::Antialiased => {
                    let scale = old as f64 / new as f64;
                    let (centre, widened) = (place * scale, scale.max(1.0));
                    let edge = |at: f64| (at + 0.5).max(0.0) as usize;
                    let first = edge(centre - 2.0 * widened);
                    let end = edge(centre + 2.0 * widened).min(old);
                    let weight = |at: usize| cubic((at as f64 + 0.5 - centre) / widened, -0.5);
                    let sum: f64 = (first..end).map(weight).sum();
                    (first..end).for_each(|at| row[at] = (weight(at) / sum) as f32);
                }
                Self::Offset => {
                    let at = place * old as f64 / (new as f64 + OFFSET) - 0.5;
                    for tap in -1..=2 {
                        let whole = at.floor() + f64::from(tap);
                        let inside = whole.clamp(0.0, (old - 1) as f64) as usize;
                        row[inside] += cubic(at - whole, -0.75) as f32;
                    }
                }
            }
        }
        all
    }

    /// Learnt positions of a square grid at another one.
    ///
    /// # Shapes
    /// `[1, old * old, channels]` to `[1, channels, 1, grid[0] * grid[1]]`
    pub fn resample(self, positions: Tensor<3>, grid: [usize; 2]) -> Tensor<4> {
        let [_, count, channels] = positions.dims();
        let old = count.isqrt();
        let [rows, columns] = grid;
        if grid == [old, old] {
            return positions.swap_dims(1, 2).reshape([1, channels, 1, count]);
        }
        let device = positions.device();
        let weights = |new: usize| {
            Tensor::<2>::from_data(TensorData::new(self.weights(old, new), [new, old]), &device)
        };
        let stretched = weights(rows).matmul(positions.reshape([old, old * channels]));
        let stretched = stretched.reshape([rows, old, channels]).permute([2, 0, 1]);
        let all = stretched.reshape([channels * rows, old]).matmul(weights(columns).transpose());
        all.reshape([1, channels, 1, rows * columns])
    }
}

/// Sines and cosines of each patch's number.
///
/// # Shapes
/// Result: `[1, channels, 1, grid[0] * grid[1]]`
pub fn sinusoidal_1d(grid: [usize; 2], channels: usize, device: &Device) -> Tensor<4> {
    let count = grid[0] * grid[1];
    let value = |channel: usize, patch: usize| {
        let exponent = (channel - channel % 2) as f64 / channels as f64;
        let angle = patch as f64 / 10_000f64.powf(exponent);
        (if channel.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    let values =
        (0..channels).flat_map(|channel| (0..count).map(move |patch| value(channel, patch)));
    let data = TensorData::new(values.collect::<Vec<f32>>(), [1, channels, 1, count]);
    Tensor::from_data(data, device)
}

/// Sines and cosines of each patch's row and column.
///
/// # Shapes
/// Result: `[1, channels, 1, grid[0] * grid[1]]`
///
/// # Panics
/// If the channels are no multiple of 4.
pub fn sinusoidal_2d(grid: [usize; 2], channels: usize, device: &Device) -> Tensor<4> {
    assert!(channels.is_multiple_of(4), "sinusoidal positions of {channels} channels");
    let [rows, columns] = grid;
    let quarter = channels / 4;
    let mut values = Vec::with_capacity(channels * rows * columns);
    for channel in 0..channels {
        let frequency = 10_000f64.powf(-((channel % quarter) as f64) / quarter as f64);
        let wave = |at: usize| {
            let angle = at as f64 * frequency;
            (if (channel / quarter).is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
        };
        for row in 0..rows {
            if channel < 2 * quarter {
                values.extend(std::iter::repeat_n(wave(row), columns));
            } else {
                values.extend((0..columns).map(wave));
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [1, channels, 1, rows * columns]), device)
}

/// Turns of queries and keys by where they are.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[1, 1, channels, tokens]`
    cosines: Tensor<4>,
    /// `[1, 1, channels, tokens]`
    sines: Tensor<4>,
}

/// The turns of a grid of patches behind `others` tokens without a position (class token, registers), for heads of that
/// many channels.
///
/// # Panics
/// If the channels are no multiple of 4.
pub fn rotary(grid: [usize; 2], others: usize, channels: usize, device: &Device) -> Rotary {
    assert!(channels.is_multiple_of(4), "rotary positions of heads of {channels} channels");
    let [rows, columns] = grid;
    let quarter = channels / 4;
    let tokens = others + rows * columns;
    let mut cosines = vec![1.0f32; channels * tokens];
    let mut sines = vec![0.0f32; channels * tokens];
    for channel in 0..channels {
        let (index, of_column) = (channel % quarter, channel / quarter % 2 == 1);
        let period = 100f64.powf(index as f64 / quarter as f64);
        let turn = |at: usize, size: usize| {
            let coordinate = 2.0 * (at as f64 + 0.5) / size as f64 - 1.0;
            let (sine, cosine) = (std::f64::consts::TAU * coordinate / period).sin_cos();
            (sine as f32, cosine as f32)
        };
        let along: Vec<(f32, f32)> = if of_column {
            (0..columns).map(|at| turn(at, columns)).collect()
        } else {
            (0..rows).map(|at| turn(at, rows)).collect()
        };
        let start = channel * tokens + others;
        for patch in 0..rows * columns {
            let at = if of_column { patch % columns } else { patch / columns };
            (sines[start + patch], cosines[start + patch]) = along[at];
        }
    }
    let tensor =
        |values| Tensor::from_data(TensorData::new(values, [1, 1, channels, tokens]), device);
    Rotary { cosines: tensor(cosines), sines: tensor(sines) }
}

impl Rotary {
    /// Turns each channel of the first half with the one of the second by the token's angle.
    ///
    /// # Shapes
    /// `[batch, heads, channels, tokens]` to the same
    pub fn turn(&self, tokens: Tensor<4>) -> Tensor<4> {
        let [_, _, channels, _] = tokens.dims();
        let half = |index| tokens.clone().narrow(2, index * (channels / 2), channels / 2);
        let across = Tensor::cat(vec![-half(1), half(0)], 2);
        tokens * self.cosines.clone() + across * self.sines.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    fn close(ours: &[f32], expected: &[f64]) {
        assert_eq!(ours.len(), expected.len());
        for (ours, expected) in ours.iter().zip(expected) {
            assert!((f64::from(*ours) - expected).abs() < 1e-6, "{ours} {expected}");
        }
    }

    #[test]
    fn sinusoids_are_as_defined() {
        let device = Device::flex();
        // 2 x 2 patches, 4 channels: numbers 0 to 3 at frequencies 1 and 1/100.
        let ours = values(sinusoidal_1d([2, 2], 4, &device));
        let at = |frequency: f64| [0.0, 1.0, 2.0, 3.0].map(|number| number * frequency);
        let waves = [at(1.0).map(f64::sin), at(1.0).map(f64::cos), at(0.01).map(f64::sin)];
        close(&ours[..12], &waves.concat());
        close(&ours[12..], &at(0.01).map(f64::cos));
        // 2 x 3 patches, 4 channels, one frequency.
        let ours = values(sinusoidal_2d([2, 3], 4, &device));
        let (row, column) = ([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        let waves =
            [row.map(f64::sin), row.map(f64::cos), column.map(f64::sin), column.map(f64::cos)];
        close(&ours, &waves.concat());
    }

    #[test]
    fn a_turn_keeps_lengths_and_depends_on_the_difference_of_places() {
        let device = Device::flex();
        device.seed(2);
        let turned = rotary([1, 4], 1, 8, &device);
        let one = Tensor::<4>::random([1, 1, 8, 1], burn::tensor::Distribution::Default, &device);
        let same = one.clone().repeat_dim(3, 5);
        let ours = turned.turn(same);
        let at = |index: usize| ours.clone().narrow(3, index, 1);
        let product = |a: Tensor<4>, b: Tensor<4>| (a * b).sum().into_scalar::<f32>();
        // The first token has no place.
        assert!(values(at(0)) == values(one.clone()));
        let length = product(one.clone(), one);
        for index in 1..5 {
            assert!((product(at(index), at(index)) - length).abs() < 1e-4);
        }
        assert!((product(at(1), at(2)) - product(at(3), at(4))).abs() < 1e-4);
        assert!((product(at(1), at(2)) - product(at(1), at(3))).abs() > 1e-3);
    }

    #[test]
    fn resampled_positions_keep_constants_and_the_native_grid() {
        let device = Device::flex();
        let constant = Tensor::<3>::ones([1, 9, 2], &device);
        for interpolation in [Interpolation::Antialiased, Interpolation::Offset] {
            for grid in [[3, 3], [1, 1], [5, 2], [2, 7]] {
                let ours = values(interpolation.resample(constant.clone(), grid));
                assert_eq!(ours.len(), 2 * grid[0] * grid[1]);
                assert!(ours.iter().all(|value| (value - 1.0).abs() < 1e-5), "{grid:?} {ours:?}");
            }
        }
    }
}
