//! Softmax over channels, its logarithm, and the cross entropy of pixels with labels, with gradients:
//! pixels are lanes, so that nothing is transposed, and the cross entropy keeps no probabilities.

use rayon::prelude::*;

use crate::scratch::{Scratch, fresh};
use crate::shared::Shared;
use crate::simd::{Kernel, Simd, dispatch};

/// Pixels of a task: a block of all channels stays in the nearest cache.
const BLOCK: usize = 256;

/// Pictures of `channels` planes of `area` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Planes of a picture.
    pub channels: usize,
    /// Pixels of a plane.
    pub area: usize,
}

impl Channels {
    /// Pictures in so many floats.
    ///
    /// # Panics
    /// If they are no whole number of pictures.
    fn pictures(&self, floats: usize) -> usize {
        let each = self.channels * self.area;
        assert!(each > 0 && floats.is_multiple_of(each), "{floats} floats of {self:?}");
        floats / each
    }

    /// Blocks of pixels: picture, first pixel and count of each.
    fn blocks(&self, pictures: usize) -> impl IndexedParallelIterator<Item = Block> + use<> {
        let Self { channels, area } = *self;
        let parts = area.div_ceil(BLOCK);
        (0..pictures * parts).into_par_iter().map(move |task| {
            let (picture, first) = (task / parts, task % parts * BLOCK);
            let count = BLOCK.min(area - first);
            Block { start: picture * channels * area + first, pixel: picture * area + first, count }
        })
    }
}

#[derive(Clone, Copy)]
struct Block {
    /// The first pixel's first channel.
    start: usize,
    /// The first pixel among the labels.
    pixel: usize,
    count: usize,
}

/// The exponential, within three units of the last place; of numbers below -87, e^-87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Added and taken away again, it rounds to a whole number, which then stands in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    // x = whole * ln 2 + rest, ln 2 in two parts of which the first has few bits.
    let rest = (x - whole * 0.693_359_4) - whole * -2.121_944_4e-4;
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    sum * f32::from_bits(power)
}

/// The softmax over channels, or its logarithm.
///
/// # Shapes
/// `[batch, channels, area]` to the same
///
/// # Panics
/// If `logits` is no whole number of pictures.
pub fn softmax(shape: &Channels, logits: &[f32], logarithm: bool) -> Vec<f32> {
    let pictures = shape.pictures(logits.len());
    fresh(logits.len(), |result| {
        let result = &Shared::new(result);
        shape.blocks(pictures).for_each(|block| {
            dispatch(Forward { shape: *shape, logits, block, logarithm, result });
        });
    })
}

/// The gradient of [`softmax`] with respect to the logits, from its result and that one's gradient.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn softmax_gradient(
    shape: &Channels,
    result: &[f32],
    gradient: &[f32],
    logarithm: bool,
) -> Vec<f32> {
    let pictures = shape.pictures(result.len());
    assert_eq!(gradient.len(), result.len(), "floats of the gradient");
    fresh(result.len(), |out| {
        let out = &Shared::new(out);
        shape.blocks(pictures).for_each(|block| {
            dispatch(Back { shape: *shape, result, gradient, block, logarithm, out });
        });
    })
}

/// The mean cross entropy of pixels with their labels; pixels whose label is no channel's number (such
/// as 255 for void, or -1) do not count. Zero if none counts.
///
/// # Shapes
/// `logits`: `[batch, channels, area]`; `labels`: `[batch, area]`
///
/// # Panics
/// If the lengths do not fit each other.
pub fn cross_entropy(shape: &Channels, logits: &[f32], labels: &[f32]) -> f32 {
    let pictures = shape.pictures(logits.len());
    assert_eq!(labels.len(), pictures * shape.area, "labels");
    // Summed in the order of the blocks, whatever thread had them.
    let parts: Vec<f64> = shape
        .blocks(pictures)
        .map(|block| dispatch(Entropy { shape: *shape, logits, labels, block }))
        .collect();
    let counted = shape.counted(labels);
    if counted == 0 { 0.0 } else { (parts.iter().sum::<f64>() / counted as f64) as f32 }
}

