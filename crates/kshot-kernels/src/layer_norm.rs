//! Layer normalisation of the channels of each place: places are lanes, so that nothing is transposed.

use rayon::prelude::*;

use crate::Channels;
use crate::scratch::{Scratch, fresh};
use crate::shared::Shared;
use crate::simd::{Kernel, Simd, dispatch};
use crate::sums::add_parts;

/// Places of a task: a block of all channels stays in the nearest caches.
const BLOCK: usize = 64;
/// Sums side by side.
const LANES: usize = 16;

/// Which places a task has.
#[derive(Clone, Copy)]
struct Block {
    /// The first place's first channel.
    start: usize,
    count: usize,
    /// Which task it is.
    number: usize,
}

/// How many tasks, and each of them.
fn blocks(shape: Channels, floats: usize) -> impl IndexedParallelIterator<Item = Block> {
    let Channels { channels, area } = shape;
    let each = channels * area;
    assert!(each > 0 && floats.is_multiple_of(each), "{floats} floats of {shape:?}");
    let parts = area.div_ceil(BLOCK);
    (0..floats / each * parts).into_par_iter().map(move |number| {
        let (picture, first) = (number / parts, number % parts * BLOCK);
        Block { start: picture * each + first, count: BLOCK.min(area - first), number }
    })
}

/// Brings the channels of each place to mean 0 and variance 1, then scales and shifts each channel.
///
/// # Shapes
/// `images`: `[batch, channels, area]`, as the result; `gamma`, `beta`: `[channels]`
///
/// # Panics
/// If the lengths do not fit each other.
pub fn layer_norm(
    shape: &Channels,
    images: &[f32],
    [gamma, beta]: [&[f32]; 2],
    epsilon: f64,
) -> Vec<f32> {
    assert_eq!([gamma.len(), beta.len()], [shape.channels; 2], "gammas and betas");
    let epsilon = epsilon as f32;
    fresh(images.len(), |result| {
        let result = &Shared::new(result);
        blocks(*shape, images.len()).for_each(|block| {
            let what = Places { shape: *shape, images, block, epsilon };
            dispatch(Forward { what, gamma, beta, result });
        });
    })
}

/// The gradients of [`layer_norm`] with respect to images, gamma and beta.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn layer_norm_gradients(
    shape: &Channels,
    images: &[f32],
    gradient: &[f32],
    gamma: &[f32],
    epsilon: f64,
) -> [Vec<f32>; 3] {
    assert_eq!(gamma.len(), shape.channels, "gammas");
    assert_eq!(gradient.len(), images.len(), "floats of the gradient");
    let epsilon = epsilon as f32;
    let channels = shape.channels;
    let tasks = blocks(*shape, images.len());
    let mut parts = vec![0.0; 2 * channels * tasks.len().max(1)];
    let of_images = fresh(images.len(), |result| {
        let (result, parts) = (&Shared::new(result), &Shared::new(&mut parts));
        tasks.for_each(|block| {
            let what = Places { shape: *shape, images, block, epsilon };
            // SAFETY: each block has a part of its own.
            let sums = unsafe { parts.part(2 * channels * block.number, 2 * channels) };
            dispatch(Back { what, gradient, gamma, sums, result });
        });
    });
    let mut both = vec![0.0; 2 * channels];
    add_parts(&parts, &mut both);
    let beta = both.split_off(channels);
    [of_images, both, beta]
}

/// The places of a block.
#[derive(Clone, Copy)]
struct Places<'a> {
    shape: Channels,
    images: &'a [f32],
    block: Block,
    epsilon: f32,
}

impl<'a> Places<'a> {
    #[inline(always)]
    fn at(&self, channel: usize) -> usize {
        self.block.start + channel * self.shape.area
    }

    #[inline(always)]
    fn row(&self, channel: usize) -> &'a [f32] {
        &self.images[self.at(channel)..][..self.block.count]
    }

    /// For each place its mean and, from [`BLOCK`] on, one over its standard deviation.
    #[inline(always)]
    fn statistics(&self) -> Scratch {
        let mut scratch = Scratch::zeros(2 * BLOCK);
        let (means, factors) = scratch.split_at_mut(BLOCK);
        let share = 1.0 / self.shape.channels as f32;
        for channel in 0..self.shape.channels {
            for (sum, value) in means.iter_mut().zip(self.row(channel)) {
                *sum += value;
            }
        }
        means.iter_mut().for_each(|mean| *mean *= share);
        for channel in 0..self.shape.channels {
            for ((sum, mean), value) in factors.iter_mut().zip(means.iter()).zip(self.row(channel))
            {
                *sum += (value - mean) * (value - mean);
            }
        }
        factors
            .iter_mut()
            .for_each(|factor| *factor = 1.0 / (*factor * share + self.epsilon).sqrt());
        scratch
    }
}

