//! Batch normalisation by the statistics of the batch, and the activation after it, in one operation.
//!
//! Each channel is one task, which stays in a core's cache: its mean, its variance, then the result; and
//! backwards two sums, then the gradient. The activation's gradient is found again from the images.

use rayon::prelude::*;

use crate::Activation;
use crate::geometry::Refused;
use crate::scratch::fresh;
use crate::shared::Shared;
use crate::simd::{Kernel, Simd, WIDEST, dispatch};

/// Channels of a batch of pictures, `[batch, channels, pixels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    batch: usize,
    channels: usize,
    area: usize,
}

impl Planes {
    /// The shape `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// If there is nothing to take a mean of, or more floats than 2^40.
    pub fn new([batch, channels, height, width]: [usize; 4]) -> Result<Self, Refused> {
        let all = [batch, channels, height, width];
        let count = all.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        if count.is_none_or(|count| count == 0 || count > 1 << 40) {
            return Err(Refused::new(format!("{all:?} has no pixels or more than 2^40")));
        }
        Ok(Self { batch, channels, area: height * width })
    }

    /// Channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    fn len(&self) -> usize {
        self.batch * self.channels * self.area
    }

    /// Where the planes of a channel start.
    fn starts(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let Self { batch, channels, area } = *self;
        (0..batch).map(move |picture| (picture * channels + channel) * area)
    }
}

/// What normalises, besides the images.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// The factor of each channel.
    pub gamma: &'a [f32],
    /// What is added to each channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f64,
    /// What follows.
    pub activation: Activation,
    /// Share of what the activation takes away that passes all the same: with ReLU, the slope of a leaky one below 0.
    pub leak: f32,
}

/// The mean and the variance (over the count, not one less) of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// `[channels]`
    pub mean: Vec<f32>,
    /// `[channels]`
    pub variance: Vec<f32>,
}

/// Gradients of [`batch_norm`].
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// As the images.
    pub images: Vec<f32>,
    /// `[channels]`
    pub gamma: Vec<f32>,
    /// `[channels]`
    pub beta: Vec<f32>,
}

/// Normalises each channel by its own statistics, then scales, shifts and activates.
///
/// # Panics
/// If an operand's length is not what the shape says.
pub fn batch_norm(planes: &Planes, images: &[f32], affine: Affine) -> (Vec<f32>, Statistics) {
    check(planes, images.len(), affine);
    let (mut mean, mut variance) = (vec![0.0; planes.channels], vec![0.0; planes.channels]);
    let result = fresh(planes.len(), |result| {
        let result = Shared::new(result);
        mean.par_iter_mut().zip(&mut variance).enumerate().for_each(|(channel, statistics)| {
            let (mean, variance) = statistics;
            let work = Channel { planes, channel, images, affine };
            (*mean, *variance) = dispatch(Measure(&work));
            let scale = work.scale(*variance);
            dispatch(Normalise { channel: &work, mean: *mean, scale, result: &result });
        });
    });
    (result, Statistics { mean, variance })
}

/// The gradients of [`batch_norm`], from the gradient of its result.
///
/// # Panics
/// If an operand's length is not what the shape says.
pub fn batch_norm_gradients(
    planes: &Planes,
    images: &[f32],
    gradient: &[f32],
    statistics: [&[f32]; 2],
    affine: Affine,
) -> Gradients {
    check(planes, images.len(), affine);
    assert_eq!(gradient.len(), planes.len(), "floats of the gradient of {planes:?}");
    let [mean, variance] = statistics;
    assert!(mean.len() == planes.channels && variance.len() == planes.channels);
    let (mut gamma, mut beta) = (vec![0.0; planes.channels], vec![0.0; planes.channels]);
    let images = fresh(planes.len(), |result| {
        let result = Shared::new(result);
        gamma.par_iter_mut().zip(&mut beta).enumerate().for_each(|(channel, gradients)| {
            let work = Channel { planes, channel, images, affine };
            let back = Back {
                channel: &work,
                gradient,
                mean: mean[channel],
                scale: work.scale(variance[channel]),
                inverse: work.inverse(variance[channel]),
                result: &result,
            };
            (*gradients.0, *gradients.1) = dispatch(back);
        });
    });
    Gradients { images, gamma, beta }
}

fn check(planes: &Planes, images: usize, affine: Affine) {
    assert_eq!(images, planes.len(), "floats of the images of {planes:?}");
    assert_eq!(affine.gamma.len(), planes.channels, "floats of gamma of {planes:?}");
    assert_eq!(affine.beta.len(), planes.channels, "floats of beta of {planes:?}");
}

