//! A small network learns as well with these kernels as with Burn's own, step by step.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kshot_kernels::{Activation, batch_norm_layer, conv2d, max_pool2d};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STEPS: usize = 500;
const BATCH: usize = 20;
const CLASSES: usize = 5;
const SIDE: usize = 16;
const RATE: f32 = 0.1;
/// Channels of the three blocks; from the second on convolutions are Winograd's.
const CHANNELS: [usize; 4] = [1, 16, 32, 32];
/// Steps whose losses are averaged.
const WINDOW: usize = 25;

fn numbers(random: &mut ChaCha8Rng, count: usize, width: f32) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-width..width)).collect()
}

/// The losses of a network that learns classes of noisy pictures. `shift` changes its first weights.
fn curve(ours: bool, shift: f32) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let of = |values: Vec<f32>, shape: [usize; 4]| {
        Tensor::<4>::from_data(TensorData::new(values, shape), &device)
    };
    let patterns = numbers(&mut random, CLASSES * SIDE * SIDE, 1.0);
    let mut kernels: Vec<Tensor<4>> = CHANNELS
        .windows(2)
        .map(|pair| {
            let width = (6.0 / (9.0 * pair[0] as f32)).sqrt();
            let values = numbers(&mut random, pair[0] * pair[1] * 9, width);
            (of(values, [pair[1], pair[0], 3, 3]) * (1.0 + shift)).detach().require_grad()
        })
        .collect();
    let vector = CHANNELS[3] * (SIDE / 8) * (SIDE / 8);
    let head = of(numbers(&mut random, vector * CLASSES, 0.1), [1, 1, vector, CLASSES]);
    let mut head: Tensor<2> = head.reshape([vector, CLASSES]).detach().require_grad();
    let norms: Vec<BatchNorm> = CHANNELS[1..]
        .iter()
        .map(|channels| BatchNormConfig::new(*channels).init(&device))
        .collect();
    let labels =
        Tensor::<1, Int>::arange(0..BATCH as i64, &device).remainder_scalar(CLASSES as i64);
    let labels: Tensor<2, Int> = labels.reshape([BATCH, 1]);
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let noise = numbers(&mut random, BATCH * SIDE * SIDE, 4.0);
        let area = SIDE * SIDE;
        let pixels = noise
            .iter()
            .enumerate()
            .map(|(at, noise)| noise + patterns[at / area % CLASSES * area + at % area]);
        let mut images = of(pixels.collect(), [BATCH, 1, SIDE, SIDE]);
        for (kernel, norm) in kernels.iter().zip(&norms) {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            let pool = MaxPoolOptions::new([2, 2]);
            let kernel = kernel.clone();
            images = if ours {
                let images = conv2d(images, kernel, None, options);
                max_pool2d(batch_norm_layer(norm, images, Activation::Relu), pool)
            } else {
                let images = burn::tensor::module::conv2d(images, kernel, None, options);
                burn::tensor::module::max_pool2d(relu(norm.forward(images)), pool)
            };
        }
        let scores = log_softmax(images.reshape([BATCH, vector]).matmul(head.clone()), 1);
        let loss = -scores.gather(1, labels.clone()).mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = loss.backward();
        for kernel in &mut kernels {
            let step = kernel.grad(&gradients).unwrap() * RATE;
            *kernel = Tensor::from_inner(kernel.clone().inner() - step).require_grad();
        }
        let step = head.grad(&gradients).unwrap() * RATE;
        head = Tensor::from_inner(head.clone().inner() - step).require_grad();
    }
    losses.chunks(WINDOW).map(|losses| losses.iter().sum::<f32>() / losses.len() as f32).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn learning_is_burns_within_noise() {
    let [ours, theirs, shifted] =
        [(true, 0.0), (false, 0.0), (false, 1e-6)].map(|(ours, shift)| curve(ours, shift));
    // Rounding grows as training goes on, whoever computes: as a change of the first weights does.
    let (difference, noise) = (apart(&ours, &theirs), apart(&shifted, &theirs));
    println!("{difference} beside {noise}; {ours:.3?} {theirs:.3?}");
    assert!((ours[0] - theirs[0]).abs() < 1e-3 * theirs[0], "{} {}", ours[0], theirs[0]);
    assert!(difference < 3.0 * noise + 0.005, "{difference} beside {noise}");
    let (first, last) = (theirs[0], theirs[theirs.len() - 1]);
    assert!(last < 0.5 * first && last > 0.02, "the task is too hard or too easy: {first} {last}");
}