/// The gradient of [`cross_entropy`] times `factor` with respect to the logits.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn cross_entropy_gradient(
    shape: &Channels,
    logits: &[f32],
    labels: &[f32],
    factor: f32,
) -> Vec<f32> {
    let pictures = shape.pictures(logits.len());
    assert_eq!(labels.len(), pictures * shape.area, "labels");
    let factor = factor / shape.counted(labels).max(1) as f32;
    fresh(logits.len(), |out| {
        let out = &Shared::new(out);
        shape.blocks(pictures).for_each(|block| {
            dispatch(EntropyBack { shape: *shape, logits, labels, factor, block, out });
        });
    })
}

impl Channels {
    /// The channel that a label means.
    #[inline(always)]
    fn channel(&self, label: f32) -> Option<usize> {
        let is = label >= 0.0 && label < self.channels as f32 && label.fract() == 0.0;
        is.then_some(label as usize)
    }

    fn counted(&self, labels: &[f32]) -> usize {
        labels.iter().filter(|label| self.channel(**label).is_some()).count()
    }

    /// For each pixel its largest logit and, from [`BLOCK`] on, the sum of the exponentials of the
    /// differences from it.
    #[inline(always)]
    fn sums(&self, logits: &[f32], block: Block) -> Scratch {
        let row = |channel: usize| &logits[block.start + channel * self.area..][..block.count];
        let mut scratch = Scratch::take(2 * BLOCK);
        let (most, sums) = scratch.split_at_mut(BLOCK);
        let (most, sums) = (&mut most[..block.count], &mut sums[..block.count]);
        most.copy_from_slice(row(0));
        for channel in 1..self.channels {
            for (most, value) in most.iter_mut().zip(row(channel)) {
                *most = if *value > *most { *value } else { *most };
            }
        }
        sums.fill(0.0);
        for channel in 0..self.channels {
            for ((sum, value), most) in sums.iter_mut().zip(row(channel)).zip(most.iter()) {
                *sum += exp(value - most);
            }
        }
        scratch
    }
}

struct Forward<'a> {
    shape: Channels,
    logits: &'a [f32],
    block: Block,
    logarithm: bool,
    result: &'a Shared<'a>,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { shape, logits, block, logarithm, result } = self;
        let mut scratch = shape.sums(logits, block);
        let (most, sums) = scratch.split_at_mut(BLOCK);
        for sum in &mut sums[..block.count] {
            *sum = if logarithm { sum.ln() } else { 1.0 / *sum };
        }
        for channel in 0..shape.channels {
            let at = block.start + channel * shape.area;
            let row = &logits[at..][..block.count];
            // SAFETY: each block has pixels of its own.
            let out = unsafe { result.part(at, block.count) };
            let rows = out.iter_mut().zip(row).zip(most.iter().zip(sums.iter()));
            if logarithm {
                rows.for_each(|((out, value), (most, sum))| *out = (value - most) - sum);
            } else {
                rows.for_each(|((out, value), (most, sum))| *out = exp(value - most) * sum);
            }
        }
    }
}

struct Back<'a> {
    shape: Channels,
    result: &'a [f32],
    gradient: &'a [f32],
    block: Block,
    logarithm: bool,
    out: &'a Shared<'a>,
}

impl Kernel for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { shape, result, gradient, block, logarithm, out } = self;
        let mut sums = Scratch::zeros(BLOCK);
        let at = |channel: usize| block.start + channel * shape.area;
        let rows = |channel: usize| {
            let both = [result, gradient].map(|all| &all[at(channel)..][..block.count]);
            both[0].iter().zip(both[1])
        };
        for channel in 0..shape.channels {
            for (sum, (result, gradient)) in sums.iter_mut().zip(rows(channel)) {
                *sum += if logarithm { *gradient } else { result * gradient };
            }
        }
        for channel in 0..shape.channels {
            // SAFETY: each block has pixels of its own.
            let out = unsafe { out.part(at(channel), block.count) };
            for ((out, (result, gradient)), sum) in
                out.iter_mut().zip(rows(channel)).zip(sums.iter())
            {
                *out = if logarithm {
                    gradient - exp(*result) * sum
                } else {
                    result * (gradient - sum)
                };
            }
        }
    }
}

struct Entropy<'a> {
    shape: Channels,
    logits: &'a [f32],
    labels: &'a [f32],
    block: Block,
}

