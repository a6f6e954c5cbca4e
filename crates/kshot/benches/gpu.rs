//! A training step and an inference on a GPU: `KSHOT_DEVICE=vulkan cargo bench -p kshot --features vulkan --bench gpu`.
//!
//! `benches/gpu.py` does the same work in PyTorch; `benches/gpu.sh` runs both on one card and prints one table. A training
//! step is forward, loss, backward and the optimiser's update with all results left on the device; times are of many
//! steps with one wait at the end. Lines are `NAME<tab>SECONDS<tab>FIRST`: the mean of a step, and of the first, in which
//! kernels are tuned.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot start should stop")]

use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use kshot::decoder::deeplab_v3_plus::DeepLabV3PlusConfig;
use kshot::decoder::{DecoderConfig, Segmenter};
use kshot::encoder::EncoderConfig;
use kshot::encoder::conv4::Conv4Config;
use kshot::loss::LossConfig;
use kshot::method::few_shot::distance::class_means;
use kshot::method::network::{EmbeddingNetwork, NetworkConfig};
use kshot::nn::norm::Pass;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps before the clock runs, and while it runs.
const WARM: usize = 10;
const STEPS: usize = 50;

/// Seconds of a run, and of the first.
fn timed(device: &Device, mut run: impl FnMut()) -> [f64; 2] {
    let wait = || device.sync().unwrap();
    let started = Instant::now();
    run();
    wait();
    let first = started.elapsed().as_secs_f64();
    (0..WARM).for_each(|_| run());
    wait();
    let started = Instant::now();
    (0..STEPS).for_each(|_| run());
    wait();
    [started.elapsed().as_secs_f64() / STEPS as f64, first]
}

fn print(name: &str, [seconds, first]: [f64; 2]) {
    println!("{name}\t{seconds:.6}\t{first:.3}");
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A segmenter at 512 x 512 pixels and 21 classes: 8 pictures a training step, 1 an inference.
fn segmenter(name: &str, encoder: &str, decoder: &DecoderConfig, device: &Device) {
    let config: EncoderConfig = encoder.parse().unwrap();
    let network = Segmenter::new(config.init(device), decoder, 21, device).unwrap();
    let images = random([1, 3, 512, 512], device);
    let inference = network.clone().optimize();
    print(
        &format!("{name} inference 1x512x512"),
        timed(device, || drop(inference.forward(images.clone()).argmax(1))),
    );
    let autodiff = device.clone().autodiff();
    let images = random([8, 3, 512, 512], &autodiff);
    let labels = Tensor::<3, Int>::zeros([8, 512, 512], &autodiff);
    let loss = LossConfig::default();
    let mut optimizer = AdamWConfig::new().init();
    let mut network = Some(network.train());
    let step = || {
        let old = network.take().unwrap();
        let logits = old.train_forward(images.clone()).logits;
        let gradients = loss.forward(logits, labels.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &old);
        network = Some(optimizer.step(1e-4, old, gradients));
    };
    print(&format!("{name} training 8x512x512"), timed(device, step));
}

/// Prototypical Networks, 60-way 1-shot with 5 queries, 28 x 28 pixels (Snell et al. 2017).
fn prototypical(device: &Device) {
    let config = NetworkConfig::Conv4(Conv4Config::default());
    let network: EmbeddingNetwork = config.init(1, device).unwrap();
    let images = random([300, 1, 28, 28], device);
    let pass = || drop(network.vectors(images.clone(), &mut Pass::running()));
    print("conv4 inference 300x28x28", timed(device, pass));
    let autodiff = device.clone().autodiff();
    let support = random([60, 1, 28, 28], &autodiff);
    let query = random([300, 1, 28, 28], &autodiff);
    let labels = Tensor::<1, Int>::arange(0..300, &autodiff).div_scalar(5);
    let mut optimizer = AdamWConfig::new().init();
    let mut network = Some(network.train());
    let step = || {
        let old = network.take().unwrap();
        let both = Tensor::cat(vec![support.clone(), query.clone()], 0);
        let vectors = old.vectors(both, &mut Pass::training());
        let means = class_means(vectors.clone().narrow(0, 0, 60), 60);
        let queries = vectors.narrow(0, 60, 300);
        let squares = |of: Tensor<2>| of.square().sum_dim(1);
        let scores = queries.clone().matmul(means.clone().transpose()) * 2.0
            - squares(queries)
            - squares(means).transpose();
        let loss = kshot::contract::episodic::cross_entropy(scores, &labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &old);
        network = Some(optimizer.step(1e-3, old, gradients));
    };
    print("conv4 prototypical training 60-way", timed(device, step));
}

fn main() {
    kshot_kernels::keep_pages();
    // Cargo runs every bench of a package; this one needs to be told on what.
    let Ok(name) = std::env::var("KSHOT_DEVICE") else {
        eprintln!("KSHOT_DEVICE names no device (`kshot list devices`); nothing is measured");
        return;
    };
    let device = kshot::device::parse(&name).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2)
    });
    device.seed(1);
    prototypical(&device);
    segmenter("unet efficientnet-lite0", "efficientnet-lite0", &DecoderConfig::default(), &device);
    let deeplab = DecoderConfig::DeepLabV3Plus(DeepLabV3PlusConfig::default());
    segmenter("deeplab-v3-plus resnet50", "resnet50", &deeplab, &device);
}