/// One channel's work.
struct Channel<'a> {
    planes: &'a Planes,
    channel: usize,
    images: &'a [f32],
    affine: Affine<'a>,
}

impl Channel<'_> {
    fn inverse(&self, variance: f32) -> f32 {
        (1.0 / (f64::from(variance) + self.affine.epsilon).sqrt()) as f32
    }

    fn scale(&self, variance: f32) -> f32 {
        self.inverse(variance) * self.affine.gamma[self.channel]
    }

    /// Pixels of the channel.
    fn count(&self) -> f64 {
        (self.planes.batch * self.planes.area) as f64
    }
}

/// A vector of which `count` floats are real; the others are `rest`.
///
/// # Safety
/// `from` points to `count` floats.
#[inline(always)]
unsafe fn load<S: Simd>(simd: S, from: *const f32, count: usize, rest: f32) -> S::Vector {
    // SAFETY: whole vectors where there are, and else a copy of the caller's floats.
    unsafe {
        if count >= S::LANES {
            return simd.load(from);
        }
        let mut whole = [rest; WIDEST];
        for (index, value) in whole.iter_mut().enumerate().take(count) {
            *value = *from.add(index);
        }
        simd.load(whole.as_ptr())
    }
}

/// Stores the first `count` floats of a vector.
///
/// # Safety
/// `to` points to `count` floats that may be written.
#[inline(always)]
unsafe fn store<S: Simd>(simd: S, to: *mut f32, count: usize, vector: S::Vector) {
    // SAFETY: as in `load`.
    unsafe {
        if count >= S::LANES {
            return simd.store(to, vector);
        }
        let mut whole = [0.0; WIDEST];
        simd.store(whole.as_mut_ptr(), vector);
        for (index, value) in whole.iter().enumerate().take(count) {
            *to.add(index) = *value;
        }
    }
}

/// Mean and variance: in two passes, which loses nothing where the mean is large.
struct Measure<'a>(&'a Channel<'a>);

impl Kernel for Measure<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f32) {
        let total = self.sum::<S, false>(simd, 0.0);
        let mean = (total / self.0.count()) as f32;
        let squares = self.sum::<S, true>(simd, mean);
        (mean, (squares / self.0.count()) as f32)
    }
}

impl Measure<'_> {
    /// Sums the distances from the middle, or their squares.
    #[inline(always)]
    fn sum<S: Simd, const SQUARED: bool>(&self, simd: S, middle: f32) -> f64 {
        let centre = simd.splat(middle);
        let area = self.0.planes.area;
        let step = 4 * S::LANES;
        let mut total = 0.0;
        for start in self.0.planes.starts(self.0.channel) {
            let plane = &self.0.images[start..start + area];
            let mut sums = [simd.zero(); 4];
            let whole = area / step * step;
            for at in (0..whole).step_by(step) {
                for (register, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: four vectors from `at` on lie inside the plane.
                    let values = unsafe { simd.load(plane.as_ptr().add(at + register * S::LANES)) };
                    *sum = add::<S, SQUARED>(simd, *sum, simd.sub(values, centre));
                }
            }
            for at in (whole..area).step_by(S::LANES) {
                // SAFETY: the rest of the plane.
                let values = unsafe { load(simd, plane.as_ptr().add(at), area - at, middle) };
                sums[0] = add::<S, SQUARED>(simd, sums[0], simd.sub(values, centre));
            }
            let pairs = [simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3])];
            total += f64::from(simd.sum(simd.add(pairs[0], pairs[1])));
        }
        total
    }
}

/// Adds a number or its square. A function and not a closure: those may be compiled without the vectors.
#[inline(always)]
fn add<S: Simd, const SQUARED: bool>(simd: S, sum: S::Vector, value: S::Vector) -> S::Vector {
    if SQUARED { simd.fma(value, value, sum) } else { simd.add(sum, value) }
}