struct Forward<'a> {
    what: Places<'a>,
    gamma: &'a [f32],
    beta: &'a [f32],
    result: &'a Shared<'a>,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { what, gamma, beta, result } = self;
        let statistics = what.statistics();
        let (means, factors) = statistics.split_at(BLOCK);
        for (channel, (gamma, beta)) in gamma.iter().zip(beta).enumerate() {
            // SAFETY: each block has places of its own.
            let out = unsafe { result.part(what.at(channel), what.block.count) };
            let places = out.iter_mut().zip(what.row(channel)).zip(means.iter().zip(factors));
            for ((out, value), (mean, factor)) in places {
                *out = (value - mean) * factor * gamma + beta;
            }
        }
    }
}

struct Back<'a> {
    what: Places<'a>,
    gradient: &'a [f32],
    gamma: &'a [f32],
    /// The sums for gamma, then those for beta.
    sums: &'a mut [f32],
    result: &'a Shared<'a>,
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { what, gradient, gamma, sums, result } = self;
        let statistics = what.statistics();
        let (means, factors) = statistics.split_at(BLOCK);
        let count = what.block.count;
        let back = |channel: usize| &gradient[what.at(channel)..][..count];
        // For each place the sums of the scaled gradients, and of these times the normalised values.
        let mut scratch = Scratch::zeros(2 * BLOCK);
        let (plain, along) = scratch.split_at_mut(BLOCK);
        let (of_gamma, of_beta) = sums.split_at_mut(gamma.len());
        for (channel, gamma) in gamma.iter().enumerate() {
            let (row, back) = (what.row(channel), back(channel));
            let (mut lanes, mut shifts) = ([0.0f32; LANES], [0.0f32; LANES]);
            for at in 0..count {
                let normal = (row[at] - means[at]) * factors[at];
                let scaled = back[at] * gamma;
                plain[at] += scaled;
                along[at] += scaled * normal;
                lanes[at % LANES] += back[at] * normal;
                shifts[at % LANES] += back[at];
            }
            of_gamma[channel] = lanes.iter().sum();
            of_beta[channel] = shifts.iter().sum();
        }
        let share = 1.0 / gamma.len() as f32;
        for (channel, gamma) in gamma.iter().enumerate() {
            let (row, back) = (what.row(channel), back(channel));
            // SAFETY: each block has places of its own.
            let out = unsafe { result.part(what.at(channel), count) };
            for at in 0..count {
                let normal = (row[at] - means[at]) * factors[at];
                let all = (plain[at] + normal * along[at]) * share;
                out[at] = (back[at] * gamma - all) * factors[at];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn values_and_gradients_are_those_of_64_bits(
            pictures in 1usize..3,
            channels in 2usize..23,
            area in 1usize..200,
            offset in prop::sample::select(vec![0.0f32, 100.0]),
        ) {
            let shape = Channels { channels, area };
            let count = pictures * channels * area;
            let images: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1013) as f32 / 500.0 + offset).collect();
            let gradient: Vec<f32> = (0..count).map(|i| ((i * 104_729) % 89) as f32 / 44.0 - 1.0).collect();
            let gamma: Vec<f32> = (0..channels).map(|c| 1.0 + c as f32 / 10.0).collect();
            let beta: Vec<f32> = (0..channels).map(|c| c as f32 / 7.0).collect();
            let epsilon = 1e-3;
            let result = layer_norm(&shape, &images, [&gamma, &beta], epsilon);
            let [of_images, of_gamma, of_beta] =
                layer_norm_gradients(&shape, &images, &gradient, &gamma, epsilon);
            let (mut gammas, mut betas) = (vec![0.0; channels], vec![0.0; channels]);
            for place in 0..pictures * area {
                let at = |c: usize| (place / area * channels + c) * area + place % area;
                let row: Vec<f64> = (0..channels).map(|c| f64::from(images[at(c)])).collect();
                let mean = row.iter().sum::<f64>() / channels as f64;
                let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / channels as f64;
                let factor = (variance + epsilon).sqrt().recip();
                let normal: Vec<f64> = row.iter().map(|v| (v - mean) * factor).collect();
                let scaled: Vec<f64> =
                    (0..channels).map(|c| f64::from(gradient[at(c)] * gamma[c])).collect();
                let plain = scaled.iter().sum::<f64>() / channels as f64;
                let along = scaled.iter().zip(&normal).map(|(a, b)| a * b).sum::<f64>() / channels as f64;
                for c in 0..channels {
                    let expected = normal[c] * f64::from(gamma[c]) + f64::from(beta[c]);
                    prop_assert!((f64::from(result[at(c)]) - expected).abs() < 2e-4);
                    let expected = (scaled[c] - plain - normal[c] * along) * factor;
                    prop_assert!((f64::from(of_images[at(c)]) - expected).abs() < 2e-3 * factor);
                    gammas[c] += f64::from(gradient[at(c)]) * normal[c];
                    betas[c] += f64::from(gradient[at(c)]);
                }
            }
            for c in 0..channels {
                let close = |ours: f32, exact: f64| (f64::from(ours) - exact).abs() < 1e-3 * exact.abs().max(5.0);
                prop_assert!(close(of_gamma[c], gammas[c]), "{} {}", of_gamma[c], gammas[c]);
                prop_assert!(close(of_beta[c], betas[c]));
            }
        }
    }
}