impl Kernel for Entropy<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let Self { shape, logits, labels, block } = self;
        let mut scratch = shape.sums(logits, block);
        let (most, sums) = scratch.split_at_mut(BLOCK);
        let labels = &labels[block.pixel..][..block.count];
        let pixels = labels.iter().zip(most.iter().zip(sums.iter())).enumerate();
        pixels
            .filter_map(|(index, (label, (most, sum)))| {
                let channel = shape.channel(*label)?;
                let logit = logits[block.start + channel * shape.area + index];
                Some(f64::from(sum.ln()) + f64::from(most - logit))
            })
            .sum()
    }
}

struct EntropyBack<'a> {
    shape: Channels,
    logits: &'a [f32],
    labels: &'a [f32],
    factor: f32,
    block: Block,
    out: &'a Shared<'a>,
}

impl Kernel for EntropyBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { shape, logits, labels, factor, block, out } = self;
        let mut scratch = shape.sums(logits, block);
        let (most, sums) = scratch.split_at_mut(BLOCK);
        let labels = &labels[block.pixel..][..block.count];
        for (sum, label) in sums.iter_mut().zip(labels) {
            *sum = if shape.channel(*label).is_some() { factor / *sum } else { 0.0 };
        }
        for channel in 0..shape.channels {
            let at = block.start + channel * shape.area;
            let row = &logits[at..][..block.count];
            // SAFETY: each block has pixels of its own.
            let out = unsafe { out.part(at, block.count) };
            let own = channel as f32;
            let pixels = out.iter_mut().zip(row).zip(most.iter().zip(sums.iter())).zip(labels);
            for (((out, value), (most, sum)), label) in pixels {
                let is = if *label == own { factor } else { 0.0 };
                *out = exp(value - most) * sum - is;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_exponential_is_close_everywhere() {
        for index in -87_000..88_000i32 {
            let x = index as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let apart = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(apart < 3e-7, "exp({x}) is off by {apart}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e9) < 1.7e-38);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn values_and_gradients_are_those_of_64_bits(
            pictures in 1usize..3,
            channels in 1usize..23,
            area in 1usize..600,
            logarithm in any::<bool>(),
            // Large logits lose nothing but what their own last places do.
            offset in prop::sample::select(vec![0.0f32, 4096.0]),
        ) {
            let shape = Channels { channels, area };
            let count = pictures * channels * area;
            let logits: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1013) as f32 / 64.0 - 10.0 + offset).collect();
            let gradient: Vec<f32> = (0..count).map(|i| ((i * 104_729) % 89) as f32 / 44.0 - 1.0).collect();
            let labels: Vec<f32> = (0..pictures * area)
                .map(|i| if i % 5 == 4 { 255.0 } else { (i % channels) as f32 })
                .collect();
            let result = softmax(&shape, &logits, logarithm);
            let back = softmax_gradient(&shape, &result, &gradient, logarithm);
            let entropy = cross_entropy(&shape, &logits, &labels);
            let entropy_back = cross_entropy_gradient(&shape, &logits, &labels, 2.0);
            let counted = labels.iter().filter(|label| **label < 255.0).count().max(1) as f64;
            let mut total = 0.0;
            for (pixel, &label) in labels.iter().enumerate() {
                let at = |channel: usize| (pixel / area * channels + channel) * area + pixel % area;
                let row: Vec<f64> =
                    (0..channels).map(|c| f64::from(logits[at(c)]) - f64::from(offset)).collect();
                let sum: f64 = row.iter().map(|value| value.exp()).sum();
                let share: Vec<f64> = row.iter().map(|value| value.exp() / sum).collect();
                let of = |c: usize| f64::from(gradient[at(c)]);
                let all: f64 = (0..channels).map(|c| if logarithm { of(c) } else { share[c] * of(c) }).sum();
                if label < 255.0 {
                    total -= share[label as usize].ln() / counted;
                }
                for c in 0..channels {
                    let expected = if logarithm { share[c].ln() } else { share[c] };
                    prop_assert!((f64::from(result[at(c)]) - expected).abs() < 1e-5);
                    let expected = if logarithm { of(c) - share[c] * all } else { share[c] * (of(c) - all) };
                    prop_assert!((f64::from(back[at(c)]) - expected).abs() < 1e-4);
                    let is = f64::from(u8::from(label == c as f32));
                    let expected = if label < 255.0 { 2.0 * (share[c] - is) / counted } else { 0.0 };
                    prop_assert!((f64::from(entropy_back[at(c)]) - expected).abs() < 1e-5);
                }
            }
            prop_assert!((f64::from(entropy) - total).abs() < 1e-4 * total.max(1.0));
        }
    }
}