struct Normalise<'a> {
    channel: &'a Channel<'a>,
    mean: f32,
    scale: f32,
    result: &'a Shared<'a>,
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Channel { planes, channel, images, affine } = *self.channel;
        let (low, high) = affine.activation.bounds();
        let (low, high) = (simd.splat(low), simd.splat(high));
        let (mean, scale) = (simd.splat(self.mean), simd.splat(self.scale));
        let beta = simd.splat(affine.beta[channel]);
        let (leak, rest) = (simd.splat(affine.leak), simd.splat(1.0 - affine.leak));
        for start in planes.starts(channel) {
            let plane = &images[start..start + planes.area];
            // SAFETY: each task has the planes of one channel.
            let result = unsafe { self.result.part(start, planes.area) };
            for at in (0..planes.area).step_by(S::LANES) {
                let count = planes.area - at;
                // SAFETY: that many floats are left of the plane and of its result.
                unsafe {
                    let values = load(simd, plane.as_ptr().add(at), count, 0.0);
                    let values = simd.fma(simd.sub(values, mean), scale, beta);
                    let mut passed = simd.clamp(values, [low, high]);
                    if affine.leak != 0.0 {
                        passed = simd.fma(values, leak, simd.mul(passed, rest));
                    }
                    store(simd, result.as_mut_ptr().add(at), count, passed);
                }
            }
        }
    }
}

struct Back<'a> {
    channel: &'a Channel<'a>,
    gradient: &'a [f32],
    mean: f32,
    /// Gamma over the standard deviation.
    scale: f32,
    /// One over the standard deviation.
    inverse: f32,
    result: &'a Shared<'a>,
}

/// What turns images and gradients into what is summed.
struct Through<S: Simd> {
    bounds: [S::Vector; 2],
    mean: S::Vector,
    /// The mean again, for lanes past a plane's end.
    rest: f32,
    scale: S::Vector,
    beta: S::Vector,
    /// The leak and what it leaves, where there is one.
    leak: Option<[S::Vector; 2]>,
}

impl<S: Simd> Through<S> {
    /// Centred images, and the gradient where the activation lets it through.
    ///
    /// # Safety
    /// Both pointers have `count` floats.
    #[inline(always)]
    unsafe fn read(
        &self,
        simd: S,
        image: *const f32,
        gradient: *const f32,
        count: usize,
    ) -> (S::Vector, S::Vector) {
        // SAFETY: by the caller's promise.
        let (values, gradient) =
            unsafe { (load(simd, image, count, self.rest), load(simd, gradient, count, 0.0)) };
        let centred = simd.sub(values, self.mean);
        let normal = simd.fma(centred, self.scale, self.beta);
        let passed = simd.inside(normal, self.bounds, gradient);
        match self.leak {
            Some([leak, rest]) => (centred, simd.fma(gradient, leak, simd.mul(passed, rest))),
            None => (centred, passed),
        }
    }
}

