//! Every path against the definition in 64 bits, for shapes drawn at random.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use kshot_kernels::slices::{bias_gradient, forward, input_gradient, weight_gradient};
use kshot_kernels::{Activation, Geometry};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Largest difference over largest value, for sums of up to a few thousand products: of Winograd.
const BOUND: f64 = 1e-5;
/// Of plain sums.
const PLAIN: f64 = 3e-6;

/// Calls `visit` with the offsets of image, weight and result for every product of the definition.
fn products(geometry: &Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let ([inside, outputs], [height, width]) = (geometry.group_channels(), geometry.out());
    let [channels_in, channels_out] = geometry.channels();
    let ([rows, columns], [kernel_height, kernel_width]) = (geometry.size(), geometry.kernel());
    for image in 0..geometry.batch() {
        for o in 0..channels_out {
            for y in 0..height {
                for x in 0..width {
                    let result = ((image * channels_out + o) * height + y) * width + x;
                    for i in 0..inside {
                        for ky in 0..kernel_height {
                            for kx in 0..kernel_width {
                                let at = |axis: usize, place: usize, tap: usize| {
                                    (place * geometry.stride()[axis]
                                        + tap * geometry.dilation()[axis])
                                        .checked_sub(geometry.pads()[axis].0)
                                };
                                let (Some(sy), Some(sx)) = (at(0, y, ky), at(1, x, kx)) else {
                                    continue;
                                };
                                if sy >= rows || sx >= columns {
                                    continue;
                                }
                                let plane = image * channels_in + o / outputs * inside + i;
                                let tap = ((o * inside + i) * kernel_height + ky) * kernel_width;
                                visit((plane * rows + sy) * columns + sx, tap + kx, result);
                            }
                        }
                    }
                }
            }
        }
    }
}

fn numbers(random: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(1.0, |a: f64, b| a.max(b.abs()))
}

/// Largest difference over the scale.
fn far(ours: &[f32], expected: &[f64], scale: f64) -> f64 {
    assert_eq!(ours.len(), expected.len());
    let difference = |(ours, expected): (&f32, &f64)| {
        let difference = (f64::from(*ours) - expected).abs() / scale;
        if difference.is_nan() { f64::INFINITY } else { difference }
    };
    ours.iter().zip(expected).map(difference).fold(0.0, f64::max)
}