impl Kernel for Back<'_> {
    /// The gradients of gamma and beta.
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (f32, f32) {
        let Channel { planes, channel, images, affine } = *self.channel;
        let (low, high) = affine.activation.bounds();
        let through = Through {
            bounds: [simd.splat(low), simd.splat(high)],
            mean: simd.splat(self.mean),
            rest: self.mean,
            scale: simd.splat(self.scale),
            beta: simd.splat(affine.beta[channel]),
            leak: (affine.leak != 0.0)
                .then(|| [simd.splat(affine.leak), simd.splat(1.0 - affine.leak)]),
        };
        let (mut total, mut product) = (0.0f64, 0.0f64);
        for start in planes.starts(channel) {
            let (image, gradient) = (&images[start..], &self.gradient[start..]);
            assert!(image.len() >= planes.area && gradient.len() >= planes.area);
            let mut sums = [simd.zero(); 2];
            for at in (0..planes.area).step_by(S::LANES) {
                // SAFETY: as many floats are left of the plane.
                let (centred, gradient) = unsafe {
                    let (image, gradient) = (image.as_ptr().add(at), gradient.as_ptr().add(at));
                    through.read(simd, image, gradient, planes.area - at)
                };
                sums[0] = simd.add(sums[0], gradient);
                sums[1] = simd.fma(centred, gradient, sums[1]);
            }
            total += f64::from(simd.sum(sums[0]));
            product += f64::from(simd.sum(sums[1]));
        }
        let count = self.channel.count();
        let inverse = f64::from(self.inverse);
        let middle = simd.splat((total / count) as f32);
        let slope = simd.splat((product * inverse * inverse / count) as f32);
        for start in planes.starts(channel) {
            let (image, gradient) = (&images[start..], &self.gradient[start..]);
            // SAFETY: each task has the planes of one channel.
            let result = unsafe { self.result.part(start, planes.area) };
            for at in (0..planes.area).step_by(S::LANES) {
                let left = planes.area - at;
                // SAFETY: as many floats are left of the plane, checked above, and of its result.
                unsafe {
                    let (image, gradient) = (image.as_ptr().add(at), gradient.as_ptr().add(at));
                    let (centred, gradient) = through.read(simd, image, gradient, left);
                    let moved = simd.sub(gradient, simd.fma(centred, slope, middle));
                    store(simd, result.as_mut_ptr().add(at), left, simd.mul(moved, through.scale));
                }
            }
        }
        ((product * inverse) as f32, total as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 505.0 - 1.0).collect()
    }

    /// A weighted sum of the result, in 64 bits.
    fn loss(
        planes: &Planes,
        images: &[f64],
        [gamma, beta]: [&[f64]; 2],
        (activation, leak): (Activation, f32),
        factors: &[f32],
    ) -> f64 {
        let (low, high) = activation.bounds();
        let leak = f64::from(leak);
        let mut loss = 0.0;
        for channel in 0..planes.channels {
            let pixels: Vec<usize> =
                planes.starts(channel).flat_map(|start| start..start + planes.area).collect();
            let count = pixels.len() as f64;
            let mean = pixels.iter().map(|i| images[*i]).sum::<f64>() / count;
            let variance = pixels.iter().map(|i| (images[*i] - mean).powi(2)).sum::<f64>() / count;
            for i in pixels {
                let normal = (images[i] - mean) / (variance + 1e-5).sqrt();
                let value = normal * gamma[channel] + beta[channel];
                let passed = value.clamp(f64::from(low), f64::from(high));
                loss += (leak * value + (1.0 - leak) * passed) * f64::from(factors[i]);
            }
        }
        loss
    }

    #[test]
    fn values_and_gradients_follow_the_definition() {
        for shape in [[2, 3, 5, 7], [5, 2, 3, 3], [1, 1, 8, 9], [3, 17, 1, 1], [1, 2, 13, 11]] {
            for activation in [
                (Activation::Identity, 0.0),
                (Activation::Relu, 0.0),
                (Activation::Relu6, 0.0),
                (Activation::Relu, 0.01),
            ] {
                let planes = Planes::new(shape).unwrap();
                let images: Vec<f32> =
                    numbers(planes.len(), 1).iter().map(|value| value * 3.0 + 10.0).collect();
                let factors = numbers(planes.len(), 2);
                let gamma: Vec<f32> =
                    numbers(planes.channels, 3).iter().map(|value| value * 4.0).collect();
                let beta = numbers(planes.channels, 4);
                let (gammas, betas) = (&gamma, &beta);
                let affine = Affine {
                    gamma: gammas,
                    beta: betas,
                    epsilon: 1e-5,
                    activation: activation.0,
                    leak: activation.1,
                };
                let (result, statistics) = batch_norm(&planes, &images, affine);
                let [wide, wide_gamma, wide_beta] = [&images, &gamma, &beta]
                    .map(|v| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
                let both = [&wide_gamma[..], &wide_beta];
                let expected = loss(&planes, &wide, both, activation, &factors);
                let ours: f64 =
                    result.iter().zip(&factors).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((ours - expected).abs() < 1e-4 * expected.abs().max(1.0));
                let gradients = batch_norm_gradients(
                    &planes,
                    &images,
                    &factors,
                    [&statistics.mean, &statistics.variance],
                    affine,
                );
                // Small steps, in 64 bits: hardly any value crosses a bend.
                let step = 1e-6;
                for index in (0..images.len()).step_by(3) {
                    let mut moved = wide.clone();
                    moved[index] += step;
                    let up = loss(&planes, &moved, both, activation, &factors);
                    moved[index] -= 2.0 * step;
                    let down = loss(&planes, &moved, both, activation, &factors);
                    let expected = (up - down) / (2.0 * step);
                    let far = (f64::from(gradients.images[index]) - expected).abs();
                    assert!(far < 2e-3, "{far} at {index} of {shape:?} {activation:?}");
                }
                for channel in 0..planes.channels {
                    for (which, ours) in [&gradients.gamma, &gradients.beta].into_iter().enumerate()
                    {
                        let moved = |by: f64| {
                            let mut both = [wide_gamma.clone(), wide_beta.clone()];
                            both[which][channel] += by;
                            loss(&planes, &wide, [&both[0], &both[1]], activation, &factors)
                        };
                        let expected = (moved(step) - moved(-step)) / (2.0 * step);
                        let far = (f64::from(ours[channel]) - expected).abs();
                        assert!(far < 2e-3, "{far} of {expected} for {shape:?} {activation:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_to_normalise_is_refused() {
        assert!(Planes::new([0, 3, 4, 4]).is_err() && Planes::new([1, 3, 0, 4]).is_err());
    }
}