/// All four results of one convolution.
struct Results {
    forward: Vec<f32>,
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

fn ours(geometry: &Geometry, images: &[f32], weight: &[f32], gradient: &[f32]) -> Results {
    Results {
        forward: forward(geometry, images, weight, None, Activation::Identity),
        input: input_gradient(geometry, gradient, weight),
        weight: weight_gradient(geometry, images, gradient),
        bias: bias_gradient(geometry, gradient),
    }
}

/// Checks the convolution and its three gradients.
fn agrees(geometry: &Geometry, bound: f64) {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let images = numbers(&mut random, geometry.images_len());
    let weight = numbers(&mut random, geometry.weight_len());
    let gradient = numbers(&mut random, geometry.result_len());
    let mut expected = vec![0.0; geometry.result_len()];
    let mut expected_input = vec![0.0; geometry.images_len()];
    let mut expected_weight = vec![0.0; geometry.weight_len()];
    products(geometry, |image, tap, result| {
        expected[result] += f64::from(images[image]) * f64::from(weight[tap]);
        expected_input[image] += f64::from(gradient[result]) * f64::from(weight[tap]);
        expected_weight[tap] += f64::from(gradient[result]) * f64::from(images[image]);
    });
    let mut expected_bias = vec![0.0; geometry.channels()[1]];
    for (index, value) in gradient.iter().enumerate() {
        expected_bias[index / geometry.area_out() % geometry.channels()[1]] += f64::from(*value);
    }
    let ours = ours(geometry, &images, &weight, &gradient);
    for (what, ours, expected) in [
        ("forward", &ours.forward, &expected),
        ("input gradient", &ours.input, &expected_input),
        ("weight gradient", &ours.weight, &expected_weight),
        ("bias gradient", &ours.bias, &expected_bias),
    ] {
        let far = far(ours, expected, largest(expected));
        assert!(far < bound, "{what} is off by {far:e} for {geometry:?}");
    }
    // Bias and activation, from what has just been checked.
    let (bias, scale) = (numbers(&mut random, geometry.channels()[1]), largest(&expected));
    for (index, value) in expected.iter_mut().enumerate() {
        let channel = index / geometry.area_out() % geometry.channels()[1];
        *value = (*value + f64::from(bias[channel])).clamp(0.0, 6.0);
    }
    let activated = forward(geometry, &images, &weight, Some(&bias), Activation::Relu6);
    let far = far(&activated, &expected, scale);
    assert!(far < bound, "bias and activation are off by {far:e} for {geometry:?}");
}

/// What is drawn, before it is made to fit.
#[derive(Debug, Clone)]
struct Drawn {
    batch: usize,
    channels: [usize; 2],
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
}

impl Drawn {
    /// As many groups as wished, with at least one channel each; the image at least as large as needed.
    fn geometry(&self, groups: usize) -> Geometry {
        let [inside, outputs] = self.channels.map(|channels| channels.div_ceil(groups));
        let pads = [(self.pads[0], self.pads[1]), (self.pads[2], self.pads[3])];
        let size: [usize; 2] = std::array::from_fn(|axis| {
            let covered = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            self.size[axis].max(covered.saturating_sub(pads[axis].0 + pads[axis].1)).max(1)
        });
        Geometry::new(
            [self.batch, inside * groups, size[0], size[1]],
            [outputs * groups, inside, self.kernel[0], self.kernel[1]],
            self.stride,
            pads,
            self.dilation,
            groups,
        )
        .unwrap()
    }
}

fn pair(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = [usize; 2]> {
    [range.clone(), range]
}

/// Channels: often few, sometimes more than any block has.
fn channels() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![4 => pair(1..=20), 1 => pair(1..=130)]
}

fn drawn(
    channels: impl Strategy<Value = [usize; 2]>,
    kernel: impl Strategy<Value = [usize; 2]>,
    stride: impl Strategy<Value = [usize; 2]>,
    dilation: impl Strategy<Value = [usize; 2]>,
) -> impl Strategy<Value = Drawn> {
    let pads = [0..=3usize, 0..=3, 0..=3, 0..=3];
    (1..=9usize, channels, pair(1..=15), kernel, stride, dilation, pads).prop_map(
        |(batch, channels, size, kernel, stride, dilation, pads)| Drawn {
            batch,
            channels,
            size,
            kernel,
            stride,
            dilation,
            pads,
        },
    )
}

/// Cases of each property; each checks four results.
fn cases() -> ProptestConfig {
    // Fewer under emulators.
    let wish = std::env::var("PROPTEST_CASES").ok().and_then(|wish| wish.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(wish.unwrap_or(48)) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_kernel(drawn in drawn(channels(), pair(1..=5), pair(1..=3), pair(1..=3))) {
        agrees(&drawn.geometry(1), BOUND);
    }

    #[test]
    fn three_by_three(drawn in drawn(channels(), Just([3, 3]), Just([1, 1]), pair(1..=3))) {
        agrees(&drawn.geometry(1), BOUND);
        agrees(&drawn.geometry(1).with_precise(true), PLAIN);
    }

    #[test]
    fn one_by_one(drawn in drawn(channels(), Just([1, 1]), pair(1..=3), Just([1, 1]))) {
        agrees(&drawn.geometry(1), PLAIN);
    }

    #[test]
    fn groups(
        groups in 2..=6usize,
        drawn in drawn(channels(), pair(1..=4), pair(1..=2), pair(1..=2)),
    ) {
        agrees(&drawn.geometry(groups), PLAIN);
    }

    #[test]
    fn depthwise(
        channels in 2..=20usize,
        mut drawn in drawn(Just([1, 1]), pair(1..=6), pair(1..=3), pair(1..=3)),
    ) {
        drawn.channels = [channels; 2];
        drawn.size = [drawn.size[0] * 3, drawn.size[1] * 5];
        agrees(&drawn.geometry(channels), PLAIN);
    }
}

#[test]
fn shapes_of_real_networks() {
    // channels in, out, kernel, stride, dilation, groups, height, width, padding, batch
    for [i, o, k, s, d, g, h, w, p, n] in [
        [3, 32, 3, 2, 1, 1, 33, 47, 1, 1],
        [64, 64, 3, 1, 1, 1, 14, 14, 1, 5],
        [64, 64, 3, 1, 1, 1, 3, 3, 1, 25],
        [64, 64, 3, 1, 1, 1, 28, 28, 1, 2],
        [1, 64, 3, 1, 1, 1, 28, 28, 1, 9],
        [3, 4, 7, 2, 1, 1, 40, 39, 3, 1],
        // Several blocks of rows, of which dilation and padding leave some without a pixel.
        [3, 5, 7, 2, 1, 1, 130, 229, 3, 2],
        [4, 7, 3, 1, 9, 1, 12, 640, 20, 1],
        [5, 4, 5, 3, 2, 1, 200, 190, 4, 1],
        [300, 70, 1, 1, 1, 1, 3, 5, 0, 3],
        [96, 24, 1, 1, 1, 1, 20, 20, 0, 2],
        [64, 128, 1, 2, 1, 1, 14, 14, 0, 2],
        [130, 66, 3, 1, 2, 1, 13, 11, 2, 1],
        [48, 48, 5, 1, 1, 48, 24, 30, 2, 2],
        [24, 24, 3, 2, 1, 24, 57, 113, 1, 1],
        [8, 8, 3, 1, 2, 8, 20, 37, 2, 2],
        [32, 64, 3, 1, 1, 4, 14, 14, 1, 2],
        [2, 2, 5, 2, 1, 2, 1, 1, 2, 1],
    ] {
        let (images, weight) = ([n, i, h, w], [o, i / g, k, k]);
        let geometry = Geometry::new(images, weight, [s; 2], [(p, p); 2], [d; 2], g).unwrap();
        agrees(&geometry, BOUND);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let pools = [pool(1), pool(2), pool(3)];
    for (images, weight, stride, groups) in [
        ([5, 64, 14, 14], [64, 64, 3, 3], 1, 1),
        ([30, 16, 7, 7], [40, 16, 3, 3], 1, 1),
        ([2, 3, 70, 66], [32, 3, 3, 3], 2, 1),
        ([3, 24, 40, 40], [70, 24, 1, 1], 1, 1),
        ([3, 24, 40, 40], [24, 1, 5, 5], 2, 24),
        ([3, 24, 20, 20], [48, 8, 3, 3], 1, 3),
        ([1, 260, 13, 13], [270, 260, 3, 3], 1, 1),
    ] {
        let pad = weight[2] / 2;
        let geometry =
            Geometry::new(images, weight, [stride; 2], [(pad, pad); 2], [1, 1], groups).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let images = numbers(&mut random, geometry.images_len());
        let weight = numbers(&mut random, geometry.weight_len());
        let gradient = numbers(&mut random, geometry.result_len());
        let all = pools.each_ref().map(|pool| {
            let ours = pool.install(|| ours(&geometry, &images, &weight, &gradient));
            [ours.forward, ours.input, ours.weight, ours.bias].concat()
        });
        assert!(all[0] == all[1] && all[0] == all[2], "threads matter for {geometry:?}");
    }
}

#[test]
fn an_empty_batch_gives_empty_results() {
    for groups in [1, 4] {
        let shapes = ([0, 4, 9, 9], [4, 4 / groups, 3, 3]);
        let geometry =
            Geometry::new(shapes.0, shapes.1, [1, 1], [(1, 1); 2], [1, 1], groups).unwrap();
        let weight = vec![1.0; geometry.weight_len()];
        let ours = ours(&geometry, &[], &weight, &[]);
        assert!(ours.forward.is_empty() && ours.input.is_empty());
        assert!(ours.weight.iter().chain(&ours.bias).all(|value| *value == 0.0));
    }
}

#[test]
#[should_panic(expected = "floats of the images")]
fn operands_of_another_length_are_refused() {
    let geometry =
        Geometry::new([1, 4, 9, 9], [4, 4, 3, 3], [1, 1], [(1, 1); 2], [1, 1], 1).unwrap();
    forward(&geometry, &[0.0; 323], &[0.0; 144], None, Activation::Identity);
}

/// Paths that a shape can take, and none of them hides what is no number.
#[test]
fn what_is_no_number_shows() {
    for (shape, weight, groups) in [
        ([1, 16, 9, 9], [16, 16, 3, 3], 1),
        ([1, 16, 9, 9], [16, 1, 3, 3], 16),
        ([1, 3, 9, 9], [8, 3, 3, 3], 1),
        ([1, 16, 9, 9], [8, 16, 1, 1], 1),
    ] {
        let pad = (weight[2] / 2, weight[2] / 2);
        let geometry = Geometry::new(shape, weight, [1, 1], [pad; 2], [1, 1], groups).unwrap();
        let mut images = vec![1.0; geometry.images_len()];
        images[40] = f32::NAN;
        let weight = vec![0.5; geometry.weight_len()];
        for activation in [Activation::Identity, Activation::Relu, Activation::Relu6] {
            let result = forward(&geometry, &images, &weight, None, activation);
            assert!(result[40].is_nan(), "{geometry:?} {activation:?}: {}", result[40]);
            assert!(!result[0].is_nan());
        }
    }
}
